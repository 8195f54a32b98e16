"""Relations: in which relation do two marked parts of a text stand?

Soares et al. 2019, arXiv 1906.03158, section 3.2 ("entity start"); with punctuation for marks as Zhou and Chen 2021,
arXiv 2102.01373, so that any vocabulary has them: "@ Ann @ was born in # Ulm #".

    r = [h_i; h_j], i and j the places of the marks that open the first and the second part                       (1)
    z = r Wᵀ + b                                                                                                   (2)
    L = mean over the rows of -log softmax(z)[label]; a label of -100 asks nothing                                 (3)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, pooling
from minibert.config import check, rate, require

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
TASKS = {"relate": {"classes": 2}}
READS = "states"
PUBLISHED = "RelationClassification"
NAMED = "classifier"
DROPPED = "dropout"
INPUTS = {"head_positions": "(B)<T", "tail_positions": "(B)<T"}
LABELS = {"labels": "(B)"}
SHORT = "class"
BASELINE = "majority"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """classes: how many relations; labels: their names; dropout: the rate at which states are dropped, None: as the
    family says.
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
    return {"labels": f"(B)<{classes}|{IGNORED}"}


def shapes(*, width: int, classes: int, **_: Any) -> Tree:
    """width: of the states that are read, D."""
    return {"weight": (classes, 2 * width), "bias": (classes,)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, classes: int, **_: Any) -> Tree:
    """Labels of an example, and two places of each row, which may be one."""
    places = rng.integers(0, lengths["T"][:, None], (dims["B"], 2))
    return {"head_positions": places[:, 0], "tail_positions": places[:, 1],
            "labels": rng.integers(0, classes, dims["B"])}  # fmt: skip


def loss(
    h: Array, p: Tree, labels: Tree, *, head_positions: Array, tail_positions: Array, table: None = None,
    total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(3) of h (B, T, D)."""
    c: Tree = {"width": h.shape[-1]}
    parts = []
    for name, places in (("head_token", head_positions), ("tail_token", tail_positions)):
        part, c[name] = pooling.one_token(h, places)
        parts.append(part)
    z, c["head"] = ops.linear(np.concatenate(parts, -1), **p)  # (1), (2)
    value, c["loss"] = ops.cross_entropy(z, labels=labels["labels"], ignore=IGNORED, denominator=total)  # (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None); a state that opens both parts gets the sum."""
    dr, g = ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"])  # (3), (2)
    first, second = np.split(dr, 2, -1)
    dh = pooling.one_token_backward(first, c["head_token"]) + pooling.one_token_backward(second, c["tail_token"])
    return dh, g, None  # (1)


def count(labels: Tree) -> float:
    """The rows of which something is asked."""
    return float((labels["labels"] != IGNORED).sum())


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"], classes=True)


def predict(h: Array, p: Tree, *, head_positions: Array, tail_positions: Array, table: None = None) -> Array:
    """(1), (2) of h (B, T, D): a logit for each relation, (B, C)."""
    parts = [pooling.one_token(h, places)[0] for places in (head_positions, tail_positions)]
    return ops.linear(np.concatenate(parts, -1), **p)[0]
