"""The record store: one folder per finished run, readable by people, written as a whole or not at all.

::

    results/<run-id>/
        spec.json             what was trained
        record.json           final and best metrics, environment, checksums of the other files
        epochs.csv            one row per epoch
        predictions.csv       label and predicted class of every test image, in the data set's order
        weights.safetensors   weights in float16: what the final metrics were measured on
    results/attention.csv     what the attention of all runs is like, see `attention_table`
    results/in-progress/      checkpoints and locks of runs that are not finished; ignored by git, which carries a
                              long run's checkpoint to another machine only when it is told to
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from at_repro import files
from at_repro.errors import ParameterError, UserError
from at_repro.records import schema
from at_repro.runs import Run

# pandas and torch are imported where a table or weights are read or written: a list of records does without.
if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from at_repro.data import Images

FILES = ("spec.json", "epochs.csv", "predictions.csv", "weights.safetensors")
# The repository keeps the weights of seed 0 only, for size; every other file is part of every record.
OPTIONAL = ("weights.safetensors",)


def default_folder(preset: str) -> Path:
    """Where the records of a preset are kept unless somebody says otherwise.

    In a checkout: `book/results`, whose records are committed and make the report; those of the preset `smoke` can be
    made again in minutes and stay out of it, under `build/`. Installed without a checkout: `at_repro_results` in
    the current folder.
    """
    if not (files.CHECKOUT / "book").is_dir():
        return Path("at_repro_results") / preset
    return files.CHECKOUT / "build" / "smoke" if preset == "smoke" else files.CHECKOUT / "book" / "results"


def open_store(preset: str, folder: str | Path | None = "", writable: bool = False) -> "Store":
    """The records of a preset, or those in a folder that is named.

    Raises ParameterError where a folder that is named is not there, unless it is to be written: a slip of the pen would
    look as if nothing had been run.
    """
    store = Store(folder or default_folder(preset), writable)
    if folder and not store.folder.is_dir():
        raise ParameterError("results", str(folder), "a folder that is there")
    return store


class DamagedRecord(UserError):
    """A record whose files are missing, cut or changed. Its numbers are never shown."""

    def __init__(self, folder: Path, reason: str):
        super().__init__(f"record {folder.name} {self._describe(folder, reason)}")

    def _describe(self, folder: Path, reason: str) -> str:
        return f"is damaged: {reason}; delete {folder} and run again, or restore it from git"


class NewerRecord(DamagedRecord):
    """A record that is whole and says what this version of the package does not know."""

    def _describe(self, folder: Path, reason: str) -> str:
        return f"was written by a newer version of at_repro, or is no record: {reason}"


class UnreadableRecord(DamagedRecord):
    """A record whose files the system does not let this process read: nothing says that they are damaged."""

    def _describe(self, folder: Path, reason: str) -> str:
        return f"cannot be read: {reason}"


@dataclass(frozen=True)
class Record:
    """A finished run: its spec and what was measured. `values` is the content of record.json."""

    run: Run
    folder: Path
    values: dict

    @property
    def final(self) -> dict:
        """Metrics of the last epoch, measured in float32 on the stored weights; errors in percent, None if diverged."""
        return self.values["final"]

    def epochs(self) -> "pd.DataFrame":
        """One row per epoch: losses, errors in percent, learning rate, seconds. Raises DamagedRecord."""
        return self._table("epochs.csv", schema.EPOCHS, "float64")

    def early_error(self) -> float:
        """Mean test error, in percent, of the epochs before the learning rate first drops."""
        epochs = self.epochs()
        rate = epochs["learning_rate"]
        return float(epochs["test_error"][rate == rate.iloc[0]].mean())

    def late_error(self) -> float:
        """Mean test error, in percent, of the epochs at the last learning rate."""
        epochs = self.epochs()
        rate = epochs["learning_rate"]
        return float(epochs["test_error"][rate == rate.iloc[-1]].mean())

    def predictions(self) -> "pd.DataFrame":
        """Columns `label` and `prediction`, one row per test image in the data set's order. Raises DamagedRecord."""
        return self._table("predictions.csv", schema.PREDICTIONS, "int64")

    def _table(self, name: str, columns: tuple[str, ...], kind: str) -> "pd.DataFrame":
        with _reading(self.folder, name):
            return schema.read_table(self.folder / name, columns, kind)

    def contradiction(self) -> str:
        """What in record.json does not follow from curve and predictions, in words; empty where all does."""
        return schema.contradiction(self.run, self.values, self.epochs(), self.predictions())

    @property
    def diverged(self) -> int | None:
        """The epoch in which the loss was no longer finite; None for a run that reached its end."""
        return self.values["diverged"]

    def measured_on(self, images: "Images") -> bool:
        """Whether these are the test images that the record's numbers were measured on."""
        return self.values["data"]["test"] == images.fingerprint

    @property
    def has_weights(self) -> bool:
        """Whether the weights are here: the repository keeps those of seed 0 only."""
        return (self.folder / "weights.safetensors").exists()

    @property
    def has_network(self) -> bool:
        """Whether the weights are here and those of a training that did not diverge."""
        return self.has_weights and self.diverged is None

    def weights(self) -> "dict[str, Tensor]":
        """The stored weights as float32 tensors. Raises UserError where the record came without them.

        Nothing but tensors is read from the file. Raises DamagedRecord where it holds something else.
        """
        from safetensors.torch import load_file

        if not self.has_weights:
            raise UserError(f"record {self.folder.name} holds no weights here; delete it and run again to have them")
        with files.hold_signals(), _reading(self.folder, "weights.safetensors"):
            stored = load_file(self.folder / "weights.safetensors")
        return {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}


