"""Attention of long texts: each token to a window about it, and a few tokens to all (Beltagy, Peters and Cohan 2020,
arXiv 2004.05150, section 3).

    window       i attends to j = i + d·m, m = -w … w, d the dilation, as far as they are there                      (1)
    global       some tokens are global: every token attends to them as well, none twice, in one softmax             (2)
                 they attend to all tokens, with a query, key and value projection of their own                      (3)

No array is (T, T): text is cut into blocks whose queries see their own block and w tokens on either side
(`ops.blocks`), so that scores are (T, G + 3w) at most, G the global tokens of a row. Which keys a query of a block may
see are bits.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert import kernels, layers, ops, tree
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


class Sight(NamedTuple):
    """Who sees whom, of rows of T tokens with at most G global ones: bits (B, T) of those that are there, ask, are keys
    of windows, are global; places (B, G) of the global ones, in order, held (B, G): which of these are in use; slots
    (B, T): where among them a global token stands.
    """

    there: Array
    asking: Array
    near: Array
    everywhere: Array
    places: Array
    held: Array
    slots: Array


def sight(there: Array, everywhere: Array) -> Sight:
    """The Sight of bits (B, T): what is there, and what is global; what is not there is not global."""
    there = there.astype(bool)
    everywhere = everywhere.astype(bool) & there
    count = everywhere.sum(1)
    held = np.arange(count.max(initial=0)) < count[:, None]
    places = np.argsort(~everywhere, axis=1, kind="stable")[:, : held.shape[1]]
    slots = np.maximum(everywhere.cumsum(1) - 1, 0)
    return Sight(there, there, there & ~everywhere, everywhere, places * held, held, slots)


class Blocks(NamedTuple):
    """How text is cut: tokens of a block, tokens beside it, tokens from one to the next, slots on either side."""

    size: int
    beside: int
    rate: int
    window: int

    @property
    def offsets(self) -> Array:
        """From each query of a block to each key of its window, (size, size + 2·beside)."""
        return np.arange(-self.beside, self.size + self.beside) - np.arange(self.size)[:, None]


def cut(length: int, window: int, rate: int) -> Blocks:
    """How a text of this length is cut for windows of so many tokens on either side; one block where they cover it."""
    count = -(-length // rate)
    whole = window >= count - 1
    return Blocks(count if whole else window, 0 if whole else window, rate, window)


def visible(seen: Sight, how: Blocks) -> Array:
    """Which keys a query sees, (B·R·N, 1, size, G + size + 2·beside): global tokens first, then those of its window; a
    query that does not ask sees none.
    """
    def bits(array: Array, beside: int) -> Array:
        return kernels.blocked(array[:, None, :, None], how.size, beside, how.rate)

    asking, keys = bits(seen.asking, 0), bits(seen.near, how.beside)
    window = keys.swapaxes(2, 3) & (abs(how.offsets) <= how.window)
    held = np.repeat(seen.held, len(window) // len(seen.held), 0)[:, None, None]
    return np.concatenate([np.broadcast_to(held, (*window.shape[:3], held.shape[3])), window], 3) & asking


def _in_blocks(factor: Array, seen: Sight, how: Blocks) -> Array:
    """What multiplies probabilities, from (B, H, T, 2w + 1), a number for each slot of a window, to the blocks' order:
    a global token j has slot j - i + w of query i, counted around.
    """
    slots = factor.shape[3]
    far = seen.places[:, None] - np.arange(factor.shape[2])[:, None] + how.window  # (B, T, G)
    columns = np.take_along_axis(factor, far[:, None] % slots, 3)
    own = kernels.blocked(factor, how.size, 0, how.rate)
    own = own[..., np.arange(how.size)[:, None], np.clip(how.offsets + how.window, 0, slots - 1)]
    return np.concatenate([kernels.blocked(columns, how.size, 0, how.rate), own], 3)


# ---- (1), (2) --------------------------------------------------------------------------------------------------------
def window_attention(
    q: Array, k: Array, v: Array, *held: Array, seen: Sight, window: int, rate: int = 1, dropout: Array | None = None
) -> tuple[Array, Tree]:
    """(1), (2): q, k, v (B, H, T, K) -> (B, H, T, K). held: keys and values (B, H, G, K) of global tokens, if any.

    window: w, of either side; rate: d. dropout: what multiplies the probabilities, (B, H, T, 2w + 1), slot m + w for
    key i + d·m; that of a global token is `_in_blocks`'. A token that is not there gets 0.
    """
    c: Tree = {"globals": held[0].shape[2] if held else 0, "rows": len(q), "reach": window}
    length, how = q.shape[2], cut(q.shape[2], window, rate)
    q, c["queries"] = ops.blocks(q, size=how.size, rate=rate)
    k, c["keys"] = ops.blocks(k, size=how.size, beside=how.beside, rate=rate)
    v, c["values"] = ops.blocks(v, size=how.size, beside=how.beside, rate=rate)
    if held:
        k, v = (np.concatenate([np.repeat(columns, len(q) // c["rows"], 0), own], 2)
                for columns, own in zip(held, (k, v), strict=True))  # fmt: skip
    given = {"mask": visible(seen, how), "masked": "zero"}
    given["dropout"] = None if dropout is None else _in_blocks(dropout, seen, how)
    y, c["attention"] = ops.attention(q, k, v, **given)
    y, c["unblocked"] = ops.unblocked(y, length=length, rate=rate)
    return y, c


def window_attention_backward(dy: Array, c: Tree) -> tuple[Array, ...]:
    """(dq, dk, dv), and slopes of the keys and values of global tokens, if any."""
    dq, dk, dv = ops.attention_backward(ops.unblocked_backward(dy, c["unblocked"]), c["attention"])
    dheld = []
    for d in (dk, dv) if c["globals"] else ():
        columns = d[:, :, : c["globals"]]
        dheld.append(columns.reshape(c["rows"], -1, *columns.shape[1:]).sum(1))  # every block had them
    dk = ops.blocks_backward(dk[:, :, c["globals"] :], c["keys"])
    dv = ops.blocks_backward(dv[:, :, c["globals"] :], c["values"])
    return ops.blocks_backward(dq, c["queries"]), dk, dv, *dheld


# ---- (3) -------------------------------------------------------------------------------------------------------------
def global_attention(
    x: Array, p: Tree, *, heads: int, seen: Sight, dropout: Array | None = None
) -> tuple[Array, Tree]:
    """(3): what the global tokens of x (B, T, D) take from all, (B, G, D); p: query, key, value. dropout: what
    multiplies the probabilities, (B, H, T): of key j for the global token at place t the number j - t, counted around.
    A place that is not in use is uniform over all tokens, and nobody reads it.
    """
    c: Tree = {}
    states, c["states"] = ops.gather(x, positions=seen.places)
    q, own = layers.projected(states, p, "query", heads=heads)
    c |= own
    k, own = layers.projected(x, p, "key", heads=heads)
    c |= own
    v, own = layers.projected(x, p, "value", heads=heads)
    c |= own
    if dropout is not None:
        at = (np.arange(x.shape[1]) - seen.places[..., None]) % x.shape[1]  # (B, G, T)
        dropout = np.take_along_axis(dropout[:, :, None], at[:, None], 3)
    mask = seen.held[:, None, :, None] & seen.there[:, None, None]
    y, c["attention"] = ops.attention(q, k, v, mask=mask, dropout=dropout)
    y, c["merge"] = ops.merge_heads(y)
    return y, c


def global_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g)."""
    g: Tree = {}
    dq, dk, dv = ops.attention_backward(ops.merge_heads_backward(dy, c["merge"]), c["attention"])
    dstates, g["query"] = layers.projected_backward(dq, c, "query")
    dx_key, g["key"] = layers.projected_backward(dk, c, "key")
    dx_value, g["value"] = layers.projected_backward(dv, c, "value")
    return kernels.add(dx_key, dx_value, ops.gather_backward(dstates, c["states"])), g


