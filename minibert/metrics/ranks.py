"""Measures of where the right one stands among scores."""

from collections.abc import Sequence

import numpy as np

from minibert.config import listed, require
from minibert.metrics import lists

Array = np.ndarray


def hit_rate(labels: Sequence, predictions: Sequence, most: int = 10) -> float:
    """The share of rows whose right item is among the `most` with the highest scores (HR@k)."""
    return float((ranks(labels, predictions) < most).mean())


def ndcg(labels: Sequence, predictions: Sequence, most: int = 10) -> float:
    """The mean of 1 / log₂(rank + 2), 0 from rank `most` on: NDCG@k of one right item. As scikit-learn's `ndcg_score`
    where no scores are equal.
    """
    found = ranks(labels, predictions)
    return float(np.where(found < most, 1 / np.log2(found + 2), 0).mean())


def reciprocal_rank(labels: Sequence, predictions: Sequence) -> float:
    """The mean of 1 / (rank + 1)."""
    return float((1 / (ranks(labels, predictions) + 1)).mean())


def ranks(labels: Sequence, predictions: Sequence) -> Array:
    """(N,) how many others of (N, C) scores are at least as high as the right one: 0 is best, equals count against."""
    places, scores = lists.rows(labels, predictions)
    held = [lists.array(listed("scores", row), "iuf", "numbers") for row in scores]
    found = np.array(held) if len({len(row) for row in held}) == 1 else np.empty(0)
    chosen = lists.array(places, "iu", "whole numbers")
    fits = found.ndim == 2 and bool(((chosen >= 0) & (chosen < found.shape[1])).all() and np.isfinite(found).all())
    require(fits, "expected as many finite scores in every row, and of each the place of the right one, from 0")
    return (found >= found[np.arange(len(found)), chosen][:, None]).sum(1) - 1
