"""GELU: x times the share of a normal distribution that lies below x.

    y = x Φ(x) = x/2 (1 + erf(x / √2))

`erf(x)` is given at the top of the file, entry by entry. x (...) -> (...).
"""

import math

import numpy as np

ORDER, CLAUSE, CASE = 6, "OP-GELU-1", "bert/published"
erf = np.vectorize(math.erf, otypes=[float])


def gelu(x):
    return x / 2 * (1 + erf(x / math.sqrt(2)))


def calls(rng):
    yield {"x": np.array([-1.0, 0.0, 2.0])}
    yield {"x": np.array([[-10.0, -2.7, -0.001], [0.5, 2.7, 10.0]])}
    yield {"x": rng.standard_normal((2, 3))}


def _tanh(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


WRONG = {
    "G01: that is the tanh form, which only comes near": _tanh,
    "G12: that is the sigmoid form, x sigmoid(1.702 x)": lambda x: x / (1 + np.exp(-1.702 * x)),
    "G13: that is SiLU, x sigmoid(x)": lambda x: x / (1 + np.exp(-x)),
    "G05: that is ReLU": lambda x: np.maximum(x, 0),
    "x in front is missing: that is Φ(x)": lambda x: (1 + erf(x / math.sqrt(2))) / 2,
    "the half is missing": lambda x: x * (1 + erf(x / math.sqrt(2))),
    "the 1 before erf is missing": lambda x: x / 2 * erf(x / math.sqrt(2)),
    "erf is of x, not of x/√2": lambda x: x / 2 * (1 + erf(x)),
    "erf is of x √2, not of x/√2": lambda x: x / 2 * (1 + erf(x * math.sqrt(2))),
    "erf is of x/2, not of x/√2": lambda x: x / 2 * (1 + erf(x / 2)),
    "that is tanh": lambda x: np.tanh(x),
    "nothing is done: y = x": lambda x: x,
    "a sign: 1 - erf is due for -x": lambda x: x / 2 * (1 - erf(x / math.sqrt(2))),
    "that is erf alone": lambda x: erf(x / math.sqrt(2)),
    "tanh stands where erf is due": lambda x: x / 2 * (1 + np.tanh(x / math.sqrt(2))),
    "tanh of √(2/π) x alone: that is neither form": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * x)),
    "that is x times the density φ(x): the share Φ(x) is due": lambda x: (
        x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    ),
    "x/2 multiplies the 1 alone, not erf": lambda x: x / 2 + erf(x / math.sqrt(2)),
}


def put(answer):
    """In each feed-forward part, and in the masked head."""

    def forward(f, args, constants):
        _, c = f(*args, **constants)
        return answer(x=args[0]), c

    return {"gelu": forward}
