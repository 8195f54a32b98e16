"""Neighbour: which token stands beside each position, on the side that the states have not seen?

Peters, Neumann, Iyyer, Gardner, Clark, Lee, Zettlemoyer, 2018, arXiv 1802.05365, section 3.1.

    z_t = h_t Eᵀ + b, E a table of the head's own, the same for both sides                                          (1)
    L = mean of -log softmax(z_t)[x_{t+s}] over the positions that have that neighbour, s = 1 or -1                 (2)

labels are the tokens themselves, (B, T); -100: neither asks nor is asked.
"""

from typing import Any

import numpy as np

from minibert import layers
from minibert.heads import next_token

Array = np.ndarray
Tree = dict[str, Any]

LABELS = next_token.LABELS
SHORT = "LM"
BASELINE = "unigram"
PERPLEXITY = True
COMMAND = None
shapes, draw = next_token.shapes, next_token.draw


def _turned(a: Array, side: int) -> Array:
    """The tokens from the right, where the left neighbour is asked for."""
    return a if side > 0 else np.ascontiguousarray(a[:, ::-1])


def _asked(labels: Array) -> Array:
    """The labels as `next_token` takes them: those behind a token that has none are not asked, either."""
    alone = np.zeros(labels.shape, bool)
    alone[:, 1:] = labels[:, :-1] == next_token.IGNORED
    return np.where(alone, next_token.IGNORED, labels)


def loss(
    h: Array, p: Tree, labels: Tree, *, table: Array, side: int, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(2) of the states h (B, T, D), and the cache; side: 1 the right neighbour, -1 the left one."""
    asked = {"labels": _asked(_turned(labels["labels"], side))}
    value, c = next_token.loss(_turned(h, side), p, asked, table=table, total=total, dense=dense)
    return value, {**c, "side": side}


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dh, g, dtable = next_token.loss_backward(dloss, c)
    return _turned(dh, c["side"]), g, dtable


def count(labels: Tree) -> float:
    """The pairs of neighbours that both have labels: as many for either side."""
    return next_token.count({"labels": _asked(labels["labels"])})


def right(c: Tree) -> layers.Right:
    return next_token.right(c)


def predict(h: Array, p: Tree | None, *, table: Array, side: int) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return next_token.predict(h, p, table=table)
