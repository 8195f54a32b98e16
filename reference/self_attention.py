"""Multi-head self-attention: W_o [head_1 ... head_h] + b_o, head_i = attention(q_i, k_i, v_i).

x (..., t, D), p {query, key, value, output}, bias broadcast to (..., h, t, s) -> (..., t, D). Head i owns the
entries i K ... (i + 1) K - 1 of q, k and v, K = D / heads, and of the concatenation. past {key, value}: keys and values
(..., h, s - t, K) of what stood before x, which come first.
Vaswani et al. 2017 (1706.03762), section 3.2.2; SPEC BERT-ATT.
"""

from .attention import attention
from .linear import linear
from .lists import each


def self_attention(x, p, heads, bias=None, scale=None, past=None):
    def split(rows):  # (t, D) -> (h, t, K)
        size = len(rows[0]) // heads
        return [[row[i * size:(i + 1) * size] for row in rows] for i in range(heads)]

    def merge(parts):  # (h, t, K) -> (t, D)
        return [[a for part in row for a in part] for row in zip(*parts, strict=True)]

    q, k, v = (each(2, split, linear(x, **p[name])) for name in ("query", "key", "value"))
    if past is not None:
        k, v = (each(2, lambda a, b: a + b, past[name], new) for name, new in (("key", k), ("value", v)))
    return linear(each(3, merge, attention(q, k, v, bias=bias, scale=scale)), **p["output"])
