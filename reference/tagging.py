"""Tagging: z_t = W h_t + b; the mean of -log softmax(z_t)[label_t] over the tokens whose label is not -100.

h (B, T, D), p {weight (C, D), bias (C)}, labels {labels: (B, T)} -> scalar. Devlin et al. 2018, section 5.3; SPEC
TASK-TAG.
"""

from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward


def tagging(h, p, labels):
    return cross_entropy(linear(h, **p), labels=labels["labels"], ignore=-100)


def tagging_backward(dy, h, p, labels):
    """A classification of each token: the slope of the cross-entropy, then that of the linear map."""
    slope = cross_entropy_backward(dy, linear(h, **p), labels=labels["labels"], ignore=-100)["logits"]
    slopes = linear_backward(slope, h, **p)
    return {"h": slopes.pop("x"), "p": slopes}
