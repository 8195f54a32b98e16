"""Text in pieces: blocks with what stands beside them, and tokens that are overwritten."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(2,h,7,k)->(n,h,w,k)", size=2, beside=3, rate=2)
def blocks(x: Array, *, size: int, beside: int = 0, rate: int = 1) -> tuple[Array, Cache]:
    """Text in blocks of `size` tokens, with `beside` more on either side: x (B, H, T, K) -> y (B·R·N, H, W, K), where R
    is the rate, N = ⌈⌈T/R⌉/size⌉ and W = size + 2·beside (arXiv 2004.05150, section 3.2).

    y[(b·R + r)·N + n, h, c] = x[b, h, R·(n·size + c - beside) + r], 0 where there is no such token: at a rate above 1
    tokens so far apart are neighbours, those of one remainder r after those of another.
    """
    y = kernels.blocked(x, size, beside, rate)
    return y, {"shape": x.shape, "size": size, "beside": beside, "rate": rate}


@backward
def blocks_backward(dy: Array, c: Cache) -> Array:
    # a token stands in several windows: dx is the sum
    rows, _, length, _ = c["shape"]
    return kernels.unblocked(dy, rows, length, c["size"], c["beside"], c["rate"])


@pair("(8,h,3,k)->(2,h,t,k)", length=9, rate=2)
def unblocked(x: Array, *, length: int, rate: int = 1) -> tuple[Array, Cache]:
    """The text that stands in blocks without neighbours: x (B·R·N, H, size, K) -> y (B, H, T, K), T the length, N the
    least number of blocks for it; y is what `blocks` makes x of.
    """
    size = x.shape[2]
    rows = len(x) // (rate * -(-length // (rate * size)))
    return kernels.unblocked(x, rows, length, size, 0, rate), {"size": size, "rate": rate}


@backward
def unblocked_backward(dy: Array, c: Cache) -> Array:
    return kernels.blocked(dy, c["size"], 0, c["rate"])


@pair("(b,t,d),(b,m,d)->(b,t,d)", slots="(b,t)<m", mask="(b,t)?")
def overwritten(x: Array, rows: Array, *, slots: Array, mask: Array) -> tuple[Array, Cache]:
    """y[b, t] = rows[b, slots[b, t]] where the mask is 1, else x[b, t]; x (B, T, D), rows (B, M, D), slots and mask
    (B, T).
    """
    mask = mask.astype(bool)[..., None]
    y = np.where(mask, np.take_along_axis(rows, slots[..., None], 1), x)
    return y, {"slots": slots, "mask": mask, "shape": rows.shape}


@backward
def overwritten_backward(dy: Array, c: Cache) -> tuple[Array, Array]:
    b, m, d = c["shape"]
    flat, taken = c["slots"] + np.arange(b)[:, None] * m, c["mask"][..., 0]
    drows = kernels.scatter_add(flat[taken], dy[taken], b * m).reshape(b, m, d)
    return np.where(c["mask"], 0, dy), drows
