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

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from at_repro import files
from at_repro.errors import ParameterError, UserError
from at_repro.records.record import FILES, DamagedRecord, Record, checksum, load_record, sha256
from at_repro.runs import Run

# pandas and torch are imported where tables and weights are written: a list of records does without.
if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


def default_folder(preset: str) -> Path:
    """Where the records of a preset are kept unless somebody says otherwise.

    In a checkout: `book/results`, whose records are committed and make the report; those of the preset `smoke` can be
    made again in minutes and stay out of it, under `build/`. Installed without a checkout: `at_repro_results` in
    the current folder, where `reduced` and `paper` share a folder as well.
    """
    if not (files.CHECKOUT / "book").is_dir():
        return Path("at_repro_results") / ("smoke" if preset == "smoke" else "reduced")
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


class Store:
    """A folder of records.

    Args:
        folder: need not be there.
        writable: make it, and see at once whether it can be written. Without it nothing is tried or forbidden.

    Raises ParameterError("results") where it is no folder or cannot be read or, with `writable`, made or written.
    """

    def __init__(self, folder: str | Path, writable: bool = False):
        self._aside: set[Path] = set()
        try:
            self.folder = Path(folder).expanduser().resolve()
            wrong = self.folder.exists() and not self.folder.is_dir()
        # Too long; an unknown user's home; a number; a null byte.
        except (OSError, RuntimeError, TypeError, ValueError):
            wrong = True
        if wrong:
            raise ParameterError("results", str(folder), "a folder")
        if self.folder.exists() and not os.access(self.folder, os.R_OK | os.X_OK):
            raise ParameterError("results", str(folder), "a folder that can be read")
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
        """The record of a run, None where there is none. Raises DamagedRecord where that is not whole."""
        folder = self.record_path(run)
        return load_record(folder) if folder.is_dir() and folder not in self._aside else None

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
        exclusions = {self.in_progress, *self._aside}
        return {path.name: path for path in paths if path not in exclusions and not path.name.startswith(".")}

    def weight_checksums(self) -> dict[str, str]:
        """By run id, the checksum of a record's weights, empty where the run diverged; none of damaged records."""
        checksums = {}
        for run_id, folder in self.folders().items():
            with suppress(DamagedRecord):
                values = load_record(folder).values
                checksums[run_id] = "" if values["diverged"] else values["files"]["weights.safetensors"]
        return checksums

    def seeds(self) -> list[int]:
        """The seeds of all records, by their run ids; seed 0 where there is none."""
        matches = [re.search(r"-s([0-9]+)-[0-9a-f]{10}$", name) for name in self.folders()]
        return sorted({int(match[1]) for match in matches if match} or {0})

    def set_aside(self) -> list[DamagedRecord]:
        """Goes on without the records that are damaged, as if they were not there; returns what is wrong with each.

        Their tables are read for it, and the numbers that follow from them counted, see `Record.contradiction`.
        """
        damages = []
        for folder in self.folders().values():
            try:
                if wrong := load_record(folder).contradiction():
                    raise DamagedRecord(folder, wrong)
            except DamagedRecord as error:
                damages.append(error)
                self._aside.add(folder)
        return damages

    def all(self) -> list[Record]:
        """Every record of the store, by run id. Raises DamagedRecord."""
        return [load_record(path) for path in self.folders().values()]

    def write(
        self, run: Run, values: dict, epochs: "pd.DataFrame", predictions: "pd.DataFrame", weights: "dict[str, Tensor]"
    ) -> Record:
        """Writes a finished run: into a folder of its own, which is then renamed, so that no reader sees half of it.

        Args:
            values: see `schema.content`.
            epochs, predictions: as `Record` gives them back.
            weights: see `training.weights.stored_weights`.

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
                values = {"run_id": run.run_id} | values | {"files": {name: sha256(folder / name) for name in FILES}}
                values["checksum"] = checksum(values)
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

    def frame(self) -> "pd.DataFrame":
        """All records as one frame, a row per run.

        Columns: run_id, dataset, network, method, teacher (network name or None), epochs, seed, test_error and
        train_error (percent, last epoch), best_test_error and best_epoch, precision, device, commit.
        """
        import pandas as pd

        records = self.all()
        return pd.DataFrame({name: [value(record) for record in records] for name, value in _COLUMNS.items()})


_COLUMNS: dict[str, Callable[[Record], object]] = {
    "run_id": lambda record: record.run.run_id,
    "dataset": lambda record: record.run.dataset,
    "network": lambda record: record.run.network,
    "method": lambda record: record.run.method,
    "teacher": lambda record: record.run.teacher and record.run.teacher.network,
    "epochs": lambda record: record.run.epochs,
    "seed": lambda record: record.run.seed,
    "test_error": lambda record: record.final["test_error"],
    "train_error": lambda record: record.final["train_error"],
    "best_test_error": lambda record: record.values["best"]["test_error"],
    "best_epoch": lambda record: record.values["best"]["epoch"],
    "precision": lambda record: record.values["environment"]["precision"],
    "device": lambda record: "; ".join(record.devices),
    "commit": lambda record: " ".join(record.commits),
}


def _file_name(run: Run) -> str:
    """The run's id, which has to be one name: a spec that nobody has validated may hold anything."""
    if not re.fullmatch(r"[\w.+@-]+", run.run_id):
        raise ParameterError("run", run.run_id, "a name of letters, digits and . + - _ @")
    return run.run_id
