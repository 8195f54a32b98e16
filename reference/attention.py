"""Scaled dot-product attention: y = (dropout * softmax(scale q k^T + bias)) v, scale = 1 / sqrt(K).

q (..., h, t, K), k and v (..., h, s, K) -> (..., h, t, K); bias and dropout broadcast to (..., h, t, s).
A bias of -1e30 or below forbids a key: probability 0; a row that forbids every key is uniform over all of them.
Vaswani et al. 2017 (1706.03762), eq. 1; SPEC OP-ATT.
"""

from .lists import broadcast, dot, each, shape
from .numbers import constant, sqrt
from .softmax import softmax

FORBIDDEN = -1e30  # float32 and float64 lose a score beside this, so that only "forbidden" is left of it


def attention(q, k, v, *, bias=None, dropout=None, scale=None):
    def probabilities(query, keys, biases):
        if all(b <= FORBIDDEN for b in biases):
            return softmax([0 * query[0] for _ in keys])
        factor = 1 / sqrt(constant(str(len(query)), query[0])) if scale is None else scale
        return softmax([factor * dot(query, key) + b for key, b in zip(keys, biases, strict=True)])

    def mixture(weights, values):
        return [dot(weights, column) for column in zip(*values, strict=True)]

    def head(queries, keys, values, biases, factors):
        weights = [probabilities(query, keys, row) for query, row in zip(queries, biases, strict=True)]
        return [mixture(row, values) for row in each(0, lambda w, f: w * f, weights, factors)]

    to = [*shape(q)[:-1], shape(k)[-2]]
    bias, dropout = (broadcast(unit if given is None else given, to) for given, unit in ((bias, 0), (dropout, 1)))
    return each(2, head, q, k, v, bias, dropout)
