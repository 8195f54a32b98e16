"""Mistakes in what weighs the values: other functions of the scores, other keys that are seen, heads' shares."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops
from minibert.errors import InputError
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import (
    Mutant,
    batch,
    config,
    entry,
    everywhere,
    field,
    only,
    places_of,
    present,
    swap,
    unlisted,
    whole,
)
from minibert.mistakes.ops.attention import (
    SELF,
    UNCERTAIN_SCORES,
    causal,
    edited,
    head_size,
    least,
    left_out,
    masked_by,
    of_attention,
    of_scores,
    seeing,
    zero_keys,
)
from minibert.mistakes.swap import Replacement, Site

Array = np.ndarray
Cache = dict[str, Any]
UNCERTAIN_WEIGHTS = r"gradients/.*:(scores|probs)"
LOWEST = -1e30  # of what is added, so that a factor leaves it a number


# ---- Other functions of the scores -----------------------------------------------------------------------------------
def weighed(f: Callable, back: Callable) -> Replacement:
    """Attention whose probabilities are f(scores, bias or None) -> (p, cache), with back(dp, cache) -> dscores, or,
    where the bias has another gradient than the scores, (dscores, dbias).
    """

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        probs, c = f((q * scale) @ k.swapaxes(-1, -2), None if bias is None else np.maximum(least(bias), LOWEST))
        used = probs if dropout is None else probs * dropout
        return used @ v, {"q": q, "k": k, "v": v, "probs": probs, "dropout": dropout, "scale": scale, "own": (c,)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dropout = 1 if c["dropout"] is None else c["dropout"]
        own = back((dy @ c["v"].swapaxes(-1, -2)) * dropout, c["own"][0])
        dscores, dbias = own if isinstance(own, tuple) else (own, own)
        dscores = dscores * c["scale"]
        dv = (c["probs"] * dropout).swapaxes(-1, -2) @ dy
        return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], dv, dbias

    return of_scores(attention, attention_backward)


def masked(scores: Array, bias: Any) -> Array:
    """Scores with the mask on them."""
    return scores if bias is None else scores + bias


def _softmax_back(dp: Array, p: Array) -> Array:
    return p * (dp - (dp * p).sum(-1, keepdims=True))


def tempered(value: float) -> Replacement:
    """The softmax of the scores, mask and all, times a value."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        p = ops.softmax(masked(scores, bias) * scores.dtype.type(value))[0]
        return p, p

    return weighed(f, lambda dp, p: _softmax_back(dp, p) * p.dtype.type(value))


def summed_with(value: float) -> Replacement:
    """exp(s - max s)/(v + Σ exp(s - max s))."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        s = masked(scores, bias)
        largest = s == s.max(-1, keepdims=True)
        e = np.exp(s - s.max(-1, keepdims=True))
        total = e.sum(-1, keepdims=True)
        return e / (total + e.dtype.type(value)), (e, total + e.dtype.type(value), largest)

    def back(dp: Array, c: tuple) -> Array:
        e, total, largest = c
        p = e / total
        ds = p * (dp - (dp * p).sum(-1, keepdims=True))
        share = (largest / largest.sum(-1, keepdims=True)).astype(ds.dtype)
        return ds - share * ds.sum(-1, keepdims=True)

    return weighed(f, back)


def powered(value: float) -> Replacement:
    """The softmax to a power."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        p = ops.softmax(masked(scores, bias))[0]
        return p ** p.dtype.type(value), p

    def back(dp: Array, p: Array) -> Array:
        slope = np.where(p > 0, value * np.where(p > 0, p, 1) ** (value - 1), 0).astype(p.dtype)
        return _softmax_back(dp * slope, p)

    return weighed(f, back)


