"""Multi-head attention to a memory: queries of x (..., t, D), keys and values of memory (..., s, E) -> (..., t, D).

p {query, key, value, output}; bias, dropout and scale as in attention. Heads as in self_attention.
Vaswani et al. 2017 (1706.03762), section 3.2.3; SPEC OP-CROSS.
"""

from .attention import attention
from .linear import linear
from .lists import each


def cross_attention(x, memory, p, heads, bias=None, dropout=None, scale=None):
    def split(rows):  # (t, D) -> (h, t, K)
        size = len(rows[0]) // heads
        return [[row[i * size:(i + 1) * size] for row in rows] for i in range(heads)]

    def merge(parts):  # (h, t, K) -> (t, D)
        return [[a for part in row for a in part] for row in zip(*parts, strict=True)]

    q = each(2, split, linear(x, **p["query"]))
    k, v = (each(2, split, linear(memory, **p[name])) for name in ("key", "value"))
    return linear(each(3, merge, attention(q, k, v, bias=bias, dropout=dropout, scale=scale)), **p["output"])
