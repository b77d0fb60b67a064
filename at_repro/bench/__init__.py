"""What training costs, measured and reckoned: saved results and their targets, cases of a benchmark, costs of runs."""

from at_repro.bench.results import COMMITTED, LISTS, LONG, OTHER, compare, frame, load, readable, stamp

__all__ = ["COMMITTED", "LISTS", "LONG", "OTHER", "compare", "frame", "load", "readable", "stamp"]
