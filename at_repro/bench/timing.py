"""Timing by interleaved repeats, and processes that are timed as a whole."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def interleaved(functions: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
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


def script(code: str, *arguments: str) -> float:
    """Runs Python code in a process of its own and returns the number it prints last."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
