"""When does transfer pay? Methods against the plain student of the same training length, at the end and on the way."""

import pandas as pd

from at_repro.analysis.study import Study


def last_errors(*studies: Study) -> pd.DataFrame:
    """How every method of these studies ends at every training length, a row for each that has finished.

    Columns: `method`; `epochs`, the length; `column` of its study; `test_error` of the last epoch in percent, the
    median over seeds that did not diverge; `difference`, of method minus plain student of the same length and seed,
    the mean in percentage points, NaN where no plain student has finished.
    """
    rows = _concat([_of_students(study.test_errors().dropna(subset="test_error"), study) for study in studies])
    ends = _beside_plain(rows, ["epochs", "seed"]).groupby(["method", "epochs", "column"], sort=False)
    return ends.agg(test_error=("test_error", "median"), difference=("difference", "mean")).reset_index()


def phase_means(*studies: Study) -> pd.DataFrame:
    """Who is ahead during training: the mean difference while the learning rate stays the same.

    Of method minus plain student in the same epoch of the same length and seed, in percentage points of test error, the
    mean over seeds that did not diverge and then over epochs: a row per length and rate, a column per method.
    """
    of_epochs = ["epochs", "seed", "epoch"]
    rows = _concat([_beside_plain(_of_students(_finished_curves(study), study), of_epochs) for study in studies])
    rows = rows.dropna(subset="difference")
    rows = rows[rows["method"] != "student"]
    keys = ["epochs", "learning_rate", "method"]
    by_epoch = rows.groupby([*keys, "epoch"], sort=False)["difference"].mean()
    means = by_epoch.groupby(keys, sort=False).mean().unstack("method")
    return means.sort_index(level=[0, 1], ascending=[True, False]).reindex(columns=pd.unique(rows["method"]))


def _finished_curves(study: Study) -> pd.DataFrame:
    finished = study.test_errors().dropna(subset="test_error")
    return study.curves().merge(finished[["column", "seed"]])


def _beside_plain(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """With `difference`, how much more each errs than the plain student of the same keys; NaN where there is none."""
    plain = rows.loc[rows["method"] == "student", [*keys, "test_error"]]
    both = rows.merge(plain, "left", keys, suffixes=("", "_plain"))
    return both.assign(difference=both["test_error"] - both["test_error_plain"])


def _concat(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame, empty only where all are: pandas warns of types where it joins empty ones."""
    return pd.concat([part for part in parts if len(part)] or parts)


def _of_students(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Rows by column without those of the teacher, whose length is its own, with their method and length."""
    lengths = {column: run.epochs for column, run in study.columns.items() if column != "teacher"}
    rows = rows[rows["column"].isin(lengths)]
    methods = rows["column"].str.replace(r", \d+ epochs$", "", regex=True)  # they are named "AT, 40 epochs"
    return rows.assign(method=methods, epochs=rows["column"].map(lengths))
