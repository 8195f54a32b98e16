"""Layers mixed by learnt weights: y = gamma sum_m softmax(weight)_m x_m; x (m, ..., d), weight (m), gamma (1).

Peters et al. 2018 (1802.05365), eq. 1; SPEC OP-MIX.
"""

from .lists import dot, each
from .softmax import softmax


def scalar_mix(x, weight, gamma):
    shares = softmax(weight)
    return each(0, lambda *entries: gamma[0] * dot(shares, entries), *x)
