"""Tables of errors for readers: what they compare has the interval by which claims are judged."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from at_repro.analysis import error_tables, training_lengths
from at_repro.analysis.study import Study
from at_repro.claims.facts import Facts
from at_repro.claims.ledger import measured
from at_repro.report.phrases import over_same_seeds


def stack(studies: Mapping[str, Study], references: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Several tables of `error_tables.by_method`, one below the other, and how far each method is from a reference.

    Columns `ours`, `seeds`, `diverged` where other seeds did not, `paper`, those of `error_tables.top5` where there are
    any, and for each reference one such as `minus student`, "+0.43 (-0.20 to +1.06)", see `difference`.
    A run that has the same name in several tables stands in the first.

    Args:
        studies: by what they are about, of one store.
        references: by the name of the reference, its column in each study.

    Raises UserError where two runs were measured on different test images.
    """
    parts, facts = {}, _facts(studies.values())
    for index, (about, study) in enumerate(studies.items()):
        table = error_tables.by_method(study)
        text = error_tables.readable(table).reindex(columns=["ours", "seeds", "diverged", "paper"])
        text["diverged"] = [(row.seeds and row.diverged) or "" for row in table.itertuples()]
        text = text.join(error_tables.top5(study))
        for name, columns in references.items():
            text[f"minus {name}"] = [difference(facts, study, method, columns[index]) for method in table.index]
        parts[about] = text.assign(run_id=table["run_id"])
    both = pd.concat(parts, names=["about"]).astype(object).fillna("").reset_index()
    both = both.loc[:, both.ne("").any()]  # the paper may have no number for any
    duplicates = both.duplicated(["method", "run_id"]) & (both["run_id"] != error_tables.NOT_RUN)
    return both[~duplicates].drop(columns="run_id").set_index(["about", "method"])


def by_length(*studies: Study) -> pd.DataFrame:
    """`training_lengths.last_errors` of studies of one store as text, a row per method and a column per length.

    Of the plain student its error in percent, of all others the difference to that of the same length, see
    `difference`, whose error it raises.
    """
    ends, facts = training_lengths.last_errors(*studies), _facts(studies)
    study_of = {column: study for study in studies for column in study.columns}
    plain = ends[ends["method"] == "student"].set_index("epochs")["column"]
    cells = [
        f"{row.test_error:.2f} %" if row.method == "student" else
        difference(facts, study_of[row.column], row.column, plain[row.epochs]) if row.epochs in plain else ""
        for row in ends.itertuples()
    ]  # fmt: skip
    by_length = ends.assign(cell=cells).pivot(index="method", columns="epochs", values="cell")
    return by_length.reindex(pd.unique(ends["method"])).fillna("no result")


def difference(facts: Facts, study: Study, column: str, reference: str) -> str:
    """How many percentage points more one column errs, such as "+0.43 (-0.20 to +1.06)", with its 95 % interval: of
    `phrases.over_same_seeds`, empty where that is None.
    """
    estimate = over_same_seeds(facts, study, column, reference) if column != reference else None
    if estimate is None:
        return ""
    text = measured(estimate.difference, *estimate.interval)
    return text.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}")  # in a narrow cell an interval has one line


def _facts(studies: Iterable[Study]) -> Facts:
    """Of the store that they share: each `Facts` reads every experiment for the spread of its seeds."""
    return Facts(next(iter(studies)).store)
