"""Mistakes of ELMo: characters, highways, residuals, and what is dropped."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import elmo
from minibert.mistakes.catalogue import config, entry, only, swap
from minibert.mistakes.swap import Replacement, edited

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("elmo",)
MARKS = elmo.BEGIN, elmo.END


def spelling(what: str, edit: Callable[[Array], Array], faithful: bool = True) -> Callable:
    """Other characters of each word; faithful: none is 0, whose row gets no gradient."""
    wrong = edited(elmo.words_of_characters, lambda given: {"ids": edit(given["ids"])}, faithful)
    return only("elmo", swap(what, "words_of_characters", wrong))


def gated(what: str, turn: Callable[[Array], Array]) -> Callable:
    """Highways with their rows turned by a map that is its own adjoint."""
    forward, backward = elmo.highway.__wrapped__, elmo.highway_backward.__wrapped__

    def highway(x: Array, p: Tree) -> tuple[Array, Tree]:
        return forward(x, {name: turn(a) for name, a in p.items()})

    def highway_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        dx, g = backward(dy, c)
        return dx, {name: turn(a) for name, a in g.items()}

    return only("elmo", swap(what, "highway", Replacement(highway, highway_backward)))


def _exchanged(a: Array) -> Array:
    transform, gate = np.split(a, 2)
    return np.concatenate([gate, transform])


def _carried(a: Array) -> Array:
    transform, gate = np.split(a, 2)
    return np.concatenate([transform, -gate])


def residual(what: str, paths: str, skip: bool) -> Callable:
    """A residual about the layers whose path matches, or none."""
    return only("elmo", swap(what, "elmo_layer", edited(elmo.elmo_layer, lambda _: {"skip": skip}), paths))


def dropped(what: str, paths: str) -> Callable:
    """Nothing dropped where the path matches."""
    return only("elmo", swap(what, "dropout", edited(ops.dropout, lambda _: {"keep": None}), paths))


entry(
    "elmo-01", "characters one off", "bytes + 1, marks 259 and 260, padding 261: 0 is no word's",
    "src allennlp data/token_indexers/elmo_indexer.py (add one for masking)", "output", "ELMO-CHAR-1", families=FAMILY,
    mutants=[spelling("bytes, marks and padding as they are", lambda ids: np.maximum(ids - 1, 0))],
)  # fmt: skip
entry(
    "elmo-02", "words without their marks", "begin and end stand about each word", "own knowledge", "output",
    "ELMO-CHAR-1", families=FAMILY,
    mutants=[
        spelling("padding in their place", lambda ids: np.where(np.isin(ids, MARKS), elmo.PADDING, ids)),
        spelling("one mark for both", lambda ids: np.where(ids == elmo.END, elmo.BEGIN, ids)),
    ],
)  # fmt: skip
entry(
    "elmo-03", "padding of characters of another kind", "it has a row of its own, and is read",
    "own knowledge: a character 0, or a row of zeros", "output", "ELMO-CHAR-2", families=FAMILY,
    mutants=[
        spelling("padded with character 0", lambda ids: np.where(ids == elmo.PADDING, 0, ids), faithful=False),
    ],
)  # fmt: skip
entry(
    "elmo-04", "a highway's gate and transform in each other's place", "the rows of the transform first",
    "src allennlp modules/highway.py", "output", "ELMO-CHAR-3", families=FAMILY,
    mutants=[gated("gate first", _exchanged)],
)  # fmt: skip
entry(
    "elmo-05", "a gate that carries where it should transform", "g keeps x: a carry of bilm-tf's is 1 - g",
    "src allennlp modules/elmo.py (the sign of W_carry)", "output", "ELMO-CHAR-3", families=FAMILY,
    mutants=[gated("g for 1 - g", _carried)],
)  # fmt: skip
entry(
    "elmo-06", "residuals at other layers", "about all layers but the first of each side", "own knowledge", "output",
    "ELMO-LAYER-2", families=FAMILY,
    mutants=[
        residual("about the first, too", r"encode\.(for|back)ward\.0", skip=True),
        only("elmo", config("none", use_skip_connections=lambda f: not f.use_skip_connections)),
    ],
)  # fmt: skip
entry(
    "elmo-07", "a dropout left out", "of words, of what enters each layer, and of what the decoder reads",
    "own knowledge", "output", "ELMO-DROP-1", families=FAMILY, when="where something is dropped",
    mutants=[
        dropped("none of words", r"encode\.drop"),
        dropped("none in layers", r"encode\.(for|back)ward\.\d+\.dropout"),
        dropped("none behind the last layers", r"encode\.(for|back)ward_drop"),
    ],
)  # fmt: skip
