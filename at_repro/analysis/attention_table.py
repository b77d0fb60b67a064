"""What the attention of trained networks is like, in numbers that stay when images and weights are gone.

The claims ledger and the comparison of all students need them everywhere, and the repository holds neither images nor
the weights of every seed: they are measured where both are at hand, and kept in one table beside the records.
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from at_repro import data, experiments, files
from at_repro.analysis import map_statistics, network_maps
from at_repro.data import Images
from at_repro.errors import DataError
from at_repro.records import Store, load_record
from at_repro.runs import Run
from at_repro.training import engine, load_network

Pair = tuple[Run, Run | None]  # a run, and the teacher that it is held against; None: it alone

FILE = "attention.csv"
IMAGES = 1000  # the first of the test set, whose order is as good as random
COLUMNS = ["run_id", "teacher", "level", "statistic", "value", "weights"]

# In the order of the table, see `load`.
_OF_MAPS = (
    "entropy", "top share", "top share, sum-1", "top share, sum-4", "edges", "edges, sum-1", "edges, sum-4",
)  # fmt: skip
_OF_MASKS = ("on object", "on object, surplus")
_OF_FACES = ("on parts",)
_OF_PAIRS = ("distance",)
STATISTICS = (*_OF_MAPS, *_OF_MASKS, *_OF_FACES, *_OF_PAIRS)
# What a mean can be: shares in percent, correlations, distances of maps of length 1. What objects themselves would have
# is the unit of the surplus, which may be small.
_RANGES = (
    dict.fromkeys(STATISTICS, (0, 100))
    | dict.fromkeys(("edges", "edges, sum-1", "edges, sum-4"), (-1, 1))
    | {"on object, surplus": (-math.inf, math.inf), "distance": (0, 1.42)}
)
# Of each statistic's definition: whoever changes one counts it up, and its old numbers are no longer read.
VERSIONS = dict.fromkeys(STATISTICS, 1)

_CHECKSUM = "# sha256 "  # begins the last line
_KEY = ["run_id", "teacher", "level", "statistic"]  # of a row
MAPPINGS = ("sum-1", "sum-2", "sum-4")
_PAIRED = ["distance"]
_ALONE = [name for name in map_statistics.STATISTICS if name not in _PAIRED]


def load(store: Store) -> pd.DataFrame:
    """The table of a store, a row per run, level and statistic, see `map_statistics`; none where nothing is measured.

    Columns: `run_id`; `teacher`, the run id of whose maps a distance is to, else empty; `level`; `statistic` and its
    `value`; `weights`, how the checksums of the run's and the teacher's begin. The statistics, means over test images:

    - `entropy`, `top share`: of F_sum^2 maps, in percent; `top share, sum-1` and so on: of others
    - `edges`: Pearson's correlation, over positions, of the F_sum^2 map with the strength of edges; `edges, sum-1` and
      `edges, sum-4`: of the others
    - `on object`, where images have masks, and `on parts`, of faces: the share of the F_sum^2 map's mass on the object,
      or on eyes, nose and mouth, in percent
    - `on object, surplus`: what that is more than another image's map has there, in percent of what the objects
      themselves would have as maps
    - `distance`: the l2 distance of the normalised F_sum^2 map from the teacher's

    Left out is what was measured of other weights than those that are recorded now, or by another version of a
    statistic's definition, which the file names in a column of its own. Rows of networks without a record
    are there as well, see `photographs.update`. Raises DataError where the file cannot be read, is not the one that was
    written, or holds a value that its statistic cannot have.
    """
    path = store.folder / FILE
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    try:
        table = _read(path)
    except (ValueError, KeyError, OSError) as error:
        advice = "restore it from git, or delete it, and at-repro run measures anew what has weights"
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {advice}") from None
    recorded, pairs = store.weight_checksums(), table[["run_id", "teacher", "weights"]]
    gone = [pair for pair in pairs.drop_duplicates().itertuples(index=False) if not _stands(recorded, *pair)]
    return table[~pd.MultiIndex.from_frame(pairs).isin(gone)] if gone else table


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError("it is no file")  # a pipe would be waited for
    text, _, checksum = path.read_text().rpartition(_CHECKSUM)
    if checksum.strip() != hashlib.sha256(text.encode()).hexdigest():
        raise ValueError("it does not match its checksum")
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype={"weights": str})
    table = table.loc[table["statistic"].map(VERSIONS) == table["version"], COLUMNS].astype({"value": float})
    if table.duplicated(_KEY).any():
        raise ValueError("it has two values of one statistic")
    for row in table.itertuples():
        low, high = _RANGES[row.statistic]
        if not (math.isfinite(row.value) and low <= row.value <= high):
            raise ValueError(f"{row.run_id} {row.level} {row.statistic} is {row.value:g}")
    return table


def distances(store: Store, teacher: Run) -> pd.DataFrame:
    """How far the maps of a teacher's students are from its own: a row per run id, a column per level, low to top."""
    table = load(store)
    rows = table[(table["statistic"] == "distance") & (table["teacher"] == teacher.run_id)]
    return rows.pivot(index="run_id", columns="level", values="value")[list(pd.unique(rows["level"]))]


