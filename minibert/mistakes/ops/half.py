"""Parts of a model in half precision, where the rest is not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibert import layers, ops, tree
from minibert.golden import precision
from minibert.mistakes.catalogue import swap
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


def half_normed(r: Callable[[Array], Array], each: bool, last: str = "over") -> Replacement:
    """A norm that is in half precision up to x̂, its γ and β in full; each: every step of it is rounded, eps too, and
    every step back; last: the last step, which is "over" σ, "times" 1/σ, as compilers have it, or not rounded ("free"),
    as XLA fuses it with γ.
    """
    times, ending = last == "times", r if last != "free" else np.asarray
    inner = r if each else np.asarray

    def mean(a: Array) -> Array:
        return inner(a.mean(-1, keepdims=True))

    def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
        x = r(x)
        centred = inner(x - mean(x))
        small = inner(x.dtype.type(eps) + x[..., :1] * 0)
        root = inner(np.sqrt(inner(mean(np.square(centred)) + small)))
        with np.errstate(divide="ignore", invalid="ignore"):
            xhat = ending(centred * inner(1 / root)) if times else ending(centred / root)
        rows = {"xhat": xhat.reshape(-1, x.shape[-1]), "rstd": (1 / root).reshape(-1, 1)}
        return xhat * weight + bias, {**rows, "weight": weight, "own": (centred, root)}

    def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.layer_norm_backward(dy, c)
        if not each:
            return r(dx), g
        (centred, root), dxhat = c["own"], r(dy * c["weight"])
        by = r(1 / root) if times else 1 / root
        droot = -r((r(dxhat * centred) * r(np.square(by))).sum(-1, keepdims=True))
        dcentred = r(r(dxhat * by) + r(2 * centred * r(r(droot * by / 2) / centred.shape[-1])))
        return r(dcentred - mean(dcentred)), g

    return Replacement(layer_norm, layer_norm_backward, faithful=False)


def half_losses(r: Callable[[Array], Array], taken: bool = True, losses: bool = True) -> Replacement:
    """Cross-entropy whose logits (taken), or log-softmax, or both, are in half precision; the mean is not."""
    of_logits, of_losses = (r if taken else np.asarray), (r if losses else np.asarray)

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        _, c = ops.cross_entropy(of_logits(logits), **given)
        rows = of_logits(logits).reshape(len(c["labels"]), -1)
        largest = rows.max(-1)
        logs = np.log(np.exp(rows - largest[:, None]).sum(-1)) + largest
        each = of_losses(logs - rows[np.arange(len(rows)), c["labels"]])
        return np.asarray((c["weights"] * each).sum(), logits.dtype), c

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        weights = of_losses(dy * c["weights"]) / (dy or 1)
        return of_logits(ops.cross_entropy_backward(dy, {**c, "weights": weights.astype(c["weights"].dtype)}))

    return Replacement(cross_entropy, cross_entropy_backward, faithful=False)


def half_steps(r: Callable[[Array], Array]) -> Replacement:
    """Cross-entropy whose log-softmax is in half precision, every step of it rounded."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        _, c = ops.cross_entropy(r(logits), **given)
        rows = r(logits).reshape(len(c["labels"]), -1)
        rows = r(rows - rows.max(-1, keepdims=True))
        logs = r(np.log(r(r(np.exp(rows)).sum(-1))))
        each = r(logs - rows[np.arange(len(rows)), c["labels"]])
        return np.asarray((c["weights"] * each).sum(), logits.dtype), c

    return Replacement(cross_entropy, lambda dy, c: r(ops.cross_entropy_backward(dy, c)), faithful=False)


def cut(what: str, f: Callable, rounding: Callable[[Array], Array], **how: bool) -> Callable:
    """An op or block in half precision."""
    return swap(what, f.__name__, narrowed(f, rounding, **how))


PARTS = [
    maker
    for name, r in HALF
    for maker in (
        cut(f"the residual's sum in {name}", layers.add, r),
        cut(f"rows of tables rounded to {name}", ops.embedding, r, reads=False, weights=False),
        cut(f"embeddings rounded to {name}", layers.embeddings, r, reads=False, weights=False),
        cut(f"what linear layers give rounded to {name}", ops.linear, r, reads=False, weights=False),
        cut(f"what layers give rounded to {name}", layers.encoder_layer, r, reads=False, weights=False),
        cut(f"what layers give rounded to {name}", layers.pre_norm_layer, r, reads=False, weights=False),
        cut(f"the pooler's tanh in {name}", ops.tanh, r),
        *(swap(f"{what} in {name}", "cross_entropy", half_losses(r, *which))
          for what, which in (("the loss's log-softmax", (True, True)),
                              ("the logits that the loss takes", (True, False)),
                              ("each target's loss", (False, True)))),
        swap(f"the loss's log-softmax in {name}, step by step", "cross_entropy", half_steps(r)),
    )
]  # fmt: skip
