"""The weighted mean over tokens: x (b, t, d), weights (b, t) or none, which is 1 each -> (b, d).

0 where no token has a weight. SPEC OP-MEAN.
"""

from .lists import dot


def mean_over_time(x, *, weights=None):
    weights = [[1] * len(tokens) for tokens in x] if weights is None else weights
    return [
        [dot(w, column) / sum(w) if sum(w) else 0 * column[0] for column in zip(*tokens, strict=True)]
        for tokens, w in zip(x, weights, strict=True)
    ]
