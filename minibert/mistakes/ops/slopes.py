"""Backwards written by hand that are not the forward's: of norms, activations, softmax and attention.

Each table is of (what in words, a function), from which the entries of norms, activations and attention make mutants.
"""

import math
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import GRADIENTS, everywhere, swap
from minibert.mistakes.swap import Replacement, Site, graded
from minibert.pairs import PAIRS

Array = np.ndarray
Cache = dict[str, Any]


def placed(what: str, name: str, replacement: Any, paths: str = ".*", **fields: Any) -> Callable:
    """A wrong backward of the op or block `name`; inside it, the same in some places."""
    return everywhere(swap(what, name, replacement, paths, section=GRADIENTS, **fields))


# ---- Layer norm ------------------------------------------------------------------------------------------------------
def by_text(a: Array, texts: int) -> Array:
    """(…, D) as (texts, …, D), where it is rows of all texts one after the other."""
    rows = a.size // a.shape[-1]
    joined = a.ndim == 2 or (a.ndim == 3 and len(a) == 1)
    return a.reshape(texts, -1, a.shape[-1]) if joined and rows > texts and not rows % texts else a


def texts_of(subject: Subject) -> int:
    """How many rows the first batch has."""
    batch = subject.batches[0]
    return len(batch["input_ids"] if "input_ids" in batch else next(iter(batch.values())))


def normed(edit: Callable[[SimpleNamespace], dict[str, Array]]) -> Callable[[Subject, Site], Replacement]:
    """Layer norm whose backward gives, in the place of dx, weight or bias, what edit(o) says; o: dy, g = dy γ, x, xhat,
    y, r = 1/σ, weight and bias, rows: the axes that the parameters' gradients are summed over, n: the width.
    """
    return lambda subject, site: _normed(edit, texts_of(subject))


def _normed(edit: Callable[[SimpleNamespace], dict[str, Array]], texts: int) -> Replacement:
    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        y, c = ops.layer_norm(x, weight, bias, eps=eps)
        return y, {**c, "x": x, "y": y, "beta": bias}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c)
        each = by_text(dy, texts)
        xhat, r = c["xhat"].reshape(each.shape), c["rstd"].reshape(*each.shape[:-1], 1)
        held = SimpleNamespace(
            dy=each, g=each * c["weight"], x=c["x"].reshape(each.shape), xhat=xhat, y=c["y"].reshape(each.shape), r=r,
            weight=c["weight"], bias=c["beta"], rows=tuple(range(each.ndim - 1)), n=dy.shape[-1],
        )  # fmt: skip
        made = {"dx": dx, **g, **edit(held)}
        return made["dx"].reshape(dy.shape), {"weight": made["weight"], "bias": made["bias"]}

    return Replacement(layer_norm, layer_norm_backward, faithful=False)


def mean(a: Array, axis: int = -1) -> Array:
    """The mean that stays an axis of 1."""
    return a.mean(axis, keepdims=True)


def _dx(first: float = 1, second: float = 1, r: Callable = lambda o: o.r, **other: Callable) -> Callable:
    """r (g - first·mean g - second·x̂ mean(g x̂)), with other g, a, b or x̂ where they are given."""

    def edit(o: SimpleNamespace) -> dict[str, Array]:
        g = other.get("g", lambda o: o.g)(o)
        a = other.get("a", lambda o: mean(g))(o)
        xhat = other.get("xhat", lambda o: o.xhat)(o)
        b = other.get("b", lambda o: xhat * mean(g * xhat))(o)
        return {"dx": (r(o) * (g - o.dy.dtype.type(first) * a - o.dy.dtype.type(second) * b)).astype(o.dy.dtype)}

    return edit


def _of_width(f: Callable[[int], float], first: bool, second: bool) -> Callable:
    """Means times f(n), n the width."""
    return lambda o: _dx(f(o.n) if first else 1, f(o.n) if second else 1)(o)


def _behind(what: Callable, x_too: bool, weight_too: bool) -> Callable:
    """Another tensor for x̂: in dx, in γ's gradient, or both."""

    def edit(o: SimpleNamespace) -> dict[str, Array]:
        made = _dx(xhat=what)(o) if x_too else {}
        return {**made, "weight": (o.dy * what(o)).sum(o.rows)} if weight_too else made

    return edit


