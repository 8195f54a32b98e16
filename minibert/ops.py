"""Every leaf pair of the engine, in textbook order. Each backward stands under its forward and is read upward.

Differentiable arrays come first, data and constants by keyword: `f(...) -> (y, cache)`. `f_backward(dy, cache)` gives
the gradients in argument order, those of `weight` and `bias` as a dict. No argument is ever written to. float32,
float64 and longdouble stay what they are.
Letters: B batch, T and S tokens, D width, H heads, K head width, V vocabulary, M targets.
"""

from collections.abc import Callable
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
