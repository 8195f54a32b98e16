"""Negative sampling: which of these words stood here? Mikolov et al. 2013, arXiv 1310.4546, equation 4.

    z_n = h · U[t_n];  L = mean over the rows of Σ_n BCE(z_n, s_n), s_n = 1 for the word that did, 0 for drawn ones
"""

import numpy as np

from minibert import ops

LABELS = {"targets": "(B,N)<vocab_size", "signs": "(B,N)<2"}
BASELINE = "majority"


def shapes(*, table):
    return {"weight": table}


def draw(rng, dims, lengths, *, table):
    signs = np.zeros((dims["B"], dims.get("N", 4)), np.int64)
    signs[:, 0] = 1
    return {"targets": rng.integers(0, table[0], signs.shape), "signs": signs}


def loss(h, p, labels, *, table=None, total=None, dense=False):
    c = {"h": h}
    c["u"], c["out"] = ops.embedding(**p, ids=labels["targets"])
    weights = np.ones(labels["signs"].shape, h.dtype)
    z = (c["u"] @ h[:, :, None])[..., 0]
    total = count(labels) if total is None else total
    value, c["loss"] = ops.binary_cross_entropy(z, labels=labels["signs"], weights=weights, denominator=total)
    return value, c


def loss_backward(dloss, c):
    dz = ops.binary_cross_entropy_backward(dloss, c["loss"])[..., None]
    return (dz * c["u"]).sum(1), ops.embedding_backward(dz * c["h"][:, None], c["out"]), None


def count(labels):
    return float(labels["signs"].size)


def right(c):
    parts = c["loss"]
    labels = parts["labels"]
    return int(((parts["logits"] > 0) == labels).sum()), labels.size, np.bincount(labels.reshape(-1), minlength=2)


def predict(h, p, *, table=None):
    return h @ p["weight"].T
