"""Blocks of families that see pictures: a picture as a sequence of patches, images of characters by a convolution,
attention within windows of a grid.
"""

import functools
import math
from typing import Any

import numpy as np

from minibert import layers, ops, relative
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

APART = "-100"  # what is added to the score of a cell that comes from another region (`ops.masking`)


def grid(pixels: tuple[int, ...], size: int) -> tuple[int, int]:
    """How many patches of that size a picture (…, Y, X) has, down and across; InputError where that is no whole
    number.
    """
    height, width = pixels[-2:]
    fits = height % size == width % size == 0 < height * width
    require(fits, f"pixel_values: {height} by {width} pixels, which are no whole patches of {size}: cut or pad them")
    return height // size, width // size


@block
def patch_embeddings(
    x: Array, p: Tree, token: Array | None = None, *, size: int, hidden: Array | None = None, eps: float = 1e-5,
    keep: Array | None = None, rate: float = 0.0,
) -> tuple[Array, Tree]:  # fmt: skip
    """Pictures x (B, C, Y, X), which are data, as what enters the first layer, (B, N, D), or (B, 1 + N, D) with a class
    token (arXiv 2010.11929, eq. 1): Drop([class; e] + positions), e = LN(patches Wᵀ + b).

    p: patch (D, C·P·P), and what there is of norm, class (1, D), position, a row for each patch of a square picture,
    the class's first, taken to another size where the picture has one. hidden: bits (B, N), 1 = the mask token (1, D)
    in the place of e.
    """
    c: Tree = {"hidden": hidden}
    rows, columns = grid(x.shape, size)
    cut, c["patches"] = ops.patches(x.astype(p["patch"]["weight"].dtype, copy=False), size=size)
    h, c["patch"] = ops.linear(cut, **p["patch"])
    if "norm" in p:
        h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    if hidden is not None:
        fits = hidden.shape == h.shape[:2]
        require(fits, f"bool_masked_pos: shape {hidden.shape}, but the pictures have {h.shape[:2]} patches")
        require(token is not None, "bool_masked_pos: these parameters have no mask token; it comes with masked patches")
        h = np.where(hidden.astype(bool)[..., None], token, h)
    c["first"] = first = len(p["class"]["weight"]) if "class" in p else 0
    if first:
        h = np.concatenate([np.broadcast_to(p["class"]["weight"], (len(h), 1, h.shape[-1])), h], 1)
    if "position" in p:
        table = p["position"]["weight"]
        if rows != columns or rows * columns + first != len(table):
            own, c["resized"] = ops.resized(table[first:], rows=rows, columns=columns)
            table = np.concatenate([table[:first], own])
        c["placed"] = True
        h = h + table
    y, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    return y, c


@block_backward
def patch_embeddings_backward(dy: Array, c: Tree) -> tuple[Any, ...]:
    """(dx, g), or (dx, g, dtoken) where something was hidden."""
    g: Tree = {}
    dh, first = ops.dropout_backward(dy, c["dropout"]), c["first"]
    if "placed" in c:
        dtable = dh.sum(0)
        if "resized" in c:
            dtable = np.concatenate([dtable[:first], ops.resized_backward(dtable[first:], c["resized"])])
        g["position"] = {"weight": dtable}
    if first:
        g["class"] = {"weight": dh[:, 0].sum(0)[None]}
        dh = dh[:, 1:]
    hidden = () if c["hidden"] is None else (c["hidden"].astype(bool)[..., None],)
    dtoken = [np.where(where, dh, 0).sum((0, 1))[None] for where in hidden]
    dh = np.ascontiguousarray(np.where(hidden[0], 0, dh) if hidden else dh)
    if "norm" in c:
        dh, g["norm"] = ops.layer_norm_backward(dh, c["norm"])
    dcut, g["patch"] = ops.linear_backward(dh, c["patch"])
    return ops.patches_backward(dcut, c["patches"]), g, *dtoken


# ---- Images of characters ------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=16)
def windows(size: int, kernel: int) -> Array:
    """(P·k·k,) the pixels of each k by k window of a picture of size by size, window by window; P = (size - k + 1)²."""
    cells = np.lib.stride_tricks.sliding_window_view(np.arange(size * size).reshape(size, size), (kernel, kernel))
    return cells.reshape(-1)


