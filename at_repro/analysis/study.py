"""What a notebook starts from: the records of one experiment, trained where they are missing, and its test images."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pandas as pd
from torch import nn

from at_repro import data, experiments
from at_repro.analysis import attention_measurement, network_maps
from at_repro.data import Images, ImageSet
from at_repro.errors import DataError, check_choice, name_seeds
from at_repro.records import Record, Store, default_folder, open_store
from at_repro.runs import Run
from at_repro.training import engine, load_network, train

CURVE_COLUMNS = ["column", "seed", "epoch", "learning_rate", "train_error", "test_error"]


@dataclass(frozen=True)
class WithImages:
    """What has test images to look at networks with.

    Attributes:
        images: the test images, on the device; None where the data set is not here.
    """

    images: Images | None

    def examples(self, count: int = 1, classes: int | None = None) -> ImageSet | None:
        """The first `count` test images of each of the first classes (None: of all); None where there are no images."""
        return None if self.images is None else network_maps.first_of_classes(self.images, count, classes)


@dataclass(frozen=True)
class Study(WithImages):
    """The records of an experiment at one preset, and its test images.

    Attributes:
        experiment: with the changes that were asked for.
        preset, store: where the records are from.
        device: "auto", "cpu" or "cuda", as it was asked for.
        seeds: those asked for, or all that have a record.
        columns: the run of every column of the paper's table, of the first seed.
        records: by column of the paper's table, then by seed; columns without any record are left out.
        missing: runs without a record; where no seeds were asked for, of the preset's that were begun.
        note: what is not shown and why, in one line: no images, or runs that are missing; else empty.
        changes: what is otherwise than in the experiment, by name, see `experiments.vary`.
    """

    experiment: experiments.Experiment
    preset: str
    store: Store
    device: str
    seeds: list[int]
    columns: dict[str, Run]
    records: dict[str, dict[int, Record]]
    missing: list[Run]
    note: str
    changes: dict[str, object] = field(default_factory=dict)

    def sample(self, count: int) -> ImageSet | None:
        """The first test images, all where there are fewer; None where there are none.

        Their order is as good as random: enough for a mean, in a tenth of the time that CIFAR-10 takes.
        """
        return None if self.images is None else self.images.select(slice(count))

    def networks(self, *columns: str) -> dict[str, nn.Module]:
        """The trained networks of these columns (none: of all), of the first seed, frozen, in evaluation mode.

        Columns that are not run, diverged or have no stored weights are left out. Empty where there are no images.
        """
        if self.images is None:
            return {}
        return {
            column: load_network(self.store, record.run, self.images, engine.device(self.device))
            for column in columns or self.columns
            if column in self.records and (record := self.first(column)).has_network
        }

    @property
    def of_first_seed(self) -> "Study":
        """The same with each column's first seed alone, which `networks` are of: for their `stamp`."""
        records = {column: dict(list(by_seed.items())[:1]) for column, by_seed in self.records.items()}
        return replace(self, seeds=self.seeds[:1], records=records)

    def first(self, column: str) -> Record:
        """The record of a column's first seed."""
        return next(iter(self.records[column].values()))

    def test_errors(self) -> pd.DataFrame:
        """A row per record: column, seed, test_error (percent, of the last epoch; NaN where it diverged) and run_id."""
        rows = [
            (column, seed, record.final["test_error"], record.run.run_id)
            for column, by_seed in self.records.items()
            for seed, record in by_seed.items()
        ]
        return pd.DataFrame(rows, columns=["column", "seed", "test_error", "run_id"]).astype({"test_error": float})

    def curves(self) -> pd.DataFrame:
        """The epochs of all records (see `Record.epochs`), with the columns `column` and `seed` in front."""
        parts = [
            pd.DataFrame({"column": column, "seed": seed} | dict(record.epochs()))
            for column, by_seed in self.records.items()
            for seed, record in by_seed.items()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVE_COLUMNS)

    @property
    def origin(self) -> str:
        """What the numbers come from: preset, what is otherwise than there, seeds and devices."""
        return self._origin({device for record in self._all for device in record.devices})

    def _origin(self, devices: set[str]) -> str:
        changes = [f"{name} {value}" for name, value in self.changes.items()]
        return ", ".join([f"preset {self.preset}", *changes, self.seed_names, *sorted(devices)])

    @property
    def students(self) -> list[str]:
        """The columns with records that teach no other: a teacher has one seed, whatever its students have."""
        teachers = {run.teacher for run in self.columns.values()}
        return [column for column in self.records if self.columns[column] not in teachers]

    @property
    def seed_names(self) -> str:
        """For readers: `seed 0`, or `seeds 0 to 4`: those of most `students`, and behind them the columns of others."""
        students = {column: tuple(self.records[column]) for column in self.students}
        [(most, _)] = Counter(students.values() or [tuple(self.seeds)]).most_common(1)
        columns: dict[tuple[int, ...], list[str]] = {}
        for column, seeds in students.items():
            columns.setdefault(seeds, []).append(column)
        others = [f"{name_seeds(seeds)} of {' and '.join(of)}" for seeds, of in columns.items() if seeds != most]
        return name_seeds(most) + (f" ({', '.join(others)})" if others else "")

    @property
    def of_other_images(self) -> list[Record]:
        """Records that were measured on other test images than those at hand; empty where there are none at hand."""
        return [] if self.images is None else [record for record in self._all if not record.measured_on(self.images)]

    @property
    def _all(self) -> list[Record]:
        return [record for by_seed in self.records.values() for record in by_seed.values()]

    @property
    def stamp(self) -> str:
        """`origin`, CPUs by no more than that, what is missing and what is of other images: to stand below a figure."""
        parts = [self._origin({device.split(",")[0] for record in self._all for device in record.devices})]
        if self.note:
            parts.append(f"without {self.note}")
        if self.of_other_images:
            parts.append(f"WARNING: {len(self.of_other_images)} record(s) of other test images than those at hand")
        return "; ".join(parts)

    def describe(self) -> str:
        """The runs that were used, for the reader, and those that are missing: the same with and without images.

        Runs that were measured on other test images than those at hand are named once more, as a warning.
        """
        rows = [(column, record.run) for column, by in self.records.items() for record in by.values()]
        rows += [("not run", run) for run in self.missing]
        width = max((len(name) for name, _ in rows), default=0)
        warning = "was measured on other test images than those at hand"
        lines = [
            f"experiment {self.experiment.name}, {self.origin}",
            *(f"  {name:{width}}  {run.run_id}" for name, run in rows),
            *(f"  WARNING  {record.run.run_id} {warning}" for record in self.of_other_images),
        ]
        return "\n".join(lines)


