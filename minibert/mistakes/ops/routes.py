"""Mistakes of attention in which something is taken from elsewhere: in its backward, and from another layer."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import GRADIENTS, Mutant, entry, everywhere
from minibert.mistakes.ops.attention import SELF, of_attention, of_scores
from minibert.mistakes.ops.slopes import FACTORS, factored, placed, read_plainly
from minibert.mistakes.swap import Replacement, Site, swapped

Array = np.ndarray
Cache = dict[str, Any]


# ---- In the backward -------------------------------------------------------------------------------------------------
def returned(unscaled: str = "", plain: str = "", of_keys: bool = False) -> Replacement:
    """Attention whose backward leaves the scale out of the gradient of "queries" or "keys", or does not transpose what
    "keys" or "values" get theirs through; of_keys: the probabilities' gradient is dO Kᵀ.
    """

    def turned(a: Array, name: str) -> Array:
        return a if name == plain and a.shape[-1] == a.shape[-2] else a.swapaxes(-1, -2)

    def attention(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Cache]:
        y, c = ops.attention(q, k, v, **given)
        return y, {**c, "v": k} if of_keys else c  # of the values, the backward asks for nothing else

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        q, k, v, probs, scale = c["q"], c["k"], c["v"], c["probs"], c["scale"]
        dropout = 1 if c["dropout"] is None else c["dropout"]
        dprobs = (dy @ v.swapaxes(-1, -2)) * dropout
        dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))
        dq = dscores @ k * (1 if unscaled == "queries" else scale)
        dk = turned(dscores, "keys") @ q * (1 if unscaled == "keys" else scale)
        return dq, dk, turned(probs * dropout, "values") @ dy

    return of_scores(attention, attention_backward, faithful=False)


# ---- From another layer ----------------------------------------------------------------------------------------------
def _of_layer_before(which: int, name: str) -> Callable:
    """Queries, keys or values of the layer before in each layer but the first; a layer's own get no gradient then."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        found, stack = [], [site for site in at if site.name == "attention" and site.layer is not None]
        for site in stack:
            lender = next((one for one in stack if one.tower == site.tower and one.layer == site.layer - 1
                           and one.local.partition(".attention")[2] == site.local.partition(".attention")[2]), None)
            if lender:
                pairs = _lending(which)
                change = partial(swapped, at={lender.key: pairs[0], site.key: pairs[1]})
                found.append(Mutant(f"the {name} of the layer before", change, site.place, sites=(site.path,)))
        return found

    return maker


def _lending(which: int) -> tuple[Replacement, Replacement]:
    """Attention whose argument of this number is kept, and attention that takes what was kept for its own."""
    held = threading.local()

    def lent(q: Array, k: Array, v: Array, *more: Any, **given: Any) -> tuple[Array, Cache]:
        held.value, held.gradient = (q, k, v)[which], 0
        return ops.attention(q, k, v, *more, **given)

    def lent_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        gradients = [*ops.attention_backward(dy, c)]
        gradients[which] = gradients[which] + held.gradient
        return tuple(gradients)

    def used(*args: Array, **given: Any) -> tuple[Array, Cache]:
        fits = held.value.shape == args[which].shape
        args = tuple(held.value if i == which and fits else a for i, a in enumerate(args))
        y, c = ops.attention(*args, **given)
        return y, {**c, "lent": fits}

    def used_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
        gradients = [*ops.attention_backward(dy, c)]
        if c["lent"]:
            held.gradient = gradients[which]
            gradients[which] = np.zeros_like(gradients[which])
        return tuple(gradients)

    return Replacement(lent, lent_backward), Replacement(used, used_backward)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "A54", "another factor in attention's backward", "dQ = s dS K, dK = s dSᵀ Q, dV = Pᵀ dO, dP = dO Vᵀ",
    "harvard-edge/cs249r_book; own knowledge", "gradient", "OP-ATT-7",
    mutants=[
        *(of_attention(f"no scale in the {name}' gradient", section=GRADIENTS, replacement=returned(unscaled=name))
          for name in ("queries", "keys")),
        *(of_attention(f"the {name}' gradient without the transposition", section=GRADIENTS, paths=SELF,
                       replacement=returned(plain=name)) for name in ("keys", "values")),
        of_attention("the probabilities' gradient through the keys, not the values", section=GRADIENTS,
                     replacement=returned(of_keys=True)),
        *(everywhere(of_attention(what, section=GRADIENTS, replacement=factored(change))) for what, change in FACTORS),
        *(placed(f"heads of the {name} gradient as they are read", "split_heads", read_plainly(), paths)
          for name, paths in (("queries', keys' and values'", ".*"), ("queries'", r".*split_query"),
                              ("keys'", r".*split_key"), ("values'", r".*split_value"))),
    ],
)  # fmt: skip
entry(
    "A55", "queries, keys or values of the layer before", "each layer's own",
    "own knowledge: a cache, or a variable, kept from layer to layer", "output", "BERT-ATT-1",
    mutants=[_of_layer_before(which, name) for which, name in enumerate(("queries", "keys", "values"))],
)  # fmt: skip
