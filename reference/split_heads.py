"""Heads apart: y[h][t][k] = x[t][h K + k], K = D / heads; x (b, t, D) -> (b, h, t, K).

Vaswani et al. 2017 (1706.03762), section 3.2.2; SPEC BERT-ATT.
"""


def split_heads(x, heads):
    size = len(x[0][0]) // heads
    return [[[row[h * size:(h + 1) * size] for row in rows] for h in range(heads)] for rows in x]


def split_heads_backward(dy, x, heads):
    """Each number has one place on either side: the gradient goes back to it, dx[t][h K + k] = dy[h][t][k]."""
    return {"x": [[[d for head in row for d in head[t]] for t in range(len(row[0]))] for row in dy]}