NORM_SLOPES = (
    *((f"{a} for mean(g) and mean(g x̂)", _of_width(f, True, True)) for a, f in (
        ("sums", lambda n: n), ("sums over n - 1", lambda n: n / (n - 1)))),
    *((f"{a} for mean(g)", _of_width(f, True, False)) for a, f in (
        ("a sum", lambda n: n), ("a sum over n - 1", lambda n: n / (n - 1)))),
    *((f"{a} for mean(g x̂)", _of_width(f, False, True)) for a, f in (
        ("a sum", lambda n: n), ("a sum over n - 1", lambda n: n / (n - 1)))),
    ("+ mean(g)", _dx(first=-1)), ("+ x̂ mean(g x̂)", _dx(second=-1)), ("both added", _dx(-1, -1)),
    ("half of x̂ mean(g x̂)", _dx(second=0.5)), ("twice x̂ mean(g x̂)", _dx(second=2)),
    ("mean(g x̂) without its x̂", _dx(b=lambda o: mean(o.g * o.xhat))),
    ("x̂ mean(g) for x̂ mean(g x̂)", _dx(b=lambda o: o.xhat * mean(o.g))),
    ("x̂ mean(g) alone", _dx(first=0, b=lambda o: o.xhat * mean(o.g))),
    ("mean(dy) for mean(g)", _dx(a=lambda o: mean(o.dy))),
    ("mean(dy x̂) for mean(g x̂)", _dx(b=lambda o: o.xhat * mean(o.dy * o.xhat))),
    ("mean(dy) and mean(dy x̂)", _dx(a=lambda o: mean(o.dy), b=lambda o: o.xhat * mean(o.dy * o.xhat))),
    ("γ multiplied last", lambda o: {"dx": o.weight * _dx(g=lambda o: o.dy)(o)["dx"]}),
    ("γ twice", _dx(g=lambda o: o.g * o.weight)), ("divided by γ", _dx(g=lambda o: o.dy / o.weight)),
    ("1/σ twice", _dx(r=lambda o: o.r * o.r)), ("1/σ³", _dx(r=lambda o: o.r**3)), ("times σ", _dx(r=lambda o: 1 / o.r)),
    ("1/√σ", _dx(r=lambda o: np.sqrt(o.r))),
    ("1/σ of n - 1", _dx(r=lambda o: o.r * math.sqrt((o.n - 1) / o.n))),
    ("1/σ for g alone", lambda o: {"dx": o.r * o.g - mean(o.g) - o.xhat * mean(o.g * o.xhat)}),
    ("1/σ not for x̂ mean(g x̂)", lambda o: {"dx": o.r * (o.g - mean(o.g)) - o.xhat * mean(o.g * o.xhat)}),
    ("x̂ mean(g x̂) with 1/σ once more", _dx(b=lambda o: o.r * o.xhat * mean(o.g * o.xhat))),
    ("x̂ mean(g x̂) with 1/σ twice more", _dx(b=lambda o: o.r**2 * o.xhat * mean(o.g * o.xhat))),
    ("mean(g) over positions", _dx(a=lambda o: mean(o.g, -2))),
    ("mean(g x̂) over positions", _dx(b=lambda o: o.xhat * mean(o.g * o.xhat, -2))),
    ("both means over positions", _dx(a=lambda o: mean(o.g, -2), b=lambda o: o.xhat * mean(o.g * o.xhat, -2))),
    ("mean(g x̂) over all features of a text", _dx(b=lambda o: o.xhat * (o.g * o.xhat).mean((-2, -1), keepdims=True))),
    ("dy as it is", lambda o: {"dx": o.dy}),
    *((f"{name} for x̂{where}", _behind(what, *both))
      for name, what in (("y", lambda o: o.y), ("x", lambda o: o.x), ("x - mean", lambda o: o.xhat / o.r))
      for where, both in ((", in γ's gradient, too", (True, True)), ("", (True, False)))),
)  # fmt: skip
_sum = lambda o, a: a.sum(o.rows)  # noqa: E731
NORM_WEIGHTS = (
    ("γ's of dy γ", lambda o: {"weight": _sum(o, o.g * o.xhat)}),
    ("β's of dy γ", lambda o: {"bias": _sum(o, o.g)}),
    ("both of dy γ", lambda o: {"weight": _sum(o, o.g * o.xhat), "bias": _sum(o, o.g)}),
    ("γ's and β's in each other's place", lambda o: {"weight": _sum(o, o.dy), "bias": _sum(o, o.dy * o.xhat)}),
    ("γ's that of β", lambda o: {"weight": _sum(o, o.dy)}),
    ("β's that of γ", lambda o: {"bias": _sum(o, o.dy * o.xhat)}),
    *((f"γ's with {name} for x̂", _behind(what, False, True))
      for name, what in (("y", lambda o: o.y), ("x", lambda o: o.x), ("x - mean", lambda o: o.xhat / o.r),
                         ("x̂/σ", lambda o: o.xhat * o.r))),
)  # fmt: skip


