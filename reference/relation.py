"""Relations: r_b = [h_b,i; h_b,j] at the places of two marks, z = W r + b; the mean of -log softmax(z)[label] over
labels that are not -100.

h (B, T, D), p {weight (C, 2D), bias (C)}, labels {labels: (B)}, head_positions, tail_positions (B) -> scalar. Soares et
al. 2019 (1906.03158), section 3.2; SPEC TASK-REL.
"""

from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward
from .slopes import zeros


def relation(h, p, labels, *, head_positions, tail_positions):
    r = [states[i] + states[j] for states, i, j in zip(h, head_positions, tail_positions, strict=True)]
    return cross_entropy(linear(r, **p), labels=labels["labels"], ignore=-100)


def relation_backward(dy, h, p, labels, *, head_positions, tail_positions):
    """r_b has two halves, whose slopes go to the states at both marks; a state that is both gets the sum."""
    width = len(h[0][0])
    r = [states[i] + states[j] for states, i, j in zip(h, head_positions, tail_positions, strict=True)]
    slope = cross_entropy_backward(dy, linear(r, **p), labels=labels["labels"], ignore=-100)["logits"]
    slopes = linear_backward(slope, r, **p)
    dh = zeros(h)
    for row, both, *marks in zip(dh, slopes.pop("x"), head_positions, tail_positions, strict=True):
        for at, half in zip(marks, (both[:width], both[width:]), strict=True):
            row[at] = [a + b for a, b in zip(row[at], half, strict=True)]
    return {"h": dh, "p": slopes}
