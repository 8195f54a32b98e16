"""Mistakes in attention."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers, ops, tree
from minibert.golden import precision
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import (
    GRADIENTS,
    Mutant,
    batch,
    config,
    entry,
    everywhere,
    field,
    only,
    places_of,
    present,
    rounded,
    swap,
    unlisted,
    whole,
)
from minibert.mistakes.ops.slopes import SOFTMAX_SLOPES
from minibert.mistakes.swap import Replacement, Site, graded, relinear, swapped
from minibert.mistakes.swap import edited as on_other
from minibert.pairs import PAIRS

SECTION = {"A": "Attention"}

Array = np.ndarray
Cache = dict[str, Any]
UNCERTAIN_SCORES = r"gradients/.*:scores"
NAMES = ("query", "key", "value")


# ---- Pairs: attention ------------------------------------------------------------------------------------------------
def of_scores(forward: Callable, backward: Callable | None = None, faithful: bool = True) -> Replacement:
    """A replacement whose forward is given, for mask and constant, what they come to: `bias`, added to the scores, and
    `dropout`, which multiplies the probabilities. Its backward is attention's own unless given; of a bias of the
    caller's it gives the gradient, 0 where a backward of its own has none.
    """

    def attention(
        q: Array, k: Array, v: Array, bias: Any = None, *, mask: Any = None, masked: str = "min", **given: Any
    ) -> tuple:
        added, alive = ops.masking(mask, masked, q.dtype)
        added = bias if added is None else added if bias is None else bias + added
        dropout = given.pop("dropout", None)
        if alive is not None:
            dropout = alive if dropout is None else dropout * alive
        y, c = forward(q, k, v, bias=added, dropout=dropout, **given)
        return y, {**c, "of_caller": None if bias is None else bias.shape}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, *dbias = (backward or ops.attention_backward)(dy, c)
        if c["of_caller"] is None:
            return dq, dk, dv
        own = dbias[0] if dbias else np.zeros(c["of_caller"], dq.dtype)
        return dq, dk, dv, ops.summed(own, c["of_caller"])  # it was one with the mask

    return Replacement(attention, attention_backward, faithful)


def edited(edit: Callable[..., dict[str, Any]]) -> Replacement:
    """Attention with other constants: edit(q, bias, dropout) -> those that change, among bias, dropout, scale."""

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        given |= edit(q, given.get("bias"), given.get("dropout"))
        return ops.attention(q, k, v, **given)

    return of_scores(attention)


def scaled(scale: Callable[[Array], float]) -> Replacement:
    """Another scale; scale(q) with q (B, H, T, K)."""
    return edited(lambda q, bias, dropout: {"scale": scale(q)})


def lowered(by: float) -> Replacement:
    """Masked keys' scores lowered by a constant."""
    return edited(lambda q, bias, _: {} if bias is None else {"bias": np.where(bias == 0, 0, -by).astype(q.dtype)})


def zero_keys(count: float) -> Replacement:
    """So many keys and values of zeros behind the others, which every query sees: of a score of log n, n of them."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, **given: Any) -> tuple:
        one, last = [(0, 0), (0, 0), (0, 1), (0, 0)], [(0, 0), (0, 0), (0, 0), (0, 1)]
        shape = (*q.shape[:3], k.shape[2])
        bias = np.zeros(shape, q.dtype) if bias is None else np.broadcast_to(least(bias), shape)
        bias = np.pad(bias, last, constant_values=np.log(max(count, 1e-30)))
        if dropout is not None:
            dropout = np.pad(np.broadcast_to(dropout, shape), last)
        y, c = ops.attention(q, np.pad(k, one), np.pad(v, one), bias=bias, dropout=dropout, **given)
        parts = {name: c[name] if c[name] is None else c[name][..., :-1] for name in ("added", "probs", "dropout")}
        return y, {**c, **parts, "k": k, "v": v, "own": (c,)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, dbias = ops.attention_backward(dy, c["own"][0])
        return dq, dk[:, :, :-1], dv[:, :, :-1], dbias[..., :-1]

    return of_scores(attention, attention_backward)


def kept(bias: Array | None, q: Array) -> Array:
    """1 where a key may be seen, broadcast like the bias."""
    return np.ones((1, 1, 1, 1), q.dtype) if bias is None else (bias == 0).astype(q.dtype)


def turned(turn: Callable, back: Callable) -> Replacement:
    """Queries and keys turned before they meet: turn(q, k) -> (q, k), back(dq, dk) its adjoint."""

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        return ops.attention(*turn(q, k), v, **given)

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, *others = ops.attention_backward(dy, c)
        return *back(dq, dk), *others

    return of_scores(attention, attention_backward)


def _exchanged(q: Array, k: Array) -> tuple[Array, Array]:
    """Each in the other's place, where as many ask as are asked."""
    return (k, q) if q.shape == k.shape else (q, k)


def masked_probs(shown: bool, before: Callable[[Any], Any] = lambda bias: None) -> Replacement:
    """softmax(scores)·mask, not renormalised; shown: the probabilities that are handed out are masked already. before:
    what of the mask is added to the scores all the same.
    """

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, **given: Any) -> tuple:
        keep = kept(bias, q)
        multiplier = keep if dropout is None else dropout * keep
        given |= {"bias": before(bias), "dropout": np.broadcast_to(multiplier, (*q.shape[:3], k.shape[2]))}
        y, c = ops.attention(q, k, v, **given)
        return y, {**c, "probs": c["probs"] * keep, "dropout": dropout, "own": (c,)} if shown else c

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        return ops.attention_backward(dy, c["own"][0] if shown else c)[:3]

    return of_scores(attention, attention_backward)


def softmax_over(axis: int | tuple[int, ...], filled: bool = False) -> Replacement:
    """Softmax over another axis, or over several together; filled: masked scores are no longer functions of queries and
    keys, which shows where all that it runs over is masked.
    """
    slope = {"slope": kept, "faithful": False} if filled else {}  # where a constant is added, it is no derivative
    return by_hand(lambda scores, bias: scores if bias is None else scores + bias, axis, **slope)


def sloped(slope: Callable[[Array, Array], Array], scaled: bool = True) -> Replacement:
    """Attention whose softmax has another backward: slope(P, dP) for P(dP - Σ dP P); scaled: times the scale."""

    def to_scores(dy: Array, c: Cache) -> Array:
        dprobs = dy @ c["v"].swapaxes(-1, -2)
        return slope(c["probs"], dprobs if c["dropout"] is None else dprobs * c["dropout"])

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        dscores = to_scores(dy, c) * (c["scale"] if scaled else 1)
        probs = c["probs"] if c["dropout"] is None else c["probs"] * c["dropout"]
        return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], probs.swapaxes(-1, -2) @ dy

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS["attention"].parts.seen(part, c, dy)
        return value, to_scores(dy, c) if part == "scores" and dy is not None else cotangent

    return replace(of_scores(ops.attention, attention_backward, faithful=False), seen=seen)


def constant_probs() -> Replacement:
    """Attention whose probabilities, and all before them but the values, are constants to the backward."""

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS["attention"].parts.seen(part, c, dy)
        return value, None if cotangent is None else 0 * cotangent

    return replace(graded(ops.attention, lambda g, dy, c: (0 * g[0], 0 * g[1], *g[2:])), seen=seen)


