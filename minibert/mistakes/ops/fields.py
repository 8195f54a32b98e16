"""Mistakes in linear-chain conditional random fields."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.mistakes.catalogue import entry, swap
from minibert.mistakes.swap import Replacement, edited, graded, turned, zeros

SECTION = {"F": "Random fields"}

Array = np.ndarray
Cache = dict[str, Any]
SCORES = ("start_transitions", "transitions", "end_transitions")


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def likelihood() -> Replacement:
    """The log-likelihood itself, which falls where it should rise."""

    def crf_loss(emissions: Array, **given: Any) -> tuple[Array, Cache]:
        loss, c = ops.crf_loss(emissions, **given)
        return -loss, c

    return Replacement(crf_loss, lambda dy, c: ops.crf_loss_backward(-dy, c))


def silent(*names: str) -> Replacement:
    """These scores read as 0, which get no gradient."""
    return turned(ops.crf_loss, **dict.fromkeys(names, (np.zeros_like, np.zeros_like)))


def best_alone() -> Replacement:
    """The highest score in the place of log Z: the loss against the labels that Viterbi finds."""

    def crf_loss(emissions: Array, *, labels: Array, mask: Array | None = None, denominator: float | None = None,
                 **scores: Array) -> tuple[Array, Cache]:  # fmt: skip
        given = {**scores, "mask": mask}
        loss, c = ops.crf_loss(emissions, **given, labels=labels, denominator=denominator)
        found, _ = ops.viterbi(emissions, **given)
        theirs, other = ops.crf_loss(emissions, **given, labels=found, denominator=denominator)
        return loss - theirs, {"loss": c, "theirs": other}

    def crf_loss_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        (de, g), (other, theirs) = (ops.crf_loss_backward(dy, own) for own in c.values())
        return de - other, {name: g[name] - theirs[name] for name in g}

    return Replacement(crf_loss, crf_loss_backward)


def ended_at_the_row() -> Replacement:
    """The end's score of the label that stands last in the row, in the chain or not."""

    def crf_loss(emissions: Array, *, labels: Array, **given: Any) -> tuple[Array, Cache]:
        loss, c = ops.crf_loss(emissions, labels=labels, **given)
        end = given["end_transitions"]
        rows = np.arange(len(labels))
        at = c["labels"][rows, np.maximum(c["lengths"] - 1, 0)], labels[:, -1]
        moved = c["weights"] * (end[at[0]] - end[at[1]])
        return np.asarray(loss + moved.sum(dtype=loss.dtype)), {**c, "at": at}

    def crf_loss_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        de, g = ops.crf_loss_backward(dy, c)
        end = g["end_transitions"].copy()
        np.add.at(end, c["at"][0], dy * c["weights"])
        np.subtract.at(end, c["at"][1], dy * c["weights"])
        return de, {**g, "end_transitions": end}

    return Replacement(crf_loss, crf_loss_backward)


def _of_steps(given: dict[str, Any]) -> dict[str, Any]:
    mask = given.get("mask")
    return {"denominator": float(given["labels"].size if mask is None else mask.sum())}


def _every_step(given: dict[str, Any]) -> dict[str, Any]:
    """No mask; a label that asks nothing is read as 0."""
    return {"mask": None, "labels": np.maximum(given["labels"], 0)}


def _unpaired(g: tuple[Array, dict], dy: Array, c: Cache) -> tuple[Array, dict]:
    return g[0], {**g[1], "transitions": zeros(g[1]["transitions"])}


def of_crf(what: str, replacement: Replacement, **fields: Any) -> Callable:
    """The loss replaced."""
    return swap(what, "crf_loss", replacement, **fields)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "F01", "transitions read from the column to the row", "A[from, to]",
    "src pytorch/tutorials advanced_tutorial.py (transitions[to, from]); src kmkurn/pytorch-crf ([from, to])",
    "output", "OP-CRF-1",
    mutants=[of_crf("A transposed", turned(ops.crf_loss, transitions=(np.transpose, np.transpose)))],
)  # fmt: skip
entry(
    "F02", "the log-likelihood taken for the loss", "its negative",
    "src kmkurn/pytorch-crf torchcrf/__init__.py (returns the log-likelihood)", "output", "OP-CRF-1",
    mutants=[of_crf("the sign of the log-likelihood", likelihood())],
)  # fmt: skip
entry(
    "F03", "scores of the start or the end left out", "both are part of each score",
    "own knowledge", "output", "OP-CRF-1",
    mutants=[of_crf(f"no {' and '.join(names)}", silent(*names))
             for names in (SCORES[:1], SCORES[2:], (SCORES[0], SCORES[2]))],
)  # fmt: skip
entry(
    "F04", "the highest score in the place of log Z", "log Σ e^score by the forward algorithm",
    "own knowledge: max for the logarithm of the sum", "output", "OP-CRF-2",
    mutants=[of_crf("max over the labels, no sum", best_alone())],
)  # fmt: skip
entry(
    "F05", "padding in the chain", "what the mask leaves out has no step and no transition",
    "own knowledge: sub-words and padding labelled, too", "output", "OP-CRF-3",
    mutants=[of_crf("no mask", edited(ops.crf_loss, _every_step))],
)  # fmt: skip
entry(
    "F06", "the end's score at the end of the padded row", "at the last step that is in the chain",
    "own knowledge: tags[:, -1]", "output", "OP-CRF-3",
    mutants=[of_crf("the end of the label that stands last", ended_at_the_row())],
)  # fmt: skip
entry(
    "F07", "another reduction over the rows", "the mean over rows, or what is declared",
    "src kmkurn/pytorch-crf (sum by default; mean, token_mean)", "output", "OP-CRF-1", variant=True,
    mutants=[
        of_crf("summed over the rows", edited(ops.crf_loss, lambda _: {"denominator": 1.0})),
        of_crf("the mean over steps", edited(ops.crf_loss, _of_steps)),
    ],
)  # fmt: skip
entry(
    "F08", "no gradient of the transitions", "P of each pair minus how often the labels have it",
    "own knowledge", "gradient", "OP-CRF-4",
    mutants=[of_crf("no gradient of the transitions", graded(ops.crf_loss, _unpaired), section="gradients")],
)  # fmt: skip
