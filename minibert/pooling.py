"""From the states of tokens to vectors of a text, and what two such vectors have to do with each other.

The mean, the maximum and the mix of layers are ops (`ops.mean_over_time`, `ops.max_over_time`, `ops.scalar_mix`); here
are one token, several of these beside each other and ULMFiT's layer over them, windows of tokens (TextCNN), an LSTM's
last states, RCNN, attention by learnt queries (Set Transformer), the mean over a mix of layers, and of two vectors the
neural tensor layer and the cosine. seen: bits (B, T), 1 = there;
what is not there changes nothing.

`pooled` makes (B, D') of (B, T, D) in any of these ways by its name, with the tree that `shapes` says.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minibert import kernels, layers, ops, recurrent, tree
from minibert.config import one_of
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


# ---- One token -------------------------------------------------------------------------------------------------------
@block
def first_token(x: Array, *, seen: Array | None = None) -> tuple[Array, Tree]:
    """The state of the first token that is there, x (B, T, D) -> (B, D); of the first one where none is."""
    places = np.zeros(len(x), np.int64) if seen is None else (seen != 0).argmax(1)
    return one_token(x, places)


@block_backward
def first_token_backward(dy: Array, c: Tree) -> Array:
    return one_token_backward(dy, c)


@block
def last_token(x: Array, *, seen: Array | None = None) -> tuple[Array, Tree]:
    """The state of the last token that is there, x (B, T, D) -> (B, D); of the last one where none is."""
    behind = np.zeros(len(x), np.int64) if seen is None else (seen[:, ::-1] != 0).argmax(1)
    return one_token(x, x.shape[1] - 1 - behind)


@block_backward
def last_token_backward(dy: Array, c: Tree) -> Array:
    return one_token_backward(dy, c)


def one_token(x: Array, places: Array) -> tuple[Array, Tree]:
    """The state at its place (B,) of each row, x (B, T, D) -> (B, D)."""
    y, own = ops.gather(x, positions=places[:, None])
    return y[:, 0], {"gather": own}


def one_token_backward(dy: Array, c: Tree) -> Array:
    """dx."""
    return ops.gather_backward(dy[:, None], c["gather"])


# ---- Several beside each other ---------------------------------------------------------------------------------------
@block
def concat_pooling(x: Array, *, seen: Array | None = None) -> tuple[Array, Tree]:
    """[last; max; mean] over the tokens that are there, x (B, T, D) -> (B, 3D) (Howard and Ruder 2018, arXiv
    1801.06146, section 3.3).
    """
    c: Tree = {}
    last, c["last"] = last_token(x, seen=seen)
    most, c["max"] = ops.max_over_time(x, mask=seen)
    mean, c["mean"] = ops.mean_over_time(x, weights=seen)
    return np.concatenate([last, most, mean], -1), c


@block_backward
def concat_pooling_backward(dy: Array, c: Tree) -> Array:
    dlast, dmost, dmean = np.split(dy, 3, -1)
    dx = kernels.add(last_token_backward(dlast, c["last"]), ops.max_over_time_backward(dmost, c["max"]))
    return kernels.add(dx, ops.mean_over_time_backward(dmean, c["mean"]))


FOLLOWED = ("running_mean", "running_var")  # what a layer keeps of its batches and no gradient trains


@block
def batch_norm(x: Array, p: Tree, *, batch: bool, eps: float = 1e-5) -> tuple[Array, Tree]:
    """y = weight (x - m) / sqrt(v + eps) + bias, x (B, D) -> (B, D), p: four of (D,) (Ioffe and Szegedy 2015, arXiv
    1502.03167; torch.nn.BatchNorm1d). m, v: with batch the mean and variance of these B rows, v divided by B; without,
    p's running_mean and running_var, numbers above 0.

    c["followed"]: m, and v divided by B - 1, which those two are to follow.
    """
    rows = len(x)
    m, v = (x.mean(0), x.var(0)) if batch else (p["running_mean"], p["running_var"])
    r = 1 / np.sqrt(v + x.dtype.type(eps))
    h = (x - m) * r
    c = {"h": h, "r": r, "weight": p["weight"], "batch": batch}
    if batch:
        c["followed"] = {"running_mean": m, "running_var": v * x.dtype.type(rows / max(1, rows - 1))}
    return p["weight"] * h + p["bias"], c


@block_backward
def batch_norm_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g): with batch the running ones get 0, else what they get as any other number."""
    h, r = c["h"], c["r"]
    g, dh = {"weight": (dy * h).sum(0), "bias": dy.sum(0)}, dy * c["weight"]
    if c["batch"]:
        return r * (dh - dh.mean(0) - h * (dh * h).mean(0)), {**g, **{name: np.zeros_like(r) for name in FOLLOWED}}
    dv = -r * r * (dh * h).sum(0) / 2
    return dh * r, {**g, "running_mean": -(dh * r).sum(0), "running_var": dv}


