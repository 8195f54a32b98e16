"""Softmax and its logarithm."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(...,d)->(...,d)")
def softmax(x: Array) -> tuple[Array, Cache]:
    """y = exp(x - max x)/Σ over the last axis; a row of -inf alone is uniform, never NaN."""
    (x_rows,) = kernels.rows(x)
    y = kernels.softmax(x_rows, np.empty_like(x_rows)).reshape(x.shape)
    return y, {"y": y}


@backward
def softmax_backward(dy: Array, c: Cache) -> Array:
    return kernels.softmax_slope(*kernels.rows(dy, c["y"])).reshape(dy.shape)  # y∘(dy - Σ dy∘y)


@pair("(...,d)->(...,d)")
def log_softmax(x: Array) -> tuple[Array, Cache]:
    """y = x - log Σ exp x over the last axis."""
    (x_rows,) = kernels.rows(x)
    top, rest = kernels.log_sum_exp(x_rows)
    y = (x_rows - top - rest).reshape(x.shape)
    return y, {"y": y}


@backward
def log_softmax_backward(dy: Array, c: Cache) -> Array:
    return dy - np.exp(c["y"]) * dy.sum(-1, keepdims=True)
