"""Tagging: of which class is each token? Parts of speech, names of persons and places.

Devlin et al. 2018, arXiv 1810.04805, section 5.3; published classes "…ForTokenClassification".

    z_t = h_t Wᵀ + b                                                                                               (1)
    L = mean of -log softmax(z_t)[label_t] over the tokens that are asked; a label of -100 asks nothing             (2)

The paper asks the first piece of a word alone: which tokens are asked is data.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import check, rate, require

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
TASKS = {"tag": {"classes": 2}}
READS = "states"
PUBLISHED = "TokenClassification"
NAMED = "classifier"
DROPPED = "dropout"
LABELS = {"labels": "(B,T)"}
SHORT = "tags"
BASELINE = "majority"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """classes: how many tags; labels: their names; dropout: the rate at which states are dropped, None: as the family
    says.
    """

    classes: int
    labels: tuple[str, ...] = ()
    dropout: float | None = rate(None)

    def __post_init__(self) -> None:
        check(self)
        require(1 <= self.classes <= 1 << 20, f"classes is {self.classes}; it must be from 1 to {1 << 20:,}")

    def sizes(self) -> Tree:
        """For `shapes`, `draw` and `labels`."""
        return {"classes": self.classes}

    def constants(self) -> Tree:
        """For `loss`."""
        return {}


def labels(*, classes: int, **_: Any) -> dict[str, str]:
    """The spec of the labels."""
    return {"labels": f"(B,T)<{classes}|{IGNORED}"}


def shapes(*, width: int, classes: int, **_: Any) -> Tree:
    """width: of the states that are read, D."""
    return {"weight": (classes, width), "bias": (classes,)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, classes: int, **_: Any) -> Tree:
    """Labels of an example: any, of padding none, nor of the first row's second token."""
    tags = rng.integers(0, classes, (dims["B"], dims["T"]))
    tags[0, 1] = IGNORED
    return {"labels": np.where(np.arange(dims["T"]) < lengths["T"][:, None], tags, IGNORED)}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of h (B, T, D)."""
    c: Tree = {}
    z, c["head"] = ops.linear(h, **p)  # (1)
    value, c["loss"] = ops.cross_entropy(z, labels=labels["labels"], ignore=IGNORED, denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    return *ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"]), None


def count(labels: Tree) -> float:
    """The tokens that are asked."""
    return float((labels["labels"] != IGNORED).sum())


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"], classes=True)


def predict(h: Array, p: Tree, *, table: None = None) -> Array:
    """(1) of h (…, D): a logit for each tag, (…, C)."""
    return ops.linear(h, **p)[0]
