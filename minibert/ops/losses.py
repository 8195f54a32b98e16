"""Losses: of classes, bits, numbers, distributions."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.config import require
from minibert.ops.activations import logistic
from minibert.ops.distributions import log_softmax
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(m,...,v)->()", labels="(m,...)<v", weights="(m,...)+", ignore=0)
def cross_entropy(
    logits: Array,
    *,
    labels: Array,
    weights: Array | None = None,
    ignore: int | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ w·(log Σ exp z - z[label]) / denominator, in nats; logits (M, …, V), labels and weights (M, …).

    Targets whose label is `ignore` do not count. denominator: Σ w of the others, unless given; nothing counts gives 0.
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if weights is None else weights.reshape(-1).astype(z.dtype)
    if ignore is not None:
        w = w * (labels != ignore)
        labels = np.where(labels == ignore, 0, labels)
    top, rest = kernels.log_sum_exp(z)
    nll = rest[:, 0] - (z[np.arange(len(z)), labels] - top[:, 0])
    w = w * reciprocal(w, denominator)
    loss = np.where(w == 0, 0, w * nll).sum()
    return np.asarray(loss), {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w}


@backward
def cross_entropy_backward(dy: Array, c: Cache) -> Array:
    (z,) = kernels.rows(c["logits"])
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], c["labels"], dy * c["weights"])
    return dz.reshape(c["logits"].shape)


@pair("(m,...,v)->()", labels="(m,...)<v", smoothing=0.1, ignore=0)
def smoothed_cross_entropy(
    logits: Array,
    *,
    labels: Array,
    smoothing: float,
    ignore: int | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ (log Σ exp z - (1 - ε)·z[label] - ε·mean z) / denominator: the cross-entropy against (1 - ε) of the label and
    ε/V of every class (arXiv 1512.00567, section 7), in nats; logits (M, …, V), labels (M, …), ε the smoothing.

    Targets whose label is `ignore` do not count. denominator: how many others there are, unless given.
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if ignore is None else (labels != ignore).astype(z.dtype)
    labels = np.where(w == 0, 0, labels)
    top, rest = kernels.log_sum_exp(z)
    ahead = z - top
    nll = rest[:, 0] - (1 - smoothing) * ahead[np.arange(len(z)), labels] - smoothing * ahead.mean(-1)
    w = w * reciprocal(w, denominator)
    loss = np.where(w == 0, 0, w * nll).sum(dtype=z.dtype)
    c = {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w, "smoothing": smoothing}
    return np.asarray(loss), c


@backward
def smoothed_cross_entropy_backward(dy: Array, c: Cache) -> Array:
    # dz = w·(softmax z - (1 - ε)·onehot - ε/V) = w·(softmax z - onehot) + w·ε·(onehot - 1/V)
    (z,), w, labels = kernels.rows(c["logits"]), dy * c["weights"], c["labels"]
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], labels, w)
    spread = w * z.dtype.type(c["smoothing"])
    dz -= spread[:, None] / z.dtype.type(z.shape[-1])
    dz[np.arange(len(z)), labels] += spread
    return dz.reshape(c["logits"].shape)


@pair("(m,...,v)->()", labels="(m,...)<v", weights="(m,...)+", smoothing=0.1, excluded=0)
def smoothed_divergence(
    logits: Array,
    *,
    labels: Array,
    smoothing: float,
    excluded: int | None = None,
    weights: Array | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ w·Σ_c q_c (log q_c - log softmax(z)_c) / denominator, in nats, q 1 - ε at the label, 0 at the class `excluded`,
    the rest of ε in equal parts elsewhere (at the label, where there is no elsewhere); logits (M, …, V), labels and
    weights (M, …), ε the smoothing.

    Targets whose label is `excluded` do not count. denominator: Σ w of the others, unless given. (microsoft/unilm,
    unilm-v1, `LabelSmoothingLoss`.)
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if weights is None else weights.reshape(-1).astype(z.dtype)
    others = z.shape[-1] - (1 if excluded is None else 2)
    smoothing = smoothing if others > 0 else 0.0
    q = np.full_like(z, smoothing / max(others, 1))
    if excluded is not None:
        w, q[:, excluded] = w * (labels != excluded), 0
    q[np.arange(len(z)), labels] = 1 - smoothing
    top, rest = kernels.log_sum_exp(z)
    entropy = -sum(share * np.log(share / n) for share, n in ((1 - smoothing, 1), (smoothing, others)) if share)
    divergence = (q * (rest - (z - top))).sum(-1) - z.dtype.type(entropy)
    w = w * reciprocal(w, denominator)
    c = {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w, "q": q}
    return np.asarray(np.where(w == 0, 0, w * divergence).sum(dtype=z.dtype)), c


@backward
def smoothed_divergence_backward(dy: Array, c: Cache) -> Array:
    # dz = w·(softmax z - q) = w·(softmax z - onehot) + w·(onehot - q)
    (z,), w, labels = kernels.rows(c["logits"]), dy * c["weights"], c["labels"]
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], labels, w) - w[:, None] * c["q"]
    dz[np.arange(len(z)), labels] += w
    return dz.reshape(c["logits"].shape)


def reciprocal(weights: Array, denominator: float | None) -> np.floating:
    """1/denominator, or 1/Σ weights; 0 where that is 0, so that no target gives loss 0 and gradient 0."""
    total = weights.sum() if denominator is None else denominator
    require(bool(np.isfinite(total)), f"the sum of the targets' weights is beyond {weights.dtype}: scale them down")
    return weights.dtype.type(1 / total if total else 0)


@pair("(...,d)->()", labels="(...,d)?", weights="(...,d)+")
def binary_cross_entropy(
    logits: Array, *, labels: Array, weights: Array | None = None, denominator: float | None = None
) -> tuple[Array, Cache]:
    """Σ w·(max(z, 0) - z·label + log(1 + e^-|z|)) / denominator = mean of -label·log σ(z) - (1 - label)·log σ(-z).

    labels in [0, 1] and weights have the shape of logits; denominator: Σ w unless given.
    """
    w = np.ones_like(logits) if weights is None else weights.astype(logits.dtype)
    w = w * reciprocal(w, denominator)
    nll = np.abs(logits)
    np.log1p(np.exp(np.negative(nll, out=nll), out=nll), out=nll)
    nll += np.maximum(logits, 0)
    nll -= logits * (labels if labels.dtype == bool else labels.astype(logits.dtype))
    return np.asarray(np.multiply(w, nll, out=nll).sum()), {"logits": logits, "labels": labels, "weights": w}


@backward
def binary_cross_entropy_backward(dy: Array, c: Cache) -> Array:
    probability = logistic(c["logits"])  # not the pair: a backward calls no forward that traces would see
    labels = c["labels"] if c["labels"].dtype == bool else c["labels"].astype(probability.dtype)
    probability -= labels
    return np.multiply(dy * c["weights"], probability, out=probability)


@pair("(...,d)->()", target="(...,d)", weights="(...,d)+")
def mean_squared_error(
    x: Array, *, target: Array, weights: Array | None = None, denominator: float | None = None
) -> tuple[Array, Cache]:
    """Σ w·(x - target)² / denominator; all of one shape; denominator: Σ w unless given."""
    w = np.ones_like(x) if weights is None else weights.astype(x.dtype)
    w = w * reciprocal(w, denominator)
    difference = x - target.astype(x.dtype, copy=False)
    return np.asarray((w * difference * difference).sum()), {"difference": difference, "weights": w}


@backward
def mean_squared_error_backward(dy: Array, c: Cache) -> Array:
    return dy * 2 * c["weights"] * c["difference"]


@pair("(...,d)->()", target="(...,d)", weights="(...,d)+")
def mean_absolute_error(
    x: Array, *, target: Array, weights: Array | None = None, denominator: float | None = None
) -> tuple[Array, Cache]:
    """Σ w·|x - target| / denominator; all of one shape; denominator: Σ w unless given. The slope of |0| is 0."""
    w = np.ones_like(x) if weights is None else weights.astype(x.dtype)
    w = w * reciprocal(w, denominator)
    difference = x - target.astype(x.dtype, copy=False)
    return np.asarray((w * abs(difference)).sum()), {"difference": difference, "weights": w}


@backward
def mean_absolute_error_backward(dy: Array, c: Cache) -> Array:
    return dy * c["weights"] * np.sign(c["difference"])


@pair("(m,...,v)->()", target="(m,...,v)", weights="(m,...)+", temperature=2.0, denominator=3.0)
def soft_targets(
    logits: Array, *, target: Array, temperature: float, weights: Array, denominator: float
) -> tuple[Array, Cache]:
    """T² Σ w Σ_c q_c (log q_c - log s_c) / denominator, q = softmax(target/T), s = softmax(logits/T); logits and target
    (M, …, V), weights (M, …) (arXiv 1503.02531, section 2). The target is data.
    """
    t = logits.dtype.type(temperature)
    log_q, log_s = (log_softmax(z / t)[0] for z in (target.astype(logits.dtype, copy=False), logits))
    q, w = np.exp(log_q), weights.astype(logits.dtype) * logits.dtype.type(temperature**2 / denominator)
    loss = (w * (q * (log_q - log_s)).sum(-1)).sum()
    return np.asarray(loss), {"q": q, "s": np.exp(log_s), "weights": w / t}


@backward
def soft_targets_backward(dy: Array, c: Cache) -> Array:
    return dy * c["weights"][..., None] * (c["s"] - c["q"])
