"""Timing by interleaved repeats, and processes that are timed as a whole."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from at_repro.errors import UserError


def median_seconds(functions: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each function. One unmeasured call; then round by round, so that drift meets all alike."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def script(code: str, *arguments: str) -> list[float]:
    """Runs Python code in a process of its own and returns the numbers in the last line that it prints.

    Raises UserError, with the last line that the process said, where it fails.
    """
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.splitlines() if done.returncode > 0 else []  # a process that was killed had no last word
        raise UserError((said or [f"a process ended with {done.returncode}"])[-1])
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def together(code: str, count: int, *arguments: str) -> list[float]:
    """Runs Python code in several processes at once and returns the number that each prints last.

    The code prints a line when it is ready to measure, and waits for one on standard input: all start together.
    """
    command = [sys.executable, "-c", code, *arguments]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        if not all([process.stdout is not None and process.stdout.readline() for process in running]):
            raise RuntimeError("a process ended before it could measure, see above")
        for process in running:
            assert process.stdin is not None  # a pipe
            process.stdin.write("\n")
            process.stdin.flush()
        return [float(process.communicate()[0].split()[-1]) for process in running]
    finally:
        for process in running:
            process.kill()
