"""Set Transformer's ISAB(x) = MAB(x, H), H = MAB(I, x), I the points (m, D'); x (b, t, D) -> (b, t, D').

p {points: {weight}, induce, read}, the two as set_attention takes them; seen (b, t): what is no element is read by no
point. Lee et al. 2019 (1810.00825), eq. 9 and 10; SPEC SET-ENC.
"""

from .set_attention import set_attention


def induced_attention(x, p, seen=None, **given):
    h = set_attention([p["points"]["weight"]] * len(x), x, p["induce"], seen=seen, **given)
    return set_attention(x, h, p["read"], **given)
