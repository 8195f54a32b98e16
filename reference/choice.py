"""Multiple choice: z_i = w s_i + b of each of a row's texts; the mean over the rows of -log softmax(z)[label].

s (B, C, D), p {weight (1, D), bias (1)}, labels {labels: (B)} -> scalar. Devlin et al. 2018, section 4.4; SPEC
TASK-CHO.
"""

from .cross_entropy import cross_entropy
from .linear import linear


def choice(s, p, labels):
    z = [[logit for (logit,) in row] for row in linear(s, **p)]
    return cross_entropy(z, labels=labels["labels"])
