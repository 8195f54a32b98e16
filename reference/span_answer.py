"""Extraction of answers: two logits a token, x that the answer begins there and y that it ends there.

h (B, T, D), p {weight (2, D), bias (2)}, labels {start_positions (B), end_positions (B)} -> scalar: half the sum of the
means over the rows of -log softmax(x)[start] and -log softmax(y)[end]. Devlin et al. 2018, section 4.2; SPEC TASK-ANS.
"""

from .cross_entropy import cross_entropy
from .linear import linear


def span_answer(h, p, labels):
    z = linear(h, **p)
    starts, ends = ([[token[i] for token in row] for row in z] for i in range(2))
    first = cross_entropy(starts, labels=labels["start_positions"])
    return (first + cross_entropy(ends, labels=labels["end_positions"])) / 2
