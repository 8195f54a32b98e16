"""Pictures as what enters the first layer: Drop([class; e] + positions), e = LN(W patch + b), the mask token if hidden.

x (b, C, Y, X), p {patch {weight (D, C P P), bias}, norm, class, position: as far as they are there}, size P -> (b, N,
D), with a class (b, 1 + N, D). Positions are a square grid's, behind the class's; of other pictures they are `resized`.
Dosovitskiy et al. 2020 (2010.11929), eq. 1; Xie et al. 2021 (2111.09886), section 3.1; SPEC VIT-EMB, SWIN-EMB.
"""

from .dropout import dropout
from .layer_norm import layer_norm
from .linear import linear
from .lists import each
from .patches import patches
from .resized import resized


def patch_embeddings(x, p, token=None, *, size, hidden=None, eps=1e-5, keep=None, rate=0):
    h = linear(patches(x, size=size), **p["patch"])
    h = layer_norm(h, **p["norm"], eps=eps) if "norm" in p else h
    if hidden is not None:
        h = [[token[0] if bit else cell for bit, cell in zip(*rows, strict=True)]
             for rows in zip(hidden, h, strict=True)]  # fmt: skip
    first = p["class"]["weight"] if "class" in p else []
    h = [[*first, *cells] for cells in h]
    if "position" in p:
        rows, columns, table = len(x[0][0]) // size, len(x[0][0][0]) // size, p["position"]["weight"]
        own = table[len(first):]
        if rows != columns or rows * columns != len(own):
            own = resized(own, rows=rows, columns=columns)
        h = [each(0, lambda a, b: a + b, cells, [*table[:len(first)], *own]) for cells in h]
    return h if keep is None else dropout(h, keep=keep, rate=rate)
