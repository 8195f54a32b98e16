"""Feed-forward: W_out activation(W_in x + b_in) + b_out. x (..., D) -> (..., D), p {in, out}.

Vaswani et al. 2017 (1706.03762), eq. 2, with the activation named by `hidden_act`; SPEC BERT-FF.
"""

from .activation import activation as activate
from .linear import linear


def feed_forward(x, p, activation):
    return linear(activate(linear(x, **p["in"]), activation), **p["out"])
