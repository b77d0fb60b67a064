"""`at-repro bench`: measures what training costs here."""

import time
from collections.abc import Callable
from functools import partial

import torch

from at_repro import bench, data
from at_repro.bench import cases
from at_repro.data import ImageSet, names
from at_repro.errors import DataError, UserError, duration
from at_repro.training import Progress, engine, provenance


def measure(device: str = "auto", data_root: str | None = None, compile: str = "auto") -> dict:
    """Measures every case and returns what was found, ready for JSON: `environment`, `seconds`, `left_out`, `rows`.

    The machine should be idle: every case is a comparison within this process, but others make it noisy. Cases
    that fail here, such as for lack of CIFAR-10, are left out, and named. On a GPU all of them, the plain loop as well,
    use the kernels that give the same bits each time, as training does.

    Raises ParameterError for a value that is not allowed, UserError where nothing could be measured.
    """
    target = engine.device(device)
    compiled = engine.compiles(compile, 10**9, target)
    progress = Progress()
    images = _images(data_root).to(target)
    omissions: dict[str, str] = {}
    functions: dict[str, Callable[[], list[cases.Row]]] = {
        "against the plain loop": lambda: cases.against_plain(images, compiled),
        "cohort": lambda: cases.cohort(images, compiled),
        "peak": lambda: cases.peak(images, compiled),
        "processes": lambda: cases.processes(images, compiled),
        "data": lambda: cases.data_share(images, compiled),
        "growth": lambda: cases.growth(images, compiled),
        "imports": cases.imports,
        "memory": lambda: cases.memory(data_root),
    } | {f"at-repro {name}": partial(cases.command, name, data_root) for name in (*bench.LISTS, *bench.LONG)}
    engine.keep_freed_memory()
    engine.repeat_exactly(target)
    start = time.perf_counter()
    rows = []
    for name, case in functions.items():
        case_start = time.perf_counter()
        try:
            rows += [[name, *row] for row in case()]
        except Exception as error:  # whatever it is, what the other cases have found stays
            omissions[name] = (str(error).splitlines() or [type(error).__name__])[0]
        text = f"measured in {duration(time.perf_counter() - case_start)}"
        progress.say(f"{name}: {f'left out, {omissions[name]}' if name in omissions else text}")
    if not rows:
        raise UserError(f"nothing could be measured: {'; '.join(dict.fromkeys(omissions.values()))}")
    return {
        "environment": provenance.environment(target) | {"compiled": compiled, "images": images.name},
        "seconds": time.perf_counter() - start,
        "left_out": omissions,
        "rows": rows,
    }


def _images(data_root: str | None) -> ImageSet:
    """The images to train on: CIFAR-10, else as many generated ones."""
    try:
        images = data.load("cifar10", "train", data_root)
    except DataError:
        images = data.load("shapes", "train")
    assert isinstance(images, ImageSet)  # neither is streamed
    return images.select(torch.arange(names.SIZES["cifar10"]["train"]) % len(images))
