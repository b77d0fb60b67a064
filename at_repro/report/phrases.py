"""What a sentence or a cell says of a column of a study: its error, seeds and length, and whether it is better."""

from at_repro import experiments
from at_repro.analysis.significance import Estimate
from at_repro.analysis.study import Study, with_all_seeds
from at_repro.claims import verdicts
from at_repro.claims.facts import Facts, Side


def judge(facts: Facts, study: Study, column: str, reference: str = "student") -> str:
    """The ledger's verdict on "this column is better than a reference"; else "diverged", of all seeds, or "not run"."""
    if estimate := over_same_seeds(facts, study, column, reference):
        return verdicts.verdict(*verdicts.BELOW.chances(estimate))
    return "diverged" if _same_seeds(study, column, reference) else "not run"


def over_same_seeds(facts: Facts, study: Study, column: str, reference: str) -> Estimate | None:
    """`Facts.estimate` of the seeds that two columns share; None without one, or where all of a column diverged.

    As in the ledger a seed that diverged beside others guesses, see `Facts.mistakes`.
    """
    pairs = _same_seeds(study, column, reference)
    return facts.estimate(pairs) if pairs and error(study, column) and error(study, reference) else None


def _same_seeds(study: Study, column: str, reference: str) -> list[tuple[Side, Side]]:
    """The runs of two columns, of every seed that has both."""
    own, others = (study.records.get(name, {}) for name in (column, reference))
    return [((record.run,), (others[seed].run,)) for seed, record in own.items() if seed in others]


def error(study: Study, column: str) -> str:
    """The test error of a column, the median over its seeds, such as 9.26 %; nothing without one."""
    errors = study.test_errors()
    median = errors.loc[errors["column"] == column, "test_error"].median()
    return f"{median:.2f}\N{NO-BREAK SPACE}%" if median == median else ""


def all_seeds(study: Study, column: str) -> str:
    """Such as "; 5 have 9.26 to 9.66 %", to stand behind `count_seeds`: of all seeds that the store has of a column.

    Said as well if the one that the study shows is the lowest of them. Empty where it shows all of them.
    """
    records = with_all_seeds(study).records[column]
    errors = {seed: record.final["test_error"] for seed, record in records.items() if not record.diverged}
    if errors.keys() <= study.records[column].keys():
        return ""
    lowest = [seed for seed, error in errors.items() if error == min(errors.values())]
    which = f", the lowest of {len(errors)}:" if lowest == [*study.records[column]] else f"; {len(errors)} have"
    return f"{which} {min(errors.values()):.2f} to {max(errors.values()):.2f}\N{NO-BREAK SPACE}%"


def length(study: Study) -> str:
    """Such as "40 of the paper's 200 epochs"."""
    published = experiments.get(study.experiment.name)  # not as it was varied
    epochs, paper_epochs = study.columns["student"].epochs, published.runs("paper")[0]["student"].epochs
    return f"{epochs} epochs" if epochs >= paper_epochs else f"{epochs} of the paper's {paper_epochs} epochs"


def count_seeds(study: Study, column: str) -> str:
    """Such as "one seed"."""
    count = len(study.records[column])
    return "one seed" if count == 1 else f"{count} seeds"
