"""Written token: which token stands at each place of what a recurrent decoder writes?

Kiros et al. 2015, arXiv 1506.06726, section 2.1; McCann et al. 2017, arXiv 1708.00107, section 3.

    z_t = h_t Eᵀ + b, E and b the head's own, the same for several decoders                                         (1)
    L = mean of -log(softmax(z_t)[x_t] + ε) over the places of which something is asked; ε 0 unless given            (2)

labels are what is asked of each place, (B, S), -100: nothing; they are not shifted here, as the decoder has read what
stands before. The release of skip-thought sums where (2) has the mean: with denominators of 1 it is that sum.
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.heads import target_token
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = target_token.IGNORED
LABELS = target_token.LABELS
SHORT = "written"
BASELINE = "unigram"
PERPLEXITY = True
COMMAND = "embed"
draw, count = target_token.draw, target_token.count


def shapes(*, table: tuple[int, int]) -> Tree:
    """table: (V, E)."""
    return {"decoder": {"weight": table, "bias": table[:1]}}


@block
def floored_cross_entropy(
    logits: Array, *, labels: Array, floor: float, ignore: int, denominator: float | None = None
) -> tuple[Array, Tree]:
    """Σ -log(softmax(z)[label] + floor) / denominator of logits (M, V), labels (M,): how many are not `ignore`, unless
    given.
    """
    asked = labels != ignore
    at = np.where(asked, labels, 0)
    total = asked.sum() if denominator is None else denominator
    w = (asked / (total or 1)).astype(logits.dtype)
    top = logits.max(-1, keepdims=True)
    probs = np.exp(logits - top)
    probs = probs / probs.sum(-1, keepdims=True)
    own = probs[np.arange(len(at)), at]
    value = -(w * np.log(own + logits.dtype.type(floor))).sum()
    c = {"logits": logits, "probs": probs, "labels": at, "weights": w, "own": own, "floor": logits.dtype.type(floor)}
    return np.asarray(value), c


@block_backward
def floored_cross_entropy_backward(dy: Array, c: Tree) -> Array:
    """dz = w p_label/(p_label + ε) (p - 1 at the label)."""
    dz = c["probs"].copy()
    dz[np.arange(len(dz)), c["labels"]] -= 1
    return dz * (dy * c["weights"] * c["own"] / (c["own"] + c["floor"]))[:, None]


def loss(
    h: Array, p: Tree, labels: Tree, *, table: None = None, floor: float = 0.0, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(2) of the states h (B, S, D), and the cache. total: what the sum is divided by; dense: logits of every place."""
    asked = labels["labels"].reshape(-1)
    flat = np.arange(len(asked)) if dense else np.flatnonzero(asked != IGNORED)
    c: Tree = {"shape": h.shape, "floor": floor}
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = ops.linear(rows[0], **p["decoder"])  # (1)
    given = {"labels": asked[flat], "ignore": IGNORED, "denominator": total}
    if floor:
        value, c["loss"] = floored_cross_entropy(z, floor=floor, **given)  # (2)
    else:
        value, c["loss"] = ops.cross_entropy(z, **given)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz = (floored_cross_entropy_backward if c["floor"] else ops.cross_entropy_backward)(dloss, c["loss"])
    drows, g = ops.linear_backward(dz, c["head"])
    dh = ops.gather_backward(drows[None], c["gather"])
    return dh.reshape(c["shape"]), {"decoder": g}, None


def asked(labels: Tree) -> Array:
    """The labels of these places, of all decoders that stand in a batch."""
    every = np.concatenate([a.reshape(-1) for name, a in labels.items() if name.endswith("labels")])
    return every[every != IGNORED]


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])


def predict(h: Array, p: Tree, *, table: None = None, floor: float = 0.0) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return ops.linear(h, **p["decoder"])[0]
