"""Replaced-token head: one logit a token, w · activation(W x + b) + b'; positive where the token looks replaced.

x (..., D), p {dense: {weight (D, D), bias}, out: {weight (1, D), bias (1)}} -> (...). No norm, no dropout, no pooler.
Clark et al. 2020 (2003.10555), section 2; google-research/electra run_pretraining.py; SPEC ELEC-DISC.
"""

from .activation import activation as activate
from .linear import linear
from .lists import each


def rtd_head(x, p, activation):
    logits = linear(activate(linear(x, **p["dense"]), activation), **p["out"])
    return each(1, lambda z: z[0], logits)
