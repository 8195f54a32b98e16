"""Heads side by side: y[t][h K + k] = x[h][t][k]; x (b, h, t, K) -> (b, t, H K), the inverse of split_heads."""


def merge_heads(x):
    return [[[entry for head in heads for entry in head[t]] for t in range(len(heads[0]))] for heads in x]
