"""One record: how it is read, and what is wrong with one that cannot be."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from at_repro import files
from at_repro.errors import UserError
from at_repro.records import schema
from at_repro.runs import Run

# pandas and torch are imported where a table or weights are read: a list of records does without.
if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from at_repro.data import Images

FILES = ("spec.json", "epochs.csv", "predictions.csv", "weights.safetensors")


class DamagedRecord(UserError):
    """A record whose files are missing, cut or changed, or cannot be read here. Its numbers are never shown.

    Args:
        folder, reason: which, and what is wrong with it.
        otherwise: what it is where it need not be damaged; then nobody is told to delete it.
    """

    def __init__(self, folder: Path, reason: str, otherwise: str = ""):
        if otherwise:
            problem = f"{otherwise}: {reason}"
        elif any((folder / name).exists() for name in FILES):
            problem = f"is damaged: {reason}; delete {folder} and run again, or restore it from git"
        else:  # it may be anything
            problem = f"is none: {reason}; move {folder} to another place, or restore it from git"
        super().__init__(f"record {folder.name} {problem}")


@dataclass(frozen=True)
class Record:
    """A finished run: its spec and what was measured. `values` is the content of record.json but its checksum."""

    run: Run
    folder: Path
    values: dict

    @property
    def final(self) -> dict:
        """Of the last epoch: test_error, train_error and, of more than 100 classes, top5_error, in percent, and the
        mean cross-entropies test_loss and train_loss. Tests in float32, on the stored weights; the train
        ones are of the epoch's augmented images, each as its step met it, without transfer terms. All None if diverged.
        """
        return self.values["final"]

    @property
    def outcome(self) -> str:
        """What came of the run, in a few words."""
        if self.diverged:
            return f"diverged in epoch {self.diverged}"
        top5 = self.final.get("top5_error")
        return f"test error {self.final['test_error']:.2f} %" + ("" if top5 is None else f", top-5 {top5:.2f} %")

    @property
    def training_seconds(self) -> float:
        """What the run took of the loop that it shared with others: of each session an equal part, which is too little
        of a session in which others diverged or ended."""
        last = self.values["environment"]["company"]  # also of a session that names no other
        sessions = self.values["sessions"]
        return sum(session["seconds"] / (1 + len(session.get("company", last))) for session in sessions)

    @property
    def devices(self) -> list[str]:
        """On what the run was trained, each device once, that of its first session first."""
        names = self._of_sessions("device")
        return list(dict.fromkeys(name.replace(", 1 threads", ", 1 thread") for name in names))  # as old records say

    @property
    def commits(self) -> list[str]:
        """By which code the run was trained, each commit once, that of its first session first."""
        return list(dict.fromkeys(self._of_sessions("commit")))

    def _of_sessions(self, name: str) -> list[str]:
        """A value of the environment of each session that trained anything; they hold what is not as in the last."""
        sessions = [session for session in self.values["sessions"] if session["seconds"]] or [{}]
        return [session.get(name, self.values["environment"][name]) for session in sessions]

    def epochs(self) -> "pd.DataFrame":
        """A row per epoch, float64: epoch (from 1), learning_rate, train_loss, train_error, test_loss, test_error
        (errors in percent), seconds. Raises DamagedRecord.
        """
        import pandas as pd

        return pd.DataFrame(self._curve)

    def predictions(self) -> "pd.DataFrame":
        """Columns `label` and `prediction`, int64, a row per test image in the set's order. Raises DamagedRecord."""
        import pandas as pd

        return pd.DataFrame(self._predictions)

    def mistakes(self) -> "np.ndarray":
        """bool, one per test image: whether the network takes it for another class. Raises DamagedRecord."""
        return self._predictions["label"] != self._predictions["prediction"]

    def phase_errors(self, epoch: int) -> "np.ndarray":
        """Test errors, in percent, of all epochs at the learning rate of this one: 0, before its first drop; -1, last.

        Raises DamagedRecord.
        """
        rate = self._curve["learning_rate"]
        return self._curve["test_error"][rate == rate[epoch]]

    def contradiction(self) -> str:
        """What in record.json does not follow from curve and predictions, in words; empty where all does."""
        return schema.contradiction(self.run, self.values, self._curve, self._predictions)

    # Read once: many ask for the same.
    @cached_property
    def _curve(self) -> "dict[str, np.ndarray]":
        return self._table("epochs.csv", schema.EPOCHS, "float64")

    @cached_property
    def _predictions(self) -> "dict[str, np.ndarray]":
        return self._table("predictions.csv", schema.PREDICTIONS, "int64")

    def _table(self, name: str, columns: tuple[str, ...], kind: str) -> "dict[str, np.ndarray]":
        with _reading(self.folder, name):
            return schema.read_table(self.folder / name, columns, kind)

    @property
    def diverged(self) -> int | None:
        """The epoch in which the loss was no longer finite; None for a run that reached its end."""
        return self.values["diverged"]

    def measured_on(self, images: "Images") -> bool:
        """Whether these are the test images that the record's numbers were measured on."""
        return self.values["data"]["test"] == images.fingerprint

    @property
    def has_weights(self) -> bool:
        """Whether the weights are here: the repository keeps those of some runs."""
        return (self.folder / "weights.safetensors").exists()

    @property
    def has_network(self) -> bool:
        """Whether the weights are here and those of a training that did not diverge."""
        return self.has_weights and self.diverged is None

    def weights(self) -> "dict[str, Tensor]":
        """The stored weights by name: float32, counts of batches int64.

        Nothing but tensors is read from the file. Raises UserError where the record came without them, DamagedRecord
        where it holds something else.
        """
        from safetensors.torch import load_file

        if not self.has_weights:
            raise UserError(f"record {self.folder.name} holds no weights here; delete it and run again to have them")
        with files.hold_signals(), _reading(self.folder, "weights.safetensors"):
            tensors = load_file(self.folder / "weights.safetensors")
        return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def check_same_test_images(records: Iterable[Record]) -> None:
    """Raises UserError, with both run ids, where two of the records were measured on different test images."""
    for one, other in pairwise(records):
        if one.values["data"]["test"] != other.values["data"]["test"]:
            raise UserError(
                f"{one.run.run_id} and {other.run.run_id} were measured on different test images: they cannot be "
                "compared"
            )


