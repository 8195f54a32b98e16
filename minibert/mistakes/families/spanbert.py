"""Mistakes of the span boundary objective (SpanBERT) and of sentence order (ALBERT, MacBERT)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops
from minibert.corruption import rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.replacement import replacement
from minibert.corruption.rules import Corruption
from minibert.golden.subject import Subject
from minibert.heads import span_boundary
from minibert.mistakes.catalogue import Mutant, batch, entry, swap, unlisted
from minibert.mistakes.ops.losses import counted
from minibert.mistakes.swap import Replacement, Site, edited

Array = np.ndarray
Cache = dict[str, Any]


# ---- Boundaries ------------------------------------------------------------------------------------------------------
def moved(by: Callable[[str], int]) -> Callable[[Subject, Site], Replacement]:
    """Boundary states taken elsewhere: by(side) positions to the right of where they stand."""

    def made(subject: Subject, site: Site) -> Replacement:
        step = by(site.local.rpartition(".")[2])

        length = subject.batches[0]["input_ids"].shape[1]

        def edit(given: dict[str, Any]) -> dict[str, Any]:
            rows = given["positions"] // length * length  # where the rows of the batch lie behind each other
            return {"positions": rows + np.clip(given["positions"] - rows + step, 0, length - 1)}

        return edited(ops.gather, edit)

    return made


def exchanged(subject: Subject, site: Site) -> Replacement | None:
    """Left and right state in each other's place."""

    if subject.family != "spanbert":
        return None

    def sbo_head(left: Array, right: Array, p: Any, table: Array, **given: Any) -> tuple[Array, Cache]:
        return span_boundary.sbo_head.__wrapped__(right, left, p, table, **given)

    def sbo_head_backward(dy: Array, c: Cache) -> tuple[Array, Array, Any, Array]:
        dright, dleft, g, dtable = span_boundary.sbo_head_backward.__wrapped__(dy, c)
        return dleft, dright, g, dtable

    return Replacement(sbo_head, sbo_head_backward)


def places(what: str, rule: Callable[[Array, Array], Array]) -> Callable:
    """Places in the span by another rule(place, length of the span), cut to the table; where spans are targets."""

    def edit(b: dict, config: Any) -> dict[str, Array]:
        spans = b["span_boundaries"][..., 1] - b["span_boundaries"][..., 0] - 1
        return {"span_positions": np.clip(rule(b["span_positions"], spans), 0, config.max_span - 1)}

    maker = batch(what, edit)
    return lambda subject, at: maker(subject, at) if "span_positions" in subject.batches[0] else []


def _one_bias(subject: Subject, _: Any) -> list[Mutant]:
    """The boundary head adds the output bias of the MLM head."""
    if "sbo" not in subject.params:
        return []

    def change(s: Subject) -> Subject:
        decoder = {**s.params["sbo"]["decoder"], "bias": s.params["mlm"]["decoder"]["bias"]}
        return replace(s, params={**s.params, "sbo": {**s.params["sbo"], "decoder": decoder}})

    return [Mutant("the boundary head uses the MLM head's bias", change, silent=r".*(mlm|sbo)\.decoder\.bias")]


def of_spans(what: str, replacement: Any, **fields: Any) -> Callable:
    """The boundary loss replaced."""
    return swap(what, "cross_entropy", replacement, r"span_boundary\.loss", **fields)


BESIDE = r"span_boundary\.(left|right)"
SBO = r"span_boundary\.head\.(first|second)\.norm"

# ---- Spans -----------------------------------------------------------------------------------------------------------
def _unmerged(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> Corruption:
    """Spans cut in two at the start of a word: neighbours that were not merged."""
    made = rules.span(ids, present, rng, vocabulary)
    starts = ~vocabulary.continues[ids]
    inner = np.pad(made.groups, ((0, 0), (1, 0)), constant_values=-1)[:, :-1] == made.groups
    groups = np.where(made.chosen, np.cumsum(made.chosen & (starts | ~inner), axis=1) - 1, -1)
    return made._replace(groups=groups.astype(np.int32))


def _by_piece(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> Corruption:
    """SpanBERT's spans with a draw for each piece."""
    made = rules.span(ids, present, rng, vocabulary)
    out = ids.copy()
    out[made.chosen] = replacement(ids[made.chosen], rng, vocabulary)
    return made._replace(ids=out)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "H20", "span boundaries taken inside the span, or exchanged", "the states just outside, left and right",
    "own knowledge; src SpanBERT pair_bert.py", "output", "SPAN-SBO-1", families=("spanbert",),
    mutants=[
        swap("the span's own ends", "gather", moved(lambda side: 1 if side == "left" else -1), BESIDE),
        swap("one further out", "gather", moved(lambda side: -1 if side == "left" else 1), BESIDE),
        swap("left and right change places", "sbo_head", exchanged),
    ],
)  # fmt: skip
entry(
    "H21", "place in the span off by one", "the first token of a span has row 0 of the table",
    "own knowledge; src SpanBERT pair_bert.py", "output", "SPAN-SBO-1", families=("spanbert",),
    mutants=[
        places("places count from 1", lambda place, n: place + 1),
        places("places count from the right", lambda place, n: n - 1 - place),
        places("every place is 0", lambda place, n: 0 * place),
    ],
)  # fmt: skip
entry(
    "H22", "one output bias for both heads", "MLM and boundary head have a bias each over the shared table",
    "own knowledge; src SpanBERT pair_bert.py", "output", "SPAN-SBO-3", families=("spanbert",),
    mutants=[_one_bias],
)  # fmt: skip
entry(
    "S13", "boundary loss divided by its targets + 1, or by the masked tokens",
    "the mean over its own targets; the release divides by targets + 1",
    "src SpanBERT spanbert_loss.py", "loss", "SPAN-LOSS-1", families=("spanbert",), variant=True,
    mutants=[of_spans("divided by targets + 1", counted(lambda labels, w, _: {"denominator": float(w.sum() + 1)}))],
)  # fmt: skip
entry(
    "D18", "neighbouring spans not merged",
    "overlapping and adjacent spans are one, with the boundaries and places of one",
    "own knowledge; src SpanBERT masking.py", "data", "SPAN-DATA-2", families=("spanbert",),
    rule={"span": _unmerged},
)  # fmt: skip
entry(
    "D19", "80/10/10 drawn for each piece of a span", "one draw a span; the release's flag defaults to pieces",
    "src SpanBERT masking.py (replacement method)", "data", "SPAN-DATA-3", families=("spanbert",), variant=True,
    rule={"span": _by_piece},
)  # fmt: skip
unlisted("the boundary loss summed", of_spans("summed, not averaged", counted(lambda *_: {"denominator": 1.0})))
