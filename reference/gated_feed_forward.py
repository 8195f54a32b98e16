"""Gated feed-forward: W_out (activation(W_gate x) W_in x), with biases where p {gate, in, out} has them.

x (..., D) -> (..., D). Shazeer 2020 (2002.05202), eq. 5 and 6; SPEC OP-GATE.
"""

from .activation import activation as activate
from .linear import linear
from .multiply import multiply


def gated_feed_forward(x, p, activation):
    return linear(multiply(activate(linear(x, **p["gate"]), activation), linear(x, **p["in"])), **p["out"])