# ---- Activations -----------------------------------------------------------------------------------------------------
def _right(x: Array, form: str) -> Array:
    y, c = getattr(ops, form)(x)
    return getattr(ops, f"{form}_backward")(np.ones_like(y), c)


def _cdf(o: SimpleNamespace) -> Array:
    return np.where(o.x == 0, 0.5, o.y / np.where(o.x == 0, 1, o.x))


def _density(o: SimpleNamespace) -> Array:
    return np.exp(-0.5 * o.x * o.x) / math.sqrt(2 * math.pi)


def _tanh_form(change: Callable[[Array, Array, Array], Array]) -> Callable:
    """change(x, t, the inner slope) for the tanh form's second term, x/2 (1 - t²) √(2/π) (1 + 3·0.044715 x²)."""

    def slope(o: SimpleNamespace) -> Array:
        root = math.sqrt(2 / math.pi)
        t = np.tanh(root * (o.x + 0.044715 * o.x**3))
        return 0.5 * (1 + t) + change(o.x, t, root * (1 + 3 * 0.044715 * o.x * o.x))

    return slope


GELU_SLOPES = (  # of o: x, y, its value, form: the op that gives it
    ("taken at the output", lambda o: _right(o.y, o.form)),
    ("y, the value", lambda o: o.y),
    ("Φ(x) - x φ(x)", lambda o: 2 * _cdf(o) - _right(o.x, o.form)),
    ("Φ(x) + x φ(x)/2", lambda o: 0.5 * (_cdf(o) + _right(o.x, o.form))),
    ("Φ(x) + 2 x φ(x)", lambda o: 2 * _right(o.x, o.form) - _cdf(o)),
    ("x φ(x) alone", lambda o: _right(o.x, o.form) - _cdf(o)),
    ("Φ(x) + φ(x)", lambda o: _cdf(o) + _density(o)),
    ("Φ(x) + x² φ(x)", lambda o: _cdf(o) + o.x * (_right(o.x, o.form) - _cdf(o))),
    ("φ with 1/(2π)", lambda o: _cdf(o) + o.x * _density(o) / math.sqrt(2 * math.pi)),
    ("φ with 1/√π", lambda o: _cdf(o) + o.x * _density(o) * math.sqrt(2)),
    ("φ without 1/√(2π)", lambda o: _cdf(o) + o.x * _density(o) * math.sqrt(2 * math.pi)),
    ("φ with e^(-x²)", lambda o: _cdf(o) + o.x * np.exp(-o.x * o.x) / math.sqrt(2 * math.pi)),
    ("φ with e^(-x²) and 1/√π", lambda o: _cdf(o) + o.x * np.exp(-o.x * o.x) / math.sqrt(math.pi)),
    ("φ with e^(x²/2)", lambda o: _cdf(o) + o.x * np.exp(0.5 * o.x * o.x) / math.sqrt(2 * math.pi)),
    ("½(1 + erf x) + x φ(x)", lambda o: ops.gelu(o.x * math.sqrt(2))[0] / np.where(o.x == 0, 1, o.x * math.sqrt(2))
     + o.x * _density(o)),
    ("the tanh form's without 3 at the cube", _tanh_form(
        lambda x, t, inner: 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 0.044715 * x * x))),
    ("the tanh form's without the cube", _tanh_form(lambda x, t, _: 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi))),
    ("the tanh form's without √(2/π)", _tanh_form(lambda x, t, s: 0.5 * x * (1 - t * t) * s / math.sqrt(2 / math.pi))),
    ("the tanh form's with 1 - t", _tanh_form(lambda x, t, inner: 0.5 * x * (1 - t) * inner)),
    ("the tanh form's without 1 - t²", _tanh_form(lambda x, t, inner: 0.5 * x * inner)),
    ("the tanh form's with x (1 - t²) not halved", _tanh_form(lambda x, t, inner: x * (1 - t * t) * inner)),
    ("the tanh form's without the inner slope", _tanh_form(lambda x, t, inner: 0.5 * x * (1 - t * t))),
    ("the tanh form's without x before 1 - t²", _tanh_form(lambda x, t, inner: 0.5 * (1 - t * t) * inner)),
    ("the tanh form's with 1 + t² for 1 - t²", _tanh_form(lambda x, t, inner: 0.5 * x * (1 + t * t) * inner)),
    ("SiLU's", lambda o: (1 + o.x * (1 - 1 / (1 + np.exp(-o.x)))) / (1 + np.exp(-o.x))),
)  # fmt: skip


