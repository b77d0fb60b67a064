"""When does transfer pay? Methods against the plain student of the same training length, at the end and on the way."""

import pandas as pd

from at_repro.analysis import tables
from at_repro.analysis.study import Study


def final(*studies: Study) -> pd.DataFrame:
    """How every method of these studies ends at every training length, a row for each that has finished.

    Columns: `method`; `epochs`, the length; `seeds`, of those that did not diverge; `test_error` of the last epoch in
    percent, the median over them; `difference`, of method minus plain student of the same length and seed, the median
    in percentage points, NaN where no plain student has finished.
    """
    parts = [_differences(study.errors().dropna(subset="test_error"), study, ["epochs", "seed"]) for study in studies]
    found = _together(parts)
    groups = found.groupby(["method", "epochs"], sort=False)
    ends = groups[["test_error", "difference"]].median()
    return ends.assign(seeds=groups.size()).reset_index()[["method", "epochs", "seeds", "test_error", "difference"]]


def comparisons(*studies: Study) -> pd.DataFrame:
    """Every method against the plain student of the same length and seed, see `tables.comparisons`; index: `epochs`."""
    parts = []
    for study in studies:
        lengths = {column: run.epochs for column, run in study.columns.items() if column != "teacher"}
        for plain in [column for column in lengths if column.startswith("student")]:
            found = tables.comparisons(study, plain)
            parts.append(found[found["method"].map(lengths) == lengths[plain]].assign(epochs=lengths[plain]))
    return _together(parts).set_index("epochs")


def leads(*studies: Study) -> pd.DataFrame:
    """Who is ahead during training: a row per method, training length and epoch.

    Columns: `method`; `epochs`, the length; `epoch`; `learning_rate`; `difference`, of method minus plain student in
    the same epoch of the same length and seed, in percentage points of test error, the median over seeds.
    """
    parts = [_differences(study.curves(), study, ["epochs", "seed", "epoch"]) for study in studies]
    found = _together(parts)
    keys = ["method", "epochs", "epoch", "learning_rate"]
    return found.groupby(keys, sort=False)["difference"].median().dropna().reset_index()


def phases(leads: pd.DataFrame) -> pd.DataFrame:
    """The mean difference while the learning rate stays the same: a row per length and rate, a column per method.

    Args:
        leads: see `leads`.
    """
    found = leads[leads["method"] != "student"]
    means = found.groupby(["epochs", "learning_rate", "method"], sort=False)["difference"].mean().unstack("method")
    return means.sort_index(level=[0, 1], ascending=[True, False]).reindex(columns=pd.unique(found["method"]))


def crossings(final: pd.DataFrame) -> pd.DataFrame:
    """At which lengths of training a method pays, and between which it ceases or begins to, a row per method.

    Columns, as text: `pays at` and `does not pay at`, lengths in epochs; `crossing`, pairs of neighbouring lengths of
    which it pays at one alone, empty where there is none.

    Args:
        final: see `final`; rows without a difference are left out.
    """
    rows = {}
    known = final[final["method"] != "student"].dropna(subset="difference").sort_values("epochs")
    for method, found in known.groupby("method", sort=False):
        pays = (found["difference"] < 0).tolist()
        lengths = found["epochs"].tolist()
        neighbours = zip(lengths, lengths[1:], pays, pays[1:], strict=False)
        rows[method] = (
            ", ".join(str(length) for length, paid in zip(lengths, pays, strict=True) if paid),
            ", ".join(str(length) for length, paid in zip(lengths, pays, strict=True) if not paid),
            ", ".join(f"{low} to {high}" for low, high, before, after in neighbours if before != after),
        )
    columns = ["pays at", "does not pay at", "crossing"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("method")


def last_leads(leads: pd.DataFrame) -> pd.DataFrame:
    """Until when a method is ahead during training: a row per method and length.

    Columns: `ahead`, the share of epochs in percent in which its test error is below the plain student's; `last epoch
    ahead`, NaN where there is none.

    Args:
        leads: see `leads`.
    """
    found = leads[leads["method"] != "student"]
    ahead = found.assign(ahead=100.0 * (found["difference"] < 0), last=found["epoch"].where(found["difference"] < 0))
    groups = ahead.groupby(["method", "epochs"], sort=False)
    return pd.DataFrame({"ahead": groups["ahead"].mean(), "last epoch ahead": groups["last"].max()})


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame, empty only where all are: pandas warns of types where it joins empty ones."""
    return pd.concat([part for part in parts if len(part)] or parts)


def _differences(found: pd.DataFrame, study: Study, keys: list[str]) -> pd.DataFrame:
    """Rows of students with their method and length, and the difference to the plain student's row of the same keys."""
    lengths = {column: run.epochs for column, run in study.columns.items() if column != "teacher"}
    found = found[found["column"].isin(lengths)]
    found = found.assign(
        method=found["column"].str.rsplit(", ", n=1).str[0],  # columns are named "AT, 40 epochs"
        epochs=found["column"].map(lengths),
    )
    plain = found[found["method"] == "student"][[*keys, "test_error"]]
    both = found.merge(plain, on=keys, how="left", suffixes=("", "_plain"))
    return both.assign(difference=both["test_error"] - both["test_error_plain"])
