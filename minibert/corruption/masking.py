"""What all rules share: the vocabulary, the budget, which positions are candidates, and the target fields.

A rule of masked-token corruption is candidate units x a budget x a selection x a replacement:

    units        which positions fall together: pieces, words, entities             `units`
    budget       how many positions (or words) a row may lose                       `masking.budget`
    selection    which units: one by one, in n-grams, in spans, with replacement    `selection`
    replacement  what stands at a chosen position afterwards                        `replacement`

Each family's rule combines them in a few lines of `rules`. Everything works on whole batches, (B, T), and never writes
to its input; all randomness comes from the generator passed in, by `random` and `integers` alone, so that anything
with these two will do. Letters: B rows, T tokens, M target slots, V vocabulary.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert.errors import InputError

TOKENS = {"cls": "cls", "sep": "sep", "mask": "mask", "pad": "padding", "end": "end of text"}


class Vocabulary(NamedTuple):
    """What corruption must know of a vocabulary.

    cls, sep, mask, pad: ids, None where there is no such token: what puts it into rows refuses that (`need`).
    continues (V,): True for pieces that continue a word ("##…"). specials: all ids without a meaning of their own
    ([UNK] among them), which rules that draw ordinary tokens never draw. They may be chosen: no release forbids it.
    end: the id that stands behind every document, in rows that are packed with them.
    """

    size: int
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None
    pad: int | None = 0
    continues: np.ndarray | None = None
    specials: tuple[int, ...] = ()
    end: int | None = None

    def need(self, *roles: str) -> None:
        """InputError for a role that has no token."""
        for role in roles:
            if getattr(self, role) is None:
                raise InputError(f"this vocabulary has no {TOKENS[role]} token, which these rows are made with: "
                                 "take a family whose rows need none, or another vocabulary")  # fmt: skip

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """What a tokenizer says."""
        roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
        specials = tuple(sorted(tokenizer.special_ids))
        return cls(len(tokenizer), *roles, tokenizer.continues, specials, tokenizer.eos_id)

    @property
    def special(self) -> set[int]:
        """The ids of all special tokens there are."""
        return {self.cls, self.sep, self.mask, self.pad, *self.specials} - {None}

    @property
    def sentinels(self) -> int:
        """How many special tokens the vocabulary ends with: T5's, the first of them the last id."""
        special = self.special
        return next((n for n in range(self.size) if self.size - 1 - n not in special), self.size)


def candidates(ids: np.ndarray, present: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Bool (B, T): present and neither cls nor sep; [UNK] is a candidate, as in the releases."""
    ends = [end for end in (vocabulary.cls, vocabulary.sep) if end is not None]
    return np.logical_and.reduce([np.asarray(present, bool), *(ids != end for end in ends)])


def budget(length: np.ndarray, rate: float = 0.15, cap: int = 20) -> np.ndarray:
    """Positions to predict in rows of `length` tokens, special ones included: min(cap, max(1, round(rate * length))).

    Halves go to the even neighbour, as in Python 3 (10 -> 2, 30 -> 4, 50 -> 8); cap: max_predictions_per_seq.
    """
    return np.minimum(cap, np.maximum(1, np.rint(rate * np.asarray(length)).astype(np.int64)))


def targets(ids: np.ndarray, chosen: np.ndarray, slots: int) -> dict[str, np.ndarray]:
    """The published target fields, (B, slots): sorted positions, the original ids there, weight 1.0; the rest 0.

    chosen: bool (B, T), at most `slots` a row. Without a cap, ceil(rate * T) slots hold what any of the rules chooses.
    """
    rows, columns = np.nonzero(chosen)
    slot = (np.cumsum(chosen, axis=-1) - 1)[rows, columns]
    positions = np.zeros((len(ids), slots), np.int32)
    weights = np.zeros((len(ids), slots), np.float32)
    positions[rows, slot], weights[rows, slot] = columns, 1.0
    return slot_targets(ids, positions, weights)


def slot_targets(ids: np.ndarray, positions: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The same fields from positions and weights (B, M), as ELECTRA draws them: in any order, duplicates included."""
    labels = np.take_along_axis(ids, positions, axis=-1)
    return {
        "masked_lm_positions": positions.astype(np.int32),
        "masked_lm_ids": np.where(weights > 0, labels, 0).astype(np.int32),
        "masked_lm_weights": weights.astype(np.float32),
    }


def span_targets(
    ids: np.ndarray, candidates: np.ndarray, groups: np.ndarray, slots: int, max_span: int = 20
) -> dict[str, np.ndarray]:
    """Targets of SpanBERT's boundary objective (arXiv 1907.10529, section 3.2): a slot for each token of a span.

        span_boundaries  (B, slots, 2) int32   positions just left and just right of the span; right >= left + 2
        span_positions   (B, slots)    int32   i - s, the token's place in its span, from 0: the row of the release's
                                               position table, the paper's p with index i - s + 1
        span_ids         (B, slots)    int32   the original id

    ids: the original ones; groups (B, T): the span's number, -1 outside. Unused slots hold (0, 0), 0 and 0. As in the
    release a span beside a position that is no candidate ([CLS], [SEP]) has no boundary and is left out, and of a
    longer one the first max_span tokens remain. At most `slots` tokens a row, the foremost.
    """
    rows, width = ids.shape
    within = groups >= 0
    edge = np.pad(groups, ((0, 0), (1, 1)), constant_values=-2)
    begins, ends = within & (edge[:, :-2] != groups), within & (edge[:, 2:] != groups)
    at = np.arange(width)
    left = np.maximum.accumulate(np.where(begins, at, 0), axis=1) - 1
    right = np.minimum.accumulate(np.where(ends, at, width)[:, ::-1], axis=1)[:, ::-1] + 1
    inner = np.pad(candidates, ((0, 0), (1, 2)))  # inner[p + 1] is True where p is a candidate
    every = np.arange(rows)[:, None]
    place = at - left - 1
    used = within & inner[every, left + 1] & inner[every, np.minimum(right, width) + 1] & (place < max_span)
    slot = np.cumsum(used, axis=1) - 1
    used &= slot < slots
    row, column = np.nonzero(used)
    fields = {
        "span_boundaries": np.zeros((rows, slots, 2), np.int32),
        "span_positions": np.zeros((rows, slots), np.int32),
        "span_ids": np.zeros((rows, slots), np.int32),
    }
    values = np.stack([left, right], axis=-1), place, ids
    for field, value in zip(fields.values(), values, strict=True):
        field[row, slot[used]] = value[row, column]
    return fields
