"""What the attention of trained networks is like, in numbers that stay when images and weights are gone.

The claims ledger and the comparison of all students need them everywhere, and the repository holds neither images nor
the weights of every seed: they are measured where both are at hand, and kept in one table beside the records.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from at_repro import files
from at_repro.errors import DataError
from at_repro.records import Store

FILE = "attention.csv"
SAMPLE = 1000  # the first of the test set, whose order is as good as random
PHOTOGRAPHS = "cub50@144"
"""What networks with ImageNet weights are measured on."""
COLUMNS = ["run_id", "teacher", "level", "statistic", "value", "weights"]

# In the order of the table, see `load`.
OF_MAPS = (
    "entropy", "top share", "top share, sum-1", "top share, sum-4", "edges", "edges, sum-1", "edges, sum-4",
)  # fmt: skip
OF_MASKS = ("on object", "on object, surplus")
OF_FACES = ("on parts",)
OF_PAIRS = ("distance",)
STATISTICS = (*OF_MAPS, *OF_MASKS, *OF_FACES, *OF_PAIRS)
# What a mean can be: shares in percent, correlations, distances of maps of length 1. What objects themselves would have
# is the unit of the surplus, which may be small.
_RANGES = (
    dict.fromkeys(STATISTICS, (0, 100))
    | dict.fromkeys(("edges", "edges, sum-1", "edges, sum-4"), (-1, 1))
    | {"on object, surplus": (-math.inf, math.inf), "distance": (0, 1.42)}
)
LEVEL_ORDER = ("low", "middle", "top", *(f"level {number}" for number in range(1, 1000)))
# Of each statistic's definition: whoever changes one counts it up, and its old numbers are no longer read.
VERSIONS = dict.fromkeys(STATISTICS, 1)

_CHECKSUM = "# sha256 "  # begins the last line
KEY = ["run_id", "teacher", "level", "statistic"]  # of a row


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
    statistic's definition, which the file names in a column of its own. Rows of networks without a record are there as
    well, see `attention_measurement.update_imagenet`. Raises DataError where the file cannot be read, is not the one
    that was written, or holds a value that its statistic cannot have.
    """
    path = store.folder / FILE
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    try:
        table = _read(path)
    except PermissionError as error:  # nothing says that it is damaged
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, OSError) as error:
        advice = "restore it from git, or delete it, and at-repro run measures anew what has weights"
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())  # pandas breaks lines
        raise DataError(f"{path}: cannot be read ({reason}); {advice}") from None
    checksums, pairs = store.weight_checksums(), table[["run_id", "teacher", "weights"]]
    stale = [pair for pair in pairs.drop_duplicates().itertuples(index=False) if not _is_current(checksums, *pair)]
    return table[~pd.MultiIndex.from_frame(pairs).isin(stale)] if stale else table


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError("it is no file")  # a pipe would be waited for
    state = path.stat()
    table = _parse(path, state.st_mtime_ns, state.st_size, state.st_ino)
    table = table.loc[table["statistic"].map(VERSIONS) == table["version"], COLUMNS].astype({"value": float})
    if table.duplicated(KEY).any():
        raise ValueError("it has two values of one statistic")
    bounds = pd.DataFrame([_RANGES[name] for name in table["statistic"]], table.index, ["low", "high"], dtype=float)
    plausible = np.isfinite(table["value"]) & table["value"].between(bounds["low"], bounds["high"])
    for row in table[~plausible].itertuples():
        raise ValueError(f"{row.run_id} {row.level} {row.statistic} is {row.value:g}")
    return table


@lru_cache(maxsize=2)
def _parse(path: Path, *_state: int) -> pd.DataFrame:
    """What a file holds while it is in a state: pages ask once per statistic, `verify` once per record."""
    text, _, checksum = path.read_text().rpartition(_CHECKSUM)
    if checksum.strip() != hashlib.sha256(text.encode()).hexdigest():
        raise ValueError("it does not match its checksum")
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype={"weights": str})
    for column, allowed in (("statistic", STATISTICS), ("level", LEVEL_ORDER)):
        for name in set(table[column]) - set(allowed):
            raise ValueError(f"{name!r} is no {column}")
    return table.astype({"version": int})  # one that is text would hide all rows


def by_level(store: Store, statistic: str, teacher: str = "") -> pd.DataFrame:
    """A statistic, of distances those to the teacher of a run id: a row per run id, a column per level, low to top."""
    table = load(store)
    rows = table[(table["statistic"] == statistic) & (table["teacher"] == teacher)]
    levels = sorted(set(rows["level"]), key=LEVEL_ORDER.index)
    return rows.pivot(index="run_id", columns="level", values="value")[levels]


def _is_current(checksums: Mapping[str, str], run_id: str, teacher: str, weights: str) -> bool:
    """Whether a pair's rows are of the weights that are recorded, as far as both are known."""
    ids = [name for name in (run_id, teacher) if name]
    now = [checksums[name] for name in ids if name in checksums]
    return not weights or len(now) < len(ids) or weights == weights_name(*now)


def weights_name(*checksums: str) -> str:
    """How the table names the weights of a run, or of a run and its teacher, given their checksums."""
    return "+".join(checksum[:12] for checksum in checksums)


def add(store: Store, rows: pd.DataFrame) -> int:
    """Adds the rows that a store's table lacks, and returns of how many runs there were some.

    What the table has of the same run and teacher but of other weights, or does not say of which, gives way.

    Args:
        rows: with the columns of the table, see `load`.

    Raises UserError where the disk refuses, DataError where the table cannot be read.
    """
    from filelock import FileLock  # half as long to load as all that the ledger reads

    if rows.empty:
        return 0
    with files.write_errors(store.folder / FILE):
        store.in_progress.mkdir(parents=True, exist_ok=True)
        with FileLock(store.in_progress / "attention.lock"):
            table = load(store)  # under the lock: another process may have measured the same in the meantime
            now = {(row.run_id, row.teacher): row.weights for row in rows.itertuples()}
            current = [now.get((row.run_id, row.teacher), row.weights) == row.weights for row in table.itertuples()]
            table = table[np.array(current, dtype=bool)]
            new = rows[~pd.MultiIndex.from_frame(rows[KEY]).isin(pd.MultiIndex.from_frame(table[KEY]))]
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
    orders = {"level": LEVEL_ORDER, "statistic": STATISTICS}
    table = table.sort_values(
        KEY,
        key=lambda column: column.map(orders[column.name].index) if column.name in orders else column,
        kind="stable",
    )
    table = table.assign(version=table["statistic"].map(VERSIONS))
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files.write(store.folder / FILE, f"{text}{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}\n")
