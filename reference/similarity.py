"""Similarity of two texts u = s_b0, v = s_b1: the mean over the rows of (cos(u, v) - y)^2; of half of
y d^2 + (1 - y) max(0, margin - d)^2, d = 1 - cos(u, v); or of -y log σ(g) - (1 - y) log σ(-g), g = w·tensor_layer of
u and v.

s (B, 2, D), p {tensor, linear, score} or {}, labels {labels: (B)} -> scalar. SPEC TASK-SIM.
"""

from .binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_backward
from .cosine import cosine, cosine_backward
from .linear import linear, linear_backward
from .mean_squared_error import mean_squared_error, mean_squared_error_backward
from .tensor_layer import tensor_layer, tensor_layer_backward


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


def similarity_backward(dy, s, p, labels, *, by, margin):
    """By cosine, x = cos(u, v): the slope of the squares. By contrast, with d = 1 - x and f = max(0, margin - d), a
    mean over B rows: dx = dy ((1 - y) f - y d) / B. By a tensor: the slopes of the cross-entropy, of the score and of
    the layer. Those of u and v are a row's two.
    """
    u, v, y = [pair[0] for pair in s], [pair[1] for pair in s], labels["labels"]
    of_p = {}
    if by == "tensor":
        layer = {name: p[name] for name in ("tensor", "linear")}
        made = tensor_layer(u, v, layer)
        slope = binary_cross_entropy_backward(dy, [row[0] for row in linear(made, **p["score"])], labels=y)["logits"]
        of_score = linear_backward([[value] for value in slope], made, **p["score"])
        both = tensor_layer_backward(of_score.pop("x"), u, v, layer)
        of_p = {**both["p"], "score": of_score}
    else:
        x = cosine(u, v)
        if by == "cosine":
            slope = mean_squared_error_backward(dy, x, target=y)["x"]
        else:
            far = [max(0 * z, margin - 1 + z) for z in x]
            slope = [dy * ((1 - a) * f - a * (1 - z)) / len(y) for a, f, z in zip(y, far, x, strict=True)]
        both = cosine_backward(slope, u, v)
    return {"s": [list(pair) for pair in zip(both["u"], both["v"], strict=True)], "p": of_p}
