"""Similarity of two texts u = s_b0, v = s_b1: the mean over the rows of (cos(u, v) - y)^2; of half of
y d^2 + (1 - y) max(0, margin - d)^2, d = 1 - cos(u, v); or of -y log σ(g) - (1 - y) log σ(-g), g = w·tensor_layer of
u and v.

s (B, 2, D), p {tensor, linear, score} or {}, labels {labels: (B)} -> scalar. SPEC TASK-SIM.
"""

from .binary_cross_entropy import binary_cross_entropy
from .cosine import cosine
from .linear import linear
from .mean_squared_error import mean_squared_error
from .tensor_layer import tensor_layer


def similarity(s, p, labels, *, by, margin):
    u, v, y = [pair[0] for pair in s], [pair[1] for pair in s], labels["labels"]
    if by == "tensor":
        g = linear(tensor_layer(u, v, {name: p[name] for name in ("tensor", "linear")}), **p["score"])
        return binary_cross_entropy([row[0] for row in g], labels=y)
    likeness = cosine(u, v)
    if by == "cosine":
        return mean_squared_error(likeness, target=y)
    apart = [1 - x for x in likeness]
    far = [max(0 * d, margin - d) for d in apart]
    return sum(a * d * d + (1 - a) * f * f for a, d, f in zip(y, apart, far, strict=True)) / (2 * len(y))
