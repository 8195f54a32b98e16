"""Replaced-token head: one logit a token, w · activation(W x + b) + b'; positive where the token looks replaced.

x (..., D), p {dense: {weight (D, D), bias}, out: {weight (1, D), bias (1)}} -> (...). No norm, no dropout, no pooler.
Clark et al. 2020 (2003.10555), section 2; google-research/electra run_pretraining.py; SPEC ELEC-DISC.
"""

from .activation import activation as activate
from .activation import activation_backward
from .linear import linear, linear_backward
from .lists import each


def rtd_head(x, p, activation):
    logits = linear(activate(linear(x, **p["dense"]), activation), **p["out"])
    return each(1, lambda z: z[0], logits)


def rtd_head_backward(dy, x, p, activation):
    """One logit a token is a row of one: its slope goes through both linear maps and the activation between them."""
    made = linear(x, **p["dense"])
    last = linear_backward(each(0, lambda slope: [slope], dy), activate(made, activation), **p["out"])
    dense = linear_backward(activation_backward(last.pop("x"), made, activation)["x"], x, **p["dense"])
    return {"x": dense.pop("x"), "p": {"dense": dense, "out": last}}