def stamp(studies: Iterable[Study]) -> str:
    """`Study.stamp` of several, without what another one says as well."""
    return "; ".join(dict.fromkeys(part for study in studies for part in study.stamp.split("; ")))


def with_all_seeds(study: Study) -> Study:
    """The same study with every seed that its store has records of."""
    seeds = study.store.seeds()
    records, _ = find_records(study.store, study.experiment.runs(study.preset, seeds))
    return replace(study, seeds=seeds, records=records)


def open_study(
    experiment: str,
    preset: str,
    seeds: Sequence[int] = (),
    device: str = "auto",
    data_root: str = "",
    results: str = "",
    train_missing: bool = True,
    **changes: object,
) -> Study:
    """Checks the parameters, trains what has no record, and loads the records and the test images.

    What the table of `attention_table` lacks is measured, unless the store is only to be read.

    Where the environment variable AT_REPRO_TRAIN is "never", or without `train_missing`, nothing is trained or
    measured, and what has no record is listed as missing: for tests and for a look at what there is.

    Args:
        experiment, preset: names, see `experiments`.
        seeds: none: those of the preset are trained, and all that have a record are shown.
        device: "auto", "cpu" or "cuda".
        data_root, results: empty: the defaults of `data.data_root` and `records.default_folder`.
        changes: other networks, another mapping function and so on, see `experiments.vary`.

    Raises:
        ParameterError: for a value that is not allowed.
        DataError: where something has to be trained and its data set is not here, or the table cannot be read.
        UserError: see `training.train`; DamagedRecord for a record that is not whole.
    """
    train_missing = may_train() and train_missing
    own_seeds = None if seeds in ((), [], "") else seeds
    original = experiments.get(experiment)
    variant = experiments.vary(original, **changes)
    by_seed = variant.runs(preset, own_seeds)
    size = original.size(preset)
    variations = experiments.effective_changes(original, size, changes)
    engine.device(device)
    data.data_root(data_root)
    recorded = Store(results or default_folder(preset))
    has_gaps = bool(find_records(recorded, by_seed)[1])  # or it is only read, and may be read-only
    store = open_store(preset, results, writable=train_missing and has_gaps)
    if train_missing:
        train([run for columns in by_seed for run in columns.values()], store, device=device, data_root=data_root)
    all_seeds = sorted({*size.seeds, *store.seeds()}) if own_seeds is None else list(own_seeds)
    records, missing = find_records(store, variant.runs(preset, all_seeds))
    if own_seeds is None:
        teachers = {run.teacher for run in by_seed[0].values()}  # of seed 0, whatever seeds their students have
        begun = {seed for column, seeds in records.items() if by_seed[0][column] not in teachers for seed in seeds}
        all_seeds = sorted(begun) or list(size.seeds)
        # Seeds beyond the preset's need not have every column.
        missing = [run for run in missing if run.seed in {*all_seeds} & {*size.seeds}]
    by_seed = variant.runs(preset, all_seeds)
    columns = by_seed[0]
    images, note = test_images(next(iter(columns.values())).dataset, data_root, device, train_missing)
    if train_missing and os.access(store.folder, os.W_OK):
        for of_seed in by_seed:
            attention_measurement.update(store, of_seed, images)
    if missing and not note:
        note = "the runs that are missing"
        if not variations:
            gaps = [seed for seed, of_seed in zip(all_seeds, by_seed, strict=True) if {*of_seed.values()} & {*missing}]
            of_seeds = "" if gaps == list(size.seeds) else f" --seeds {' '.join(map(str, gaps))}"
            note += f" (at-repro run {experiment} --preset {preset}{of_seeds})"
    return Study(images, variant, preset, store, device, all_seeds, columns, records, missing, note, variations)


