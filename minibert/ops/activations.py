"""What is done to every entry by itself: activations, products, dropout."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


# ---- Activations -----------------------------------------------------------------------------------------------------
@pair("(...,d)->(...,d)")
def gelu(x: Array) -> tuple[Array, Cache]:
    """y = x·Φ(x), Φ the normal distribution function: the erf form (arXiv 1606.08415)."""
    y = kernels.gelu(x)
    return y, {"x": x, "y": y}


@backward
def gelu_backward(dy: Array, c: Cache) -> Array:
    return kernels.gelu_slope(c["x"], c["y"], dy)  # Φ(x) + x·φ(x)


@pair("(...,d)->(...,d)")
def gelu_tanh(x: Array) -> tuple[Array, Cache]:
    """y = ½x(1 + tanh(√(2/π)(x + 0.044715x³))): the tanh form, `gelu_new` in published configs (arXiv 1606.08415)."""
    return kernels.gelu_tanh(x), {"x": x}


@backward
def gelu_tanh_backward(dy: Array, c: Cache) -> Array:
    return kernels.gelu_tanh_slope(c["x"], dy)


@pair("(...,d)->(...,d)")
def relu(x: Array) -> tuple[Array, Cache]:
    """y = max(x, 0); the derivative at 0 is taken as 0."""
    return np.maximum(x, 0), {"x": x}


@backward
def relu_backward(dy: Array, c: Cache) -> Array:
    return dy * (c["x"] > 0)


@pair("(...,d)->(...,d)")
def tanh(x: Array) -> tuple[Array, Cache]:
    """y = tanh x."""
    y = np.tanh(x)
    return y, {"y": y}


@backward
def tanh_backward(dy: Array, c: Cache) -> Array:
    return dy * (1 - c["y"] * c["y"])


@pair("(...,d)->(...,d)")
def sigmoid(x: Array) -> tuple[Array, Cache]:
    """y = 1/(1 + e⁻ˣ), below 0 as eˣ/(1 + eˣ): no overflow, and small values keep their relative accuracy."""
    y = logistic(x)
    return y, {"y": y}


@backward
def sigmoid_backward(dy: Array, c: Cache) -> Array:
    return dy * c["y"] * (1 - c["y"])


def logistic(x: Array) -> Array:
    e = np.abs(x)
    np.exp(np.negative(e, out=e), out=e)
    y = np.where(x < 0, e, 1)
    e += 1
    return np.divide(y, e, out=y)


@pair("(...,d),(...,d)->(...,d)")
def multiply(a: Array, b: Array) -> tuple[Array, Cache]:
    """y = a∘b, both of one shape: what a gate lets through (arXiv 2002.05202, eq. 5)."""
    return a * b, {"a": a, "b": b}


@backward
def multiply_backward(dy: Array, c: Cache) -> tuple[Array, Array]:
    return dy * c["b"], dy * c["a"]


# ---- Dropout ---------------------------------------------------------------------------------------------------------
@pair("(t,d)->(t,d)", keep="(t,d)?", rate=0.25)
def dropout(x: Array, *, keep: Array | None, rate: float) -> tuple[Array, Cache]:
    """y = x∘keep/(1 - rate), keep 0 or 1 and drawn outside; without a mask y = x (Srivastava et al. 2014, inverted)."""
    return (x if keep is None else kernels.dropped(x, keep, _kept(rate))), {"keep": keep, "rate": rate}


@backward
def dropout_backward(dy: Array, c: Cache) -> Array:
    return dy if c["keep"] is None else kernels.dropped(dy, c["keep"], _kept(c["rate"]))


def dropout_multiplier(keep: Array, rate: float, dtype: np.dtype) -> Array:
    """keep/(1 - rate); all zero at rate 1."""
    return keep.astype(dtype) * dtype.type(_kept(rate))


def _kept(rate: float) -> float:
    """What a kept entry is multiplied by."""
    return 1 / (1 - rate) if rate < 1 else 0
