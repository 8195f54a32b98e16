"""u·v / (|u| |v|) of the last dimension, 0 where either is 0; u, v (..., d) -> (...). SPEC OP-COS."""

from .lists import dot, each
from .scalars import sqrt


def cosine(u, v):
    def one(a, b):
        size = dot(a, a) * dot(b, b)
        return dot(a, b) / sqrt(size) if size else 0 * size

    return each(1, one, u, v)


def cosine_backward(dy, u, v):
    """With c = u·v / (|u| |v|), d|u|/du = u / |u|: dc/du = v / (|u| |v|) - c u / |u|^2, and the same for v with u; 0
    where either is 0.
    """

    def one(slope, a, b):
        size = dot(a, a) * dot(b, b)
        if not size:
            return [0 * x for x in a]
        c = dot(a, b) / sqrt(size)
        return [slope * (y / sqrt(size) - c * x / dot(a, a)) for x, y in zip(a, b, strict=True)]

    def rows(slopes, a, b):
        if isinstance(slopes, list):
            return [rows(*parts) for parts in zip(slopes, a, b, strict=True)]
        return one(slopes, a, b)

    return {"u": rows(dy, u, v), "v": rows(dy, v, u)}
