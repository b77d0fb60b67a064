"""The embedded data set: the same everywhere, and a fair learning problem."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from at_repro import data
from at_repro.data import shapes as generated
from at_repro.data.image_set import ImageSet
from at_repro.data.outlines import OUTLINES
from at_repro.data.shapes import CLASSES, shapes
from at_repro.data.textures import Uniform


@pytest.fixture(scope="module", autouse=True)
def generated_anew():
    """Other tests generate a chunk once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generated, "_chunk", generated._chunk.__wrapped__)
        yield


@pytest.fixture(scope="module")
def train(generated_anew) -> ImageSet:
    return shapes("train")


@pytest.fixture(scope="module")
def tested(generated_anew) -> ImageSet:
    return shapes("test")


def test_form(train, tested):
    assert train.images.shape == (10_000, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.labels.shape == (10_000,) and train.labels.dtype == torch.int64
    assert train.masks.shape == (10_000, 32, 32) and train.masks.dtype == torch.bool
    assert train.classes == CLASSES and len(set(CLASSES)) == 10
    assert len(tested) == 2_000


@settings(max_examples=5, deadline=None)
@given(count=st.integers(1, 450))
def test_an_image_does_not_depend_on_how_many_are_asked_for(tested, count):
    whole, part = tested, shapes("test", count)
    assert torch.equal(part.images, whole.images[:count]), "a smaller set has to be a prefix of a larger one"
    assert torch.equal(part.labels, whole.labels[:count])
    assert torch.equal(part.masks, whole.masks[:count])


def test_train_and_test_share_no_image(train, tested):
    seen = {image.tobytes() for image in train.images.numpy()}
    assert len(seen) == len(train), "an image occurs twice"
    assert not any(image.tobytes() in seen for image in tested.images.numpy()), "a test image is trained on"


def test_every_ten_images_hold_every_class_in_no_fixed_order(train):
    tens = train.labels.view(-1, 10)
    assert torch.equal(tens.sort(1).values, torch.arange(10).expand(1000, 10)), "classes have to be balanced everywhere"
    at_place = torch.stack([(tens == label).sum(0) for label in range(10)])
    # 100 expected, standard deviation 9.5.
    assert (at_place - 100).abs().max() < 50, "a class must not have its place among the ten"


def test_masks_cover_a_good_part_of_the_image_alike_in_every_class(train):
    cover = train.masks.float().mean((1, 2))
    assert cover.min() > 0.05 and cover.max() < 0.6, "an object is nearly gone or fills the image"
    per_class = torch.stack([cover[train.labels == label].mean() for label in range(10)])
    assert per_class.max() / per_class.min() < 1.1, "the size of an object must not tell its class"


def test_objects_stand_out_from_their_surroundings(train):
    images, masks = train.images.float(), train.masks.unsqueeze(1)
    inside = (images * masks).sum((2, 3)) / masks.sum((2, 3))
    outside = (images * ~masks).sum((2, 3)) / (~masks).sum((2, 3))
    contrast = (inside - outside).abs().amax(1)
    assert contrast.quantile(0.01) > 25, "some objects cannot be seen"


def test_masks_are_where_the_objects_are(train):
    """The strongest colour edges of an image lie on the mask's border far more often than elsewhere."""
    images, masks = train.images[:1000].float(), train.masks[:1000]
    edge = (images[..., 1:] - images[..., :-1]).abs().amax(1)
    border = masks[..., 1:] != masks[..., :-1]
    assert edge[border].mean() > 2 * edge[~border].mean(), "masks and objects have come apart"


@pytest.mark.parametrize("region", ["image", "object", "surroundings"])
def test_colour_does_not_tell_the_class(train, tested, region):
    """Nearest class mean on mean colour and its spread: chance is 10 %."""

    def features(images: ImageSet) -> torch.Tensor:
        masks = {"image": torch.ones_like(images.masks), "object": images.masks, "surroundings": ~images.masks}[region]
        masks = masks.unsqueeze(1)
        pixels, area = images.images.float(), masks.sum((2, 3))
        mean = (pixels * masks).sum((2, 3)) / area
        spread = (((pixels - mean[:, :, None, None]) ** 2 * masks).sum((2, 3)) / area).sqrt()
        return torch.cat([mean, spread], 1)

    known = features(train)
    centres = torch.stack([known[train.labels == label].mean(0) for label in range(10)])
    accuracy = (torch.cdist(features(tested), centres).argmin(1) == tested.labels).float().mean()
    assert accuracy < 0.2, "a class can be told by colour alone"


def test_the_outline_tells_the_class(train):
    """Masks, moved to the centre and compared by pixels with the nearest of 2,000, mostly have their class."""
    test = shapes("test", 300)

    def centred(masks: torch.Tensor) -> torch.Tensor:
        place = [torch.nonzero(mask).float().mean(0).round().long() for mask in masks]
        moved = [mask.roll((16 - int(y), 16 - int(x)), (0, 1)) for mask, (y, x) in zip(masks, place, strict=True)]
        return torch.stack(moved).float().flatten(1)

    nearest = torch.cdist(centred(test.masks), centred(train.masks[:2000])).argmin(1)
    accuracy = (train.labels[:2000][nearest] == test.labels).float().mean()
    assert accuracy > 0.9, "outlines do not tell the classes, so nothing can"


def test_normalization_constants_fit_the_data(train):
    mean, std = data.normalization("shapes")
    values = train.images.double()
    assert (values.mean((0, 2, 3)) - torch.tensor(mean)).abs().max() < 2, "the mean has to be computed again"
    assert (values.std((0, 2, 3)) - torch.tensor(std)).abs().max() < 2, "the deviation has to be computed again"


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_have_one_area(name):
    axis = (np.arange(1000) + 0.5) / 1000 * 4 - 2
    outline, size = OUTLINES[name]
    area = 16 * outline(axis / size, axis[:, None] / size).mean()
    assert area == pytest.approx(2, rel=0.02), "the factor in OUTLINES does not give this outline an area of 2"


def test_uniform_numbers_are_those_of_pcg64():
    """Independent route: numpy's own conversion of the same bits, which keeps more of them."""
    reference = np.random.Generator(np.random.PCG64(np.random.SeedSequence((1, 2)))).random(5)
    assert Uniform(1, 2)(5) == pytest.approx(reference, abs=2**-23)
    assert Uniform(1, 2)(5).tolist() != Uniform(1, 3)(5).tolist(), "another key has to be another stream"
