"""Mistakes of UniLM: which query attends to which key, segments that tell the objective, what is asked and smoothed."""

from dataclasses import replace
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, only, present, swap
from minibert.mistakes.swap import Replacement, Site, edited

Array = np.ndarray
LEFT, RIGHT, SOURCE, TARGET = 2, 3, 4, 5  # segments


def masks(what: str, seen: Any) -> Any:
    """Other matrices, where a key is there: seen(q (T, 1), k (T), types (B, T), given (B, T, T)) -> (B, T, T)."""

    def edit(b: dict, _: Any) -> dict[str, Array]:
        at, given, types = np.arange(b["input_ids"].shape[1]), b["attention_mask"], b["token_type_ids"]
        found = seen(at[:, None], at, types, given) & (present(b)[:, None] != 0)
        return {"attention_mask": found.astype(given.dtype)}

    return batch(what, edit)


def _of(types: Array, *segments: int) -> Array:
    """Which rows (B, 1, 1) are of the objective with these segments."""
    return np.isin(types, segments).any(1)[:, None, None]


def _types(what: str, edit: Any) -> Any:
    return batch(what, lambda b, _: {"token_type_ids": edit(b["token_type_ids"])})


def _from_the_right(b: dict, _: Any) -> dict[str, Array]:
    """Rows that are read from the right count from their last token."""
    at, there = np.arange(b["input_ids"].shape[1]), present(b)
    right = (b["token_type_ids"] == RIGHT).any(1, keepdims=True)
    return {"position_ids": np.where(right, np.maximum(there.sum(1, keepdims=True) - 1 - at, 0), at)}


def _shares(excluded: Any, label: Any = None) -> Any:
    """Other labels to diverge from."""

    def made(subject: Subject, site: Site) -> Replacement:
        return edited(ops.smoothed_divergence, lambda given: {"excluded": excluded, **(label or {})})

    return made


def own(*makers: Any) -> list[Any]:
    """The makers for UniLM and its kin."""
    return [only("unilm", maker) for maker in makers]


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "unilm-01", "one mask of keys for all queries", "a matrix for each row", "src unilm-v1 modeling.py", "output",
    "UNI-ATT-1", families=("unilm",),
    mutants=own(
        masks("every token attends to all that are there", lambda q, k, types, given: given >= 0),
        masks("the last token's mask for all", lambda q, k, types, given: np.repeat(given[:, -1:], len(k), 1) != 0),
    ),
)  # fmt: skip
entry(
    "unilm-02", "left to right and right to left exchanged", "k ≤ q, and k ≥ q", "own knowledge", "output", "UNI-ATT-1",
    families=("unilm",),
    mutants=own(
        masks("the matrices transposed", lambda q, k, types, given: given.swapaxes(1, 2) != 0),
        masks("right to left as left to right", lambda q, k, types, given: np.where(
            _of(types, RIGHT), k <= q, given != 0)),
    ),
)  # fmt: skip
entry(
    "unilm-03", "a masked token does not attend to itself", "it does: its own [MASK] is seen", "own knowledge",
    "output", "UNI-ATT-3", families=("unilm",),
    mutants=own(
        masks("the diagonal hidden in rows of one direction", lambda q, k, types, given: (
            given != 0) & ~(_of(types, LEFT, RIGHT) & (q == k) & (given.sum(-1, keepdims=True) > 1))),
    ),
)  # fmt: skip
entry(
    "unilm-04", "source and target under one rule", "the source sees itself whole, the target also what stands before",
    "own knowledge", "output", "UNI-ATT-1", families=("unilm",),
    mutants=own(
        masks("the source from left to right, too", lambda q, k, types, given: np.where(
            _of(types, SOURCE), k <= q, given != 0)),
        masks("the source sees the target", lambda q, k, types, given: (given != 0) | (
            types == SOURCE)[:, :, None]),
        masks("the target sees itself whole", lambda q, k, types, given: (given != 0) | (
            types == TARGET)[:, :, None]),
        masks("the target does not see the source", lambda q, k, types, given: (given != 0) & ~(
            (types == TARGET)[:, :, None] & (types == SOURCE)[:, None])),
    ),
)  # fmt: skip
entry(
    "unilm-05", "segments do not tell the objective", "0 1, 2, 3, 4 5", "src unilm-v1 seq2seq_loader.py", "output",
    "UNI-SEG-1", families=("unilm",),
    mutants=own(
        _types("0 and 1, as in BERT", lambda types: np.where(types > 1, types == TARGET, types).astype(types.dtype)),
        _types("source and target as in BERT, 0 and 1",
               lambda types: np.where(types >= SOURCE, types - SOURCE, types)),
        _types("left to right and right to left have one", lambda types: np.where(types == RIGHT, LEFT, types)),
    ),
)  # fmt: skip
entry(
    "unilm-06", "positions from the right where reading goes from the right", "from the left in all objectives",
    "own knowledge", "output", "UNI-POS-1", families=("unilm",),
    mutants=own(batch("positions count from a row's last token", _from_the_right)),
)  # fmt: skip
entry(
    "unilm-07", "next sentences asked of every row", "of the bidirectional rows alone", "own knowledge", "loss",
    "UNI-LOSS-1", families=("unilm",),
    mutants=own(batch("every row weighs 1",
                      lambda b, _: {"next_sentence_weights": np.ones_like(b["next_sentence_weights"])})),
)  # fmt: skip
entry(
    "unilm-08", "smoothing gives the padding token a share", "0 for it, ε/(V - 2) for the others",
    "src unilm-v1 loss.py", "loss", "UNI-LOSS-2", families=("unilm",), when="where labels are smoothed",
    mutants=own(swap("ε/(V - 1) for all others", "smoothed_divergence", _shares(None))),
)  # fmt: skip
entry(
    "unilm-09", "the source masked in fine-tuning, or not in pre-training", "in pre-training both, then the target",
    "src unilm-v1 seq2seq_loader.py (mask_source_words)", "data", "UNI-DATA-3", families=("unilm",),
    reason="rows differ, no tensor of a given batch does: tests/families/test_unilm.py asks the rows",
)  # fmt: skip
entry(
    "unilm-10", "the target's last [SEP] is never masked", "it is a candidate in fine-tuning: else nothing ends",
    "src unilm-v1 seq2seq_loader.py", "data", "UNI-DATA-3", families=("unilm",),
    reason="rows differ, no tensor of a given batch does: tests/families/test_unilm.py asks the rows",
)  # fmt: skip
entry(
    "unilm-11", "no mask behind what is written, but another token", "a [MASK] at t + 1, of which the head is read",
    "own knowledge", "output", "UNI-GEN-1", families=("unilm",),
    going={"the end token in its place": lambda network, _: (
        network.start, replace(network, mask=network.settings["eos_token_id"]).step)},
)  # fmt: skip
