"""Cross-entropy against (1 - s) of the label and s / V of every class, in nats, over the labels that count.

logits (..., V), labels (...) -> scalar; labels equal to `ignore` do not count; denominator: how many do, unless given;
where none does the loss is 0. Szegedy et al. 2015 (1512.00567), section 7; SPEC OP-LS.
"""

from .lists import each, leaves
from .log_softmax import log_softmax
from .scalars import exp
from .slopes import refilled


def smoothed_cross_entropy(logits, *, labels, smoothing, ignore=None, denominator=None):
    rows, one = [], 1 - smoothing
    each(1, rows.append, log_softmax(logits))
    counted = [(row, label) for row, label in zip(rows, leaves(labels), strict=True) if label != ignore]
    denominator = len(counted) if denominator is None else denominator
    losses = [-one * row[label] - smoothing * sum(row) / len(row) for row, label in counted]
    return sum(losses) / denominator if denominator else 0 * rows[0][0]


def smoothed_cross_entropy_backward(dy, logits, *, labels, smoothing, ignore=None, denominator=None):
    """L_i = -sum_c q_c log p_c with q_c = (1 - s) [c = label] + s / V; as sum_c q_c = 1, dL_i / dz_c = p_c - q_c. So
    dz_ic = dy (p_ic - q_ic) / denominator, 0 where a label does not count.
    """
    rows, labels = [], leaves(labels)
    each(1, rows.append, log_softmax(logits))
    denominator = sum(label != ignore for label in labels) if denominator is None else denominator
    slopes = []
    for row, label in zip(rows, labels, strict=True):
        factor = dy / denominator if denominator and label != ignore else 0 * row[0]
        due = [(1 - smoothing) * (c == label) + smoothing / len(row) for c in range(len(row))]
        slopes += [factor * (exp(y) - q) for y, q in zip(row, due, strict=True)]
    return {"logits": refilled(logits, slopes)}
