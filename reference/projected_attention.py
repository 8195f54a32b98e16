"""Projected attention: gelu(V_D SA(V_E x)). x (..., t, D), p {down (A, D), query, key, value (A, A), up (D, A)}.

SA is self-attention whose output projection is the identity; bias is that of the scores.
Stickland and Murray 2019 (1902.02671), section 3, with the released code's outer GELU; SPEC TRANS-PAL.
"""

from .gelu import gelu
from .linear import linear
from .self_attention import self_attention


def projected_attention(x, p, heads, bias=None):
    z, size = linear(x, **p["down"]), len(p["down"]["weight"])
    same = {"weight": [[int(i == j) for j in range(size)] for i in range(size)], "bias": [0] * size}
    return gelu(linear(self_attention(z, {**p, "output": same}, heads, bias), **p["up"]))
