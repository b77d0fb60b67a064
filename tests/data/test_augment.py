"""Augmentation against an independent reference, and the distribution of its draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from at_repro.data.augment import (
    AUGMENTATIONS,
    CIFAR10_MEAN,
    CIFAR10_STD,
    crop_flip,
    draw_shift_flip,
    normalize,
    parts,
    resized_crop,
    resized_crop_flip,
    window_flip,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int = 64, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randint(256, (count, 3, height, width), generator=seeded(9)).byte()


@pytest.mark.parametrize(("name", "padding"), [("crop-flip", 4), ("flip", 0)])
def test_a_run_asks_for_the_papers_crops_and_flips_by_these_names(name, padding):
    images = random_images()
    assert torch.equal(AUGMENTATIONS[name](images, seeded(3)), crop_flip(images, seeded(3), padding))


@pytest.mark.parametrize(("height", "width", "padding"), [(32, 32, 4), (6, 9, 5), (8, 8, 1), (8, 8, 0)])
def test_crop_flip_is_pad_crop_flip_one_image_at_a_time(height, width, padding):
    images = random_images(64, height, width)
    result = crop_flip(images, seeded(3), padding)
    down, right, flipped = draw_shift_flip(len(images), seeded(3), padding)
    for index, image in enumerate(images.numpy()):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
        top, left = padding + int(down[index]), padding + int(right[index])
        expected = padded[:, top : top + height, left : left + width]
        expected = expected[:, :, ::-1] if flipped[index] else expected
        assert np.array_equal(result[index].numpy(), expected), f"image {index} is not pad, crop, flip"


def test_draws_are_uniform_and_independent():
    down, right, flipped = draw_shift_flip(162_000, seeded(), padding=4)
    counts = torch.zeros(9, 9, 2).index_put_((down + 4, right + 4, flipped.long()), torch.ones(len(down)), True)
    # 162 cells of 1,000 expected each: a standard deviation is 32, so six of them hardly occur by chance.
    assert (counts - 1000).abs().max() < 190, "shifts and flips have to be uniform and independent of each other"


def test_same_seed_same_batch_and_fixed_number_of_draws():
    images = random_images()
    first, second, third = seeded(5), seeded(5), seeded(5)
    assert torch.equal(crop_flip(images, first), crop_flip(images, second)), "the seed has to decide the batch"
    crop_flip(images.flip(0), third)
    assert torch.equal(first.get_state(), third.get_state()), "what is drawn must not depend on the images"
    assert not torch.equal(crop_flip(images, first), crop_flip(images, seeded(5))), (
        "a second batch has to be drawn anew"
    )


def test_input_is_left_alone():
    images = random_images()
    before = images.clone()
    crop_flip(images, seeded())
    normalize(images, CIFAR10_MEAN, CIFAR10_STD)
    assert torch.equal(images, before), "the data set must not be changed by augmentation"
    own = images.float()
    normalize(own, CIFAR10_MEAN, CIFAR10_STD)
    assert torch.equal(own, before.float()), "nor one of a user's own that is no uint8"


def test_normalize_is_the_formula_in_channels_last():
    images = random_images(4, 5, 7)
    result = normalize(images, CIFAR10_MEAN, CIFAR10_STD)
    mean, std = np.array(CIFAR10_MEAN)[:, None, None], np.array(CIFAR10_STD)[:, None, None]
    np.testing.assert_allclose(result.numpy(), (images.numpy() - mean) / std, rtol=1e-5, atol=1e-6)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last), "convolutions want channels_last"


def test_images_are_normalised_with_gradients_after_others_without():
    """What is kept of a call in inference mode would be refused in one that wants gradients."""
    with torch.inference_mode():
        normalize(torch.zeros(1, 3, 4, 4), (1.5, 2, 3), (4, 5, 6))
    images = torch.rand(1, 3, 4, 4, requires_grad=True)
    normalize(images, (1.5, 2, 3), (4, 5, 6)).sum().backward()
    torch.testing.assert_close(images.grad[0, :, 0, 0], 1 / torch.tensor([4.0, 5, 6]))


def test_constants_are_those_of_the_public_code():
    assert CIFAR10_MEAN == (125.3, 123.0, 113.9)
    assert CIFAR10_STD == (63.0, 62.1, 66.7)


@pytest.mark.parametrize(("side", "window"), [(256, 224), (144, 128), (64, 56), (32, 32), (8, 8)])
def test_a_window_is_seven_eighths_of_the_side_to_the_nearest_multiple_of_eight(side, window):
    assert window_flip(random_images(2, side, side), seeded()).shape == (2, 3, window, window)


def test_windows_lie_everywhere_in_the_image_and_half_of_them_are_flipped():
    """Each pixel holds its own place, so a window says where it was cut out; 56 of 64 leave 9 x 9 places."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    images = torch.stack([rows, columns, torch.zeros(64, 64)]).byte().expand(3000, -1, -1, -1)
    windows = window_flip(images, seeded(4)).long()
    top, first, last = windows[:, 0, 0, 0], windows[:, 1, 0, 0], windows[:, 1, 0, -1]
    flipped, left = first > last, torch.minimum(first, last)
    assert set(top.tolist()) == set(left.tolist()) == set(range(9))
    assert 0.45 < flipped.float().mean() < 0.55
    across = torch.arange(56)
    for window, y, x, turned in zip(windows, top, left, flipped, strict=True):
        columns = x + (across.flip(0) if turned else across)
        assert torch.equal(window[0], (y + across).unsqueeze(1).expand(56, 56))
        assert torch.equal(window[1], columns.expand(56, 56))