def bent(slope: Callable[[SimpleNamespace], Array], forms: tuple[str, ...]) -> Replacement:
    """An activation of one of these forms with another derivative: slope(o)."""

    def edit(g: Array, dy: Array, c: Cache) -> Array:
        if c["name"] not in forms:  # a head may have another
            return g
        x, form = c["cache"]["x"], layers.ACTIVATIONS[c["name"]]
        o = SimpleNamespace(x=x, y=getattr(ops, form)(x)[0], form=form)
        return (dy * slope(o)).astype(dy.dtype)

    return graded(layers.activation, edit)


# ---- Softmax and attention -------------------------------------------------------------------------------------------
def _inner(p: Array, d: Array, axis: Any = -1) -> Array:
    return (d * p).sum(axis, keepdims=True)


SOFTMAX_SLOPES = (  # (P, dP) -> dS
    ("P (dP - Σ dP P), the sum over queries", lambda p, d: p * (d - _inner(p, d, -2))),
    ("P (dP - Σ dP P), the sum over heads", lambda p, d: p * (d - _inner(p, d, 1))),
    ("P (dP - Σ dP P), the sum over all there is", lambda p, d: p * (d - (d * p).sum())),
    ("P (dP - mean(dP P))", lambda p, d: p * (d - (d * p).mean(-1, keepdims=True))),
    ("P (dP - Σ dP)", lambda p, d: p * (d - d.sum(-1, keepdims=True))),
    ("P (dP - mean dP)", lambda p, d: p * (d - d.mean(-1, keepdims=True))),
    ("P (dP + Σ dP P)", lambda p, d: p * (d + _inner(p, d))),
    ("dP - Σ dP P", lambda p, d: d - _inner(p, d)),
    ("P dP - Σ dP P", lambda p, d: p * d - _inner(p, d)),
    ("dP - P Σ dP, the log softmax's", lambda p, d: d - p * d.sum(-1, keepdims=True)),
    ("P (dP - Σ dP P) P", lambda p, d: p * p * (d - _inner(p, d))),
    ("-P (dP - Σ dP P)", lambda p, d: -p * (d - _inner(p, d))),
    ("dP as it is", lambda p, d: d),
)  # fmt: skip


class Factors(SimpleNamespace):
    """What attention's backward has: q, k, v, probs P, used P∘dropout, dropout, scale, dy, and what it makes on the
    way, in this order: dused, dprobs, dscores, dq, dk, dv.
    """

    def scores(self) -> Array:
        """scale·q kᵀ, without a mask."""
        return (self.q @ turned(self.k)) * self.scale


def turned(a: Array) -> Array:
    """The last two axes in each other's place."""
    return a.swapaxes(-1, -2)


def _as_read(a: Array) -> Array:
    """Of heads (B, H, T, K) what a reshape of (B, T, H·K) alone makes."""
    return a.swapaxes(1, 2).reshape(a.shape)


