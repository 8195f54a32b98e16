"""Cross-entropy against (1 - s) of the label and s / V of every class, in nats, over the labels that count.

logits (..., V), labels (...) -> scalar; labels equal to `ignore` do not count; denominator: how many do, unless given;
where none does the loss is 0. Szegedy et al. 2015 (1512.00567), section 7; SPEC OP-LS.
"""

from .lists import each, leaves
from .log_softmax import log_softmax


def smoothed_cross_entropy(logits, *, labels, smoothing, ignore=None, denominator=None):
    rows, one = [], 1 - smoothing
    each(1, rows.append, log_softmax(logits))
    counted = [(row, label) for row, label in zip(rows, leaves(labels), strict=True) if label != ignore]
    denominator = len(counted) if denominator is None else denominator
    losses = [-one * row[label] - smoothing * sum(row) / len(row) for row, label in counted]
    return sum(losses) / denominator if denominator else 0 * rows[0][0]
