"""Mistakes in layer norm and residuals."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from itertools import permutations
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import Mutant, entry, everywhere, field, lent, rounded, swap, unlisted, whole
from minibert.mistakes.ops.half import HALF, half_normed
from minibert.mistakes.ops.slopes import NORM_SLOPES, NORM_WEIGHTS, normed, placed
from minibert.mistakes.swap import Replacement, Site, edited, graded, halves, swapped, turned, zeros
from minibert.pairs import standing_in

SECTION = {"L": "Layer norm and residuals"}

Array = np.ndarray
Cache = dict[str, Any]

# of a norm that is called in the other's place: its own name or that place's
OWN_NORMS = r".*encode\..*\.(attention|feed_forward)\.norm"


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def norm(root: Callable, axes: tuple[int, ...] = (-1,), lost: int = 0) -> Replacement:
    """y = γ(x - m)·r(v, eps) + β with v = Σ(x - m)²/(n - lost) over `axes`; root gives (r, dr/dv)."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        count = int(np.prod([x.shape[axis] for axis in axes]))
        centred = x - x.mean(axes, keepdims=True)
        r, slope = root((centred * centred).sum(axes, keepdims=True) / (count - lost), eps)
        c = {"centred": centred, "r": r, "slope": slope, "weight": weight, "divisor": count - lost}
        return centred * r * weight + bias, c
    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        centred, rows = c["centred"], tuple(range(dy.ndim - 1))
        g = dy * c["weight"]
        dv = (g * centred).sum(axes, keepdims=True) * c["slope"]
        dx = c["r"] * (g - g.mean(axes, keepdims=True)) + centred * (2 / c["divisor"]) * dv
        return dx, {"weight": (dy * centred * c["r"]).sum(rows), "bias": dy.sum(rows)}

    return Replacement(layer_norm, layer_norm_backward)


def right_root(v: Array, eps: float) -> tuple[Array, Array]:
    """1/√(v + eps) and its derivative."""
    r = (v + eps) ** -0.5
    return r, -0.5 * r**3


def eps_outside(v: Array, eps: float) -> tuple[Array, Array]:
    """1/(√v + eps)."""
    s = np.sqrt(v)
    return 1 / (s + eps), -0.5 / ((s + eps) ** 2 * s)


def squared(v: Array, eps: float) -> tuple[Array, Array]:
    """(v + eps)⁻², a ** 2 where ** 0.5 was meant."""
    return (v + eps) ** -2.0, -2 * (v + eps) ** -3.0


def no_root(v: Array, eps: float) -> tuple[Array, Array]:
    """1/(v + eps)."""
    return 1 / (v + eps), -1 / (v + eps) ** 2


def root_mean_square(biased: bool) -> Replacement:
    """γ x/√(mean x² + eps) + β, nothing subtracted; β only where biased."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        r = (np.square(x).mean(-1, keepdims=True) + eps) ** -0.5
        y = x * r * weight
        return y + bias if biased else y, {"x": x, "r": r, "weight": weight}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        x, r, rows = c["x"], c["r"], tuple(range(dy.ndim - 1))
        g, xhat, dbias = dy * c["weight"], x * r, dy.sum(rows)
        dx = r * (g - xhat * (g * xhat).mean(-1, keepdims=True))
        return dx, {"weight": (dy * xhat).sum(rows), "bias": dbias if biased else np.zeros_like(dbias)}

    return Replacement(layer_norm, layer_norm_backward)


def another_eps(eps: float) -> Replacement:
    """Layer norm with an eps of its own."""
    return edited(ops.layer_norm, lambda given: {"eps": eps})


def unweighted() -> Replacement:
    """Layer norm of weights 1 and 0, which get no gradient."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        return ops.layer_norm(x, np.ones_like(weight), np.zeros_like(bias), eps=eps)

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c)
        return dx, zeros(g)

    return Replacement(layer_norm, layer_norm_backward)


def lacking(weight: bool) -> Replacement:
    """Layer norm without its γ, or without its β, which gets no gradient then."""
    lost, instead = ("weight", np.ones_like) if weight else ("bias", np.zeros_like)

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        p = {"weight": weight, "bias": bias}
        return ops.layer_norm(x, **{**p, lost: instead(p[lost])}, eps=eps)

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c)
        return dx, {**g, lost: zeros(g[lost])}

    return Replacement(layer_norm, layer_norm_backward)


def half_statistics() -> Replacement:
    """Mean and variance accumulated in float16; the derivative is that of layer norm, at those statistics."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        half = x.astype(np.float16)
        mean = half.mean(-1, keepdims=True, dtype=np.float16)
        v = np.square(half - mean).mean(-1, keepdims=True, dtype=np.float16)
        with np.errstate(divide="ignore", invalid="ignore"):
            rstd = 1 / np.sqrt((v + np.float16(eps)).astype(x.dtype))
            xhat = (x - mean.astype(x.dtype)) * rstd
        rows = {"xhat": xhat.reshape(-1, x.shape[-1]), "rstd": rstd.reshape(-1, 1)}
        return xhat * weight + bias, {**rows, "weight": weight}

    return Replacement(layer_norm, ops.layer_norm_backward, faithful=False)


def narrowed(rounding: Callable[[Array], Array]) -> Replacement:
    """The norm of an op in half precision: what goes in and out is rounded, both ways, what is inside is not."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        y, c = ops.layer_norm(rounding(x), rounding(weight), rounding(bias), eps=eps)
        return rounding(y), c

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(rounding(dy), c)
        return rounding(dx), {name: rounding(a) for name, a in g.items()}

    return Replacement(layer_norm, layer_norm_backward, faithful=False)