def may_train() -> bool:
    """Whether what has no record is trained: unless the environment variable AT_REPRO_TRAIN is "never".

    Raises ParameterError where it is neither that nor "missing".
    """
    policy = os.environ.get("AT_REPRO_TRAIN", "missing")
    check_choice("AT_REPRO_TRAIN", policy, ("missing", "never"))
    return policy == "missing"


def find_records(store: Store, by_seed: Iterable[Mapping[str, Run]]) -> tuple[dict[str, dict[int, Record]], list[Run]]:
    """The records of an experiment's runs, by column and seed, and the runs that have none."""
    records: dict[str, dict[int, Record]] = {}
    missing: dict[Run, None] = {}
    for columns in by_seed:
        for column, run in columns.items():
            if record := store.find(run):
                records.setdefault(column, {})[run.seed] = record
            else:
                missing[run] = None
    return records, list(missing)


def test_images(dataset: str, data_root: str, device: str, download: bool) -> tuple[Images | None, str]:
    """The test images of a data set on the device, and an empty text; or None, and a line that says so.

    Args:
        data_root: empty: the default of `data.data_root`.
        download: whether what can be downloaded is.

    Raises ParameterError for a folder or a device that is not allowed.
    """
    try:
        root = data.data_root(data_root)  # the default one need not exist, a given one has to
        return _load(dataset, str(root) if root.is_dir() else None, device, download), ""
    except DataError:
        return None, f"images: {dataset} is not here or damaged, see: at-repro data {dataset}"


@cache  # not of errors: images that come later are seen
def _load(dataset: str, data_root: str | None, device: str, download: bool) -> Images:
    """Test images on the device: reading them takes seconds, and a page opens several studies of one data set."""
    return data.load(dataset, "test", data_root, download=download).to(engine.device(device))
