"""Every leaf pair of the engine, in textbook order. Each backward stands under its forward and is read upward.

Differentiable arrays come first, data and constants by keyword: `f(...) -> (y, cache)`. `f_backward(dy, cache)` gives
the gradients in argument order, those of `weight` and `bias` as a dict. No argument is ever written to. float32,
float64 and longdouble stay what they are.
Letters: B batch, T and S tokens, D width, H heads, K head width, V vocabulary, M targets.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert import kernels
from minibert.config import require
from minibert.pairs import Parts, backward, pair

Array = np.ndarray
Cache = dict[str, Any]


# ---- Linear ----------------------------------------------------------------------------------------------------------
@pair("(...,i),(o,i),(o)->(...,o)")
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    """y = x Wᵀ + b; weight (out, in), as published checkpoints store it; without a bias y = x Wᵀ."""
    y = kernels.product(x.reshape(-1, x.shape[-1]), weight.T)
    if bias is not None:
        kernels.add_row(y, bias)
    return y.reshape(*x.shape[:-1], len(weight)), {"x": x, "weight": weight, "biased": bias is not None}


@backward
def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    x, weight = c["x"], c["weight"]
    dy_rows = dy.reshape(-1, dy.shape[-1])
    dx = kernels.product(dy_rows, weight).reshape(x.shape)
    dweight = kernels.product(dy_rows.T, x.reshape(-1, x.shape[-1]))
    return dx, {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}


# ---- Embedding -------------------------------------------------------------------------------------------------------
@pair("(v,d)->(b,t,d)", ids="(b,t)<v")
def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Cache]:
    """y[…] = W[ids[…]]; weight (V, D), ids any shape.

    The row `padding_idx` gets no gradient from the lookup, as in published ports (torch.nn.Embedding); with None it is
    an ordinary row, as in google-research/bert.
    """
    return weight[ids], {"ids": ids, "padding_idx": padding_idx, "length": len(weight)}


@backward
def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
    dweight = kernels.scatter_add(c["ids"].reshape(-1), dy.reshape(-1, dy.shape[-1]), c["length"])
    if c["padding_idx"] is not None:
        dweight[c["padding_idx"]] = 0
    return {"weight": dweight}


@pair("(b,t,d)->(b,m,d)", positions="(b,m)<t")
def gather(x: Array, *, positions: Array) -> tuple[Array, Cache]:
    """y[b, m] = x[b, positions[b, m]]: the rows of the masked positions, before anything as wide as the vocabulary."""
    return x[np.arange(len(x))[:, None], positions], {"positions": positions, "shape": x.shape}


@backward
def gather_backward(dy: Array, c: Cache) -> Array:
    b, t, d = c["shape"]
    flat = c["positions"] + np.arange(b)[:, None] * t
    return kernels.scatter_add(flat.reshape(-1), dy.reshape(-1, d), b * t).reshape(b, t, d)


# ---- Layer norm ------------------------------------------------------------------------------------------------------
@pair("(...,d),(d),(d)->(...,d)", eps=1e-3)
def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
    """y = γ(x - μ)/√(σ² + ε) + β over the last axis, σ² the mean square deviation (arXiv 1607.06450, eq. 3-4)."""
    (x_rows,) = kernels.rows(x)
    y, xhat, rstd = kernels.layer_norm(x_rows, weight, bias, eps)
    if not rstd.all():  # a variance beyond the precision: no number, rather than the bias
        y[(rstd == 0)[:, 0]] = np.nan
    return y.reshape(x.shape), {"xhat": xhat, "rstd": rstd, "weight": weight}


@backward
def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # x̂ = (x - μ)·r with r = 1/√(σ² + ε), so dx = r·(dx̂ - mean(dx̂) - x̂·mean(dx̂∘x̂)), dx̂ = dy∘γ
    (dy_rows,) = kernels.rows(dy)
    dx, dweight, dbias = kernels.layer_norm_slope(dy_rows, c["xhat"], c["rstd"], c["weight"])
    return dx.reshape(dy.shape), {"weight": dweight, "bias": dbias}


@pair("(...,d),(d)->(...,d)", eps=1e-3)
def rms_norm(x: Array, weight: Array, *, eps: float) -> tuple[Array, Cache]:
    """y = γx/√(mean(x²) + ε) over the last axis: no mean is taken away, nothing is added (arXiv 1910.07467, eq. 4)."""
    with np.errstate(over="ignore"):
        rstd = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps))
    xhat = x * rstd
    y = xhat * weight
    if not rstd.all():  # as in `layer_norm`
        y[(rstd == 0)[..., 0]] = np.nan
    return y, {"xhat": xhat, "rstd": rstd, "weight": weight}


@backward
def rms_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # x̂ = x·r with r = 1/√(mean x² + ε), so dx = r·(dx̂ - x̂·mean(dx̂∘x̂)), dx̂ = dy∘γ
    xhat, dxhat = c["xhat"], dy * c["weight"]
    dx = c["rstd"] * (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True))
    return dx, {"weight": kernels.column_sums((dy * xhat).reshape(-1, dy.shape[-1]))}


# ---- Activations -----------------------------------------------------------------------------------------------------
@pair("(...,d)->(...,d)")
def gelu(x: Array) -> tuple[Array, Cache]:
    """y = x·Φ(x), Φ the normal distribution function: the erf form (arXiv 1606.08415)."""
    y = kernels.gelu(x)
    return y, {"x": x, "y": y}


@backward
def gelu_backward(dy: Array, c: Cache) -> Array:
    return kernels.gelu_slope(c["x"], c["y"], dy)  # Φ(x) + x·φ(x)


@pair("(...,d)->(...,d)")
def gelu_tanh(x: Array) -> tuple[Array, Cache]:
    """y = ½x(1 + tanh(√(2/π)(x + 0.044715x³))): the tanh form, `gelu_new` in published configs (arXiv 1606.08415)."""
    return kernels.gelu_tanh(x), {"x": x}


@backward
def gelu_tanh_backward(dy: Array, c: Cache) -> Array:
    return kernels.gelu_tanh_slope(c["x"], dy)


@pair("(...,d)->(...,d)")
def relu(x: Array) -> tuple[Array, Cache]:
    """y = max(x, 0); the derivative at 0 is taken as 0."""
    return np.maximum(x, 0), {"x": x}


@backward
def relu_backward(dy: Array, c: Cache) -> Array:
    return dy * (c["x"] > 0)


@pair("(...,d)->(...,d)")
def tanh(x: Array) -> tuple[Array, Cache]:
    """y = tanh x."""
    y = np.tanh(x)
    return y, {"y": y}


@backward
def tanh_backward(dy: Array, c: Cache) -> Array:
    return dy * (1 - c["y"] * c["y"])


@pair("(...,d)->(...,d)")
def sigmoid(x: Array) -> tuple[Array, Cache]:
    """y = 1/(1 + e⁻ˣ), below 0 as eˣ/(1 + eˣ): no overflow, and small values keep their relative accuracy."""
    y = _sigmoid(x)
    return y, {"y": y}


@backward
def sigmoid_backward(dy: Array, c: Cache) -> Array:
    return dy * c["y"] * (1 - c["y"])


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


@pair("(...,d),(...,d)->(...,d)")
def multiply(a: Array, b: Array) -> tuple[Array, Cache]:
    """y = a∘b, both of one shape: what a gate lets through (arXiv 2002.05202, eq. 5)."""
    return a * b, {"a": a, "b": b}


@backward
def multiply_backward(dy: Array, c: Cache) -> tuple[Array, Array]:
    return dy * c["b"], dy * c["a"]


# ---- Softmax ---------------------------------------------------------------------------------------------------------
@pair("(...,d)->(...,d)")
def softmax(x: Array) -> tuple[Array, Cache]:
    """y = exp(x - max x)/Σ over the last axis; a row of -inf alone is uniform, never NaN."""
    (x_rows,) = kernels.rows(x)
    y = kernels.softmax(x_rows, np.empty_like(x_rows)).reshape(x.shape)
    return y, {"y": y}


@backward
def softmax_backward(dy: Array, c: Cache) -> Array:
    return kernels.softmax_slope(*kernels.rows(dy, c["y"])).reshape(dy.shape)  # y∘(dy - Σ dy∘y)


@pair("(...,d)->(...,d)")
def log_softmax(x: Array) -> tuple[Array, Cache]:
    """y = x - log Σ exp x over the last axis."""
    (x_rows,) = kernels.rows(x)
    top, rest = kernels.log_sum_exp(x_rows)
    y = (x_rows - top - rest).reshape(x.shape)
    return y, {"y": y}


@backward
def log_softmax_backward(dy: Array, c: Cache) -> Array:
    return dy - np.exp(c["y"]) * dy.sum(-1, keepdims=True)


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


# ---- Neighbours ------------------------------------------------------------------------------------------------------
RULES = ("own", "buckets", "meetings")
OTHERS, OWN = -1e9, -1e5  # what stands in the place of a forbidden key's score, and of the query's own


@pair("(b,h,6,k)->(b,h,3,6,k)", chunk=2, before=1, after=1)
def neighbours(x: Array, *, chunk: int, before: int, after: int) -> tuple[Array, Cache]:
    """x (B, H, T, K) in chunks of c tokens, each with the `before` chunks in front of it and the `after` behind it,
    (B, H, T/c, (before + 1 + after)·c, K); the first chunk stands behind the last (arXiv 2001.04451, section 2).
    """
    chunks = x.reshape(*x.shape[:2], -1, chunk, *x.shape[3:])
    return _around(chunks, before, after), {"around": (before, after), "shape": x.shape}


@backward
def neighbours_backward(dy: Array, c: Cache) -> Array:
    return _home(dy, *c["around"]).reshape(c["shape"])  # a chunk takes from all that it stands beside


def _around(chunks: Array, before: int, after: int) -> Array:
    """(B, H, N, c, …) with what stands about each chunk, (B, H, N, w, …)."""
    turned = [np.roll(chunks, turn, 2) if turn else chunks for turn in _turns(chunks.shape[2], before, after)]
    return np.concatenate(turned, 3) if turned[1:] else chunks


def _home(around: Array, before: int, after: int) -> Array:
    """The gradient of chunks from that of `_around`."""
    parts = np.split(around, before + 1 + after, 3)
    turns = _turns(around.shape[2], before, after)
    turned = [np.roll(part, -turn, 2) if turn else part for part, turn in zip(parts, turns, strict=True)]
    return kernels.add(*turned) if turned[1:] else around


def _turns(count: int, before: int, after: int) -> list[int]:
    """By how many chunks the ring is turned for each neighbour; as released, not at all for those beyond the ring."""
    return [-i if abs(i) < count else 0 for i in range(-before, after + 1)]


def in_sight(
    at: Array, *, chunk: int, before: int, after: int, causal: bool, mask: Array | None = None
) -> Array | None:  # fmt: skip
    """Bits (…, T/c, c, w), which of its neighbours each query sees; None: all of them. at: the place (B or 1, H or 1,
    T) in the text of each token; causal: none behind its own; mask: bits (B, T) by place, 1 = there.
    """
    queries = at.reshape(*at.shape[:2], -1, chunk)
    keys = _around(queries, before, after)[..., None, :]
    seen = keys <= queries[..., None] if causal else None
    if mask is None or mask.all():
        return seen
    there = mask.astype(bool)[np.arange(len(mask))[:, None, None, None, None], keys]
    return there if seen is None else there & seen


@pair(
    "(b,h,4,k),(b,h,4,k),(b,h,4,k)->(b,h,4,k)", buckets="(b,h,2,4)<3", mask="(b,4)?", dropout="(b,h,4,2,4)+", chunk=2
)  # fmt: skip
def lsh_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    buckets: Array,
    chunk: int,
    before: int = 1,
    after: int = 0,
    causal: bool = False,
    mask: Array | None = None,
    dropout: Array | None = None,
    rules: Sequence[str] = ("own",),
) -> tuple[Array, Cache]:
    """Attention among tokens of one bucket: q, k, v (B, H, T, K), buckets (B, H, R, T) of R rounds -> (B, H, T, K)
    (arXiv 2001.04451, eq. 3-6 and appendix A; q and k are one projection there).

    In each round r the tokens are sorted by bucket, in a bucket by place; a query sees the keys of its chunk of c, and
    of those about it, in that order: the rounds stand one behind the other. With S = q kᵀ/√K, P = softmax S, z = log Σ
    exp S: o_r = (P∘dropout) v, y = Σ_r exp(z_r - log Σ exp z) o_r. What stands in the place of a score, without a
    gradient: OTHERS for what `mask` (B, T) leaves out and, with `causal`, for what comes behind. rules, of RULES:
    "own", OWN for the query itself, which is seen where nothing else is; "buckets", OTHERS for other buckets;
    "meetings", log N is taken from the score of a key that the query meets N times in all rounds. The paper has all
    three, its releases the first.
    dropout (B, H, R·T/c, c, (before + 1 + after)·c). Where T is at most c all are one chunk, without neighbours.
    """
    b, h, t, width = q.shape
    chunk, (before, after) = min(chunk, t), (before, after) if t > chunk else (0, 0)
    order = np.argsort(buckets, -1, kind="stable")
    places = order.reshape(b, h, -1)
    scale = q.dtype.type(np.longdouble(width) ** -0.5)
    rows, keys, values = (_sorted(x, places, chunk) for x in (q * scale, k, v))
    keys, values = _around(keys, before, after), _around(values, before, after)
    s = rows @ keys.swapaxes(-1, -2)
    about = {"chunk": chunk, "before": before, "after": after}
    seen, at = in_sight(places, **about, causal=causal, mask=mask), places.reshape(b, h, -1, chunk)
    if "meetings" in rules:
        met = _meetings(buckets, order, places, "buckets" in rules, **about)
        s = s - np.log(np.maximum(met, 1)).astype(s.dtype)
    if "buckets" in rules:
        home = np.take_along_axis(buckets, order, -1) + (1 + buckets.max()) * np.arange(buckets.shape[2])[:, None]
        home = home.reshape(at.shape)
        same = home[..., None] == _around(home, before, after)[..., None, :]
        seen = same if seen is None else seen & same
    own = (at[..., None] == _around(at, before, after)[..., None, :]) & ("own" in rules)
    s = s if seen is None else np.where(seen, s, s.dtype.type(OTHERS))
    s = np.where(own, s.dtype.type(OWN), s)
    top = s.max(-1, keepdims=True)
    probs = np.exp(s - top)
    total = probs.sum(-1, keepdims=True)
    probs /= total
    factor = None if dropout is None else dropout.astype(q.dtype, copy=False)
    found = (probs if factor is None else probs * factor) @ values
    back = np.argsort(order, -1)
    outputs = np.take_along_axis(found.reshape(*order.shape, -1), back[..., None], 3)  # (B, H, R, T, K)
    top, total = (np.take_along_axis(part.reshape(order.shape), back, 3) for part in (top, total))
    share = total * np.exp(top - top.max(2, keepdims=True))  # softmax z, without the sum of OWN and a logarithm
    share /= share.sum(2, keepdims=True)
    y = (share[..., None] * outputs).sum(2)
    fixed = own if seen is None else own | ~seen
    c = {"rows": rows, "keys": keys, "values": values, "probs": probs, "dropout": factor, "fixed": fixed}
    c |= {"outputs": outputs, "share": share, "order": order, "back": back, "around": (before, after), "scale": scale}
    return y, c


@backward
def lsh_attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
    # y = Σ w_r o_r, w = softmax z: do_r = w_r dy, dz = w∘(dw - Σ dw∘w), dw_r = dy·o_r. With dz/dS = P:
    # dS = P∘(dP - Σ dP∘P + dz), 0 where a score is fixed; a token has one key for all its meetings: their sum
    share, order, probs, keys, values = c["share"], c["order"], c["probs"], c["keys"], c["values"]
    dshare = (dy[:, :, None] * c["outputs"]).sum(-1)
    dz = share * (dshare - (dshare * share).sum(2, keepdims=True))
    chunks = *probs.shape[:4], -1
    dfound = np.take_along_axis(share[..., None] * dy[:, :, None], order[..., None], 3).reshape(chunks)
    dz = np.take_along_axis(dz, order, 3).reshape(chunks)
    dprobs = dfound @ values.swapaxes(-1, -2)
    dprobs = dprobs if c["dropout"] is None else dprobs * c["dropout"]
    ds = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True) + dz)
    ds[c["fixed"]] = 0
    mixed = probs if c["dropout"] is None else probs * c["dropout"]
    drows = (ds @ keys) * c["scale"]
    dkeys, dvalues = (_home(m.swapaxes(-1, -2) @ x, *c["around"]) for m, x in ((ds, c["rows"]), (mixed, dfound)))
    back = c["back"][..., None]
    return tuple(np.take_along_axis(d.reshape(*order.shape, -1), back, 3).sum(2) for d in (drows, dkeys, dvalues))


def _sorted(x: Array, places: Array, chunk: int) -> Array:
    """The tokens of x (B, H, T, K) in the order of places (B, H, R·T), in chunks (B, H, R·T/c, c, K)."""
    return np.take_along_axis(x, places[..., None], 2).reshape(*x.shape[:2], -1, chunk, x.shape[3])


def _meetings(
    buckets: Array, order: Array, places: Array, alike: bool, *, chunk: int, before: int, after: int
) -> Array:
    """How often, in all rounds, each query has each of its neighbours (B, H, R·T/c, c, w) about it; alike: in its own
    bucket.
    """
    b, h, rounds, t = order.shape
    count = rounds * t // chunk
    number = (np.argsort(order, -1) + t * np.arange(rounds)[:, None]) // chunk  # the chunk of each token in each round
    met: Any = 0
    for r in range(rounds):
        chunks, homes = ((lambda x: x.reshape(b, h, -1, chunk))(np.take_along_axis(x[:, :, r], places, 2))
                         for x in (number, buckets))  # fmt: skip
        others, same = _around(chunks, before, after), _around(homes, before, after)[..., None, :] == homes[..., None]
        same = same | (not alike)
        for turn in _turns(count, before, after):
            met = met + (same & ((chunks[..., None] - turn) % count == others[..., None, :]))
    return met


# ---- Convolution and pooling over time -------------------------------------------------------------------------------
@pair("(b,4,i),(o,i,3),(o)->(b,4,o)", mask="(b,4)?", same=True)
def convolution(
    x: Array, weight: Array, bias: Array | None = None, *, same: bool = False, mask: Array | None = None
) -> tuple[Array, Cache]:
    """y[t] = b + Σ_j W[:, :, j] x[t + j] for each window of k tokens; x (B, T, I), weight (O, I, k), as torch.nn.Conv1d
    stores it (Kim 2014, arXiv 1408.5882, eq. 1-2).

    Windows lie within the text, so that y is (B, T - k + 1, O), and there is none where T < k. same: one about each
    token, (B, T, O), with zeros beyond the ends: ⌊(k - 1)/2⌋ before the first. mask: bits (B, T), 1 = there; what is
    not there is read as 0.
    """
    before = (weight.shape[-1] - 1) // 2 if same else 0
    behind = weight.shape[-1] - 1 - before if same else 0
    mask = None if mask is None else mask.astype(bool)[..., None]
    read = np.pad(x if mask is None else np.where(mask, x, 0), ((0, 0), (before, behind), (0, 0)))
    if read.shape[1] < weight.shape[-1]:
        windows = np.empty((len(x), 0, *weight.shape[1:]), x.dtype)
    else:
        windows = np.lib.stride_tricks.sliding_window_view(read, weight.shape[-1], 1)  # (B, windows, I, k)
    y = kernels.product(windows.reshape(-1, weight[0].size), weight.reshape(len(weight), -1).T)
    if bias is not None:
        kernels.add_row(y, bias)
    c = {"windows": windows, "weight": weight, "mask": mask, "biased": bias is not None}
    return y.reshape(*windows.shape[:2], len(weight)), {**c, "length": x.shape[1], "before": before, "behind": behind}


@backward
def convolution_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # the windows overlap: dx[t + j] takes its share of each
    windows, weight = c["windows"], c["weight"]
    dy_rows = np.ascontiguousarray(dy).reshape(-1, len(weight))
    dwindows = kernels.product(dy_rows, weight.reshape(len(weight), -1)).reshape(windows.shape)
    dread = np.zeros((len(dy), c["before"] + c["length"] + c["behind"], weight.shape[1]), dwindows.dtype)
    for j in range(weight.shape[-1]):
        dread[:, j : j + windows.shape[1]] += dwindows[..., j]
    dx = dread[:, c["before"] : c["before"] + c["length"]]
    dweight = kernels.product(dy_rows.T, windows.reshape(-1, weight[0].size)).reshape(weight.shape)
    dx = dx if c["mask"] is None else np.where(c["mask"], dx, 0)
    return dx, {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}


def windows_there(mask: Array, width: int) -> Array:
    """The mask (B, T - k + 1) of `convolution`'s windows, of one of tokens (B, T): 1 where all k of them are there."""
    count = max(0, mask.shape[1] - width + 1)
    return np.all([mask[:, j : j + count] for j in range(width)], 0)


