"""Linear backward: from dy to the gradients of the input, the weight and the bias of y = x Wᵀ + b.

    dx = dy W,   dW = Σ dyᵀ x,   db = Σ dy

Sums go over all rows. dy (..., o), x (..., i), weight W (o, i) -> (dx (..., i), dW (o, i), db (o)).
"""

import numpy as np

ORDER, CLAUSE, CASE = 5, "OP-LIN-1", "bert/published"


def linear_backward(dy, x, weight):
    rows, read = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    return dy @ weight, rows.T @ read, rows.sum(0)


def calls(rng):
    yield {"dy": np.array([[1.0, 2.0]]), "x": np.array([[3.0, 4.0, 5.0]]), "weight": np.arange(6.0).reshape(2, 3)}
    yield {
        "dy": np.array([[1.0, 0.0], [2.0, 1.0]]),
        "x": np.array([[1.0, 2.0], [0.0, 3.0]]),
        "weight": np.array([[1.0, 2.0], [3.0, 4.0]]),
    }
    yield {
        "dy": rng.standard_normal((2, 3, 4)),
        "x": rng.standard_normal((2, 3, 5)),
        "weight": rng.standard_normal((4, 5)),
    }


def _with(i, f):
    """The right gradients but for one."""

    def backward(dy, x, weight):
        return tuple(f(dy, x, weight) if n == i else g for n, g in enumerate(linear_backward(dy, x, weight)))

    return backward


def _square(weight):
    return weight.T if weight.shape[0] == weight.shape[1] else weight


WRONG = {
    "dx multiplies by Wᵀ: the shapes hide it where W is square": _with(0, lambda dy, x, w: dy @ _square(w)),
    "dW is transposed: x ᵀ dy": _with(1, lambda dy, x, w: linear_backward(dy, x, w)[1].T),
    "dW is a mean over rows, not a sum": _with(
        1, lambda dy, x, w: linear_backward(dy, x, w)[1] * dy.shape[-1] / dy.size
    ),
    "db is a mean over rows, not a sum": _with(
        2, lambda dy, x, w: linear_backward(dy, x, w)[2] * dy.shape[-1] / dy.size
    ),
    "dW and db are means over rows, not sums": lambda dy, x, weight: (
        dy @ weight,
        *(g * dy.shape[-1] / dy.size for g in linear_backward(dy, x, weight)[1:]),
    ),
    "dW and db are divided by the rows of the batch": lambda dy, x, weight: (
        dy @ weight,
        *(g / len(dy) for g in linear_backward(dy, x, weight)[1:]),
    ),
    "db is summed over the first axis alone": _with(2, lambda dy, x, w: dy.sum(0)),
    "db is summed over all entries": _with(2, lambda dy, x, w: dy.sum()),
    "db is not summed over rows": _with(2, lambda dy, x, w: dy),
    "db is summed over the last axis: over rows is due": _with(2, lambda dy, x, w: dy.sum(-1)),
    "db is left at 0": _with(2, lambda dy, x, w: np.zeros(len(w))),
    "db is all ones: it does not see dy": _with(2, lambda dy, x, w: np.ones(len(w))),
    "dW is of the first row of the batch alone": _with(
        1, lambda dy, x, w: dy[0].reshape(-1, len(w)).T @ x[0].reshape(-1, x.shape[-1])
    ),
    "dW has a product for each row of the batch: they are to be added": _with(
        1, lambda dy, x, w: dy.swapaxes(-1, -2) @ x if dy.ndim > 2 else linear_backward(dy, x, w)[1]
    ),
    "dx and dW are in each other's place": lambda dy, x, weight: tuple(
        linear_backward(dy, x, weight)[i] for i in (1, 0, 2)
    ),
    "dW is of the last row of the batch alone": _with(
        1, lambda dy, x, w: dy[-1].T @ x[-1] if dy.ndim > 2 else linear_backward(dy, x, w)[1]
    ),
}


def put(answer):
    """In each linear layer, on the way back."""

    def backward(f, args, constants):
        dy, c = args
        dx, dweight, dbias = answer(dy=dy, x=c["x"], weight=c["weight"])
        return dx, {"weight": dweight, **({"bias": dbias} if c["biased"] else {})}

    return {"linear_backward": backward}