def rounded_behind(rounding: Callable[[Array], Array]) -> Replacement:
    """A norm whose value, and what comes back to it, is rounded."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        y, c = ops.layer_norm(x, weight, bias, eps=eps)
        return rounding(y), c

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        return ops.layer_norm_backward(rounding(dy), c)

    return Replacement(layer_norm, layer_norm_backward, faithful=False)


def lost_terms(mean: bool, projection: bool) -> Replacement:
    """The right value, with these terms of dx = r(g - mean g - x̂ mean(g x̂)) lost."""

    def edit(gradients: tuple, dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        xhat, rstd = c["xhat"].reshape(dy.shape), c["rstd"].reshape(*dy.shape[:-1], 1)
        g = dy * c["weight"]
        dx = g if mean else g - g.mean(-1, keepdims=True)
        dx = dx if projection else dx - xhat * (g * xhat).mean(-1, keepdims=True)
        return dx * rstd, gradients[1]

    return graded(ops.layer_norm, edit)


def averaged_over(axes: tuple[int, ...]) -> Replacement:
    """The right value, with both means of dx taken over these axes where there are three."""

    def edit(gradients: tuple, dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        xhat, rstd = c["xhat"].reshape(dy.shape), c["rstd"].reshape(*dy.shape[:-1], 1)
        g, over = dy * c["weight"], axes if dy.ndim > 2 else -1
        dx = g - g.mean(over, keepdims=True) - xhat * (g * xhat).mean(over, keepdims=True)
        return dx * rstd, gradients[1]

    return graded(ops.layer_norm, edit)


def unscaled(gamma: bool) -> Replacement:
    """The right value, with γ lost in dx, or else 1/σ."""

    def edit(gradients: tuple, dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        xhat, rstd = c["xhat"].reshape(dy.shape), c["rstd"].reshape(*dy.shape[:-1], 1)
        g = dy if gamma else dy * c["weight"]
        dx = g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True)
        return dx * rstd if gamma else dx, gradients[1]

    return graded(ops.layer_norm, edit)


def deviation(kind: str) -> Replacement:
    """γ c/d + β, c = x - mean x: d its "length" √Σc², mean "size" or "largest" of |c|, with no eps, or the "rms"
    √(mean x² + ε) of what is not centred.
    """

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        n, mean = x.dtype.type(x.shape[-1]), partial(np.mean, axis=-1, keepdims=True)
        c = x - mean(x)
        if kind == "rms":
            d = np.sqrt(mean(np.square(x)) + x.dtype.type(eps))
            slope = x / (n * d)  # of d, by x
        elif kind == "length":
            d = np.sqrt(np.square(c).sum(-1, keepdims=True))
            slope = centred(c / d)
        else:
            d = mean(np.abs(c)) if kind == "size" else np.abs(c).max(-1, keepdims=True)
            slope = centred(np.sign(c) / n if kind == "size" else np.sign(c) * (np.abs(c) == d))
        return c / d * weight + bias, {"unit": c / d, "slope": slope, "d": d, "weight": weight}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        u, rows, g = c["unit"], tuple(range(dy.ndim - 1)), dy * c["weight"]
        dx = (centred(g) - c["slope"] * (g * u).sum(-1, keepdims=True)) / c["d"]
        return dx, {"weight": (dy * u).sum(rows), "bias": dy.sum(rows)}

    return Replacement(layer_norm, layer_norm_backward)


def centred(a: Array) -> Array:
    """What is left of the last axis without its mean."""
    return a - a.mean(-1, keepdims=True)


def shifted_first() -> Replacement:
    """γ (x̂ + β)."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        y, c = ops.layer_norm(x, weight, np.zeros_like(bias), eps=eps)
        return y + weight * bias, {"own": (c,), "held": {"weight": weight, "bias": bias}}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c["own"][0])
        weight, bias = c["held"]["weight"], c["held"]["bias"]
        return dx, {"weight": g["weight"] + bias * g["bias"], "bias": weight * g["bias"]}

    return Replacement(layer_norm, layer_norm_backward)


