"""The text that stands in blocks: token t of a row is found in the block that has its place.

x (b * rate * n, h, size, k) -> (b, h, length, k), the inverse of `blocks` without neighbours.
Beltagy et al. 2020 (2004.05150), section 3.2; SPEC OP-PIECE.
"""

from .blocks import blocks, placed


def unblocked(x, length, rate=1):
    size = len(x[0][0])
    rows = len(x) // len(placed(1, length, size, 0, rate))
    text = [[[None] * length for _ in x[0]] for _ in range(rows)]
    for block, (row, places) in zip(x, placed(rows, length, size, 0, rate), strict=True):
        for tokens, head in zip(block, text[row], strict=True):
            for token, t in zip(tokens, places, strict=True):
                if t < length:
                    head[t] = token
    return text


def unblocked_backward(dy, x, length, rate=1):
    """Each place of a block is one token's, or nobody's, whose slope is 0."""
    return {"x": blocks(dy, len(x[0][0]), 0, rate)}
