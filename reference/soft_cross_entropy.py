"""Cross-entropy against shares: sum over b, i of -sum_j y_ij log softmax(z_i)_j / denominator, of rows with a target.

z, targets (b, c, c), there (b, c): 0 leaves a candidate out of the softmax. SPEC QT-LOSS.
"""

from .scalars import exp, log


def soft_cross_entropy(z, *, targets, there, denominator):
    total = 0 * z[0][0][0]
    for row, shares, seen in zip(z, targets, there, strict=True):
        for scores, y in zip(row, shares, strict=True):
            if any(y):
                whole = log(sum(exp(s) for s, bit in zip(scores, seen, strict=True) if bit))
                total += sum(share * (whole - s) for s, share in zip(scores, y, strict=True) if share)
    return total / denominator if denominator else total
