"""Softmax over the last axis: scores become shares that sum to 1.

    y_i = e^(x_i - m) / Σ_j e^(x_j - m),   m = max_j x_j

The maximum cancels; it keeps e^ from overflowing. x (..., d) -> (..., d).
"""

import numpy as np

from minibert import ops

ORDER, CLAUSE, CASE = 1, "OP-SM-1", "bert/published"


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def calls(rng):
    yield {"x": np.array([0.0, 1.0, 3.0])}
    yield {"x": np.array([[0.0, 2.0], [1.0, -1.0]])}
    yield {"x": rng.standard_normal((2, 3, 4))}
    yield {"x": np.array([[1000.0, 1001.0], [-1000.0, -1002.0]])}
    yield {"x": np.array([-1000.0, -1002.0])}
    yield {"x": np.array([3000.0, 0.0])}


def _over(axis):
    def softmax(x):
        powers = np.exp(x - x.max(axis, keepdims=True))
        return powers / powers.sum(axis, keepdims=True)

    return softmax


def _raw(x):
    powers = np.exp(x)
    return powers / powers.sum(-1, keepdims=True)


WRONG = {
    "A09: the sum goes over all entries, not over the last axis": _over(None),
    "A09: it goes over the first axis, not over the last one": _over(0),
    "A09: it goes over the axis before the last one": lambda x: _over(-2)(x) if x.ndim > 1 else softmax(x),
    "e^ overflows: take the row's maximum from x first": _raw,
    "A09: the sum goes over all entries, not over the last axis, and e^ overflows": lambda x: (
        np.exp(x) / np.exp(x).sum()
    ),
    "the maximum of all rows is taken from each row, and rows far below it become 0 / 0": lambda x: (
        np.exp(x - x.max()) / np.exp(x - x.max()).sum(-1, keepdims=True)
    ),
    "A35: powers of 2 instead of e": lambda x: softmax(x * np.log(2)),
    "the powers are not divided by their sum": lambda x: np.exp(x - x.max(-1, keepdims=True)),
    "that is its logarithm": lambda x: np.log(softmax(x)),
    "that is its logarithm, the log-softmax": lambda x: (
        (z := x - x.max(-1, keepdims=True)) - np.log(np.exp(z).sum(-1, keepdims=True))
    ),
    "the sign of x is turned": lambda x: softmax(-x),
    "x is divided by its sum: e^ is missing": lambda x: x / x.sum(-1, keepdims=True),
    "that is the sigmoid of each entry": lambda x: 1 / (1 + np.exp(-x)),
    "the sum stands for the mean: the shares sum to d": lambda x: softmax(x) * x.shape[-1],
    "A09: the sum alone goes over all entries: each row's shares have a sum of their own": lambda x: (
        (powers := np.exp(x - x.max(-1, keepdims=True))) / powers.sum()
    ),
    "the mean is taken away, not the maximum: e^ still overflows": lambda x: (
        (powers := np.exp(x - x.mean(-1, keepdims=True))) / powers.sum(-1, keepdims=True)
    ),
    "the largest |x| is taken away, not the largest x: a row far below 0 becomes 0 / 0": lambda x: (
        (powers := np.exp(x - np.abs(x).max(-1, keepdims=True))) / powers.sum(-1, keepdims=True)
    ),
    "keepdims=True is missing: the sums are those of other rows": lambda x: (
        (powers := np.exp(x - x.max(-1, keepdims=True))) / powers.sum(-1)
    ),
}


def put(answer):
    """In attention, where the scores become weights."""

    def attention(f, args, constants):
        _, c = f(*args, **constants)
        held = {}

        def swap(part, value):
            held[part] = value
            return value if part == "scores" else answer(x=held["scores"] + (0 if c["added"] is None else c["added"]))

        y, own = ops.ATTENTION.forward(c, swap)
        return y, own

    return {"attention": attention, "softmax": lambda f, args, constants: (y := answer(x=args[0]), {"y": y})}
