"""Tensor parallelism: a layer, a table and its loss split over p ranks, equal to the whole in every value and gradient.

Shoeybi et al. 2019, arXiv 1909.08053, section 3; released code: NVIDIA/Megatron-LM, `megatron/core/tensor_parallel`.

    column    Y_r = X W_rᵀ + b_r, rank r has rows of W: whole heads of query, key, value; units of feed-forwards     (1)
    row       Z = Σ_r Y_r U_rᵀ + b, rank r has columns of U; the bias is added once, behind the sum                  (2)
    f         forward the identity, backward the sum over ranks: before (1)                                          (3)
    g         forward the sum over ranks, backward the identity: behind (2)                                          (4)
    look-up   Σ_r E_r[x - r·V/p], 0 where x is no row of rank r; rank r has V/p rows                                 (5)
    loss      mean of log Σ_r Σ e^(z_r - m) - (z[label] - m), m the largest logit of all ranks; z[label] from the rank
              that has it                                                                                            (6)

Between (1) and (2) nothing is exchanged, as the activation works entry by entry: 2 sums a layer forward, 2 backward.
Norms, residuals, their dropout and the bias of (2) are on every rank, computed from the same numbers: their gradients
are the same on all ranks and not summed. Ranks are computed one after the other here, in step: what they exchange are
the functions `reduced` and `largest`, and no number crosses over but through them.

    held = shards(p, ranks=4, width=64)                        a layer's tree -> a list of trees, one for each rank
    y, c = layer(x, held, width=64, act="gelu", eps=1e-5)      as `layers.pre_norm_layer` of the whole
    dx, gs = layer_backward(dy, c)                             gs: each rank's; joined(gs): as that of the whole
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, tree
from minibert.config import one_of, require

Array = np.ndarray
Tree = dict[str, Any]

COLUMN, ROW = ("query", "key", "value", "in"), ("output", "out")  # split by rows of the weight, by columns of it
QKV_LAYOUTS = ("0", "1.0", "2.0")


# ---- Trees -----------------------------------------------------------------------------------------------------------
def shards(p: Tree, *, ranks: int, width: int) -> list[Tree]:
    """The tree of a layer (attention, feed_forward; norms anywhere) as one for each rank: rows of COLUMN weights and
    their biases, columns of ROW weights, everything else whole. width: K, of one head, which stays whole. InputError
    where heads or units do not divide.
    """
    heads = len(p["attention"]["query"]["weight"]) // width
    units = len(p["feed_forward"]["in"]["weight"])
    fits = ranks > 0 and heads % ranks == 0 and units % ranks == 0
    require(fits, f"{heads} heads and {units} units cannot be split over {ranks} ranks; both must divide")

    def share(path: str, array: Array, rank: int) -> Array:
        axis = _axis(path)
        return array if axis is None else np.split(array, ranks, axis)[rank]

    flat = tree.flatten(p)
    return [tree.unflatten({path: share(path, array, rank) for path, array in flat.items()}) for rank in range(ranks)]


def joined(gs: list[Tree]) -> Tree:
    """The gradient, or the parameters, of the whole layer from those of the ranks; what is whole is the first's."""
    parts = [tree.flatten(g) for g in gs]

    def whole(path: str) -> Array:
        axis = _axis(path)
        return parts[0][path] if axis is None else np.concatenate([part[path] for part in parts], axis)

    return tree.unflatten({path: whole(path) for path in parts[0]})


def _axis(path: str) -> int | None:
    """Along which axis a parameter is split."""
    *_, parent, leaf = path.split(".")
    if parent in COLUMN:
        return 0
    return 1 if parent in ROW and leaf == "weight" else None


# ---- What ranks exchange ---------------------------------------------------------------------------------------------
def reduced(parts: list[Array]) -> list[Array]:
    """The sum over ranks, to each (all-reduce): (3) backward, (4) forward."""
    total = kernels.add(*parts) if len(parts) > 1 else parts[0]
    return [total] * len(parts)


def largest(parts: list[Array]) -> list[Array]:
    """The largest over ranks, to each."""
    return [np.maximum.reduce(parts)] * len(parts)


