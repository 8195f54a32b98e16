"""Pooler: tanh(W x_0 + b), x_0 the vector at [CLS]. x (..., t, D) -> (..., D). SPEC BERT-POOL."""

from .linear import linear
from .lists import each
from .tanh import tanh


def pooler(x, p):
    return tanh(linear(each(2, lambda rows: rows[0], x), **p))
