"""Heads side by side: y[t][h K + k] = x[h][t][k]; x (b, h, t, K) -> (b, t, H K), the inverse of split_heads."""


def merge_heads(x):
    return [[[entry for head in heads for entry in head[t]] for t in range(len(heads[0]))] for heads in x]


def merge_heads_backward(dy, x):
    """Each number has one place on either side: dx[h][t][k] = dy[t][h K + k]."""
    size = len(x[0][0][0])
    return {"x": [[[row[h * size:(h + 1) * size] for row in rows] for h in range(len(x[0]))] for rows in dy]}
