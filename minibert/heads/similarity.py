"""Similarity: how alike are two texts, each read by itself?

Reimers and Gurevych 2019, arXiv 1908.10084, section 3 (two texts, one network); Hadsell et al. 2006, eq. 4; Socher et
al. 2013, "Reasoning with neural tensor networks", eq. 1.

    u, v what stands for either text (`summaries`), by default the mean of its states                              (1)
    cosine       x = u·v / (|u| |v|),                        L = mean (x - y)²                                     (2)
    contrastive  x as in (2), d = 1 - x,                     L = mean ½(y d² + (1 - y) max(0, m - d)²)             (3)
    tensor       g = w·tanh(uᵀ W v + V [u; v] + b), x = σ(g), L = mean of -y log x - (1 - y) log(1 - x)            (4)

y from 0 to 1, all means over the rows; m the margin, 0.5 unless given, as in the code of the first paper's authors. The
tensor layer (4) is not symmetric in u and v, nor was it published over BERT: its loss is this project's choice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import ops, pooling
from minibert.config import among, check, number
from minibert.pooling import POOLINGS

Array = np.ndarray
Tree = dict[str, Any]

WAYS = ("cosine", "contrastive", "tensor")
TASKS: dict[str, Tree] = {"similar": {}}
READS = "pair"
TRACED = {"cosine": "cosine", "score": "score"}
PUBLISHED = "TextSimilarity"
LABELS = {"labels": "(B)"}
SHORT = "likeness"
BASELINE = "none"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """by: which of (2)-(4); pooling: (1), of `pooling.POOLINGS`, "": as the family says; size: of what the pooling
    learns, 0: half the states' width; slices: of the tensor layer; margin: of (3); low, high: what 0 and 1 stand for.
    """

    by: str = among("cosine", WAYS)
    pooling: str = among("mean", ("", *POOLINGS))
    size: int = number(0, 0, 1 << 16)
    slices: int = number(4, 1, 1 << 10)
    margin: float = number(0.5, 0, 2)
    low: float = number(0.0, -1e30, 1e30)
    high: float = number(1.0, -1e30, 1e30)

    def __post_init__(self) -> None:
        check(self)

    def sizes(self) -> Tree:
        """For `shapes` and `draw`."""
        return {"by": self.by, "slices": self.slices}

    def constants(self) -> Tree:
        """For `loss`."""
        return {"by": self.by, "margin": self.margin}


def shapes(*, width: int, by: str, slices: int, **_: Any) -> Tree:
    """width: of what stands for a text, D; only (4) learns something."""
    if by != "tensor":
        return {}
    layer = {"tensor": {"weight": (slices, width, width)}, "linear": {"weight": (slices, 2 * width), "bias": (slices,)}}
    return {**layer, "score": {"weight": (1, slices)}}


def initial(path: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """First weights of (4), so that uᵀ W v and V [u; v] are of order 1 where the states are: of deviation 1 over the
    width and 1 over its root. This project's choice.
    """
    if path.endswith("bias"):
        return None
    return rng.standard_normal(shape) / (shape[-1] if len(shape) == 3 else shape[-1] ** 0.5)


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: 0, 1, and between them."""
    drawn = rng.random(dims["B"])
    drawn[:2] = [0, 1][: dims["B"]]
    return {"labels": drawn}


def loss(
    s: Array, p: Tree | None, labels: Tree, *, by: str, margin: float, table: None = None, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(2), (3) or (4) of s (B, 2, D)."""
    c: Tree = {"by": by}
    u, v, y = s[:, 0], s[:, 1], labels["labels"].astype(s.dtype)
    if by == "tensor":
        h, c["layer"] = pooling.tensor_layer(u, v, {name: p[name] for name in ("tensor", "linear")})
        g, c["score"] = ops.linear(h, **p["score"])
        value, c["loss"] = ops.binary_cross_entropy(g[:, 0], labels=y, denominator=total)  # (4)
        return value, c
    x, c["cosine"] = pooling.cosine(u, v)
    if by == "cosine":
        value, c["loss"] = ops.mean_squared_error(x, target=y, denominator=total)  # (2)
        return value, c
    rows = x.dtype.type(len(y) if total is None else total)
    near, far = 1 - x, np.maximum(margin - (1 - x), 0).astype(x.dtype)
    c["slope"] = -(y * near - (1 - y) * far) / rows
    return np.asarray((y * near * near + (1 - y) * far * far).sum() / (2 * rows)), c  # (3)


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    if c["by"] == "tensor":
        dh, score = ops.linear_backward(ops.binary_cross_entropy_backward(dloss, c["loss"])[:, None], c["score"])
        du, dv, g = pooling.tensor_layer_backward(dh, c["layer"])
        return np.stack([du, dv], 1), {**g, "score": score}, None
    dx = dloss * c["slope"] if c["by"] == "contrastive" else ops.mean_squared_error_backward(dloss, c["loss"])
    return np.stack(pooling.cosine_backward(dx, c["cosine"]), 1), {}, None


def count(labels: Tree) -> float:
    """The number of rows."""
    return float(len(labels["labels"]))


def right(c: Tree) -> None:
    """None: values are never right to the bit."""


def predict(s: Array, p: Tree | None, *, by: str, margin: float = 0.5, table: None = None) -> Array:
    """x of s (B, 2, D), (B,)."""
    u, v = s[:, 0], s[:, 1]
    if by != "tensor":
        return pooling.cosine(u, v)[0]
    h, _ = pooling.tensor_layer(u, v, {name: p[name] for name in ("tensor", "linear")})
    return ops.sigmoid(ops.linear(h, **p["score"])[0][:, 0])[0]
