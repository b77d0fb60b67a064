"""The two errors that users see as one line: a bad parameter, and data that is not there."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. The command line prints it as one line and ends with exit code 2."""


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
