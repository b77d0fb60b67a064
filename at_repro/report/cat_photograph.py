"""The photograph of README, landing page and schematics: a cat that may be passed on."""

from pathlib import Path

import torch

from at_repro.data import Images, ImageSet, folders
from at_repro.report import notebooks

FILE = Path("_assets") / "cat.jpg"


def load(dataset: str, resolution: int) -> ImageSet:
    """The cat as an image of a data set, by whose name it is normalised, so many pixels wide.

    Raises UserError where the package was installed without a checkout.
    """
    pixels = folders.load_square(notebooks.part_of_checkout("book") / FILE, resolution)
    return ImageSet(dataset, "test", pixels[None], torch.zeros(1, dtype=torch.int64), ("cat",))


def cat(like: Images | None) -> ImageSet | None:
    """The cat as one of these images, on their device; None where there are none."""
    return None if like is None else load(like.name, like.resolution).to(like.device)
