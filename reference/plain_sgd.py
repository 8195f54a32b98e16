"""Stochastic gradient descent: p - rate (g + decay p). One tensor, any shape. SPEC OPT-SGD."""

from .lists import each


def plain_sgd(parameter, gradient, *, rate, decay=0):
    return each(0, lambda p, g: p - rate * (g + decay * p), parameter, gradient)
