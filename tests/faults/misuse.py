"""Specs and parameters that mean nothing: each is one line, before anything is trained."""

import contextlib
import io
import math
import os
import sys
import tempfile
from pathlib import Path

from disturbed import Row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from at_repro import cli
from at_repro.data import DATA_SETS, augmentations
from at_repro.errors import ParameterError
from at_repro.experiments import EXPERIMENTS
from at_repro.runs import Run, checks
from at_repro.runs.checks import PRECISIONS
from at_repro.runs.terms import TERMS

GOOD = {"network": "wrn-10-1", "epochs": 2, "dataset": "shapes"}
TAUGHT = GOOD | {"teacher": GOOD}
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="-\0"), max_size=12)
NO_NUMBER = WORDS | st.booleans() | st.lists(st.integers(), max_size=2) | st.sampled_from([math.nan, math.inf, 10**400])
NO_LIST = WORDS | st.integers() | st.booleans() | st.none()
NO_COUNT = NO_NUMBER.filter(lambda value: value != 10**400) | st.integers(max_value=0) | st.floats() | st.none()


def _no_name(*known: str) -> st.SearchStrategy:
    """Anything but these names."""
    return (WORDS | st.integers() | st.none() | st.lists(WORDS, max_size=2)).filter(lambda value: value not in known)


FIELDS = {
    "network": _no_name().filter(lambda value: not str(value).startswith(("wrn", "nin", "resnet"))),
    "epochs": NO_COUNT,
    "batch_size": NO_COUNT,
    "subset": NO_COUNT.filter(lambda value: value is not None),
    "seed": NO_COUNT.filter(lambda value: value != 0 or value is False),
    "dataset": _no_name(*DATA_SETS),
    "augmentation": _no_name(*augmentations("shapes")),
    "precision": _no_name(*PRECISIONS),
    "learning_rate": NO_NUMBER | st.floats(max_value=0.0),
    "drop": NO_NUMBER | st.floats(max_value=0.0),
    "momentum": NO_NUMBER | st.floats(max_value=-0.001) | st.floats(min_value=1.001),
    "weight_decay": NO_NUMBER | st.floats(max_value=-1e-9),
    "milestones": NO_LIST | st.lists(NO_NUMBER, min_size=1, max_size=3),
    "teacher": WORDS | st.integers() | st.lists(st.integers()) | st.just({"network": "wrn-10-1"}),
}
TERM_FIELDS = {
    "beta": NO_NUMBER | st.floats(max_value=0.0),
    "mapping": _no_name().filter(lambda value: not str(value).startswith(("sum-", "max-"))),
    "form": _no_name("paper", "code"),
    "norm": _no_name("l1", "l2", "none"),
    "decay": _no_name("constant", "linear", "cosine", "step"),
    "groups": st.lists(NO_NUMBER | st.integers(min_value=3), max_size=3) | WORDS | st.integers(),
    "layers": st.lists(WORDS | st.lists(WORDS, max_size=3), max_size=2) | WORDS | st.integers(),
    "colour": st.integers(),
}


@st.composite
def specs(draw) -> dict:
    """A whole spec with one fault."""
    kind = draw(st.sampled_from(["field", "term field", "term", "unknown", "missing"]))
    if kind == "field":
        name = draw(st.sampled_from(sorted(FIELDS)))
        return GOOD | {name: draw(FIELDS[name])}
    if kind == "term field":
        name = draw(st.sampled_from(sorted(TERM_FIELDS)))
        return TAUGHT | {"terms": [{"kind": "at", name: draw(TERM_FIELDS[name])}]}
    if kind == "term":
        return TAUGHT | {"terms": draw(NO_LIST | st.lists(NO_LIST | _kinds(), min_size=1, max_size=2))}
    if kind == "unknown":
        return GOOD | {draw(WORDS.filter(lambda name: name not in Run.__dataclass_fields__)): 1}
    missing = draw(st.sampled_from(["network", "epochs"]))
    return {name: value for name, value in GOOD.items() if name != missing}


def _kinds() -> st.SearchStrategy:
    return st.fixed_dictionaries({"kind": _no_name(*TERMS)})


