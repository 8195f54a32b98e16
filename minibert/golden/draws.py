"""Random numbers that are the same everywhere and for good: raw Philox words, turned into numbers by exact arithmetic.

NumPy promises the words of a bit generator for ever, but not what `Generator` makes of them. Here a uniform number is
the upper half of a word over 2³², and a normal one the sum of twelve of those less 6 (mean 0, variance 1, at most 6):
both exact in float64, so any language gets the same bits.
"""

import hashlib
from typing import Any

import numpy as np

Shape = int | tuple[int, ...] | None


class Draws:
    """A stream of numbers, defined by a seed and a name; methods as NumPy's Generator has them."""

    def __init__(self, seed: int, name: str):
        stream = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")
        self._philox = np.random.Philox(key=np.array([seed, stream], np.uint64))

    def words(self, shape: Shape = None) -> Any:
        """Upper halves of Philox words: whole numbers below 2³²."""
        size = int(np.prod(() if shape is None else shape))
        words = np.asarray(self._philox.random_raw(size), np.uint64).reshape(() if shape is None else shape)
        return words >> np.uint64(32)

    def random(self, shape: Shape = None, dtype: Any = np.float64) -> Any:
        """Uniform in [0, 1)."""
        return (self.words(shape) / 2.0**32).astype(dtype)[()]

    def standard_normal(self, shape: Shape = None) -> Any:
        """Sums of twelve uniform numbers less 6: close to normal, exact in float64."""
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        return (self.words((12, *shape)).sum(0) / 2.0**32 - 6.0)[()]

    def integers(self, low: Any, high: Any = None, shape: Shape = None, endpoint: bool = False) -> Any:
        """Whole numbers of [low, high), or of [0, low), with `endpoint` up to high; of arrays one for each entry."""
        low, high = (0, low) if high is None else (low, high)
        high = high + 1 if endpoint else high
        span = np.asarray(high, np.int64) - np.asarray(low, np.int64)
        shape = span.shape if shape is None and span.shape else shape
        scaled = (self.words(shape) * span.astype(np.uint64)) >> np.uint64(32)
        return (scaled.astype(np.int64) + low)[()]

    def permutation(self, x: Any) -> np.ndarray:
        """The entries of x, or of range(x), in random order."""
        x = np.arange(x) if isinstance(x, int | np.integer) else np.asarray(x)
        return x[np.argsort(self.words(len(x)), kind="stable")]
