"""A weight that learns along few directions: W + s B A. weight (o, i), p {down (r, i), up (o, r), scale (1)} -> (o, i).

Hu et al. 2021 (2106.09685), section 4.1; SPEC TRANS-LORA.
"""

from .lists import dot


def low_rank(weight, p):
    down, up, scale = (p[name]["weight"] for name in ("down", "up", "scale"))
    columns = list(zip(*down, strict=True))
    return [[w + scale[0] * dot(b, a) for w, a in zip(row, columns, strict=True)]
            for row, b in zip(weight, up, strict=True)]