@pair("(b,t,d)->(b,d)", mask="(b,t)?")
def max_over_time(x: Array, *, mask: Array | None = None) -> tuple[Array, Cache]:
    """y = max over t, entry by entry; x (B, T, D), mask bits (B, T), 1 = there (arXiv 1408.5882, section 2).

    Of equal entries the first one is taken, and gets the gradient; where nothing is there y is 0, and has none.
    """
    mask = np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
    c = {"mask": mask, "shape": x.shape, "first": np.zeros((len(x), x.shape[2]), np.int64)}
    if not x.shape[1]:
        return np.zeros((len(x), x.shape[2]), x.dtype), c
    c["first"] = np.where(mask[..., None], x, -np.inf).argmax(1)
    y = np.take_along_axis(x, c["first"][:, None], 1)[:, 0]
    return np.where(mask.any(1)[:, None], y, 0), c


@backward
def max_over_time_backward(dy: Array, c: Cache) -> Array:
    dx = np.zeros(c["shape"], dy.dtype)
    if c["shape"][1]:
        np.put_along_axis(dx, c["first"][:, None], (dy * c["mask"].any(1)[:, None])[:, None], 1)
    return dx


@pair("(b,t,d)->(b,d)", weights="(b,t)+")
def mean_over_time(x: Array, *, weights: Array | None = None) -> tuple[Array, Cache]:
    """y = Σ_t w[t] x[t] / Σ w; x (B, T, D), weights (B, T), 1 unless given: a mask of bits, or 1, 2, … for the tokens
    that are there. Where nothing has a weight y is 0.
    """
    w = np.ones(x.shape[:2], x.dtype) if weights is None else weights.astype(x.dtype)
    total = w.sum(1, keepdims=True)
    share = (w / np.where(total == 0, 1, total))[..., None]
    return np.where(share == 0, 0, share * x).sum(1), {"share": share}


