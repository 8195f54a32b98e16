"""Extraction of answers: with which token of the text does the answer begin, with which does it end?

Devlin et al. 2018, arXiv 1810.04805, section 4.2; published classes "…ForQuestionAnswering".

    z = h Wᵀ + b, two logits a token; x_t = z_t0 that the answer begins at t, y_t = z_t1 that it ends there         (1)
    L = mean over the rows of ½(-log softmax(x)[start] - log softmax(y)[end])                                       (2)

The softmax is over all tokens of the row, padding too, as in published classes: a row's loss depends on how much of it
there is. A row without an answer has both ends at its first token (section 4.3).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import check, number, require

Array = np.ndarray
Tree = dict[str, Any]

TASKS: dict[str, Tree] = {"answer": {}}
READS = "states"
PUBLISHED = "QuestionAnswering"
NAMED = "qa_outputs"
DROPPED = None
SILENT = {"padding_invariance": "the softmax over a row's tokens is over its padding, too"}
LABELS = {"start_positions": "(B)<T", "end_positions": "(B)<T"}
SHORT = "span"
BASELINE = "none"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """threshold: an answer is said where its score is at least so far above that of no answer."""

    threshold: float = number(0.0, -1e30, 1e30)

    def __post_init__(self) -> None:
        check(self)

    def sizes(self) -> Tree:
        """For `shapes` and `draw`."""
        return {}

    def constants(self) -> Tree:
        """For `loss`."""
        return {}


def shapes(*, width: int, **_: Any) -> Tree:
    """width: of the states that are read, D."""
    return {"weight": (2, width), "bias": (2,)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: a span in each row."""
    ends = np.sort(rng.integers(0, lengths["T"][:, None], (dims["B"], 2)), axis=1)
    return {"start_positions": ends[:, 0], "end_positions": ends[:, 1]}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of h (B, T, D); both ends are targets of one cross-entropy, (B, 2, T). InputError for an end before its
    start.
    """
    early = np.flatnonzero(labels["end_positions"] < labels["start_positions"])[:1]
    require(not early.size, f"end_positions{early.tolist()} is before start_positions{early.tolist()}")
    c: Tree = {}
    z, c["head"] = ops.linear(h, **p)  # (1)
    ends = np.stack([labels["start_positions"], labels["end_positions"]], axis=1)
    given = {"labels": ends, "denominator": None if total is None else 2 * total}
    value, c["loss"] = ops.cross_entropy(np.ascontiguousarray(z.swapaxes(1, 2)), **given)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz = ops.cross_entropy_backward(dloss, c["loss"]).swapaxes(1, 2)  # (2)
    return *ops.linear_backward(np.ascontiguousarray(dz), c["head"]), None  # (1)


def count(labels: Tree) -> float:
    """The number of rows."""
    return float(len(labels["start_positions"]))


def right(c: Tree) -> layers.Right:
    """The rows of which both ends are."""
    z, ends = c["loss"]["logits"], c["loss"]["labels"]
    hits = (z.argmax(-1) == ends.reshape(z.shape[:2])).all(1)
    return int(hits.sum()), len(hits), None


def predict(h: Array, p: Tree, *, table: None = None) -> Array:
    """(1) of h (…, D): two logits a token, (…, 2)."""
    return ops.linear(h, **p)[0]


def answers(z: Array) -> dict[str, Array]:
    """What `predict` gave, by published names."""
    return {"start_logits": z[..., 0], "end_logits": z[..., 1]}
