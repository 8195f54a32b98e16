"""Weighted cross-entropy in nats: L = sum_i w_i (-log softmax(logits_i)[label_i]) / denominator.

logits (..., c), labels and weights (...) -> scalar. Labels equal to `ignore` do not count; the denominator is
sum_i w_i over those that do, unless given; where nothing counts the loss is 0. SPEC OP-CE.
"""

from .lists import broadcast, each, leaves, shape
from .log_softmax import log_softmax
from .scalars import exp
from .slopes import refilled


def cross_entropy(logits, *, labels, weights=None, ignore=None, denominator=None):
    rows = []
    each(1, rows.append, log_softmax(logits))
    weights = leaves(broadcast(1 if weights is None else weights, shape(labels)))
    counted = [(w, row[label]) for w, label, row in zip(weights, leaves(labels), rows, strict=True)
               if label != ignore]
    denominator = sum(w for w, _ in counted) if denominator is None else denominator
    return sum(w * -y for w, y in counted) / denominator if denominator else 0 * rows[0][0]


def cross_entropy_backward(dy, logits, *, labels, weights=None, ignore=None, denominator=None):
    """With p = softmax(z), -log p_label = log sum_c e^z_c - z_label: its slope is p_c - [c = label]. So
    dz_ic = dy w_i (p_ic - [c = label_i]) / denominator, 0 where a target does not count.
    """
    rows = []
    each(1, rows.append, log_softmax(logits))
    weights = leaves(broadcast(1 if weights is None else weights, shape(labels)))
    weights = [0 if label == ignore else w for w, label in zip(weights, leaves(labels), strict=True)]
    denominator = sum(weights) if denominator is None else denominator
    slopes = []
    for w, row, label in zip(weights, rows, leaves(labels), strict=True):
        factor = dy * w / denominator if denominator else 0 * row[0]
        slopes += [factor * (exp(y) - (c == label)) for c, y in enumerate(row)]
    return {"logits": refilled(logits, slopes)}