def cut_off(value: float) -> Replacement:
    """The softmax of scores between -v and v, mask added behind that."""

    def f(scores: Array, bias: Any) -> tuple[Array, tuple[Array, Array]]:
        p = ops.softmax(masked(np.clip(scores, -value, value), bias))[0]
        return p, (p, np.abs(scores) <= value)

    def back(dp: Array, c: tuple[Array, Array]) -> tuple[Array, Array]:
        dbias = _softmax_back(dp, c[0])
        return dbias * c[1], dbias

    return weighed(f, back)


def capped(value: float) -> Replacement:
    """The softmax of value·tanh(scores/value), mask added behind it."""

    def f(scores: Array, bias: Any) -> tuple[Array, tuple[Array, Array]]:
        t = np.tanh(scores / scores.dtype.type(value))
        p = ops.softmax(masked(value * t, bias))[0]
        return p, (p, 1 - t * t)

    def back(dp: Array, c: tuple[Array, Array]) -> tuple[Array, Array]:
        dbias = _softmax_back(dp, c[0])
        return dbias * c[1], dbias

    return weighed(f, back)


def _twice(scores: Array, bias: Any) -> tuple[Array, tuple[Array, Array]]:
    first = ops.softmax(masked(scores, bias))[0]
    p = ops.softmax(first)[0]
    return p, (first, p)


def _sigmoid(scores: Array, bias: Any) -> tuple[Array, Array]:
    p = ops.sigmoid(masked(scores, bias))[0]
    return p, p * (1 - p)


def _exponential(scores: Array, bias: Any) -> tuple[Array, tuple[Array, Any]]:
    """exp(s - max s), not divided by the sum."""
    s = masked(scores, bias)
    largest = s.max(-1, keepdims=True)
    p = np.exp(s - largest)
    return p, (p, (s == largest).astype(s.dtype))


def _exponential_back(dp: Array, c: tuple[Array, Array]) -> Array:
    p, first = c
    ds = dp * p
    return ds - first / first.sum(-1, keepdims=True) * ds.sum(-1, keepdims=True)


def _plain_exponential(scores: Array, bias: Any) -> tuple[Array, Array]:
    p = np.exp(masked(scores, bias))
    return p, p


def _rectified(divided: bool) -> Callable:
    """max(0, s), divided by the number of keys or not."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        s, by = masked(scores, bias), scores.shape[-1] if divided else 1
        return np.maximum(s, 0) / by, (s > 0) / scores.dtype.type(by)

    return f


def _as_they_are(scores: Array, bias: Any) -> tuple[Array, Array]:
    """Scores for probabilities, 0 where masked."""
    seen = np.ones((1, 1, 1, 1), scores.dtype) if bias is None else (bias == 0).astype(scores.dtype)
    return scores * seen, np.broadcast_to(seen, scores.shape)


def _softplus(scores: Array, bias: Any) -> tuple[Array, Array]:
    s = masked(scores, bias)
    return np.logaddexp(0, s), ops.sigmoid(s)[0]


def _squared(scores: Array, bias: Any) -> tuple[Array, Array]:
    s, seen = _as_they_are(scores, bias)
    return s * s, 2 * s * seen


def _sum_to_one(f: Callable) -> Callable:
    """f(scores, bias) -> (values, their slopes), divided by the values' sum."""

    def shares(scores: Array, bias: Any) -> tuple[Array, tuple[Array, Array]]:
        g, slope = f(scores, bias)
        total = g.sum(-1, keepdims=True)
        total = np.where(total == 0, 1, total)
        return g / total, (g / total, slope / total)

    return shares


def _shares_back(dp: Array, c: tuple[Array, Array]) -> Array:
    return (dp - (dp * c[0]).sum(-1, keepdims=True)) * c[1]


def _product(dp: Array, slope: Array) -> Array:
    return dp * slope


