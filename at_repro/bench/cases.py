"""What `at-repro bench` measures: each case returns rows of name, value and unit, all from one run on one machine."""

import resource
import statistics
import sys
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from at_repro import data, experiments, networks
from at_repro.bench import LISTS, plain_loop, timing
from at_repro.data import ImageSet
from at_repro.runs import Run
from at_repro.runs.terms import Term
from at_repro.training import Student, engine
from at_repro.training.batch import Teacher
from at_repro.training.cuda_graphs import Replay, choose_capture
from at_repro.training.loop import batches, train_epoch

Row = tuple[str, float, str]
BATCH = 128
STEPS = 8  # of one measured call; of GPU_STEPS times as many, which take a GPU as long
GPU_STEPS = 16
ROUNDS = 3  # of processes side by side, which take seconds to start
METHODS: dict[str, tuple[Term, ...]] = {"student": ()} | experiments.METHODS


class Cohort:
    """Students with random weights in the loop that trains them for real: speed does not depend on the weights."""

    def __init__(self, images: ImageSet, student: str, terms: list[tuple[Term, ...]], teacher: str, compiled: bool):
        device = images.device
        teacher_run = Run(teacher, epochs=1)
        self.images = images.select(slice(BATCH * _steps(device)))
        precision = engine.fastest_precision(device)
        self.forward = engine.forward(precision, compiled)
        self.students = [
            Student(Run(student, epochs=10**6, terms=own, teacher=teacher_run if own else None), 10, device, precision)
            for own in terms
        ]
        self.teacher = _teacher(teacher, device, compiled)
        self.replay = Replay(choose_capture(images))

    def train(self) -> None:
        """One measured call: data, teacher, students."""
        rows = train_epoch(self.students, self.teacher, self.images, self.forward, lambda *_: None, replay=self.replay)
        for student, row in zip(self.students, rows, strict=True):
            student.end_epoch(row)


def against_plain(images: ImageSet, compiled: bool) -> list[Row]:
    """Images per second, data included, of a plain PyTorch loop and of ours."""
    rows: list[Row] = []
    image_count = BATCH * _steps(images.device)
    for student, teacher in (("wrn-16-1", "wrn-16-2"), ("wrn-16-2", "wrn-40-2")):
        ours = Cohort(images, student, [METHODS["AT"]], teacher, compiled)
        seconds = timing.median_seconds({"plain": _plain_loop(images, student, teacher), "ours": ours.train})
        speeds = {name: image_count / value for name, value in seconds.items()}
        pair = f"{student} from {teacher}, AT"
        rows += [
            (f"{pair}: plain loop", speeds["plain"], "images/s"),
            (f"{pair}: ours", speeds["ours"], "images/s"),
            (f"{pair}: ratio", speeds["ours"] / speeds["plain"], "x"),
        ]
    return rows


def _plain_loop(images: ImageSet, student: str, teacher: str) -> Callable[[], None]:
    """One measured call of the plain loop."""
    device = images.device
    network, teacher_network = _random(student).to(device), _random(teacher).to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4)
    loader = plain_loop.loader(images.subset(BATCH * _steps(device)).to("cpu"), BATCH)
    return lambda: plain_loop.train_epoch(network, teacher_network, loader, optimizer, device)


def cohort(images: ImageSet, compiled: bool) -> list[Row]:
    """A cohort of five against the five trained one after another."""
    five = Cohort(images, "wrn-16-1", list(METHODS.values()), "wrn-16-2", compiled)
    alone = [Cohort(images, "wrn-16-1", [terms], "wrn-16-2", compiled) for terms in METHODS.values()]

    def one_after_another() -> None:
        for single in alone:
            single.train()

    seconds = timing.median_seconds({"together": five.train, "alone": one_after_another})
    each = {name: 1000 * value / _steps(images.device) / len(METHODS) for name, value in seconds.items()}
    return [
        ("five students one after another", each["alone"], "ms per student and step"),
        ("five students in a cohort", each["together"], "ms per student and step"),
        ("cohort: share of the cost per student", each["together"] / each["alone"], "x"),
    ]


def peak(images: ImageSet, compiled: bool) -> list[Row]:
    """What share of the convolution peak, measured here on one large convolution, a plain training step reaches."""
    device = images.device
    precision = engine.fastest_precision(device)
    operations = _PEAK_OPERATIONS * BATCH
    names = ("wrn-16-1", "wrn-16-2")
    students = {name: Cohort(images, name, [()], "wrn-10-1", compiled) for name in names}
    calls = {kind: _large_convolution(device, dtype) for kind, dtype in _DTYPES.items()}
    seconds = timing.median_seconds(calls | {name: students[name].train for name in names}, repeats=7)
    rows: list[Row] = [(f"convolution peak, {kind}", operations / seconds[kind] / 1e9, "GFLOP/s") for kind in calls]
    for name in names:
        rate = 3 * networks.forward_operations(name) * BATCH * _steps(device) / seconds[name]
        rows.append((f"{name} training step", rate / 1e9, "GFLOP/s"))
        rows.append((f"{name}: share of the peak", 100 * rate * seconds[precision] / operations, "%"))
    return rows


