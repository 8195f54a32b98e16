"""Classification by both grains of a text: of which class is it, said by its fine tokens, its coarse ones, and both?

Zhang, Li, 2020, "AMBERT", arXiv 2008.11869, section 3.4, eq. 2. s = [s_x; s_z], the first states of both encoders:

    z_x = s_x W_xᵀ + b_x,  z_z = s_z W_zᵀ + b_z,  z = s Wᵀ + b                                                     (1)
    L = mean over the rows of CE(z_x, y) + CE(z_z, y) + CE(z, y) + λ‖softmax(z_x) - softmax(z_z)‖₂                  (2)

The last term is a norm, not its square; where both predictions are equal its gradient is 0.
"""

from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"class_labels": "(B)<num_classes"}
SHORT = "class"
BASELINE = "majority"
PARTS = ("fine", "coarse", "both")


def shapes(*, width: int, classes: int) -> Tree:
    """width: of the states of one grain, D."""
    own = {"weight": (classes, width), "bias": (classes,)}
    return {"fine": own, "coarse": own, "both": {"weight": (classes, 2 * width), "bias": (classes,)}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, classes: int, **_: Any) -> Tree:
    """Labels of an example: at random."""
    return {"class_labels": rng.integers(0, classes, dims["B"])}


@block
def disagreement(z: Array, other: Array) -> tuple[Array, Tree]:
    """‖softmax(z) - softmax(other)‖₂ of each row, summed; z, other (B, C)."""
    c: Tree = {}
    y, c["softmax"] = ops.softmax(z)
    own, c["other"] = ops.softmax(other)
    c["apart"] = y - own
    c["norms"] = np.sqrt((c["apart"] * c["apart"]).sum(-1, keepdims=True))
    return np.asarray(c["norms"].sum()), c


@block_backward
def disagreement_backward(dy: Array, c: Tree) -> tuple[Array, Array]:
    """(dz, dother); 0 where a norm is 0."""
    norms = np.where(c["norms"] > 0, c["norms"], 1)
    d = dy * c["apart"] / norms
    return ops.softmax_backward(d, c["softmax"]), ops.softmax_backward(-d, c["other"])


def loss(
    s: Array, p: Tree, labels: Tree, *, agreement: float, table: None = None, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of s (B, 2D); total: what the sum over the rows is divided by."""
    c: Tree = {"width": s.shape[1] // 2, "agreement": agreement}
    total = s.dtype.type(len(s) if total is None else total)
    z, value = {}, s.dtype.type(0)
    for name, part in _parts(s).items():
        z[name], c[f"head_{name}"] = ops.linear(part, **p[name])  # (1)
        one, c[name] = ops.cross_entropy(z[name], labels=labels["class_labels"], denominator=total)
        value = value + one
    apart, c["apart"] = disagreement(z["fine"], z["coarse"])
    c["total"], c["loss"] = total, c["both"]
    return np.asarray(value + s.dtype.type(agreement) * apart / total), c  # (2)


def _parts(s: Array) -> Tree:
    width = s.shape[1] // 2
    return {"fine": np.ascontiguousarray(s[:, :width]), "coarse": np.ascontiguousarray(s[:, width:]), "both": s}


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    dz = {name: ops.cross_entropy_backward(dloss, c[name]) for name in PARTS}
    scale = dloss * dloss.dtype.type(c["agreement"]) / c["total"]
    own = dict(zip(PARTS, disagreement_backward(scale, c["apart"]), strict=False))
    d, g = {}, {}
    for name in PARTS:
        slope = kernels.add(dz[name], own[name]) if name in own else dz[name]
        d[name], g[name] = ops.linear_backward(slope, c[f"head_{name}"])
    return kernels.add(d["both"], np.concatenate([d["fine"], d["coarse"]], 1)), g, None


def count(labels: Tree) -> float:
    """The number of rows."""
    return float(len(labels["class_labels"]))


def right(c: Tree) -> layers.Right:
    """Of the prediction by both."""
    return layers.right(c["loss"], classes=True)


def predict(s: Array, p: Tree, *, table: None = None, **_: Any) -> Array:
    """z of (1) by both, of s (B, 2D): (B, C)."""
    return ops.linear(s, **p["both"])[0]