def spread(share: float, seen: bool) -> Replacement:
    """A share of each query's probabilities spread evenly, over all keys or those that it sees."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        p = ops.softmax(masked(scores, bias))[0]
        keys = np.ones_like(p) if bias is None or not seen else np.broadcast_to(bias == 0, p.shape).astype(p.dtype)
        by = p.dtype.type(share)
        return (1 - by) * p + by * keys / np.maximum(keys.sum(-1, keepdims=True), 1), p

    return weighed(f, lambda dp, p: p.dtype.type(1 - share) * _softmax_back(dp, p))


def drowned() -> Replacement:
    """Scores lost beside a large constant that is added to those of all keys that are seen, in the value alone."""

    def f(scores: Array, bias: Any) -> tuple[Array, Array]:
        p = ops.softmax(masked(0 * scores, bias))[0]
        return p, p

    return replace(weighed(f, _softmax_back), faithful=False)


FUNCTIONS = (
    ("the softmax twice", _twice, lambda dp, c: _softmax_back(_softmax_back(dp, c[1]), c[0])),
    ("a sigmoid of each score", _sigmoid, _product),
    ("sigmoids divided by their sum", _sum_to_one(_sigmoid), _shares_back),
    ("softplus divided by its sum", _sum_to_one(_softplus), _shares_back),
    ("ReLU divided by its sum", _sum_to_one(_rectified(False)), _shares_back),
    ("squares divided by their sum", _sum_to_one(_squared), _shares_back),
    ("exponentials less the largest, not divided by their sum", _exponential, _exponential_back),
    ("exponentials, not divided by their sum", _plain_exponential, _product),
    ("ReLU, divided by the number of keys", _rectified(True), _product),
    ("ReLU", _rectified(False), _product),
    ("scores as they are, those masked 0", _as_they_are, lambda dp, seen: (dp * seen, np.zeros_like(dp))),
)


# ---- Heads -----------------------------------------------------------------------------------------------------------
def silenced(head: int) -> Replacement:
    """A head's probabilities set to 0."""

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        on = np.ones((1, q.shape[1], 1, 1), q.dtype)
        on[:, head] = 0
        return {"dropout": on if dropout is None else dropout * on}

    return edited(edit)


def by_head(factor: Callable[[Array], Array]) -> Replacement:
    """Each head's probabilities times factor(the heads' numbers)."""

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        by = factor(np.arange(q.shape[1])).astype(q.dtype).reshape(1, -1, 1, 1)
        return {"dropout": by if dropout is None else dropout * by}

    return edited(edit)


def moved(names: str, by: int) -> Replacement:
    """Keys or values of the token so many places before, those at the end of the others."""

    def roll(name: str, a: Array, by: int) -> Array:
        return np.roll(a, by, 2) if name in names else a

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        return ops.attention(q, roll("k", k, by), roll("v", v, by), **given)

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, *others = ops.attention_backward(dy, c)
        return dq, roll("k", dk, -by), roll("v", dv, -by), *others

    return of_scores(attention, attention_backward)