def by_hand(
    masked: Callable,
    axis: int | tuple[int, ...] = -1,
    slope: Callable = lambda bias, q: 1,
    faithful: bool = True,
) -> Replacement:
    """Attention with masked(scores, bias) for scores + bias, slope(bias, q) its derivative to the scores."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        scores = masked((q * scale) @ k.swapaxes(-1, -2), None if bias is None else least(bias))
        e = np.exp(scores - scores.max(axis, keepdims=True))
        probs = e / e.sum(axis, keepdims=True)
        multiplied = probs if dropout is None else probs * dropout
        given = {"q": q, "k": k, "v": v, "probs": probs, "dropout": dropout, "scale": scale}
        return multiplied @ v, {**given, "slope": slope(bias, q)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        q, k, v, probs, dropout = c["q"], c["k"], c["v"], c["probs"], c["dropout"]
        dprobs = dy @ v.swapaxes(-1, -2)
        dprobs = dprobs if dropout is None else dprobs * dropout
        dv = (probs if dropout is None else probs * dropout).swapaxes(-1, -2) @ dy
        dscores = probs * (dprobs - (dprobs * probs).sum(axis, keepdims=True)) * c["scale"] * c["slope"]
        return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv

    return of_scores(attention, attention_backward, faithful)


Bits = Callable[[dict[str, Any]], Array]  # of attention's arguments: which keys each query sees, broadcast


def filled(bits: Bits, value: float | None = None) -> Replacement:
    """Masked scores replaced by a value, the smallest number unless given, where the published code adds: no functions
    of queries and keys any more, which shows where a query sees nothing. -inf gives NaN there.
    """

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        given.pop("masked", None)
        mask = given.pop("mask", None)
        there = np.ones((1, 1, 1, 1), bool) if mask is None else bits({"q": q, "k": k, "mask": mask.astype(bool)})
        lowest = q.dtype.type(np.finfo(q.dtype).min if value is None else value)
        return replaced(there, lowest).forward(q, k, v, **given)

    def replaced(there: Any, lowest: Any) -> Replacement:
        return by_hand(lambda scores, bias: np.where(there, scores if bias is None else scores + bias, lowest),
                       slope=lambda bias, q: there)  # fmt: skip

    return Replacement(attention, replaced(None, None).backward, faithful=value is None)


def least(bias: Array) -> Array:
    """The bias, the most negative number for less."""
    return np.maximum(bias, np.finfo(bias.dtype).min)


def _infinite_bias() -> Replacement:
    """-inf on masked keys and a softmax that subtracts the maximum: NaN where every key is masked."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        y, c = ops.attention(q, k, v, bias=bias, dropout=dropout, scale=scale)
        if bias is None:
            return y, c
        dead = np.broadcast_to((bias != 0).all(-1, keepdims=True), (*c["probs"].shape[:3], 1))
        c = {**c, "probs": np.where(dead, np.nan, c["probs"])}
        return np.where(dead, np.nan, y), c

    return of_scores(attention, faithful=False)  # NaN has no derivative


def _turned(mask: Array, q: Array) -> Array:
    """The mask (B, 1, 1 or T, S) with its last two axes exchanged, for every query and key; where others ask than are
    asked, as it is.
    """
    if 1 < mask.shape[2] != mask.shape[3]:
        return mask
    turned = mask.swapaxes(-1, -2)
    return np.broadcast_to(turned, (*turned.shape[:3], q.shape[2]))


def small_constant(bias: Array) -> Array:
    """-10000 where the bias masks."""
    return np.where(bias == 0, 0, -10000).astype(bias.dtype)


def _query_mask(both: bool, constant: Callable[[Array], Array] | None = None) -> Replacement:
    """The mask on the query axis, instead of the key axis or besides it; constant: another bias than the case's, which
    is added where both axes have one.
    """

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        if bias is None or 1 < bias.shape[2] != bias.shape[3]:  # nor where others ask than are asked
            return {}
        bias = bias if constant is None else constant(bias)
        turned = bias.swapaxes(-1, -2)
        if both:
            return {"bias": np.minimum(turned, bias) if constant is None else turned + bias}
        return {"bias": np.broadcast_to(turned, (*turned.shape[:3], q.shape[2]))}

    return edited(edit)


def _head_order(row_of: Callable[[Array, Array, int, int], Array]) -> Replacement:
    """Heads and rows flattened together, and the mask repeated in the other order: row_of(b, h, B, H) is whose mask."""

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        if bias is None or bias.shape[1] > 1:  # one that heads have their own of is no mask
            return {}
        rows, heads = q.shape[:2]
        b, h = np.meshgrid(np.arange(rows), np.arange(heads), indexing="ij")
        return {"bias": np.broadcast_to(bias, (rows, *bias.shape[1:]))[row_of(b, h, rows, heads), 0]}

    return edited(edit)