@block
def ulmfit_pooling(
    x: Array, p: Tree, *, seen: Array | None = None, keep: Array | None = None, rate: float = 0.0, batch: bool = False
) -> tuple[Array, Tree]:  # fmt: skip
    """BN(relu(Drop(BN([last; max; mean])) Wᵀ + b)), x (B, T, D) -> (B, O): ULMFiT's classifier up to its last linear
    map and the dropout before that (arXiv 1801.06146, section 3.3). p: pooled {norm (3D)}, dense (O, 3D), norm (O);
    keep (B, 3D) at rate; batch as in `batch_norm`.
    """
    c: Tree = {}
    h, c["concat_pooling"] = concat_pooling(x, seen=seen)
    h, c["pooled"] = batch_norm(h, p["pooled"]["norm"], batch=batch)
    h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    h, c["dense"] = ops.linear(h, **p["dense"])
    h, c["relu"] = ops.relu(h)
    h, c["norm"] = batch_norm(h, p["norm"], batch=batch)
    return h, c


@block_backward
def ulmfit_pooling_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dh, norm = batch_norm_backward(dy, c["norm"])
    dh, dense = ops.linear_backward(ops.relu_backward(dh, c["relu"]), c["dense"])
    dh, pooled = batch_norm_backward(ops.dropout_backward(dh, c["dropout"]), c["pooled"])
    return concat_pooling_backward(dh, c["concat_pooling"]), {"pooled": {"norm": pooled}, "dense": dense, "norm": norm}


def followed(c: Tree) -> dict[str, Array]:
    """{path in the tree of what a pooling learns: the value of this batch that it is to follow}, of a cache of
    `pooled`.
    """
    own = c["pooling"]
    norms = {"pooled.norm": own["pooled"], "norm": own["norm"]} if c["how"] == "ulmfit" else {}
    return {f"{path}.{name}": value for path, norm in norms.items()
            for name, value in norm.get("followed", {}).items()}  # fmt: skip


def still(g: Tree) -> Tree:
    """A gradient in which what is followed has none: it is data."""
    flat = tree.flatten(g)
    return tree.unflatten({path: np.zeros_like(array) if path.rpartition(".")[2] in FOLLOWED else array
                           for path, array in flat.items()})  # fmt: skip


# ---- Windows of tokens -----------------------------------------------------------------------------------------------
@block
def text_convolution(x: Array, ps: list[Tree], *, seen: Array | None = None) -> tuple[Array, Tree]:
    """max over windows of relu(W x + b), for each of the convolutions ps (weight (O, D, k), bias (O,)) its own, beside
    each other: x (B, T, D) -> (B, Σ O) (Kim 2014, arXiv 1408.5882, section 2).

    Only windows without padding count; a text that is shorter than a window has 0 there.
    """
    pooled, c = [], []
    for p in ps:
        own: Tree = {}
        h, own["convolution"] = ops.convolution(x, **p, mask=seen)
        h, own["relu"] = ops.relu(h)
        there = None if seen is None else ops.windows_there(seen, p["weight"].shape[-1])
        h, own["max"] = ops.max_over_time(h, mask=there)
        pooled.append(h)
        c.append(own)
    return np.concatenate(pooled, -1), {"windows": c}


@block_backward
def text_convolution_backward(dy: Array, c: Tree) -> tuple[Array, list[Tree]]:
    dxs, gs = [], []
    ends = np.cumsum([own["max"]["shape"][-1] for own in c["windows"]])
    for own, dpart in zip(c["windows"], np.split(dy, ends[:-1], -1), strict=True):
        dh = ops.relu_backward(ops.max_over_time_backward(dpart, own["max"]), own["relu"])
        dx, g = ops.convolution_backward(dh, own["convolution"])
        dxs.append(dx)
        gs.append(g)
    return sum(dxs[1:], dxs[0]), gs


# ---- A recurrent layer -----------------------------------------------------------------------------------------------
@block
def lstm_pooling(x: Array, ps: list[Tree], *, seen: Array | None = None) -> tuple[Array, Tree]:
    """The last output in each direction of a stack of LSTMs that reads both ways, x (B, T, D) -> (B, 2N): from the left
    that behind the last token that is there, from the right that at the first one. ps as in `recurrent.lstm_stack`.
    """
    h, c = recurrent.lstm_stack(x, ps, seen=seen)
    left, right = np.split(h, 2, -1)
    return np.concatenate([left[:, -1], right[:, 0]], -1), {"lstm_stack": c, "shape": h.shape}


