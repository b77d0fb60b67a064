"""The claims ledger: rules, what was known when they were stated, and the verdicts that the records give them."""

from at_repro.claims.ledger import compare, conclude, counts, effect, elsewhere, post_hoc, shorter_trainings, summary
from at_repro.claims.verdicts import CONTRADICTED, NOT_TESTED, SUPPORTED, UNDECIDED

__all__ = [
    "CONTRADICTED", "NOT_TESTED", "SUPPORTED", "UNDECIDED",
    "compare", "conclude", "counts", "effect", "elsewhere", "post_hoc", "shorter_trainings", "summary",
]  # fmt: skip
