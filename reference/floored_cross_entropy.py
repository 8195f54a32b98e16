"""-log(softmax(z)[label] + floor) of each row, summed over those whose label is not `ignore`, over the denominator.

logits (m, v), labels (m) -> scalar. Kiros et al. 2015 (1506.06726), as released (floor 1e-8); SPEC ST-LOSS.
"""

from .scalars import exp, log


def floored_cross_entropy(logits, *, labels, floor, ignore, denominator=None):
    total, count = 0 * logits[0][0], 0
    for row, label in zip(logits, labels, strict=True):
        if label != ignore:
            most = max(row)
            e = [exp(z - most) for z in row]
            total, count = total - log(e[label] / sum(e) + floor), count + 1
    count = count if denominator is None else denominator
    return total / count if count else total
