"""The mean over tokens of layers mixed by softmax(weight): x (m, b, t, d), p {weight (m)}, seen (b, t) or none ->
(b, d).

Peters et al. 2018 (1802.05365), eq. 1 with gamma 1; SPEC OP-MIX.
"""

from .mean_over_time import mean_over_time
from .scalar_mix import scalar_mix


def layer_pooling(x, p, *, seen=None):
    return mean_over_time(scalar_mix(x, p["weight"], [1]), weights=seen)
