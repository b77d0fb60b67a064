"""When does transfer pay? Methods against the plain student of the same training length, at the end and on the way."""

import pandas as pd

from at_repro.analysis import error_tables, significance
from at_repro.analysis.study import Study


def last_errors(*studies: Study) -> pd.DataFrame:
    """How every method of these studies ends at every training length, a row for each that has finished.

    Columns: `method`; `epochs`, the length; `seeds`, of those that did not diverge; `test_error` of the last epoch in
    percent, the median over them; `difference`, of method minus plain student of the same length and seed, the mean in
    percentage points, NaN where no plain student has finished.
    """
    rows = _concat([_of_students(study.test_errors().dropna(subset="test_error"), study) for study in studies])
    ends = rows.groupby(["method", "epochs"], sort=False)["test_error"].agg(seeds="size", test_error="median")
    differences = comparisons_by_length(*studies).groupby(["method", "epochs"])["difference"].mean()
    ends = ends.reset_index().join(differences, on=["method", "epochs"])
    return ends.assign(difference=ends["difference"].mask(ends["method"] == "student", 0.0))


def comparisons_by_length(*studies: Study) -> pd.DataFrame:
    """Every method against its length's plain student, by seed, see `error_tables.comparisons`; index: `epochs`."""
    parts = []
    for study in studies:
        for plain in [column for column in study.columns if column.startswith("student")]:
            rows = _of_students(error_tables.comparisons(study, plain).rename(columns={"method": "column"}), study)
            parts.append(rows[rows["epochs"] == study.columns[plain].epochs])
    return _concat(parts).drop(columns="column").set_index("epochs")


def last_errors_as_text(*studies: Study) -> pd.DataFrame:
    """`last_errors` as text, a row per method and a column per length: of the plain student its error in percent, of
    all others the difference to it in percentage points.

    With p where the test does not tell the two apart (0.05 or more): Student's over three seeds or more, else the
    largest of McNemar's of each seed.
    """
    ends = last_errors(*studies)
    largest_p = {
        at: max(significance.p_values(rows["difference"], rows["p"]))
        for at, rows in comparisons_by_length(*studies).groupby(["method", "epochs"])
    }
    cells = [
        f"{row.test_error:.2f} %" if row.method == "student" else
        "" if pd.isna(row.difference) else
        f"{row.difference:+.2f}" + (f" (p = {p:.2g})" if (p := largest_p[row.method, row.epochs]) >= 0.05 else "")
        for row in ends.itertuples()
    ]  # fmt: skip
    by_length = ends.assign(cell=cells).pivot(index="method", columns="epochs", values="cell")
    return by_length.reindex(pd.unique(ends["method"])).fillna("not run")


def phase_means(*studies: Study) -> pd.DataFrame:
    """Who is ahead during training: the mean difference while the learning rate stays the same.

    Of method minus plain student in the same epoch of the same length and seed, in percentage points of test error, the
    mean over seeds and then over epochs: a row per length and rate, a column per method.
    """
    parts = []
    for study in studies:
        rows = _of_students(study.curves(), study)
        plain = rows[rows["method"] == "student"][["epochs", "seed", "epoch", "test_error"]]
        both = rows.merge(plain, on=["epochs", "seed", "epoch"], suffixes=("", "_plain"))
        parts.append(both.assign(difference=both["test_error"] - both["test_error_plain"]))
    rows = _concat(parts).dropna(subset="difference")
    rows = rows[rows["method"] != "student"]
    keys = ["epochs", "learning_rate", "method"]
    by_epoch = rows.groupby([*keys, "epoch"], sort=False)["difference"].mean()
    means = by_epoch.groupby(keys, sort=False).mean().unstack("method")
    return means.sort_index(level=[0, 1], ascending=[True, False]).reindex(columns=pd.unique(rows["method"]))


def _concat(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame, empty only where all are: pandas warns of types where it joins empty ones."""
    return pd.concat([part for part in parts if len(part)] or parts)


def _of_students(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Rows by column without those of the teacher, whose length is its own, with their method and length."""
    lengths = {column: run.epochs for column, run in study.columns.items() if column != "teacher"}
    rows = rows[rows["column"].isin(lengths)]
    methods = rows["column"].str.replace(r", \d+ epochs$", "", regex=True)  # they are named "AT, 40 epochs"
    return rows.assign(method=methods, epochs=rows["column"].map(lengths))
