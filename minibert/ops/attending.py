"""Attention: heads, scores, masks, relative positions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import kernels
from minibert.ops.distributions import softmax, softmax_backward
from minibert.pairs import Parts, backward, pair

Array = np.ndarray
Cache = dict[str, Any]


# ---- Heads -----------------------------------------------------------------------------------------------------------
@pair("(b,t,6)->(b,3,t,2)", heads=3)
def split_heads(x: Array, *, heads: int) -> tuple[Array, Cache]:
    """(B, T, H·K) -> (B, H, T, K), a view: head h has the entries h·K … (h + 1)·K - 1 of each row."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2), {}


@backward
def split_heads_backward(dy: Array, c: Cache) -> Array:
    return dy.swapaxes(1, 2).reshape(dy.shape[0], dy.shape[2], -1)


@pair("(b,h,t,k)->(b,t,d)")
def merge_heads(x: Array) -> tuple[Array, Cache]:
    """(B, H, T, K) -> (B, T, H·K), the inverse of `split_heads`."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1), {"heads": x.shape[1]}


@backward
def merge_heads_backward(dy: Array, c: Cache) -> Array:
    return dy.reshape(*dy.shape[:2], c["heads"], -1).swapaxes(1, 2)


# ---- Attention -------------------------------------------------------------------------------------------------------
# What is added to a masked key's score. "min", the most negative number of the dtype: a row masked everywhere is
# uniform over all keys. "-10000": BERT's release; such a row is the softmax of its raw scores. "-1e9": other releases,
# uniform in float32, raw scores in float64. "zero": such a row attends to nothing.
MASK_CONSTANTS = ("min", "-10000", "-1e9", "zero")


def masking(mask: Array | None, masked: str, dtype: np.dtype) -> tuple[Array | None, Array | None]:
    """(what a mask of bits adds to the scores, None where nothing is masked; under the constant "zero" 0 for the rows
    that attend to nothing and 1 for the others, else None).
    """
    if mask is None or mask.all():
        return None, None
    keep = mask.astype(bool, copy=False)
    lowest = np.finfo(dtype).min if masked in ("min", "zero") else float(masked)
    added = np.where(keep, dtype.type(0), dtype.type(lowest))
    return added, keep.any(-1, keepdims=True).astype(dtype) if masked == "zero" else None


def _on_scores(mask: Array | None = None, masked: str = "min", **given: Any) -> dict[str, Any]:
    """Attention's arguments with what a mask comes to: a bias on the scores, a factor on the probabilities."""
    added, alive = masking(mask, masked, given["q"].dtype)
    if added is not None:
        given["bias"] = added if given.get("bias") is None else given["bias"] + added
    if alive is not None:
        given["dropout"] = alive if given.get("dropout") is None else given["dropout"] * alive
    return given


