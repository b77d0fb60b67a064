"""Which runs are trained next, together, and by whom: cohorts, and the locks that give a run to one process."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from at_repro import files
from at_repro.records import Store
from at_repro.runs import Run
from at_repro.training import checkpoints, engine


def with_teachers(runs: Iterable[Run]) -> list[Run]:
    """The runs and all their teachers, each once, a teacher before its students."""
    ordered: dict[Run, None] = {}
    for run in runs:
        if run.teacher is not None:
            ordered.update(dict.fromkeys(with_teachers([run.teacher])))
        ordered[run] = None
    return list(ordered)


def tasks(runs: Iterable[Run]) -> list[list[Run]]:
    """What can be handed to several machines: every teacher by itself, before the cohorts of the other runs."""
    runs = with_teachers(runs)
    awaited = {run.teacher for run in runs}
    return [[run] for run in runs if run in awaited] + cohorts([run for run in runs if run not in awaited])


def cohorts(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can be trained in one loop, in order of their first appearance.

    They share everything that decides a batch and the schedule; runs without a teacher join the first cohort they fit.
    """
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            teachers = {member.teacher for member in [*group, run]} - {None}
            if _shared(run) == _shared(group[0]) and len(teachers) < 2:
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def _shared(run: Run) -> tuple:
    return (run.dataset, run.subset, run.epochs, run.batch_size, run.milestones, run.drop, run.augmentation,
            run.precision, run.seed, teacher_layers(run))  # fmt: skip


def teacher_layers(run: Run) -> tuple[str, ...]:
    """The layers of the teacher that a run names. A teacher watched at other layers is rounded at other places."""
    return tuple(other for term in run.terms for _, other in term.layers or ())


def next_cohort(needed: Sequence[Run], store: Store) -> list[Run]:
    """The first cohort that can be trained now and has a run that nobody else is training; else an empty list.

    Teachers come first and by themselves, since others wait for them.
    """
    ready = [run for run in needed if run.teacher is None or store.has(run.teacher)]
    awaited = {run.teacher for run in needed}
    first, rest = [run for run in ready if run in awaited], [run for run in ready if run not in awaited]
    for cohort in cohorts(first) + cohorts(rest):
        if not all(_owned(store, run) for run in cohort):
            return cohort
    return []


def _lock(locks: ExitStack, store: Store, run: Run) -> bool:
    """Takes the run for this process until `locks` closes or the process dies; False where another one has it."""
    if not _hold(locks, store.lock_path(run)):
        return False
    return not store.has(run)  # another process may have finished it in between


def _hold(locks: ExitStack, path: Path) -> bool:
    with files.write_errors(path):
        try:
            locks.enter_context(FileLock(path).acquire(timeout=0))
        except Timeout:
            return False
    return True


def _owned(store: Store, run: Run) -> bool:
    with ExitStack() as locks:
        return not _lock(locks, store, run)


def _precision(run: Run, store: Store, device: torch.device) -> str:
    """The precision to train a run in: the one it was begun in, else that of its spec, "auto" being decided here."""
    if (path := store.checkpoint_path(run)).exists():
        return checkpoints.precision_of(path)
    return engine.fastest_precision(device) if run.precision == "auto" else run.precision


def choose(needed: Sequence[Run], store: Store, device: torch.device, locks: ExitStack) -> tuple[list[Run], str | None]:
    """The runs to train next, which are locked until `locks` closes, and their precision; no run where there is none
    that nobody else is training."""
    own = [run for run in next_cohort(needed, store) if _lock(locks, store, run)]
    if not own:
        return [], None
    # Runs stopped on another machine may go on in another precision than new ones: those come next.
    precision = _precision(own[0], store, device)
    return [run for run in own if _precision(run, store, device) == precision], precision


def tidy(store: Store) -> None:
    """Removes what dead processes left in a store beside their checkpoints, and everything that recorded runs left.

    Every process that trains a run locks it first: what lies beside a lock that can be taken belongs to nobody alive.
    """
    for path in store.in_progress.glob("*.lock"):
        with ExitStack() as locks:
            if _hold(locks, path):
                store.clear(path.stem)
