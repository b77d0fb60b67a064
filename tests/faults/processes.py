"""Children that share what their parent has imported, so that a hundred of them cost seconds and not hours."""

import os
import sys
import traceback
from collections.abc import Callable

from at_repro.errors import UserError

REFUSED = 2  # as the command line ends


def start(work: Callable[[], object]) -> tuple[int, int]:
    """Runs `work` in a child. Returns its process id and where its standard error can be read.

    It ends with 0; with 2 and one line after a UserError; with 1 and a traceback after anything else.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    os.dup2(writing, sys.stderr.fileno())
    code = 1
    try:
        work()
        code = 0
    except UserError as error:
        print(error, file=sys.stderr)
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # nothing of the parent's is cleaned up twice


def end(child: int, reading: int) -> tuple[int, str]:
    """Waits for a child. Returns its exit code, minus the signal's number if one ended it, and what it said."""
    with os.fdopen(reading) as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def run(work: Callable[[], object]) -> tuple[int, str]:
    """`start` and `end`."""
    return end(*start(work))
