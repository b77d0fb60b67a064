"""What training costs, measured and reckoned: saved results and their targets, cases of a benchmark, costs of runs."""

from at_repro.bench.results import (
    COMMITTED,
    GPU_TARGETS,
    LISTS,
    LONG,
    OTHER,
    TARGETS,
    compare,
    frame,
    load,
    readable,
    stamp,
)

__all__ = [
    "COMMITTED", "GPU_TARGETS", "LISTS", "LONG", "OTHER", "TARGETS", "compare", "frame", "load", "readable",
    "stamp",
]  # fmt: skip
