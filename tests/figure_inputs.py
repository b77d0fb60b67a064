"""What figures are drawn of, as the modules of `analysis` give it, and what is read off them."""

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

STAMP = "preset smoke, seed 0, CPU"
METHODS = ["student", "AT", "KD", "AT+KD", "teacher"]
NORMS = pd.Series({"sum-1": 4.0, "sum-2": 13.1, "not normalised": 1.4e8, "code form, beta 100": 1.3,
                   "code form, beta 1000": 13.0, "paper form, beta 1": 0.5})  # fmt: skip


def table(**changes) -> pd.DataFrame:
    """As from `error_tables.by_method`."""
    columns = {
        "ours": [9.0, 8.5, 8.25, 8.0, 6.5],
        "low": [8.5, 8.0, 7.75, 7.5, 6.0],
        "high": [9.5, 9.25, 9.0, 8.75, 7.0],
        "paper": [8.77, 7.93, 7.41, 7.51, 6.31],
    }
    return pd.DataFrame(columns | changes, index=pd.Index(METHODS, name="method"))


def epochs(*methods: str) -> pd.DataFrame:
    """As from `Study.curves`: three seeds, whose mean is not their median."""
    rows = [
        (
            method,
            seed,
            epoch,
            0.1 if epoch < 2 else 0.02,
            50 + extra - 10 * epoch + place,
            60 + extra - 10 * epoch + place,
        )
        for place, method in enumerate(methods)
        for seed, extra in ((0, 0.0), (1, 1.0), (2, 8.0))
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows, columns=["column", "seed", "epoch", "learning_rate", "test_error", "train_error"])


def of_groups(*names: str) -> dict[str, list[torch.Tensor]]:
    """As from `network_maps.groups`."""
    return {name: [torch.randn(1, 2 * side, side, side) for side in (8, 4, 2)] for name in names}


def of_blocks(**counts: int) -> dict[str, list[list[torch.Tensor]]]:
    """As from `network_maps.of_blocks`: so many blocks in each of three groups."""
    return {name: [[torch.rand(1, side, side) for _ in range(n)] for side in (8, 4, 2)] for name, n in counts.items()}


def students() -> pd.DataFrame:
    rows = [("student", 10.0, 0.4, 0.3, 0.3), ("AT", 9.0, 0.1, 0.1, 0.2), ("group 1", 9.5, 0.2, 0.3, 0.25)]
    return pd.DataFrame(rows, [1, 2, 3], columns=["method", "test_error", "low", "middle", "top"])


def of_pairs(**changes) -> pd.DataFrame:
    """As from `error_tables.gains`: the second pair is not run."""
    columns = {
        "pair": ["a", "a", "b"],
        "method": ["AT", "KD", "AT"],
        "ours": [-1.0, 0.5, np.nan],
        "paper": [-0.8, -1.3, -0.5],
    }
    return pd.DataFrame(columns | changes)


def by_length(*methods: str) -> pd.DataFrame:
    """As from `training_lengths.last_errors`."""
    rows = [(method, length, 20.0 + place, float(place)) for place, method in enumerate(methods) for length in (10, 40)]
    return pd.DataFrame(rows, columns=["method", "epochs", "test_error", "difference"])


def by_loss() -> dict[str, pd.DataFrame]:
    """As from `error_tables.by_method`: one method diverged, one is not run, and one run stands in both tables."""
    columns = ["ours", "low", "high", "paper", "diverged", "run_id"]
    functions = {
        "student": (10.5, 10.0, 11.0, 8.77, 0, "plain"),
        "sum-1": (10.0, 9.6, 10.4, 7.99, 0, "at-1"),
        "sum-2": (9.0, 8.6, 9.4, 7.93, 0, "at-2"),
        "not normalised": (np.nan, np.nan, np.nan, np.nan, 1, "at-none"),
    }
    forms = {
        "student": (10.5, 10.0, 11.0, np.nan, 0, "plain"),
        "code form, beta 100": (9.5, 9.1, 9.9, np.nan, 0, "at-100"),
        "code form, beta 1000": (9.0, 8.6, 9.4, np.nan, 0, "at-2"),
        "paper form, beta 1": (np.nan, np.nan, np.nan, np.nan, 0, "not run"),
    }
    named = {"functions": functions, "forms": forms}
    return {title: pd.DataFrame.from_dict(rows, orient="index", columns=columns) for title, rows in named.items()}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def named_colours(figure: Figure) -> dict[str, tuple]:
    """Of curves, whose names stand at the ends of their lines, which join them."""
    return {text.get_text(): to_rgba(text.arrow_patch.get_edgecolor()) for text in figure.axes[1].texts}
