"""The outlines of the ten classes of the generated images.

An outline is a function from coordinates to "inside or not". Only arithmetic that IEEE 754 defines to the last bit is
used (no sines, so angles appear as constants), which makes the data set the same on every machine.
"""

from collections.abc import Callable

import numpy as np

Outline = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SIN_60 = 0.8660254
# Outward normals of a regular pentagon's five sides.
_PENTAGON = (
    (0.0, -1.0),
    (0.9510565, -0.3090170),
    (0.5877853, 0.8090170),
    (-0.5877853, 0.8090170),
    (-0.9510565, -0.3090170),
)


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x + y * y < 1


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) < 1


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equilateral, its centre at the origin."""
    return np.maximum(-y, _SIN_60 * abs(x) + 0.5 * y) < 1


def bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (abs(x) < 1) & (abs(y) < 0.28)


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = abs(x), abs(y)
    return (np.minimum(x, y) < 0.28) & (np.maximum(x, y) < 1)


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points: a point of the pentagram lies outside at most one of the sides of its inner pentagon."""
    outside = [a * x + b * y >= 1 for a, b in _PENTAGON]
    return np.sum(outside, axis=0) <= 1


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    square_radius = x * x + y * y
    return (square_radius < 1) & (square_radius > 0.3)


def crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A disc less a smaller one that is set off to the right, its centroid at the origin."""
    x = x - 0.36
    return (x * x + y * y < 1) & ((x - 0.55) * (x - 0.55) + y * y > 0.62)


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The algebraic heart x² + (y - c sqrt|x|)² < 1, its centroid at the origin."""
    y = y + 0.43 - 0.85 * np.sqrt(abs(x))
    return x * x + y * y < 1


def arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A shaft and a head that points right."""
    y = abs(y)
    shaft = (abs(x + 0.4) <= 0.6) & (y < 0.2)
    head = (x > 0) & (y < 0.8 * (1 - x))
    return shaft | head


# Each with the factor that gives it an area of 2, so that the size of an object does not tell its class.
OUTLINES: dict[str, tuple[Outline, float]] = {
    "disc": (disc, 0.798),
    "square": (square, 0.707),
    "triangle": (triangle, 0.620),
    "bar": (bar, 1.336),
    "cross": (cross, 1.019),
    "star": (star, 0.412),
    "ring": (ring, 0.954),
    "crescent": (crescent, 1.104),
    "heart": (heart, 0.798),
    "arrow": (arrow, 1.291),
}
