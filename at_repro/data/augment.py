"""Augmentation and normalisation on the device, for a batch at a time.

All randomness of a batch is one call of an explicit generator. A generator on the images' device draws there; a CPU
generator gives the same batch whatever the device.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from at_repro.data.names import window_resolution

# Per channel, in units of 0 to 255: the constants of the paper's public code (cifar.py, szagoruyko/attention-transfer).
CIFAR10_MEAN = (125.3, 123.0, 113.9)
CIFAR10_STD = (63.0, 62.1, 66.7)


def crop_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Reflect-pads, crops back to the original size at a random position and flips half of the images left to right.

    Source: Section 4.1 of the paper (flips and random crops) and its public code (4 pixels of reflect padding).

    Args:
        images: uint8 (N, C, H, W).
        generator: the source of all random numbers; it advances by one draw of N integers.
        padding: pixels added on each side; less than H and W.

    Returns:
        uint8 (N, C, H, W) on the device of `images`.
    """
    return shift_flip(images, *draw_shift_flip(len(images), generator, padding))


def window_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random window of each image, half of them flipped left to right: the paper's crop of 224 from 256 (Table 4).

    Of images of up to 32 pixels the window is the whole image.

    Args:
        images: uint8 (N, C, S, S), squares.
        generator: the source of all random numbers; it advances by one draw of N integers.

    Returns:
        uint8 (N, C, s, s), with s of `names.window_resolution` (224 of 256, 128 of 144).
    """
    resolution = images.shape[-1]
    small = window_resolution(resolution)
    return shift_flip(images, *draw_shift_flip(len(images), generator, (resolution - small) // 2), small)


def resized_crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random part of each image, of random shape, resized to the whole and flipped or not: as for ImageNet (Table 5).

    The part has 8 to 100 % of the area and 3/4 to 4/3 as many columns as rows, evenly in the logarithm, as in
    torchvision's `RandomResizedCrop`; what would not fit is cut to the image's side. Interpolated bilinearly, edge
    pixels repeated.

    Args:
        images: uint8 (N, C, S, S), squares.
        generator: the source of all random numbers; it advances by one draw of 5 N numbers.

    Returns:
        uint8 (N, C, S, S) on the device of `images`.
    """
    number = len(images)
    draws = torch.rand(5, number, generator=generator, device=generator.device).to(images.device)
    return resized_crop(images, *parts(*draws[:4]), draws[4] < 0.5)


def parts(
    area: Tensor, shape: Tensor, down: Tensor, right: Tensor, elongation: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Parts of images from numbers from 0 to 1, (N,) each: top, left, height and width as shares of the image's own.

    Args:
        elongation: width of the images by their height.
    """
    root, ratio = (0.08 + 0.92 * area).sqrt(), ((2 * shape - 1) * math.log(4 / 3) / 2).exp() / elongation**0.5
    height, width = (root / ratio).clamp_max(1), (root * ratio).clamp_max(1)
    return down * (1 - height), right * (1 - width), height, width


def resized_crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, flipped: Tensor) -> Tensor:
    """Resizes a part of each image to the whole and flips it: the deterministic part of `resized_crop_flip`.

    Args:
        images: uint8 (N, C, H, W).
        top, left, height, width: (N,), as shares of height and width of the image.
        flipped: bool (N,).

    Returns:
        uint8 (N, C, H, W).
    """
    across = torch.where(flipped, -width, width)
    zeros = torch.zeros_like(top)
    # grid_sample counts from -1 to 1: the middle of a part is at twice its share minus 1.
    transforms = torch.stack([across, zeros, 2 * left + width - 1, zeros, height, 2 * top + height - 1], 1).view(
        -1, 2, 3
    )
    grid = functional.affine_grid(transforms, list(images.shape), align_corners=False)
    samples = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return samples.round_().to(torch.uint8)


def draw_shift_flip(count: int, generator: torch.Generator, padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draws what `shift_flip` applies: int64 (N,) row and column shifts in [-padding, padding], bool (N,) flips.

    One integer per image holds all three, so that the number of draws is fixed and small.
    """
    positions = 2 * padding + 1
    draw = torch.randint(2 * positions * positions, (count,), generator=generator, device=generator.device)
    flipped = draw % 2 == 1
    position = draw // 2
    return position // positions - padding, position % positions - padding, flipped


def shift_flip(images: Tensor, down: Tensor, right: Tensor, flipped: Tensor, size: int | None = None) -> Tensor:
    """Crops each image at an offset into its own reflection and flips it: the deterministic part of `crop_flip`.

    The reflection is in the indices: the padded image is never built.

    Args:
        images: uint8 (N, C, H, W).
        down, right: int64 (N,), how far the crop lies from the middle of the image, in pixels; smaller than H and W.
        flipped: bool (N,), whether the crop is flipped left to right.
        size: s, height and width of the crop; None: those of the image.

    Returns:
        uint8 (N, C, H, W), or (N, C, s, s).
    """
    number, channels, height, width = images.shape
    row_count, column_count = (size, size) if size else (height, width)
    down, right, flipped = (item.to(images.device).unsqueeze(1) for item in (down, right, flipped))
    rows = torch.arange(row_count, device=images.device) + (height - row_count) // 2
    columns = torch.arange(column_count, device=images.device)
    columns = torch.where(flipped, column_count - 1 - columns, columns) + (width - column_count) // 2
    rows, columns = _reflect(rows + down, height), _reflect(columns + right, width)
    pixels = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).reshape(number, 1, -1).expand(-1, channels, -1)
    return images.reshape(number, channels, -1).gather(2, pixels).view(-1, channels, row_count, column_count)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images - mean) / std per channel.

    Args:
        images: (N, C, H, W), uint8 or floating-point, from 0 to 255.
        mean, std: one number per channel, in units of 0 to 255.

    Returns:
        float32 (N, C, H, W) in channels_last memory format, the layout convolutions are fastest in.
    """
    shift, scale = (_per_channel(tuple(values), images.device) for values in (mean, std))
    # Arithmetic first, layout last: broadcasting over the innermost dimension of channels_last is several times slower.
    own = images.to(torch.float32, copy=True)
    return own.sub_(shift).div_(scale).contiguous(memory_format=torch.channels_last)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop-flip": crop_flip,
    "flip": partial(crop_flip, padding=0),  # alone, as in the paper's Table 3
    "none": lambda images, generator: images,
    "window-flip": window_flip,
    "resized-crop-flip": resized_crop_flip,
}
"""By name: functions of a batch of images and a generator."""


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Copied to a device once: with every batch, the CPU would wait each time until a GPU had caught up."""
    with torch.inference_mode(False):  # who calls first may be in it, and the next one want gradients
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Mirrors indices that lie outside of 0 to size - 1 at the edge pixels, which are not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()
