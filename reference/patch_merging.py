"""Merging: W LN(four cells side by side), a grid of half the size and twice the width.

x (b, Y X, D), p {norm (4 D), reduction {weight (2 D, 4 D)}}; height Y -> (b, ceil(Y/2) ceil(X/2), 2 D).
Liu et al. 2021 (2103.14030), section 3.1; SPEC SWIN-MERGE.
"""

from .layer_norm import layer_norm
from .linear import linear
from .merged import merged


def patch_merging(x, p, *, height, eps=1e-5):
    return linear(layer_norm(merged(x, height=height), **p["norm"], eps=eps), **p["reduction"])
