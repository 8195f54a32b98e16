"""The largest of each entry over the tokens that are there: x (b, t, d), mask (b, t) or none -> (b, d).

0 where none is there. Kim 2014 (1408.5882), section 2; SPEC OP-MAX.
"""


def max_over_time(x, *, mask=None):
    pooled = []
    for row, tokens in enumerate(x):
        there = [token for t, token in enumerate(tokens) if mask is None or mask[row][t]]
        pooled.append([max(column) for column in zip(*there, strict=True)] if there else [0 * a for a in tokens[0]])
    return pooled


def max_over_time_backward(dy, x, *, mask=None):
    """The largest moves y alone: it gets dy, the first of equals; all others get 0."""
    dx = [[[0 * a for a in token] for token in tokens] for tokens in x]
    for b, tokens in enumerate(x):
        there = [t for t in range(len(tokens)) if mask is None or mask[b][t]]
        for i, d in enumerate(dy[b]):
            if there:
                dx[b][max(there, key=lambda t, i=i, tokens=tokens: tokens[t][i])][i] += d
    return {"x": dx}
