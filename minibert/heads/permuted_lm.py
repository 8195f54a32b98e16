"""Permuted language model: which token stands at each target, as a query knows that has not seen it?

Yang et al. 2019, arXiv 1906.08237, equations 4 and 5.

    z_m = g_m Eᵀ + b, g_m the query's state of target m, E the network's word table or a matrix of the head's    (1)
    L = mean of -log softmax(z_m)[label] over the targets of which something is asked                           (2)

labels (B, M) are those of the targets, -100: nothing is asked; nothing is shifted.
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.heads import target_token

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = target_token.IGNORED
LABELS = {"labels": f"(B,M)<vocab_size|{IGNORED}"}
SHORT = "PLM"
BASELINE = "unigram"
PERPLEXITY = True
COMMAND = "fill-mask"
count, asked, right = target_token.count, target_token.asked, target_token.right


def shapes(*, table: tuple[int, int], tied: bool) -> Tree:
    """table: (V, D); tied: it is not the head's."""
    return {"decoder": {"bias": table[:1]} if tied else {"weight": table, "bias": table[:1]}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: any tokens, nothing asked of the last target of the last row."""
    labels = rng.integers(0, table[0], (dims["B"], dims.get("M", 3)))
    labels[-1, -1] = IGNORED
    return {"labels": labels}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: Array, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(2) of the states h (B, M, D), and the cache. total: what the sum is divided by; dense: logits of every target,
    else of those that are asked.
    """
    ids = labels["labels"].reshape(-1)
    flat = np.arange(len(ids)) if dense else np.flatnonzero(ids != IGNORED)
    c: Tree = {"shape": h.shape}
    rows, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=flat[None])
    z, c["head"] = ops.linear(rows[0], weight=table, bias=p["decoder"]["bias"])  # (1)
    value, c["loss"] = ops.cross_entropy(z, labels=ids[flat], ignore=IGNORED, denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    drows, g = ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"])
    dh = ops.gather_backward(drows[None], c["gather"])
    return dh.reshape(c["shape"]), {"decoder": {"bias": g["bias"]}}, g["weight"]


def predict(h: Array, p: Tree, *, table: Array) -> Array:
    """(1) of h (…, D): a logit for each token of the vocabulary, (…, V)."""
    return ops.linear(h, weight=table, bias=p["decoder"]["bias"])[0]
