"""Neural tensor layer: tanh(u^T W_o v + V_o [u; v] + b_o); u (..., d), v (..., e) -> (..., o).

p {tensor: {weight (o, d, e)}, linear: {weight (o, d + e), bias}}. Socher et al. 2013, eq. 1; SPEC OP-NTN.
"""

from .bilinear import bilinear
from .linear import linear
from .lists import each
from .tanh import tanh


def tensor_layer(u, v, p):
    both = linear(each(1, lambda a, b: a + b, u, v), **p["linear"])
    return tanh(each(0, lambda a, b: a + b, bilinear(u, v, **p["tensor"]), both))
