"""Neural tensor layer: tanh(u^T W_o v + V_o [u; v] + b_o); u (..., d), v (..., e) -> (..., o).

p {tensor: {weight (o, d, e)}, linear: {weight (o, d + e), bias}}. Socher et al. 2013, eq. 1; SPEC OP-NTN.
"""

from .bilinear import bilinear, bilinear_backward
from .linear import linear, linear_backward
from .lists import each
from .slopes import rows_of
from .tanh import tanh, tanh_backward


def tensor_layer(u, v, p):
    both = linear(each(1, lambda a, b: a + b, u, v), **p["linear"])
    return tanh(each(0, lambda a, b: a + b, bilinear(u, v, **p["tensor"]), both))


def tensor_layer_backward(dy, u, v, p):
    """The slope of tanh goes to both maps alike; u gets what the bilinear one gives it and the first part of what the
    linear one gives [u; v], v the rest.
    """
    both = linear(each(1, lambda a, b: a + b, u, v), **p["linear"])
    inside = each(0, lambda a, b: a + b, bilinear(u, v, **p["tensor"]), both)
    slope = tanh_backward(dy, inside)["x"]
    first = bilinear_backward(slope, u, v, **p["tensor"])
    second = linear_backward(slope, each(1, lambda a, b: a + b, u, v), **p["linear"])
    width = len(rows_of(u)[0])
    parts = {"u": each(1, lambda row: row[:width], second["x"]), "v": each(1, lambda row: row[width:], second["x"])}
    read = {name: each(0, lambda a, b: a + b, first[name], part) for name, part in parts.items()}
    of_linear = {name: value for name, value in second.items() if name != "x"}
    return {**read, "p": {"tensor": {"weight": first["weight"]}, "linear": of_linear}}
