"""Small runs to be killed, crowded and starved of disk: what they give has to be what undisturbed ones give."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TextIO

import processes

from at_repro.records import Store
from at_repro.runs import ActivationTransfer, Distillation, Run
from at_repro.training import Progress, checkpointer, missing_runs, train

TINY = {"dataset": "shapes", "subset": 24, "batch_size": 8, "precision": "fp32"}
TEACHER = Run("wrn-10-1", epochs=1, **TINY)
BOTH = (ActivationTransfer(decay="linear"), Distillation())
STUDENTS = [Run("wrn-10-1", epochs=2, **TINY), Run("wrn-10-1", epochs=2, terms=BOTH, teacher=TEACHER, **TINY)]
RUNS = [TEACHER, *STUDENTS]
STEPS = 9  # of the teacher's epoch and of the cohort's two
AT_ONCE = 4  # processes on one store

Row = tuple[str, int, str, int]  # what was done, how often, what would be a fault, how many there were


def learn(store: Store, runs: Sequence[Run] = RUNS, progress: Progress | None = None) -> None:
    """Trains, with a checkpoint after every step, so that much of the time goes into writing."""
    checkpointer.INTERVAL = -1.0
    with open(os.devnull, "w") as nowhere:
        train(runs, store, device="cpu", compile="off", progress=progress or Progress(nowhere))


def undisturbed(folder: Path) -> Store:
    """A store with the records of RUNS, never disturbed."""
    return Store(shutil.copytree(_trained().name, folder), writable=True)


@cache
def _trained() -> tempfile.TemporaryDirectory:
    """Once for all proofs, until the end of this process."""
    folder = tempfile.TemporaryDirectory()
    code, said = processes.run(lambda: learn(Store(folder.name, writable=True)))
    assert code == 0, said
    return folder


def same(store: Store, whole: Store, runs: Sequence[Run] = RUNS) -> bool:
    """Whether both hold the same: weights, predictions and specs byte for byte, curves but for their seconds."""
    for run in runs:
        one, other = store.load(run), whole.load(run)
        for name in ("weights.safetensors", "predictions.csv", "spec.json"):
            if (one.folder / name).read_bytes() != (other.folder / name).read_bytes():
                return False
        if not one.epochs().drop(columns="seconds").equals(other.epochs().drop(columns="seconds")):
            return False
        if one.final != other.final:
            return False
    return True


def continued(store: Store, whole: Store) -> bool:
    """Whether the same command, undisturbed, now ends with the same records, and leaves nothing else."""
    code, said = processes.run(lambda: learn(store))
    if code:
        print(said, file=sys.stderr)
    return code == 0 and same(store, whole) and not list(store.in_progress.iterdir())


def kills(count: int, folder: Path) -> list[Row]:
    """SIGKILL, `count` times: half at a random time, half at a random access to the disk."""
    whole, started = undisturbed(folder / "whole"), time.perf_counter()
    accesses, seconds = _accesses(folder / "counted"), time.perf_counter() - started
    killed, unequal = Counter(), 0
    while killed.total() < count:
        store = Store(folder / f"killed-{killed.total()}", writable=True)
        while killed.total() < count:
            before, later = _leftovers(store), killed.total() % 2
            code = _after(store, random.uniform(0, seconds)) if later else _at(store, random.randint(1, accesses))
            if code != -signal.SIGKILL:
                break
            killed[_moment(_leftovers(store) - before)] += 1
        unequal += not continued(store, whole)
        shutil.rmtree(store.folder)
    fault = "a run that is not bit-equal to one never killed"
    moments = ", ".join(f"{number} {moment}" for moment, number in sorted(killed.items()))
    return [(f"SIGKILL ({moments}), then continued", killed.total(), fault, unequal)]


def _after(store: Store, seconds: float) -> int:
    child, reading = processes.start(lambda: learn(store))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return processes.end(child, reading)[0]


def _at(store: Store, access: int) -> int:
    def work() -> None:
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1
            if counted == access:
                os.kill(os.getpid(), signal.SIGKILL)

        watch(store.folder, count)
        learn(store)

    return processes.run(work)[0]


def _accesses(folder: Path) -> int:
    """How often a store is accessed while RUNS are trained."""
    store = Store(folder, writable=True)
    return int(processes.run(lambda: count_accesses(store.folder, lambda: learn(store)))[1])


def count_accesses(folder: Path, work: Callable[[], object]) -> None:
    """Does some work, and writes to standard error how often it accesses a folder."""
    accesses = []
    watch(folder, lambda: accesses.append(1))
    work()
    print(len(accesses), file=sys.stderr)


def watch(folder: Path, call: Callable[[], None]) -> None:
    """Calls before every access to a file below a folder, for the rest of this process."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" or event.startswith(("os.", "shutil.")):
            paths = [os.fspath(value) for value in arguments if isinstance(value, str | os.PathLike)]
            if any(path.startswith(str(folder)) for path in paths):
                call()

    sys.addaudithook(hook)


def _leftovers(store: Store) -> set[tuple[str, int]]:
    found = set()
    for path in [*store.in_progress.glob("*.tmp"), *store.in_progress.glob("writing-*")]:
        found.add((path.name, path.stat().st_mtime_ns))
    return found


def _moment(left: set[tuple[str, int]]) -> str:
    names = [name for name, _ in left]
    if any(name.startswith("writing-") for name in names):
        return "while writing a record"
    return "while writing a checkpoint" if names else "in training"


