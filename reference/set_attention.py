"""Set Transformer's MAB(x, y): h = LN(Q + attention(Q, K, V)), LN(h + relu(h W^T + b)); norms only where p has them.

x (b, t, D), y (b, s, E); p {attention: {query, key, value, norm}, feed_forward: {out, norm}}; width of one head; seen
(b, s) of y; scale 1 / sqrt(width) unless given. Lee et al. 2019 (1810.00825), eq. 6 and 7; SPEC OP-PMA.
"""

from .attention import attention
from .layer_norm import layer_norm
from .linear import linear
from .lists import each
from .merge_heads import merge_heads
from .relu import relu
from .split_heads import split_heads


def set_attention(x, y, p, width, seen=None, scale=None, eps=1e-5):
    def added(a, b):
        return each(0, lambda one, other: one + other, a, b)

    def normed(h, part):
        return layer_norm(h, **part["norm"], eps=eps) if "norm" in part else h

    own, last = p["attention"], p["feed_forward"]
    heads = len(own["query"]["weight"]) // width
    q, k, v = (split_heads(linear(z, **own[n]), heads=heads) for n, z in (("query", x), ("key", y), ("value", y)))
    bias = seen and [[[[0 if bit else -(10**38) for bit in row]]] for row in seen]
    h = normed(merge_heads(added(q, attention(q, k, v, bias=bias, scale=scale))), own)
    return normed(added(h, relu(linear(h, **last["out"]))), last)
