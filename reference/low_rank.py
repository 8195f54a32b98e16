"""A weight that learns along few directions: W + s B A. weight (o, i), down (r, i), up (o, r), scale (1) -> (o, i).

Hu et al. 2021 (2106.09685), section 4.1; SPEC OP-LORA.
"""

from .lists import dot, leaves


def low_rank(weight, down, up, scale):
    columns = list(zip(*down, strict=True))
    return [[w + scale[0] * dot(b, a) for w, a in zip(row, columns, strict=True)]
            for row, b in zip(weight, up, strict=True)]


def low_rank_backward(dy, weight, down, up, scale):
    """From y_oi = w_oi + s sum_r up_or down_ri: dw = dy; ddown_ri = s sum_o up_or dy_oi; dup_or = s sum_i dy_oi
    down_ri; ds = sum_oi dy_oi (up down)_oi. In arrays: ddown = s up^T dy, dup = s dy down^T.
    """
    columns = [[*column] for column in zip(*dy, strict=True)]
    ddown = [[scale[0] * dot(own, column) for column in columns] for own in zip(*up, strict=True)]
    dup = [[scale[0] * dot(row, other) for other in down] for row in dy]
    products = [dot(b, a) for b in up for a in zip(*down, strict=True)]
    return {"weight": dy, "down": ddown, "up": dup, "scale": [dot(leaves(dy), products)]}
