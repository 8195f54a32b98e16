"""Layers mixed by learnt weights: y = gamma sum_m softmax(weight)_m x_m; x (m, ..., d), weight (m), gamma (1).

Peters et al. 2018 (1802.05365), eq. 1; SPEC OP-MIX.
"""

from .lists import dot, each, leaves
from .softmax import softmax, softmax_backward


def scalar_mix(x, weight, gamma):
    shares = softmax(weight)
    return each(0, lambda *entries: gamma[0] * dot(shares, entries), *x)


def scalar_mix_backward(dy, x, weight, gamma):
    """With s = softmax(weight), y = gamma sum_m s_m x_m: dx_m = gamma s_m dy; ds_m = gamma sum of dy x_m over all
    entries, then through the softmax; dgamma = sum of dy (sum_m s_m x_m).
    """
    shares, slopes = softmax(weight), leaves(dy)
    along = [dot(slopes, leaves(layer)) for layer in x]
    dweight = softmax_backward([gamma[0] * a for a in along], weight)["x"]
    dx = [each(0, lambda d, share=share: gamma[0] * share * d, dy) for share in shares]
    return {"x": dx, "weight": dweight, "gamma": [dot(shares, along)]}