def rotary(halves: bool, base: float = 10000.0) -> Replacement:
    """Queries and keys rotated by position (arXiv 2104.09864): pairs (i, i + K/2), or (2i, 2i + 1)."""

    def turn(x: Array, sign: float) -> Array:
        width = x.shape[-1] // 2 * 2
        angles = np.arange(x.shape[-2])[:, None] * base ** (-np.arange(0, width, 2) / width)
        cos, sin = np.cos(angles).astype(x.dtype), (sign * np.sin(angles)).astype(x.dtype)
        first = np.arange(width // 2) if halves else np.arange(0, width, 2)
        second = first + (width // 2 if halves else 1)
        y = x.copy()
        y[..., first] = x[..., first] * cos - x[..., second] * sin
        y[..., second] = x[..., second] * cos + x[..., first] * sin
        return y

    return turned(lambda q, k: (turn(q, 1), turn(k, 1)), lambda dq, dk: (turn(dq, -1), turn(dk, -1)))


def shifted(first: Callable[[Array, int], Any]) -> Replacement:
    """The relative shift whose query i begins at column first(i, T), 0 where there is none."""

    def columns(x: Array, keys: int) -> tuple[Array, Array]:
        length = x.shape[-2]
        at = np.broadcast_to(first(np.arange(length)[:, None], length) + np.arange(keys), (*x.shape[:-1], keys))
        return np.clip(at, 0, x.shape[-1] - 1), (at >= 0) & (at < x.shape[-1])

    def relative_shift(x: Array, *, keys: int) -> tuple[Array, Cache]:
        at, there = columns(x, keys)
        return np.where(there, np.take_along_axis(x, at, -1), 0), {"like": x, "at": at, "there": there}

    def relative_shift_backward(dy: Array, c: Cache) -> Array:
        dx = np.zeros_like(c["like"])
        rows = tuple(np.indices(c["at"].shape, sparse=True)[:-1])
        np.add.at(dx, (*rows, c["at"]), np.where(c["there"], dy, 0))
        return dx

    return Replacement(relative_shift, relative_shift_backward)


# ---- Pairs: heads ----------------------------------------------------------------------------------------------------
def _split_flat() -> Replacement:
    """(B, T, H·K) read as (B, H, T, K) without an exchange of axes."""

    def split_heads(x: Array, *, heads: int) -> tuple[Array, Cache]:
        return x.reshape(x.shape[0], heads, x.shape[1], -1), {"shape": x.shape}

    return Replacement(split_heads, lambda dy, c: dy.reshape(c["shape"]))


def _split_inner() -> Replacement:
    """Head h has the entries h, h + H, h + 2H, …: reshaped to (B, T, K, H)."""

    def split_heads(x: Array, *, heads: int) -> tuple[Array, Cache]:
        return x.reshape(*x.shape[:2], -1, heads).transpose(0, 3, 1, 2), {"shape": x.shape}

    return Replacement(split_heads, lambda dy, c: dy.transpose(0, 2, 3, 1).reshape(c["shape"]))


def _merge_flat() -> Replacement:
    """(B, H, T, K) read as (B, T, H·K) without an exchange of axes."""

    def merge_heads(x: Array) -> tuple[Array, Cache]:
        return x.reshape(x.shape[0], x.shape[2], -1), {"shape": x.shape}

    return Replacement(merge_heads, lambda dy, c: dy.reshape(c["shape"]))


def _merge_inner() -> Replacement:
    """Heads innermost: entry k·H + h of a row."""

    def merge_heads(x: Array) -> tuple[Array, Cache]:
        y = x.transpose(0, 2, 3, 1)
        return y.reshape(*y.shape[:2], -1), {"shape": y.shape}

    return Replacement(merge_heads, lambda dy, c: dy.reshape(c["shape"]).transpose(0, 3, 1, 2))


def together(what: str, pairs: Mapping[str, Replacement]) -> Callable:
    """Several ops replaced together, in all layers and in each."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        every = [site for site in at if site.name in pairs]
        layers_: dict[str, list[Site]] = {"": [*every]} if every else {}
        for site in (site for site in every if site.place):
            layers_.setdefault(site.place, []).append(site)
        return [
            Mutant(
                what,
                partial(swapped, at={site.key: pairs[site.name] for site in held}),
                where,
                sites=tuple(site.path for site in held),
            )
            for where, held in layers_.items()
        ]

    return maker


def both_ways(what: str, split: Replacement, merge: Replacement) -> Callable:
    """Splitting and merging replaced together."""
    return together(what, {"split_heads": split, "merge_heads": merge})


def rounded_products(
    rounding: Callable[[Array], Array], back: Callable[[Array], Array] | None = None
) -> tuple[dict[str, Replacement], Replacement]:
    """Linear maps and attention whose products are of rounded factors, their sums not rounded, and an attention of
    which that of queries and keys alone is. back: what rounds what comes from behind, as `rounding` unless given.
    """
    r, rounded = rounding, back or rounding

    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
        given = {"weight": r(weight)} if bias is None else {"weight": r(weight), "bias": bias}
        return ops.linear(r(x), **given)

    def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.linear_backward(rounded(dy), c)
        return dx, {**g, "bias": dy.reshape(-1, dy.shape[-1]).sum(0)} if "bias" in g else g

    def of(r_: Callable, rounded_: Callable) -> Replacement:
        """The second product, of probabilities and values, of factors that are rounded by these."""

        def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> Any:
            scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
            q, k = r(q), r(k)
            scores = (q @ k.swapaxes(-1, -2)) * scale
            probs, _ = ops.softmax(scores if bias is None else least(scores + bias))
            kept = probs if dropout is None else probs * dropout
            given = {"q": q, "k": k, "v": v, "dropout": dropout, "scale": scale}
            return r_(kept) @ r_(v), {**given, "probs": probs, "kept": kept}

        def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
            probs, dprobs = c["probs"], rounded_(dy) @ r_(c["v"]).swapaxes(-1, -2)
            dprobs = dprobs if c["dropout"] is None else dprobs * c["dropout"]
            dscores = rounded(probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True)) * c["scale"])
            dv = r_(c["kept"]).swapaxes(-1, -2) @ rounded_(dy)
            return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], dv

        return of_scores(attention, attention_backward, faithful=False)

    pairs = {"linear": Replacement(linear, linear_backward, faithful=False), "attention": of(r, rounded)}
    return pairs, of(np.asarray, np.asarray)


# ---- Pairs: the query's scale ----------------------------------------------------------------------------------------
def query_scaled_first(shown: bool) -> Replacement:
    """(x Wᵀ)/√K + b: the query is scaled before its bias; shown: the query handed out is the scaled one."""

    def self_attention(x: Array, p: Any, bias: Any = None, *, width: int, **given: Any) -> tuple[Array, Cache]:
        scale, heads = given.pop("scale", width**-0.5), len(p["query"]["weight"]) // width
        given.pop("past", None)
        weight, offset = p["query"]["weight"], p["query"]["bias"]
        own = {"weight": weight * scale, "bias": offset} if shown else {"weight": weight, "bias": offset}
        c: Cache = {"q_scale": scale}
        q, c["query"] = ops.linear(x, **own)
        k, c["key"] = ops.linear(x, **p["key"])
        v, c["value"] = ops.linear(x, **p["value"])
        used = q if shown else (q - offset) * scale + offset
        q, c["split_query"] = ops.split_heads(used, heads=heads)
        k, c["split_key"] = ops.split_heads(k, heads=heads)
        v, c["split_value"] = ops.split_heads(v, heads=heads)
        given = given if bias is None else {"bias": bias, **given}
        context, c["attention"] = ops.attention(q, k, v, **given, scale=1.0)
        context, c["merge"] = ops.merge_heads(context)
        y, c["output"] = ops.linear(context, **p["output"])
        return y, c

    def self_attention_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        g: Any = {}
        dcontext, g["output"] = ops.linear_backward(dy, c["output"])
        dcontext = ops.merge_heads_backward(dcontext, c["merge"])
        dq, dk, dv, *dbias = ops.attention_backward(dcontext, c["attention"])
        dq = ops.split_heads_backward(dq, c["split_query"])
        dx, g["query"] = ops.linear_backward(dq if shown else dq * c["q_scale"], c["query"])
        if shown:
            g["query"] = {**g["query"], "weight": g["query"]["weight"] * c["q_scale"]}
        else:
            g["query"] = {**g["query"], "bias": dq.sum((0, 1))}
        for name, d in (("key", dk), ("value", dv)):
            more, g[name] = ops.linear_backward(ops.split_heads_backward(d, c[f"split_{name}"]), c[name])
            dx = dx + more
        return dx, *dbias, g

    return Replacement(self_attention, self_attention_backward)


def _where_biased(replacement: Replacement) -> Callable[[Subject, Site], Replacement | None]:
    """The replacement in networks whose queries have a bias."""
    biased = lambda subject: any(path.endswith("query.bias") for path, _ in tree.items(subject.params))  # noqa: E731
    return lambda subject, _: replacement if biased(subject) else None


def without_bias() -> Replacement:
    """x Wᵀ: the bias forgotten, its gradient 0."""
    return relinear(bias=(np.zeros_like, np.zeros_like))


# ---- Batches ---------------------------------------------------------------------------------------------------------
def masked_by(b: dict, value: Array) -> dict[str, Array]:
    """The mask of keys in the place of the batch's, for each query where that has one for each."""
    value = value if value.ndim == _given_mask(b).ndim else np.broadcast_to(value[:, None], _given_mask(b).shape)
    return {"attention_mask": value.astype(places_of(b).dtype)}


def _given_mask(b: dict) -> Array:
    return b.get("attention_mask", places_of(b))


def _swapped_arguments(b: dict, config: Any) -> dict[str, Array]:
    types = b.get("token_type_ids", np.zeros_like(b["input_ids"]))
    return {**masked_by(b, types), "token_type_ids": present(b) % config.type_vocab_size}


def _right_padded(b: dict, config: Any) -> dict[str, Array]:
    mask = present(b)
    return masked_by(b, np.arange(mask.shape[-1]) < mask.sum(-1, keepdims=True))


# ---- Fused weights ---------------------------------------------------------------------------------------------------
def attentions(params: Any, edit: Callable[[str, dict[str, Any]], dict[str, Any]], path: str = "") -> Any:
    """The tree with each attention's parameters edited: edit(path, those of query, key, value, …), where all three read
    what is of one width.
    """
    if isinstance(params, dict) and {"query", "key", "value"} <= params.keys():
        one = len({params[name]["weight"].shape for name in ("query", "key", "value")}) == 1
        return edit(path, params) if one else params
    if isinstance(params, list):
        return [attentions(part, edit, f"{path}.{i}".lstrip(".")) for i, part in enumerate(params)]
    if isinstance(params, dict):
        return {name: attentions(part, edit, f"{path}.{name}".lstrip(".")) for name, part in params.items()}
    return params


def _heads(subject: Subject, path: str) -> int:
    """Heads of the attention with parameters at `path`; networks of a family of several have their own."""
    towers = getattr(families.family(subject.family), "towers", lambda config: {})(subject.config)
    own = replace(subject, config=towers.get(path.partition(".")[0], subject.config))
    named = f"{path.rpartition('.')[2]}_heads"  # "entity_attention_heads"
    return getattr(own.config, named) if hasattr(own.config, named) else field(own, "num_attention_heads")


def loaded(what: str, edit: Callable[[dict[str, Any], Callable[[], int]], dict[str, Any]]) -> Callable:
    """The weights of every attention loaded otherwise: edit(parameters, its heads); no mutant where nothing attends."""

    def change(s: Subject) -> Subject:
        return replace(s, params=attentions(s.params, lambda path, a: edit(a, partial(_heads, s, path))))

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        there = any(site.name == "attention" for site in at)
        return [Mutant(what, change)] if there and change(subject) else []

    return maker


def fused(per_head_stored: bool) -> Callable:
    """Queries, keys and values of each layer fused, and read back in the other order."""

    def read(a: dict[str, Any], heads: Callable[[], int]) -> dict[str, Any]:
        a = dict(a)
        for leaf in a["query"]:
            parts = np.stack([a[name][leaf] for name in ("query", "key", "value")])  # (3, D, …)
            tail = parts.shape[2:]
            if per_head_stored:  # stored [q1 k1 v1 q2 …], read as [Q; K; V]
                taken = parts.reshape(3, heads(), -1, *tail).swapaxes(0, 1).reshape(3, -1, *tail)
            else:
                taken = parts.reshape(heads(), 3, -1, *tail).swapaxes(0, 1).reshape(3, -1, *tail)
            for name, value in zip(("query", "key", "value"), taken, strict=True):
                a[name] = {**a[name], leaf: value}
        return a

    what = "stored per head, read as [Q; K; V]" if per_head_stored else "stored as [Q; K; V], read per head"
    return loaded(what, read)


def relabelled(what: str, names: dict[str, str], leaves: tuple[str, ...] = ("weight", "bias")) -> Callable:
    """Projections loaded under other names, or of each these leaves alone: of every attention, and of one alone.

    names: a projection -> the one whose weights are put there. Where one is put in two places, it may be used twice:
    then its gradient and that of the one in whose place it stands say nothing.
    """
    both = "|".join({*names, *names.values()}) if {*names} != {*names.values()} else ""
    silent = rf"gradients/.*\.({both})\.({'|'.join(leaves)})|steps/.*" if both else ""

    def turned(a: dict[str, Any]) -> dict[str, Any]:
        return {**a, **{to: {leaf: a[of if leaf in leaves else to][leaf] for leaf in a[to]}
                        for to, of in names.items()}}  # fmt: skip

    def in_one(path: str, at: list[Site]) -> Mutant:
        def change(s: Subject) -> Subject:
            return replace(s, params=attentions(s.params, lambda p, a: turned(a) if p == path else a))

        users = [site for name in names for site in at if f"{path}.{name}.weight" in site.params]
        where = users[0].words.removesuffix(f" {next(iter(names))}") if users else path
        return Mutant(what, change, where, sites=tuple(site.path for site in users), silent=silent)

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        found: list[str] = []
        attentions(subject.params, lambda path, a: found.append(path) or a if leaves[0] in a["query"] else a)
        alone = [in_one(path, at) for path in found if len(found) > 1]
        every = loaded(what, lambda a, _: turned(a))(subject, at)
        return [replace(mutant, silent=silent) for mutant in every] + alone if found else []

    return maker


def exchanged(one: str, other: str) -> Callable:
    """Two projections' weights loaded in each other's place."""
    return relabelled(f"the weights of {one} and {other} change places", {one: other, other: one})


def exchanged_biases(one: str, other: str) -> Callable:
    """Two projections' biases alone."""
    return everywhere(relabelled(f"the biases of {one} and {other} change places", {one: other, other: one}, ("bias",)))


def taken_as(*order: int) -> Callable:
    """What the projections gave, taken in another order for queries, keys and values, where all have one shape."""

    def change(parts: tuple, order: Iterable[int] = order) -> tuple:
        return tuple(parts[i] for i in order) if len({np.shape(part) for part in parts}) == 1 else parts

    def attention(q: Array, k: Array, v: Array, *bias: Any, **given: Any) -> tuple[Array, Cache]:
        return ops.attention(*change((q, k, v)), *bias, **given)

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, *dbias = ops.attention_backward(dy, c)
        return *change((dq, dk, dv), np.argsort(order)), *dbias

    names = [name for i, name in enumerate(NAMES) if order[i] != i]
    what = f"what the projections of {' and '.join(names)} give change places"
    if len(names) > 2:
        what = f"what the projections of {', '.join(NAMES[i] for i in order)} give is taken for {', '.join(NAMES)}"
    return of_attention(what, replacement=Replacement(attention, attention_backward), paths=SELF)


def retaken(order: Callable[[int, int], Array]) -> Callable[[Subject, Site], Replacement | None]:
    """Queries, keys and values of one fused projection taken from it in another order: order(3D, heads) -> indices of
    its last axis. Only where published files have them in one.
    """

    def self_attention(x: Array, p: Any, *, width: int, past: Any = None, **given: Any) -> tuple[Array, Cache]:
        c: Cache = {}
        heads = len(p["query"]["weight"]) // width
        held = []
        for name in NAMES:
            y, c[name] = ops.linear(x, **p[name])
            held.append(y)
        c["taken"] = order(3 * held[0].shape[-1], heads)
        parts = np.split(np.concatenate(held, -1)[..., c["taken"]], 3, -1)
        split = [ops.split_heads(part, heads=heads) for part in parts]
        c["split"] = [own for _, own in split]
        y, own = layers.attended(*(y for y, _ in split), p, **given)
        return y, {**c, **own}

    def self_attention_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        parts, g = layers.attended_backward(dy, c)
        parts = [ops.split_heads_backward(d, own) for d, own in zip(parts, c["split"], strict=False)]
        fused = np.concatenate(parts, -1)[..., np.argsort(c["taken"])]
        dx = 0
        for name, d in zip(NAMES, np.split(fused, 3, -1), strict=True):
            more, g[name] = ops.linear_backward(d, c[name])
            dx = dx + more
        return dx, g

    made = Replacement(self_attention, self_attention_backward)
    return lambda subject, site: made if _is_fused(subject) else None


def _is_fused(subject: Subject) -> bool:
    """Whether published files have several parameters of ours in one."""
    return any("split" in how for *_, how in families.family(subject.family).names(subject.config))


def where_fused(maker: Callable) -> Callable:
    """No mutant where no published parameter is several of ours."""
    return lambda subject, at: maker(subject, at) if _is_fused(subject) else []


def per_head(width: int, heads: int) -> Array:
    """[Q; K; V] read as if each head's query, key and value stood together."""
    return np.arange(width).reshape(heads, 3, -1).swapaxes(0, 1).reshape(-1)


def from_heads(width: int, heads: int) -> Array:
    """Each head's query, key and value together read as if they were [Q; K; V]."""
    return np.arange(width).reshape(3, heads, -1).swapaxes(0, 1).reshape(-1)


def innermost(width: int, heads: int) -> Array:
    """[Q; K; V] read as if query, key and value stood together in each entry."""
    return np.arange(width).reshape(-1, 3).T.reshape(-1)


def turned_round(order: tuple[int, ...]) -> list[Callable]:
    """Three projections taken for one another in a circle: their weights when loaded, or what they give."""
    names = {NAMES[n]: NAMES[i] for n, i in enumerate(order)}
    what = f"weights of {', '.join(names.values())} loaded for {', '.join(names)}"
    load = everywhere(relabelled(what, names))
    return [lambda subject, at: [] if _is_fused(subject) else load(subject, at), everywhere(taken_as(*order))]


def ordered(order: tuple[int, ...]) -> list[Callable]:
    """The thirds taken for one another: each time the projection is run, and once when it is loaded."""
    what = "thirds taken for " + ", ".join(NAMES[i] for i in order)
    taken = retaken(lambda width, heads: np.arange(width).reshape(3, -1)[list(order)].reshape(-1))
    load = loaded(f"{what}, when loaded", lambda a, _: {**a, **{NAMES[n]: a[NAMES[i]] for n, i in enumerate(order)}})
    return [swap(what, "self_attention", taken), where_fused(load)]


of_attention = partial(swap, name="attention")
SELF = r"(?!.*(cross_attention|queries$)).*"  # where queries and keys are the same rows
_scale = "FareedKhan-dev/train-llm-from-scratch#3; omihub777/ViT-CIFAR#12; Graylab/DL4Proteins-notebooks#12; "


def causal(maker: Callable) -> Callable:
    """No mutant where tokens attend to later ones."""
    module = lambda subject: families.family(subject.family)  # noqa: E731
    return lambda subject, at: maker(subject, at) if getattr(module(subject), "CAUSAL", False) else []


def seeing(what: str, rule: Callable[[Array, Array], Array], masked: str = "min") -> Callable:
    """Another mask where each query has its own: rule(how many places before the query a key stands (T, S), which keys
    are there (B, 1, 1, S)) -> bits.
    """

    bits = placed(rule)
    edit = lambda given: {"mask": bits(given), "masked": masked}  # noqa: E731
    return of_attention(what, replacement=on_other(ops.attention, edit), paths=SELF)


def placed(rule: Callable[[Array, Array], Array]) -> Bits:
    """A `seeing` rule's mask."""

    def bits(given: dict[str, Any]) -> Array:
        length, total = given["q"].shape[2], given["k"].shape[2]
        before = np.arange(total - length, total)[:, None] - np.arange(total)
        seen = np.ones((1, 1, 1, 1), bool) if given.get("mask") is None else given["mask"][:, :, -1:]
        return rule(before, seen)

    return bits


def filling(what: str, bits: Bits) -> list[Callable]:
    """A mask that leaves some query nothing to see, filled in, by the smallest number and by -inf: in all layers."""
    return [
        whole(of_attention(f"{what}, filled with {text}", replacement=filled(bits, value), silent=UNCERTAIN_SCORES,
                           paths=SELF))
        for text, value in (("the smallest number", None), ("-inf", -np.inf))
    ]


def head_size(subject: Subject) -> int:
    """K."""
    return field(subject, "hidden_size") // field(subject, "num_attention_heads")


def another_scale(value: float) -> Callable:
    """The scores multiplied by a value."""
    return lambda subject, at: of_attention(
        solving.instead("scores times", value, f"1/√{head_size(subject)}"), replacement=scaled(lambda q: value)
    )(subject, at)


def _scales(subject: Subject) -> tuple[float, ...]:
    """Those that people write."""
    k, heads = head_size(subject), field(subject, "num_attention_heads")
    return (1.0, 1 / k, k**0.5, heads**-0.5, (k * heads) ** -0.5, (2 * k) ** -0.5, (3 * k) ** -0.5, 0.125)


def narrow_softmax(rounding: Callable[[Array], Array], scores_alone: bool = False) -> Replacement:
    """A softmax in half precision: scores and probabilities are rounded, and so are their gradients; or those of the
    scores alone.
    """
    rounding_probs = (lambda a: a) if scores_alone else rounding

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        scores = (q * scale) @ k.swapaxes(-1, -2)
        scores = scores if bias is None else np.maximum(least(scores + bias), -6e4)
        probs = rounding_probs(ops.softmax(rounding(scores))[0])
        kept = probs if dropout is None else probs * dropout
        return kept @ v, {"q": q, "k": k, "v": v, "probs": probs, "dropout": dropout, "scale": scale, "kept": kept}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        dprobs, probs = dy @ c["v"].swapaxes(-1, -2), c["probs"]
        dprobs = rounding_probs(dprobs if c["dropout"] is None else dprobs * c["dropout"])
        dscores = rounding(probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))) * c["scale"]
        return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], c["kept"].swapaxes(-1, -2) @ dy

    return of_scores(attention, attention_backward, faithful=False)


