"""Steps that a GPU repeats as a whole, from a CUDA graph: a small kernel is done before a CPU launches the next one.

A step that was recorded is one launch, whatever the number of its kernels and students, and the students of a recording
are on streams of their own, so that a GPU which one of them does not fill works on several. On a CPU there is nothing
to launch: every step is made as it is written.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from at_repro.training.student import Student

Step = Callable[[Tensor, Tensor], None]  # of images and labels
Recorder = Callable[[Callable[[], None]], Callable[[], None]]  # what a function does, recorded without doing it

WARM_UP = 3  # steps as they are written: compilers and libraries prepare, momentum comes into being
TOLERANCE = 0.01  # of what a step changes in a tensor: rounding may differ, where a GPU has no kernel with fixed sums


def recorder(device: torch.device, processes: int = 1) -> Recorder | None:
    """How steps are recorded on a device; None: they are not, on a CPU and with several processes on one batch."""
    return _cuda_graph if device.type == "cuda" and processes == 1 else None


class Replay:
    """Makes steps, by a recording where there is one.

    A recording is made for every set of students and every shape of a batch, and anew when a learning rate or a weight
    of a term changes, which are part of it. It is used if its first step moves the students as the step does that is
    made as it is written; else, or where nothing can be recorded, Python's warnings say so once, and all steps are made
    as they are written.
    """

    def __init__(self, record: Recorder | None = None):
        self._record = record
        self._seen: Counter = Counter()
        self._recordings: dict[tuple, _Recording] = {}

    def __call__(
        self, step: Step, students: Sequence[Student], settings: object, images: Tensor, labels: Tensor
    ) -> None:
        """One step: `step(images, labels)`, or what a recording of it does.

        Args:
            step: changes nothing but `Student.tensors` of these students, and waits for nothing on the device.
            settings: every number within the step that is no tensor.
            images: normalised float32 (N, 3, H, W).
            labels: int64 (N,).
        """
        if self._record is None:
            step(images, labels)
            return
        kind = (*students, images.shape)
        if self._seen[kind] < WARM_UP:
            self._seen[kind] += 1
            step(images, labels)
            return
        if kind in self._recordings and self._recordings[kind].settings == settings:
            self._recordings[kind](images, labels)
            return
        self._recordings.pop(kind, None)  # before the next one takes memory
        if (recording := self._recorded(step, students, settings, images, labels)) is not None:
            self._recordings[kind] = recording

    def _recorded(
        self, step: Step, students: Sequence[Student], settings: object, images: Tensor, labels: Tensor
    ) -> "_Recording | None":
        """Makes a step as it is written, and compares what its recording does to the same students."""
        state = [tensor for student in students for tensor in student.tensors().values()]
        before = _copies(state)
        step(images, labels)
        after = _copies(state)
        _restore(state, before)
        recording, problem = None, None
        try:
            recording = _Recording(step, settings, self._record, images, labels)
            recording(images, labels)
            if not _agree(before, after, state):
                problem = "a recorded step does something else than the step itself"
        except RuntimeError as error:
            problem = str(error).splitlines()[0]
        _restore(state, after)
        if problem is None:
            return recording
        warnings.warn(f"steps are launched kernel by kernel, which is slower: {problem}", stacklevel=2)
        self._record = None
        self._recordings.clear()
        return None


AS_WRITTEN = Replay()


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Calls functions that do not depend on each other: one after another, but branches of a recording in the making.

    What they share has to be there before, or to wait for the stream that made it, see `TeacherBatch`.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        for task in tasks:
            task()
        return
    trunk = torch.cuda.current_stream()
    branches = [torch.cuda.Stream() for _ in tasks]
    for task, branch in zip(tasks, branches, strict=True):
        branch.wait_stream(trunk)
        with torch.cuda.stream(branch):
            task()
    for branch in branches:
        trunk.wait_stream(branch)


class _Recording:
    """A step that reads its images and labels from the same memory each time."""

    def __init__(self, step: Step, settings: object, record: Recorder, images: Tensor, labels: Tensor):
        self.settings = settings
        self._read = [images.clone(), labels.clone()]
        self._launch = record(lambda: step(*self._read))

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        for memory, value in zip(self._read, (images, labels), strict=True):
            memory.copy_(value)
        self._launch()


def _cuda_graph(function: Callable[[], None]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    # The outer context: torch stays on the stream of a recording that fails. Threads that decode images may go on.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        function()
    return graph.replay


@torch.no_grad()
def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


@torch.no_grad()
def _agree(before: Sequence[Tensor], expected: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether every tensor has moved as expected. What is not finite agrees with anything: such a run ends anyway."""
    for start, one, other in zip(before, expected, found, strict=True):
        start, one, other = start.double(), one.double(), other.double()
        if (other - one).norm() > TOLERANCE * (one - start).norm():
            return False
    return True