class Store:
    """A folder of records.

    Raises ParameterError("results") where it is no folder or, with `writable`, cannot be made or written.
    """

    def __init__(self, folder: str | Path, writable: bool = False):
        self._read: dict[Path, tuple[tuple, Record]] = {}
        try:
            self.folder = Path(folder).expanduser().resolve()
            wrong = self.folder.exists() and not self.folder.is_dir()
        except (
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # too long; an unknown user's home; a number; a null byte
            wrong = True
        if wrong:
            raise ParameterError("results", str(folder), "a folder")
        if writable:
            try:
                self.in_progress.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.in_progress):
                    pass
            except OSError as error:
                raise ParameterError(
                    "results", str(folder), f"a folder that can be written ({error.strerror})"
                ) from None

    @property
    def in_progress(self) -> Path:
        """Where checkpoints and locks of unfinished runs are."""
        return self.folder / "in-progress"

    def record_path(self, run: Run) -> Path:
        """The folder of a run's record, whether it is there or not."""
        return self.folder / _file_name(run)

    def checkpoint_path(self, run: Run) -> Path:
        """Where `Student.save` keeps a run that is not finished."""
        return self.in_progress / f"{_file_name(run)}.safetensors"

    def lock_path(self, run: Run) -> Path:
        """The file that the process which trains a run holds locked."""
        return self.in_progress / f"{_file_name(run)}.lock"

    def find(self, run: Run) -> Record | None:
        """The record of a run, None where there is none. Raises DamagedRecord where that is not whole.

        Here and in `all` checksums are verified once for as long as the files are as they were: many ask for the same.
        """
        folder = self.record_path(run)
        return self._load(folder) if folder.is_dir() else None

    def _load(self, folder: Path) -> Record:
        state = _state(folder)
        known = self._read.get(folder)
        if known is None or not state or state != known[0]:
            known = self._read[folder] = state, load_record(folder)
        return known[1]

    def has(self, run: Run) -> bool:
        """Whether a run has a record. Raises DamagedRecord where that is not whole: nothing is built on half of one."""
        return self.find(run) is not None

    def load(self, run: Run) -> Record:
        """The record of a run. Raises UserError where there is none, DamagedRecord where it is not whole."""
        record = self.find(run)
        if record is None:
            raise UserError(f"run {run.run_id} has no record in {self.folder}")
        return record

    def has_network(self, run: Run) -> bool:
        """Whether a run has a record with a network, see `Record`. Raises DamagedRecord where that is not whole."""
        record = self.find(run)
        return record is not None and record.has_network

    def folders(self) -> dict[str, Path]:
        """The folder of every record, whole or damaged, by run id."""
        paths = sorted(self.folder.glob("*/"))
        return {path.name: path for path in paths if path != self.in_progress and not path.name.startswith(".")}

    def weight_checksums(self) -> dict[str, str]:
        """By run id, the checksum of the weights that a record names; empty where the run diverged.

        Without a look at the files themselves; records that say nothing of it are left out.
        """
        found = {}
        for run_id, folder in self.folders().items():
            with suppress(OSError, ValueError, KeyError, TypeError):
                values = json.loads((folder / "record.json").read_text())
                found[run_id] = "" if values["diverged"] else values["files"]["weights.safetensors"]
        return found

    def seeds(self) -> list[int]:
        """The seeds of all records, by their run ids; seed 0 where there is none."""
        found = [re.search(r"-s([0-9]+)-[0-9a-f]{10}$", name) for name in self.folders()]
        return sorted({int(match[1]) for match in found if match} or {0})

    def all(self) -> list[Record]:
        """Every record of the store, by run id. Raises DamagedRecord."""
        return [self._load(path) for path in self.folders().values()]

    def write(
        self,
        run: Run,
        values: dict,
        epochs: "pd.DataFrame",
        predictions: "pd.DataFrame",
        weights: "dict[str, Tensor]",
    ) -> Record:
        """Writes a finished run: into a folder of its own, which is then renamed, so that no reader sees half of it.

        Raises UserError where the disk refuses, or where the run has a record already; the store is then as it was.
        """
        from safetensors.torch import save

        final = self.record_path(run)
        with files.write_errors(final):
            self.in_progress.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"writing-{final.name}-", dir=self.in_progress))
            try:
                folder.chmod(0o755)
                (folder / "spec.json").write_text(json.dumps(run.to_dict(), indent=2, sort_keys=True) + "\n")
                epochs.to_csv(folder / "epochs.csv", index=False, float_format="%.6g", lineterminator="\n")
                predictions.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
                (folder / "weights.safetensors").write_bytes(save(weights))
                values = {"run_id": run.run_id} | values | {"files": {name: _sha256(folder / name) for name in FILES}}
                values["checksum"] = _checksum(values)
                (folder / "record.json").write_text(json.dumps(values, indent=2) + "\n")
                for path in [*folder.iterdir(), folder]:
                    files.flush(path)
                os.rename(folder, final)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            files.flush(self.folder)
        return load_record(final)

    def clear(self, run_id: str) -> None:
        """Removes what a dead process left of a run, for whoever holds its lock: half-written files, and all that is
        of no use to a run with a record. A checkpoint stays where the record is damaged: it may be needed.
        """
        for folder in self.in_progress.glob(f"writing-{run_id}-*/"):
            shutil.rmtree(folder, ignore_errors=True)
        leftovers = [f".{run_id}.safetensors.tmp"]
        try:
            if (self.folder / run_id).is_dir() and load_record(self.folder / run_id):
                leftovers += [f"{run_id}.safetensors", f"{run_id}.lock"]
        except DamagedRecord:
            pass
        for name in leftovers:
            (self.in_progress / name).unlink(missing_ok=True)

    def frame(self, runs: list[Run] | None = None) -> "pd.DataFrame":
        """Records as one frame, a row per run: of `runs` that have a record, or of the whole store.

        Columns: run_id, dataset, network, method, teacher (network name or None), epochs, seed, test_error and
        train_error (percent, last epoch), best_test_error and best_epoch, precision, device, commit.
        """
        import pandas as pd

        records = self.all() if runs is None else [self.load(run) for run in runs if self.has(run)]
        return pd.DataFrame([_row(record) for record in records], columns=COLUMNS)