def narrow_steps(rounding: Callable[[Array], Array], inverse: bool, fused: bool = False) -> Replacement:
    """A softmax in half precision whose every step is rounded: differences, exponentials, their sum, the quotient;
    inverse: by the sum's inverse, rounded too; fused: as XLA does, which sums before it rounds, and rounds no quotient.
    """

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        scores = (q * scale) @ k.swapaxes(-1, -2)
        scores = rounding(scores if bias is None else np.maximum(least(scores + bias), -6e4))
        exact = np.exp(rounding(scores - scores.max(-1, keepdims=True)))
        e = rounding(exact)
        total = rounding((exact if fused else e).sum(-1, keepdims=True))
        probs = e / total if fused else rounding(e * rounding(1 / total) if inverse else e / total)
        kept = probs if dropout is None else probs * dropout
        return kept @ v, {"q": q, "k": k, "v": v, "probs": probs, "dropout": dropout, "scale": scale, "kept": kept}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        dprobs, probs = dy @ c["v"].swapaxes(-1, -2), c["probs"]
        dprobs = rounding(dprobs if c["dropout"] is None else dprobs * c["dropout"])
        each = rounding(dprobs * probs)
        total = rounding(each.sum(-1, keepdims=True))
        dscores = (rounding(each - rounding(probs * total)) if inverse or fused
                   else rounding(probs * rounding(dprobs - total)))
        dscores = dscores * c["scale"]
        return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], c["kept"].swapaxes(-1, -2) @ dy

    return of_scores(attention, attention_backward, faithful=False)


