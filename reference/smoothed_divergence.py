"""Divergence of softmax(logits) from q: 1 - s at the label, 0 at the class `excluded`, s shared elsewhere.

logits (..., V), labels and weights (...) -> scalar, in nats; labels equal to `excluded` do not count; denominator: the
sum of the weights of those that do, unless given; where it is 0 so is the loss. microsoft/unilm, unilm-v1,
`LabelSmoothingLoss`; SPEC OP-SD.
"""

from .lists import each, leaves
from .log_softmax import log_softmax
from .numbers import log


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
            q = 1 - smoothing if c == label else 0 if c == excluded else smoothing / others
            if q:
                total += w * q * (log(q + 0 * logp) - logp)
    return total / denominator if denominator else total * 0
