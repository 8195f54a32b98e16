"""Mistakes of CoVe: what is fed back, what is attended to, how it is put together."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import cove
from minibert.mistakes.catalogue import entry, only, swap, weights
from minibert.mistakes.going import Going
from minibert.mistakes.swap import Replacement, edited, graded, relinear, turned, zeros

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("cove",)
DECODER = cove.attentional_decoder
STEPS = r"encode\.decoder\.steps\.\d+\."


def own(what: str, name: str, replacement: Any, paths: str = ".*", **fields: Any) -> Callable:
    return only("cove", swap(what, name, replacement, paths, **fields))


def _without_fed(path: str, a: Array) -> Array:
    """The columns of what is fed back, as wide as an output, the last ones, are 0."""
    a = a.copy()
    a[:, -(len(a) // 4) :] = 0
    return a


def _not_through_fed(g: tuple, dy: Array, c: Tree) -> tuple:
    dx, *others = g
    dx = dx.copy()
    dx[..., -c["weight_hh"].shape[1] :] = 0
    return (dx, *others)


def _turned_columns(w: Array) -> Array:
    return np.concatenate([w[:, len(w) :], w[:, : len(w)]], 1)


def _back(w: Array) -> Array:
    wide = w.shape[1] - len(w)
    return np.concatenate([w[:, wide:], w[:, :wide]], 1)


def _flipped(a: Array) -> Array:
    return a[::-1]


def _left(edit: Callable[[Tree], Tree]) -> Callable:
    """From token to token another state: edit(the state)."""

    def of(network: Any, length: int) -> Going:
        def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
            logits, after = network.step(p, config, ids, state)
            return logits, {**after, **edit(after)}

        return network.start, step

    return of


entry(
    "cove-01", "padding of the source attended to", "the words that are there", "spec: softmax over padded positions",
    "output", "CV-ATT-1", families=FAMILY,
    mutants=[own("no mask", "attentional_decoder", edited(DECODER, lambda _: {"seen": None}))],
)  # fmt: skip
entry(
    "cove-02", "nothing fed back", "the decoder reads [z; h̃] of the step before", "arXiv 1708.00107 section 3; Luong's "
    "input feeding", "output", "CV-DEC-1", families=FAMILY,
    mutants=[only("cove", weights("the target's word alone", _without_fed, r"writer\.layers\.0\.weight_ih"))],
)  # fmt: skip
entry(
    "cove-03", "no gradient through what is fed back", "h̃ learns from its own word and from the step behind it",
    "own knowledge: detached", "gradient", "CV-DEC-2", families=FAMILY,
    mutants=[own("detached", "lstm", graded(ops.lstm, _not_through_fed), STEPS + r"layers\.0", section="gradients")],
)  # fmt: skip
entry(
    "cove-04", "attention without its bias", "H (W_1 s + b_1): the bias has a say through H", "own knowledge: Luong's "
    "general form has none", "output", "CV-ATT-1", families=FAMILY,
    mutants=[only("cove", weights("no b_1", lambda _, a: 0 * a, r"writer\.attention\.bias"))],
)  # fmt: skip
entry(
    "cove-05", "the state before what was found", "[Hᵀα; s]", "own knowledge: [s; Hᵀα]", "output", "CV-ATT-2",
    families=FAMILY,
    mutants=[own("[s; Hᵀα]", "linear", relinear(weight=(_turned_columns, _back)), STEPS + "combine")],
)  # fmt: skip
entry(
    "cove-06", "no tanh behind what is combined", "h̃ = tanh(W_2 [Hᵀα; s] + b_2)", "own knowledge", "output", "CV-ATT-2",
    families=FAMILY,
    mutants=[own("linear", "tanh", Replacement(lambda x: (x, {}), lambda dy, c: dy), STEPS + "tanh")],
)  # fmt: skip
entry(
    "cove-07", "the memory of another row", "rows that were sorted by length are put back",
    "src cove encoder.py (sort, then _, _indices = sort)", "output", "CV-ENC-2", families=FAMILY,
    mutants=[own("in the order of sorting", "attentional_decoder", turned(DECODER, memory=(_flipped, _flipped)))],
)  # fmt: skip
entry(
    "cove-08", "an encoder that learns nothing", "the memory has the gradient of every step",
    "own knowledge: detached, or of the last step alone", "gradient", "CV-DEC-2", families=FAMILY,
    mutants=[own("the memory is detached", "attentional_decoder", graded(
        DECODER, lambda g, dy, c: (g[0], zeros(g[1]), g[2])), section="gradients")],
)  # fmt: skip
entry(
    "cove-09", "another state from token to token", "h̃ and both states of each layer", "own knowledge", "output",
    "CV-DEC-3", families=FAMILY,
    going={
        "no h̃": _left(lambda s: {"fed": np.zeros_like(s["fed"])}),
        "LSTMs begin anew": _left(lambda s: {"layers": [np.zeros_like(a) for a in s["layers"]]}),
    },
)  # fmt: skip
