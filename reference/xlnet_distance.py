"""[sin | cos] of a distance d in XLNet, as far as `far` goes where it is above 0; backward: the other way.

Angles d / 10000^(2i/width); like: a number whose kind the constants have. Yang et al. 2019 (1906.08237), appendix A.2,
and the released code; SPEC XLN-ATT.
"""

from .scalars import constant, cos, exp, log, sin


def xlnet_distance(d, width, far, backward, like):
    d = max(-far, min(d, far)) if far > 0 else d
    d = -d if backward else d
    angles = [d * exp(-log(constant("10000", like)) * 2 * i / width) for i in range(width // 2)]
    return [sin(a) for a in angles] + [cos(a) for a in angles]
