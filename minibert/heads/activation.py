"""Activation regularisation: states that are small, or that change little from token to token.

Merity, Keskar, Socher, 2017, arXiv 1708.02182, section 4.7.

    AR     L = mean of h_t²                                                                                        (1)
    TAR    L = mean of (h_{t+1} - h_t)²                                                                            (2)

both over the positions t whose next token is asked, and all entries of h. The release's means are over all positions of
a segment: of (1) the last, too, of which (2) has no successor either.
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.heads import next_token

Array = np.ndarray
Tree = dict[str, Any]

LABELS = next_token.LABELS  # which positions are asked
BASELINE = "none"
COMMAND = None
SHORT = "AR"


def shapes(**_: Any) -> Tree:
    """No parameters."""
    return {}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **sizes: Any) -> Tree:
    """As `next_token.draw`."""
    return next_token.draw(rng, dims, lengths, **sizes)


def loss(
    h: Array, p: None, labels: Tree, *, order: int, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1) of the states h (B, T, D) with order 0, (2) with order 1, and the cache; total: instead of how many positions
    are asked.
    """
    weights = np.broadcast_to((labels["labels"][:, 1:] != next_token.IGNORED)[..., None], h[:, 1:].shape)
    x = h[:, 1:] - h[:, :-1] if order else h[:, :-1]
    divisor = (count(labels) if total is None else total) * h.shape[-1]
    value, c = ops.mean_squared_error(x, target=np.zeros_like(x), weights=weights, denominator=max(divisor, 1.0))
    return value, {"loss": c, "order": order, "shape": h.shape}


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, nothing, nothing)."""
    dx = ops.mean_squared_error_backward(dloss, c["loss"])
    dh = np.zeros(c["shape"], dx.dtype)
    if c["order"]:
        dh[:, 1:] += dx
        dh[:, :-1] -= dx
    else:
        dh[:, :-1] = dx
    return dh, {}, None


def count(labels: Tree) -> float:
    """The positions whose next token is asked."""
    return next_token.count(labels)


def right(c: Tree) -> None:
    """Nothing is guessed."""
