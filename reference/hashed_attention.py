"""Self-attention by hashing: queries of x, keys that are queries divided by the root of their mean square + 1e-6.

x (b, t, D) -> (b, t, D), p {query, value, output} without biases; width of one head; rotations and factors as in
`hash_buckets`; known: buckets in their place; all else as in `lsh_attention`.
Kitaev et al. 2020 (2001.04451), section 2; SPEC REFORMER-ATT.
"""

from .hash_buckets import hash_buckets
from .linear import linear
from .lists import each
from .lsh_attention import lsh_attention
from .merge_heads import merge_heads
from .rms_norm import rms_norm
from .scalars import constant
from .split_heads import split_heads


def hashed_attention(x, p, width, rotations=None, factors=None, known=None, mask=None, chunk=1, **given):
    heads = len(p["query"]["weight"]) // width
    q, v = (split_heads(linear(x, **p[name]), heads=heads) for name in ("query", "value"))
    k = each(1, lambda row: rms_norm(row, [1] * width, eps=constant("1e-6", row[0])), q)
    if len(x[0]) <= chunk:
        known = each(2, lambda rows: [[0] * len(rows)], q)
    elif known is None:
        full = mask is None or all(bit for row in mask for bit in row)
        known = hash_buckets(q, rotations, factors, None if full else mask)
    y = lsh_attention(q, k, v, buckets=known, chunk=chunk, mask=mask, **given)
    return linear(merge_heads(y), **p["output"])