@block_backward
def lstm_pooling_backward(dy: Array, c: Tree) -> tuple[Array, list[Tree]]:
    dh = np.zeros(c["shape"], dy.dtype)
    n = dy.shape[-1] // 2
    dh[:, -1, :n], dh[:, 0, n:] = dy[:, :n], dy[:, n:]
    return recurrent.lstm_stack_backward(dh, c["lstm_stack"])


@block
def rcnn_pooling(x: Array, ps: list[Tree], *, seen: Array | None = None) -> tuple[Array, Tree]:
    """max over time of relu([x; LSTMs(x)]): each token beside what stands to its left and right, x (B, T, D) ->
    (B, D + 2N) (Lai et al. 2015, "Recurrent convolutional neural networks for text classification", with LSTMs, as over
    BERT). ps as in `recurrent.lstm_stack`.
    """
    c: Tree = {"width": x.shape[-1]}
    h, c["lstm_stack"] = recurrent.lstm_stack(x, ps, seen=seen)
    h, c["relu"] = ops.relu(np.concatenate([x, h], -1))
    y, c["max"] = ops.max_over_time(h, mask=seen)
    return y, c


@block_backward
def rcnn_pooling_backward(dy: Array, c: Tree) -> tuple[Array, list[Tree]]:
    dh = ops.relu_backward(ops.max_over_time_backward(dy, c["max"]), c["relu"])
    dx, gs = recurrent.lstm_stack_backward(dh[..., c["width"] :], c["lstm_stack"])
    return kernels.add(dx, dh[..., : c["width"]]), gs


# ---- Attention by learnt queries -------------------------------------------------------------------------------------
@block
def set_attention(
    x: Array, y: Array, p: Tree, *, width: int, seen: Array | None = None, scale: float | None = None, eps: float = 1e-5
) -> tuple[Array, Tree]:
    """MAB(x, y): h = LN(Q + softmax(scale·Q Kᵀ) V), LN(h + relu(h Wᵀ + b)), Q the projected x (B, T, D), K and V the
    projected y (B, S, E); both norms only where p has them (Lee et al. 2019, arXiv 1810.00825, eq. 6-7).

    p: attention (query, key, value, norm; an adapter, of what is attended to), feed_forward (out, norm). width: of one
    head. seen: of y. scale: 1/√width unless given; paper and release have 1/√D, D the whole width.
    """
    c: Tree = {}
    own, last = p["attention"], p["feed_forward"]
    q, k, v = (_projected(z, own, name, width, c) for name, z in (("query", x), ("key", y), ("value", y)))
    context, c["attention"] = ops.attention(q, k, v, mask=layers.of_source(seen), scale=scale)
    context, c["merge"] = ops.merge_heads(context)
    context, c["end"] = layers.dropped(context, own, None, 0.0)
    residual, c["residual"] = ops.merge_heads(q)
    h = kernels.add(residual, context)
    h, c["attention_norm"] = _normed(h, own, eps)
    f, c["out"] = ops.linear(h, **last["out"])
    f, c["relu"] = ops.relu(f)
    h, c["feed_forward_norm"] = _normed(kernels.add(h, f), last, eps)
    return h, c


