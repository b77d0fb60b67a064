"""The cat goes through a network as if it were one of the data set's own images."""

import numpy as np
from PIL import Image

from at_repro import data
from at_repro.report import cat_photograph, notebooks


def test_the_cat_is_as_large_as_the_images_and_normalised_as_they_are():
    images = data.load("shapes", "test", subset=2)
    cat = cat_photograph.cat(images)
    assert (cat.name, cat.resolution, len(cat)) == (images.name, images.resolution, 1)
    file = Image.open(notebooks.part_of_checkout("book") / cat_photograph.FILE).convert("RGB")
    small = np.asarray(file.resize((images.resolution,) * 2, Image.Resampling.BOX), dtype=float)
    assert np.abs(cat.images[0].permute(1, 2, 0).numpy() - small).mean() < 5, "another picture, or turned"
    assert cat_photograph.cat(None) is None
