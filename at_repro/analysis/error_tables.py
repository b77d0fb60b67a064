"""The tables of the report, computed from records."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

import pandas as pd

from at_repro import experiments
from at_repro.analysis import attention_table, significance
from at_repro.analysis.study import Study
from at_repro.experiments import paper_numbers
from at_repro.records import check_same_test_images

NOT_RUN = "not run"
_SEEDS_OF_AN_INTERVAL = 3  # fewer have none of their own, see significance.of_replicates


def by_method(study: Study) -> pd.DataFrame:
    """Ours beside the paper's, a row per method of the paper's table.

    Columns, errors in percent:

    - `ours`: the median over seeds of the last epoch's test error
    - `low`, `high`: the 95 % interval, Student's t of the mean over three seeds or more, else Wilson's over test images
    - `seeds`: the number of seeds that finished; `diverged`: of those that diverged, which have no error
    - `paper`: the published number (NaN where there is none, or for other networks, data, mapping or beta);
      `published`: the same as text, with (?) where it was recalled less firmly
    - `deviation`: ours minus the paper's
    - `run_id`: of the first seed; "not run" for a method without a record, whose numbers are NaN
    """
    records = study.test_errors().groupby("column")
    results = study.test_errors().dropna(subset="test_error").groupby("column")  # what diverged has no error
    frame = pd.DataFrame(index=pd.Index(study.columns, name="method"))
    frame["ours"] = results["test_error"].median()
    by_column = dict(iter(results["test_error"]))
    frame[["low", "high"]] = [_interval(study, column, by_column.get(column, ())) for column in frame.index]
    frame["seeds"] = results.size().reindex(frame.index, fill_value=0)
    frame["diverged"] = records.size().reindex(frame.index, fill_value=0) - frame["seeds"]
    name, is_comparable = study.experiment.name, as_published(study)
    numbers = [paper_numbers.of_experiment(name, column) if is_comparable else None for column in frame.index]
    frame["paper"] = [math.nan if number is None else number.value for number in numbers]
    frame["published"] = ["" if number is None else str(number) for number in numbers]
    frame["deviation"] = frame["ours"] - frame["paper"]
    frame["run_id"] = records["run_id"].first().reindex(frame.index, fill_value=NOT_RUN)
    return frame


def _interval(study: Study, column: str, errors: Sequence[float]) -> tuple[float, float]:
    """Two seeds say nothing about others: the interval is then about other test images."""
    if not 0 < len(errors) < _SEEDS_OF_AN_INTERVAL:
        return significance.interval(errors)
    images = len(study.first(column).predictions())
    return significance.error_interval(round(median(errors) / 100 * images), images)


def pairs(studies: Mapping[str, Study]) -> pd.DataFrame:
    """Several pairs of student and teacher as text for readers: what `readable` has of each, a column per method.

    Args:
        studies: by the pair; the columns are their methods.
    """
    text = {pair: readable(by_method(study)).astype(object).T for pair, study in studies.items()}
    return pd.concat(text, names=["pair", "error"]).fillna("")


def gains(studies: Mapping[str, Study]) -> pd.DataFrame:
    """The difference of each method to the plain student, in percentage points: negative is better.

    Columns pair, method; `ours`, to the plain student of the same seed, the mean over seeds; `paper`. NaN where a
    method or the plain student is not run, or the paper has no number.

    Args:
        studies: see `pairs`.

    Raises UserError, with both run ids, where two were measured on different test images.
    """
    parts = {}
    for pair, study in studies.items():
        check_same_test_images(record for by_seed in study.records.values() for record in by_seed.values())
        errors = study.test_errors().pivot(index="seed", columns="column", values="test_error")
        errors, paper = errors.reindex(columns=study.columns), by_method(study)["paper"]
        ours = errors.sub(errors["student"], axis=0).mean()
        parts[pair] = pd.DataFrame({"ours": ours, "paper": paper - paper["student"]}, paper.index)
    return pd.concat(parts, names=["pair", "method"]).drop(["student", "teacher"], level="method").reset_index()


def as_published(study: Study) -> bool:
    """Whether the paper's numbers are of the same images, networks, mapping function and beta."""
    (published,) = experiments.get(study.experiment.name).runs("paper", [0])
    same = all(
        (run.dataset, run.network) == (published[column].dataset, published[column].network)
        for column, run in study.columns.items()
        if column in published
    )
    return same and not {"mapping", "beta"} & study.changes.keys()


