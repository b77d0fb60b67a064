"""Captures the training step as a CUDA graph and replays it.

A small kernel is done before a CPU launches the next one; a step that was captured is one launch, whatever the number
of its kernels and students, and the students of a graph are on streams of their own, so that a GPU which one of them
does not fill works on several. On a CPU there is nothing to launch: every step is made as it is written.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from at_repro.data import Images, ImageSet
from at_repro.training.student import Student

Step = Callable[[Tensor, Tensor], None]  # of images and labels
Capture = Callable[[Callable[[], None]], Callable[[], None]]  # of a function, without calling it for its effect

WARM_UP = 3  # steps as they are written: compilers and libraries prepare, momentum comes into being
TOLERANCE = 0.01  # of what a step changes in a tensor: rounding may differ, where a GPU has no kernel with fixed sums
ROUNDING = 1e-6  # of the tensor itself: a small step is lost in its digits

_failures: list[torch.cuda.CUDAGraph] = []  # kept: some versions of torch go on asking them whose memory is whose


def choose_capture(images: Images, processes: int = 1) -> Capture | None:
    """How steps on these images are captured; None: they are not.

    Neither on a CPU, nor with several processes on one batch, nor of images that are decoded meanwhile, whose networks
    keep a GPU busy as it is; nor once a capture has failed in this process.
    """
    can_capture = images.device.type == "cuda" and processes == 1 and isinstance(images, ImageSet) and not _failures
    return _cuda_graph if can_capture else None


class Replay:
    """Makes steps, by a graph where there is one.

    A graph is made for every shape of a batch, and anew when the students change, or a learning rate or a weight of
    a term, which are part of it. It is used if its first step moves the students as the step does that is made as it
    is written; else, or where nothing can be captured, Python's warnings say so once, and all steps are made as they
    are written.
    """

    def __init__(self, capture: Capture | None = None):
        self._capture = capture
        self._members: object = None
        self._counts: Counter = Counter()
        self._graphs: dict[torch.Size, _Graph] = {}

    def __call__(
        self, step: Step, students: Sequence[Student], settings: object, images: Tensor, labels: Tensor
    ) -> None:
        """One step: `step(images, labels)`, or what a graph of it does.

        Args:
            step: changes nothing but `Student.tensors` of these students, and waits for nothing on the device.
            settings: every number within the step that is no tensor.
            images: normalised float32 (N, 3, H, W).
            labels: int64 (N,).
        """
        if self._capture is None:
            step(images, labels)
            return
        if (members := (*students, settings)) != self._members:
            # All graphs go before the next one comes: they take memory, and share what torch may then clear.
            self._members, self._counts, self._graphs = members, Counter(), {}
        if images.shape in self._graphs:
            self._graphs[images.shape](images, labels)
        elif self._counts[images.shape] < WARM_UP:
            self._counts[images.shape] += 1
            step(images, labels)
        else:
            self._make(self._capture, step, students, images, labels)

    def _make(self, capture: Capture, step: Step, students: Sequence[Student], images: Tensor, labels: Tensor) -> None:
        """Makes a step as it is written, and compares what its graph does to the same students."""
        state = [tensor for student in students for tensor in student.tensors().values()]
        before = [tensor.clone() for tensor in state]
        demand = _memory_demand(lambda: step(images, labels))
        after = [tensor.clone() for tensor in state]
        graph, problem = None, None
        # A student waits for no other one's memory: a graph takes that of all.
        if any(student.draws for student in students):
            problem = "a network draws numbers on the CPU, of which a graph would keep the first"
        elif demand * (len(students) + 1) > _memory_left(images.device):
            problem = "too little memory for a graph"
        else:
            _restore(state, before)
            try:
                graph = _Graph(step, capture, images, labels)
                graph(images, labels)
                if not _agree(before, after, state):
                    problem = "a captured step does something else than the step itself"
            except RuntimeError as error:
                problem = str(error.__context__ or error).splitlines()[0]  # the first one says why
            _restore(state, after)
        if problem is None and graph is not None:
            self._graphs[images.shape] = graph
        else:
            warnings.warn(f"steps are launched kernel by kernel, which is slower: {problem}", stacklevel=2)
            self._capture = None
            self._graphs.clear()


AS_WRITTEN = Replay()


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Calls functions that do not depend on each other: one after another, but branches of a graph that is captured.

    What they share has to be there before, or to wait for the stream that made it, see `TeacherBatch`.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        for task in tasks:
            task()
        return
    trunk = torch.cuda.current_stream()
    branches = [_branch(number) for number in range(len(tasks))]
    for task, branch in zip(tasks, branches, strict=True):
        branch.wait_stream(trunk)
        with torch.cuda.stream(branch):
            task()
    for branch in branches:
        trunk.wait_stream(branch)


@cache
def _branch(number: int) -> torch.cuda.Stream:
    """The same streams for all graphs: libraries keep memory for every stream that they have seen."""
    return torch.cuda.Stream()


class _Graph:
    """A step that reads its images and labels from the same memory each time."""

    def __init__(self, step: Step, capture: Capture, images: Tensor, labels: Tensor):
        self._read = [images.clone(), labels.clone()]
        self._launch = capture(lambda: step(*self._read))

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        for memory, value in zip(self._read, (images, labels), strict=True):
            memory.copy_(value)
        self._launch()


def _cuda_graph(function: Callable[[], None]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    try:
        # The outer context: torch stays on the stream of a capture that fails.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            function()
    except RuntimeError:
        _failures.append(graph)
        raise
    return graph.replay


def _memory_demand(function: Callable[[], None]) -> int:
    """Calls a function; the bytes of GPU memory that it took at its peak, 0 without a GPU."""
    if not torch.cuda.is_available():
        function()
        return 0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return torch.cuda.max_memory_allocated() - before


def _memory_left(device: torch.device) -> int:
    """Bytes that can still be taken: what is free, and what torch has kept for later."""
    if device.type != "cuda":
        return 0
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reserve


def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _agree(before: Sequence[Tensor], references: Sequence[Tensor], results: Sequence[Tensor]) -> bool:
    """Whether every tensor has moved as expected; one that was expected to be finite is so."""
    for start, one, other in zip(before, references, results, strict=True):
        start, one, other = start.double(), one.double(), other.double()
        bound = TOLERANCE * (one - start).norm() + ROUNDING * one.norm()
        if one.isfinite().all() and not (other - one).norm() <= bound:
            return False
    return True
