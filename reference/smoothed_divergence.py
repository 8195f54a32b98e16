"""Divergence of softmax(logits) from q: 1 - s at the label, 0 at the class `excluded`, s shared elsewhere.

logits (..., V), labels and weights (...) -> scalar, in nats; labels equal to `excluded` do not count; denominator: the
sum of the weights of those that do, unless given; where it is 0 so is the loss. microsoft/unilm, unilm-v1,
`LabelSmoothingLoss`; SPEC OP-SD.
"""

from .lists import each, leaves
from .log_softmax import log_softmax
from .scalars import exp, log
from .slopes import refilled


def smoothed_divergence(logits, *, labels, smoothing, excluded=None, weights=None, denominator=None):
    rows = []
    each(1, rows.append, log_softmax(logits))
    labels = leaves(labels)
    weights = [1] * len(labels) if weights is None else leaves(weights)
    weights = [0 if label == excluded else w for w, label in zip(weights, labels, strict=True)]
    denominator = sum(weights) if denominator is None else denominator
    total = 0 * rows[0][0]
    for row, label, w in zip(rows, labels, weights, strict=True):
        others = len(row) - (1 if excluded is None else 2)
        smoothing = smoothing if others > 0 else 0
        for c, logp in enumerate(row):
            q = 1 - smoothing if c == label else 0 if c == excluded else smoothing / max(others, 1)
            if q:
                total += w * q * (log(q + 0 * logp) - logp)
    return total / denominator if denominator else total * 0


def smoothed_divergence_backward(
    dy, logits, *, labels, smoothing, excluded=None, weights=None, denominator=None
):  # fmt: skip
    """L_i = sum_c q_c (log q_c - log p_c), sum_c q_c = 1, so dL_i / dz_c = p_c - q_c: dz_ic = dy w_i (p_ic - q_ic) /
    denominator, q as in the forward.
    """
    rows, labels = [], leaves(labels)
    each(1, rows.append, log_softmax(logits))
    weights = [1] * len(labels) if weights is None else leaves(weights)
    weights = [0 if label == excluded else w for w, label in zip(weights, labels, strict=True)]
    denominator = sum(weights) if denominator is None else denominator
    slopes = []
    for row, label, w in zip(rows, labels, weights, strict=True):
        others = len(row) - (1 if excluded is None else 2)
        share = smoothing if others > 0 else 0 * smoothing
        due = [1 - share if c == label else 0 if c == excluded else share / max(others, 1) for c in range(len(row))]
        factor = dy * w / denominator if denominator else 0 * row[0]
        slopes += [factor * (exp(y) - q) for y, q in zip(row, due, strict=True)]
    return {"logits": refilled(logits, slopes)}
