"""Clipping by the global norm: g limit / max(n, limit) for every entry g, n = sqrt(sum of all g^2).

A tree (nested dicts and lists) of gradients -> (the tree scaled, n before the scaling).
Pascanu et al. 2013 (1211.5063), algorithm 1; tf.clip_by_global_norm (no epsilon); SPEC OPT-CLIP.
"""

from .lists import mapped
from .scalars import sqrt


def clip(gradients, limit):
    squares = []
    mapped(lambda g: squares.append(g * g), gradients)
    norm = sqrt(sum(squares))
    factor = limit / max(norm, limit)
    return mapped(lambda g: g * factor, gradients), norm
