"""Tagging by a chain: z_t = W h_t + b, a linear-chain CRF over the tokens whose label is not -100, divided by them.

h (B, T, D), p {classifier: {weight (C, D), bias (C)}, crf: {start_transitions, transitions, end_transitions}}, labels
{labels: (B, T)} -> scalar. Lample et al. 2016 (1603.01360), section 2.2; SPEC TASK-CRF.
"""

from .crf_loss import crf_loss, crf_loss_backward
from .linear import linear, linear_backward
from .lists import leaves


def crf(h, p, labels):
    mask = [[int(label != -100) for label in row] for row in labels["labels"]]
    emissions, asked = linear(h, **p["classifier"]), sum(leaves(mask))
    return crf_loss(emissions, **p["crf"], labels=labels["labels"], mask=mask, denominator=asked)


def crf_backward(dy, h, p, labels):
    """The chain's slope by its emissions goes on through the linear map, those by its transitions are its own."""
    mask = [[int(label != -100) for label in row] for row in labels["labels"]]
    given = {"labels": labels["labels"], "mask": mask, "denominator": sum(leaves(mask))}
    chain = crf_loss_backward(dy, linear(h, **p["classifier"]), **p["crf"], **given)
    slopes = linear_backward(chain.pop("emissions"), h, **p["classifier"])
    return {"h": slopes.pop("x"), "p": {"classifier": slopes, "crf": chain}}
