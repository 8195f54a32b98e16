"""Mistakes in heads of tasks."""

from typing import Any

import numpy as np

from minibert import ops, summaries
from minibert.mistakes.catalogue import entry, swap
from minibert.mistakes.swap import Replacement, edited, zeros

SECTION = {"K": "Heads of tasks"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def at(place: int) -> Replacement:
    """The state of the token at this place of every row."""
    return edited(summaries.summary, lambda given: {"at": np.full(len(given["h"]), place % given["h"].shape[1])})


def without_activation() -> Replacement:
    """Drop(r) Wᵀ + b."""

    def summary(h: Array, p: Any, *, at: Array, act: str, keep: Array | None, rate: float) -> tuple[Array, Cache]:
        r, c = summaries.summary(h, None, at=at)
        r, c["dropout"] = ops.dropout(r, keep=keep, rate=rate)
        s, c["dense"] = ops.linear(r, **p)
        return s, c

    def summary_backward(ds: Array, c: Cache) -> tuple[Array, Any]:
        dr, g = ops.linear_backward(ds, c["dense"])
        dr = ops.dropout_backward(dr, c["dropout"])
        return ops.gather_backward(dr[:, None], c["gather"]), g

    return Replacement(summary, summary_backward)


def without_layer() -> Replacement:
    """The state itself."""

    def summary(h: Array, p: Any, *, at: Array, act: str, keep: Array | None, rate: float) -> tuple[Array, Cache]:
        r, c = summaries.summary(h, None, at=at)
        return r, {**c, "plain": p}

    def summary_backward(ds: Array, c: Cache) -> tuple[Array, Any]:
        return ops.gather_backward(ds[:, None], c["gather"]), zeros(c["plain"])

    return Replacement(summary, summary_backward)


def active(name: str) -> Replacement:
    """Another activation over the layer."""
    return edited(summaries.summary, lambda given: {"act": name})


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "K01", "another activation over a classification head's layer, or none", "tanh (RoBERTa, BART), erf GELU (ELECTRA)",
    "candle#2968", "output", "TASK-SUM-1",
    mutants=[
        swap("no activation", "summary", without_activation()),
        *(swap(f"{name} in the place of it", "summary", active(name)) for name in ("gelu", "relu")),
    ],
)  # fmt: skip
entry(
    "K02", "the head reads another token", "the first; GPT-2 the last that is no padding",
    "HF#35909, #24265; HF#46782", "output", "TASK-SUM-1",
    mutants=[
        swap("the last place of the row, padding or not", "summary", at(-1)),
        swap("the second token", "summary", at(1)),
    ],
)  # fmt: skip
entry(
    "K03", "the layer over the first token is missing", "dense, activation, projection",
    "HF#8776, #1328", "output", "TASK-SUM-1",
    mutants=[swap("the token's state itself", "summary", without_layer())],
)  # fmt: skip
