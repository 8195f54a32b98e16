"""GloVe's AdaGrad: s = rate (g + decay p), p = p - s / sqrt(a), a = a + s s, a from 1. One tensor -> (p, a).

stanfordnlp/GloVe, glove.c; SPEC OPT-GLOVE.
"""

from .lists import each
from .scalars import sqrt


def glove_adagrad(parameter, gradient, total, *, rate, decay=0):
    step = each(0, lambda p, g: rate * (g + decay * p), parameter, gradient)
    parameter = each(0, lambda p, s, a: p - s / sqrt(a), parameter, step, total)
    return parameter, each(0, lambda a, s: a + s * s, total, step)
