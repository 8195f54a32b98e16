"""Heads apart: y[h][t][k] = x[t][h K + k], K = D / heads; x (b, t, D) -> (b, h, t, K).

Vaswani et al. 2017 (1706.03762), section 3.2.2; SPEC BERT-ATT.
"""


def split_heads(x, heads):
    size = len(x[0][0]) // heads
    return [[[row[h * size:(h + 1) * size] for row in rows] for h in range(heads)] for rows in x]
