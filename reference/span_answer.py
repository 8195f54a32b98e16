"""Extraction of answers: two logits a token, x that the answer begins there and y that it ends there.

h (B, T, D), p {weight (2, D), bias (2)}, labels {start_positions (B), end_positions (B)} -> scalar: half the sum of the
means over the rows of -log softmax(x)[start] and -log softmax(y)[end]. Devlin et al. 2018, section 4.2; SPEC TASK-ANS.
"""

from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward


def span_answer(h, p, labels):
    z = linear(h, **p)
    starts, ends = ([[token[i] for token in row] for row in z] for i in range(2))
    first = cross_entropy(starts, labels=labels["start_positions"])
    return (first + cross_entropy(ends, labels=labels["end_positions"])) / 2


def span_answer_backward(dy, h, p, labels):
    """Half the slope goes to each cross-entropy over the places of a row; both logits of a token stand side by side."""
    z = linear(h, **p)
    starts, ends = ([[token[i] for token in row] for row in z] for i in range(2))
    first = cross_entropy_backward(dy / 2, starts, labels=labels["start_positions"])["logits"]
    second = cross_entropy_backward(dy / 2, ends, labels=labels["end_positions"])["logits"]
    slope = [[[a, b] for a, b in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)]
    slopes = linear_backward(slope, h, **p)
    return {"h": slopes.pop("x"), "p": slopes}
