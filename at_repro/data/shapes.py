"""Generated images: ten textured shapes on cluttered grounds, with masks of the objects. Nothing is downloaded."""

import numpy as np
import torch

from at_repro.data import names
from at_repro.data.image_set import ImageSet
from at_repro.data.outlines import OUTLINES
from at_repro.data.textures import Uniform, paint, smooth_noise, unit_vectors
from at_repro.errors import check_count

CLASSES = tuple(OUTLINES)
SIZES = names.SIZES["shapes"]
# Per channel, in units of 0 to 255, of the training set.
MEAN = (127.2, 127.8, 128.3)
STD = (72.7, 72.7, 72.4)

_SIZE = 32
_CHUNK = 200
_SEED = 2017
# Points per pixel and direction at which an outline is evaluated: its edges are smooth in nine steps.
_POINTS = 3


def shapes(split: str, count: int | None = None) -> ImageSet:
    """Generates the set: each image shows one of ten shapes with a random position, size, tilt, colour and texture.

    Objects and clutter have colours and textures from the same distribution, so that only the outline tells the class.
    Image i is the same on every machine and whatever `count`. Images 10 i to 10 i + 9 hold every class once.

    Args:
        split: "train" (10,000 images) or "test" (2,000).
        count: only the first so many; None: all.

    Raises ParameterError for a count out of range.
    """
    count = SIZES[split] if count is None else count
    check_count("subset", count, most=SIZES[split])
    chunks = [_chunk(split, index) for index in range(-(-count // _CHUNK))]
    images, labels, masks = (torch.from_numpy(np.concatenate(part)[:count]) for part in zip(*chunks, strict=True))
    return ImageSet("shapes", split, images, labels, CLASSES, masks)


def _chunk(split: str, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of one chunk from a random stream of their own: uint8 images, int64 labels, bool masks."""
    uniform = Uniform(_SEED, list(SIZES).index(split), index)
    labels = uniform.permutations(_CHUNK // len(CLASSES), len(CLASSES)).reshape(-1)
    ground = uniform(_CHUNK, 3)
    # Colours live on a circle per channel. A shift by about half of it keeps the object apart from its
    # ground and leaves its distribution uniform, so that its colour says nothing.
    colour = (ground + uniform(_CHUNK, 3, low=0.3, high=0.7)) % 1
    pixels = _clutter(uniform, ground, paint(uniform, ground, _SIZE))
    cover = _objects(uniform, labels)
    pixels = _over(pixels, paint(uniform, colour, _SIZE), cover)
    light = 0.8 + 0.4 * smooth_noise(uniform, _CHUNK, _SIZE, cells=1)[:, None]
    pixels = pixels * light + uniform(_CHUNK, 3, _SIZE, _SIZE, low=-0.05, high=0.05)
    return np.floor(np.clip(pixels, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8), labels, cover >= 0.5


def _clutter(uniform: Uniform, ground: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Lays textured patches without a regular outline, in colours near that of the ground, and three lines over it."""
    for cells in (3, 6):
        colour = (ground + uniform(_CHUNK, 3, low=-0.12, high=0.12)) % 1
        patches = (smooth_noise(uniform, _CHUNK, _SIZE, cells) - 0.62) * 12
        pixels = _over(pixels, paint(uniform, colour, _SIZE), np.clip(patches, 0, 1))
    for _ in range(3):
        colour = (ground + uniform(_CHUNK, 3, low=-0.25, high=0.25)) % 1
        pixels = _over(pixels, colour[:, :, None, None], _lines(uniform))
    return pixels


def _lines(uniform: Uniform) -> np.ndarray:
    """The cover of one line segment per image, float32 (chunk, size, size) in [0, 1]."""
    cos, sin = unit_vectors(uniform, _CHUNK)
    x, y = _coordinates(uniform(_CHUNK, 1, 1, high=_SIZE), uniform(_CHUNK, 1, 1, high=_SIZE), points=1)
    length, width = uniform(_CHUNK, 1, 1, low=3, high=10), uniform(_CHUNK, 1, 1, low=0.4, high=1.4)
    across, beyond = cos * x + sin * y, np.maximum(abs(cos * y - sin * x) - length, 0)
    return np.clip(width + 0.5 - np.sqrt(across * across + beyond * beyond), 0, 1)


def _objects(uniform: Uniform, labels: np.ndarray) -> np.ndarray:
    """How much of each pixel the object covers, float32 (chunk, size, size) in [0, 1]."""
    # Upright but for a tilt of up to 17 degrees: its tangent is drawn.
    tilt = uniform(_CHUNK, 1, 1, low=-0.3, high=0.3)
    cos = 1 / np.sqrt(tilt * tilt + 1)
    sin = tilt * cos
    # An outline of area 2 at this scale, in pixels, covers 20 to 31 percent of the image.
    scale = uniform(_CHUNK, 1, 1, low=10, high=12.5)
    stretch = uniform(_CHUNK, 1, 1, low=0.9, high=1.1)
    # Far enough from the edge for all but the tips of the longest shapes.
    centre = scale + uniform(2, _CHUNK, 1, 1) * (_SIZE - 2 * scale)
    x, y = _coordinates(centre[0], centre[1], _POINTS)
    x, y = (cos * x + sin * y) / (scale * stretch), (cos * y - sin * x) / scale * stretch
    inside = np.empty(x.shape, dtype=bool)
    for label, (outline, size) in enumerate(OUTLINES.values()):
        own = labels == label
        inside[own] = outline(x[own] / np.float32(size), y[own] / np.float32(size))
    blocks = inside.reshape(_CHUNK, _SIZE, _POINTS, _SIZE, _POINTS)
    return blocks.sum(axis=(2, 4), dtype=np.int64).astype(np.float32) / _POINTS**2


def _coordinates(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates relative to (x, y), in pixels, y up: float32 (chunk, 1, points * size), (chunk, points * size, 1)."""
    axis = (np.arange(_SIZE * points, dtype=np.float32) + np.float32(0.5)) / np.float32(points)
    return axis - x, y - axis[:, None]


def _over(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Paints `above` over `below` where `cover` (chunk, size, size) is 1, and mixes them where it is less."""
    cover = cover[:, None]
    return below * (1 - cover) + above * cover