@block
def image_vectors(p: Tree, *, ids: Array, fonts: int, kernel: int) -> tuple[Array, Tree]:
    """(U, D): what a small convolution sees in the images in these rows, ids (U,): W m + b, m the largest of each of N
    filters relu(K w + b) over the k by k windows w of an image, all fonts together (a layer of Liu, Lu, Lo, Neubig
    2017, arXiv 1704.04859, section 3.1, pooled over the whole image).

    p: image (rows of fonts · size · size pixels, font by font), filter (N, k·k·fonts), map (D, N).
    """
    c: Tree = {}
    pixels, c["image"] = ops.embedding(**p["image"], ids=ids[None])  # (1, U, F·S·S)
    cells = pixels.reshape(len(ids), fonts, pixels.shape[-1] // fonts).swapaxes(1, 2)
    at = windows(math.isqrt(cells.shape[1]), kernel)
    seen, c["windows"] = ops.gather(cells, positions=np.broadcast_to(at, (len(ids), len(at))))
    c["seen"], c["pixels"] = seen.shape, pixels.shape  # (U, P·k·k, F)
    h, c["filter"] = ops.linear(seen.reshape(len(ids), len(at) // kernel**2, kernel**2 * fonts), **p["filter"])
    h, c["act"] = ops.relu(h)
    h, c["max"] = ops.max_over_time(h)
    y, c["map"] = ops.linear(h, **p["map"])
    return y, c


@block_backward
def image_vectors_backward(dy: Array, c: Tree) -> Tree:
    g: Tree = {}
    dh, g["map"] = ops.linear_backward(dy, c["map"])
    dh = ops.relu_backward(ops.max_over_time_backward(dh, c["max"]), c["act"])
    dseen, g["filter"] = ops.linear_backward(dh, c["filter"])
    dcells = ops.gather_backward(dseen.reshape(c["seen"]), c["windows"])
    dpixels = np.ascontiguousarray(dcells.swapaxes(1, 2)).reshape(c["pixels"])
    return {"image": ops.embedding_backward(dpixels, c["image"]), **g}


# ---- Windows ---------------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=16)
def places(size: int) -> Array:
    """(M·M, M·M), which row of a table of (2M - 1)² holds where a query stands from a key: down, then across, each from
    1 - M on (arXiv 2103.14030, eq. 4; the release's `relative_position_index`).
    """
    down, across = np.divmod(np.arange(size * size), size)
    far = [at[:, None] - at + size - 1 for at in (down, across)]
    return far[0] * (2 * size - 1) + far[1]


@functools.lru_cache(maxsize=16)
def together(height: int, width: int, size: int, shift: int) -> Array:
    """(W, M·M, M·M) bits: which cells of a window that is cut from a rolled grid stood together before (arXiv
    2103.14030, figure 4): those of one of three regions either way, which begin at 0, at the last window, and at what
    came round.
    """
    height, width = (-(-length // size) * size for length in (height, width))
    down, across = (
        (np.arange(length) >= length - size).astype(int) + (np.arange(length) >= length - shift)
        for length in (height, width)
    )
    regions = (3 * down[:, None] + across).reshape(height // size, size, width // size, size).swapaxes(1, 2)
    regions = regions.reshape(-1, size * size)
    return regions[:, :, None] == regions[:, None]


@block
def windowed_attention(
    x: Array, p: Tree, *, height: int, size: int, shift: int, width: int, dropout: Array | None = None,
    keep: Array | None = None, rate: float = 0.0, path: Array | None = None, path_rate: float = 0.0,
) -> tuple[Array, Tree]:  # fmt: skip
    """Self-attention of a grid x (B, Y·X, D) of Y = height within windows of M = size cells either way, the grid rolled
    by `shift` before and back behind (arXiv 2103.14030, section 3.2): softmax(q kᵀ/√K + bias) within each region.

    p: as in `layers.self_attention`, and relative_positions ((2M - 1)², H). width: K. dropout: of the probabilities
    (B·W, H, M·M, M·M). keep, rate: of what comes out, (B·W, M·M, D); path, path_rate: of whole rows, (B, 1, 1).
    """
    c: Tree = {}
    across, grids = x.shape[1] // height, {"size": size, "shift": shift}
    h, c["windows"] = ops.windows(x, height=height, **grids)
    bias, c["bias"] = relative.relative_bias(p["relative_positions"], buckets=places(size))
    seen = {"mask": np.tile(together(height, across, size, shift), (len(x), 1, 1))[:, None]} if shift else {}
    y, c["self"] = layers.self_attention(h, p, bias, width=width, masked=APART, dropout=dropout, **seen)
    y, c["dropout"] = ops.dropout(y, keep=keep, rate=rate)
    y, c["unwindowed"] = ops.unwindowed(y, height=height, width=across, **grids)
    y, c["path"] = ops.dropout(y, keep=None if path is None else np.broadcast_to(path, y.shape), rate=path_rate)
    return y, c


@block_backward
def windowed_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dh = ops.unwindowed_backward(ops.dropout_backward(dy, c["path"]), c["unwindowed"])
    dh, dbias, g = layers.self_attention_backward(ops.dropout_backward(dh, c["dropout"]), c["self"])
    g["relative_positions"] = relative.relative_bias_backward(dbias, c["bias"])
    return ops.windows_backward(dh, c["windows"]), g


@block
def patch_merging(x: Array, p: Tree, *, height: int, eps: float = 1e-5) -> tuple[Array, Tree]:
    """LN(squares of four cells) Wᵀ: a grid (B, Y·X, D) of Y = height at half the size, (B, ⌈Y/2⌉·⌈X/2⌉, 2D) (arXiv
    2103.14030, section 3.1). p: norm (4D), reduction (2D, 4D), without a bias. eps: torch's default, whatever the
    config says.
    """
    c: Tree = {}
    h, c["merged"] = ops.merged(x, height=height)
    h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    y, c["reduction"] = ops.linear(h, **p["reduction"])
    return y, c


@block_backward
def patch_merging_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["reduction"] = ops.linear_backward(dy, c["reduction"])
    dh, g["norm"] = ops.layer_norm_backward(dh, c["norm"])
    return ops.merged_backward(dh, c["merged"]), g


@block
def swin_layer(
    x: Array, p: Tree, *, heads: int, act: str, eps: float, keep: Array | None = None, rate: float = 0.0, **given: Any
) -> tuple[Array, Tree]:
    """One pre-norm layer over a grid x (B, Y·X, D): a = x + windowed_attention(LN(x)), y = a +
    Drop(feed_forward(LN(a))).

    keep, rate: of the feed-forward's residual; given: of `windowed_attention`, its own keep as `kept`.
    """
    c: Tree = {}
    given["keep"], own, last = given.pop("kept", None), p["attention"], p["feed_forward"]
    width = x.shape[-1] // heads

    def attend(n: Array) -> tuple[Array, Tree]:
        return windowed_attention(n, own, width=width, rate=rate, **given)

    def feed(a: Array) -> tuple[Array, Tree]:
        return layers.feed_forward(a, last, act=act)

    a, c["attention"] = layers.pre_norm(attend, x, own, eps=eps, keep=None, rate=0.0)
    y, c["feed_forward"] = layers.pre_norm(feed, a, last, eps=eps, keep=keep, rate=rate)
    return y, c


@block_backward
def swin_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    da, g["feed_forward"] = layers.pre_norm_backward(layers.feed_forward_backward, dy, c["feed_forward"])
    dx, g["attention"] = layers.pre_norm_backward(windowed_attention_backward, da, c["attention"])
    return dx, g


def put(y: Array, size: int, pixels: tuple[int, ...]) -> Array:
    """Patches (B, N, C·P·P) as pictures of that shape (B, C, Y, X): what `ops.patches` cuts."""
    return ops.patches_backward.__wrapped__(y, {"shape": pixels, "size": size})


def cut(x: Array, size: int) -> Array:
    """Pictures (B, C, Y, X) as patches (B, N, C·P·P), of what is data: nobody observes it."""
    return ops.patches.__wrapped__(x, size=size)[0]

