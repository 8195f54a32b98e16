"""Relations: r_b = [h_b,i; h_b,j] at the places of two marks, z = W r + b; the mean of -log softmax(z)[label] over
labels that are not -100.

h (B, T, D), p {weight (C, 2D), bias (C)}, labels {labels: (B)}, head_positions, tail_positions (B) -> scalar. Soares et
al. 2019 (1906.03158), section 3.2; SPEC TASK-REL.
"""

from .cross_entropy import cross_entropy
from .linear import linear


def relation(h, p, labels, *, head_positions, tail_positions):
    r = [states[i] + states[j] for states, i, j in zip(h, head_positions, tail_positions, strict=True)]
    return cross_entropy(linear(r, **p), labels=labels["labels"], ignore=-100)
