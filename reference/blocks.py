"""Text in blocks of `size` tokens, with `beside` more on either side, 0 where there are none; tokens `rate` apart.

x (b, h, t, k) -> (b * rate * n, h, size + 2 beside, k), n blocks for each row and remainder: block n of the remainder r
has the tokens rate * (n size + c - beside) + r. Beltagy et al. 2020 (2004.05150), section 3.2; SPEC OP-PIECE.
"""


def blocks(x, size, beside=0, rate=1):
    return [[[head[t] if 0 <= t < len(head) else [0 * a for a in head[0]] for t in places] for head in x[row]]
            for row, places in placed(len(x), len(x[0][0]), size, beside, rate)]  # fmt: skip


def blocks_backward(dy, x, size, beside=0, rate=1):
    """A token stands in its own block and in windows of others: dx is the sum of their slopes."""
    dx = [[[[0 * a for a in token] for token in head] for head in row] for row in x]
    for block, (row, places) in zip(dy, placed(len(x), len(x[0][0]), size, beside, rate), strict=True):
        for slopes, head in zip(block, dx[row], strict=True):
            for slope, t in zip(slopes, places, strict=True):
                if 0 <= t < len(head):
                    head[t] = [a + d for a, d in zip(head[t], slope, strict=True)]
    return {"x": dx}


def placed(rows, length, size, beside, rate):
    """(row, the places of its tokens) of each block, in order."""
    each = (length + rate - 1) // rate
    return [(row, [rate * (n * size + c - beside) + r for c in range(size + 2 * beside)])
            for row in range(rows) for r in range(rate) for n in range((each + size - 1) // size)]  # fmt: skip
