"""Masked-token corruption = candidate units x a budget x a replacement rule.

    units        which positions fall together: single pieces, whole words, given spans          `units`
    budget       how many positions a row may lose                                               `budget`
    selection    units in random order, each taken whole if it still fits                        `selection`
    replacement  what stands at a chosen position afterwards                                     `replacement`

A family's rule combines them in a few lines, as `masking` does for BERT (Devlin et al., arXiv 1810.04805, 3.1; the
release's create_pretraining_data.py). Everything works on whole batches, (B, T), and never writes to its input; all
randomness comes from the generator passed in. Letters: B rows, T tokens, M target slots, V vocabulary.
"""

from typing import NamedTuple

import numpy as np

from minibert.errors import InputError


class Vocabulary(NamedTuple):
    """What masking must know of a vocabulary; `continues` (V,) is True for pieces that continue a word ("##…")."""

    size: int
    cls: int
    sep: int
    mask: int
    pad: int = 0
    continues: np.ndarray | None = None


def units(candidates: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(B, T) index of each candidate's unit within its row, -1 elsewhere, from bool (B, T) candidates and starts.

    A candidate that starts no unit joins the unit before it, even across positions that are no candidates: in the
    release a "##" piece behind [SEP] joins the last word of the first segment. A row's first candidate always
    starts one. Single pieces: starts = candidates; whole words: starts = not continues[ids]; or hand in a
    segmentation.
    """
    first = candidates & (np.cumsum(candidates, axis=-1) == 1)
    index = np.cumsum(candidates & (starts | first), axis=-1) - 1
    return np.where(candidates, index, -1)


def budget(length: np.ndarray, rate: float = 0.15, cap: int = 20) -> np.ndarray:
    """Positions to predict in rows of `length` tokens, special ones included: min(cap, max(1, round(rate * length))).

    Halves go to the even neighbour, as in Python 3 (10 -> 2, 30 -> 4, 50 -> 8); cap: max_predictions_per_seq.
    """
    return np.minimum(cap, np.maximum(1, np.rint(rate * np.asarray(length)).astype(np.int64)))


def selection(units: np.ndarray, budget: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bool (B, T): units taken whole, in random order, each unless it would exceed what is left of the row's budget.

    units (B, T) as from `units`; budget (B,). With whole words a row may stay below its budget, and even empty,
    when no remaining word fits; with single pieces it is an exact uniform draw without replacement.
    """
    rows, width = units.shape
    taken = np.zeros((rows, width), bool)
    row, _ = inside = np.nonzero(units >= 0)
    if not row.size:
        return taken
    flat = row * width + units[inside]
    size = np.bincount(flat, minlength=rows * width).reshape(rows, width)  # of unit u in column u, 0: no such unit
    order = np.argsort(np.where(size > 0, rng.random((rows, width)), 2.0), axis=-1)
    left = np.array(budget)
    every = np.arange(rows)
    for unit in order.T[: size.astype(bool).sum(axis=-1).max()]:  # every row's next unit
        if not left.any():
            break
        fits = (size[every, unit] <= left) & (size[every, unit] > 0)
        taken[every, unit] = fits
        left -= np.where(fits, size[every, unit], 0)
    chosen = np.zeros((rows, width), bool)
    chosen[inside] = taken.reshape(-1)[flat]
    return chosen


def replacement(
    labels: np.ndarray,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    mask: float = 0.8,
    keep: float = 0.1,
    exclude: tuple[int, ...] = (),
) -> np.ndarray:
    """(n,) what stands in place of the chosen tokens `labels` (n,): [MASK], the token itself, or a random token.

    One draw a position decides among the three, also inside a word. A random token is uniform over the whole
    vocabulary, special tokens and the original included, as in the release; `exclude` lists ids never drawn.
    """
    pool = np.setdiff1d(np.arange(vocabulary.size), exclude) if exclude else None
    draw = rng.random(labels.size)
    random = rng.integers(0, vocabulary.size if pool is None else pool.size, labels.size)
    random = random if pool is None else pool[random]
    return np.where(draw < mask, vocabulary.mask, np.where(draw < mask + keep, labels, random)).astype(labels.dtype)


def masking(
    ids: np.ndarray,
    present: np.ndarray,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    rate: float = 0.15,
    cap: int = 20,
    whole_words: bool = False,
    exclude: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """BERT's rule: (corrupted ids, chosen bool), each (B, T), from ids (B, T) and present (B, T), 0 at padding.

    [CLS], [SEP] and padding are never chosen; [UNK] may be, as in the release. whole_words needs
    `vocabulary.continues`.
    """
    if whole_words and vocabulary.continues is None:
        raise InputError("whole words need to know which pieces continue a word: give vocabulary.continues")
    present = np.asarray(present, bool)
    candidates = present & (ids != vocabulary.cls) & (ids != vocabulary.sep)
    starts = ~vocabulary.continues[ids] if whole_words else candidates
    chosen = selection(units(candidates, starts), budget(present.sum(axis=-1), rate, cap), rng)
    corrupted = ids.copy()
    corrupted[chosen] = replacement(ids[chosen], rng, vocabulary, exclude=exclude)
    return corrupted, chosen


def targets(ids: np.ndarray, chosen: np.ndarray, slots: int) -> dict[str, np.ndarray]:
    """The published target fields, (B, slots): sorted positions, the original ids there, weight 1.0; the rest 0."""
    rows, positions = np.nonzero(chosen)
    slot = (np.cumsum(chosen, axis=-1) - 1)[rows, positions]
    fields = {
        "masked_lm_positions": np.zeros((len(ids), slots), np.int32),
        "masked_lm_ids": np.zeros((len(ids), slots), np.int32),
        "masked_lm_weights": np.zeros((len(ids), slots), np.float32),
    }
    for field, values in zip(fields.values(), (positions, ids[rows, positions], 1.0), strict=True):
        field[rows, slot] = values
    return fields