def top5(study: Study) -> pd.DataFrame:
    """Top-5 errors of the last epoch in percent as text, to stand beside `readable`, a row per method that has one.

    Columns: `top-5`, the median over seeds; and where the paper's Table 5 is of the same images `paper, top-5` and
    `deviation, top-5`. No column where there are so few classes that no top-5 error is recorded.
    """
    rows = {}
    for column, by_seed in study.records.items():
        errors = [error for record in by_seed.values() if (error := record.final.get("top5_error")) is not None]
        if not errors:
            continue
        ours = median(errors)
        rows[column] = {"top-5": f"{ours:.2f}"}
        number = paper_numbers.number("Table 5", "resnet18 from resnet34, ImageNet top-5", column)
        if number is not None and study.experiment.name == "imagenet-resnet18" and as_published(study):
            rows[column] |= {"paper, top-5": str(number), "deviation, top-5": f"{ours - number.value:+.2f}"}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def other_reports() -> pd.DataFrame:
    """What others published, in percent of test images: accuracy of the student, and how much more with a teacher."""
    rows = pd.DataFrame(paper_numbers.ACCURACIES)
    index = ["source", "task", "row"]
    table = rows.pivot(index=index, columns="column", values="value").drop(columns="teacher")
    gains = table.drop(columns="student").sub(table["student"], axis=0).map("{:+.2f}".format, na_action="ignore")
    return gains.fillna("").assign(student=table["student"])[["student", *gains]].rename_axis(columns=None)


def paper_table(*tables: str) -> pd.DataFrame:
    """What the paper prints in these tables, as text: a row per row of theirs and a column per method."""
    numbers = {(n.row, n.column): str(n) for n in paper_numbers.NUMBERS if n.table in tables}
    return pd.Series(numbers).rename_axis([None, "method"]).unstack(sort=False).fillna("")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `by_method` as text for readers: an interval in one cell, no empty column, "not run" said."""
    rows = list(table.itertuples())
    text = pd.DataFrame(index=table.index)
    text["ours"] = [f"{row.ours:.2f}" if row.seeds else "diverged" if row.diverged else NOT_RUN for row in rows]
    over = ["images" if row.seeds < _SEEDS_OF_AN_INTERVAL else "seeds" for row in rows]
    intervals = [f"{row.low:.2f} to {row.high:.2f} ({what})" for row, what in zip(rows, over, strict=True)]
    text["95 % interval"] = pd.Series(intervals, table.index).where(table["seeds"] > 0, "")
    text["seeds"] = table["seeds"]
    if table["diverged"].any():
        text["diverged"] = table["diverged"]
    if table["paper"].notna().any():
        text["paper"] = table["published"]
        text["deviation"] = ["" if pd.isna(row.deviation) else f"{row.deviation:+.2f}" for row in rows]
    return text


def map_distances(study: Study) -> pd.DataFrame:
    """How far the attention of each method's networks is from the teacher's: the l2 distance of normalised maps.

    Of F_sum^2 maps, the median over seeds of the mean over test images, from the table of `attention_table`: so
    without weights and images. A row per method, a column per level, and `seeds`, how many; no rows where nothing was
    measured.
    """
    runs = study.test_errors().set_index("run_id")["column"].rename("method")
    distances = attention_table.by_level(study.store, "distance", study.columns["teacher"].run_id)
    both = distances.join(runs, how="inner")
    by_method = both.groupby("method", sort=False)
    order = [column for column in study.columns if column in by_method.groups]
    return by_method.median().assign(seeds=by_method.size()).loc[order]


def paired_map_distances(study: Study, method: str) -> pd.DataFrame:
    """How much farther from the teacher's the maps of a method are than those of the plain student of the same seed.

    From the table of `attention_table`, as `map_distances`. A row per level; no rows where no seed has both.

    Columns: `seeds`; `farther`, of how many of them the method's are; `difference`, the mean over seeds, and `low` and
    `high`, its 95 % interval by Student's t (NaN for fewer than three seeds).
    """
    distances = attention_table.by_level(study.store, "distance", study.columns["teacher"].run_id)
    runs = study.test_errors().pivot(index="seed", columns="column", values="run_id")
    runs = runs.reindex(columns=[method, "student"]).dropna()
    own, others = (distances.reindex(runs[column]).to_numpy() for column in runs)
    farther = pd.DataFrame(own - others, columns=distances.columns).dropna()
    rows = {
        level: (len(of), (of > 0).sum(), of.mean(), *significance.interval(of))
        for level, of in farther.items()
        if len(of)
    }
    columns = ["seeds", "farther", "difference", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("level")