def gated(behind: bool) -> Replacement:
    """Values, or behind all what they sum to, times the sigmoid of the queries."""

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        if q.shape != v.shape:
            raise ValueError("another shape")
        gate = ops.sigmoid(q)[0]
        y, c = ops.attention(q, k, v if behind else v * gate, **given)
        return y * gate if behind else y, {**c, "gate": (gate, y if behind else v)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        gate, x = c["gate"]
        dq, dk, dv, *others = ops.attention_backward(dy * gate if behind else dy, c)
        by = (dy if behind else dv) * x * gate * (1 - gate)
        return dq + by, dk, dv if behind else dv * gate, *others

    return of_scores(attention, attention_backward)


def mixed(over: Callable[[Array], Array]) -> Replacement:
    """Values weighed by a linear map, its own adjoint, of the probabilities."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        _, c = ops.attention(q, k, v, bias=bias, scale=scale)
        used = np.broadcast_to(over(c["probs"]), c["probs"].shape)
        used = used if dropout is None else used * dropout
        return used @ v, {**c, "used": used, "dropout": dropout}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dused = dy @ c["v"].swapaxes(-1, -2)
        dused = dused if c["dropout"] is None else dused * c["dropout"]
        dbias = _softmax_back(np.broadcast_to(over(dused), dused.shape), c["probs"])
        dscores = dbias * c["scale"]
        return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], c["used"].swapaxes(-1, -2) @ dy, dbias

    return of_scores(attention, attention_backward)


def _turned(p: Array) -> Array:
    """Keys for queries, where there are as many."""
    return p.swapaxes(-1, -2) if p.shape[-1] == p.shape[-2] else p


def one_for_all(*names: str) -> Replacement:
    """The first head's keys or values in the place of all heads'."""

    def first(name: str, a: Array) -> Array:
        return np.broadcast_to(a[:, :1], a.shape).copy() if name in names else a

    def back(name: str, da: Array) -> Array:
        if name not in names:
            return da
        found = np.zeros_like(da)
        found[:, 0] = da.sum(1)
        return found

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        return ops.attention(q, first("k", k), first("v", v), **given)

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, dv, *others = ops.attention_backward(dy, c)
        return dq, back("k", dk), back("v", dv), *others

    return of_scores(attention, attention_backward)


def _other_counts(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Every number of heads that fits, up to 32; none where dropout was drawn for each head."""
    if any(np.ndim(mask) == 4 for batch in subject.batches for mask in (batch.get("dropout") or {}).values()):
        return []
    width, right = field(subject, "hidden_size"), field(subject, "num_attention_heads")
    due, found = f"{right} {'is' if right == 1 else 'are'}", []
    for n in (n for n in range(1, 33) if width % n == 0 and n != right):
        with contextlib.suppress(InputError):  # a configuration that says something of each head
            found += config(f"{n} head{'s' * (n > 1)}, where {due} due", num_attention_heads=n)(subject, at)
    return found


# ---- Queries and keys ------------------------------------------------------------------------------------------------
def normed_first(kind: str, scale: float | None = None) -> Replacement:
    """Queries and keys brought to "length" 1, or to mean 0 and variance 1 ("norm"), before they meet; scale: of their
    products, another than is due.
    """
    eps = 1e-5

    def one(x: Array) -> tuple[Array, Any]:
        if kind == "norm":
            return ops.layer_norm(x, np.ones_like(x[0, 0, 0]), np.zeros_like(x[0, 0, 0]), eps=x.dtype.type(eps))
        size = np.maximum(np.sqrt(np.square(x).sum(-1, keepdims=True)), x.dtype.type(1e-12))
        return x / size, (x / size, size)

    def back(dy: Array, c: Any) -> Array:
        if kind == "norm":
            return ops.layer_norm_backward(dy, c)[0]
        y, size = c
        return (dy - y * (dy * y).sum(-1, keepdims=True)) / size

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        (q, of_q), (k, of_k) = one(q), one(k)
        y, c = ops.attention(q, k, v, **{**given, **({} if scale is None else {"scale": q.dtype.type(scale)})})
        return y, {**c, "normed": (of_q, of_k)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        dq, dk, *others = ops.attention_backward(dy, c)
        return back(dq, c["normed"][0]), back(dk, c["normed"][1]), *others

    return of_scores(attention, attention_backward)


# ---- Who is seen -----------------------------------------------------------------------------------------------------
def by_distance(slope: Callable[[int], Any], shown: bool = False, signed: bool = False) -> Replacement:
    """Scores lowered by the distance times slope(how many heads), one for all or one for each (arXiv 2108.12409);
    shown: those that are handed out, too; signed: raised for keys behind the query.
    """

    def lowered(q: Array, keys: int) -> Any:
        if keys != q.shape[2]:
            return None
        back = (np.arange(keys)[:, None] - np.arange(keys)).astype(q.dtype)
        far = back if signed else np.abs(back)
        return -np.asarray(slope(q.shape[1]), q.dtype).reshape(1, -1, 1, 1) * far

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        lower = lowered(q, q.shape[2] if bias is None else bias.shape[-1])
        return {} if lower is None else {
            "bias": lower if bias is None else np.maximum(least(bias), LOWEST) + lower}  # fmt: skip

    def attention(q: Array, k: Array, v: Array, *, scale: Any = None, **given: Any) -> tuple[Array, Cache]:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        lower, width = lowered(q, k.shape[2]), q.shape[-1]
        if lower is not None:  # as further entries of queries and keys, so that the products have it
            rows = np.broadcast_to(lower / scale, (*q.shape[:2], *lower.shape[2:]))
            own = np.broadcast_to(np.eye(k.shape[2], dtype=k.dtype), (*k.shape[:2], *lower.shape[2:]))
            q, k = np.concatenate([q, rows], -1), np.concatenate([k, own], -1)
        more = [(0, 0)] * 3 + [(0, q.shape[-1] - width)]
        y, c = ops.attention(q, k, np.pad(v, more), scale=scale, **given)
        return y[..., :width], {**c, "v": v, "own": (c, more)}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        own, more = c["own"]
        dq, dk, dv, *others = ops.attention_backward(np.pad(dy, more), own)
        width = dy.shape[-1]
        return dq[..., :width], dk[..., :width], dv[..., :width], *others

    return of_scores(attention, attention_backward) if shown else edited(edit)


def _geometric(heads: int) -> Array:
    """ALiBi's slopes: powers of 2^(-8/H)."""
    return 2.0 ** (-8 * np.arange(1, heads + 1) / heads)


def queries_apart() -> Replacement:
    """Nothing for a query that is padding: its probabilities are 0."""

    def edit(q: Array, bias: Any, dropout: Any) -> dict[str, Any]:
        if bias is None or bias.shape[-1] != q.shape[2]:
            return {}
        there = (least(bias)[:, :, -1:] == 0).swapaxes(-1, -2).astype(q.dtype)
        return {"dropout": there if dropout is None else dropout * there}

    return edited(edit)


def _away(both: bool) -> Callable:
    """Keys no farther than some number of places, behind a query or on either side."""

    def of(n: float) -> Callable:
        rule = lambda before, seen: (np.abs(before) <= n) & ((before >= 0) | both) & seen  # noqa: E731
        return seeing(f"keys no farther than {n:.0f} places", rule)

    return solving.solvable(of, 1.0, (2.0, 3.0, 4.0, 8.0, 16.0, 0.0), whole=True)


def _but_the_first(before: Array, seen: Array) -> Array:
    return seen & (np.arange(before.shape[1]) > 0) & (before == before)


def _of_length(by: int) -> Callable:
    """The mask of as many tokens as a row has, and so many more."""
    return lambda b, _: masked_by(b, np.arange(present(b).shape[-1]) < present(b).sum(-1, keepdims=True) + by)


def _by_id(b: dict, config: Any) -> dict[str, Array]:
    return masked_by(b, present(b) * (b["input_ids"] != (config.pad_token_id or 0)))


def _by_id_alone(b: dict, config: Any) -> dict[str, Array]:
    return masked_by(b, places_of(b) * (b["input_ids"] != (config.pad_token_id or 0)))


def _shifted_mask(by: int) -> Callable:
    """The mask read so many places on, nothing beyond its end."""
    return lambda b, _: masked_by(b, np.pad(present(b), [(0, 0), (0, by)])[:, by:])


def _own_segment(b: dict, _: Any) -> dict[str, Array]:
    types, mask = b["token_type_ids"], present(b)
    return {"attention_mask": (mask[:, None, :] * (types[:, :, None] == types[:, None, :])).astype(places_of(b).dtype)}


entry(
    "A45", "another function than the softmax", "exp(s) / Σ exp(s) over the keys",
    "own knowledge", "output", "OP-SM-1",
    mutants=[
        *(of_attention(what, replacement=weighed(f, back), silent=UNCERTAIN_SCORES) for what, f, back in FUNCTIONS),
        everywhere(of_attention("1 added to the sum below, as by add_zero_attn", replacement=zero_keys(1.0),
                                silent=UNCERTAIN_SCORES)),
        *(solving.solvable(lambda v, of=of, what=what: whole(of_attention(
            what.format(solving.shown(v)), replacement=of(v), silent=UNCERTAIN_SCORES)), typical, likely, due, most=1e3)
          for of, what, typical, likely, due in (
              (summed_with, "{} added to the sum of exponentials less the largest", 1.0, (1e-2, 1e-3, 1e-5), 0.0),
              (powered, "the probabilities to the power {}, not divided by their new sum", 0.5, (2.0, 0.8), 1.0))),
        *(solving.solvable(lambda v, seen=seen: whole(of_attention(
            f"{solving.shown(v)} of each query's weights spread over all keys{' that are seen' * seen}",
            replacement=spread(v, seen), silent=UNCERTAIN_SCORES)), 0.1, (0.05, 0.01, 0.2, 0.5), 0.0, most=1.0)
          for seen in (False, True)),
        of_attention("every key that is seen weighs the same, as beside a constant of -1e9", replacement=drowned(),
                     silent=r".*:scores"),
    ],
)  # fmt: skip
unlisted(
    "weights otherwise than by query and key",
    everywhere(of_attention("the probabilities turned, keys for queries, before they weigh the values",
                            replacement=mixed(_turned), silent=UNCERTAIN_WEIGHTS)),
    *(whole(of_attention(f"each key's {what} are those of the one {which} it", paths=SELF,
                         replacement=moved(names, by)))
      for what, names in (("keys", "k"), ("values", "v"), ("keys and values", "kv"))
      for which, by in (("before", 1), ("behind", -1))),
    whole(of_attention("values times the sigmoid of the queries at their place", replacement=gated(False))),
    whole(of_attention("what each query gathers times its own sigmoid", replacement=gated(True))),
    *(solving.solvable(lambda v, by=by, words=words: whole(of_attention(
        f"head h, from 0 on, times {words(solving.shown(v))}", replacement=by_head(lambda h: by(v, h)),
        silent=UNCERTAIN_WEIGHTS)), typical, likely, due, least=1e-6, most=1e3)
      for by, words, typical, likely, due in (
          (lambda v, h: 1 / (1 + v * h), lambda v: f"1/(1 + {v} h)", 0.1, (0.5, 1.0), 0.0),
          (lambda v, h: v**h, lambda v: f"{v} to the power of h", 0.5, (0.9, 0.8, 2.0), 1.0))),
)
entry(
    "A46", "scores with a temperature, or capped", "softmax(q·k/√K + mask)",
    "own knowledge (caps are Gemma's, value·tanh(s/value))", "output", "OP-ATT-2",
    cause_of=("A04", "A05", "A06", "A07"),
    mutants=[
        solving.solvable(
            lambda value: of_attention(f"the softmax of {solving.shown(value)} times the scores",
                                       replacement=tempered(value), silent=UNCERTAIN_SCORES),
            0.3, (0.5, 2.0, 10.0, 0.1, 0.25), 1.0, most=1e3,
        ),
        solving.solvable(
            lambda value: whole(of_attention(f"scores cut off at {solving.shown(value)} either way",
                                             replacement=cut_off(value), silent=r".*:scores")),
            2.0, (1.0, 5.0, 10.0, 20.0, 50.0), least=1e-2, most=1e5,
        ),
        solving.solvable(
            lambda value: of_attention(f"scores capped by {solving.shown(value)}", replacement=capped(value),
                                       silent=r".*:scores"),
            5.0, (1.0, 10.0, 20.0, 30.0, 50.0, 100.0), least=1e-2, most=1e5,
        ),
    ],
)  # fmt: skip
entry(
    "A47", "another number of heads", "num_attention_heads",
    "own knowledge: a number written into the code", "output", "BERT-ATT-2",
    mutants=[_other_counts],
)  # fmt: skip
entry(
    "A48", "a head silent, or heads averaged", "each head by its own probabilities",
    "own knowledge", "output", "BERT-ATT-2",
    mutants=[
        of_attention("the first head gives 0", replacement=silenced(0), silent=UNCERTAIN_WEIGHTS),
        of_attention("the last head gives 0", replacement=silenced(-1), silent=UNCERTAIN_WEIGHTS),
        of_attention("all heads by their mean probabilities", silent=UNCERTAIN_WEIGHTS,
                     replacement=mixed(lambda p: p.mean(1, keepdims=True))),
        *(of_attention(f"the first head's {what} for all", replacement=one_for_all(*names))
          for what, names in (("keys", ("k",)), ("values", ("v",)), ("keys and values", ("k", "v")))),
    ],
)  # fmt: skip
entry(
    "A49", "a projection of the attention left out", "queries, keys and values each by W x + b",
    "own knowledge", "output", "BERT-ATT-1",
    mutants=[swap("the states as they are", "linear", left_out, r".*\.attention\.(query|key|value)")],
)  # fmt: skip
entry(
    "A50", "queries and keys normalised before they meet", "as they are projected",
    "own knowledge (arXiv 2010.04245)", "output", "BERT-ATT-1",
    mutants=[
        solving.solvable(
            lambda v: of_attention(f"to length 1, their products times {solving.shown(v)}",
                                   replacement=normed_first("length", scale=v)),
            lambda subject: head_size(subject) ** -0.5, (1.0, 10.0, 20.0, 30.0, 100.0), most=1e3,
        ),
        of_attention("to mean 0 and variance 1", replacement=normed_first("norm")),
    ],
)  # fmt: skip
entry(
    "A51", "scores lowered by distance, as ALiBi's", "positions are in the embeddings alone",
    "own knowledge (arXiv 2108.12409)", "output", "OP-ATT-2", when="where positions are a table",
    mutants=[
        maker for how in ((False, False), (True, False), (True, True)) for maker in (
            whole(of_attention("slopes of 2^(-8h/H)", replacement=by_distance(_geometric, *how), paths=SELF)),
            solving.solvable(
                lambda value, how=how: whole(of_attention(
                    f"{solving.shown(value)} times the distance", paths=SELF,
                    replacement=by_distance(lambda heads: value, *how))),
                0.1, (0.5, 0.25, 0.0625, 1.0, -0.1), 0.0, least=-1e2, most=1e2,
            ),
        )
    ],
)  # fmt: skip
entry(
    "A52", "fewer keys seen than are there", "every token that is no padding; of a decoder, those up to its own",
    "own knowledge", "output", "BERT-ATT-4",
    when="a decoder's diagonal is gpt2-01 and gpt2-02, an encoder's own token A41",
    mutants=[
        *(only("bert", maker) for maker in (whole(_away(True)), seeing("the first token is not seen", _but_the_first))),
        causal(whole(_away(False))),
        only("bert", lambda subject, at: batch("tokens see their own segment alone", _own_segment)(subject, at)
             if "token_type_ids" in subject.batches[0] else []),
        batch("the padding's id within a text is not seen", _by_id),
        batch("the padding's id is not seen, all else is", _by_id_alone),
        of_attention("padding's queries see nothing", replacement=queries_apart(), paths=SELF,
                     silent=UNCERTAIN_WEIGHTS),
    ],
)  # fmt: skip
entry(
    "A53", "lengths of rows one off", "the mask has a 1 for every token that is no padding",
    "own knowledge", "output", "BERT-ATT-4",
    mutants=[
        batch("one too short", _of_length(-1)),
        batch("one too long", _of_length(1)),
        batch("the mask read one place on", _shifted_mask(1)),
    ],
)  # fmt: skip
