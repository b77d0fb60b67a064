"""Which runs a process trains next: the first cohort that nobody else has, under locks."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from at_repro import files
from at_repro.errors import UserError
from at_repro.records import Store, checkpoint_file
from at_repro.runs import Run
from at_repro.runs.cohorts import cohorts
from at_repro.training import engine


def choose(runs: Sequence[Run], store: Store, device: torch.device, locks: ExitStack) -> tuple[list[Run], str | None]:
    """The runs to train next, which are locked until `locks` closes, and their precision: of the first cohort that can
    be trained now those that nobody else is training; no run where others have all.

    Teachers come first and by themselves, since others wait for them.
    """
    ready = [run for run in runs if run.teacher is None or store.has(run.teacher)]
    teachers = {run.teacher for run in runs}
    first, rest = [run for run in ready if run in teachers], [run for run in ready if run not in teachers]
    for cohort in cohorts(first) + cohorts(rest):
        # Another process may have finished a run in between.
        if own := [run for run in cohort if _hold(locks, store.lock_path(run)) and not store.has(run)]:
            # Runs stopped on another machine may go on in another precision than new ones: those come next.
            precisions = {run: _precision(run, store, device) for run in own}
            return [run for run in own if precisions[run] == precisions[own[0]]], precisions[own[0]]
    return [], None


def _hold(locks: ExitStack, path: Path) -> bool:
    """Takes a lock for this process until `locks` closes or the process dies; False where another one has it."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file, and cannot be a lock: remove it")
    with files.write_errors(path):
        try:
            # Where a file system has no locks, filelock would fall back on files, and two processes would both train.
            locks.enter_context(FileLock(path, fallback_to_soft=False).acquire(timeout=0))
        except Timeout:
            return False
    return True


def _precision(run: Run, store: Store, device: torch.device) -> str:
    """The precision to train a run in: the one it was begun in, else that of its spec, "auto" being decided here."""
    if (path := store.checkpoint_path(run)).exists():
        return checkpoint_file.read_header(path)["precision"]
    return engine.fastest_precision(device) if run.precision == "auto" else run.precision


def tidy(store: Store) -> None:
    """Removes what dead processes left in a store beside their checkpoints, and everything that recorded runs left.

    Every process that trains a run locks it first: what lies beside a lock that can be taken belongs to nobody alive.
    """
    for path in store.in_progress.glob("*.lock"):
        with ExitStack() as locks:
            if os.access(path, os.W_OK) and _hold(locks, path):  # or the store is only read
                store.clear(path.stem)
