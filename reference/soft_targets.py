"""Soft targets: T^2 sum_rows w sum_c q_c (log q_c - log s_c) / denominator, q = softmax(target/T), s = softmax(z/T).

logits and target (..., c), weights (...) -> scalar. Hinton et al. 2015 (1503.02531), section 2; SPEC OP-SOFT.
"""

from .lists import leaves
from .log_softmax import log_softmax
from .scalars import exp


def soft_targets(logits, *, target, temperature, weights, denominator):
    def row(z, t, w):
        log_s, log_q = (log_softmax([value / temperature for value in values]) for values in (z, t))
        return w * sum(exp(q) * (q - s) for q, s in zip(log_q, log_s, strict=True))

    def rows(z, t, w):
        return [rows(*parts) for parts in zip(z, t, w, strict=True)] if isinstance(w, list) else row(z, t, w)

    return temperature**2 * sum(leaves(rows(logits, target, weights))) / denominator


def soft_targets_backward(dy, logits, *, target, temperature, weights, denominator):
    """sum_c q_c = 1, so the slope of -sum_c q_c log s_c by z_c is (s_c - q_c) / T: dz = dy T w (s - q) / denominator.
    """

    def row(z, t, w):
        s, q = ([exp(y) for y in log_softmax([value / temperature for value in values])] for values in (z, t))
        return [dy * temperature * w * (a - b) / denominator for a, b in zip(s, q, strict=True)]

    def rows(z, t, w):
        return [rows(*parts) for parts in zip(z, t, w, strict=True)] if isinstance(w, list) else row(z, t, w)

    return {"logits": rows(logits, target, weights)}
