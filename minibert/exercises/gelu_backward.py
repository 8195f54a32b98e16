"""GELU backward: from dy to dx.

    dx = dy (Φ(x) + x φ(x)),   Φ(x) = (1 + erf(x / √2)) / 2,   φ(x) = e^(-x²/2) / √(2π)

`erf(x)` is given at the top of the file. dy, x (...) -> (...).
"""

import math

import numpy as np

from minibert.exercises.gelu import erf

ORDER, CLAUSE, CASE = 7, "OP-GELU-2", "bert/published"


def _below(x):
    return (1 + erf(x / math.sqrt(2))) / 2


def _density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_backward(dy, x):
    return dy * (_below(x) + x * _density(x))


def calls(rng):
    yield {"dy": np.array([1.0, 1.0, 2.0]), "x": np.array([-1.0, 0.0, 2.0])}
    yield {"dy": rng.standard_normal((2, 3)), "x": rng.standard_normal((2, 3))}


def _tanh_slope(dy, x):
    root = math.sqrt(2 / math.pi)
    t = np.tanh(root * (x + 0.044715 * x**3))
    return dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x))


WRONG = {
    "x φ(x), what comes through Φ, is missing": lambda dy, x: dy * _below(x),
    "Φ(x), what comes through the factor x, is missing": lambda dy, x: dy * x * _density(x),
    "φ(x) lacks its factor x": lambda dy, x: dy * (_below(x) + _density(x)),
    "φ(x) lacks 1/√(2π)": lambda dy, x: dy * (_below(x) + x * np.exp(-x * x / 2)),
    "φ(x) is divided by 2π, not by its root": lambda dy, x: dy * (_below(x) + x * np.exp(-x * x / 2) / (2 * math.pi)),
    "φ(x) has e^(-x²): the half is missing": lambda dy, x: (
        dy * (_below(x) + x * np.exp(-x * x) / math.sqrt(2 * math.pi))
    ),
    "φ(x) is halved: 1/√(2π) is all of it": lambda dy, x: dy * (_below(x) + x / 2 * _density(x)),
    "the term has a wrong sign": lambda dy, x: dy * (_below(x) - x * _density(x)),
    "G14: that is the tanh form's slope": _tanh_slope,
    "G14: that is ReLU's slope": lambda dy, x: dy * (x > 0),
    "G14: that is the slope of x sigmoid(1.702 x)": lambda dy, x: (
        dy * ((s := 1 / (1 + np.exp(-1.702 * x))) + 1.702 * x * s * (1 - s))
    ),
    "dy is left out": lambda dy, x: gelu_backward(1, x),
    "dy is added, not multiplied": lambda dy, x: dy + gelu_backward(1, x),
    "that is GELU itself, times dy": lambda dy, x: dy * x * _below(x),
    "erf is of x, not of x/√2": lambda dy, x: dy * ((1 + erf(x)) / 2 + x * _density(x)),
    "the half of 1 + erf is missing": lambda dy, x: dy * (2 * _below(x) + x * _density(x)),
    "φ(x) is divided by √π, not by √(2π)": lambda dy, x: dy * (_below(x) + x * np.exp(-x * x / 2) / math.sqrt(math.pi)),
    "dy multiplies Φ(x) alone": lambda dy, x: dy * _below(x) + x * _density(x),
    "φ(x) has e^(x²/2): its sign is missing": lambda dy, x: (
        dy * (_below(x) + x * np.exp(x * x / 2) / math.sqrt(2 * math.pi))
    ),
}


def put(answer):
    """In each feed-forward part, on the way back."""
    seen = {}

    def forward(f, args, constants):
        y, c = f(*args, **constants)
        seen[id(c)] = args[0], c
        return y, c

    return {"gelu": forward, "gelu_backward": lambda f, args, constants: answer(dy=args[0], x=seen[id(args[1])][0])}