def _stands(recorded: Mapping[str, str], run_id: str, teacher: str, weights: str) -> bool:
    """Whether a pair's rows are of the weights that are recorded, as far as both are known."""
    ids = [name for name in (run_id, teacher) if name]
    now = [recorded[name] for name in ids if name in recorded]
    return not weights or len(now) < len(ids) or weights == _named(*now)


def _named(*checksums: str) -> str:
    return "+".join(checksum[:12] for checksum in checksums)


def update(store: Store, columns: Mapping[str, Run], images: Images | None) -> int:
    """Measures the runs of an experiment that have weights and lack a statistic; returns how many they were.

    A run is held against its own teacher or, where it has none, against the column "teacher". Nothing happens without
    images, or where a record was measured on other ones. A run that was trained anew is measured anew; else what is in
    the table stays as it is.
    """
    if images is None:
        return 0
    return add(store, measure(store, _missing(store, columns), images, cache(partial(maps, store, images=images))))


def add(store: Store, rows: pd.DataFrame) -> int:
    """Adds the rows that a store's table lacks, and returns of how many runs there were some.

    What the table has of the same run and teacher but of other weights, or does not say of which, gives way.

    Args:
        rows: with the columns of the table, see `load`.

    Raises UserError where the disk refuses, DataError where the table cannot be read.
    """
    if rows.empty:
        return 0
    with files.write_errors(store.folder / FILE):
        store.in_progress.mkdir(parents=True, exist_ok=True)
        with FileLock(store.in_progress / "attention.lock"):
            table = load(store)  # under the lock: another process may have measured the same in the meantime
            now = {(row.run_id, row.teacher): row.weights for row in rows.itertuples()}
            stands = [now.get((row.run_id, row.teacher), row.weights) == row.weights for row in table.itertuples()]
            table = table[np.array(stands, dtype=bool)]
            new = rows[~pd.MultiIndex.from_frame(rows[_KEY]).isin(pd.MultiIndex.from_frame(table[_KEY]))]
            if len(new):
                write(store, pd.concat([part for part in (table, new) if len(part)]))
    return new["run_id"].nunique()


def write(store: Store, table: pd.DataFrame) -> None:
    """Replaces the table of a store, whole or not at all; its last line is the checksum of those above.

    In one order, however it was measured: of a row's key, levels low to top, statistics as in `STATISTICS`.

    Args:
        table: see `load`.

    Raises UserError where the disk refuses.
    """
    table = table.sort_values(
        _KEY, key=lambda column: column.map(STATISTICS.index) if column.name == "statistic" else column, kind="stable"
    )
    table = table.assign(version=table["statistic"].map(VERSIONS))
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files.write(store.folder / FILE, f"{text}{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}\n")


def update_experiment(
    name: str,
    preset: str,
    store: Store,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    data_root: str | None = None,
) -> int:
    """`update` for every seed of an experiment, on its test images where they are here; nothing is downloaded.

    Raises ParameterError as `experiments.Experiment.runs` and `engine.device` do.
    """
    place = engine.device(device)
    # Reading images takes seconds, and mostly there is nothing new.
    new = [columns for columns in experiments.get(name).runs(preset, seeds) if _missing(store, columns)]
    if not new:
        return 0
    try:
        images = data.load(next(iter(new[0].values())).dataset, "test", data_root, download=False)
    except DataError:
        return 0
    return sum(update(store, columns, images.to(place)) for columns in new)


