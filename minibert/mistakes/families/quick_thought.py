"""Mistakes of quick-thought: the diagonal, scores, targets, two encoders, where the reset stands."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops, recurrent
from minibert.families import quick_thought
from minibert.golden.subject import Subject
from minibert.heads import adjacent_sentence
from minibert.mistakes.catalogue import Mutant, batch, entry, only, swap
from minibert.mistakes.ops.recurrent import ordered
from minibert.mistakes.swap import Replacement, Site, edited, graded, turned

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("quick_thought",)
FORBID = -1e9


def scored(what: str, replacement: Any, **fields: Any) -> Callable:
    return only("quick_thought", swap(what, "inner_scores", replacement, **fields))


def targeted(what: str, edit: Callable[[dict[str, Any]], Tree], faithful: bool = True) -> Callable:
    """Other targets, or candidates; faithful: the targets of a sentence are still 1 together."""
    wrong = edited(adjacent_sentence.soft_cross_entropy, edit, faithful)
    return only("quick_thought", swap(what, "soft_cross_entropy", wrong))


def _left_out(u: Array, v: Array) -> tuple[Array, Tree]:
    z, c = adjacent_sentence.inner_scores.__wrapped__(u, v)
    return z + z.dtype.type(FORBID) * np.eye(z.shape[-1], dtype=z.dtype), c


def _kept(u: Array, v: Array) -> tuple[Array, Tree]:
    _, c = adjacent_sentence.inner_scores.__wrapped__(u, v)
    return u @ v.swapaxes(1, 2), {**c, "off": np.ones_like(c["off"])}


def _by_length(x: Array) -> Array:
    return x / x.dtype.type(x.shape[-1] ** 0.5)


def _through(g: tuple[Array, Array], dz: Array, c: Tree) -> tuple[Array, Array]:
    return dz @ c["v"], dz.swapaxes(1, 2) @ c["u"]


def _of_next(given: dict[str, Any]) -> Tree:
    later = np.triu(given["targets"] > 0)
    return {"targets": (later / np.maximum(1, later.sum(-1, keepdims=True))).astype(given["z"].dtype)}


def _one(what: str, of: str, instead: str) -> Callable:
    """A part of the tree in the place of another, where there are both."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        if not {of, instead} <= subject.params.keys():
            return []
        return [Mutant(what, lambda s: replace(s, params={**s.params, of: s.params[instead]}))]

    return only("quick_thought", maker)