COLUMNS = [
    "run_id", "dataset", "network", "method", "teacher", "epochs", "seed", "test_error", "train_error",
    "best_test_error", "best_epoch", "precision", "device", "commit",
]  # fmt: skip


def load_record(folder: Path) -> Record:
    """Reads a record and checks that it is whole, and as `schema` says.

    Raises DamagedRecord; of its kinds, NewerRecord for what this version does not know, UnreadableRecord for files that
    the system does not let it read.
    """
    with _reading(folder, "record.json"):
        values = schema.parse(folder / "record.json")
        checksum = values.pop("checksum", None)
        if checksum != _checksum(values):
            raise ValueError("it does not match its checksum")
        schema.check_values(values)
        if set(values["files"]) != set(FILES):
            raise ValueError("it has not the checksums of the other files")
    for name, digest in values["files"].items():
        path = folder / name
        if name in OPTIONAL and not path.exists():
            continue
        with _reading(folder, name):
            if not path.is_file():
                raise ValueError("it is missing")
            if _sha256(path) != digest:
                raise ValueError("it does not match its checksum")
    with _reading(folder, "spec.json"):
        spec = schema.parse(folder / "spec.json")
    try:
        run = Run.from_dict(spec)
        run_id = run.run_id
    except (UserError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NewerRecord(folder, f"spec.json: {error}") from None
    if not run_id == values["run_id"] == folder.name:
        raise DamagedRecord(folder, f"its spec is that of {run_id}")
    return Record(run, folder, values)


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """Turns what is wrong with a file of a record into an error about that record."""
    try:
        yield
    except PermissionError as error:
        raise UnreadableRecord(folder, f"{name}: {error.strerror}") from None
    except (ValueError, TypeError, OverflowError, RecursionError, OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise DamagedRecord(folder, f"{name}: {reason}") from None


def _state(folder: Path) -> tuple:
    """What changes with any file of a record, without a look inside: names, times of change, sizes, inodes."""
    try:
        found = [(entry.name, entry.stat()) for entry in os.scandir(folder)]
    except OSError:  # another process replaces it
        return ()
    return tuple(sorted((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found))


def _row(record: Record) -> dict:
    run, values = record.run, record.values
    return {
        "run_id": run.run_id,
        "dataset": run.dataset,
        "network": run.network,
        "method": run.method,
        "teacher": run.teacher.network if run.teacher else None,
        "epochs": run.epochs,
        "seed": run.seed,
        "test_error": values["final"]["test_error"],
        "train_error": values["final"]["train_error"],
        "best_test_error": values["best"]["test_error"],
        "best_epoch": values["best"]["epoch"],
        "precision": values["environment"]["precision"],
        "device": values["environment"]["device"],
        "commit": values["environment"]["commit"],
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _file_name(run: Run) -> str:
    """The run's id, which has to be one name: a spec that nobody has validated may hold anything."""
    if not re.fullmatch(r"[\w.+@-]+", run.run_id):
        raise ParameterError("run", run.run_id, "a name of letters, digits and . + - _ @")
    return run.run_id