# ---- All of it -------------------------------------------------------------------------------------------------------
@block
def sliding_attention(
    x: Array, p: Tree, *, width: int, window: int, seen: Sight, dilation: tuple[int, ...] = (1,),
    dropout: Tree | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(3) of x (B, T, D) with its output projection: (B, T, D).

    p: query, key, value, output, and global (query, key, value). width: K, of one head. dilation: d, of all heads or of
    each. dropout: multipliers "window" and "global" of `window_attention` and `global_attention`.
    """
    c: Tree = {"global_part": p["global"]}
    heads, factor = len(p["query"]["weight"]) // width, (dropout or {}).get
    fits = len(dilation) in (1, heads)
    require(fits, f"a dilation for each of {len(dilation)} heads, but there are {heads}: give one for all")
    q, own = layers.projected(x, p, "query", heads=heads)
    c |= own
    k, own = layers.projected(x, p, "key", heads=heads)
    c |= own
    v, own = layers.projected(x, p, "value", heads=heads)
    c |= own
    held: tuple[Array, ...] = ()
    if seen.places.shape[1]:
        held_k, c["held_key"] = _picked(k, seen)
        held_v, c["held_value"] = _picked(v, seen)
        held = (held_k, held_v)
    context, c["windows"], c["heads"] = np.empty_like(q), [], _alike(dilation)
    for rate, at in c["heads"].items():
        own = {"seen": seen, "window": window, "rate": rate}
        own["dropout"] = None if factor("window") is None else factor("window")[:, at]
        y, inside = window_attention(*(array[:, at] for array in (q, k, v, *held)), **own)
        context[:, at] = y
        c["windows"].append(inside)
    context, c["merge"] = ops.merge_heads(context)
    if held:
        given = {"heads": heads, "seen": seen, "dropout": factor("global")}
        rows, c["global"] = global_attention(x, p["global"], **given)
        context, c["overwritten"] = ops.overwritten(context, rows, slots=seen.slots, mask=seen.everywhere)
    y, c["output"] = ops.linear(context, **p["output"])
    return y, c


@block_backward
def sliding_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g); where no token is global, g of "global" is 0."""
    g: Tree = {}
    dcontext, g["output"] = ops.linear_backward(dy, c["output"])
    if "global" in c:
        dcontext, drows = ops.overwritten_backward(dcontext, c["overwritten"])
        *dx, g["global"] = global_attention_backward(drows, c["global"])
    else:
        dx, g["global"] = [], tree.zeros_like(c["global_part"])
    dcontext = ops.merge_heads_backward(dcontext, c["merge"])
    slopes: list[Array] = []
    for inside, at in zip(c["windows"], c["heads"].values(), strict=True):
        for n, d in enumerate(window_attention_backward(dcontext[:, at], inside)):
            if len(slopes) == n:
                slopes.append(np.empty((len(d), dcontext.shape[1], *d.shape[2:]), d.dtype))
            slopes[n][:, at] = d
    dq, dk, dv, *dheld = slopes
    if dheld:
        dk = kernels.add(dk, _picked_backward(dheld[0], c["held_key"]))
        dv = kernels.add(dv, _picked_backward(dheld[1], c["held_value"]))
    dx_query, g["query"] = layers.projected_backward(dq, c, "query")
    dx_key, g["key"] = layers.projected_backward(dk, c, "key")
    dx_value, g["value"] = layers.projected_backward(dv, c, "value")
    return kernels.add(dx_query, dx_key, dx_value, *dx), g


def _picked(x: Array, seen: Sight) -> tuple[Array, Tree]:
    """The global tokens of heads x (B, H, T, K): (B, H, G, K)."""
    b, h, t, k = x.shape
    y, c = ops.gather(x.swapaxes(1, 2).reshape(b, t, h * k), positions=seen.places)
    return y.reshape(*seen.places.shape, h, k).swapaxes(1, 2), c


def _picked_backward(dy: Array, c: Tree) -> Array:
    b, h, g, k = dy.shape
    dx = ops.gather_backward(dy.swapaxes(1, 2).reshape(b, g, h * k), c)
    return dx.reshape(b, -1, h, k).swapaxes(1, 2)


def _alike(dilation: tuple[int, ...]) -> dict[int, Any]:
    """The heads of each dilation."""
    if len({*dilation}) == 1:
        return {dilation[0]: slice(None)}
    return {rate: np.flatnonzero(np.equal(dilation, rate)) for rate in dict.fromkeys(dilation)}


# ---- What was attended to --------------------------------------------------------------------------------------------
def attentions(c: Tree, seen: Sight) -> Array:
    """The probabilities of (1), (2), from the cache of `sliding_attention`: (B, H, T, G + 2w + 1), global tokens
    first, then the slots of the window, 0 for what is nowhere; of queries that are global or not there all are 0.
    """
    (b, t), found = seen.there.shape, []
    for inside, rate in zip(c["windows"], c["heads"], strict=True):
        count, window, probs = inside["globals"], inside["reach"], inside["attention"]["probs"]
        how = cut(t, window, rate)
        at = np.arange(how.size)[:, None] + np.arange(2 * window + 1) + how.beside - window
        there = (at >= 0) & (at < probs.shape[3] - count)
        slots = probs[..., np.arange(how.size)[:, None], count + np.where(there, at, 0)] * there
        both = np.concatenate([probs[..., :count], slots], 3)
        found.append(kernels.unblocked(both, b, t, how.size, 0, rate))
    y = np.empty((b, sum(part.shape[1] for part in found), *found[0].shape[2:]), found[0].dtype)
    for part, at in zip(found, c["heads"].values(), strict=True):
        y[:, at] = part
    return y * (seen.asking & ~seen.everywhere)[:, None, :, None]


def dense(band: Array, everywhere: Array, seen: Sight, dilation: tuple[int, ...]) -> Array:
    """Who attends to whom, (B, H, T, T), from `attentions` and the probabilities (B, H, G, T) of (3): for pictures of
    short texts.
    """
    b, h, t, _ = band.shape
    count = seen.held.shape[1]
    y, rows = np.zeros((b, h, t, t), band.dtype), np.arange(t)
    reach = (band.shape[3] - count) // 2
    for head, rate in enumerate(np.broadcast_to(dilation, h)):
        for slot in range(2 * reach + 1):
            at = rows + rate * (slot - reach)
            inside = (at >= 0) & (at < t)
            y[:, head, rows[inside], at[inside]] += band[:, head, inside, count + slot]
    for row, slot in np.argwhere(seen.held):
        place = seen.places[row, slot]
        y[row, :, :, place] += band[row, :, :, slot]
        y[row, :, place] = everywhere[row, :, slot]
    return y
