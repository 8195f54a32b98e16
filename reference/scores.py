"""Scores of queries for keys: y_ts = scale q_t . k_s; q (b, h, t, K), k (b, h, s, K) -> (b, h, t, s).

k may have one row for all b. Vaswani et al. 2017 (1706.03762), eq. 1; Dai et al. 2019 (1901.02860), section 3.3;
SPEC OP-SCORE.
"""

from .lists import dot


def scores(q, k, scale):
    rows = k * len(q) if len(k) == 1 else k
    return [[[[scale * dot(a, b) for b in keys] for a in queries] for queries, keys in zip(*heads, strict=True)]
            for heads in zip(q, rows, strict=True)]