@st.composite
def commands(draw) -> list[str]:
    """A command line with one value that is not allowed."""
    name = next(iter(EXPERIMENTS))
    option, allowed = draw(st.sampled_from([
        ("--preset", ("smoke", "reduced", "paper")), ("--device", ("auto", "cpu", "cuda")),
        ("--compile", ("auto", "on", "off")), ("--data-root", ()), ("--seeds", ()), ("", tuple(EXPERIMENTS)),
    ]))  # fmt: skip
    value = draw(WORDS.filter(lambda value: value not in allowed and not value.isdecimal() and value.strip("./~ ")))
    value += "?" * os.path.exists(value)  # as data root any folder would do
    return ["run", name, option, value] if option else ["run", value]


LARGE = st.integers(10, 400).map(lambda digits: "1" + digits * "0")
HUGE = st.integers(309, 999).map(lambda digits: "1" + digits * "0")  # none that a float holds


@st.composite
def numbers(draw) -> list[str]:
    """A number that is too large for a seed, a weight or a count; or a folder that is there and holds no records."""
    command = draw(st.sampled_from(["run", "notebook", "sweep", "claims", "verify"]))
    if command in ("claims", "verify"):
        return [command]
    if command == "run":
        return ["run", next(iter(EXPERIMENTS)), "--seeds", draw(LARGE)]
    name = draw(st.sampled_from(["beta", "seeds"]))
    value = draw({"beta": HUGE, "seeds": LARGE}[name] | st.sampled_from(["nan", "inf", "-1", "1e400"]))
    values = [value, value + "0"] if command == "sweep" else [value]
    return [command, "table_1", "-p", name, *values]


def gone(count: int, folder: Path) -> list[Row]:
    """Every command that reads or writes, called where the working folder is not there any more."""
    here, wrong = Path.cwd(), 0
    name = next(iter(EXPERIMENTS))
    calls = [["experiments"], ["status"], ["run", name], ["claims"], ["verify"], ["data"], ["maps"], ["bench"],
             ["notebook", "table_1"], ["sweep", "table_1", "-p", "beta", "1", "2"], ["refresh"], ["book"]]  # fmt: skip
    for arguments in calls * count:
        with tempfile.TemporaryDirectory() as working:
            os.chdir(working)
            os.rmdir(working)
            wrong += not _ends_in_one_line(arguments)
            os.chdir(here)
            os.mkdir(working)  # for the end of this block
    return [("a command in a folder that is gone", count * len(calls), "no line, more than one, or work", wrong)]


def specs_and_commands(count: int, folder: Path) -> list[Row]:
    """`count` of each, generated."""
    large = "a command with a number too large, or for a folder without records"
    found = {"a bad spec": [0, 0], "a bad command line": [0, 0], large: [0, 0]}
    (folder / "store").mkdir()
    results = ["--results", str(folder / "store")]

    def note(what: str, refused: bool, given: object) -> None:
        found[what][0] += 1
        found[what][1] += not refused
        if not refused:
            print(f"not refused in one line: {given!r}", file=sys.stderr)

    quickly = settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )

    @quickly
    @given(specs())
    def try_spec(spec: dict) -> None:
        note("a bad spec", _is_refused(spec), spec)

    @quickly
    @given(commands())
    def try_command(arguments: list[str]) -> None:
        note("a bad command line", _ends_in_one_line([*arguments, *results]), arguments)

    @quickly
    @given(numbers())
    def try_number(arguments: list[str]) -> None:
        own = [] if arguments[0] in ("notebook", "sweep") else results
        note(large, _ends_in_one_line([*arguments, *own]), arguments)

    try_spec()
    try_command()
    try_number()
    fault = "no line, more than one, or training"
    return [(what, tried, fault, wrong) for what, (tried, wrong) in found.items()]


def _is_refused(spec: dict) -> bool:
    try:
        checks.validate(Run.from_dict(spec))
    except ParameterError as error:
        return "\n" not in str(error) and "allowed:" in str(error)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return False


def _ends_in_one_line(arguments: list[str]) -> bool:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = cli.main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    return code == 2 and said.getvalue().count("\n") == 1
