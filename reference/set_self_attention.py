"""Set Transformer's SAB(x) = MAB(x, x), x (b, t, D); p and the rest as set_attention.

Lee et al. 2019 (1810.00825), eq. 8; SPEC SET-ENC.
"""

from .set_attention import set_attention


def set_self_attention(x, p, **given):
    return set_attention(x, x, p, **given)
