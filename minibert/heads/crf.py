"""Tagging by a chain: of which class is each token, where what stands beside it counts?

Lafferty et al. 2001; Lample et al. 2016, arXiv 1603.01360, section 2.2; over BERT as many have it: a
linear layer `classifier` and pytorch-crf's `crf`.

    z_t = h_t Wᵀ + b                                                                                               (1)
    score(y) = start[y_1] + Σ_t z_t[y_t] + Σ_t A[y_(t-1), y_t] + end[y_n] over the n tokens that are asked          (2)
    L = Σ_rows (log Σ_y e^score(y) - score(labels)) / the tokens that are asked                                    (3)

A token whose label is -100 is not in the chain: later pieces of a word, the marks at both ends, padding. (3) is a mean
over tokens, as that of `tagging`, so that both are measured alike.
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.heads import inherited, tagging

Array = np.ndarray
Tree = dict[str, Any]

KIN = "tagging"
__getattr__ = inherited(KIN)

IGNORED = tagging.IGNORED
TASKS = {"tag_crf": {"classes": 2}}
ROWS = "tag"
PUBLISHED = "TokenClassificationCrf"
NAMED = ""  # its tensors stand beside the network's: classifier.weight, crf.transitions
TRACED = {"head": "classifier"}
count = tagging.count


def shapes(*, width: int, classes: int, **_: Any) -> Tree:
    """width: of the states that are read, D."""
    chain = {"start_transitions": (classes,), "transitions": (classes, classes), "end_transitions": (classes,)}
    return {"classifier": {"weight": (classes, width), "bias": (classes,)}, "crf": chain}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1)-(3) of h (B, T, D)."""
    c: Tree = {}
    asked = labels["labels"]
    z, c["head"] = ops.linear(h, **p["classifier"])  # (1)
    chain = {"mask": asked != IGNORED, "denominator": count(labels) if total is None else total}
    value, c["loss"] = ops.crf_loss(z, **p["crf"], labels=asked, **chain)  # (2), (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz, crf = ops.crf_loss_backward(dloss, c["loss"])
    dh, classifier = ops.linear_backward(dz, c["head"])
    return dh, {"classifier": classifier, "crf": crf}, None


def right(c: Tree) -> layers.Right:
    """Of the tokens that are asked, in the labels of the highest score."""
    own = c["loss"]
    there = np.arange(own["labels"].shape[1]) < own["lengths"][:, None]
    found, _ = ops.viterbi(own["e"], own["start"], own["transitions"], own["end"], mask=there)
    held = np.bincount(own["labels"][there], minlength=own["e"].shape[-1])
    return int(((found == own["labels"]) & there).sum()), int(there.sum()), held


def predict(h: Array, p: Tree, *, table: None = None) -> Array:
    """(1) of h (…, D): a logit for each tag, (…, C); `decode` says which tags they come to."""
    return ops.linear(h, **p["classifier"])[0]


def decode(z: Array, p: Tree, asked: Array) -> Array:
    """The tags (B, T) of the highest score (2) of logits (B, T, C); asked: bits (B, T), -1 where that is 0."""
    return ops.viterbi(z, **p["crf"], mask=asked)[0]