def measure(
    store: Store, pairs: Iterable[Pair], images: Images, maps_of: Callable[[Run], map_statistics.Maps | None]
) -> pd.DataFrame:
    """The rows of the table for these pairs; none for a pair without maps of the first `IMAGES` images, see `maps`."""
    sample, recorded = images.select(slice(IMAGES)), store.weight_checksums()
    parts = []
    for run, teacher in dict.fromkeys(pairs):
        own, taught = maps_of(run), None if teacher is None else maps_of(teacher)
        if own is None or (teacher is not None and taught is None):
            continue
        if taught is None:
            rows = map_statistics.measure({"run": own}, sample, _ALONE)
        else:
            rows = map_statistics.measure({"teacher": taught, "run": own}, sample, _PAIRED, "teacher")
        run_id, teacher_id = _names((run, teacher))
        weights = _named(*(recorded[name] for name in (run_id, teacher_id) if name))
        parts.append(means(rows[rows["network"] == "run"]).assign(run_id=run_id, teacher=teacher_id, weights=weights))
    return pd.concat(parts)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def means(measured: pd.DataFrame) -> pd.DataFrame:
    """What the table holds of a network's rows of `map_statistics.measure`: columns level, statistic and value.

    Means over the images that have a value: a map without any mass has none.
    """
    mapping = measured["mapping"].where(measured["mapping"] != "sum-2", "")
    names = measured["statistic"].str.cat(mapping, ", ").str.removesuffix(", ")
    rows = measured.assign(statistic=names)[names.isin(STATISTICS)]
    return rows.groupby(["level", "statistic"], sort=False)["value"].mean().dropna().reset_index()


def compare(
    store: Store, run: Run, images: Images, maps_of: Callable[[Run], map_statistics.Maps | None]
) -> tuple[str, int]:
    """The first number of a run's rows that its maps do not give, empty where all agree; and how many were compared.

    Another processor rounds otherwise: a thousandth of a value is allowed.
    """
    table, folders = load(store), store.folders()
    recorded = table[table["run_id"] == run.run_id]
    names = [name for name in recorded["teacher"].unique() if not name or name in folders]
    pairs: list[Pair] = [(run, load_record(folders[name]).run if name else None) for name in names]
    both = recorded.merge(measure(store, pairs, images, maps_of), on=_KEY, suffixes=("", "_now"))
    now, then = (both[name].astype(float) for name in ("value_now", "value"))
    wrong = both[~np.isclose(then, now, rtol=1e-3, atol=1e-4)]
    text = "{level} {statistic} {value:g}, recomputed {value_now:.6g}"
    return "" if wrong.empty else text.format(**wrong.iloc[0]), len(both)


def _names(pair: Pair) -> tuple[str, str]:
    run, teacher = pair
    return run.run_id, "" if teacher is None else teacher.run_id


def _missing(store: Store, columns: Mapping[str, Run]) -> list[Pair]:
    """The pairs of an experiment whose networks have weights, of which the table lacks a statistic."""
    table = load(store)
    there = set(zip(table["run_id"], table["teacher"], table["statistic"], strict=True))
    pairs: list[Pair] = []
    for run in columns.values():
        teacher = run.teacher or columns.get("teacher")
        pairs += [(run, None), *([(run, teacher)] if teacher not in (None, run) else [])]
    lacking = [pair for pair in pairs if any((*_names(pair), name) not in there for name in _statistics(pair))]
    return [pair for pair in lacking if all(run is None or store.has_network(run) for run in pair)]


def _statistics(pair: Pair) -> tuple[str, ...]:
    """What can be measured of a pair, known without a look at its images: of the data sets here one has masks."""
    run, teacher = pair
    if teacher is not None:
        return _OF_PAIRS
    own = {"shapes": _OF_MASKS, map_statistics.FACES: _OF_FACES}
    return _OF_MAPS + own.get(run.dataset, ())


def maps(store: Store, run: Run, images: Images) -> map_statistics.Maps | None:
    """Of the first `IMAGES` images; None where the record has no weights here, or was measured on other images."""
    record = store.find(run)
    if record is None or not record.has_network or not record.measured_on(images):
        return None
    network = load_network(store, run, images, images.device)
    return network_maps.maps_by_mapping(network, images.select(slice(IMAGES)), MAPPINGS)