FACTORS = (  # (what, does it concern rows of one kind, {of what: o -> it})
    ("queries' and keys' in each other's place", {"dq": lambda o: (turned(o.dscores) @ o.q) * o.scale,
                                                  "dk": lambda o: (o.dscores @ o.k) * o.scale}),
    ("keys' and values' in each other's place", {"dk": lambda o: turned(o.used) @ o.dy,
                                                 "dv": lambda o: (turned(o.dscores) @ o.q) * o.scale}),
    ("queries' and values' in each other's place", {"dq": lambda o: turned(o.used) @ o.dy,
                                                    "dv": lambda o: (o.dscores @ o.k) * o.scale}),
    ("queries' through dSᵀ", {"dq": lambda o: (turned(o.dscores) @ o.k) * o.scale}),
    ("queries' by the queries", {"dq": lambda o: (o.dscores @ o.q) * o.scale}),
    ("queries' by the values", {"dq": lambda o: (o.dscores @ o.v) * o.scale}),
    ("keys' by the keys", {"dk": lambda o: (turned(o.dscores) @ o.k) * o.scale}),
    ("keys' by the values", {"dk": lambda o: (turned(o.dscores) @ o.v) * o.scale}),
    ("keys' that of the queries", {"dk": lambda o: (o.dscores @ o.k) * o.scale}),
    ("queries' that of the keys", {"dq": lambda o: (turned(o.dscores) @ o.q) * o.scale}),
    ("values' by the scores", {"dv": lambda o: turned(o.scores()) @ o.dy}),
    ("values' by the probabilities' gradient", {"dv": lambda o: turned(o.dused) @ o.dy}),
    ("values' by the scores' gradient", {"dv": lambda o: turned(o.dscores) @ o.dy}),
    ("queries' by the probabilities' gradient", {"dq": lambda o: (o.dprobs @ o.k) * o.scale}),
    ("queries' and keys' by the probabilities", {"dq": lambda o: (o.probs @ o.k) * o.scale,
                                                 "dk": lambda o: (turned(o.probs) @ o.q) * o.scale}),
    ("the probabilities' through the queries", {"dused": lambda o: o.dy @ turned(o.q)}),
    ("the scores' by the scores, not the probabilities",
     {"dscores": lambda o: o.scores() * (o.dprobs - _inner(o.scores(), o.dprobs))}),
    ("the scores' by probabilities without the mask", {"dscores": lambda o: (lambda p: p * (o.dprobs - _inner(
        p, o.dprobs)))(ops.softmax(o.scores())[0])}),
    ("the scale twice", {"dq": lambda o: (o.dscores @ o.k) * o.scale**2,
                         "dk": lambda o: (turned(o.dscores) @ o.q) * o.scale**2}),
    ("the scale twice, in the scores' first", {"dscores": lambda o: o.dscores * o.scale}),
    ("divided by the scale", {"dq": lambda o: (o.dscores @ o.k) / o.scale,
                              "dk": lambda o: (turned(o.dscores) @ o.q) / o.scale}),
    ("1/√hidden for the scale", {"dq": lambda o: (o.dscores @ o.k) * o.hidden, "dk":
                                 lambda o: (turned(o.dscores) @ o.q) * o.hidden}),
    ("the scale squared, of the queries'", {"dq": lambda o: (o.dscores @ o.k) * o.scale**2}),
    ("the scale squared, of the keys'", {"dk": lambda o: (turned(o.dscores) @ o.q) * o.scale**2}),
    ("the context's heads as they are read", {"dy": lambda o: _as_read(o.dy)}),
    ("a mean over the heads", {"dv": lambda o: turned(mean(o.used, 1)) @ o.dy}),
)  # fmt: skip
DROPPED = (  # where probabilities are dropped
    ("values' by the probabilities before dropout", {"dv": lambda o: turned(o.probs) @ o.dy}),
    ("no mask of dropout behind the softmax", {"dprobs": lambda o: o.dused * o.factor}),
    ("no factor of dropout behind the softmax", {"dprobs": lambda o: o.dused * (o.dropout != 0)}),
    ("what was dropped, for what was kept, behind the softmax",
     {"dprobs": lambda o: o.dused * (o.factor - o.dropout)}),
    ("the square of dropout's factor behind the softmax", {"dprobs": lambda o: o.dused * o.dropout * o.factor}),
    ("a product for dropout's division behind the softmax", {"dprobs": lambda o: o.dused * o.dropout / o.factor**2}),
    ("the mask of the texts in another order behind the softmax", {"dprobs": lambda o: o.dused * o.dropout[::-1]}),
    ("no dropout behind the softmax", {"dprobs": lambda o: o.dused}),
    ("the softmax's slope of dropped probabilities", {"dscores": lambda o: o.used * (o.dprobs - _inner(
        o.used, o.dprobs))}),
)  # fmt: skip


