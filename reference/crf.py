"""Tagging by a chain: z_t = W h_t + b, a linear-chain CRF over the tokens whose label is not -100, divided by them.

h (B, T, D), p {classifier: {weight (C, D), bias (C)}, crf: {start_transitions, transitions, end_transitions}}, labels
{labels: (B, T)} -> scalar. Lample et al. 2016 (1603.01360), section 2.2; SPEC TASK-CRF.
"""

from .crf_loss import crf_loss
from .linear import linear
from .lists import leaves


def crf(h, p, labels):
    mask = [[int(label != -100) for label in row] for row in labels["labels"]]
    emissions, asked = linear(h, **p["classifier"]), sum(leaves(mask))
    return crf_loss(emissions, **p["crf"], labels=labels["labels"], mask=mask, denominator=asked)