class Told(Progress):
    """Reports to a file of its own, and calls after every step."""

    def __init__(self, stream: TextIO, after_step: Callable[[], None] = lambda: None):
        super().__init__(stream)
        self.after_step = after_step

    def step(self, *_) -> None:
        self.after_step()


def together(count: int, folder: Path) -> list[Row]:
    """Processes that are started together on one store with `count` runs."""
    store = Store(folder / "shared", writable=True)
    runs = [replace(STUDENTS[0], seed=seed) for seed in range(count)]
    logs = [folder / f"process-{number}.log" for number in range(AT_ONCE)]

    def work(log: Path) -> None:
        missing_runs.WAIT = 0.1
        with log.open("w") as stream:
            learn(store, runs, Progress(stream))

    children = [processes.start(lambda log=log: work(log)) for log in logs]
    ended = [processes.end(*child) for child in children]
    lines = [line for log in logs for line in log.read_text().splitlines()]
    begun = Counter(line.split(",")[0].strip() for line in lines if line.startswith("  "))
    recorded = Counter(line.split()[1].rstrip(":") for line in lines if line.startswith("recorded "))
    wrong = sum(begun[run.run_id] != 1 or recorded[run.run_id] != 1 or not store.has(run) for run in runs)
    wrong += sum(code != 0 for code, _ in ended)
    return [(f"{AT_ONCE} processes on one store", count, "a run not trained exactly once", wrong)]


def full_disk(count: int, folder: Path) -> list[Row]:
    """A limit for the size of files, at a random number of bytes: each file beyond it is cut, as on a full disk."""
    whole = undisturbed(folder / "whole")
    largest = 2 * (whole.load(TEACHER).folder / "weights.safetensors").stat().st_size
    wrong = 0
    for number in range(count):
        store = Store(folder / f"limited-{number}", writable=True)
        limit = random.randrange(largest)

        def work(store: Store = store, limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            learn(store)

        wrong += not (_refused(*processes.run(work), store) and continued(store, whole))
    return [("a limit for the size of files", count, "no clear line, or a store that is not as good as before", wrong)]


def small_disk(count: int, folder: Path) -> list[Row]:
    """A disk of at most a megabyte, in memory; left out where this process may not mount one."""
    whole, mount, wrong = undisturbed(folder / "whole"), folder / "disk", 0
    mount.mkdir()
    for _ in range(count):
        size = f"size={random.randrange(100, 900)}k"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", mount], capture_output=True).returncode:
            return []
        try:
            store = Store(mount / "store", writable=True)
            refused = _refused(*processes.run(lambda store=store: learn(store)), store)
            subprocess.run(["mount", "-o", "remount,size=32m", mount], check=True)
            wrong += not (refused and continued(store, whole))
        finally:
            subprocess.run(["umount", mount], check=True)
    return [("a disk that fills", count, "no clear line, or a store that is not as good as before", wrong)]


def read_only(count: int, folder: Path) -> list[Row]:
    """A store that can no longer be written from a random step on. Root, whom nothing stops, becomes nobody first."""
    whole, wrong = undisturbed(folder / "whole"), 0
    folder.chmod(0o755)
    for number in range(count):
        store = Store(folder / f"read-only-{number}", writable=True)
        left = random.randint(1, STEPS - 1)

        def work(store: Store = store, left: int = left) -> None:
            steps = []

            def step() -> None:
                steps.append(1)
                if len(steps) == left:
                    _set_modes(store, 0o555)
                    _become_nobody()

            with open(os.devnull, "w") as nowhere:
                learn(store, progress=Told(nowhere, step))

        refused = _refused(*processes.run(work), store)
        _set_modes(store, 0o755)
        wrong += not (refused and continued(store, whole))
    return [("a store that becomes read-only", count, "no clear line, or a store that is not as good as before", wrong)]


def _refused(code: int, said: str, store: Store) -> bool:
    """Whether a process ended with one clear line and left whole files only."""
    clear = code == processes.REFUSED and said.count("\n") == 1 and "cannot be written" in said
    if not clear:
        print(f"ended with {code}: {said}", file=sys.stderr)
    return clear and not _leftovers(store) and len(store.all()) == len(store.folders())


def _set_modes(store: Store, mode: int) -> None:
    for path in (store.folder, store.in_progress):
        path.chmod(mode)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def clock(count: int, folder: Path) -> list[Row]:
    """Every process finds its clock an hour before the last one's, and its files in the future."""
    whole, unequal = undisturbed(folder / "whole"), 0
    for number in range(count):
        store = Store(folder / f"earlier-{number}", writable=True)
        for hours in (1, 2):
            left = random.randint(1, 3)

            def work(store: Store = store, hours: int = hours, left: int = left) -> None:
                now, steps = time.time, []
                time.time = lambda: now() - 3600 * hours

                def step() -> None:
                    steps.append(1)
                    if len(steps) == left:
                        signal.raise_signal(signal.SIGTERM)

                with open(os.devnull, "w") as nowhere:
                    learn(store, progress=Told(nowhere, step))

            processes.run(work)
            for path in store.folder.rglob("*"):
                os.utime(path, (time.time() + 86400,) * 2)
        unequal += not continued(store, whole)
    return [("clock set back between processes", count, "a run that is not bit-equal", unequal)]
