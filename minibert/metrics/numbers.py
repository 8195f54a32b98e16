"""Measures of numbers."""

from collections.abc import Sequence

import numpy as np

from minibert.config import require
from minibert.metrics import lists

Array = np.ndarray


def pearson(labels: Sequence, predictions: Sequence) -> float:
    """r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² Σ (y - ȳ)²). As SciPy's `pearsonr`, but 0 where that is NaN: where all
    values of a side are equal, as of a single row.
    """
    x, y = (_centred(side) for side in finite(labels, predictions))
    return float(np.clip(x @ y, -1, 1))


def spearman(labels: Sequence, predictions: Sequence) -> float:
    """Pearson's r of the ranks; equal values have the mean of their ranks. As SciPy's `spearmanr`, but 0 for NaN."""
    x, y = (_centred(_ranks(side)) for side in finite(labels, predictions))
    return float(np.clip(x @ y, -1, 1))


def finite(labels: Sequence, predictions: Sequence) -> list[Array]:
    """Both lists as finite float64."""
    both = [lists.array(side, "iuf", "numbers").astype(np.float64) for side in lists.rows(labels, predictions)]
    for side in both:
        require(bool(np.isfinite(side).all()), "the values hold NaN or infinity: expected finite ones")
    return both


def _centred(x: Array) -> Array:
    """x - x̄, of length 1; zeros where all are equal."""
    if (x == x[0]).all():
        return np.zeros_like(x)
    x = x / np.abs(x).max()  # no square overflows
    x = x - x.mean()
    x = x / np.abs(x).max()
    return x / np.linalg.norm(x)


def _ranks(x: Array) -> Array:
    """1 for the least; equal values share the mean of theirs."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