# ---- A layer ---------------------------------------------------------------------------------------------------------
def _sub_layer(f: Callable, xs: list[Array], held: list[Tree], end: str, **residual: Any) -> tuple[list[Array], Tree]:
    """x + Drop(f(LN(x))) on each rank; f(n, rank) -> its share of (2) without the bias, and its cache."""
    c: Tree = {"norm": [], "inside": [], "add": []}
    keep, rate, eps = (residual[name] for name in ("keep", "rate", "eps"))
    shares = []
    for rank, (x, p) in enumerate(zip(xs, held, strict=True)):
        n, norm = ops.layer_norm(x, **p["norm"], eps=eps)
        share, inside = f(n, rank)
        shares.append(share)
        c["norm"].append(norm)
        c["inside"].append(inside)
    ys = []
    for x, p, z in zip(xs, held, reduced(shares), strict=True):  # (4)
        y, add = layers.add(x, z + p[end]["bias"], {}, keep=keep, rate=rate)
        ys.append(y)
        c["add"].append(add)
    return ys, c


def _sub_layer_backward(f_backward: Callable, dys: list[Array], c: Tree) -> tuple[list[Array], list[Tree]]:
    dxs, dns, gs = [], [], []
    for dy, add, inside in zip(dys, c["add"], c["inside"], strict=True):
        dx, dz, _ = layers.add_backward(dy, add)
        dn, g = f_backward(dz, inside)  # the bias's gradient is the sum of dz, the same on every rank
        dxs.append(dx)
        dns.append(dn)
        gs.append(g)
    for rank, (dn, norm) in enumerate(zip(reduced(dns), c["norm"], strict=True)):  # (3)
        inside, gs[rank]["norm"] = ops.layer_norm_backward(dn, norm)
        dxs[rank] = kernels.add(dxs[rank], inside)
    return dxs, gs


