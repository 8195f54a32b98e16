"""A student's logits z = h W^T + b held to a teacher's: by soft_targets, or by squares, a mean over rows and classes.

h (b, D) or (b, t, D), p {weight (C, D), bias (C)}, labels {logits (b, C) or (b, t, C), counted (b) or (b, t)}; the mean
goes over what counts. Hinton et al. 2015 (1503.02531); Xu et al. 2020 (2002.10345), eq. 6; SPEC TRANS-DISTIL.
"""

from .linear import linear, linear_backward
from .lists import each, leaves
from .slopes import refilled
from .soft_targets import soft_targets, soft_targets_backward


def distillation(h, p, labels, by, temperature=2):
    z, target, counted = linear(h, **p), labels["logits"], labels["counted"]
    total = sum(leaves(counted))
    if by == "soft":
        given = {"temperature": temperature, "weights": counted, "denominator": total}
        return soft_targets(z, target=target, **given)
    squares = each(0, lambda a, b: (a - b) ** 2, z, target)
    weights, classes = leaves(counted), len(p["weight"])
    each_row = [sum(leaves(squares)[i * classes:(i + 1) * classes]) for i in range(len(weights))]
    return sum(w * row for w, row in zip(weights, each_row, strict=True)) / (total * classes)


def distillation_backward(dy, h, p, labels, by, temperature=2):
    """By soft targets, their slope; by squares dz = dy 2 w (z - target) / (sum w, classes). Then the linear map's."""
    z, target, counted = linear(h, **p), labels["logits"], labels["counted"]
    total, classes = sum(leaves(counted)), len(p["weight"])
    if by == "soft":
        given = {"temperature": temperature, "weights": counted, "denominator": total}
        slope = soft_targets_backward(dy, z, target=target, **given)["logits"]
    else:
        weights = [w for w in leaves(counted) for _ in range(classes)]
        triples = zip(weights, leaves(z), leaves(target), strict=True)
        slope = refilled(z, [dy * 2 * w * (a - b) / (total * classes) for w, a, b in triples])
    slopes = linear_backward(slope, h, **p)
    return {"h": slopes.pop("x"), "p": slopes}