def _large_convolution(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    x = torch.randn(BATCH, 128, 32, 32, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    return lambda: _synchronise(conv2d(x, weight, padding=1))


def processes(images: ImageSet, compiled: bool) -> list[Row]:
    """Images per second in all: one process with all threads, or a process of one thread on each core."""
    cores = torch.get_num_threads()
    if images.device.type != "cpu" or cores > 16:  # a process of its own on each of many cores has no use
        return []
    speeds: dict[int, list[float]] = {1: [], cores: []}
    for _ in range(ROUNDS):
        for count, rates in speeds.items():
            rates.append(sum(timing.in_processes(_rate, count, cores // count, compiled, BATCH * STEPS)))
    return [
        (f"{count} process(es) of {cores // count} thread(s)", statistics.median(rates), "images/s in all")
        for count, rates in speeds.items()
    ]


def _rate(ready: Callable[[], object], threads: int, compiled: bool, image_count: int) -> float:
    """Images per second of a process of its own, on so many images, measured when all are `ready`."""
    torch.set_num_threads(threads)
    engine.keep_freed_memory()
    images = data.load("shapes", "train", subset=image_count)
    assert isinstance(images, ImageSet)  # it is made in memory
    alone = Cohort(images, "wrn-16-1", [()], "wrn-10-1", compiled)
    alone.train()
    ready()
    return image_count / timing.median_seconds({"alone": alone.train})["alone"]


def data_share(images: ImageSet, compiled: bool) -> list[Row]:
    """Time to make the batches, as a share of a step of WRN-16-1 with AT."""
    single = Cohort(images, "wrn-16-1", [METHODS["AT"]], "wrn-16-2", compiled)
    run = single.students[0].run

    def only_data() -> None:
        for batch, _ in batches(single.images, run, 0):
            _synchronise(batch)

    seconds = timing.median_seconds({"data": only_data, "step": single.train})
    return [("data: share of a step", 100 * seconds["data"] / seconds["step"], "%")]


def growth(images: ImageSet, compiled: bool) -> list[Row]:
    """Cost of a step against the number of students, and of AT where there is KD."""
    cohorts = {
        f"step with {count} AT students": Cohort(images, "wrn-16-1", [METHODS["AT"]] * count, "wrn-16-2", compiled)
        for count in (1, 2, 4, 8, 12)
    }
    for name in ("KD", "AT+KD"):
        cohorts[f"step with {name}"] = Cohort(images, "wrn-16-1", [METHODS[name]], "wrn-16-2", compiled)
    seconds = timing.median_seconds({name: cohort.train for name, cohort in cohorts.items()})
    return [(name, 1000 * value / _steps(images.device), "ms") for name, value in seconds.items()]


def imports() -> list[Row]:
    """What our own modules add to those of torch, which nobody does without."""
    torch_alone = "import torch, torchvision"
    ours = f"{torch_alone}, at_repro.training, at_repro.records"
    seconds = {code: min(timing.program("-c", code)[0] for _ in range(3)) for code in (torch_alone, ours)}
    return [("import beyond torch and torchvision", seconds[ours] - seconds[torch_alone], "s")]


def memory(data_root: str | None) -> list[Row]:
    """Peak memory of a process that trains twelve WRN-16-1 students with all of CIFAR-10 loaded."""
    (peak,) = timing.in_processes(_peak_of_twelve, 1, data_root)
    return [("peak memory of a cohort of twelve", peak, "GB")]


def _peak_of_twelve(_: Callable[[], object], data_root: str | None) -> float:
    engine.keep_freed_memory()  # as whoever trains does
    images, _test = (data.load("cifar10", split, data_root) for split in ("train", "test"))
    assert isinstance(images, ImageSet)  # it is not streamed
    Cohort(images, "wrn-16-1", [METHODS["AT"]] * 12, "wrn-16-2", False).train()
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, elsewhere kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def command(name: str, data_root: str | None) -> list[Row]:
    """What a command of `at-repro` takes, as a program: of a list the processor's seconds, else those that one waits.

    So that machines compare, also what the processor would convolve in its seconds at the float32 peak of one core.
    """
    peak = timing.median_seconds({"peak": _large_convolution(torch.device("cpu"), torch.float32)})["peak"]
    seconds, processor_seconds = timing.program("-m", "at_repro", name, data_root=data_root)
    rate = _PEAK_OPERATIONS * BATCH / peak / torch.get_num_threads() / 1e9
    row = (processor_seconds, "s of processor time") if name in LISTS else (seconds, "s")
    return [
        (f"at-repro {name}", *row),
        (f"at-repro {name}: at the convolution peak", processor_seconds * rate, "GFLOP"),
    ]


_PEAK_OPERATIONS = 2 * 9 * 128 * 128 * 32 * 32  # of the large convolution, per image
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@cache
def _teacher(name: str, device: torch.device, compiled: bool) -> Teacher:
    """One teacher per architecture, so that it is compiled once."""
    network = engine.place(_random(name), device).requires_grad_(False)
    return Teacher(network, name, engine.fastest_precision(device), compiled)


def _random(name: str) -> nn.Module:
    return networks.build(name, 10, torch.Generator().manual_seed(0))


def _steps(device: torch.device) -> int:
    return STEPS if device.type == "cpu" else GPU_STEPS * STEPS


def _synchronise(result: Tensor) -> None:
    if result.is_cuda:
        torch.cuda.synchronize()
