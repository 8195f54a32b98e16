"""Local attention: each query sees the keys of its own chunk and of those about it (`neighbours`).

x (b, t, D) -> (b, t, D), p {query, key, value, output} without biases; width of one head; mask (b, t); dropout
(b, h, t / chunk, chunk, keys). Where all are one chunk there are no others. What a token may not see is forbidden.
Kitaev et al. 2020 (2001.04451), section 5 (local attention layers of the release); SPEC REFORMER-ATT.
"""

from .attention import attention
from .linear import linear
from .merge_heads import merge_heads
from .neighbours import neighbours
from .split_heads import split_heads

FORBID = -(10**38)


def local_attention(x, p, width, chunk, before, after, causal, mask=None, dropout=None):
    length, heads = len(x[0]), len(p["query"]["weight"]) // width
    size = {"chunk": min(chunk, length), **({"before": before, "after": after} if length > chunk else
                                            {"before": 0, "after": 0})}
    q, k, v = (split_heads(linear(x, **p[name]), heads=heads) for name in ("query", "key", "value"))
    places = neighbours([[[[t] for t in range(length)]]], **size)[0][0]

    def allowed(b, t, key):
        return (mask is None or mask[b][key]) and not (causal and key > t)

    def head(b, rows, keys, values, factors):
        found = []
        for n, about in enumerate(places):
            own = range(n * size["chunk"], (n + 1) * size["chunk"])
            bias = [[0 if allowed(b, t, key) else FORBID for (key,) in about] for t in own]
            given = {"bias": bias, "dropout": factors and factors[n]}
            found += attention([rows[t] for t in own], keys[n], values[n], **given)
        return found

    keys, values = neighbours(k, **size), neighbours(v, **size)
    y = [[head(b, q[b][h], keys[b][h], values[b][h], dropout and dropout[b][h]) for h in range(heads)]
         for b in range(len(x))]
    return linear(merge_heads(y), **p["output"])
