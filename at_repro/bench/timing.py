"""Timing by interleaved repeats, and of processes and programs as a whole."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

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


def in_processes(function: Callable[..., float], count: int, *arguments: object) -> list[float]:
    """What a function of a module returns in several new processes that measure at the same time.

    It is called with `ready`, which waits until all processes have called it, and with the arguments. Raises what the
    function raises in the first of them, BrokenBarrierError where it waited for another that failed, or
    BrokenProcessPool where a process dies.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(count, context, _remember, (context.Barrier(count),)) as pool:
        return [call.result() for call in [pool.submit(_call, function, *arguments) for _ in range(count)]]


_barrier: Barrier  # of this process, where it is one of several


def _remember(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _call(function: Callable[..., float], *arguments: object) -> float:
    try:
        return function(_barrier.wait, *arguments)
    except BaseException:
        _barrier.abort()  # the others would wait for this one
        raise


def program(*words: str, data_root: str | None = None) -> tuple[float, float]:
    """Runs Python with these words; returns the seconds that passed, and the processor's, its children's as well.

    Raises UserError, with the last line that it said, where it fails.
    """
    environment = os.environ | ({"AT_REPRO_DATA": data_root} if data_root else {})
    start, before = time.perf_counter(), os.times()
    process = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    wall_seconds, after = time.perf_counter() - start, os.times()
    if process.returncode:
        # A process that was killed had no last word.
        lines = process.stderr.splitlines() if process.returncode > 0 else []
        raise UserError((lines or [f"a process ended with {process.returncode}"])[-1])
    processor_seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_seconds, processor_seconds
