"""What `at-repro bench` measures: each case returns rows of name, value and unit, all from one run on one machine."""

import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.profiler import ProfilerActivity, profile

from at_repro import experiments, networks
from at_repro.bench import plain, timing
from at_repro.data import ImageSet
from at_repro.runs import Run
from at_repro.runs.terms import Term
from at_repro.training import Student, engine
from at_repro.training.batch import Teacher
from at_repro.training.cuda_graphs import Replay, choose_capture
from at_repro.training.evaluation import evaluate
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
        taught_by = Run(teacher, epochs=1)
        self.images = images.subset(BATCH * _steps(device))
        precision = engine.fastest_precision(device)
        self.forward = engine.forward(precision, compiled)
        self.students = [
            Student(Run(student, epochs=10**6, terms=own, teacher=taught_by if own else None), 10, device, precision)
            for own in terms
        ]
        self.teachers = {taught_by: _teacher(teacher, device, compiled)}
        self.replay = Replay(choose_capture(images))

    def train(self) -> None:
        """One measured call: data, teacher, students."""
        rows = train_epoch(self.students, self.teachers, self.images, self.forward, lambda *_: None, replay=self.replay)
        for student, row in zip(self.students, rows, strict=True):
            student.end_epoch(row)


def plain_untouched(images: ImageSet) -> list[Row]:
    """The field's loop with the memory setting that a process begins with; `engine.keep_freed_memory` is for good."""
    seconds = timing.median_seconds({"plain": _plain_loop(images, "wrn-16-1", "wrn-16-2")})
    speed = BATCH * _steps(images.device) / seconds["plain"]
    return [("wrn-16-1 from wrn-16-2, AT: plain loop, own memory setting", speed, "images/s")]


def against_plain(images: ImageSet, compiled: bool) -> list[Row]:
    """Images per second, data included, of the field's loop and of ours."""
    rows: list[Row] = []
    images_seen = BATCH * _steps(images.device)
    for student, teacher in (("wrn-16-1", "wrn-16-2"), ("wrn-16-2", "wrn-40-2")):
        ours = Cohort(images, student, [METHODS["AT"]], teacher, compiled)
        seconds = timing.median_seconds({"plain": _plain_loop(images, student, teacher), "ours": ours.train})
        speeds = {name: images_seen / value for name, value in seconds.items()}
        pair = f"{student} from {teacher}, AT"
        rows += [
            (f"{pair}: plain loop", speeds["plain"], "images/s"),
            (f"{pair}: ours", speeds["ours"], "images/s"),
            (f"{pair}: ratio", speeds["ours"] / speeds["plain"], "x"),
        ]
    return rows


def _plain_loop(images: ImageSet, student: str, teacher: str) -> Callable[[], None]:
    """One measured call of the field's loop."""
    device = images.device
    network, frozen = _random(student, device, nchw=True), _random(teacher, device, nchw=True)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4)
    loader = plain.loader(images.subset(BATCH * _steps(device)).to("cpu"), BATCH)
    return lambda: plain.train_epoch(network, frozen, loader, optimizer, device)


def cohort(images: ImageSet, compiled: bool) -> list[Row]:
    """A cohort of five against the five trained one after another."""
    together = Cohort(images, "wrn-16-1", list(METHODS.values()), "wrn-16-2", compiled)
    alone = [Cohort(images, "wrn-16-1", [terms], "wrn-16-2", compiled) for terms in METHODS.values()]

    def one_after_another() -> None:
        for single in alone:
            single.train()

    def teacher_only() -> None:
        for batch, labels in batches(together.images, together.students[0].run, 0):
            (teacher,) = together.teachers.values()
            _synchronised(batch.device, teacher.see(batch, labels).output.logits)

    calls = {"together": together.train, "alone": one_after_another, "teacher": teacher_only}
    seconds = timing.median_seconds(calls)
    steps = _steps(images.device)
    per_step = {name: 1000 * value / steps / len(METHODS) for name, value in seconds.items()}
    return [
        ("the teacher's pass, data included", 1000 * seconds["teacher"] / steps, "ms per step"),
        ("five students one after another", per_step["alone"], "ms per student and step"),
        ("five students in a cohort", per_step["together"], "ms per student and step"),
        ("cohort: share of the cost per student", per_step["together"] / per_step["alone"], "x"),
    ]


def peak(images: ImageSet, compiled: bool) -> list[Row]:
    """What share of the convolution peak, measured here on one large convolution, a plain training step reaches."""
    device = images.device
    precision = engine.fastest_precision(device)
    operations = 2 * 9 * 128 * 128 * 32 * 32 * BATCH
    names = ("wrn-16-1", "wrn-16-2")
    students = {name: Cohort(images, name, [()], "wrn-10-1", compiled) for name in names}
    calls = {kind: _large_convolution(device, dtype) for kind, dtype in _DTYPES.items()}
    seconds = timing.median_seconds(calls | {name: students[name].train for name in names}, repeats=7)
    rows: list[Row] = [(f"convolution peak, {kind}", operations / seconds[kind] / 1e9, "GFLOP/s") for kind in calls]
    for name in names:
        reached = 3 * networks.forward_operations(name) * BATCH * _steps(device) / seconds[name]
        rows.append((f"{name} training step", reached / 1e9, "GFLOP/s"))
        rows.append((f"{name}: share of the peak", 100 * reached * seconds[precision] / operations, "%"))
    return rows


