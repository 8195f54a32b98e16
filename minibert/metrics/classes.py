"""Measures of classes."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from minibert.config import require, shown
from minibert.metrics import lists

Array = np.ndarray
AVERAGES = ("binary", "macro", "micro")


def accuracy(labels: Sequence, predictions: Sequence) -> float:
    """The share of rows that are right. As scikit-learn's `accuracy_score`."""
    right, guess = _classes(labels, predictions)
    return float((right == guess).mean())


def f1(labels: Sequence, predictions: Sequence, average: str = "binary", positive: Hashable = 1) -> float:
    """F1 = 2 tp / (2 tp + fp + fn): of the class `positive` ("binary"), the mean over all classes that are right or
    predicted somewhere ("macro"), or of their counts together ("micro", which with one class a row is the accuracy).

    0 for a class that never is right. As scikit-learn's `f1_score`. InputError: "binary" of more than two classes, or
    of two that are not the positive one.
    """
    require(average in AVERAGES, f"average {shown(average)}: one of {', '.join(AVERAGES)}")
    right, guess = _classes(labels, predictions)
    names, places = np.unique(np.concatenate([right, guess]), return_inverse=True)
    a, b = places[: len(right)], places[len(right) :]
    if average == "binary":
        known = names.tolist()
        require(len(known) < 2 or (len(known) == 2 and positive in known),
                f"binary F1 of the class {shown(positive)}, and the classes are {shown(known)}: "
                "say which is the positive one, or average macro or micro")  # fmt: skip
        chosen = names == positive if positive in known else np.zeros(len(names), bool)
    else:
        chosen = np.ones(len(names), bool)
    hits = np.bincount(a[a == b], minlength=len(names))[chosen]
    sums = (np.bincount(a, minlength=len(names)) + np.bincount(b, minlength=len(names)))[chosen]
    if average == "macro":
        return float(np.mean(2 * hits / sums))  # a class that is there has a sum
    return lists.ratio(2 * hits.sum(), sums.sum())


def matthews(labels: Sequence, predictions: Sequence) -> float:
    """Matthews' correlation of classes, of any number of them (Gorodkin 2004, R_K): with n rows, c of them right, tₖ of
    class k and pₖ predicted as k

        (c n - Σ tₖ pₖ) / √((n² - Σ pₖ²) (n² - Σ tₖ²))

    As scikit-learn's `matthews_corrcoef`.
    """
    right, guess = _classes(labels, predictions)
    names, places = np.unique(np.concatenate([right, guess]), return_inverse=True)
    n = len(right)
    t, p = (np.bincount(side, minlength=len(names)).astype(float) for side in (places[:n], places[n:]))
    spread = (n * n - p @ p) * (n * n - t @ t)
    return lists.ratio(float((right == guess).sum()) * n - t @ p, math.sqrt(spread))


def _classes(labels: Sequence, predictions: Sequence) -> tuple[Array, Array]:
    """Both lists as arrays of classes, whose kinds agree."""
    right, guess = (lists.array(side, "Uiufb", "numbers or strings") for side in lists.rows(labels, predictions))
    same = (right.dtype.kind == "U") == (guess.dtype.kind == "U")
    require(same, f"a label is {shown(right[0].item())}, a prediction {shown(guess[0].item())}: expected the same type")
    return right, guess
