"""A student's logits and a teacher's, which are data: no gradient goes to whoever made them.

    z = h Wᵀ + b, of the task's own head                                                                            (1)
    soft     L = T² mean_rows Σ_c q_c (log q_c - log s_c), q = softmax(t/T), s = softmax(z/T), t the teacher's      (2)
    squares  L = mean over rows and classes of (z - t)²                                                             (3)

(2): Hinton et al. 2015, arXiv 1503.02531, section 2, with the T² that keeps its gradient as large as that of hard
labels; (3): their limit of a high temperature, and Xu et al. 2020, arXiv 2002.10345, eq. 6. Of tokens the mean goes
over those that have a weight, as all that are there.
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"logits": "(B,...)", "counted": "(B,...)"}
BASELINE = "none"
COMMAND = "predict"
SHORT = "teacher"
WAYS = ("soft", "squares")


@block
def soft_targets(
    logits: Array, *, target: Array, temperature: float, weights: Array, denominator: float
) -> tuple[Array, Tree]:
    """(2): Σ w T² Σ_c q (log q - log s) / denominator; logits and target (…, C), weights (…)."""
    q, log_q = _softmax(target / target.dtype.type(temperature))
    s, log_s = _softmax(logits / logits.dtype.type(temperature))
    w = weights.astype(logits.dtype) * logits.dtype.type(temperature**2 / denominator)
    loss = (w * (q * (log_q - log_s)).sum(-1)).sum()
    return np.asarray(loss), {"q": q, "s": s, "weights": w, "temperature": temperature}


@block_backward
def soft_targets_backward(dy: Array, c: Tree) -> Array:
    """dz = w/T (s - q)."""
    return dy * c["weights"][..., None] / c["s"].dtype.type(c["temperature"]) * (c["s"] - c["q"])


def _softmax(x: Array) -> tuple[Array, Array]:
    shifted = x - x.max(-1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return np.exp(log), log


def labels(*, width: int, tokens: bool, classes: int, **_: Any) -> dict[str, str]:
    """The specs of the teacher's logits, and of how much each row or token counts."""
    rows = "B,T" if tokens else "B"
    return {"logits": f"({rows},{classes})", "counted": f"({rows})"}


def shapes(*, width: int, classes: int, biased: bool = True, **_: Any) -> Tree:
    """Of the task's head, which (1) shares."""
    return {"weight": (classes, width), **({"bias": (classes,)} if biased else {})}


def draw(
    rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, tokens: bool, classes: int, **_: Any
) -> Tree:  # fmt: skip
    """Labels of an example: of tokens those that are there."""
    rows = (dims["B"], dims["T"]) if tokens else (dims["B"],)
    there = np.arange(dims["T"]) < lengths["T"][:, None] if tokens else np.ones(rows)
    return {"logits": rng.standard_normal((*rows, classes)), "counted": there.astype(float)}


def loss(
    h: Array, p: Tree, labels: Tree, *, by: str = "soft", temperature: float = 2.0,
    table: None = None, total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), and (2) or (3), of h (B, D) or (B, T, D)."""
    c: Tree = {"by": by}
    z, c["head"] = ops.linear(h, **p)  # (1)
    target = labels["logits"].astype(z.dtype, copy=False)
    weights = labels["counted"].astype(z.dtype)
    rows = (count(labels) if total is None else total) or 1.0
    if by == "soft":
        given = {"temperature": temperature, "weights": weights, "denominator": rows}
        value, c["loss"] = soft_targets(z, target=target, **given)  # (2)
    else:
        wide = np.broadcast_to(weights[..., None], z.shape)
        value, c["loss"] = ops.mean_squared_error(z, target=target, weights=wide, denominator=rows * z.shape[-1])  # (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    back = soft_targets_backward if c["by"] == "soft" else ops.mean_squared_error_backward
    return *ops.linear_backward(back(dloss, c["loss"]), c["head"]), None  # (3)-(1)


def count(labels: Tree) -> float:
    """How many rows or tokens there are, each by its weight."""
    return float(labels["counted"].sum())


def right(c: Tree) -> None:
    """None: there is no right answer."""
    return None


def predict(h: Array, p: Tree, *, table: None = None, **_: Any) -> Array:
    """(1)."""
    return ops.linear(h, **p)[0]
