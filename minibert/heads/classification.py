"""Classification and regression: of which class is a text, or a pair of texts; which of several things hold of it; how
much of something is it?

Devlin et al. 2018, arXiv 1810.04805, section 4.1; published classes' `problem_type` says which of (2)-(4) is meant.

    z = s Wᵀ + b, s what stands for the row (`summaries`)                                                          (1)
    single_label_classification  L = mean over the rows of -log softmax(z)[label]; a label of -100 asks nothing     (2)
    multi_label_classification   L = mean over rows and classes of BCE(z_c, y_c)                                    (3)
    regression                   L = mean over rows and values of (z_c - y_c)²                                      (4)

The paper has a row of W for each class and no bias; its release, and all since, have one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import among, check, number, rate, require
from minibert.pooling import POOLINGS

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
TASKS = {"classify": {"classes": 2}, "regress": {"classes": 1, "problem_type": "regression"}}
READS = "text"
PUBLISHED = "SequenceClassification"
LABELS = {"labels": "(B)"}
SHORT = "class"
BASELINE = "majority"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """classes: how many, or how many values; labels: their names; problem_type: of PROBLEMS; dropout: the rate at which
    the summary is dropped, None: as the family says; pooling: how it is made of the states, "": as the family says;
    size: of what the pooling learns (filters of a window, units of a direction), 0: half the states' width.
    """

    classes: int
    labels: tuple[str, ...] = ()
    problem_type: str = among(PROBLEMS[0], PROBLEMS)
    dropout: float | None = rate(None)
    pooling: str = among("", ("", *POOLINGS))
    size: int = number(0, 0, 1 << 16)

    def __post_init__(self) -> None:
        check(self)
        require(1 <= self.classes <= 1 << 20, f"classes is {self.classes}; it must be from 1 to {1 << 20:,}")

    def sizes(self) -> Tree:
        """For `shapes`, `draw` and `labels`."""
        return {"classes": self.classes, "problem_type": self.problem_type}

    def constants(self) -> Tree:
        """For `loss`."""
        return {"problem_type": self.problem_type}


def labels(*, classes: int, problem_type: str, **_: Any) -> dict[str, str]:
    """The spec of the labels: classes, bits for each of them, or values."""
    if problem_type == "single_label_classification":
        return {"labels": f"(B)<{classes}|{IGNORED}"}
    if problem_type == "multi_label_classification":
        return {"labels": f"(B,{classes})?"}
    return {"labels": "(B)" if classes == 1 else f"(B,{classes})"}


def shapes(*, width: int, classes: int, biased: bool = True, **_: Any) -> Tree:
    """width: of the summary, D."""
    return {"weight": (classes, width), **({"bias": (classes,)} if biased else {})}


def draw(
    rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, classes: int, problem_type: str, **_: Any
) -> Tree:  # fmt: skip
    """Labels of an example: at random."""
    if problem_type == "single_label_classification":
        return {"labels": rng.integers(0, classes, dims["B"])}
    values = rng.standard_normal((dims["B"], classes))
    return {"labels": values[:, 0] if classes == 1 else values > 0 if problem_type != "regression" else values}


def loss(
    s: Array, p: Tree, labels: Tree, *, problem_type: str, table: None = None, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), and (2), (3) or (4), of s (B, D); total: what the sum over the rows is divided by."""
    c: Tree = {"problem_type": problem_type}
    z, c["head"] = ops.linear(s, **p)  # (1)
    asked = labels["labels"]
    if problem_type == "single_label_classification":
        value, c["loss"] = ops.cross_entropy(z, labels=asked, ignore=IGNORED, denominator=total)  # (2)
        return value, c
    y, divisor = asked.reshape(z.shape).astype(z.dtype), None if total is None else total * z.shape[1]
    if problem_type == "multi_label_classification":
        value, c["loss"] = ops.binary_cross_entropy(z, labels=y, denominator=divisor)  # (3)
    else:
        value, c["loss"] = ops.mean_squared_error(z, target=y, denominator=divisor)  # (4)
    return value, c


SLOPES = {"single_label_classification": lambda dloss, c: ops.cross_entropy_backward(dloss, c),
          "multi_label_classification": lambda dloss, c: ops.binary_cross_entropy_backward(dloss, c),
          "regression": lambda dloss, c: ops.mean_squared_error_backward(dloss, c)}  # fmt: skip


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    return *ops.linear_backward(SLOPES[c["problem_type"]](dloss, c["loss"]), c["head"]), None  # (4)-(1)


def count(labels: Tree) -> float:
    """The rows of which something is asked."""
    asked = labels["labels"]
    return float((asked != IGNORED).sum()) if asked.dtype.kind in "iu" and asked.ndim == 1 else float(len(asked))


def right(c: Tree) -> layers.Right | None:
    """Of several things that may hold, whole rows; None of values, which are never right to the bit."""
    if c["problem_type"] == "single_label_classification":
        return layers.right(c["loss"], classes=True)
    if c["problem_type"] == "regression":
        return None
    guessed = (c["loss"]["logits"] > 0) == (c["loss"]["labels"] > 0.5)
    return int(guessed.all(-1).sum()), len(guessed), None


def predict(s: Array, p: Tree, *, table: None = None, **_: Any) -> Array:
    """(1) of s (…, D): a logit for each class, or the values, (…, C)."""
    return ops.linear(s, **p)[0]
