"""Scores of queries for keys: y_ts = scale q_t . k_s; q (b, h, t, K), k (b, h, s, K) -> (b, h, t, s).

k may have one row for all b. Vaswani et al. 2017 (1706.03762), eq. 1; Dai et al. 2019 (1901.02860), section 3.3;
SPEC OP-SCORE.
"""

from .lists import dot
from .slopes import zeros


def scores(q, k, scale):
    rows = k * len(q) if len(k) == 1 else k
    return [[[[scale * dot(a, b) for b in keys] for a in queries] for queries, keys in zip(*heads, strict=True)]
            for heads in zip(q, rows, strict=True)]


def scores_backward(dy, q, k, scale):
    """From y_ts = scale q_t . k_s: dq_t = scale sum_s dy_ts k_s, dk_s = scale sum_t dy_ts q_t; where k has one row
    for all b, its gradients add up over them.
    """
    dq, dk = zeros(q), zeros(k)
    for b, heads in enumerate(dy):
        own = b if len(k) > 1 else 0
        for h, rows in enumerate(heads):
            for t, row in enumerate(rows):
                for s, d in enumerate(row):
                    for i in range(len(q[b][h][t])):
                        dq[b][h][t][i] += scale * d * k[own][h][s][i]
                        dk[own][h][s][i] += scale * d * q[b][h][t][i]
    return {"q": dq, "k": dk}