def affine() -> Replacement:
    """γ x + β, nothing normalised."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        return x * weight + bias, {"x": x, "weight": weight}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        rows = tuple(range(dy.ndim - 1))
        return dy * c["weight"], {"weight": (dy * c["x"]).sum(rows), "bias": dy.sum(rows)}

    return Replacement(layer_norm, layer_norm_backward)


# ---- Blocks ----------------------------------------------------------------------------------------------------------
def _norms(what: str, attention: str, feed_forward: str) -> list[Callable]:
    """A layer whose two norms use the weights of these sub-layers; a norm used twice adds its gradients."""
    uses = {"attention": attention, "feed_forward": feed_forward}

    def of(layer: Callable, layer_backward: Callable) -> Replacement:
        def forward(x: Array, p: Any, **constants: Any) -> tuple[Array, Cache]:
            own = {part: {**p[part], "norm": p[use]["norm"]} for part, use in uses.items()}
            return _plain(layer)(x, own, **constants)

        def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
            dx, g = _plain(layer_backward)(dy, c)
            given = {part: g[part]["norm"] for part in uses}
            for part in uses:
                held = [given[user] for user, use in uses.items() if use == part]
                g[part] = {**g[part], "norm": reduce(tree.add, held, zeros(given[part]))}
            return dx, g

        return Replacement(forward, backward)

    pre_norm = of(layers.pre_norm_layer, layers.pre_norm_layer_backward)
    return [
        swap(what, "encoder_layer", of(layers.encoder_layer, layers.encoder_layer_backward)),
        swap(what, "pre_norm_layer", pre_norm),
        swap(what, "pre_norm_layer", pre_norm, silent=OWN_NORMS),
    ]


def _plain(f: Callable) -> Callable:
    """The block itself, so that only its parts are traced, not a second block round them."""
    return f.__wrapped__


def require_plain(p: Any) -> None:
    """ValueError for a layer with more in it than a layer put in its place knows of (`minibert.adapters`)."""
    if "pal" in p or any("adapter" in p[part] for part in ("attention", "feed_forward")):
        raise ValueError("a layer with an adapter")


def annotated() -> Replacement:
    """γ(x - m)/(s + 1e-6) + β, s the deviation that divides by n - 1: the norm of The Annotated Transformer."""
    own = norm(eps_outside, lost=1)

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        return own.forward(x, weight, bias, eps=1e-6)

    return Replacement(layer_norm, own.backward)


SUMS = r"(forward|gradients)/encode\.encoder\.\d+\.(attention|feed_forward)\.add_norm"  # or what the norm gives


def pre_norm(norm: Replacement | None = None) -> Replacement:
    """x + Drop(attention(LN(x))), then a + Drop(feed_forward(LN(a))); norm: in the place of LN."""
    normed, normed_backward = (norm.forward, norm.backward) if norm else (ops.layer_norm, ops.layer_norm_backward)

    def encoder_layer(
        x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any = None, rate: float = 0.0,
        inner: Any = None, **given: Any,
    ) -> tuple[Array, Cache]:  # fmt: skip
        require_plain(p)
        keep, c = keep or {}, {}
        n, norm1 = normed(x, **p["attention"]["norm"], eps=eps)
        f, c["attention"] = layers.self_attention(n, p["attention"], width=x.shape[-1] // heads, **given)
        f, drop1 = ops.dropout(f, keep=keep.get("attention"), rate=rate)
        a = x + f
        n, norm2 = normed(a, **p["feed_forward"]["norm"], eps=eps)
        f, c["feed_forward"] = layers.feed_forward(n, p["feed_forward"], act=act, dropout=inner)
        f, drop2 = ops.dropout(f, keep=keep.get("feed_forward"), rate=rate)
        c["own"] = (norm1, drop1, norm2, drop2)
        return a + f, c

    def encoder_layer_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        norm1, drop1, norm2, drop2 = c["own"]
        g: Any = {}
        dn, g["feed_forward"] = layers.feed_forward_backward(ops.dropout_backward(dy, drop2), c["feed_forward"])
        dn, g["feed_forward"]["norm"] = normed_backward(dn, norm2)
        da = dy + dn
        dn, g["attention"] = layers.self_attention_backward(ops.dropout_backward(da, drop1), c["attention"])
        dn, g["attention"]["norm"] = normed_backward(dn, norm1)
        return da + dn, g

    return Replacement(encoder_layer, encoder_layer_backward)


def rewired(attention: Cache | None = None, feed_forward: Cache | None = None) -> Replacement:
    """A pre-norm layer whose sub-layers are wired otherwise: "reads", what the norm is given, of "x" (the layer's
    input) and "a" (behind the attention); "base", what is added to, of these, "normed" and "none", so many "times";
    "post": the norm stands behind the sum, "too": there once more; "norm": whose weights the norm has, None where there
    is none, as behind "ahead", what the attention's norm gave.
    """
    due = {"attention": "x", "feed_forward": "a"}
    how = {"attention": attention or {}, "feed_forward": feed_forward or {}}
    kinds = {
        part: {"reads": due[part], "base": due[part], "times": 1, "post": False, "norm": part, **given}
        for part, given in how.items()
    }
    sub_layers = {
        "attention": (layers.self_attention, layers.self_attention_backward),
        "feed_forward": (layers.feed_forward, layers.feed_forward_backward),
    }

    def forward(
        x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any = None, rate: float = 0.0,
        inner: Any = None, **given: Any,
    ) -> tuple[Array, Cache]:  # fmt: skip
        require_plain(p)
        constants = {"attention": {"width": x.shape[-1] // heads, **given}}
        constants["feed_forward"] = {"act": act, "dropout": inner}
        sources, c = {"x": x, "none": np.zeros_like(x)}, {}
        for part, kind in kinds.items():
            y = sources["normed"] = sources[kind["reads"]]
            norm = None
            if kind["post"] is not True and kind["norm"]:
                y, norm = ops.layer_norm(y, **p[kind["norm"]]["norm"], eps=eps)
                sources["normed"] = y
                sources.setdefault("ahead", y)
            f, c[part] = sub_layers[part][0](y, p[part], **constants[part])
            base = kind["times"] * sources[kind["base"]]
            y, c[part]["add"] = layers.add(base, f, p[part], keep=(keep or {}).get(part), rate=rate)
            if kind["post"] == "too":
                y, again = ops.layer_norm(y, **p[kind["norm"]]["norm"], eps=eps)
                c["closing"] = (*c.get("closing", ()), again)
            elif kind["post"]:
                y, norm = ops.layer_norm(y, **p[kind["norm"]]["norm"], eps=eps)
            if norm is not None:
                c[part]["norm"] = norm
            sources["a"] = y
        return y, c

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        g, closing = {}, [*c.get("closing", ())]
        norms = {part: {leaf: np.zeros(dy.shape[-1], dy.dtype) for leaf in ("weight", "bias")} for part in kinds}
        d = {"x": np.zeros_like(dy), "a": dy}
        for part, kind in reversed(kinds.items()):
            dsum, d["a"] = d["a"], np.zeros_like(dy)
            d["normed"] = np.zeros_like(dy)
            d["none"] = np.zeros_like(dy)
            d.setdefault("ahead", np.zeros_like(dy))
            owed = {}
            if kind["post"]:
                held = closing.pop() if kind["post"] == "too" else c[part]["norm"]
                dsum, owed[kind["norm"]] = ops.layer_norm_backward(dsum, held)
            dbase, df, ends = layers.add_backward(dsum, c[part]["add"])
            d[kind["base"]] = d[kind["base"]] + kind["times"] * dbase
            dn, g[part] = sub_layers[part][1](df, c[part])
            dn = dn + d["normed"]
            if kind["post"] is not True and kind["norm"]:
                dn = dn + d["ahead"] if part == "attention" else dn
                dn, norm = ops.layer_norm_backward(dn, c[part]["norm"])
                owed[kind["norm"]] = tree.map(np.add, norm, owed[kind["norm"]]) if owed else norm
            d[kind["reads"]] = d[kind["reads"]] + dn
            for whose, norm in owed.items():
                norms[whose] = tree.map(np.add, norms[whose], norm)
            g[part] = {**g[part], **ends}
        return d["x"], {part: {**g[part], "norm": norm} for part, norm in norms.items()}

    return Replacement(forward, backward)


SIDE_BY_SIDE = (
    swap("both read the layer's input", "pre_norm_layer", rewired(None, {"reads": "x"})),
    everywhere(swap("both read the layer's input, behind the attention's norm", "pre_norm_layer",
                    rewired(None, {"reads": "x", "norm": "attention"}))),
    everywhere(swap("both read what the attention's norm gave", "pre_norm_layer",
                    rewired(None, {"reads": "ahead", "norm": None}),
                    silent=r"(forward|gradients)/.*feed_forward\.norm")),
)  # fmt: skip


def added_again(layer: Callable, layer_backward: Callable) -> Replacement:
    """A layer's output and its input once more."""

    def forward(x: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
        y, c = layer.__wrapped__(x, p, **given)
        return y + x, c

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dx, g = layer_backward.__wrapped__(dy, c)
        return dx + dy, g

    return Replacement(forward, backward)


def followed(f: Callable, then: Callable[[Array], tuple[Array, Array]]) -> Replacement:
    """An op or block and an elementwise function of what it gives: then(x) -> (y, dy/dx)."""
    forward, backward = halves(f)

    def changed(*args: Any, **given: Any) -> tuple[Array, Cache]:
        y, c = forward(*args, **given)
        y, slope = then(y)
        return y, {**c, "slope of what is behind": (slope,)}

    return Replacement(changed, lambda dy, c: backward(dy * c["slope of what is behind"][0], c))


def within(bound: float) -> Callable[[Array], tuple[Array, Array]]:
    """Held between -bound and bound."""
    return lambda x: (np.clip(x, -bound, bound), (np.abs(x) <= bound).astype(x.dtype))


def _from_before(all_channels: bool, round_again: bool) -> dict[str, tuple[Callable, Callable]]:
    """Channels of the input from the token before, all or the last half, the first token's from the last or 0."""

    def moved(x: Array, by: int) -> Array:
        half, y = 0 if all_channels else x.shape[-1] // 2, x.copy()
        y[..., half:] = np.roll(x[..., half:], by, 1)
        if not round_again:
            y[:, 0 if by > 0 else -1, half:] = 0
        return y

    return {"x": (lambda x: moved(x, 1), lambda dx: moved(dx, -1))}


def passed_over(layer: Callable, layer_backward: Callable) -> Replacement:
    """A layer that gives what it is given."""

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        return dy, layer_backward.__wrapped__(np.zeros_like(dy), c)[1]

    return Replacement(lambda x, p, **given: (x, layer.__wrapped__(x, p, **given)[1]), backward)


def shares(name: str, base: float = 1.0, inner: float = 1.0) -> Replacement:
    """The end of a sub-layer with base times its input and inner times what it computed."""
    join, join_backward = (half.__wrapped__ for half in (getattr(layers, name), getattr(layers, f"{name}_backward")))

    def forward(x: Array, f: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
        return join(x * x.dtype.type(base), f * f.dtype.type(inner), p, **given)

    def backward(dy: Array, c: Cache) -> tuple[Array, Array, Any]:
        dx, df, g = join_backward(dy, c)
        return dx * dx.dtype.type(base), df * df.dtype.type(inner), g

    return Replacement(forward, backward)


JOINS = ("add_norm", "add")
ADDED = r"gradients/encode\.\w+\.\d+\.\w+\.add\.dropout"  # of what is added: as it is summed, or as it was given


def _weighed(what: str, part: str) -> Callable:
    """The residual ("base"), or what is added to it ("inner"), times another number than 1."""

    def of(value: float) -> Callable:
        ways = [swap(f"{what} times {solving.shown(value)}", name, shares(name, **{part: value}))
                for name in JOINS]  # fmt: skip
        return lambda subject, at: [mutant for way in ways for mutant in way(subject, at)]

    roots = lambda subject: (0.0, 2.0, 2**0.5, 0.5**0.5, -1.0, 0.1,  # noqa: E731
                             (2 * field(subject, "num_hidden_layers")) ** -0.5)  # fmt: skip
    return solving.solvable(of, 0.5, roots, 1.0, least=-1e4)


def _alone(subject: Subject, at: list[Site]) -> list[Mutant]:
    """No residual, in layers that are put together of sub-layers otherwise than BERT's and GPT-2's."""
    rest = [site for site in at if not any(site.key[: len(one.key)] == one.key for one in at if one.name in LAYERS)]
    return [mutant for name in JOINS for mutant in swap("no residual", name, shares(name, base=0.0))(subject, rest)]


def _behind(x: Array, f: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
    y, c = layers.add_norm.__wrapped__(np.zeros_like(f), f, p, **given)
    return x + y, c


behind = standing_in("add_norm", _behind)  # the sum is what a trace sees


def residuals(
    attention: str, feed_forward: str, eps_of_plain: float | None = None, reads: str = "a"
) -> Replacement:
    """Post-norm with other residuals: "x" from the layer's input, "a" from the first norm's output, "sum" from what
    that norm is given, "none"; "own" and "plain" from what is due, behind the sub-layer's own norm or one without
    weights; "after" added behind the norm. reads: what the feed-forward is given.
    """
    which = {"attention": attention, "feed_forward": feed_forward}
    due = {"attention": "x", "feed_forward": "a"}

    def joined(part: str, sources: dict[str, Array], f: Array, p: Any, c: Cache, **given: Any) -> Array:
        kind = which[part]
        base = sources[due[part] if kind in ("own", "plain", "after") else kind]
        own = p["norm"]
        weights = own if kind == "own" else {"weight": np.ones_like(own["weight"]), "bias": np.zeros_like(own["bias"])}
        if kind in ("own", "plain"):
            eps = given["eps"] if kind == "own" or eps_of_plain is None else eps_of_plain
            base, normed = ops.layer_norm(base, **weights, eps=eps)
            c["behind"] = (normed,)
        if "sum" in (feed_forward, reads) and part == "attention":
            sources["sum"] = base + layers.dropped(f, p, given["keep"], given["rate"])[0]
        y, c["add_norm"] = (behind if kind == "after" else layers.add_norm)(base, f, p, **given)
        return y

    def parted(part: str, dy: Array, d: dict[str, Array], c: Cache) -> tuple[Array, Any]:
        kind = which[part]
        dbase, df, g = layers.add_norm_backward(dy, c["add_norm"])
        if part == "attention":
            more, inner = d["sum"], layers.dropped_backward(d["sum"], c["add_norm"])[0]
            dbase, df = dbase + more, df + inner
        dbase = dy if kind == "after" else dbase
        if kind in ("own", "plain"):
            dbase, more = ops.layer_norm_backward(dbase, c["behind"][0])
            g = tree.add(g, {"norm": more}) if kind == "own" else g
        name = due[part] if kind in ("own", "plain", "after") else kind
        d[name] = d[name] + dbase
        return df, g

    def encoder_layer(
        x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any = None, rate: float = 0.0,
        inner: Any = None, **given: Any,
    ) -> tuple[Array, Cache]:  # fmt: skip
        require_plain(p)
        keep, c = keep or {}, {}
        sources = {"x": x, "none": np.zeros_like(x)}

        def end(part: str, f: Array) -> Array:
            return joined(part, sources, f, p[part], c[part], eps=eps, keep=keep.get(part), rate=rate)

        f, c["attention"] = layers.self_attention(x, p["attention"], width=x.shape[-1] // heads, **given)
        sources["a"] = end("attention", f)
        f, c["feed_forward"] = layers.feed_forward(sources[reads], p["feed_forward"], act=act, dropout=inner)
        return end("feed_forward", f), c

    def encoder_layer_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        d = {name: np.zeros_like(dy) for name in ("x", "a", "none", "sum")}
        df, ends2 = parted("feed_forward", dy, d, c["feed_forward"])
        dread, second = layers.feed_forward_backward(df, c["feed_forward"])
        d[reads] = d[reads] + dread
        df, ends1 = parted("attention", d["a"], d, c["attention"])
        dx, first = layers.self_attention_backward(df, c["attention"])
        return d["x"] + dx, {"attention": {**first, **ends1}, "feed_forward": {**second, **ends2}}

    return Replacement(encoder_layer, encoder_layer_backward)


def final_norm() -> Replacement:
    """A layer followed by one more norm with weights 1 and 0."""

    def encoder_layer(x: Array, p: Any, **constants: Any) -> tuple[Array, Cache]:
        y, c = _plain(layers.encoder_layer)(x, p, **constants)
        ones, zeros = np.ones(y.shape[-1], y.dtype), np.zeros(y.shape[-1], y.dtype)
        y, last = ops.layer_norm(y, ones, zeros, eps=constants["eps"])
        return y, {**c, "last": (last,)}

    def encoder_layer_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        return _plain(layers.encoder_layer_backward)(ops.layer_norm_backward(dy, c["last"][0])[0], c)

    return Replacement(encoder_layer, encoder_layer_backward)


def normed_sum() -> Replacement:
    """A norm of weights 1 and 0 behind the sum of the tables."""

    def forward(p: Any, *, eps: float, keep: Any, rate: float, **given: Any) -> tuple[Array, Cache]:
        h, c = layers.embeddings(p, eps=eps, keep=None, rate=0.0, **given)
        h, norm = ops.layer_norm(h, np.ones_like(h[0, 0]), np.zeros_like(h[0, 0]), eps=eps)
        h, drop = ops.dropout(h, keep=keep, rate=rate)
        return h, {**c, "own": (norm, drop)}

    def backward(dy: Array, c: Cache) -> Any:
        norm, drop = c["own"]
        return layers.embeddings_backward(ops.layer_norm_backward(ops.dropout_backward(dy, drop), norm)[0], c)

    return Replacement(forward, backward)


def no_norm() -> Replacement:
    """x for the norm of it."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        return x, {"plain": {"weight": weight, "bias": bias}}

    return Replacement(layer_norm, lambda dy, c: (dy, zeros(c["plain"])))


def _norm_twice() -> Replacement:
    """The norm of the norm, of the same weights."""

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        y, first = ops.layer_norm(x, weight, bias, eps=eps)
        y, second = ops.layer_norm(y, weight, bias, eps=eps)
        return y, {"own": (first, second)}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        first, second = c["own"]
        dy, g = ops.layer_norm_backward(dy, second)
        dx, more = ops.layer_norm_backward(dy, first)
        return dx, tree.add(g, more)

    return Replacement(layer_norm, layer_norm_backward)


def over_tokens(axes: tuple[int, ...]) -> Callable[[Any, Any], Replacement | None]:
    """Statistics over the tokens of a row as well, also where the rows of the batch lie flat; of all tokens."""

    def made(subject: Any, site: Any) -> Replacement | None:
        if not site.local.startswith(("encode.", "masked_lm.head.")):
            return None
        b, wrong = subject.batches[0], norm(right_root, axes)
        written = "decoder_input_ids" in b and site.local.startswith("encode.decoder")
        length = b["decoder_input_ids" if written else "input_ids"].shape[1]

        def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
            tokens = x if x.ndim == 3 else x.reshape(-1, length, x.shape[-1])
            y, c = wrong.forward(tokens, weight, bias, eps=eps)
            return y.reshape(x.shape), c

        def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
            dx, g = wrong.backward(dy.reshape(c["centred"].shape), c)
            return dx.reshape(dy.shape), g

        return Replacement(layer_norm, layer_norm_backward)

    return made


def _of_each_head(subject: Any, site: Any) -> Replacement | None:
    """Statistics of each head's share of the features, as in GroupNorm."""
    heads = field(subject, "num_attention_heads")
    width = tree.get(subject.params, site.params[0]).shape[0] if site.params else 1
    if width % heads or heads < 2:
        return None

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        ones = np.ones(width // heads, x.dtype)
        xhat, c = ops.layer_norm(x.reshape(*x.shape[:-1], heads, -1), ones, 0 * ones, eps=eps)
        xhat = xhat.reshape(x.shape)
        return xhat * weight + bias, {"own": (c,), "held": {"xhat": xhat, "weight": weight}}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        held, rows = c["held"], tuple(range(dy.ndim - 1))
        dx, _ = ops.layer_norm_backward((dy * held["weight"]).reshape(*dy.shape[:-1], heads, -1), c["own"][0])
        return dx.reshape(dy.shape), {"weight": (dy * held["xhat"]).sum(rows), "bias": dy.sum(rows)}

    return Replacement(layer_norm, layer_norm_backward)


def _normed_each_time(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The norm behind the last layer behind every other one, too, or behind each, with the same weights."""
    last = [site for site in at if site.name == "layer_norm" and re.fullmatch(FINAL, site.local)]
    stack = [site for site in at if site.name == "pre_norm_layer" and site.layer is not None]
    if len(last) != 1 or len(stack) < 2 or last[0].tower or not last[0].params:
        return []
    path = last[0].params[0].rpartition(".")[0]
    layer, layer_backward = (f.__wrapped__ for f in LAYERS["pre_norm_layer"])

    def change(s: Subject, held: list[Site]) -> Subject:
        own = tree.get(s.params, path)

        def forward(x: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
            y, c = layer(x, p, **given)
            y, behind = ops.layer_norm(y, **own, eps=given["eps"])
            return y, {**c, "behind": (behind,)}

        def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
            return layer_backward(ops.layer_norm_backward(dy, c["behind"][0])[0], c)

        return swapped(s, at={site.key: Replacement(forward, backward) for site in held})

    # the norm's weights have a gradient of each use
    return [Mutant(f"the norm behind the last layer behind {what}", partial(change, held=held),
                   sites=tuple(site.path for site in held), silent=rf"gradients/{re.escape(path)}\..*|steps/.*")
            for what, held in (("the others, too", stack[:-1]), ("each, and once more", stack))]  # fmt: skip


def borrowed(what: str, lender: str, *borrowers: str, where: str = "") -> Callable:
    """The norms at `borrowers` use the weights of the norm at `lender`, which is called before them and is as wide."""

    def maker(subject: Any, at: Any) -> list[Mutant]:
        found = {site.path: site for site in at if site.path in (lender, *borrowers) and site.name == "layer_norm"}
        widths = {tree.get(subject.params, path).shape for site in found.values() for path in site.params}
        if len(found) < 1 + len(borrowers) or len(widths) > 1:
            return []
        if any(found[path].params == found[lender].params for path in borrowers):
            return []
        held = threading.local()

        def lent(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
            held.weights, held.gradients = (weight, bias), []
            return ops.layer_norm(x, weight, bias, eps=eps)

        def lent_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
            dx, g = ops.layer_norm_backward(dy, c)
            more, held.gradients = held.gradients, []
            return dx, {name: sum((other[name] for other in more), g[name]) for name in g}

        def used(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
            return ops.layer_norm(x, *held.weights, eps=eps)

        def used_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
            dx, g = ops.layer_norm_backward(dy, c)
            held.gradients.append(g)
            return dx, {name: np.zeros_like(value) for name, value in g.items()}

        pairs = {lender: Replacement(lent, lent_backward)}
        pairs |= dict.fromkeys(borrowers, Replacement(used, used_backward))
        change = partial(swapped, at={site.key: pairs[path] for path, site in found.items()})
        return [Mutant(what, change, where or found[borrowers[0]].words, sites=borrowers)]

    return maker


def _loaded(what: str, **uses: str) -> Callable:
    """The same when weights are loaded: gradients are under the names where they were put. uses: a sub-layer -> the one
    whose norm is put there.
    """

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        flat = tree.flatten(subject.params)
        ways = [(f".{part}.norm.", f".{use}.norm.") for part, use in uses.items()]
        found = [(path, path.replace(one, two)) for path in flat for one, two in ways if one in path]
        other = {path: lender for path, lender in found if lender in flat}

        def change(s: Subject) -> Subject:
            held = tree.flatten(s.params)
            return replace(s, params=tree.unflatten({path: held[other.get(path, path)] for path in held}))

        users = tuple(site.path for site in at if not other.keys().isdisjoint(site.params))
        return [Mutant(what, change, sites=users)] if other else []

    return maker


def _leaf_of(leaf: str, lender: str, borrower: str) -> Callable:
    """γ or β alone of one of a layer's norms in the other: in every layer, and in each."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        end = f".{borrower}.norm.{leaf}"
        uses = {path: path.replace(f".{borrower}.", f".{lender}.") for path in tree.flatten(subject.params)
                if path.endswith(end)}  # fmt: skip
        what = f"{'γ' if leaf == 'weight' else 'β'} of the {lender.replace('_', '-')}'s norm, too"
        alone = [lent(subject, at, what, {path: use}) for path, use in uses.items()] if len(uses) > 1 else []
        return [mutant for found in (lent(subject, at, what, uses, "every layer"), *alone) for mutant in found]

    return everywhere(maker)


def _leaves_of_heads(subject: Subject, at: list[Site]) -> list[Mutant]:
    """γ or β alone of another norm, of those that are in no layer."""
    norms = [path.removesuffix(".weight") for path in tree.flatten(subject.params)
             if re.fullmatch(r"(?!.*\.\d+\.).*norm\.weight", path)]  # fmt: skip
    ways = [(f"{letter} of the {of.replace('.', ' ')}", {f"{to}.{leaf}": f"{of}.{leaf}"})
            for to, of in permutations(norms, 2) for leaf, letter in (("weight", "γ"), ("bias", "β"))]  # fmt: skip
    return [mutant for way in ways for mutant in lent(subject, at, *way)]


def _borrowers(subject: Any, at: Any) -> list[Mutant]:
    """Every norm of a network with its embeddings' weights, and the MLM head's with those of the last layer's."""
    found = []
    for tower in dict.fromkeys(site.tower for site in at if site.name == "layer_norm"):
        norms = [site for site in at if site.name == "layer_norm" and site.tower == tower]
        first = next((s.path for s in norms if s.local.startswith("encode.embeddings.")), None)
        for site in norms:
            if first and site.path != first:
                found += borrowed("the embeddings' norm reused", first, site.path)(subject, at)
        inner = [site for site in norms if site.layer is not None]
        of_last = [site for site in inner if site.place == inner[-1].place]
        of_first = [site for site in inner if site.place == inner[0].place] if inner[:1] != of_last[:1] else []
        for site in norms:
            some = {"masked_lm.head.norm": of_last[-1:], "encode.norm": [*of_last, *of_first]}.get(site.local, [])
            for lender in some:
                what = "the last layer's norm reused" if lender is of_last[-1] else f"the {lender.words} reused"
                found += borrowed(what, lender.path, site.path)(subject, at)
        for lender in of_first:
            end = lender.words.removeprefix(lender.place)
            same = [site.path for site in inner if site is not lender and site.words == site.place + end]
            where = f"every layer's{end}"
            for mutant in borrowed("the first layer's norm reused", lender.path, *same, where=where)(subject, at):
                alone = [borrowed("the first layer's norm reused", lender.path, path) for path in same]
                inside = [m for one in alone for m in one(subject, at)] if len(same) > 1 else []
                found.append(replace(mutant, inside=tuple(inside)))
    return found


def _normed_last(subject: Any, at: Any) -> list[Mutant]:
    """The last layer of each network followed by one more norm."""
    last = {site.tower: site.place for site in at if site.layer is not None}
    made = lambda _, site: final_norm() if site.place == last[site.tower] else None  # noqa: E731
    return swap("a norm of weights 1 and 0 after the last layer", "encoder_layer", made)(subject, at)


# ---- Entries ---------------------------------------------------------------------------------------------------------
EPS = (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 0.0)  # that people write


def due_eps(subject: Any) -> float:
    """That of the configuration."""
    return field(subject, "layer_norm_eps")


def another_eps_at(*chosen: Any, **fields: Any) -> Callable:
    """Another eps in the norms that `swap` chooses by the rest of its arguments."""

    def of(value: float) -> Callable:
        return lambda subject, at: swap(
            _instead(value, due_eps(subject)), "layer_norm", another_eps(value), *chosen, **fields
        )(subject, at)

    typical = lambda subject: 1e-12 if due_eps(subject) > max(EPS) / 2 else 1e-5  # noqa: E731
    return solving.solvable(of, typical, EPS, due_eps)


def _instead(value: float, due: float) -> str:
    less = " or less" if 0 < value < 1e-6 * due else ""  # beside such a one nobody can tell it from none
    return f"eps {solving.shown(value)}{less}, where {solving.shown(due)} is due"


LAYERS = {
    "encoder_layer": (layers.encoder_layer, layers.encoder_layer_backward),
    "pre_norm_layer": (layers.pre_norm_layer, layers.pre_norm_layer_backward),
}
NORMED, ALONE, TWICE = {"base": "normed"}, {"base": "none"}, {"times": 2}
FINAL = r"encode\.norm"
of_norms = partial(swap, name="layer_norm")


def whole_groups(what: str, replacement: Replacement) -> Callable:
    """Of all norms and of those that are alike, which one tensor may be behind; those of one layer or place inside."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        found = of_norms(what, replacement=replacement)(subject, at)
        one = {name for site in at for name in (site.place, site.words)} - {""}
        inside = tuple(mutant for mutant in found if mutant.where in one)
        return [replace(mutant, inside=() if mutant.where else inside) for mutant in found if mutant.where not in one]

    return maker


entry(
    "L01", "eps 1e-5 (framework default) or 1e-3 for 1e-12", "the configuration's eps; 1e-12 in the release",
    "KH#642; nomic-ai/gpt4all#1946; nntile/nntile#378; dmlc/gluon-nlp#1215",
    "output", "BERT-ENC-3", when="GPT-2's release has 1e-5",
    mutants=[another_eps_at()],
)  # fmt: skip
entry(
    "L03", "(x-m)/(std+eps)", "(x-m)/sqrt(var+eps)",
    "tracel-ai/burn#2185; hkproj/pytorch-transformer#31; codertimo/BERT-pytorch#30; hyunwoongko/transformer#7",
    "output", "OP-LN-2",
    mutants=[
        of_norms("eps added to the deviation", replacement=norm(eps_outside)),
        of_norms("eps added to the deviation, which divides by n - 1", replacement=norm(eps_outside, lost=1),
                 also=("L04",)),
        of_norms("an eps of 1e-6 added to the deviation, which divides by n - 1", replacement=annotated(),
                 also=("L04",)),
    ],
)  # fmt: skip
entry(
    "L04", "sample (n-1) variance", "population (n)",
    "harvardnlp/annotated-transformer#119, #122", "output", "OP-LN-2",
    mutants=[of_norms("the variance divides by n - 1", replacement=norm(right_root, lost=1))],
)  # fmt: skip
entry(
    "L05", "normalised over sequence x hidden", "hidden axis only",
    "YutaroOgawa/pytorch_advanced#101", "output", "OP-LN-1",
    mutants=[
        of_norms("statistics over sequence and hidden", replacement=over_tokens((-2, -1))),
        of_norms("statistics over the sequence", replacement=over_tokens((-2,))),
        of_norms("statistics of each entry over all tokens", replacement=over_tokens((0, 1))),
        of_norms("statistics over all there is", replacement=over_tokens((0, 1, 2))),
        everywhere(of_norms("statistics of each head's features", replacement=_of_each_head)),
    ],
)  # fmt: skip
entry(
    "L06", "`**2` where `**0.5`", "sqrt",
    "131250208/TPlinker-joint-extraction#37", "output", "OP-LN-1",
    mutants=[of_norms("divided by (var + eps)²", replacement=norm(squared))],
)  # fmt: skip
entry(
    "L07", "wrong norm reused in a block", "own weights for each",
    "ml-explore/mlx#1636", "output", "BERT-ENC-1",
    mutants=[
        *_norms("the attention's norm serves both", "attention", "attention"),
        *_norms("the feed-forward's norm serves both", "feed_forward", "feed_forward"),
        *_norms("the two norms of a layer change places", "feed_forward", "attention"),
        _borrowers, _leaves_of_heads,
        *(_leaf_of(leaf, *both) for leaf in ("weight", "bias")
          for both in (("attention", "feed_forward"), ("feed_forward", "attention"))),
        *(everywhere(swap(f"the {of}'s norm behind {behind}, too", "pre_norm_layer", rewired(*wired)))
          for of, behind, wired in (
              ("attention", "its residual's sum", ({"post": "too"},)),
              ("feed-forward", "its residual's sum", (None, {"post": "too"})),
              ("attention", "its residual's sum, and the feed-forward's behind its own", ({"post": "too"},) * 2))),
        _loaded("the two norms of a layer are loaded in each other's place", attention="feed_forward",
                feed_forward="attention"),
        _loaded("the attention's norm is loaded for the feed-forward's, too", feed_forward="attention"),
        _loaded("the feed-forward's norm is loaded for the attention's, too", attention="feed_forward"),
    ],
)  # fmt: skip
entry(
    "L08", "pre-LN for post-LN", "BERT: LN(x + f(x))",
    "annotated-transformer#13, #92", "output", "BERT-ENC-1",
    families=("bert", "roberta", "albert", "transformer", "bart", "gpt", "xlm", "audio_bert"),
    mutants=[
        swap("the norm comes before each sub-layer", "encoder_layer", pre_norm(), silent=SUMS),
        swap("the norm comes before each sub-layer, with an eps of 1e-6 added to the deviation, which divides by n - 1",
             "encoder_layer", pre_norm(annotated()), also=("L03", "L04"), silent=SUMS),
        swap("the norm comes before each sub-layer of the decoder", "decoder_layer", Replacement(
            _plain(layers.pre_norm_decoder_layer), _plain(layers.pre_norm_decoder_layer_backward))),
        swap("the norm comes before each sub-layer, and the residual is what it gives", "encoder_layer",
             rewired(NORMED, NORMED), also=("L09",), silent=SUMS),
    ],
)  # fmt: skip
entry(
    "L09", "residual taken from another tensor", "each sub-layer's own input, before a norm of its own",
    "NVIDIA-NeMo/Speech#4350; PT#61165; Howuhh/faster-trajectory-transformer#3; SHI-Labs/Compact-Transformers#25; "
    "lbcb-sci/RiNALMo#9",
    "output", "BERT-ENC-1",
    mutants=[
        swap("the feed-forward's residual is the layer's input", "encoder_layer", residuals("x", "x")),
        *(
            swap(f"the residual is taken behind {text}", "encoder_layer", residuals(kind, kind, eps))
            for text, kind, eps in (
                ("the sub-layer's norm", "own", None),
                ("a norm without weights", "plain", None),
                ("a norm without weights, eps 1e-5", "plain", 1e-5),
            )
        ),
        swap("the attention's residual is taken behind its norm", "encoder_layer", residuals("own", "a")),
        swap("the feed-forward's residual is taken behind its norm", "encoder_layer", residuals("x", "own")),
        swap("the feed-forward's residual is the sum before the attention's norm", "encoder_layer",
             residuals("x", "sum")),
        *(
            swap(text, "pre_norm_layer", rewired(*wired))
            for text, wired in (
                ("the residuals are taken behind the norms", (NORMED, NORMED)),
                ("the attention's residual is taken behind its norm", (NORMED, None)),
                ("the feed-forward's residual is taken behind its norm", (None, NORMED)),
                ("the feed-forward's residual is the layer's input", (None, {"base": "x"})),
            )
        ),
    ],
)  # fmt: skip
entry(
    "L10", "additional final LN (or missing with pre-LN)", "none in post-LN, one behind the last layer in pre-LN",
    "hkproj/pytorch-transformer#14", "output", "BERT-ENC-2",
    mutants=[
        _normed_last,
        swap("no norm behind the last layer", "layer_norm", no_norm(), FINAL),
        swap("nobody reads the norm behind the last layer", "layer_norm", no_norm(), FINAL,
             silent=r"(forward|gradients)/encode\.norm"),
        swap("the norm behind the last layer twice", "layer_norm", _norm_twice(), FINAL),
        _normed_each_time,
        swap("the norm behind the last layer has no weights", "layer_norm",
             unweighted(), FINAL),
    ],
)  # fmt: skip
entry(
    "L11", "statistics in fp16: overflow, eps rounds to 0", "accumulate in fp32",
    "PT#66707, #41527; TRT#2564, #1196; ORT#29043; TF#24979", "output", "NUM-1",
    mutants=[
        of_norms("mean and variance in float16", replacement=half_statistics()),
        *(rounded(of_norms(f"the whole norm in {name}", replacement=narrowed(r))) for name, r in HALF),
        *(rounded(whole_groups(f"what it gives rounded to {name}", rounded_behind(r))) for name, r in HALF),
        *(rounded(everywhere(of_norms(f"x̂ in {name}, γ and β in full", replacement=half_normed(r, *how))))
          for name, r in HALF for how in ((False,), (True,), (True, "times"), (True, "free"))),
    ],
)  # fmt: skip
entry(
    "L12", "a term of the backward lost, or taken otherwise", "dx needs mean(dy*g) and mean(dy*g*xhat)*xhat",
    "HomericIntelligence/Odyssey#3808; Mnemosyne#730", "gradient", "OP-LN-4",
    mutants=[
        of_norms(text, replacement=lost_terms(*lost), section="gradients")
        for text, lost in (
            ("mean(g) lost", (True, False)),
            ("x̂ mean(g x̂) lost", (False, True)),
            ("both means lost", (True, True)),
        )
    ] + [of_norms(f"{what} lost", replacement=unscaled(gamma), section="gradients")
         for what, gamma in (("γ", True), ("1/σ", False))]
    + [of_norms(f"means over {what}", replacement=averaged_over(axes), section="gradients")
       for what, axes in (("positions and features", (-2, -1)), ("all there is", (0, 1, 2)))]
    + [placed(what, "layer_norm", normed(edit)) for what, edit in NORM_SLOPES],
)  # fmt: skip
entry(
    "L30", "another gradient of γ or β", "dγ = Σ dy x̂, dβ = Σ dy", "own knowledge", "gradient", "OP-LN-4",
    when="averaged or of some rows alone it is O31, O47 and O48",
    mutants=[placed(what, "layer_norm", normed(edit)) for what, edit in NORM_WEIGHTS],
)  # fmt: skip
entry(
    "L13", "fused LN has no backward (gradients silently absent)", "error or gradient",
    "huggingface/candle#3613", "gradient", "OP-LN-4", cause_of=("E17", "O36", "O37"),
    mutants=[
        of_norms(text, replacement=graded(ops.layer_norm, edit), section="gradients")
        for text, edit in (
            ("no gradient passes or reaches the weights", lambda g, dy, c: zeros(g)),
            ("no gradient passes", lambda g, dy, c: (zeros(g[0]), g[1])),
        )
    ],
)  # fmt: skip
entry(
    "L14", "LN weights initialised by the generic initializer", "gamma 1, beta 0",
    "HF#171", "loading", "BERT-INIT-2",
    reason="a case gives every weight, so no initialiser runs; `minibert.create` is tested to draw 1 and 0",
)  # fmt: skip
entry(
    "L15", "RMS norm for layer norm", "the mean is subtracted, the bias added",
    "own knowledge; ggml-org/llama.cpp#173 (the other way round)", "output", "OP-LN-1",
    mutants=[
        everywhere(of_norms(f"nothing subtracted{text}", replacement=root_mean_square(biased)))
        for text, biased in (("", True), (", no bias", False))
    ],
)  # fmt: skip
entry(
    "L16", "the residual added twice", "x + f(x): what calls a layer does not add its input again",
    "yunzeliu/MAP#3; yakhyo/darknet-pytorch#2", "output", "BERT-ENC-1",
    mutants=[
        *(everywhere(swap("the layer's input is added to its output", name, added_again(*pair)))
          for name, pair in LAYERS.items()),
        *(
            everywhere(swap(f"{text} twice", "pre_norm_layer", rewired(*wired)))
            for text, wired in (
                ("the attention's residual", (TWICE, None)),
                ("the feed-forward's residual", (None, TWICE)),
                ("both residuals", (TWICE, TWICE)),
            )
        ),
    ],
)  # fmt: skip
entry(
    "L17", "a layer's norm left out", "one for each sub-layer",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[
        everywhere(swap(f"no norm of {text}", "layer_norm", no_norm(),
                        rf".*encode\.(en|de)coder\.\d+\.{part}\.(add_norm\.)?norm"))
        for text, part in (("the attention", "attention"), ("the feed-forward", "feed_forward"),
                           ("either sub-layer", "(attention|feed_forward)"))
    ],
)  # fmt: skip
entry(
    "L18", "a layer left out", "as many as the configuration says, the last one, too",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[swap("left out", name, passed_over(*pair)) for name, pair in LAYERS.items()],
)  # fmt: skip
entry(
    "L19", "no root under the variance", "(x - mean) / √(variance + eps)",
    "own knowledge", "output", "OP-LN-1",
    mutants=[of_norms("divided by var + eps, no root", replacement=norm(no_root))],
)  # fmt: skip
entry(
    "L20", "a residual is missing", "one around the attention, one around the feed-forward",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[
        *(
            swap(text, "encoder_layer", residuals(first, second))
            for text, first, second in (
                ("the attention has no residual", "none", "a"),
                ("the feed-forward has no residual", "x", "none"),
                ("no residuals", "none", "none"),
            )
        ),
        *(
            swap(text, "pre_norm_layer", rewired(*wired))
            for text, wired in (
                ("the attention has no residual", (ALONE, None)),
                ("the feed-forward has no residual", (None, ALONE)),
                ("no residuals", (ALONE, ALONE)),
            )
        ),
        _alone,
    ],
)  # fmt: skip
entry(
    "L21", "the norm inside the residual: x + LN(f(x))", "BERT: LN(x + f(x))",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[
        *(
            swap(text, "encoder_layer", residuals(first, second))
            for text, first, second in (
                ("the residual is added after the norm", "after", "after"),
                ("the attention's residual is added after the norm", "after", "a"),
                ("the feed-forward's residual is added after the norm", "x", "after"),
            )
        ),
    ],
)  # fmt: skip
entry(
    "L25", "the residual, or what is added to it, multiplied by a number", "x + f(x)",
    "own knowledge (DeepNorm's α, GPT-2's 1/√N at the start)", "output", "BERT-ENC-1",
    mutants=[_weighed("the residual", "base"), _weighed("what is added to the residual", "inner")],
)  # fmt: skip
unlisted(
    "what a part gives held within bounds",
    *(solving.solvable(lambda v, f=f, what=what: whole(swap(
        f"{what} held within {solving.shown(v)}", f.__name__, followed(f, within(v)), r"(?!.*head).*")),
        1.0, (0.5, 2.0, 5.0, 10.0), most=1e3)
      for f, what in ((layers.feed_forward, "what the feed-forward gives"),
                      (layers.self_attention, "what the attention gives"),
                      (layers.activation, "what the activation gives"), (layers.encoder_layer, "what layers give"),
                      (layers.pre_norm_layer, "what layers give"))),
)
unlisted(
    "channels of the token before",
    *(whole(swap(f"{what} of each layer's input are those of the token before{of_first}", f.__name__,
                 turned(f, **_from_before(which, again))))
      for f in (layers.encoder_layer, layers.pre_norm_layer)
      for what, which in (("the last half of the channels", False), ("all channels", True))
      for of_first, again in (("", False), (", of the first those of the last", True))),
)
entry(
    "L26", "a norm taken twice", "once",
    "own knowledge", "output", "OP-LN-1",
    mutants=[
        swap("the norm of the norm", "layer_norm", _norm_twice(), rf"(?!{FINAL}$).*"),
        swap("the norm of the norm", "layer_norm", _norm_twice(), silent=r"(forward|gradients)/.*norm"),
    ],
)  # fmt: skip
entry(
    "L27", "divided by something else than the deviation", "γ (x - mean) / √(variance + eps) + β",
    "own knowledge", "output", "OP-LN-1",
    mutants=[
        of_norms("divided by the length", replacement=deviation("length")),
        of_norms("divided by the mean distance from the mean", replacement=deviation("size")),
        of_norms("divided by the largest distance from the mean", replacement=deviation("largest")),
        of_norms("divided by the root mean square", replacement=deviation("rms")),
        of_norms("γ (x̂ + β)", replacement=shifted_first()),
        of_norms("γ x + β, nothing normalised", replacement=affine()),
    ],
)  # fmt: skip


def _through(what: str, lost: int) -> Callable:
    """No gradient passes the residuals (lost is 0), or the sub-layers (1)."""
    edit = lambda d, dy, c: tuple(0 * a if i == lost else a for i, a in enumerate(d))  # noqa: E731
    ways = [swap(what, name, graded(getattr(layers, name), edit), section="gradients", silent=silent)
            for name, silent in (("add_norm", ""), ("add", ADDED if lost else ""))]  # fmt: skip
    return lambda subject, at: [mutant for way in ways for mutant in way(subject, at)]


entry(
    "L22", "a residual, or what it goes around, passes no gradient", "the sum's gradient goes to both",
    "own knowledge", "gradient", "BERT-ENC-1",
    mutants=[_through("none through the residual", 0), _through("none through the sub-layer", 1)],
)  # fmt: skip


def _turned_layer() -> Replacement:
    """A post-norm layer whose feed-forward comes first."""

    def forward(
        x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any = None, rate: float = 0.0,
        inner: Any = None, **given: Any,
    ) -> tuple[Array, Cache]:  # fmt: skip
        ends = {"eps": eps, "rate": rate}
        f, first = layers.feed_forward(x, p["feed_forward"], act=act, dropout=inner)
        a, first["add_norm"] = layers.add_norm(x, f, p["feed_forward"], keep=(keep or {}).get("feed_forward"), **ends)
        f, second = layers.self_attention(a, p["attention"], width=x.shape[-1] // heads, **given)
        y, second["add_norm"] = layers.add_norm(a, f, p["attention"], keep=(keep or {}).get("attention"), **ends)
        return y, {"feed_forward": first, "attention": second}

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        da, df, second = layers.add_norm_backward(dy, c["attention"]["add_norm"])
        dx, attention = layers.self_attention_backward(df, c["attention"])
        dx, df, first = layers.add_norm_backward(da + dx, c["feed_forward"]["add_norm"])
        more, feed_forward = layers.feed_forward_backward(df, c["feed_forward"])
        return dx + more, {"attention": {**attention, **second}, "feed_forward": {**feed_forward, **first}}

    return Replacement(forward, backward)


def stepped(name: str, *steps: str) -> Replacement:
    """A layer of these sub-layers, one after the other; of one that is run twice the first run has its name."""
    wrap, wrap_backward = {"encoder_layer": (layers.post_norm, layers.post_norm_backward),
                           "pre_norm_layer": (layers.pre_norm, layers.pre_norm_backward)}[name]  # fmt: skip

    def forward(
        x: Array, p: Any, *, heads: int, act: str, eps: float, keep: Any = None, rate: float = 0.0,
        inner: Any = None, **given: Any,
    ) -> tuple[Array, Cache]:  # fmt: skip
        require_plain(p)
        own, c, runs = {"width": x.shape[-1] // heads, **given}, {}, []
        sub_layers = {
            "attention": lambda x: layers.self_attention(x, p["attention"], **own),
            "feed_forward": lambda x: layers.feed_forward(x, p["feed_forward"], act=act, dropout=inner),
        }
        for part in steps:
            x, cache = wrap(sub_layers[part], x, p[part], eps=eps, keep=(keep or {}).get(part), rate=rate)
            runs.append((part, cache))
            c.setdefault(part, cache)
        for part in sub_layers.keys() - c.keys():  # what is read of a layer beside its output
            c[part] = wrap(sub_layers[part], x, p[part], eps=eps, keep=None, rate=0.0)[1]
        return x, {**c, "runs": (runs, p)}

    def backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        runs, p = c["runs"]
        g = {part: zeros(p[part]) for part in ("attention", "feed_forward")}
        each = {"attention": layers.self_attention_backward, "feed_forward": layers.feed_forward_backward}
        for part, cache in reversed(runs):
            dy, own = wrap_backward(each[part], dy, cache)
            g[part] = tree.add(g[part], own)
        return dy, g

    return Replacement(forward, backward)


entry(
    "L28", "a sub-layer left out, or run twice", "attention and feed-forward, each once",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[
        swap(what, name, stepped(name, *steps))
        for name in LAYERS for what, steps in (
            ("no feed-forward", ("attention",)),
            ("no attention", ("feed_forward",)),
            ("the feed-forward twice", ("attention", "feed_forward", "feed_forward")),
            ("the attention twice", ("attention", "attention", "feed_forward")),
            ("the whole layer twice", ("attention", "feed_forward", "attention", "feed_forward")),
        )
    ],
)  # fmt: skip
entry(
    "L29", "the feed-forward reads another tensor", "what the attention gave, behind its norm",
    "own knowledge (GPT-J and PaLM have both sub-layers read the layer's input)", "output", "BERT-ENC-1",
    cause_of=("L17", "gpt2-14"),
    mutants=[
        *(swap(what, "encoder_layer", residuals(*wired)) for what, wired in (
            ("the layer's input", ("x", "a", None, "x")),
            ("the layer's input, and its residual is that, too", ("x", "x", None, "x")),
            ("the sum before the attention's norm", ("x", "a", None, "sum")),
            ("the sum before the attention's norm, and its residual is that, too", ("x", "sum", None, "sum")),
        )),
        swap("the layer's input", "pre_norm_layer", rewired(None, {"reads": "x"})),
        swap("the layer's input, and its residual is that, too", "pre_norm_layer",
             rewired(None, {"reads": "x", "base": "x"})),
    ],
)  # fmt: skip
entry(
    "L23", "the feed-forward before the attention", "attention, then feed-forward",
    "own knowledge", "output", "BERT-ENC-1",
    mutants=[swap("the feed-forward comes first", "encoder_layer", _turned_layer())],
)  # fmt: skip
entry(
    "L24", "a norm without its γ, or without its β", "γ x̂ + β",
    "own knowledge", "output", "OP-LN-1", when="left at 1 and 0 it is C02",
    mutants=[
        *(whole_groups(f"no {name}", lacking(weight))
          for name, weight in (("γ", True), ("β", False))),
        whole_groups("no γ and no β", unweighted()),
    ],
)  # fmt: skip
