"""Layer norm: every row gets mean 0 and deviation 1, then a scale and a shift of its own for each column.

    y = γ (x - μ) / √(σ² + ε) + β,   μ = mean x,  σ² = mean (x - μ)²,  both over the last axis

x (..., d), weight γ (d), bias β (d), eps ε -> (..., d).
"""

import numpy as np

ORDER, CLAUSE, CASE = 3, "OP-LN-1", "bert/published"


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return weight * (x - mean) / np.sqrt(variance + eps) + bias


def calls(rng):
    yield {"x": np.array([1.0, 2.0, 6.0]), "weight": np.ones(3), "bias": np.zeros(3), "eps": 1e-12}
    yield {
        "x": np.array([[1.0, 3.0], [0.0, 0.5]]),
        "weight": np.array([1.0, 2.0]),
        "bias": np.array([0.0, 1.0]),
        "eps": 0.5,
    }
    yield {
        "x": rng.standard_normal((2, 3, 4)) + 2,
        "weight": rng.standard_normal(4),
        "bias": rng.standard_normal(4),
        "eps": 0.1,
    }


def _normed(mean, spread):
    """γ (x - mean) / spread + β."""
    return lambda x, weight, bias, eps: weight * (x - mean(x)) / spread(x, eps) + bias


def _mean(x):
    return x.mean(-1, keepdims=True)


def _root(x, eps):
    return np.sqrt(x.var(-1, keepdims=True) + eps)


WRONG = {
    "L01: ε is not the one that is given: 1e-5": lambda x, weight, bias, eps: layer_norm(x, weight, bias, 1e-5),
    "ε is left out": lambda x, weight, bias, eps: layer_norm(x, weight, bias, 0),
    "L03: ε is added behind the root": _normed(_mean, lambda x, eps: x.std(-1, keepdims=True) + eps),
    "ε is added behind the root, and its root": _normed(_mean, lambda x, eps: x.std(-1, keepdims=True) + eps**0.5),
    "L04: the variance divides by d - 1": _normed(
        _mean, lambda x, eps: np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps)
    ),
    "L05: mean and variance go over all rows": _normed(np.mean, lambda x, eps: np.sqrt(x.var() + eps)),
    "mean and variance go over the axis before the last one": lambda x, weight, bias, eps: (
        weight * (x - x.mean(-2, keepdims=True)) / np.sqrt(x.var(-2, keepdims=True) + eps) + bias
        if x.ndim > 1
        else layer_norm(x, weight, bias, eps)
    ),
    "mean and variance go over the first axis": lambda x, weight, bias, eps: (
        weight * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + bias if x.ndim > 1 else layer_norm(x, weight, bias, eps)
    ),
    "L15: the mean is not taken away: that is the RMS norm": _normed(
        lambda x: 0, lambda x, eps: np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    ),
    "the mean is taken away in the variance alone": _normed(lambda x: 0, _root),
    "L19: no root under the variance": _normed(_mean, lambda x, eps: x.var(-1, keepdims=True) + eps),
    "L06: the square where the root is due": _normed(_mean, lambda x, eps: (x.var(-1, keepdims=True) + eps) ** 2),
    "it multiplies by √(σ² + ε) where it should divide": lambda x, weight, bias, eps: (
        weight * (x - _mean(x)) * _root(x, eps) + bias
    ),
    "the scale γ is left out": lambda x, weight, bias, eps: layer_norm(x, 1, bias, eps),
    "the shift β is left out": lambda x, weight, bias, eps: layer_norm(x, weight, 0, eps),
    "C02: γ and β are in each other's place": lambda x, weight, bias, eps: layer_norm(x, bias, weight, eps),
    "β is added before γ multiplies": lambda x, weight, bias, eps: weight * (layer_norm(x, 1, 0, eps) + bias),
    "C19: γ + 1 where γ is due": lambda x, weight, bias, eps: layer_norm(x, weight + 1, bias, eps),
    "the variance is a sum, not a mean": _normed(
        _mean, lambda x, eps: np.sqrt(((x - _mean(x)) ** 2).sum(-1, keepdims=True) + eps)
    ),
    "the median is taken for the mean": _normed(lambda x: np.median(x, -1, keepdims=True), _root),
    "the spread is the mean of |x - μ|": _normed(
        _mean, lambda x, eps: np.abs(x - _mean(x)).mean(-1, keepdims=True) + eps
    ),
    "the variance is the mean of x²: (x - μ)² is due": _normed(
        _mean, lambda x, eps: np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    ),
    "keepdims=True is missing: mean and variance are those of other rows": lambda x, weight, bias, eps: (
        weight * (x - x.mean(-1)) / np.sqrt(x.var(-1) + eps) + bias
    ),
}


def put(answer):
    """In each norm of the model."""

    def forward(f, args, constants):
        _, c = f(*args, **constants)
        given = dict(zip(("x", "weight", "bias"), args, strict=False)) | constants
        return answer(**given), c

    return {"layer_norm": forward}
