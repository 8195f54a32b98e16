"""Multiple choice: z_i = w s_i + b of each of a row's texts; the mean over the rows of -log softmax(z)[label].

s (B, C, D), p {weight (1, D), bias (1)}, labels {labels: (B)} -> scalar. Devlin et al. 2018, section 4.4; SPEC
TASK-CHO.
"""

from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward


def choice(s, p, labels):
    z = [[logit for (logit,) in row] for row in linear(s, **p)]
    return cross_entropy(z, labels=labels["labels"])


def choice_backward(dy, s, p, labels):
    """The logits of a row's texts are the classes of a cross-entropy; each text has one logit, a row of one."""
    z = [[logit for (logit,) in row] for row in linear(s, **p)]
    slope = cross_entropy_backward(dy, z, labels=labels["labels"])["logits"]
    slopes = linear_backward([[[value] for value in row] for row in slope], s, **p)
    return {"s": slopes.pop("x"), "p": slopes}
