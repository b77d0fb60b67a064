"""Uniform random numbers that are the same on every machine and under every version of numpy."""

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
