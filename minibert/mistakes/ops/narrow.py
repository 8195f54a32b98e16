"""One operation in half precision, where the rest is in float32."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.golden import precision
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, entry, rounded, swap
from minibert.mistakes.ops.attention import UNCERTAIN_SCORES, least, of_attention, of_scores
from minibert.mistakes.ops.half import PARTS
from minibert.mistakes.swap import Replacement, Site, edited, halves
from minibert.pairs import PAIRS

Array = np.ndarray
Cache = dict[str, Any]
Rounding = Callable[[Array], Array]


def narrow(f: Callable, r: Rounding, inner: bool = True, bias: bool = True) -> Replacement:
    """An op or block of rounded arguments, whose gradients are rounded, too; inner: so is what it gives, and what comes
    from behind; bias: so is a bias, which else is added behind the rounding.
    """
    f, backward = halves(f)
    behind = r if inner else np.asarray

    def forward(x: Array, *args: Array, **given: Any) -> tuple[Array, Cache]:
        more = {key: r(a) if isinstance(a, np.ndarray) and inner else a for key, a in given.items()}
        offset = None if bias else given.get("bias")
        if offset is not None:
            more["bias"] = np.zeros_like(offset)
        y, c = f(r(x), *(r(a) if inner else a for a in args), **more)
        return behind(y) if offset is None else behind(y) + offset, c

    def adjoint(dy: Array, c: Cache) -> Any:
        got = backward(behind(dy), c)
        if not isinstance(got, tuple):
            return r(got)
        g = {key: behind(a) for key, a in got[1].items()}
        return r(got[0]), g if bias or "bias" not in g else {**g, "bias": dy.reshape(-1, dy.shape[-1]).sum(0)}

    return Replacement(forward, adjoint, faithful=False)


def narrow_attention(
    of_keys: Rounding = np.asarray, probabilities: Rounding = np.asarray, of_values: Rounding = np.asarray,
    summed: bool = True, scored: Rounding = np.asarray,
) -> Replacement:  # fmt: skip
    """Attention of which the factors of one product are rounded, and what they sum to; or the probabilities, or the
    scores.
    """
    keys, values = (of if summed else np.asarray for of in (of_keys, of_values))

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        q, k, v = of_keys(q), of_keys(k), of_values(v)
        scores = scored(keys(q @ k.swapaxes(-1, -2)) * scale)
        exact = ops.softmax(scores if bias is None else least(scores + bias))[0]
        probs = probabilities(exact)
        kept = of_values(probs if dropout is None else probs * dropout)
        held = {"q": q, "k": k, "v": v, "probs": probs, "dropout": dropout, "scale": scale, "kept": kept}
        return values(kept @ v), {**held, "exact": exact}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        probs, dy = c["exact"], of_values(dy)
        dprobs = values(dy @ c["v"].swapaxes(-1, -2))
        dprobs = probabilities(dprobs if c["dropout"] is None else dprobs * c["dropout"])
        dscores = of_keys(scored(probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))) * c["scale"])
        dv = values(c["kept"].swapaxes(-1, -2) @ dy)
        return keys(dscores @ c["k"]), keys(dscores.swapaxes(-1, -2) @ c["q"]), dv

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS["attention"].parts.seen(part, c, dy)
        return scored(value) if part == "scores" else value, cotangent

    return replace(of_scores(attention, attention_backward, faithful=False), seen=seen)


def narrow_sum(r: Rounding) -> Replacement:
    """A post-norm residual of rounded terms, whose sum is rounded."""

    def terms(given: dict[str, Any]) -> dict[str, Array]:
        x, f = r(given["x"]), r(given["f"])
        return {"x": x, "f": r(x + f) - x}

    added = edited(layers.add_norm, terms, faithful=False)

    def add_norm_backward(dy: Array, c: Cache) -> tuple[Array, Array, Cache]:
        dx, df, g = added.backward(dy, c)
        return r(dx), r(df), g

    return Replacement(added.forward, add_norm_backward, faithful=False)


def with_single(maker: Callable, most: int = 1) -> Callable:
    """Of a maker's mutants that of all places and those of one place in all layers, which have those of one call, or of
    so many, inside them.
    """

    def made(subject: Subject, at: list[Site]) -> list[Mutant]:
        first, *others = maker(subject, at) or [None]
        single = [one for one in others if len(one.sites) <= most]
        roles = [one for one in others if one not in single
                 and len({re.sub(r"\d+", "#", path) for path in one.sites}) == 1]  # fmt: skip
        inner = [tuple(one for one in single if {*one.sites} <= {*role.sites}) for role in roles]
        rest = tuple(one for one in single if not any(one in held for held in inner))
        whole = [replace(first, inside=rest)] if first else []
        return whole + [replace(role, inside=held) for role, held in zip(roles, inner, strict=True)]

    return made


def _in(name: str) -> list[Callable]:
    r = precision.rounding(name)
    given_narrow = narrow(ops.layer_norm, r, inner=False)
    linears = ((f"products in {name}", {}), (f"products in {name}, the bias added behind", {"bias": False}),
               (f"what they are given rounded to {name}", {"inner": False}))  # fmt: skip
    attentions = ((f"queries times keys in {name}", {"of_keys": r}),
                  (f"probabilities times values in {name}", {"of_values": r}),
                  (f"probabilities times values in {name}, summed in float32", {"of_values": r, "summed": False}),
                  (f"probabilities rounded to {name}", {"probabilities": r}),
                  (f"scores rounded to {name}", {"scored": r}))  # fmt: skip
    return [
        *(with_single(swap(what, "linear", narrow(ops.linear, r, **how))) for what, how in linears),
        with_single(swap(f"the activation in {name}", "activation", narrow(layers.activation, r))),
        with_single(swap(f"what a norm is given rounded to {name}", "layer_norm", given_narrow)),
        with_single(swap(f"residuals added in {name}", "add_norm", narrow_sum(r))),
        *(with_single(of_attention(what, replacement=narrow_attention(**how), silent=UNCERTAIN_SCORES))
          for what, how in attentions),
    ]  # fmt: skip


entry(
    "D33", "one operation in half precision", "in float32, as the rest is",
    "own knowledge (a cast, or a kernel that is handed half)", "output", "NUM-1",
    when="the softmax is A43, the norm L11, weights alone C10; of all products D15, D28",
    mutants=[*map(rounded, (*_in("float16"), *_in("bfloat16"), *map(with_single, PARTS)))],
)  # fmt: skip
