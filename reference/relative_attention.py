"""Attention by content and distance: score of i for j = ((q_i + u) . k_j + (q_i + v) . W R_(i-j)) / sqrt(K).

x (b, t, D) stands at the last t places of source (b, s, D); p {query, key, value, output, position {weight W, bias v},
content {bias u}}, no other biases; places: R, a row for each distance from s - 1 down to 0 or below; bias broadcast to
(b, h, t, s): the mask. Dai et al. 2019 (1901.02860), section 3.3, the four terms of A^rel; SPEC TXL-ATT.
"""

from .attention import attention
from .linear import linear
from .lists import broadcast, each, shape
from .relative_shift import relative_shift
from .scalars import constant, sqrt
from .scores import scores


def relative_attention(x, source, p, places, width, bias):
    def split(rows):  # (t, D) -> (h, t, K)
        return [[row[i:i + width] for row in rows] for i in range(0, len(rows[0]), width)]

    def merge(parts):  # (h, t, K) -> (t, D)
        return [[a for part in row for a in part] for row in zip(*parts, strict=True)]

    def plus(heads, added):  # (h, t, K), (h, K)
        return [[[a + b for a, b in zip(row, own, strict=True)] for row in rows]
                for rows, own in zip(heads, added, strict=True)]

    scale = 1 / sqrt(constant("1", x[0][0][0]) * width)
    q = each(2, split, linear(x, p["query"]["weight"]))
    k, v = (each(2, split, linear(source, p[name]["weight"])) for name in ("key", "value"))
    r = [split(linear(places, p["position"]["weight"]))]
    by_distance = scores([plus(row, p["position"]["bias"]) for row in q], r, scale)
    shifted = relative_shift(by_distance, len(source[0]))
    both = each(1, lambda *rows: [a + b for a, b in zip(*rows, strict=True)], shifted, broadcast(bias, shape(shifted)))
    y = attention([plus(row, p["content"]["bias"]) for row in q], k, v, bias=both, scale=scale)
    return linear(each(3, merge, y), p["output"]["weight"])
