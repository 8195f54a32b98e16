"""Softmax backward: from the gradient of the shares to that of the scores.

    dx_i = y_i (dy_i - Σ_j dy_j y_j)

y is the softmax itself, dy the gradient that comes in; every row has a sum of its own. All (..., d).
"""

import numpy as np

from minibert import ops
from minibert.exercises.softmax import softmax

ORDER, CLAUSE, CASE = 2, "OP-SM-2", "bert/published"


def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def calls(rng):
    yield {"dy": np.array([1.0, 0.0, 0.0]), "y": np.array([0.25, 0.25, 0.5])}
    yield {"dy": np.array([[1.0, 2.0], [0.0, 3.0]]), "y": np.array([[0.5, 0.5], [0.25, 0.75]])}
    yield {"dy": rng.standard_normal((2, 3, 4)), "y": softmax(rng.standard_normal((2, 3, 4)))}


WRONG = {
    "A36: Σ dy y, which comes through the denominator, is missing": lambda dy, y: y * dy,
    "that is the sigmoid's derivative, entry by entry: y (1 - y)": lambda dy, y: dy * y * (1 - y),
    "the sum is of dy alone: each term is weighted by its y": lambda dy, y: y * (dy - dy.sum(-1, keepdims=True)),
    "the sum stands where it should be taken away": lambda dy, y: y * (dy + (dy * y).sum(-1, keepdims=True)),
    "the mean is taken where the sum is due": lambda dy, y: y * (dy - (dy * y).mean(-1, keepdims=True)),
    "the sum goes over all rows": lambda dy, y: y * (dy - (dy * y).sum()),
    "the sum goes over the axis before the last one": lambda dy, y: (
        y * (dy - (dy * y).sum(-2, keepdims=True)) if y.ndim > 1 else softmax_backward(dy, y)
    ),
    "the factor y in front is missing": lambda dy, y: dy - (dy * y).sum(-1, keepdims=True),
    "only the sum is multiplied by y": lambda dy, y: dy - y * (dy * y).sum(-1, keepdims=True),
    "the sign is turned": lambda dy, y: -softmax_backward(dy, y),
    "that is the backward of the log-softmax": lambda dy, y: dy - y * dy.sum(-1, keepdims=True),
    "y multiplies dy alone, not the sum": lambda dy, y: dy * y - (dy * y).sum(-1, keepdims=True),
    "keepdims=True is missing: the sums are those of other rows": lambda dy, y: y * (dy - (dy * y).sum(-1)),
}


def put(answer):
    """In attention, from the weights back to the scores."""

    def attention_backward(f, args, constants):
        dy, c = args
        held = {}

        def swap(part, value):
            held[part] = value
            return value if part == "probs" else answer(dy=held["probs"], y=c["probs"])

        return ops.ATTENTION.backward(dy, c, swap)

    def alone(f, args, constants):
        return answer(dy=args[0], y=args[1]["y"])

    return {"attention_backward": attention_backward, "softmax_backward": alone}
