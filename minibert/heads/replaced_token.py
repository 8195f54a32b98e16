"""Replaced token detection: was this token put in by somebody else?

Clark et al. 2020, arXiv 2003.10555, section 2; google-research/electra, `_get_discriminator_output`.

    d_t = act(h_t Wᵀ + b)·w + b'; σ(d_t) is the probability that the token at t was replaced                        (1)
    L = Σ over the attended t of BCE(d_t, y_t) / (their number + ε), ε = 0; 1e-6 in the release                     (2)
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"replaced_labels": "(B,T)<2", "attention_mask": "?(B,T)?"}
SHORT = "RTD"
BASELINE = "majority"
COMMAND = "detect"


def shapes(*, width: int) -> Tree:
    """width: of the states that are read, D."""
    return {"dense": {"weight": (width, width), "bias": (width,)}, "out": {"weight": (1, width), "bias": (1,)}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: at random."""
    return {"replaced_labels": rng.integers(0, 2, (dims["B"], dims["T"]))}


@block
def rtd_head(x: Array, p: Tree, *, act: str) -> tuple[Array, Tree]:
    """(1) act(x Wᵀ + b)·w + b'; x (…, D) -> (…): positive where the token looks replaced."""
    c: Tree = {}
    u, c["dense"] = ops.linear(x, **p["dense"])
    u, c["act"] = layers.activation(u, name=act)
    z, c["out"] = ops.linear(u, **p["out"])
    return z[..., 0], c


@block_backward
def rtd_head_backward(dz: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    du, g["out"] = ops.linear_backward(dz[..., None], c["out"])
    du = layers.activation_backward(du, c["act"])
    dx, g["dense"] = ops.linear_backward(du, c["dense"])
    return dx, g


def loss(
    h: Array,
    p: Tree,
    labels: Tree,
    *,
    act: str,
    denominator_eps: float = 0.0,
    table: None = None,
    total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(1), (2) of h (B, T, D); no mask means that all are attended."""
    c: Tree = {}
    z, c["head"] = rtd_head(h, p, act=act)
    mask = _attended(labels)
    total = count(labels) if total is None else total
    given = {"labels": labels["replaced_labels"], "weights": mask, "denominator": total + denominator_eps}
    value, c["loss"] = ops.binary_cross_entropy(z, **given)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    return *rtd_head_backward(ops.binary_cross_entropy_backward(dloss, c["loss"]), c["head"]), None


def count(labels: Tree) -> float:
    """The number of attended tokens."""
    return float(np.sum(_attended(labels)))


def right(c: Tree) -> layers.Right:
    parts = c["loss"]
    labels, counted = parts["labels"] == 1, parts["weights"] != 0
    guessed = ((parts["logits"] > 0) == labels) & counted
    return int(guessed.sum()), int(counted.sum()), np.bincount(labels[counted], minlength=2)


def predict(h: Array, p: Tree, *, act: str, table: None = None, **_: Any) -> Array:
    """(1) of h (…, D): a logit for each token, positive where it looks replaced."""
    return rtd_head(h, p, act=act)[0]


def _attended(labels: Tree) -> Array:
    mask = labels.get("attention_mask")
    return np.ones_like(labels["replaced_labels"]) if mask is None else mask
