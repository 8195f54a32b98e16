"""Contrast: which of the batch's vectors belongs to this one? The others are what it is told from (InfoNCE).

Van den Oord et al. 2018, arXiv 1807.03748, eq. 4; Kong et al. 2020, arXiv 1910.08350, section 4 (InfoWord, DIM); Gao et
al. 2021, arXiv 2104.08821, eq. 1 and 5 (SimCSE).

    u_i one view of row i, v_i another, n_i a hard negative of its own, where there is one; x_j the v, then the n    (1)
    bilinear  z_ij = u_iᵀ W x_j                     contrastive predictive coding                                    (2)
    dot       z_ij = u_i·x_j                        DIM: a sentence without some words against these words           (3)
    cosine    z_ij = u_i·x_j / (|u_i| |x_j| τ)      SimCSE: a sentence under two keep-masks                          (4)
    L = Σ w_i (log Σ_j e^z_ij - z_ii) / Σ w_i, a z of the own n_i raised by a constant, 0 unless given               (5)

A row of weight 0 is not asked, but is told from. log N - L, N the number of x, is at most the mutual information of
both views (2).
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

WAYS = ("bilinear", "dot", "cosine")
LABELS = {"pair_weights": "(B)+"}
SHORT = "contrast"
BASELINE = "uniform"
COMMAND = "embed"


def shapes(*, width: int, by: str) -> Tree:
    """width: of a view, D; only (2) learns something."""
    return {"weight": (width, width)} if by == "bilinear" else {}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: the last row is not asked."""
    weights = np.ones(dims["B"], np.float32)
    weights[1:][-1:] = 0
    return {"pair_weights": weights}


@block
def directed(x: Array) -> tuple[Array, Tree]:
    """x / |x| over the last axis, 0 where x is 0."""
    norm = np.sqrt((x * x).sum(-1, keepdims=True))
    norm = np.where(norm > 0, norm, np.inf).astype(x.dtype)
    y = x / norm
    return y, {"y": y, "norm": norm}


@block_backward
def directed_backward(dy: Array, c: Tree) -> Array:
    """dx = (dy - y (dy·y)) / |x|."""
    return (dy - c["y"] * (dy * c["y"]).sum(-1, keepdims=True)) / c["norm"]


def loss(
    s: Array, p: Tree | None, labels: Tree, *, by: str, temperature: float = 0.05, own: float = 0.0,
    table: None = None, total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(5) of s (B, 2, D), or (B, 3, D) with hard negatives. own: what the own one's score is raised by."""
    rows, views, width = s.shape
    c: Tree = {"by": by, "shape": s.shape, "temperature": s.dtype.type(temperature)}
    u, x = s[:, 0], s[:, 1:].swapaxes(0, 1).reshape(-1, width)  # (1): the v, then the n
    if by == "bilinear":
        u, c["bilinear"] = ops.linear(u, p["weight"].T)
    elif by == "cosine":
        u, c["u"] = directed(u)
        u = u / c["temperature"]
        x, c["x"] = directed(x)
    z, c["scores"] = ops.linear(u, x)
    if views == 3 and own:
        z = z + np.eye(rows, len(x), rows, dtype=z.dtype) * z.dtype.type(own)
    given = {"labels": np.arange(rows), "weights": labels["pair_weights"], "denominator": total}
    value, c["loss"] = ops.cross_entropy(z, **given)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    rows, views, width = c["shape"]
    du, scores = ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["scores"])
    dx, g = scores["weight"], {}
    if c["by"] == "bilinear":
        du, own = ops.linear_backward(du, c["bilinear"])
        g["weight"] = own["weight"].T
    elif c["by"] == "cosine":
        du = directed_backward(du / c["temperature"], c["u"])
        dx = directed_backward(dx, c["x"])
    return np.concatenate([du[:, None], dx.reshape(views - 1, rows, width).swapaxes(0, 1)], 1), g, None


def count(labels: Tree) -> float:
    """The weight of the rows that are asked."""
    return float(labels["pair_weights"].sum())


def right(c: Tree) -> layers.Right:
    """Whether a row's own view scores highest."""
    return layers.right(c["loss"])
