"""Reformer's feed-forward: W_out act(Drop(W_in LN(x) + b_in)) + b_out. x (b, t, D), p {norm, in, out}; keep (b, t, F).

Kitaev et al. 2020 (2001.04451), section 3; SPEC REFORMER-FF.
"""

from .activation import activation
from .dropout import dropout
from .layer_norm import layer_norm
from .linear import linear


def normed_feed_forward(x, p, act, eps, keep=None, rate=0):
    h = linear(layer_norm(x, **p["norm"], eps=eps), **p["in"])
    h = h if keep is None else dropout(h, keep=keep, rate=rate)
    return linear(activation(h, act), **p["out"])