@block_backward
def set_attention_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dy, g)."""
    g: Tree = {"attention": {}, "feed_forward": {}}
    dh = _normed_backward(dy, c["feed_forward_norm"], g["feed_forward"])
    df, g["feed_forward"]["out"] = ops.linear_backward(ops.relu_backward(dh, c["relu"]), c["out"])
    dh = _normed_backward(kernels.add(dh, df), c["attention_norm"], g["attention"])
    dcontext, end = layers.dropped_backward(dh, c["end"])
    g["attention"] |= end
    dq = ops.merge_heads_backward(dh, c["residual"])
    dother, dk, dv = ops.attention_backward(ops.merge_heads_backward(dcontext, c["merge"]), c["attention"])
    dx, g["attention"]["query"] = layers.projected_backward(kernels.add(dother, dq), c, "query")
    dkey, g["attention"]["key"] = layers.projected_backward(dk, c, "key")
    dvalue, g["attention"]["value"] = layers.projected_backward(dv, c, "value")
    return dx, kernels.add(dkey, dvalue), g


def _projected(x: Array, p: Tree, name: str, width: int, c: Tree) -> Array:
    y, own = layers.projected(x, p, name, heads=len(p[name]["weight"]) // width)
    c |= own
    return y


def _normed(h: Array, p: Tree, eps: float) -> tuple[Array, Tree | None]:
    return ops.layer_norm(h, **p["norm"], eps=eps) if "norm" in p else (h, None)


def _normed_backward(dy: Array, c: Tree | None, g: Tree) -> Array:
    if c is None:
        return dy
    dh, g["norm"] = ops.layer_norm_backward(dy, c)
    return dh


@block
def attention_pooling(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """PMA(x) = MAB(S, x): k learnt seeds attend to the states of a text, x (B, T, D) -> (B, k, D), whatever their order
    (arXiv 1810.00825, eq. 11, without the feed-forward before it, as in the release).

    p: seeds {weight (k, D)}, attention, feed_forward; given: width, seen, scale, eps of `set_attention`.
    """
    seeds = p["seeds"]["weight"]
    y, own = set_attention(np.broadcast_to(seeds, (len(x), *seeds.shape)), x, p, **given)
    return y, {"set_attention": own}


@block_backward
def attention_pooling_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dseeds, dx, g = set_attention_backward(dy, c["set_attention"])
    return dx, {**g, "seeds": {"weight": dseeds.sum(0)}}


# ---- A mix of layers -------------------------------------------------------------------------------------------------
@block
def layer_pooling(x: Array, p: Tree, *, seen: Array | None = None) -> tuple[Array, Tree]:
    """The mean over the tokens of Σ_m softmax(w)_m x_m, the states behind M layers (M, B, T, D) -> (B, D), p: {weight
    (M,)} (Peters et al. 2018, arXiv 1802.05365, eq. 1 with γ = 1).
    """
    c: Tree = {}
    h, c["mix"] = ops.scalar_mix(x, p["weight"], np.ones(1, x.dtype))
    y, c["mean"] = ops.mean_over_time(h, weights=seen)
    return y, c


@block_backward
def layer_pooling_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, g = ops.scalar_mix_backward(ops.mean_over_time_backward(dy, c["mean"]), c["mix"])
    return dx, {"weight": g["weight"]}


# ---- Any of these ----------------------------------------------------------------------------------------------------
class Pooling(NamedTuple):
    """A way of pooling. shapes(width, **sizes) -> the tree of what it learns, or None; forward(x, p, seen=…, **how) ->
    (y, cache), backward(dy, cache) -> dx, or (dx, g) where it learns something; size: which of the sizes may be chosen,
    usual(width) unless it is; wide(width, size) -> D'; dropped(width): how wide the mask of what it drops is, of one
    that drops and takes keep, rate and batch, too.
    """

    shapes: Callable
    forward: Callable
    backward: Callable
    size: str | None = None
    wide: Callable = lambda width, size: width
    usual: Callable = lambda width: max(1, width // 2)
    dropped: Callable | None = None


def _of_windows(width: int, *, windows: tuple[int, ...] = (2, 3, 4), filters: int = 256) -> list[Tree]:
    return [{"weight": (filters, width, k), "bias": (filters,)} for k in windows]


def _of_lstms(width: int, *, hidden: int = 256, layers: int = 2) -> list[Tree]:
    return [recurrent.shapes(2 * hidden if i else width, hidden, both=True) for i in range(layers)]


def _of_attention(width: int, *, seeds: int = 1) -> Tree:
    dense = {"weight": (width, width), "bias": (width,)}
    attention = {name: dict(dense) for name in ("query", "key", "value")}
    return {"seeds": {"weight": (seeds, width)}, "attention": attention, "feed_forward": {"out": dense}}


def _of_layers(width: int, *, layers: int = 13) -> Tree:
    return {"weight": (layers,)}


def _of_ulmfit(width: int, *, units: int = 50) -> Tree:
    def norm(size: int) -> Tree:
        return {"norm": dict.fromkeys(("weight", "bias", *FOLLOWED), (size,))}

    return {"pooled": norm(3 * width), "dense": {"weight": (units, 3 * width), "bias": (units,)}, **norm(units)}


def _none(width: int) -> None:
    return None


# sizes unless others are given are those of the widely used code over BERT
POOLINGS = {
    "first": Pooling(_none, lambda x, p, *, seen: first_token(x, seen=seen), first_token_backward),
    "last": Pooling(_none, lambda x, p, *, seen: last_token(x, seen=seen), last_token_backward),
    "mean": Pooling(_none, lambda x, p, *, seen: ops.mean_over_time(x, weights=seen), ops.mean_over_time_backward),
    "max": Pooling(_none, lambda x, p, *, seen: ops.max_over_time(x, mask=seen), ops.max_over_time_backward),
    "attention": Pooling(_of_attention, attention_pooling, attention_pooling_backward, "seeds", lambda d, n: d * n,
                         lambda d: 1),
    "concat": Pooling(_none, lambda x, p, *, seen: concat_pooling(x, seen=seen), concat_pooling_backward, None,
                      lambda d, n: 3 * d),
    "ulmfit": Pooling(_of_ulmfit, ulmfit_pooling, ulmfit_pooling_backward, "units", lambda d, n: n, lambda d: 50,
                      lambda d: 3 * d),
    "cnn": Pooling(_of_windows, text_convolution, text_convolution_backward, "filters", lambda d, n: 3 * n),
    "lstm": Pooling(_of_lstms, lstm_pooling, lstm_pooling_backward, "hidden", lambda d, n: 2 * n),
    "rcnn": Pooling(_of_lstms, rcnn_pooling, rcnn_pooling_backward, "hidden", lambda d, n: d + 2 * n),
    "layers": Pooling(_of_layers, layer_pooling, layer_pooling_backward, "layers"),
}


def shapes(how: str, width: int, **sizes: Any) -> Any:
    """The shapes of what a way of pooling states of this width learns; None where it learns nothing."""
    return POOLINGS[one_of("pooling", how, POOLINGS)].shapes(width, **sizes)


def pooled(x: Array, p: Any, *, how: str, seen: Array | None = None, **given: Any) -> tuple[Array, Tree]:
    """x (B, T, D) in the way `how`, of POOLINGS, as one vector a row, (B, D'). p: of `shapes`. given: of "attention",
    width, scale and eps; several seeds stand beside each other; of "ulmfit", keep, rate and batch. Of "layers" x is
    (M, B, T, D).
    """
    y, own = POOLINGS[one_of("pooling", how, POOLINGS)].forward(x, p, seen=seen, **given)
    return y.reshape(len(y), -1), {"how": how, "pooling": own, "shape": y.shape}


def pooled_backward(dy: Array, c: Tree) -> tuple[Array, Any]:
    """(dx, g, None where nothing is learnt)."""
    got = POOLINGS[c["how"]].backward(dy.reshape(c["shape"]), c["pooling"])
    return got if isinstance(got, tuple) else (got, None)


# ---- Two vectors -----------------------------------------------------------------------------------------------------
@block
def tensor_layer(u: Array, v: Array, p: Tree) -> tuple[Array, Tree]:
    """tanh(uᵀ W_o v + V_o [u; v] + b_o) for each o (Socher et al. 2013, "Reasoning with neural tensor networks", eq. 1,
    whose score is a linear map of it); u (…, D), v (…, E) -> (…, O); p: tensor {weight (O, D, E)}, linear (O, D + E).
    """
    c: Tree = {"width": u.shape[-1]}
    z, c["tensor"] = ops.bilinear(u, v, **p["tensor"])
    h, c["linear"] = ops.linear(np.concatenate([u, v], -1), **p["linear"])
    y, c["tanh"] = ops.tanh(kernels.add(z, h))
    return y, c


@block_backward
def tensor_layer_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    g: Tree = {}
    dz = ops.tanh_backward(dy, c["tanh"])
    du, dv, g["tensor"] = ops.bilinear_backward(dz, c["tensor"])
    dboth, g["linear"] = ops.linear_backward(dz, c["linear"])
    return kernels.add(du, dboth[..., : c["width"]]), kernels.add(dv, dboth[..., c["width"] :]), g


@block
def cosine(u: Array, v: Array) -> tuple[Array, Tree]:
    """y = u·v / (|u| |v|), u and v (…, D) -> (…); 0 where either is 0, with gradient 0 there."""
    a, b = (np.sqrt((x * x).sum(-1, keepdims=True)) for x in (u, v))
    a, b = np.where(a > 0, a, np.inf).astype(u.dtype), np.where(b > 0, b, np.inf).astype(u.dtype)
    one, other = u / a, v / b
    return (one * other).sum(-1), {"one": one, "other": other, "norms": (a, b)}


@block_backward
def cosine_backward(dy: Array, c: Tree) -> tuple[Array, Array]:
    """(du, dv): du = dy (v/|v| - y u/|u|) / |u|."""
    one, other, (a, b) = c["one"], c["other"], c["norms"]
    dy, y = dy[..., None], (one * other).sum(-1, keepdims=True)
    return dy * (other - y * one) / a, dy * (one - y * other) / b
