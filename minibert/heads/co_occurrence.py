"""Weighted least squares of how often two words stand near each other.

Pennington, Socher, Manning 2014, "GloVe: Global Vectors for Word Representation", equations 8 and 9;
stanfordnlp/GloVe, `glove.c`.

    z_ij = w_i·w̃_j + b_i + b̃_j                                                                                     (1)
    f(x) = (x/x_max)^α for x < x_max, else 1                                                                        (2)
    J = ½ Σ_ij s_ij f(X_ij) (z_ij - ln X_ij)² / the number of cells, s_ij = 1                                       (3)

The release counts, and reports, ½ of the paper's cost. s_ij: a cell that several parts of a text have a share in comes
with each part, by its share of X_ij (`shares`, 1 unless given).
"""

from typing import Any

import numpy as np

from minibert import layers, ops

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
LABELS = {"contexts": f"(B,T)<vocab_size|{IGNORED}", "counts": "(B,T)+"}
SHORT = "J"
BASELINE = "constant"
COMMAND = "neighbours"


def shapes(*, table: tuple[int, int]) -> Tree:
    """table: the vocabulary and the width of the vectors, (V, D)."""
    bias = {"word": {"weight": (table[0], 1)}}
    return {"word": {"weight": table}, "bias": bias, "context_bias": dict(bias)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: counts below 1, below any x_max and above, a cell that is none."""
    shape = dims["B"], dims["T"]
    contexts = rng.integers(0, table[0], shape)
    contexts[np.arange(dims["T"]) >= lengths.get("T", np.full(dims["B"], dims["T"]))[:, None]] = IGNORED
    contexts[0, 1] = IGNORED
    return {"contexts": contexts, "counts": np.exp(6 * rng.random(shape) - 1)}


def loss(
    h: Array, p: Tree, labels: Tree, *, x_max: float, alpha: float, words: Array, shares: Array | None = None,
    table: None = None, total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(3) of h (B, T, D), the vectors of words (B, T); shares (B, T): s."""
    c: Tree = {}
    there = labels["contexts"] != IGNORED
    counts, contexts = np.where(there, labels["counts"], 1.0), np.where(there, labels["contexts"], 0)
    u, c["word"] = ops.embedding(**p["word"], ids=contexts)
    b, c["bias"] = ops.embedding(**p["bias"]["word"], ids=words)
    d, c["context_bias"] = ops.embedding(**p["context_bias"]["word"], ids=contexts)
    dot, c["scores"] = ops.scores(h[:, :, None], u[:, :, None], scale=1.0)
    z = dot[..., 0, 0] + b[..., 0] + d[..., 0]  # (1)
    counted = there & (counts > 0)
    f = np.minimum(1, counts / x_max) ** alpha * (1.0 if shares is None else shares)  # (2)
    target = np.log(np.where(counted, counts, 1.0))
    given = {"weights": 0.5 * f * counted, "denominator": count(labels) if total is None else total}
    value, c["loss"] = ops.mean_squared_error(z, target=target, **given)  # (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz = ops.mean_squared_error_backward(dloss, c["loss"])
    dh, du = ops.scores_backward(dz[..., None, None], c["scores"])
    g = {"word": ops.embedding_backward(du[:, :, 0], c["word"])}
    for name in ("bias", "context_bias"):
        g[name] = {"word": ops.embedding_backward(dz[..., None], c[name])}
    return dh[:, :, 0], g, None


def count(labels: Tree) -> float:
    """The number of cells."""
    return float(np.count_nonzero(labels["contexts"] != IGNORED))


def constants(labels: Tree, *, x_max: float, alpha: float) -> dict[str, float]:
    """(3) of the number that is best for all cells alike, the "mean" of ln X by f."""
    there = labels["contexts"] != IGNORED
    y, f = np.log(labels["counts"][there]), np.minimum(1, labels["counts"][there] / x_max) ** alpha
    return {"mean": float(0.5 * (f * (y - np.average(y, weights=f)) ** 2).sum() / count(labels))}


def right(c: Tree) -> layers.Right | None:
    """A count is never right or wrong."""
    return None
