"""u·v / (|u| |v|) of the last dimension, 0 where either is 0; u, v (..., d) -> (...). SPEC OP-COS."""

from .lists import dot, each
from .numbers import sqrt


def cosine(u, v):
    def one(a, b):
        size = dot(a, a) * dot(b, b)
        return dot(a, b) / sqrt(size) if size else 0 * size

    return each(1, one, u, v)