def _attention_part(name: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
    """(value, cotangent) of "scores" (scaled, before the mask) or "probs" (before dropout)."""
    value = c["probs"] if name == "probs" else (c["q"] * c["q"].dtype.type(c["scale"])) @ c["k"].swapaxes(-1, -2)
    if dy is None:
        return value, None
    dprobs = dy @ c["v"].swapaxes(-1, -2)
    if c["dropout"] is not None:
        dprobs = dprobs * c["dropout"]
    return value, dprobs if name == "probs" else c["probs"] * (dprobs - (dprobs * c["probs"]).sum(-1, keepdims=True))


def _attention_in_parts(c: Cache, swap: Callable) -> tuple[Array, Cache]:
    """`attention` in three steps."""
    scores = swap("scores", (c["q"] * c["scale"]) @ c["k"].swapaxes(-1, -2))
    probs = swap("probs", softmax(scores if c["added"] is None else scores + c["added"])[0])
    return (probs if c["dropout"] is None else probs * c["dropout"]) @ c["v"], {**c, "probs": probs}


def _attention_in_parts_backward(dy: Array, c: Cache, swap: Callable) -> tuple[Array, ...]:
    q, k, v, probs = c["q"], c["k"], c["v"], c["probs"]
    dropout = 1 if c["dropout"] is None else c["dropout"]
    dprobs = swap("probs", dy @ v.swapaxes(-1, -2) * dropout)
    dbias = swap("scores", softmax_backward(dprobs, {"y": probs}))
    dscores = dbias * c["scale"]
    slopes = dscores @ k, dscores.swapaxes(-1, -2) @ q, (probs * dropout).swapaxes(-1, -2) @ dy
    return slopes if c.get("bias") is None else (*slopes, summed(dbias, c["bias"]))


SQUARE = "(b,h,t,s)"
ATTENTION = Parts(
    {"scores": SQUARE, "probs": SQUARE}, _attention_part, _attention_in_parts, _attention_in_parts_backward
)


@pair(
    "(b,h,t,k),(b,h,s,k),(b,h,s,k),(b,1,t,s)->(b,h,t,k)", parts=ATTENTION, spelled=_on_scores, dropout="(b,h,t,s)+"
)
def attention(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None = None,
    *,
    mask: Array | None = None,
    masked: str = "min",
    dropout: Array | None = None,
    scale: float | None = None,
) -> tuple[Array, Cache]:
    """y = (softmax(scale·q kᵀ + bias + m)∘dropout) v; q (B, H, T, K), k and v (B, H, S, K) (arXiv 1706.03762, eq. 1).

    bias: added to the scores, broadcast to (B, H, T, S), and differentiated; -inf counts as the most negative number of
    the dtype, so that a row masked everywhere is uniform over all keys, never NaN. mask: bits, broadcast likewise, 1 =
    attend; m is 0 there, else the constant that `masked` names (MASK_CONSTANTS). dropout: what multiplies the
    probabilities, keep/(1 - rate). scale: 1/√K unless given.
    """
    scale = q.dtype.type(np.longdouble(q.shape[-1]) ** -0.5 if scale is None else scale)  # rounded once
    added, alive = masking(mask, masked, q.dtype)
    own = None if bias is None else np.maximum(bias, np.finfo(q.dtype).min)
    if own is not None and added is not None:
        with np.errstate(over="ignore"):  # both may be the most negative number
            added = np.maximum(own + added, np.finfo(q.dtype).min)
    added = own if added is None else added
    multiplier = None if dropout is None else dropout.astype(q.dtype, copy=False)
    if alive is not None:
        multiplier = alive if multiplier is None else multiplier * alive
    y, probs = kernels.attention(q, k, v, added, multiplier, scale)  # probs (B, H, T, S)
    c = {"q": q, "k": k, "v": v, "added": added, "probs": probs, "dropout": multiplier, "scale": scale}
    return y, {**c, "bias": None if bias is None else bias.shape}


@backward
def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
    """(dq, dk, dv), and dbias where there was one."""
    # P = softmax(scale·q kᵀ + bias), y = (P∘d) v: dv = (P∘d)ᵀ dy, dP = (dy vᵀ)∘d, dbias = dS = P∘(dP - Σ dP∘P),
    # dq = scale·dS k, dk = scale·dSᵀ q
    dbias = None if c["bias"] is None else np.empty_like(c["probs"])
    given = c["q"], c["k"], c["v"], c["probs"], c["dropout"], c["scale"]
    slopes = kernels.attention_slope(dy, *given, dbias)
    return slopes if dbias is None else (*slopes, summed(dbias, c["bias"]))


def summed(array: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of what was broadcast from this shape to the array's: summed over the axes that it lacked."""
    array = array.sum(tuple(range(array.ndim - len(shape))))
    return array.sum(tuple(i for i, n in enumerate(shape) if n == 1 != array.shape[i]), keepdims=True)


# ---- Relative positions ----------------------------------------------------------------------------------------------
@pair("(b,h,t,k),(b,h,s,k)->(b,h,t,s)", scale=0.5)
def scores(q: Array, k: Array, *, scale: float) -> tuple[Array, Cache]:
    """y = scale·q kᵀ; q (B, H, T, K), k (B, H, S, K), or (1, H, S, K) for all rows (arXiv 1901.02860, section 3.3)."""
    q = q * q.dtype.type(scale)
    return q @ k.swapaxes(-1, -2), {"q": q, "k": k, "scale": scale}


@backward
def scores_backward(dy: Array, c: Cache) -> tuple[Array, Array]:
    dq = (dy @ c["k"]) * dy.dtype.type(c["scale"])
    return dq, summed(dy.swapaxes(-1, -2) @ c["q"], c["k"].shape)  # c["q"] is scaled


@pair("(b,h,3,5)->(b,h,3,4)", keys=4)
def relative_shift(x: Array, *, keys: int) -> tuple[Array, Cache]:
    """y[i, j] = x[i, T - 1 - i + j], 0 where x has no such column: (B, H, T, P) -> (B, H, T, S), S the keys; from
    scores by distance to scores by key, all of a query at once (arXiv 1901.02860, appendix B).

    Column c of x is the distance S - 1 - c from a query back to a key; query i stands at key S - T + i. T + S - 1
    columns are all distances there are, and y is then a view of x; with S of them, as of a model that reads from left
    to right, y is 0 for the keys behind each query.
    """
    shape = x.shape
    if missing := max(0, shape[-2] + keys - 1 - shape[-1]):
        x = np.concatenate([x, np.zeros((*shape[:-1], missing), x.dtype)], -1)
    return _shifted(x, keys, writeable=False), {"shape": shape}


@backward
def relative_shift_backward(dy: Array, c: Cache) -> Array:
    *rows, length, columns = c["shape"]
    dx = np.zeros((*rows, length, max(columns, length + dy.shape[-1] - 1)), dy.dtype)
    _shifted(dx, dy.shape[-1], writeable=True)[...] = dy  # every place of it once
    return dx[..., :columns]


def _shifted(x: Array, keys: int, writeable: bool) -> Array:
    """The view y[i, j] = x[i, T - 1 - i + j]: a row begins one column before the row above it."""
    row, column = x.strides[-2:]
    start, shape = x[..., x.shape[-2] - 1 :], (*x.shape[:-1], keys)
    strides = (*x.strides[:-2], row - column, column)
    return np.lib.stride_tricks.as_strided(start, shape, strides, writeable=writeable)