def layer(
    x: Array, held: list[Tree], *, width: int, act: str, eps: float, keep: Tree | None = None, rate: float = 0.0,
    dropout: Array | None = None, **given: Any,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(4): `layers.pre_norm_layer` of the whole, x (B, T, D), by these shards. width: of one head; dropout: what
    multiplies the probabilities (B, H, T, T), of which each rank takes its heads; keep and rate: of the residuals, the
    same on all ranks; given: mask, masked, scale of `ops.attention`.
    """
    ranks, keep = len(held), keep or {}
    attention, feed = ([p[part] for p in held] for part in ("attention", "feed_forward"))
    dropped = [None] * ranks if dropout is None else np.split(dropout, ranks, 1)

    def attend(n: Array, rank: int) -> tuple[Array, Tree]:
        own = _unbiased(attention[rank], "output")
        return layers.self_attention(n, own, width=width, dropout=dropped[rank], **given)

    def forward(n: Array, rank: int) -> tuple[Array, Tree]:
        return layers.feed_forward(n, _unbiased(feed[rank], "out"), act=act)

    c: Tree = {}
    residual = {"eps": eps, "rate": rate}
    xs, c["attention"] = _sub_layer(attend, [x] * ranks, attention, "output", keep=keep.get("attention"), **residual)
    ys, c["feed_forward"] = _sub_layer(forward, xs, feed, "out", keep=keep.get("feed_forward"), **residual)
    return ys[0], c


def layer_backward(dy: Array, c: Tree) -> tuple[Array, list[Tree]]:
    """(dx, the gradient tree of each rank)."""
    dys = [dy] * len(c["attention"]["norm"])
    dys, feed = _sub_layer_backward(layers.feed_forward_backward, dys, c["feed_forward"])
    dxs, attention = _sub_layer_backward(layers.self_attention_backward, dys, c["attention"])
    return dxs[0], [{"attention": a, "feed_forward": f} for a, f in zip(attention, feed, strict=True)]


def _unbiased(p: Tree, end: str) -> Tree:
    """The parameters with a bias of 0 at the end: the true one is added behind the sum."""
    return {**p, end: {**p[end], "bias": np.zeros_like(p[end]["bias"])}}


# ---- The vocabulary --------------------------------------------------------------------------------------------------
def rows(table: Array, ranks: int, multiple: int = 1) -> list[Array]:
    """The table (V, D) in equal shares of rows, behind it rows of 0 up to a multiple of ranks·multiple (128 in the
    release): they take part in the softmax.
    """
    spare = -len(table) % (ranks * multiple)
    return np.split(np.pad(table, ((0, spare), (0, 0))), ranks)


def _local(ids: Array, rank: int, size: int) -> tuple[Array, Array]:
    """(rows of this rank's share, 0 where they are another's; which are its own)."""
    own = (ids >= rank * size) & (ids < (rank + 1) * size)
    return np.where(own, ids - rank * size, 0), own


def embedding(tables: list[Array], *, ids: Array) -> tuple[Array, Tree]:
    """(5) of ids (…): (…, D)."""
    shares = []
    for rank, table in enumerate(tables):
        at, own = _local(ids, rank, len(table))
        shares.append(table[at] * own[..., None].astype(table.dtype))
    return reduced(shares)[0], {"ids": ids, "shapes": [table.shape for table in tables]}


def embedding_backward(dy: Array, c: Tree) -> list[Array]:
    """The gradient of each rank's share."""
    gs = []
    for rank, shape in enumerate(c["shapes"]):
        at, own = _local(c["ids"], rank, shape[0])
        g = np.zeros(shape, dy.dtype)
        np.add.at(g, at[own], dy[own])
        gs.append(g)
    return gs


def cross_entropy(
    logits: list[Array], *, labels: Array, ignore: int | None = None, smoothing: float = 0.0
) -> tuple[Array, Tree]:
    """(6) of each rank's logits (M, V/p), labels (M); with smoothing ε against (1 - ε) of the label and ε/V of every
    class, as `ops.smoothed_cross_entropy`: the mean of all V logits is one more sum over ranks.
    """
    size, dtype = logits[0].shape[-1], logits[0].dtype
    w = np.ones(len(labels), dtype) if ignore is None else (labels != ignore).astype(dtype)
    w = w / max(w.sum(), dtype.type(1))
    labels = np.where(w == 0, 0, labels)
    top = largest([z.max(-1) for z in logits])[0]
    ahead = [z - top[:, None] for z in logits]
    exponentials = [np.exp(z) for z in ahead]
    total = reduced([e.sum(-1) for e in exponentials])[0]
    at = [_local(labels, rank, size) for rank in range(len(logits))]
    lines = np.arange(len(labels))
    picked = reduced([z[lines, places] * own for z, (places, own) in zip(ahead, at, strict=True)])[0]
    mean = reduced([z.sum(-1) for z in ahead])[0] / dtype.type(size * len(logits))
    loss = np.log(total) - (1 - dtype.type(smoothing)) * picked - dtype.type(smoothing) * mean
    c = {"probs": [e / total[:, None] for e in exponentials], "at": at, "weights": w, "smoothing": smoothing}
    return np.asarray((w * loss).sum()), c


def cross_entropy_backward(dloss: Array, c: Tree) -> list[Array]:
    """The gradient of each rank's logits: its part of the softmax, minus (1 - ε) where it has the label, minus ε/V."""
    found, w = [], dloss * c["weights"]
    count, share = sum(probs.shape[-1] for probs in c["probs"]), 1 - c["smoothing"]
    for probs, (places, own) in zip(c["probs"], c["at"], strict=True):
        dz = probs - probs.dtype.type(c["smoothing"] / count)
        dz[np.arange(len(dz)), places] -= own.astype(dz.dtype) * dz.dtype.type(share)
        found.append(dz * w[:, None])
    return found


# ---- Layouts of query, key and value ---------------------------------------------------------------------------------
def fused(qkv: list[Array], layout: str, *, heads: int) -> Array:
    """The one array `query_key_value` of a release's checkpoints, of the query's, key's and value's (H·K, …) each; its
    first axis is (3, H, K) in layout "0", (H, K, 3) in "1.0", (H, 3, K) from "2.0" on.
    """
    stacked = np.stack([a.reshape(heads, -1, *a.shape[1:]) for a in qkv])  # (3, H, K, …)
    order = {"0": (0, 1, 2), "1.0": (1, 2, 0), "2.0": (1, 0, 2)}[one_of("layout", layout, QKV_LAYOUTS)]
    moved = stacked.transpose(*order, *range(3, stacked.ndim))
    return moved.reshape(-1, *stacked.shape[3:])


def parted(array: Array, layout: str, *, heads: int) -> list[Array]:
    """Query, key and value of one array, the inverse of `fused`."""
    one_of("layout", layout, QKV_LAYOUTS)
    width, rest = len(array) // (3 * heads), array.shape[1:]
    shape = {"0": (3, heads, width), "1.0": (heads, width, 3), "2.0": (heads, 3, width)}[layout]
    axis = {"0": 0, "1.0": 2, "2.0": 1}[layout]
    return [part.reshape(-1, *rest) for part in np.moveaxis(array.reshape(*shape, *rest), axis, 0)]