def test_a_part_is_resized_as_torchvision_resizes_it():
    """Upwards, where nothing is averaged: rows 4 to 11 and columns 2 to 9 of 16, to the whole."""
    images = random_images(3, 16, 16)
    share = torch.tensor([1 / 16])
    top, left, size = (4 * share).expand(3), (2 * share).expand(3), (8 * share).expand(3)
    expected = functional.resize(images[..., 4:12, 2:10], [16, 16], antialias=False).float()
    own = resized_crop(images, top, left, size, size, torch.tensor([False, False, True])).float()
    own[2] = own[2].flip(-1)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # at its edge a part sees what is beside it
    assert (own[inner] - expected[inner]).abs().max() <= 1


def test_the_whole_image_is_a_part_of_it():
    images = random_images(2, 12, 12)
    zero, one = torch.zeros(2), torch.ones(2)
    assert torch.equal(resized_crop(images, zero, zero, one, one, torch.tensor([False, False])), images)
    assert torch.equal(resized_crop(images, zero, zero, one, one, torch.tensor([True, True])), images.flip(-1))


def test_parts_have_areas_and_shapes_as_published():
    """8 to 100 % of the area and ratios from 3/4 to 4/3, but for what is cut to fit; all inside of the image."""
    draws = torch.rand(4, 20_000, generator=seeded(2))
    top, left, height, width = parts(*draws)
    assert (
        (top >= 0).all() and (left >= 0).all() and (top + height <= 1 + 1e-6).all() and (left + width <= 1 + 1e-6).all()
    )
    fits = (height < 1) & (width < 1)
    area, ratio = (height * width)[fits], (width / height)[fits]
    assert area.min() >= 0.08 - 1e-6 and area.max() <= 1 and area.min() < 0.09
    assert ratio.min() == pytest.approx(3 / 4, abs=0.01) and ratio.max() == pytest.approx(4 / 3, abs=0.01)
    assert ratio.log().mean().abs() < 0.01, "as often upright as lying"
    assert area.mean() < (0.08 + 1) / 2


def test_resized_crops_follow_their_generator_and_flip_half():
    images = random_images(400, 16, 16)
    assert torch.equal(resized_crop_flip(images, seeded(5)), resized_crop_flip(images, seeded(5)))
    flat = torch.arange(16).view(1, 1, 1, 16).expand(400, 3, 16, 16).mul(16).byte()  # brighter to the right
    cut = resized_crop_flip(flat, seeded(5)).float()
    assert 0.4 < (cut[:, 0, 8, 0] > cut[:, 0, 8, -1]).float().mean() < 0.6
