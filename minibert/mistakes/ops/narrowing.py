"""Mistakes of precision in one place: an op in half precision, where the rest is not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.golden import precision
from minibert.mistakes.catalogue import entry, everywhere, rounded, swap
from minibert.mistakes.ops.attention import UNCERTAIN_SCORES, least, of_scores
from minibert.mistakes.swap import Replacement, halves

Array = np.ndarray
Cache = dict[str, Any]
LEAVES = ("weight", "bias")
HALF = tuple((name, precision.rounding(name)) for name in ("bfloat16", "float16"))


def narrowed(
    f: Callable, rounding: Callable[[Array], Array], reads: bool = True, gives: bool = True, weights: bool = True
) -> Replacement:
    """An op or block in half precision: what it reads is rounded, its parameters, and what it gives, both ways; or some
    of these alone.
    """
    forward, backward = halves(f)

    def cut(a: Any, really: bool) -> Any:
        return rounding(a) if really and isinstance(a, np.ndarray) and a.dtype.kind == "f" else a

    def narrow(*args: Any, **constants: Any) -> tuple[Array, Any]:
        own = {name: cut(a, weights and name in LEAVES) for name, a in constants.items()}
        y, c = forward(*(cut(a, reads) for a in args), **own)
        return cut(y, gives), c

    def narrow_backward(dy: Array, c: Any) -> Any:
        got = backward(cut(dy, gives), c)
        each = got if isinstance(got, tuple) else (got,)
        each = tuple(tree.map(partial(cut, really=weights if isinstance(part, dict) else reads), part)
                     for part in each)  # fmt: skip
        return each if isinstance(got, tuple) else each[0]

    return Replacement(narrow, narrow_backward, faithful=False)


def product(rounding: Callable[[Array], Array], weight: bool = True, gives: bool = True) -> Replacement:
    """x Wᵀ in half precision, the bias added in full; weight: W is rounded, beside x; gives: the product is, too."""
    r = rounding
    of_product, of_weight = (r if gives else np.asarray), (r if weight else np.asarray)

    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
        y, c = ops.linear(r(x), of_weight(weight))
        y = of_product(y)
        return (y if bias is None else y + bias), {**c, "own": bias is not None}

    def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.linear_backward(of_product(dy), c)
        g = {"weight": of_weight(g["weight"])}
        return r(dx), {**g, "bias": dy.reshape(-1, dy.shape[-1]).sum(0)} if c["own"] else g

    return Replacement(linear, linear_backward, faithful=False)


def attended(
    r: Callable[[Array], Array], scores: bool = False, scaled: bool = False, context: bool = False, probs: bool = False
) -> Replacement:  # fmt: skip
    """Attention of which the products of queries and keys, or of probabilities and values, are in half precision, what
    they give, too; scaled: the scale is within; probs: the probabilities alone are, behind the softmax.
    """
    inner, outer = (r if scores else np.asarray), (r if context else np.asarray)
    used = r if probs or context else np.asarray

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        scale = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
        q, k, v = inner(q), inner(k), outer(v)
        z = inner(q @ k.swapaxes(-1, -2) * (scale if scaled else 1)) * (1 if scaled else scale)
        probs = ops.softmax(z if bias is None else least(z + bias))[0]
        kept = used(probs if dropout is None else probs * dropout)
        given = {"q": q, "k": k, "v": v, "dropout": dropout, "scale": scale}
        return outer(kept @ v), {**given, "probs": probs, "kept": kept}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        dy, probs = outer(dy), c["probs"]
        dprobs = used(dy @ c["v"].swapaxes(-1, -2))
        dprobs = dprobs if c["dropout"] is None else dprobs * c["dropout"]
        dz = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))
        dz = inner(dz) * c["scale"] if scaled else inner(dz * c["scale"])
        return (inner(dz @ c["k"]), inner(dz.swapaxes(-1, -2) @ c["q"]),
                outer(c["kept"].swapaxes(-1, -2) @ dy))  # fmt: skip

    return of_scores(attention, attention_backward, faithful=False)


def half_normed(r: Callable[[Array], Array], each: bool) -> Replacement:
    """A norm that is in half precision up to x̂, its γ and β in full; each: every step of it is rounded, eps too."""
    inner = r if each else np.asarray

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        x = r(x)
        centred = inner(x - inner(x.mean(-1, keepdims=True)))
        small = inner(x.dtype.type(eps) + x[..., :1] * 0)
        root = inner(np.sqrt(inner(inner(np.square(centred).mean(-1, keepdims=True)) + small)))
        with np.errstate(divide="ignore", invalid="ignore"):
            xhat = r(centred / root)
        rows = {"xhat": xhat.reshape(-1, x.shape[-1]), "rstd": (1 / root).reshape(-1, 1)}
        return xhat * weight + bias, {**rows, "weight": weight}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c)
        return r(dx), g

    return Replacement(layer_norm, layer_norm_backward, faithful=False)


def half_losses(r: Callable[[Array], Array], logits: bool = True, losses: bool = True) -> Replacement:
    """Cross-entropy whose logits, or log-softmax, or both, are in half precision; the mean is not."""
    of_logits, of_losses = (r if logits else np.asarray), (r if losses else np.asarray)

    def cross_entropy(z: Array, **given: Any) -> tuple[Array, Cache]:
        _, c = ops.cross_entropy(of_logits(z), **given)
        rows = of_logits(z).reshape(len(c["labels"]), -1)
        largest = rows.max(-1)
        logs = np.log(np.exp(rows - largest[:, None]).sum(-1)) + largest
        each = of_losses(logs - rows[np.arange(len(rows)), c["labels"]])
        return np.asarray((c["weights"] * each).sum(), z.dtype), c

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        weights = of_losses(dy * c["weights"]) / (dy or 1)
        return of_logits(ops.cross_entropy_backward(dy, {**c, "weights": weights.astype(c["weights"].dtype)}))

    return Replacement(cross_entropy, cross_entropy_backward, faithful=False)


def half_steps(r: Callable[[Array], Array]) -> Replacement:
    """Cross-entropy whose log-softmax is in half precision, every step of it rounded."""

    def cross_entropy(z: Array, **given: Any) -> tuple[Array, Cache]:
        _, c = ops.cross_entropy(r(z), **given)
        rows = r(z).reshape(len(c["labels"]), -1)
        rows = r(rows - rows.max(-1, keepdims=True))
        logs = r(np.log(r(r(np.exp(rows)).sum(-1))))
        each = r(logs - rows[np.arange(len(rows)), c["labels"]])
        return np.asarray((c["weights"] * each).sum(), z.dtype), c

    return Replacement(cross_entropy, lambda dy, c: r(ops.cross_entropy_backward(dy, c)), faithful=False)


def places(what: str, f: Callable, rounding: Callable[[Array], Array], paths: str = ".*", **how: bool) -> Callable:
    """An op or block in half precision in all places, or in some."""
    return everywhere(swap(what, f.__name__, narrowed(f, rounding, **how), paths))


NARROW = [*map(rounded, [  # of products, beside those of rounded factors whose sums are not
    maker
    for name, r in HALF
    for maker in (
        everywhere(swap(f"probabilities rounded to {name} for their product with the values", "attention",
                        attended(r, probs=True), silent=UNCERTAIN_SCORES)),
        everywhere(swap(f"linear layers in {name}, what they give rounded", "linear", narrowed(ops.linear, r))),
        everywhere(swap(f"products of linear layers in {name}, their biases added in full", "linear", product(r))),
        everywhere(swap(f"products of linear layers in {name}, their sums not rounded", "linear",
                        product(r, gives=False))),
        places(f"what linear layers give rounded to {name}", ops.linear, r, reads=False, weights=False),
        everywhere(swap(f"what linear layers read rounded to {name}", "linear", product(r, weight=False, gives=False))),
        *(everywhere(swap(f"products of {of} in {name}, what they give rounded{within}", "attention",
                          attended(r, **how), silent=UNCERTAIN_SCORES))
          for of, within, how in (
              ("queries and keys", "", {"scores": True}),
              ("queries and keys", " behind the scale", {"scores": True, "scaled": True}),
              ("probabilities and values", "", {"context": True}),
              ("attention", " behind the scale", {"scores": True, "scaled": True, "context": True}),
          )),
    )
])]  # fmt: skip
entry(
    "D33", "half precision in one place that is no product, blamed on the port", "as precise as the rest",
    "own knowledge (autocast, and casts that were left in)", "output", "NUM-1",
    when="a product's is D28, a norm's L11, a softmax's A43, weights' C10",
    mutants=[
        rounded(maker)
        for name, r in HALF
        for maker in (
            places(f"activations in {name}", layers.activation, r),
            places(f"the residual's sum in {name}", layers.add, r),
            places(f"what a norm reads rounded to {name}", ops.layer_norm, r, gives=False, weights=False),
            places(f"rows of tables rounded to {name}", ops.embedding, r, reads=False, weights=False),
            places(f"embeddings rounded to {name}", layers.embeddings, r, reads=False, weights=False),
            places(f"what layers give rounded to {name}", layers.encoder_layer, r, reads=False, weights=False),
            places(f"what layers give rounded to {name}", layers.pre_norm_layer, r, reads=False, weights=False),
            places(f"the pooler's tanh in {name}", ops.tanh, r),
            *(everywhere(swap(f"{what} in {name}", "cross_entropy", half_losses(r, *which)))
              for what, which in (("the loss's log-softmax", (True, True)),
                                  ("the logits that the loss takes", (True, False)),
                                  ("each target's loss", (False, True)))),
            everywhere(swap(f"the loss's log-softmax in {name}, step by step", "cross_entropy", half_steps(r))),
        )
    ],
)  # fmt: skip
