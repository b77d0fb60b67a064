"""What a notebook starts from: the records of one experiment, trained where they are missing, and its test images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn

from at_repro import data, experiments
from at_repro.data import ImageSet
from at_repro.errors import DataError, ParameterError
from at_repro.results import Record, Store, default_folder
from at_repro.training import Run, engine, load_network, train

TRAIN = ("missing", "never")


@dataclass(frozen=True)
class Study:
    """The records of an experiment at one preset.

    Attributes:
        records: by column of the paper's table, then by seed; columns without any record are left out.
        missing: runs without a record.
        images: the test images, on the device; None where the data set is not here.
        note: why there are no images, in one line; else empty.
    """

    experiment: experiments.Experiment
    preset: str
    store: Store
    device: str
    records: dict[str, dict[int, Record]]
    missing: list[Run]
    images: ImageSet | None
    note: str

    def networks(self, seed: int | None = None) -> dict[str, nn.Module]:
        """The trained network of every column, of one seed (None: the first), frozen, in evaluation mode.

        Columns without stored weights are left out. Empty where there are no images to put through them.
        """
        if self.images is None:
            return {}
        chosen = {
            column: by_seed[next(iter(by_seed)) if seed is None else seed]
            for column, by_seed in self.records.items()
            if seed is None or seed in by_seed
        }
        return {
            column: load_network(self.store, record.run, self.images, engine.device(self.device))
            for column, record in chosen.items()
            if record.has_weights
        }

    def errors(self) -> pd.DataFrame:
        """Columns column, seed, test_error, train_error, best_test_error, run_id: one row per record."""
        rows = [
            (column, seed, record.final["test_error"], record.final["train_error"],
             record.values["best"]["test_error"], record.run.run_id)
            for column, by_seed in self.records.items()
            for seed, record in by_seed.items()
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["column", "seed", "test_error", "train_error", "best_test_error", "run_id"])

    def curves(self) -> pd.DataFrame:
        """The epochs of all records, with the columns `column` and `seed` in front."""
        parts = [
            record.epochs().assign(column=column, seed=seed)
            for column, by_seed in self.records.items()
            for seed, record in by_seed.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def describe(self) -> str:
        """What was used, for the reader: preset, seeds, device, runs, and what is missing."""
        records = [record for by_seed in self.records.values() for record in by_seed.values()]
        devices = sorted({record.values["environment"]["device"] for record in records})
        seeds = sorted({record.run.seed for record in records})
        lines = [
            f"experiment {self.experiment.name}, preset {self.preset}, seeds {seeds}, trained on: {'; '.join(devices)}",
            *(f"  {column:8} {record.run.run_id}" for column, by in self.records.items() for record in by.values()),
            *(f"  not run  {run.run_id}" for run in self.missing),
        ]
        return "\n".join(lines + [self.note] * bool(self.note))


def open_study(
    experiment: str,
    preset: str,
    seeds: Sequence[int] = (),
    device: str = "auto",
    data_root: str = "",
    results: str = "",
) -> Study:
    """Checks the parameters, trains what has no record, and loads the records and the test images.

    Where the environment variable AT_REPRO_TRAIN is "never", nothing is trained, and what has no record is listed
    as missing: for tests and for a look at what there is.

    Args:
        experiment, preset: names, see `experiments`.
        seeds: none: those of the preset.
        device: "auto", "cpu" or "cuda".
        data_root, results: empty: the defaults of `data.data_root` and `results.default_folder`.

    Raises:
        ParameterError: for a value that is not allowed.
        DataError: where something has to be trained and its data set is not here.
    """
    policy = os.environ.get("AT_REPRO_TRAIN", "missing")
    if policy not in TRAIN:
        raise ParameterError("AT_REPRO_TRAIN", policy, TRAIN)
    chosen = experiments.get(experiment)
    by_seed = chosen.runs(preset, seeds or None)
    engine.device(device)
    store = Store(results or default_folder(preset), writable=policy == "missing")
    if policy == "missing":
        train(
            [run for columns in by_seed for run in columns.values()], store, device=device, data_root=data_root or None
        )
    records: dict[str, dict[int, Record]] = {}
    missing: dict[Run, None] = {}
    for columns in by_seed:
        for column, run in columns.items():
            if store.has(run):
                records.setdefault(column, {})[run.seed] = store.load(run)
            else:
                missing[run] = None
    images, note = _test_images(by_seed[0]["student"].dataset, data_root, device)
    return Study(chosen, preset, store, device, records, list(missing), images, note)


def _test_images(dataset: str, data_root: str, device: str) -> tuple[ImageSet | None, str]:
    try:
        return data.load(dataset, "test", data_root or None).to(engine.device(device)), ""
    except DataError as error:
        return None, f"shown without images: {error}"
