"""Sinusoids of distances: all sines of d / 10000^(2i/D), then all cosines; (distances, D).

clamp: farther distances, either way, count as this one; 0: none does. like: a number of the type to compute in.
Dai et al. 2019 (1901.02860), section 3.3, in the order of the released code; SPEC OP-SHIFT.
"""

from .scalars import constant, cos, exp, log, sin


def distance_sinusoids(distances, width, like, clamp=0):
    one = constant("1", like)
    rates = [exp(-log(10000 * one) * 2 * i / width) for i in range((width + 1) // 2)]
    rows = []
    for distance in distances:
        angle = max(-clamp, min(clamp, distance)) if clamp > 0 else distance
        rows.append(([sin(angle * rate) for rate in rates] + [cos(angle * rate) for rate in rates])[:width])
    return rows