def zeroed(name: str) -> Replacement:
    """Padding's keys or values set to 0, and no mask on the scores."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, **given: Any) -> tuple[Array, Cache]:
        there = np.ones((1, 1, 1, 1), q.dtype) if bias is None else kept(bias, q).max(2, keepdims=True)
        held = {"k": k, "v": v}
        held[name] = held[name] * there.swapaxes(-1, -2)
        y, c = ops.attention(q, **held, **given)
        return y, {**c, "there": there.swapaxes(-1, -2)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, *_ = ops.attention_backward(dy, c)
        return dq, dk * c["there"] if name == "k" else dk, dv * c["there"] if name == "v" else dv

    return of_scores(attention, attention_backward)


def left_out(subject: Subject, site: Site) -> Replacement | None:
    """x for x Wᵀ + b, where both are as wide."""
    shapes = {tree.get(subject.params, path).shape for path in site.params if path.endswith("weight")}
    if any(n_out != n_in for n_out, n_in in shapes):
        return None

    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
        return x, {"plain": {"weight": weight} if bias is None else {"weight": weight, "bias": bias}}

    return Replacement(linear, lambda dy, c: (dy, {name: np.zeros_like(a) for name, a in c["plain"].items()}))


def lent(to: str, of: str) -> Callable:
    """One projection's weights loaded for another, too."""
    return everywhere(relabelled(f"the weights of {of} for {to}, too", {to: of}))


def lent_bias(to: str, of: str) -> Callable:
    """One projection's bias alone."""
    return everywhere(relabelled(f"the bias of {of} for {to}, too", {to: of}, ("bias",)))


def exchanged_heads(order: Callable[[int], list[int]]) -> dict[str, Replacement]:
    """Heads split, or merged, in another order: order(how many) -> which stand in the places of 0, 1, 2 …"""

    def split_heads(x: Array, *, heads: int) -> tuple[Array, Cache]:
        y, c = ops.split_heads(x, heads=heads)
        return y[:, order(heads)], c

    def merge_heads(x: Array) -> tuple[Array, Cache]:
        return ops.merge_heads(x[:, order(x.shape[1])])

    def back(dy: Array) -> Array:
        return dy[:, np.argsort(order(dy.shape[1]))]

    return {
        "split_heads": Replacement(split_heads, lambda dy, c: ops.split_heads_backward(back(dy), c)),
        "merge_heads": Replacement(merge_heads, lambda dy, c: back(ops.merge_heads_backward(dy, c))),
    }


def heads_loaded(what: str, part: str, order: Callable[[int], list[int]]) -> Callable:
    """The rows of a projection, or the output's columns, loaded in another order of heads."""

    def edit(a: dict[str, Any], heads: Callable[[], int]) -> dict[str, Any]:
        if part not in a:
            return a
        axis, n, taken = int(part == "output"), heads(), order(heads())
        turned = lambda w: np.stack(np.split(w, n, axis))[taken]  # noqa: E731
        joined = {leaf: np.concatenate([*turned(w)], axis) if w.ndim > axis else w for leaf, w in a[part].items()}
        return {**a, part: joined}

    return loaded(f"{what} of the {part} change places when loaded", edit)


