"""Figures without a window, whose warnings are faults."""

import warnings

import matplotlib
import matplotlib.pyplot as plt
import pytest

from at_repro import data


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit, values that are dropped
        warnings.simplefilter("ignore", ResourceWarning)  # of tests before, when their garbage is collected
        yield
    plt.close("all")
    matplotlib.use(before)


@pytest.fixture
def images():
    return data.load("shapes", "test", subset=3)
