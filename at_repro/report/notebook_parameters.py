"""Parameters of notebooks: read by the type of their defaults, and checked before a kernel starts.

papermill itself only warns of a name that it does not know, and takes any value.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from at_repro import bench, data, experiments
from at_repro.analysis import network_maps, photographs
from at_repro.errors import ParameterError, check_choice, check_count, is_number
from at_repro.experiments import paper_numbers
from at_repro.records import Store
from at_repro.report import trust
from at_repro.training import engine


def read(defaults: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """The given values, a text read as a value of its default's type. Raises ParameterError."""
    for name in given:
        if name not in defaults:
            raise ParameterError("notebook parameter", name, defaults or "none: the notebook has no parameters cell")
    return {name: _value(name, value, defaults[name]) for name, value in given.items()}


def check(values: Mapping[str, Any]) -> None:
    """Raises ParameterError for a value that the notebook itself would refuse, or its library later."""
    changes = {name: value for name, value in values.items() if name in experiments.CHANGES}
    varied = experiments.vary(experiments.get("wrn-16-2-to-16-1"), **changes)
    varied.runs(values.get("preset", "smoke"), values.get("seeds") or None)
    for name, value in values.items():
        if name in _CHECKS:
            _CHECKS[name](name, value)


def literal(text: str) -> object:
    """A Python literal, or the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


# Of the parameters that are no change of an experiment; each takes the name and the value.
_CHECKS: dict[str, Callable[[str, Any], object]] = {
    "device": lambda _, value: engine.device(value),
    "data_root": lambda _, value: data.data_root(value or None),
    "results": lambda _, value: value and Store(value),
    "mappings": lambda _, value: network_maps.check_mappings(value),
    "networks": lambda _, value: photographs.check_networks(value),
    "photographs": lambda name, value: check_choice(name, value, paper_numbers.TABLE_4_ROWS),
    "method": lambda name, value: check_choice(name, value, experiments.METHODS),
    "measured": lambda _, value: bench.load(value),
    "proofs": lambda _, value: trust.load(value),
    **dict.fromkeys(("batch", "sample", "count", "per_class"), check_count),
}


def _value(name: str, value: Any, default: Any) -> object:
    """`value` as the type of `default`; a default of None takes any literal, else text."""
    if isinstance(value, str):
        value = _parsed(value, default)
    if default is None or _fits(value, default):
        return float(value) if isinstance(default, float) and value is not None else value
    kind = type(default).__name__
    raise ParameterError(name, value, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}, such as {default!r}")


def _parsed(text: str, default: object) -> object:
    if isinstance(default, str):
        return text
    word = text.strip().lower()
    if word in ("true", "false") and (default is None or isinstance(default, bool)):
        return word == "true"
    if word in ("none", "null") and default is None:
        return None
    value = literal(text.strip())
    if isinstance(default, list):
        # On a command line `-p seeds 0,1` and `-p seeds 0` are as clear as '[0, 1]' and '[0]', and so are names.
        if default and isinstance(default[0], str) and isinstance(value, str):
            return [word.strip() for word in value.split(",")]
        return list(value) if isinstance(value, tuple) else value if isinstance(value, str | list) else [value]
    return value


def _fits(value: object, default: object) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):  # bool is an int in Python, and not here
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, float) or is_number(value)  # an integer may be too large for one
    return isinstance(value, type(default))
