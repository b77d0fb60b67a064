"""Random numbers and coloured textures of the generated images: objects, clutter and ground are drawn from these.

As in `outlines`, only arithmetic that IEEE 754 defines to the last bit, and no sums whose order a library may choose.
"""

import numpy as np


class Uniform:
    """A stream of uniform numbers, one per key.

    Built on the raw output of PCG64: numpy promises never to change a bit generator or its seeding, while the methods
    of `numpy.random.Generator` may change from one version to the next.

    Args:
        key: non-negative integers that name the stream.
    """

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def __call__(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """float32 of the given shape in [low, high), a multiple of 2^-24 before scaling."""
        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape)
        return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24) * np.float32(high - low) + np.float32(low)

    def permutations(self, count: int, length: int) -> np.ndarray:
        """int64 (count, length): random orders of 0 to length - 1."""
        return self._bits.random_raw(count * length).reshape(count, length).argsort(axis=1, kind="stable")


def unit_vectors(uniform: Uniform, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random directions, float32 (count, 1, 1) each for x and y: a point on the edge of a square, normalised."""
    along, edge = uniform(count, 1, 1, low=-1, high=1), uniform(count, 1, 1)
    across = np.where(edge < 0.5, np.float32(-1), np.float32(1))
    length = np.sqrt(along * along + 1)
    is_turned = edge * 4 % 2 < 1
    x, y = along / length, across / length
    return np.where(is_turned, x, y), np.where(is_turned, y, x)


def smooth_noise(uniform: Uniform, count: int, size: int, cells: int) -> np.ndarray:
    """Value noise, float32 (count, size, size) in [0, 1): random values on a grid of cells, interpolated linearly."""
    values = uniform(count, cells + 1, cells + 1)
    position = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / size)
    weight = position - np.floor(position)
    cell = position.astype(np.int64)
    rows = values[:, cell] * (1 - weight)[:, None] + values[:, cell + 1] * weight[:, None]
    return rows[:, :, cell] * (1 - weight) + rows[:, :, cell + 1] * weight


def patterns(uniform: Uniform, count: int, size: int) -> np.ndarray:
    """Grey patterns, float32 (count, size, size) in [-1, 1]: each stripes, checks, dots, noise or a gradient."""
    cos, sin = unit_vectors(uniform, count)
    period = uniform(count, 1, 1, low=4, high=9)
    phase = uniform(2, count, 1, 1, high=9)
    x, y = np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)[:, None]
    across, along = cos * x + sin * y, cos * y - sin * x
    p, q = _triangle_wave((across + phase[0]) / period), _triangle_wave((along + phase[1]) / period)
    gradient = across * np.float32(2 / size)
    kinds = [
        _clip(3 * p),
        _clip(6 * p * q),
        _clip(4 * np.maximum(p, q) + 1),
        2 * smooth_noise(uniform, count, size, cells=size // 4) - 1,
        _clip(gradient),
    ]
    kind = (uniform(count) * len(kinds)).astype(np.int64)
    return np.stack(kinds)[kind, np.arange(count)]


def paint(uniform: Uniform, colours: np.ndarray, size: int) -> np.ndarray:
    """Patterns in colour, float32 (count, 3, size, size), nearly all in [0, 1].

    Args:
        colours: float32 (count, 3), the mean colour of each.
    """
    count = len(colours)
    contrast = uniform(count, 3, 1, 1, low=-0.14, high=0.14)
    return colours[:, :, None, None] + contrast * patterns(uniform, count, size)[:, None]


def _triangle_wave(x: np.ndarray) -> np.ndarray:
    """A wave of period 1 in [-1, 1], made of straight lines."""
    return 4 * abs(x - np.floor(x) - np.float32(0.5)) - 1


def _clip(x: np.ndarray) -> np.ndarray:
    return np.clip(x, np.float32(-1), np.float32(1))