def checking(images: ImageSet) -> list[Row]:
    """What share of the float32 peak `at-repro verify` reaches, and the processor's seconds of commands that list."""
    device = images.device
    operations = 2 * 9 * 128 * 128 * 32 * 32 * BATCH
    sample, network = images.subset(BATCH * _steps(device)), _random("wrn-16-2", device).eval()
    calls = {
        "peak": _large_convolution(device, torch.float32),
        "verify": lambda: evaluate(engine.forward("fp32", False), network, sample),
    }
    seconds = timing.median_seconds(calls)
    reached = networks.forward_operations("wrn-16-2") * len(sample) / seconds["verify"]
    rows: list[Row] = [("at-repro verify: share of the peak", 100 * reached * seconds["peak"] / operations, "%")]
    for command in ("--help", "experiments", "status", "claims"):
        (spent,) = timing.script(_LIST, command)
        rows.append((f"at-repro {command}", spent, "s of processor time"))
    return rows


def _large_convolution(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    x = torch.randn(BATCH, 128, 32, 32, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3, dtype=dtype, device=device).to(memory_format=torch.channels_last)
    return lambda: _synchronised(device, conv2d(x, weight, padding=1))


def profiled(images: ImageSet, compiled: bool) -> list[Row]:
    """Where plain steps spend their time, and the rate that their convolutions reach: no step can be faster.

    On a CPU; a GPU works on while the profiler looks at what was asked of it.
    """
    return [] if images.device.type != "cpu" else [*_profile("wrn-16-1", images, compiled),
                                                   *_profile("wrn-16-2", images, compiled)]  # fmt: skip


def _profile(name: str, images: ImageSet, compiled: bool) -> list[Row]:
    single = Cohort(images, name, [()], "wrn-10-1", compiled)
    single.train()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        single.train()
    seconds = dict.fromkeys([*_KERNELS, "everything else"], 0.0)
    for event in profiler.key_averages():
        kind = next((kind for kind, names in _KERNELS.items() if re.match(names, event.key)), "everything else")
        seconds[kind] += event.self_cpu_time_total / 1e6
    total = sum(seconds.values())
    rows: list[Row] = [(f"{name} step: {kind}", 100 * value / total, "%") for kind, value in seconds.items()]
    operations = 3 * networks.forward_operations(name) * BATCH * STEPS
    if convolutions := sum(value for kind, value in seconds.items() if kind.startswith("convolutions")):
        rows.append((f"{name} step: rate of its convolutions", operations / convolutions / 1e9, "GFLOP/s"))
    return rows


def processes(images: ImageSet, compiled: bool) -> list[Row]:
    """Images per second in all: one process with all threads, or a process of one thread on each core."""
    cores = torch.get_num_threads()
    if images.device.type != "cpu" or cores > 16:  # a process of its own on each of many cores has no use
        return []
    speeds: dict[int, list[float]] = {1: [], cores: []}
    for _ in range(ROUNDS):
        for count, rates in speeds.items():
            arguments = map(str, (cores // count, int(compiled), BATCH, STEPS))
            rates.append(sum(timing.together(_SIDE_BY_SIDE, count, *arguments)))
    return [
        (f"{count} process(es) of {cores // count} thread(s)", statistics.median(rates), "images/s in all")
        for count, rates in speeds.items()
    ]


def data_share(images: ImageSet, compiled: bool) -> list[Row]:
    """Time to make the batches, as a share of a step of WRN-16-1 with AT."""
    single = Cohort(images, "wrn-16-1", [METHODS["AT"]], "wrn-16-2", compiled)
    run = single.students[0].run

    def only_data() -> None:
        for batch, _ in batches(single.images, run, 0):
            _synchronised(batch.device, batch)

    seconds = timing.median_seconds({"data": only_data, "step": single.train})
    return [("data: share of a step", 100 * seconds["data"] / seconds["step"], "%")]


def growth(images: ImageSet, compiled: bool) -> list[Row]:
    """Cost of a step against the number of students and the depth of a student, and of AT where there is KD."""
    by_number = {
        f"step with {count} AT students": Cohort(images, "wrn-16-1", [METHODS["AT"]] * count, "wrn-16-2", compiled)
        for count in (1, 2, 4, 8, 12)
    }
    by_depth = {f"step of wrn-{depth}-1": Cohort(images, f"wrn-{depth}-1", [()], "wrn-10-1", compiled)
                for depth in (10, 16, 28, 40)}  # fmt: skip
    by_method = {f"step with {name}": Cohort(images, "wrn-16-1", [METHODS[name]], "wrn-16-2", compiled)
                 for name in ("KD", "AT+KD")}  # fmt: skip
    seconds = timing.median_seconds({name: cohort.train for name, cohort in (by_number | by_depth | by_method).items()})
    return [(name, 1000 * value / _steps(images.device), "ms") for name, value in seconds.items()]


def start_up(data_root: str | None) -> list[Row]:
    """Imports, and the time from the command to the first training step, compiled with nothing kept from before."""
    torch_alone = "import time; t = time.time(); import torch, torchvision; print(time.time() - t)"
    ours = torch_alone.replace("print(", "import at_repro.training, at_repro.records; print(")
    seconds = {code: min(timing.script(code)[0] for _ in range(3)) for code in (torch_alone, ours)}
    rows: list[Row] = [("import beyond torch and torchvision", seconds[ours] - seconds[torch_alone], "s")]
    for compile, name in (("off", "not compiled"), ("auto", "compiled")):
        with tempfile.TemporaryDirectory() as folder:
            (first,) = timing.script(_FIRST_STEP, data_root or "", folder, compile, str(time.time()))
        rows.append((f"from the command to the first step, all of CIFAR-10, {name}", first, "s"))
    return rows


def memory(data_root: str | None) -> list[Row]:
    """Peak memory of a process that trains twelve WRN-16-1 students with all of CIFAR-10 loaded."""
    (peak,) = timing.script(_TWELVE, data_root or "")
    return [("peak memory of a cohort of twelve", peak, "GB")]


def report(data_root: str | None) -> list[Row]:
    """Seconds to make the report from the records, and its two parts."""
    rendering, whole = timing.script(_REPORT, data_root or "")
    return [
        ("the book from the records", whole, "s"),
        ("the book: executing what has changed", whole - rendering, "s"),
        ("the book: rendering pages", rendering, "s"),
    ]


_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}

# Patterns of the profiler's names, compiled and not.
_KERNELS = {
    "convolutions, backward": r"aten::convolution_backward$",
    "convolutions, forward": r"aten::(mkldnn_convolution|_slow_conv2d_forward|thnn_conv2d)$",
    "batch norms, ReLUs, sums": r"## Call CompiledFx|aten::(native_batch_norm|clamp_min|threshold_backward|add_?$)",
    "optimiser": r"Optimizer\.|aten::_foreach",
}

_FIRST_STEP = """
import os, sys, time
data_root, folder, compile, start = sys.argv[1:]
os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
from at_repro import cli
from at_repro.training import Progress
def first(*_):
    print(time.time() - float(start), flush=True)
    raise KeyboardInterrupt
Progress.step = first
given = ["--data-root", data_root] if data_root else []
given += ["--results", folder, "--compile", compile]
cli.main(["run", "wrn-16-2-to-16-1", "--preset", "reduced", "--seeds", "0", *given])
"""

_LIST = """
import sys, time
from at_repro import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
print()
print(time.process_time())
"""

_TWELVE = """
import resource, sys
from at_repro import data
from at_repro.bench.cases import Cohort, METHODS
images, test_images = (data.load("cifar10", split, sys.argv[1] or None) for split in ("train", "test"))
Cohort(images, "wrn-16-1", [METHODS["AT"]] * 12, "wrn-16-2", False).train()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""

_REPORT = """
import sys, time
from at_repro.report import book
spent = {}
def timed(name, function):
    def run(*arguments):
        start = time.time()
        try:
            return function(*arguments)
        finally:
            spent[name] = time.time() - start
    return run
book.render = timed("rendering", book.render)
timed("whole", book.build)(data_root=sys.argv[1] or None)
print(*spent.values())
"""

_SIDE_BY_SIDE = """
import sys, torch
from at_repro import data
from at_repro.bench import cases, timing
from at_repro.training import engine
threads, compiled, cases.BATCH, cases.STEPS = map(int, sys.argv[1:])
torch.set_num_threads(threads)
engine.keep_freed_memory()
seen = cases.BATCH * cases.STEPS
alone = cases.Cohort(data.load("shapes", "train", subset=seen), "wrn-16-1", [()], "wrn-10-1", bool(compiled))
alone.train()
print("ready", flush=True)
input()
print(seen / timing.median_seconds({"alone": alone.train})["alone"])
"""


@cache
def _teacher(name: str, device: torch.device, compiled: bool) -> Teacher:
    """One teacher per architecture, so that it is compiled once."""
    return Teacher(_random(name, device).requires_grad_(False), name, engine.fastest_precision(device), compiled)


def _random(name: str, device: torch.device, nchw: bool = False) -> nn.Module:
    layout = torch.contiguous_format if nchw else torch.channels_last
    return engine.place(networks.build(name, 10, torch.Generator().manual_seed(0)), device, layout)


def _steps(device: torch.device) -> int:
    return STEPS if device.type == "cpu" else GPU_STEPS * STEPS


def _synchronised(device: torch.device, result: Tensor) -> Tensor:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result
