"""Settings of all tests, those of the notebooks (nbval) included."""

import os

import pytest

# Comparing a committed notebook with its outputs must never start hours of training: with "never" a notebook lists what
# has no record. Tests that train call `train` with a store of their own, which this does not concern.
os.environ.setdefault("AT_REPRO_TRAIN", "never")
# Kernels of notebooks start in the notebooks' folder: a relative path would lead elsewhere there.
if os.environ.get("AT_REPRO_DATA"):
    os.environ["AT_REPRO_DATA"] = os.path.abspath(os.environ["AT_REPRO_DATA"])


def pytest_configure(config):
    """Lets `pytest --nbval` ignore what may differ, such as times, without being told of the file that lists it."""
    if getattr(config.option, "nbval", False) and not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")


def pytest_collection_modifyitems(items):
    """Skips, visibly, the cells of notebooks that show images of CIFAR-10 where it is not at hand."""
    cells = [item for item in items if "needs-images" in _tags(item)]
    if cells and not _has_cifar10():
        for cell in cells:
            cell.add_marker(pytest.mark.skip(reason="shows images of CIFAR-10, which is not here; set AT_REPRO_DATA"))


def _tags(item) -> list[str]:
    """The tags of a notebook's cell; none for any other test."""
    return item.cell.metadata.get("tags", []) if hasattr(item, "cell") else []


def _has_cifar10() -> bool:
    from at_repro import data
    from at_repro.data.cifar10 import cifar10
    from at_repro.errors import UserError

    try:
        cifar10("test", data.data_root(), download=False)
    except UserError:
        return False
    return True