ROWS = (
    ("the first row's mask for all", lambda m: 0 * m + m[:1]),
    ("the last row's mask for all", lambda m: 0 * m + m[-1:]),
    ("the rows' masks in another order, the last first", lambda m: m[::-1]),
    ("the mask of the row before", lambda m: np.roll(m, 1, 0)),
    ("the mask of the row behind", lambda m: np.roll(m, -1, 0)),
)  # fmt: skip
HEADS = (
    ("the first two heads", lambda n: [1, 0, *range(2, n)] if n > 1 else [0]),
    ("the last two heads", lambda n: [*range(n - 2), n - 1, n - 2] if n > 1 else [0]),
    ("the first and the last head", lambda n: [n - 1, *range(1, n - 1), 0] if n > 1 else [0]),
    ("all heads, the last first,", lambda n: [*range(n)][::-1]),
    ("all heads, each in the one before its own,", lambda n: [*range(1, n), 0]),
    ("all heads, each in the one behind its own,", lambda n: [n - 1, *range(n - 1)]),
)

# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "A01", "split heads by reshape to (B,h,T,d) without transpose", "reshape (B,T,h,d), then swap axes",
    "reczoo/FuxiCTR#30; hyunwoongko/transformer#15; 649453932/Chinese-Text-Classification-Pytorch#10, #53",
    "output", "BERT-ATT-2",
    mutants=[
        swap("reshaped without exchange of axes", "split_heads", _split_flat()),
        both_ways("split and merged by reshape alone", _split_flat(), _merge_flat()),
        swap("heads split as the inner axis", "split_heads", _split_inner()),
        both_ways("heads are the inner axis, both ways", _split_inner(), _merge_inner()),
    ],
)  # fmt: skip
entry(
    "A02", "heads merged without the inverse transpose", "swap back, then reshape",
    "jsbaan/transformer-from-scratch#6", "output", "BERT-ATT-2",
    mutants=[
        swap("merged by reshape alone", "merge_heads", _merge_flat()),
        swap("merged with heads as the inner axis", "merge_heads", _merge_inner()),
    ],
)  # fmt: skip
entry(
    "A03", "heads stacked head-major, mask repeated batch-major", "same order for both",
    "lsdefine/attention-is-all-you-need-keras#36", "output", "BERT-ATT-2",
    mutants=[
        of_attention(
            "heads stacked head-major, the mask repeated row by row",
            replacement=_head_order(lambda b, h, rows, heads: (h * rows + b) // heads),
        ),
        of_attention(
            "heads stacked row by row, the mask tiled",
            replacement=_head_order(lambda b, h, rows, heads: (b * heads + h) % rows),
        ),
    ],
)  # fmt: skip
entry(
    "A04", "scale 1/sqrt(hidden)", "1/sqrt(head size)",
    f"{_scale}juho-lee/set_transformer#18", "output", "OP-ATT-2",
    mutants=[of_attention("scaled by 1/√D", replacement=scaled(lambda q: (q.shape[1] * q.shape[-1]) ** -0.5))],
)  # fmt: skip
entry(
    "A05", "scale 1/sqrt(num_heads)", "1/sqrt(head size)",
    "tenstorrent/tt-metal#56789", "output", "OP-ATT-2",
    mutants=[of_attention("scaled by 1/√H", replacement=scaled(lambda q: q.shape[1] ** -0.5))],
)  # fmt: skip
entry(
    "A06", "scale missing in a fallback path", "scores divided by √K in every path",
    "mlc-ai/mlc-llm#3426 (BERT cosine 0.862)", "output", "OP-ATT-2",
    mutants=[of_attention("not scaled", replacement=scaled(lambda q: 1.0))],
)  # fmt: skip
entry(
    "A07", "scale applied twice, or the other way round", "once",
    "HF#38290", "output", "OP-ATT-2",
    mutants=[
        of_attention("scaled by 1/K", replacement=scaled(lambda q: 1 / q.shape[-1])),
        of_attention("multiplied by √K", replacement=scaled(lambda q: q.shape[-1] ** 0.5)),
    ],
)  # fmt: skip
entry(
    "A08", "mask or bias divided by sqrt(d) too", "scale scores, then add",
    "ORT#14976; tt-metal#56406", "output", "OP-ATT-2", when="above all MPNet and XLNet, which add a bias of their own",
    mutants=[
        of_attention(
            "the mask is scaled too",
            replacement=edited(lambda q, bias, _: {} if bias is None else {"bias": bias * q.shape[-1] ** -0.5}),
        ),
        of_attention(
            "the mask, of -10000, is scaled too",
            replacement=edited(
                lambda q, bias, _: {} if bias is None else {"bias": small_constant(bias) * q.shape[-1] ** -0.5}
            ),
        ),
    ],
    reason="in a whole BERT it shows nowhere: the only bias is the mask, whose constant gives probability 0 with and "
    "without the factor, and a constant added to a whole row cancels; attention alone, with any bias, shows it",
)  # fmt: skip
entry(
    "A09", "softmax over wrong axis / whole tensor", "last (key) axis",
    "ml-explore/mlx#1041", "output", "OP-SM-1",
    mutants=[
        of_attention(text, replacement=softmax_over(axis, filled), silent=UNCERTAIN_SCORES)
        for filled in (False, True) for text, axis in (
            ("softmax over the queries", -2),
            ("softmax over the heads", 1),
            ("softmax over the rows of the batch", 0),
            ("softmax over queries and keys together", (-2, -1)),
            ("softmax over the whole tensor", (0, 1, 2, 3)),
        )
    ],
)  # fmt: skip
entry(
    "A10", "mask multiplied onto scores, or applied after softmax", "add before softmax",
    "HF#542", "output", "OP-ATT-3",
    mutants=[
        of_attention("scores multiplied by the mask", silent=r".*:scores", replacement=by_hand(
            lambda scores, bias: scores * kept(bias, scores), slope=kept)),
        of_attention("probabilities multiplied by the mask", replacement=masked_probs(shown=False)),
        of_attention(
            "probabilities multiplied by the mask", replacement=masked_probs(shown=True), silent=UNCERTAIN_SCORES
        ),
    ],
)  # fmt: skip
entry(
    "A11", "polarity inverted or mask all ones", "1 = keep (BERT); XLNet 1 = masked; torch key_padding True = ignore",
    "PT#27968; src XLNet modeling.py:151; yg211/bert_nli#3", "output", "BERT-ATT-4", cause_of=("A12",),
    mutants=[
        batch("the mask inverted", lambda b, _: masked_by(b, 1 - _given_mask(b))),
        of_attention(
            "the mask inverted",
            replacement=edited(
                lambda q, bias, _: {} if bias is None else {"bias": np.where(bias == 0, bias.min(), 0).astype(q.dtype)}
            ),
        ),
        batch("a mask of ones", lambda b, _: masked_by(b, np.ones_like(_given_mask(b)))),
        *filling("the mask inverted", lambda given: ~given["mask"]),
        *map(causal, filling("the padding's mask inverted", placed(lambda before, seen: (before >= 0) & ~seen))),
    ],
)  # fmt: skip
entry(
    "A12", "mask not passed", "from padding",
    "CarryCKW/AES-NPCR#7; HF#12998, #2860", "output", "BERT-ATT-4",
    mutants=[
        batch("no mask", lambda b, _: masked_by(b, np.ones_like(_given_mask(b)))),
        of_attention("no mask", replacement=edited(lambda q, bias, _: {"bias": None})),
        causal(seeing("padding is seen", lambda before, seen: (before >= 0) & (seen == seen))),
    ],
)  # fmt: skip
entry(
    "A13", "mask on the query axis", "key axis (query axis = no effect)",
    "measured", "output", "BERT-ATT-4", cause_of=("A12",),
    mutants=[
        of_attention("the mask stands on the query axis", replacement=_query_mask(both=False), paths=SELF),
        of_attention("the mask stands on both axes", replacement=_query_mask(both=True), paths=SELF),
        of_attention("the mask, of -10000, stands on the query axis", paths=SELF,
                     replacement=_query_mask(False, small_constant)),
        of_attention("the mask, of -10000, stands on both axes, added", paths=SELF,
                     replacement=_query_mask(True, small_constant)),
        *(
            causal(seeing(f"the padding's mask stands on {axes}", lambda before, seen, both=both:
                          (before >= 0) & seen.swapaxes(2, 3) & (seen if both else True)))
            for axes, both in (("the query axis", False), ("both axes", True))
        ),
        *filling("the mask stands on the query axis", lambda given: _turned(given["mask"], given["q"])),
        *filling("the mask stands on both axes", lambda given: _turned(given["mask"], given["q"]) & given["mask"]),
        *map(causal, filling("the padding's mask stands on both axes", placed(
            lambda before, seen: (before >= 0) & seen & seen.swapaxes(2, 3)))),
    ],
)  # fmt: skip
entry(
    "A14", "-inf mask -> NaN on fully masked rows", "finite constant, or define the row as 0",
    "HF#15326, #45511; PT#103749", "output", "OP-ATT-4",
    mutants=[of_attention("-inf on masked keys", replacement=_infinite_bias())],
)  # fmt: skip
entry(
    "A15", "constant differs: -1e4, -1e9, finfo.min", "declare; equal unless a row is fully masked or scores are huge",
    "HF#15326, #15839; pytorch/benchmark#794; ai-glimpse/toynlp#50; src GB modeling.py:712 (-10000)",
    "output", "BERT-ATT-5", variant=True,
    mutants=[
        *(config(f"mask constant {c}", mask_constant=c) for c in ops.MASK_CONSTANTS),
        whole(of_attention("where every key is masked, the probabilities are 0", silent=UNCERTAIN_SCORES,
                           replacement=masked_probs(shown=True, before=lambda bias: bias))),
        solving.solvable(
            lambda value: of_attention(f"masked scores lowered by {solving.shown(value)}, which leaves them in sight",
                                       replacement=lowered(value), variant=False),
            10.0, (1.0, 2.0, 5.0, 20.0, 100.0), most=1e5,
        ),
        whole(of_attention("masked scores replaced, not added to", silent=UNCERTAIN_SCORES,
                           replacement=filled(lambda given: given["mask"]))),
    ],
)  # fmt: skip
entry(
    "A16", "two saturated masks added -> overflow to -inf", "combine booleans, or clamp",
    "HF#27114; NVIDIA-NeMo/Automodel#2658; EleutherAI/gpt-neox#25", "output", "OP-ATT-4",
    mutants=[
        lambda subject, at: (
            of_attention("the mask added twice overflows", replacement=_infinite_bias())(subject, at)
            if subject.config.mask_constant == "min"
            else []
        )
    ],
)  # fmt: skip
entry(
    "A17", "fused kernel assumes right padding", "honour any mask or reject it",
    "ORT#18945", "output", "BERT-ATT-4",
    mutants=[batch("the mask read as lengths", _right_padded)],
)  # fmt: skip
entry(
    "A18", "positional argument swap (token_type_ids / attention_mask)", "keywords",
    "HF#1788; PT#52667", "output", "BERT-EMB-3", families=("bert", "distilbert"),
    mutants=[batch("token types and mask change places", _swapped_arguments)],
)  # fmt: skip
entry(
    "A19", "fused QKV read as [Q;K;V] when stored per head (or reverse)", "state order in the mapping",
    "NVIDIA/FasterTransformer#68; HF#12004, #12007; NVIDIA/Megatron-LM#37",
    "output", "BERT-ATT-1", when="where the three projections are one, as in Megatron",
    mutants=[
        fused(per_head_stored=True),
        fused(per_head_stored=False),
        swap("one projection, read per head", "self_attention", retaken(per_head)),
        swap("one projection per head, read as [Q; K; V]", "self_attention", retaken(from_heads)),
        swap("one projection, query, key and value read as its last axis", "self_attention", retaken(innermost)),
        *turned_round((1, 2, 0)), *turned_round((2, 0, 1)),
    ],
)  # fmt: skip
entry(
    "A20", "position-to-content term gathered without transposition / wrong index sign",
    "p2c gathers along keys with negated index, then transposes",
    "nntrainer#3982; microsoft/DeBERTa#47, #162; HF#15732", "output", families=("deberta",),
)  # fmt: skip
entry(
    "A21", "scale sqrt(d) with extra terms", "sqrt(d * (1 + number of position terms))",
    "HF#10018; KH#435", "output", families=("deberta",),
)  # fmt: skip
entry(
    "A22", "DeBERTa masked softmax replaced by plain softmax", "fill, softmax, zero the masked entries",
    "microsoft/DeBERTa#6; HF#18199", "output", families=("deberta",),
)  # fmt: skip
entry(
    "A23", "relative bucket function differs (sign, half, log base, max distance)",
    "MPNet/T5: 32 buckets, bidirectional half split",
    "lucidrains/x-transformers#10; ANEForge#255; src MPNet", "output", families=("mpnet", "t5"),
    reason="mpnet-03 is MPNet's, t5-07 to t5-10 are T5's",
)  # fmt: skip
entry(
    "A24", "rel_shift takes the wrong row", "key j of query i: column T - 1 - i + j",
    "labmlai/annotated_deep_learning_paper_implementations#185; zihangdai/xlnet#97", "output", "OP-SHIFT-1",
    when="where scores are computed by distance, as in Transformer-XL and XLNet",
    mutants=[
        swap("the row below", "relative_shift", shifted(lambda i, length: length - 2 - i)),
        swap("the row above", "relative_shift", shifted(lambda i, length: length - i)),
        swap("rows shifted the other way", "relative_shift", shifted(lambda i, length: i)),
        swap("no shift", "relative_shift", shifted(lambda i, length: length - 1)),
        swap("the first columns for every query", "relative_shift", shifted(lambda i, length: 0 * i)),
        swap("no term of distances", "relative_shift", shifted(lambda i, length: 0 * i + 2**40)),
    ],
)  # fmt: skip
entry(
    "A25", "content stream may not see itself", "content sees itself, query stream does not",
    "HF#711", "output", families=("xlnet",), reason="xlnet-01 and mpnet-10 are the entries of those with two streams",
)  # fmt: skip
entry(
    "A26", "memory mask off by one / mem_len ignored", "as original",
    "HF#14832, #15665", "output", "TXL-MASK-2", families=("transformer_xl",),
    when="with same_length, or a memory that is cut", reason="xlnet-04 is XLNet's",
    mutants=[
        only("transformer_xl", config("one key more", mem_len=lambda f: (f.mem_len or 0) + 1)),
        only("transformer_xl", config("one key fewer", mem_len=lambda f: max(1, (f.mem_len or 0) - 1))),
    ],
)  # fmt: skip
entry(
    "A27", "shared relative bias not reused in later layers", "computed once, added in all",
    "OpenNMT/CTranslate2#1335", "output", families=("mpnet", "t5"), reason="t5-02 is T5's, mpnet-02 MPNet's",
)  # fmt: skip
entry(
    "A28", "local window or rope theta wrong in global/local alternation", "every n-th layer global; separate theta",
    "lablup/mlxcel#1412", "output", families=("modernbert",),
)  # fmt: skip
entry(
    "A29", "key bias dropped / has non-zero gradient", "effect 0, gradient 0",
    "measured", "nowhere", "OP-ATT-9", when="where keys have a bias",
    mutants=[swap("no key bias", "linear", without_bias(), r".*\.attention\.key")],
    reason="it adds a constant to each row of scores, which the softmax removes: no output, loss or gradient of "
    "another tensor depends on it. Only a candidate that hands out its keys or scores shows it",
)  # fmt: skip
entry(
    "A30", "Q/K swapped; q scaled before its bias", "QK^T, bias first",
    "own knowledge; naming measured", "output", "BERT-ATT-1",
    mutants=[
        of_attention("scores are k qᵀ", replacement=turned(_exchanged, _exchanged), paths=SELF),
        exchanged("query", "key"),
        exchanged_biases("query", "key"),
        swap("the query is scaled before its bias", "self_attention", _where_biased(query_scaled_first(shown=False)),
             silent=r".*\.attention\.query"),
        swap("the query is scaled before its bias", "self_attention", _where_biased(query_scaled_first(shown=True)),
             silent=r"steps/.*\.attention\.query\..*"),
    ],
)  # fmt: skip
entry(
    "A31", "XLM treated as BERT: -inf and q/sqrt(d) first", "as source",
    "src XLM transformer.py", "output", families=("xlm",),
    reason="both move no number beyond rounding; rows without a token are padding, whose output XLM sets to 0",
)  # fmt: skip
entry(
    "A32", "keys and values in each other's place", "q, k, v each with its own weights",
    "own knowledge", "output", "BERT-ATT-1",
    mutants=[exchanged("key", "value"), taken_as(0, 2, 1), exchanged_biases("key", "value")],
)  # fmt: skip
entry(
    "A33", "queries and values in each other's place", "q, k, v each with its own weights",
    "own knowledge", "output", "BERT-ATT-1",
    mutants=[exchanged("query", "value"), taken_as(2, 1, 0), exchanged_biases("query", "value")],
)  # fmt: skip
entry(
    "A36", "a path of attention's backward lost", "gradients reach queries, keys and values",
    "own knowledge", "gradient", "OP-ATT-7",
    mutants=[
        of_attention(f"no gradient reaches {what}", section=GRADIENTS, silent=silent, replacement=graded(
            ops.attention, lambda g, dy, c, lost=lost: tuple(0 * a if i in lost else a for i, a in enumerate(g))))
        for what, lost, silent in (
            ("the values", (2,), ""),
            ("the queries", (0,), ""),
            ("the keys", (1,), ""),
            ("the probabilities", (0, 1), r"gradients/.*:(scores|probs)"),
        )
    ] + [of_attention("the probabilities are a constant", section=GRADIENTS, replacement=constant_probs())],
)  # fmt: skip
entry(
    "A37", "another backward under the softmax's value", "dS = P (dP - Σ dP P), times the scale",
    "own knowledge", "gradient", "OP-ATT-7",
    mutants=[
        of_attention(what, section=GRADIENTS, silent=silent, replacement=sloped(slope, scaled))
        for silent in ("", UNCERTAIN_SCORES)
        for what, slope, scaled in (
            ("P dP, the sum lost", lambda p, d: p * d, True),
            ("P (1 - P) dP", lambda p, d: p * (1 - p) * d, True),
            ("the scale lost", lambda p, d: p * (d - (d * p).sum(-1, keepdims=True)), False),
        )
    ] + [
        everywhere(of_attention(what, section=GRADIENTS, silent=silent, replacement=sloped(slope, True)))
        for silent in ("", UNCERTAIN_SCORES) for what, slope in SOFTMAX_SLOPES
    ],
)  # fmt: skip
entry(
    "A38", "no output layer behind the heads", "W context + b",
    "own knowledge", "output", "BERT-ATT-3",
    mutants=[swap("the context as it is", "linear", left_out, r".*\.attention\.output")],
)  # fmt: skip
entry(
    "A39", "one projection's weights for two", "q, k, v each with its own weights",
    "own knowledge", "output", "BERT-ATT-1",
    mutants=[made(to, of) for made in (lent, lent_bias) for to, of in
             (("key", "query"), ("query", "key"), ("value", "key"), ("value", "query"), ("key", "value"),
              ("query", "value"))],
)  # fmt: skip
entry(
    "A40", "padding's keys or values zeroed, no mask on the scores", "add before softmax",
    "own knowledge", "output", "OP-ATT-3",
    mutants=[of_attention(f"{what} of padding set to 0, nothing masked", replacement=zeroed(name), paths=SELF)
             for what, name in (("keys", "k"), ("values", "v"))],
)  # fmt: skip
entry(
    "A41", "an encoder that reads in one direction", "every token sees all that are no padding",
    "own knowledge", "output", "BERT-ATT-4", families=("bert",),
    mutants=[only("bert", seeing(what, rule)) for what, rule in (
        ("a token sees those before it and itself", lambda before, seen: (before >= 0) & seen),
        ("a token sees itself and those behind it", lambda before, seen: (before <= 0) & seen),
        ("a token does not see itself", lambda before, seen: (before != 0) & seen),
    )],
)  # fmt: skip
entry(
    "A42", "one row's mask for all rows", "each row's own",
    "own knowledge", "output", "BERT-ATT-4",
    mutants=[made for what, rows in ROWS for made in (
        batch(what, lambda b, _, rows=rows: masked_by(b, rows(_given_mask(b)))),
        only("bert gpt2", whole(of_attention(what, replacement=edited(
            lambda q, bias, _, rows=rows: {} if bias is None else {"bias": rows(bias)}))))
    )],
)  # fmt: skip
entry(
    "A43", "the softmax in half precision", "in float32, whatever the rest is in",
    "own knowledge", "output", "NUM-1",
    mutants=[*map(rounded, (
        maker
        for name in ("float16", "bfloat16")
        for r in (precision.rounding(name),)
        for maker in (
            of_attention(f"in {name}", replacement=narrow_softmax(r), silent=UNCERTAIN_SCORES),
            of_attention(f"in {name} for the scores alone", replacement=narrow_softmax(r, scores_alone=True),
                         silent=UNCERTAIN_SCORES),
            *(whole(of_attention(f"in {name}, step by step", replacement=narrow_steps(r, inverse),
                                 silent=UNCERTAIN_SCORES)) for inverse in (False, True)),
            whole(of_attention(f"in {name}, as XLA fuses it", replacement=narrow_steps(r, False, fused=True),
                               silent=UNCERTAIN_SCORES)),
        )
    ))],
)  # fmt: skip
entry(
    "A35", "softmax to the base 2: an exp2 kernel without log2(e)", "to the base e",
    "own knowledge", "output", "OP-SM-1",
    mutants=[
        of_attention("2 to the scores, not e", replacement=by_hand(
            lambda scores, bias: (scores if bias is None else scores + bias) * scores.dtype.type(np.log(2)),
            slope=lambda bias, q: q.dtype.type(np.log(2))), silent=UNCERTAIN_SCORES),
    ],
)  # fmt: skip
entry(
    "A44", "heads in each other's place", "query, key, value and output have them in one order",
    "own knowledge", "output", "BERT-ATT-2",
    mutants=[
        everywhere(swap(f"{what} of the {part} change places", name, exchanged_heads(order)[name], paths))
        for what, order in HEADS
        for part, name, paths in (("queries", "split_heads", r".*split_query"), ("keys", "split_heads", r".*split_key"),
                                  ("values", "split_heads", r".*split_value"), ("output", "merge_heads", r".*"))
    ] + [heads_loaded(what, part, order) for what, order in HEADS for part in ("query", "key", "value", "output")],
)  # fmt: skip
entry(
    "A34", "the mask's 0 and 1 added to the scores", "0 where it is 1, a large negative number where it is 0",
    "own knowledge", "output", "OP-ATT-2",
    mutants=[
        of_attention(
            "the mask's 0 and 1 are added to the scores",
            replacement=edited(lambda q, bias, _: {} if bias is None else {"bias": kept(bias, q)}),
        ),
    ],
)  # fmt: skip
unlisted(
    "another scale of the scores",
    solving.solvable(another_scale, lambda subject: 0.4 * head_size(subject) ** -0.5, _scales,
                     lambda subject: head_size(subject) ** -0.5, most=1e3),
)
unlisted(
    "keys of zeros that are seen",
    solving.solvable(
        lambda n: of_attention(f"{solving.shown(n)} keys of zeros, not masked, behind the others",
                               replacement=zero_keys(n), silent=UNCERTAIN_SCORES),
        4.0, (1.0, 16.0, 64.0, 512.0), least=1.0, whole=True,
    ),
)