@backward
def mean_over_time_backward(dy: Array, c: Cache) -> Array:
    return c["share"] * dy[:, None]


@pair("(m,...,d),(m),(1)->(...,d)")
def scalar_mix(x: Array, weight: Array, gamma: Array) -> tuple[Array, Cache]:
    """y = γ Σ_m s[m] x[m], s = softmax w: layers x (M, …, D), weight (M,), gamma (1,) (arXiv 1802.05365, eq. 1)."""
    e = np.exp(weight - weight.max())
    s = e / e.sum()
    mix = np.tensordot(s, x, 1)
    return gamma * mix, {"x": x, "s": s, "mix": mix, "gamma": gamma}


@backward
def scalar_mix_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # ds[m] = γ Σ dy∘x[m], through the softmax dw = s∘(ds - Σ ds∘s)
    s, rows = c["s"], c["gamma"] * dy
    ds = (c["x"] * rows).reshape(len(s), -1).sum(1)
    dgamma = (dy * c["mix"]).sum().reshape(1)
    return s.reshape(-1, *[1] * dy.ndim) * rows, {"weight": s * (ds - (ds * s).sum()), "gamma": dgamma}


# ---- Low rank -------------------------------------------------------------------------------------------------------
@pair("(o,i),(k,i),(o,k),(1)->(o,i)")
def low_rank(weight: Array, down: Array, up: Array, scale: Array) -> tuple[Array, Cache]:
    """W + s·B A: weight W (O, I), down A (R, I), up B (O, R), scale s (1,) (arXiv 2106.09685, section 4.1)."""
    product = up @ down
    return kernels.add(weight, scale * product), {"down": down, "up": up, "scale": scale, "product": product}


