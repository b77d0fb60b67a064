"""What users see as a line: the errors that are theirs to mend, and names and times as text."""

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import TypeGuard


class UserError(Exception):
    """Something the user can mend. The command line prints it as one line and ends with exit code 2."""

    def __reduce__(self) -> tuple:
        # Other processes are told the message: of what else an error was made, pickle does not know.
        return _with_message, (type(self), str(self))


def _with_message(kind: type[UserError], message: str) -> UserError:
    return kind.__new__(kind, message)


class ParameterError(UserError, ValueError):
    """A parameter has a value that is not allowed.

    Args:
        parameter: name of the parameter, as the user writes it.
        value: what was given.
        allowed: what may be given, in words or as the list of names.
    """

    def __init__(self, parameter: str, value: object, allowed: str | Iterable[str]):
        allowed = allowed if isinstance(allowed, str) else ", ".join(allowed)
        super().__init__(f"{parameter}: {value!r} is not allowed; allowed: {allowed}")


class DataError(UserError):
    """A data set is missing, incomplete or damaged. The message says where, and what to do about it."""


@contextmanager
def foreign_code(parameter: str, value: object, allowed: str) -> Iterator[None]:
    """Makes a ParameterError of whatever somebody else's code raises inside; errors of users stay what they are."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise ParameterError(parameter, value, f"{allowed} ({error!r})") from error


def printable(line: str) -> str:
    """A line for a terminal: names of files and classes may hold its control characters, or be no text at all."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def duration(seconds: float) -> str:
    """Seconds in the two units a person would use."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def name_seeds(seeds: Sequence[int]) -> str:
    """For readers: "seed 0", "seeds 0, 2" or, of three and more in a row, "seeds 0 to 4"; in ascending order."""
    is_range = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    names = f"{seeds[0]} to {seeds[-1]}" if is_range else ", ".join(map(str, seeds))
    return f"seed{'s' * (len(seeds) > 1)} {names}"


def check_choice(parameter: str, value: str, choices: Collection[str]) -> None:
    """Raises ParameterError unless the value is one of the choices."""
    if value not in tuple(choices):  # a value from outside may have no hash
        raise ParameterError(parameter, value, choices)


def check_kind(parameter: str, value: object, kind: type | UnionType, allowed: str) -> None:
    """Raises ParameterError unless a value is of a type."""
    if not isinstance(value, kind):
        raise ParameterError(parameter, value, allowed)


def check_weight(parameter: str, value: float) -> None:
    """Raises ParameterError unless the value is a finite number above 0."""
    if not (is_number(value) and value > 0):
        raise ParameterError(parameter, value, "a number above 0")


def check_range(parameter: str, value: object, high: float = math.inf) -> None:
    """Raises ParameterError unless the value is a finite number from 0 to `high`."""
    if not is_number(value) or not 0 <= value <= high:
        raise ParameterError(parameter, value, "a number from 0" + (f" to {high}" if math.isfinite(high) else ""))


def check_count(parameter: str, value: int, least: int = 1, most: int = 999_999_999) -> None:
    """Raises ParameterError unless the value is an integer from `least` to `most`."""
    if not is_integer(value) or not least <= value <= most:
        raise ParameterError(parameter, value, f"an integer from {least} to {most}")


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is an int or a float that a float can hold: finite, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