def _reset_behind(
    x: Array, state: Array | None, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None, *,
    mask: Array | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    return ops.gru(x, state, weight_ih, weight_hh, bias_ih, None, mask=mask)


def _gated(what: str, replacement: Any) -> Callable:
    return only("quick_thought", swap(what, "reset_first_gru", replacement))


def _renewing(a: Array) -> Array:
    r, z, n = np.split(a, 3)
    return np.concatenate([r, -z, n])


def _last_of_both(h: Array, *, both: bool) -> tuple[Array, Tree]:
    return h[:, -1], {"length": h.shape[1], "both": False}


ENDS = Replacement(_last_of_both, recurrent.whole_text_backward.__wrapped__)

entry(
    "quick_thought-01", "the sentence itself left out of the softmax", "its score is 0, and it takes its share",
    "src lajanugen/S2V s2v_model.py (tf.matrix_set_diag with 0)", "output", "QT-SCORE-2", families=FAMILY,
    mutants=[scored("the diagonal at minus infinity",
                    Replacement(_left_out, adjacent_sentence.inner_scores_backward.__wrapped__))],
)  # fmt: skip
entry(
    "quick_thought-02", "the sentence's own score kept", "0, whatever f and g say", "own knowledge", "output",
    "QT-SCORE-2", families=FAMILY,
    mutants=[scored("the diagonal as it is", Replacement(_kept, adjacent_sentence.inner_scores_backward.__wrapped__))],
)  # fmt: skip
entry(
    "quick_thought-03", "scores scaled", "inner products as they are",
    "arXiv 1803.02893 section 3 (no temperature); SimCSE's cosine", "output", "QT-SCORE-1", families=FAMILY,
    mutants=[scored("divided by √D", turned(adjacent_sentence.inner_scores, u=(_by_length, _by_length)))],
)  # fmt: skip
entry(
    "quick_thought-04", "targets that are not shares", "1/n for each of n neighbours, 1 for an edge's one",
    "src S2V s2v_model.py (targets divided by their sum)", "loss", "QT-LOSS-1", families=FAMILY,
    mutants=[targeted("1 for each neighbour", lambda a: {"targets": (a["targets"] > 0).astype(a["z"].dtype)}, False),
             targeted("the sentence behind alone", _of_next)],
)  # fmt: skip
entry(
    "quick_thought-05", "the diagonal has a gradient", "it is constant",
    "own knowledge: 0 by hand, not in the backward", "gradient", "QT-SCORE-2", families=FAMILY,
    mutants=[scored("passed to the sentence itself", graded(adjacent_sentence.inner_scores, _through),
                    section="gradients")],
)  # fmt: skip
entry(
    "quick_thought-06", "the reset behind the recurrent product", "it multiplies the state before the matrix",
    "src torch nn/modules/rnn.py (GRU); TensorFlow GRUCell", "output", "OP-GRUR-1", families=FAMILY,
    mutants=[_gated("tanh(a + r (U h))", Replacement(_reset_behind, ops.gru_backward))],
)  # fmt: skip
entry(
    "quick_thought-07", "a gated unit's rows, or its update gate, otherwise", "r z n; (1 - z) n + z h",
    "src keras GRUCell (z r h)", "output", "OP-GRUR-1", families=FAMILY,
    mutants=[
        _gated("rows read as z r n", ordered("zrn", ops.reset_first_gru, "rzn")),
        _gated("h = z n + (1 - z) h", turned(ops.reset_first_gru, **dict.fromkeys(
            ("weight_ih", "weight_hh", "bias_ih"), (_renewing, _renewing)))),
    ],
)  # fmt: skip
entry(
    "quick_thought-08", "padding of a sentence read as words", "the state behind the last word", "own knowledge",
    "output", "QT-ENC-2", families=FAMILY,
    mutants=[
        _gated("no mask", edited(ops.reset_first_gru, lambda _: {"mask": None})),
        only("quick_thought", swap("sums over padding", "summed_words", edited(
            quick_thought.summed_words, lambda a: {"seen": np.ones_like(a["seen"])}))),
    ],
)  # fmt: skip
entry(
    "quick_thought-09", "one encoder, or one table, for both", "two encoders of their own, two tables unless shared",
    "arXiv 1803.02893 section 3; src S2V (word_embedding_out)", "output", "QT-ENC-1", families=FAMILY,
    mutants=[_one("f stands for g", "g", "f"), _one("one table", "embeddings_out", "embeddings")],
)  # fmt: skip
entry(
    "quick_thought-10", "sentences in another order than their targets", "neighbours in the text",
    "src S2V train.py (no shuffling within a batch)", "loss", "QT-DATA-1", families=FAMILY,
    mutants=[only("quick_thought", batch("places one slot on", lambda b, _: {
        "sentence_places": np.roll(b["sentence_places"], 1, 1)}))],
)  # fmt: skip
entry(
    "quick_thought-11", "a sentence that is missing told from", "it is no candidate", "own knowledge", "loss",
    "QT-LOSS-2", families=FAMILY,
    mutants=[targeted("it has the score 0", lambda a: {"there": np.ones_like(a["there"])})],
)  # fmt: skip
entry(
    "quick_thought-12", "both directions taken at the last token", "each where it has read the whole sentence",
    "own knowledge: out[:, -1] of both", "output", "QT-ENC-2", families=("quick_thought", "skip_thought"),
    when="where there are two directions",
    mutants=[only("quick_thought skip_thought", swap(
        "out[:, -1]", "whole_text", lambda subject, _: ENDS if _two(subject.config) else None))],
)  # fmt: skip


def _two(config: Any) -> bool:
    """Whether the sentence is read in both directions."""
    return config.bidir if hasattr(config, "bidir") else config.encoder == "bi"