def factored(change: dict[str, Callable[[Factors], Array]]) -> Replacement:
    """Attention whose backward makes these otherwise, and what follows from them."""

    def to_scores(dy: Array, c: Cache) -> Factors:
        p, d, q = c["probs"], c["dropout"], c["q"]
        hidden = q.dtype.type((q.shape[-1] * q.shape[1]) ** -0.5)
        o = Factors(q=q, k=c["k"], v=c["v"], scale=c["scale"], probs=p, dropout=np.ones_like(p) if d is None else d,
                    used=p if d is None else p * d, hidden=hidden, dy=dy,
                    factor=1 if d is None else d.max())  # fmt: skip
        rules = {
            "dy": lambda o: o.dy, "dused": lambda o: o.dy @ turned(o.v), "dprobs": lambda o: o.dused * o.dropout,
            "dscores": lambda o: o.probs * (o.dprobs - _inner(o.probs, o.dprobs)),
            "dq": lambda o: (o.dscores @ o.k) * o.scale, "dk": lambda o: (turned(o.dscores) @ o.q) * o.scale,
            "dv": lambda o: turned(o.used) @ o.dy,
        }  # fmt: skip
        for name, rule in rules.items():
            setattr(o, name, rule(o))
            if name in change:
                setattr(o, name, change[name](o))
        return o

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        o = to_scores(dy, c)
        given = o.dq, o.dk, o.dv
        if any(a.shape != b.shape for a, b in zip(given, (c["q"], c["k"], c["v"]), strict=True)):
            raise ValueError("rows of another kind")
        return given if c["bias"] is None else (*given, ops.attending.summed(o.dscores, c["bias"]))

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS["attention"].parts.seen(part, c, dy)
        if dy is None:
            return value, cotangent
        o = to_scores(dy, c)
        return value, {"scores": o.dscores, "probs": o.dprobs}.get(part, cotangent)

    return Replacement(ops.attention, attention_backward, faithful=False, seen=seen)


def read_plainly() -> Replacement:
    """Heads whose gradient is merged by a reshape alone."""
    return graded(ops.split_heads, lambda dx, dy, c: dy.reshape(dx.shape))


def halves(name: str) -> tuple[Callable, Callable]:
    """The forward and the backward of an op, or of the activation."""
    if name == "activation":
        return layers.activation, layers.activation_backward
    return getattr(ops, name), PAIRS[name].backward


def lending(name: str, fields: tuple[str, ...]) -> tuple[Replacement, Replacement]:
    """An op whose cache is kept, and one whose backward takes these fields of what was kept."""
    held, (f, own) = threading.local(), halves(name)

    def keeps(*args: Any, **given: Any) -> tuple[Array, Cache]:
        y, held.cache = f(*args, **given)
        return y, dict(held.cache)

    def backward(dy: Array, c: Cache) -> Any:
        return own(dy, lent(c))

    def lent(c: Cache) -> Cache:
        if not hasattr(held, "cache"):
            raise ValueError("nothing was kept yet")
        found = {field: held.cache[field] for field in fields}
        if any(np.shape(a) != np.shape(c[field]) for field, a in found.items() if isinstance(a, np.ndarray)):
            raise ValueError("rows of another kind")
        return {**c, **found}

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS[name].parts.seen(part, c, dy)
        return value, cotangent if dy is None else PAIRS[name].parts.seen(part, lent(c), dy)[1]

    takes = Replacement(f, backward, faithful=False, seen=seen if name == "attention" else None)
    return Replacement(keeps, own), takes
