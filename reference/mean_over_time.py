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


def mean_over_time_backward(dy, x, *, weights=None):
    """From y = sum_t w_t x_t / sum w: dx_t = dy w_t / sum w, 0 where no token has a weight."""
    weights = [[1] * len(tokens) for tokens in x] if weights is None else weights
    return {"x": [[[d * w / sum(own) if sum(own) else 0 * d for d in slope] for w in own]
                  for slope, own in zip(dy, weights, strict=True)]}  # fmt: skip
