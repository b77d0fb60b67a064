"""Errors that a user can mend: what they say survives the way between processes."""

import pickle
from pathlib import Path

import pytest

from at_repro.errors import DataError, ParameterError, UserError
from at_repro.records import DamagedRecord


@pytest.mark.parametrize(
    "error",
    [ParameterError("beta", -1, ["a", "b"]), DamagedRecord(Path("a"), "cut"), DataError("none"), UserError("no")],
)
def test_an_error_of_another_process_is_the_same_line(error):
    """What is made of more than its message could not be made anew: the line was lost, and a pool of processes died."""
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error) and str(other) == str(error)