@backward
def low_rank_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
    # dW = dW', dA = s Bᵀ dW', dB = s dW' Aᵀ, ds = Σ dW'∘B A
    scale = c["scale"]
    return dy, scale * (c["up"].T @ dy), scale * (dy @ c["down"].T), (dy * c["product"]).sum().reshape(1)


# ---- Bilinear --------------------------------------------------------------------------------------------------------
@pair("(...,d),(...,i),(o,d,i),(o)->(...,o)")
def bilinear(u: Array, v: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    """y_o = uᵀ W_o v + b_o; u (…, D), v (…, I), weight (O, D, I), as torch.nn.Bilinear stores it (Socher et al. 2013,
    "Reasoning with neural tensor networks", eq. 1).
    """
    (u_rows, v_rows), (o, d, i) = kernels.rows(u, v), weight.shape
    left = kernels.product(u_rows, weight.transpose(1, 0, 2).reshape(d, o * i)).reshape(-1, o, i)  # uᵀ W_o
    y = (left @ v_rows[..., None])[..., 0]
    if bias is not None:
        y = y + bias
    return y.reshape(*u.shape[:-1], o), {"u": u, "v": v, "weight": weight, "left": left, "biased": bias is not None}


@backward
def bilinear_backward(dy: Array, c: Cache) -> tuple[Array, Array, dict[str, Array]]:
    # du = Σ_o dy_o W_o v, dv = Σ_o dy_o W_oᵀ u, dW_o = dy_o u vᵀ
    (u, v, dy_rows), (o, d, i) = kernels.rows(c["u"], c["v"], dy), c["weight"].shape
    scaled = (dy_rows[:, :, None] * v[:, None]).reshape(-1, o * i)  # dy_o v
    du = kernels.product(scaled, c["weight"].transpose(0, 2, 1).reshape(o * i, d))
    dv = (dy_rows[:, None] @ c["left"])[:, 0]
    dweight = kernels.product(u.T, scaled).reshape(d, o, i).transpose(1, 0, 2)
    g = {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}
    return du.reshape(c["u"].shape), dv.reshape(c["v"].shape), g


# ---- Recurrent -------------------------------------------------------------------------------------------------------
@pair("(b,2,i),(2,b,2),(8,i),(8,2),(8),(8)->(2,b,2,2)", mask="(b,2)?")
def lstm(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[Array, Cache]:
    """The states (h, c) of a long short-term memory behind each token, read from left to right: x (B, T, I) -> y
    (2, B, T, N), y[0] the outputs h, y[1] the cells c (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    With (i, f, g, o) = W_ih x[t] + b_ih + W_hh h[t-1] + b_hh: c[t] = σ(f)∘c[t-1] + σ(i)∘tanh g, h[t] = σ(o)∘tanh c[t].

    state: (2, B, N), h and c before the first token, 0 where it is None; y[:, :, -1] is the one to read on from.
    weight_ih (4N, I), weight_hh (4N, N), biases (4N,), their rows in the order i f g o, as torch.nn.LSTM stores them;
    who stores one bias, or none, leaves the others out. mask: bits (B, T), 1 = there; a token that is not passes the
    state on as it is, so that y[:, :, -1] is the last state of each row.
    """
    n = weight_hh.shape[1]
    start = np.zeros((2, len(x), n), x.dtype) if state is None else state
    gates = _inputs(x, weight_ih, (bias_ih, bias_hh))
    there = None if mask is None else mask.astype(bool)[..., None]
    y = np.empty((2, *x.shape[:2], n), gates.dtype)
    before = start
    for t in range(x.shape[1]):
        i, f, g, o = np.split(gates[:, t] + kernels.product(before[0], weight_hh.T), 4, 1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        gates[:, t] = np.concatenate([i, f, g, o], 1)
        cell = f * before[1] + i * g
        after = np.stack([o * np.tanh(cell), cell])
        before = y[:, :, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "gates": gates, "y": y, "there": there}
    return y, {**c, "given": state is not None, "biases": (bias_ih is not None, bias_hh is not None)}


@backward
def lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g): through time, from the last token to the first."""
    x, y, weight_hh, gates = c["x"], c["y"], c["weight_hh"], c["gates"]
    before = np.concatenate([c["start"][:, :, None], y[:, :, :-1]], 2)  # the state that each token finds
    dz, dh, dc = np.empty_like(gates), np.zeros_like(y[0, :, 0]), np.zeros_like(y[0, :, 0])
    for t in reversed(range(x.shape[1])):
        dh, dc = dh + dy[0, :, t], dc + dy[1, :, t]
        passed_h, passed_c = 0, 0
        if c["there"] is not None:
            absent = ~c["there"][:, t]
            passed_h, passed_c = dh * absent, dc * absent
            dh, dc = dh - passed_h, dc - passed_c
        (i, f, g, o), u = np.split(gates[:, t], 4, 1), np.tanh(y[1, :, t])
        dc = dc + dh * o * (1 - u * u)
        slopes = dc * g * i * (1 - i), dc * before[1, :, t] * f * (1 - f), dc * i * (1 - g * g), dh * u * o * (1 - o)
        dz[:, t] = np.concatenate(slopes, 1)
        dh, dc = kernels.product(dz[:, t], weight_hh) + passed_h, dc * f + passed_c
    dx, g = _inputs_backward(dz, c)
    g["weight_hh"] = kernels.product(_flat(dz).T, _flat(before[0]))
    return (dx, np.stack([dh, dc]), g) if c["given"] else (dx, g)


@pair("(b,2,i),(b,5),(12,i),(12,2),(2,3),(12),(12)->(b,2,5)", mask="(b,2)?", cell_clip=None, clip=None)
def projected_lstm(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    weight_hr: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
    cell_clip: float | None = None,
    clip: float | None = None,
) -> tuple[Array, Cache]:
    """The states [h ; c] of a long short-term memory whose outputs are projected, behind each token: x (B, T, I) -> y
    (B, T, P + N), the outputs h first, then the cells c (Sak, Senior and Beaufays 2014, "Long short-term memory based
    recurrent neural network architectures", eq. 1-7; both clipped as in arXiv 1802.05365's release).

    With the gates of `lstm`, rows in the same order: c[t] = K(σ(f)∘c[t-1] + σ(i)∘tanh g), h[t] = k(W_hr (σ(o)∘tanh
    c[t])); K and k clip to ±cell_clip and ±clip, if given. state: (B, P + N), 0 where it is None. weight_ih (4N, I),
    weight_hh (4N, P), weight_hr (P, N), biases (4N,), either of which may be left out; mask as in `lstm`.
    """
    p, n = weight_hr.shape
    start = np.zeros((len(x), p + n), x.dtype) if state is None else state
    gates, there = _inputs(x, weight_ih, (bias_ih, bias_hh)), None if mask is None else mask.astype(bool)[..., None]
    y, raw, u = (np.empty((*x.shape[:2], width), gates.dtype) for width in (p + n, p + n, n))
    before = start
    for t in range(x.shape[1]):
        i, f, g, o = np.split(gates[:, t] + kernels.product(before[:, :p], weight_hh.T), 4, 1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        gates[:, t] = np.concatenate([i, f, g, o], 1)
        raw[:, t, p:] = f * before[:, p:] + i * g
        cell = _clipped(raw[:, t, p:], cell_clip)
        u[:, t] = o * np.tanh(cell)
        raw[:, t, :p] = kernels.product(u[:, t], weight_hr.T)
        after = np.concatenate([_clipped(raw[:, t, :p], clip), cell], 1)
        before = y[:, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "weight_hr": weight_hr, "y": y}
    c |= {"gates": gates, "u": u, "raw": raw, "there": there, "clips": (clip, cell_clip), "given": state is not None}
    return y, {**c, "biases": (bias_ih is not None, bias_hh is not None)}


@backward
def projected_lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g); a clip passes the gradient where it changes nothing."""
    x, u, gates, raw, p = c["x"], c["u"], c["gates"], c["raw"], len(c["weight_hr"])
    before = np.concatenate([c["start"][:, None], c["y"][:, :-1]], 1)
    dz, dprojected, dstate = np.empty_like(gates), np.empty_like(dy[..., :p]), np.zeros_like(dy[:, 0])
    inside = np.concatenate([_unclipped(raw[..., :p], c["clips"][0]), _unclipped(raw[..., p:], c["clips"][1])], -1)
    for t in reversed(range(x.shape[1])):
        total = dstate + dy[:, t]
        passed = 0 if c["there"] is None else total * ~c["there"][:, t]
        total = total - passed
        (i, f, g, o), squashed = np.split(gates[:, t], 4, 1), np.tanh(c["y"][:, t, p:])
        dprojected[:, t] = total[:, :p] * inside[:, t, :p]
        du = kernels.product(dprojected[:, t], c["weight_hr"])
        dc = (total[:, p:] + du * o * (1 - squashed * squashed)) * inside[:, t, p:]
        slopes = dc * g * i * (1 - i), dc * before[:, t, p:] * f * (1 - f), dc * i * (1 - g * g), du * u[:, t] * (1 - o)
        dz[:, t] = np.concatenate(slopes, 1)
        dstate = np.concatenate([kernels.product(dz[:, t], c["weight_hh"]), dc * f], 1) + passed
    dx, g = _inputs_backward(dz, c)
    g["weight_hh"] = kernels.product(_flat(dz).T, _flat(before[..., :p]))
    g["weight_hr"] = kernels.product(_flat(dprojected).T, _flat(u))
    return (dx, dstate, g) if c["given"] else (dx, g)


@pair("(b,2,i),(b,2),(6,i),(6,2),(6),(6)->(b,2,2)", mask="(b,2)?")
def gru(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[Array, Cache]:
    """The states h of a gated recurrent unit behind each token, read from left to right: x (B, T, I) -> y (B, T, N)
    (arXiv 1406.1078, section 2.3, with the reset behind the product, as torch.nn.GRU has it).

    With (r, z, n) = W_ih x[t] + b_ih and (r', z', n') = W_hh h[t-1] + b_hh: ρ = σ(r + r'), ζ = σ(z + z'),
    h[t] = (1 - ζ)∘tanh(n + ρ∘n') + ζ∘h[t-1]. state: (B, N), 0 where it is None; y[:, -1] is the one to read on from.
    weight_ih (3N, I), weight_hh (3N, N), biases (3N,), either of which may be left out; mask as in `lstm`.
    """
    n = weight_hh.shape[1]
    start = np.zeros((len(x), n), x.dtype) if state is None else state
    gates, there = _inputs(x, weight_ih, (bias_ih,)), None if mask is None else mask.astype(bool)[..., None]
    y, recurred = np.empty((*x.shape[:2], n), gates.dtype), np.empty((*x.shape[:2], n), gates.dtype)
    before = start
    for t in range(x.shape[1]):
        product = kernels.product(before, weight_hh.T)
        product = product if bias_hh is None else product + bias_hh
        r, z, recurred[:, t] = np.split(product, 3, 1)
        r, z = _sigmoid(gates[:, t, :n] + r), _sigmoid(gates[:, t, n : 2 * n] + z)
        new = np.tanh(gates[:, t, 2 * n :] + r * recurred[:, t])
        gates[:, t] = np.concatenate([r, z, new], 1)
        after = (1 - z) * new + z * before
        before = y[:, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "gates": gates, "y": y, "there": there}
    return y, {**c, "recurred": recurred, "given": state is not None,
               "biases": (bias_ih is not None, bias_hh is not None)}  # fmt: skip


@backward
def gru_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g): through time, from the last token to the first."""
    x, gates = c["x"], c["gates"]
    before = np.concatenate([c["start"][:, None], c["y"][:, :-1]], 1)
    da, db, dh = np.empty_like(gates), np.empty_like(gates), np.zeros_like(dy[:, 0])
    for t in reversed(range(x.shape[1])):
        total = dh + dy[:, t]
        passed = 0 if c["there"] is None else total * ~c["there"][:, t]
        total = total - passed
        r, z, new = np.split(gates[:, t], 3, 1)
        dnew = total * (1 - z) * (1 - new * new)
        dr, dz = dnew * c["recurred"][:, t] * r * (1 - r), total * (before[:, t] - new) * z * (1 - z)
        da[:, t], db[:, t] = np.concatenate([dr, dz, dnew], 1), np.concatenate([dr, dz, dnew * r], 1)
        dh = kernels.product(db[:, t], c["weight_hh"]) + total * z + passed
    dx, g = _inputs_backward(da, {**c, "biases": (c["biases"][0], False)})
    g["weight_hh"] = kernels.product(_flat(db).T, _flat(before))
    if c["biases"][1]:
        g["bias_hh"] = kernels.column_sums(_flat(db))
    return (dx, dh, g) if c["given"] else (dx, g)


def _flat(a: Array) -> Array:
    """(B, T, N) -> (B·T, N)."""
    return a.reshape(-1, a.shape[-1])


def _inputs(x: Array, weight: Array, biases: tuple[Array | None, ...]) -> Array:
    """W x of all tokens at once, with the biases that there are: (B, T, ·)."""
    z = kernels.product(_flat(x), weight.T)
    for bias in filter(lambda b: b is not None, biases):
        kernels.add_row(z, bias)
    return z.reshape(*x.shape[:2], -1)


def _inputs_backward(dz: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    """(dx, gradients of weight_ih and of the biases that there are)."""
    rows = _flat(dz)
    g = {"weight_ih": kernels.product(rows.T, _flat(c["x"]))}
    g |= {name: kernels.column_sums(rows) for name, biased in zip(("bias_ih", "bias_hh"), c["biases"], strict=True)
          if biased}  # fmt: skip
    return kernels.product(rows, c["weight_ih"]).reshape(c["x"].shape), g


def _clipped(a: Array, most: float | None) -> Array:
    return a if most is None else np.clip(a, -most, most)


def _unclipped(a: Array, most: float | None) -> Array:
    """Where a clip changes nothing."""
    return np.ones(a.shape, bool) if most is None else abs(a) <= most


# ---- Dropout ---------------------------------------------------------------------------------------------------------
@pair("(t,d)->(t,d)", keep="(t,d)?", rate=0.25)
def dropout(x: Array, *, keep: Array | None, rate: float) -> tuple[Array, Cache]:
    """y = x∘keep/(1 - rate), keep 0 or 1 and drawn outside; without a mask y = x (Srivastava et al. 2014, inverted)."""
    return (x if keep is None else kernels.dropped(x, keep, _kept(rate))), {"keep": keep, "rate": rate}


@backward
def dropout_backward(dy: Array, c: Cache) -> Array:
    return dy if c["keep"] is None else kernels.dropped(dy, c["keep"], _kept(c["rate"]))


def dropout_multiplier(keep: Array, rate: float, dtype: np.dtype) -> Array:
    """keep/(1 - rate); all zero at rate 1."""
    return keep.astype(dtype) * dtype.type(_kept(rate))


def _kept(rate: float) -> float:
    """What a kept entry is multiplied by."""
    return 1 / (1 - rate) if rate < 1 else 0


# ---- Losses ----------------------------------------------------------------------------------------------------------
@pair("(m,...,v)->()", labels="(m,...)<v", weights="(m,...)+", ignore=0)
def cross_entropy(
    logits: Array,
    *,
    labels: Array,
    weights: Array | None = None,
    ignore: int | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ w·(log Σ exp z - z[label]) / denominator, in nats; logits (M, …, V), labels and weights (M, …).

    Targets whose label is `ignore` do not count. denominator: Σ w of the others, unless given; nothing counts gives 0.
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if weights is None else weights.reshape(-1).astype(z.dtype)
    if ignore is not None:
        w = w * (labels != ignore)
        labels = np.where(labels == ignore, 0, labels)
    top, rest = kernels.log_sum_exp(z)
    nll = rest[:, 0] - (z[np.arange(len(z)), labels] - top[:, 0])
    w = w * _reciprocal(w, denominator)
    loss = np.where(w == 0, 0, w * nll).sum()
    return np.asarray(loss), {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w}


@backward
def cross_entropy_backward(dy: Array, c: Cache) -> Array:
    (z,) = kernels.rows(c["logits"])
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], c["labels"], dy * c["weights"])
    return dz.reshape(c["logits"].shape)


@pair("(m,...,v)->()", labels="(m,...)<v", smoothing=0.1, ignore=0)
def smoothed_cross_entropy(
    logits: Array,
    *,
    labels: Array,
    smoothing: float,
    ignore: int | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ (log Σ exp z - (1 - ε)·z[label] - ε·mean z) / denominator: the cross-entropy against (1 - ε) of the label and
    ε/V of every class (arXiv 1512.00567, section 7), in nats; logits (M, …, V), labels (M, …), ε the smoothing.

    Targets whose label is `ignore` do not count. denominator: how many others there are, unless given.
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if ignore is None else (labels != ignore).astype(z.dtype)
    labels = np.where(w == 0, 0, labels)
    top, rest = kernels.log_sum_exp(z)
    ahead = z - top
    nll = rest[:, 0] - (1 - smoothing) * ahead[np.arange(len(z)), labels] - smoothing * ahead.mean(-1)
    w = w * _reciprocal(w, denominator)
    loss = np.where(w == 0, 0, w * nll).sum(dtype=z.dtype)
    c = {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w, "smoothing": smoothing}
    return np.asarray(loss), c


@backward
def smoothed_cross_entropy_backward(dy: Array, c: Cache) -> Array:
    # dz = w·(softmax z - (1 - ε)·onehot - ε/V) = w·(softmax z - onehot) + w·ε·(onehot - 1/V)
    (z,), w, labels = kernels.rows(c["logits"]), dy * c["weights"], c["labels"]
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], labels, w)
    spread = w * z.dtype.type(c["smoothing"])
    dz -= spread[:, None] / z.dtype.type(z.shape[-1])
    dz[np.arange(len(z)), labels] += spread
    return dz.reshape(c["logits"].shape)


@pair("(m,...,v)->()", labels="(m,...)<v", weights="(m,...)+", smoothing=0.1, excluded=0)
def smoothed_divergence(
    logits: Array,
    *,
    labels: Array,
    smoothing: float,
    excluded: int | None = None,
    weights: Array | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ w·Σ_c q_c (log q_c - log softmax(z)_c) / denominator, in nats, q 1 - ε at the label, 0 at the class `excluded`,
    the rest of ε in equal parts elsewhere (at the label, where there is no elsewhere); logits (M, …, V), labels and
    weights (M, …), ε the smoothing.

    Targets whose label is `excluded` do not count. denominator: Σ w of the others, unless given. (microsoft/unilm,
    unilm-v1, `LabelSmoothingLoss`.)
    """
    (z,) = kernels.rows(logits)
    labels = labels.reshape(-1)
    w = np.ones(len(z), z.dtype) if weights is None else weights.reshape(-1).astype(z.dtype)
    others = z.shape[-1] - (1 if excluded is None else 2)
    smoothing = smoothing if others > 0 else 0.0
    q = np.full_like(z, smoothing / max(others, 1))
    if excluded is not None:
        w, q[:, excluded] = w * (labels != excluded), 0
    q[np.arange(len(z)), labels] = 1 - smoothing
    top, rest = kernels.log_sum_exp(z)
    entropy = -sum(share * np.log(share / n) for share, n in ((1 - smoothing, 1), (smoothing, others)) if share)
    divergence = (q * (rest - (z - top))).sum(-1) - z.dtype.type(entropy)
    w = w * _reciprocal(w, denominator)
    c = {"logits": logits, "top": top, "rest": rest, "labels": labels, "weights": w, "q": q}
    return np.asarray(np.where(w == 0, 0, w * divergence).sum(dtype=z.dtype)), c


@backward
def smoothed_divergence_backward(dy: Array, c: Cache) -> Array:
    # dz = w·(softmax z - q) = w·(softmax z - onehot) + w·(onehot - q)
    (z,), w, labels = kernels.rows(c["logits"]), dy * c["weights"], c["labels"]
    dz = kernels.softmax_minus_onehot(z, c["top"], c["rest"], labels, w) - w[:, None] * c["q"]
    dz[np.arange(len(z)), labels] += w
    return dz.reshape(c["logits"].shape)


def _reciprocal(weights: Array, denominator: float | None) -> np.floating:
    """1/denominator, or 1/Σ weights; 0 where that is 0, so that no target gives loss 0 and gradient 0."""
    total = weights.sum() if denominator is None else denominator
    require(bool(np.isfinite(total)), f"the sum of the targets' weights is beyond {weights.dtype}: scale them down")
    return weights.dtype.type(1 / total if total else 0)


@pair("(...,d)->()", labels="(...,d)?", weights="(...,d)+")
def binary_cross_entropy(
    logits: Array, *, labels: Array, weights: Array | None = None, denominator: float | None = None
) -> tuple[Array, Cache]:
    """Σ w·(max(z, 0) - z·label + log(1 + e^-|z|)) / denominator = mean of -label·log σ(z) - (1 - label)·log σ(-z).

    labels in [0, 1] and weights have the shape of logits; denominator: Σ w unless given.
    """
    w = np.ones_like(logits) if weights is None else weights.astype(logits.dtype)
    w = w * _reciprocal(w, denominator)
    nll = np.maximum(logits, 0) - logits * labels.astype(logits.dtype) + np.log1p(np.exp(-np.abs(logits)))
    return np.asarray((w * nll).sum()), {"logits": logits, "labels": labels, "weights": w}


@backward
def binary_cross_entropy_backward(dy: Array, c: Cache) -> Array:
    probability = _sigmoid(c["logits"])  # not the pair: a backward calls no forward that traces would see
    return dy * c["weights"] * (probability - c["labels"].astype(probability.dtype))


@pair("(...,d)->()", target="(...,d)", weights="(...,d)+")
def mean_squared_error(
    x: Array, *, target: Array, weights: Array | None = None, denominator: float | None = None
) -> tuple[Array, Cache]:
    """Σ w·(x - target)² / denominator; all of one shape; denominator: Σ w unless given."""
    w = np.ones_like(x) if weights is None else weights.astype(x.dtype)
    w = w * _reciprocal(w, denominator)
    difference = x - target.astype(x.dtype, copy=False)
    return np.asarray((w * difference * difference).sum()), {"difference": difference, "weights": w}


@backward
def mean_squared_error_backward(dy: Array, c: Cache) -> Array:
    return dy * 2 * c["weights"] * c["difference"]


@pair("(m,...,v)->()", target="(m,...,v)", weights="(m,...)+", temperature=2.0, denominator=3.0)
def soft_targets(
    logits: Array, *, target: Array, temperature: float, weights: Array, denominator: float
) -> tuple[Array, Cache]:
    """T² Σ w Σ_c q_c (log q_c - log s_c) / denominator, q = softmax(target/T), s = softmax(logits/T); logits and target
    (M, …, V), weights (M, …) (arXiv 1503.02531, section 2). The target is data.
    """
    t = logits.dtype.type(temperature)
    log_q, log_s = (log_softmax(z / t)[0] for z in (target.astype(logits.dtype, copy=False), logits))
    q, w = np.exp(log_q), weights.astype(logits.dtype) * logits.dtype.type(temperature**2 / denominator)
    loss = (w * (q * (log_q - log_s)).sum(-1)).sum()
    return np.asarray(loss), {"q": q, "s": np.exp(log_s), "weights": w / t}


@backward
def soft_targets_backward(dy: Array, c: Cache) -> Array:
    return dy * c["weights"][..., None] * (c["s"] - c["q"])


# ---- Linear-chain conditional random field ---------------------------------------------------------------------------
@pair("(b,3,m),(m),(m,m),(m)->()", labels="(b,3)<m", mask="(b,3)?")
def crf_loss(
    emissions: Array,
    start_transitions: Array,
    transitions: Array,
    end_transitions: Array,
    *,
    labels: Array,
    mask: Array | None = None,
    denominator: float | None = None,
) -> tuple[Array, Cache]:
    """Σ_rows (log Z - score(labels)) / denominator, in nats: what labels are worth against all others of their row
    (Lafferty et al. 2001; Lample et al. 2016, arXiv 1603.01360, section 2.2).

    score(y) = start[y_1] + Σ_t e[t, y_t] + Σ_t A[y_(t-1), y_t] + end[y_T], Z = Σ_y exp score(y) over all y, by the
    forward algorithm: α_t(j) = e[t, j] + log Σ_i exp(α_(t-1)(i) + A[i, j]).

    emissions (B, T, K), labels (B, T); transitions (K, K), from the row to the column, start and end (K,), under their
    names in published checkpoints. mask: bits (B, T), 1 = in the chain; what is not is left out, wherever it stands,
    and its label may be anything. denominator: how many rows have a chain, unless given; one without counts nothing.
    """
    e, order, lengths = _chains(emissions, mask)
    e = e - _top(e, 2)  # what all labels of a step share cancels: with it log Z and the score would be large
    y = np.where(_within(lengths, e), np.take_along_axis(labels, order, 1), 0)
    w = (lengths > 0).astype(e.dtype)
    w = w * _reciprocal(w, denominator)
    alpha, norms = [], []  # α less log Σ α, which is added up by itself: of a long chain α would be large
    for t in range(e.shape[1]):
        a = e[:, t] + (_log_sum_exp(alpha[-1][:, :, None] + transitions, 1) if t else start_transitions)
        norms.append(_log_sum_exp(a, 1))
        alpha.append(a - _finite(norms[-1])[:, None])
    alpha, rows, last = np.stack(alpha, 1), np.arange(len(e)), np.maximum(lengths - 1, 0)
    steps = np.take_along_axis(e, y[..., None], 2)[..., 0]
    steps[:, 0] += start_transitions[y[:, 0]]
    steps[:, 1:] += transitions[y[:, :-1], y[:, 1:]]
    ends = _log_sum_exp(alpha[rows, last] + end_transitions, 1) - end_transitions[y[rows, last]]
    nll = np.where(_within(lengths, e), np.stack(norms, 1) - steps, 0).sum(1) + ends  # log Z - score
    loss = np.where(w == 0, 0, w * nll).sum(dtype=e.dtype)
    c = {"e": e, "order": order, "lengths": lengths, "labels": y, "weights": w, "alpha": alpha}
    c |= {"start": start_transitions, "transitions": transitions, "end": end_transitions}
    return np.asarray(loss), {**c, "length": emissions.shape[1]}


@backward
def crf_loss_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # dlog Z/de[t, j] = P(y_t = j), dlog Z/dA[i, j] = Σ_t P(y_(t-1) = i, y_t = j), by the backward algorithm:
    # β_T = end, β_t(i) = log Σ_j exp(A[i, j] + e[t+1, j] + β_(t+1)(j)); P(y_t) = softmax(α_t + β_t), of pairs the
    # softmax of α_t(i) + A[i, j] + e[t+1, j] + β_(t+1)(j); of the score 1 for each label and each pair of them
    e, alpha, transitions, y = c["e"], c["alpha"], c["transitions"], c["labels"]
    w, inside, rows = dy * c["weights"], _within(c["lengths"], e), np.arange(len(e))
    last = inside & ~np.pad(inside[:, 1:], ((0, 0), (0, 1)))
    de, dtransitions = np.empty_like(e), np.zeros_like(transitions)
    beta = np.broadcast_to(c["end"], e[:, 0].shape)
    for t in reversed(range(e.shape[1])):
        if t + 1 < e.shape[1]:
            ahead = transitions + (e[:, t + 1] + beta)[:, None]  # (B, K, K)
            pairs = _weighed(alpha[:, t, :, None] + ahead, np.where(inside[:, t + 1], w, 0))
            dtransitions += pairs.sum(0)
            np.subtract.at(dtransitions, (y[:, t], y[:, t + 1]), w * inside[:, t + 1])
            beta = np.where(last[:, t, None], c["end"], _log_sum_exp(ahead - _top(ahead, (1, 2)), 2))
        de[:, t] = _weighed(alpha[:, t] + beta, np.where(inside[:, t], w, 0))
        de[rows, t, y[:, t]] -= w * inside[:, t]
    whole = np.zeros((len(e), c["length"], e.shape[2]), e.dtype)
    np.put_along_axis(whole, c["order"][..., None], de, 1)
    dend = (de * last[..., None]).sum((0, 1))
    return whole, {"start_transitions": de[:, 0].sum(0), "transitions": dtransitions, "end_transitions": dend}


def _weighed(scores: Array, w: Array) -> Array:
    """w times the softmax over all but the rows; 0 where w is, whatever the scores."""
    flat = scores.reshape(len(scores), -1)
    shares = kernels.softmax(np.where(w[:, None] == 0, 0, flat), np.empty_like(flat))
    return (w[:, None] * shares).reshape(scores.shape)


def viterbi(
    emissions: Array,
    start_transitions: Array,
    transitions: Array,
    end_transitions: Array,
    *,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """(labels (B, T) of the highest score of `crf_loss`, -1 where nothing is in the chain; their scores (B,)).

    Of equal scores the one whose last label is lowest, then the label before it, and so on. What must not follow has a
    transition of -inf.
    """
    e, order, lengths = _chains(emissions, mask)
    best, came = start_transitions + e[:, 0], []
    ended = np.where(lengths[:, None] == 1, best, 0)  # the scores where the chain ends
    for t in range(1, e.shape[1]):
        through = best[:, :, None] + transitions  # (B, K, K)
        came.append(through.argmax(1))
        best = e[:, t] + through.max(1)
        ended = np.where(lengths[:, None] == t + 1, best, ended)
    ended = ended + end_transitions
    y = np.empty(e.shape[:2], np.int64)
    for t in reversed(range(e.shape[1])):
        follows = 0 if t + 1 == e.shape[1] else np.take_along_axis(came[t], y[:, t + 1, None], 1)[:, 0]
        y[:, t] = np.where(lengths == t + 1, ended.argmax(1), follows)
    labels = np.full(emissions.shape[:2], -1)
    np.put_along_axis(labels, order, np.where(_within(lengths, e), y, -1), 1)
    return labels, np.where(lengths > 0, ended.max(1), 0)


def _chains(emissions: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """(emissions of what is in the chain, each row's in front, as long as the longest; their places; their number)."""
    mask = np.ones(emissions.shape[:2], bool) if mask is None else mask.astype(bool)
    lengths = mask.sum(1)
    order = np.argsort(~mask, axis=1, kind="stable")[:, : max(1, lengths.max(initial=0))]
    return np.take_along_axis(emissions, order[..., None], 1), order, lengths


def _within(lengths: Array, e: Array) -> Array:
    """Bits (B, T) of the steps that a chain has."""
    return np.arange(e.shape[1]) < lengths[:, None]


def _top(x: Array, axis: int | tuple[int, ...]) -> Array:
    """The maximum, 0 where that is -inf: from what is all forbidden nothing is subtracted."""
    return _finite(x.max(axis, keepdims=True))


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), x, 0)


def _log_sum_exp(x: Array, axis: int) -> Array:
    top = _top(x, axis)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axis)) + top.squeeze(axis)
