"""Settings of all tests, those of the notebooks (nbval) included."""

import gc
import os
import signal
from collections import Counter

import pytest

# Comparing a committed notebook with its outputs must never start hours of training: with "never" a notebook lists what
# has no record. Tests that train call `train` with a store of their own, which this does not concern.
os.environ["AT_REPRO_TRAIN"] = "never"
# Of large arrays that are freed and allocated again glibc would ask the kernel for each page again: a third of the time
# of gradients in float64. It reads these where a process starts: workers, kernels and what tests start.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
# A job in the background inherits that Ctrl-C is ignored: tests, and what they start, send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Kernels of notebooks start in the notebooks' folder: a relative path would lead elsewhere there.
if os.environ.get("AT_REPRO_DATA"):
    os.environ["AT_REPRO_DATA"] = os.path.abspath(os.environ["AT_REPRO_DATA"])


def pytest_configure(config):
    """Lets `pytest --nbval` ignore what may differ, such as times, without being told of the file that lists it."""
    if getattr(config.option, "nbval", False) and not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")


def pytest_collection_finish():
    """What was imported lives to the end: it is not searched for garbage again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Puts long files first: one that was begun last would leave all cores but its own idle.

    Skips, visibly, the cells of notebooks that show images of a data set where it is not at hand.
    """
    from images_at_hand import are_here

    long = Counter(item.path for item in items if item.get_closest_marker("slow") or hasattr(item, "cell"))
    items.sort(key=lambda item: -long[item.path])
    for item in items:
        missing = [name for name in _data_sets(item) if not are_here(name)] if "needs-images" in _tags(item) else []
        if missing:
            reason = f"shows images of {', '.join(missing)}, not here; set AT_REPRO_DATA"
            item.add_marker(pytest.mark.skip(reason=reason))


def _tags(item) -> list[str]:
    """The tags of a notebook's cell; none for any other test."""
    return item.cell.metadata.get("tags", []) if hasattr(item, "cell") else []


def _data_sets(item) -> list[str]:
    from at_repro.report import notebooks

    return notebooks.shown_images(item.parent.nb)