_verified: dict[Path, tuple[tuple, Record]] = {}
# As git's index does with a file that is as young as the look at it: within one tick of a file system's clock, two
# seconds at the most, it may change once more and look the same.
_TICK = 2 * 10**9


def load_record(folder: Path) -> Record:
    """Reads a record and checks that it is whole, and as `schema` says: once per process, while its files are the same.

    Raises DamagedRecord, also for what this version does not know, and for files that the system does not let it read.
    """
    now, state = time.time_ns(), _state(folder)
    if state and folder in _verified and _verified[folder][0] == state:
        return _verified[folder][1]
    record = _verify(folder)
    if all(change_time < now - _TICK for change_time, *_ in state):
        _verified[folder] = state, record
    return record


def _state(folder: Path) -> tuple[tuple, ...]:
    """What changes with any file of a record, without a look inside; first of each when it changed, in nanoseconds."""
    try:
        entries = [(entry.stat(), entry.name) for entry in os.scandir(folder)]
    except OSError:  # it is not there, or another process replaces it
        return ()
    return tuple(sorted((of.st_ctime_ns, of.st_mtime_ns, of.st_ino, of.st_size, name) for of, name in entries))


def _verify(folder: Path) -> Record:
    with _reading(folder, "record.json"):
        values = schema.parse(folder / "record.json")
        digest = values.pop("checksum", None)
        if digest != checksum(values):
            raise ValueError("it does not match its checksum")
        schema.check_values(values)
        if set(values["files"]) != set(FILES):
            raise ValueError("it has not the checksums of the other files")
    for name, digest in values["files"].items():
        path = folder / name
        if name == "weights.safetensors" and not path.exists():
            continue  # the repository keeps those of few runs, for size
        with _reading(folder, name):
            if not path.is_file():
                raise ValueError("it is no file" if path.exists() else "it is missing")
            if sha256(path) != digest:
                raise ValueError("it does not match its checksum")
    with _reading(folder, "spec.json"):
        spec = schema.parse(folder / "spec.json")
    try:
        run = Run.from_dict(spec)
        run_id = run.run_id
    except (UserError, TypeError, ValueError, OverflowError, RecursionError) as error:
        newer = "was written by a newer version of at_repro, or is no record"
        raise DamagedRecord(folder, f"spec.json: {error}", newer) from None
    if not run_id == values["run_id"] == folder.name:
        raise DamagedRecord(folder, f"its spec is that of {run_id}")
    return Record(run, folder, values)


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """Turns what is wrong with a file of a record into an error about that record."""
    try:
        yield
    except PermissionError as error:
        raise DamagedRecord(folder, f"{name}: {error.strerror}", "cannot be read") from None
    except (ValueError, TypeError, OverflowError, RecursionError, OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise DamagedRecord(folder, f"{name}: {reason}") from None


def sha256(path: Path) -> str:
    """The digest of a file as record.json names it, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(values: dict) -> str:
    """The digest of what record.json holds besides it, hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
