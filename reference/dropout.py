"""Inverted dropout: y = x keep / (1 - rate), the keep-mask (0 or 1, the shape of x) drawn outside.

Srivastava et al. 2014, section 10 (the scaled form); rate 1 gives zeros. SPEC OP-DROP.
"""

from .lists import each


def dropout(x, *, keep, rate):
    return each(0, lambda a, k: a * k / (1 - rate) if k else 0 * a, x, keep)


def dropout_backward(dy, x, *, keep, rate):
    """From y = x keep / (1 - rate): dx = dy keep / (1 - rate), by the same mask."""
    return {"x": dropout(dy, keep=keep, rate=rate)}
