"""Pooler: tanh(W x_0 + b), x_0 the vector at [CLS]. x (..., t, D) -> (..., D). SPEC BERT-POOL."""

from .linear import linear, linear_backward
from .lists import each
from .slopes import zeros
from .tanh import tanh, tanh_backward


def pooler(x, p):
    return tanh(linear(each(2, lambda rows: rows[0], x), **p))


def pooler_backward(dy, x, p):
    """The slope of tanh, then of the linear map; only the first vector of each text has one."""
    first = each(2, lambda rows: rows[0], x)
    slopes = linear_backward(tanh_backward(dy, linear(first, **p))["x"], first, **p)

    def put(rows, slope):  # at the first token, 0 elsewhere
        if isinstance(rows[0][0], list):
            return [put(*parts) for parts in zip(rows, slope, strict=True)]
        return [slope, *zeros(rows[1:])]

    return {"x": put(x, slopes.pop("x")), "p": slopes}
