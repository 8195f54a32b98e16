"""MPNet's rows and targets: RoBERTa's rows, of which the last places of an order that is drawn are predicted.

Song, Tan, Qin, Lu, Liu, 2020, arXiv 2004.09297, section 3.1; released code: microsoft/MPNet (`masked_dataset.py`,
`span_perm`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.corruption import masking
from minibert.corruption import sequences as makers
from minibert.corruption import units as unit
from minibert.corruption.masking import Vocabulary
from minibert.corruption.replacement import replacement
from minibert.options import option

Array = np.ndarray
Tree = dict[str, Any]
MODES = ("mpnet", "plm", "mlm")


@dataclass(frozen=True)
class Permuted(options.Masked):
    """What the data functions ask for."""

    input_mode: str = option("mpnet", "predict tokens in a drawn order (mpnet), without a look at the places of those "
                             "to come (plm), or each by itself (mlm)", among=MODES)  # fmt: skip
    whole_words: bool = option(False, "permute words as a whole, pieces only among those that are predicted")


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Permuted, marked: Any = None) -> Tree:
    """RoBERTa's FULL-SENTENCES, nothing masked yet: the release's `--sample-break-mode complete`."""
    made = makers.full_sentences(documents, rng, vocabulary, data.seq_length, data.duplicates)
    return {name: made[name] for name in ("input_ids", "input_mask")}


def permuted(ids: Array, rng: np.random.Generator, vocabulary: Vocabulary, tail: int, whole_words: bool) -> Array:
    """An order of all places of each row, (B, T), <s>, </s> and padding among them: words as a whole where they are,
    the last `tail` shuffled once more (`span_perm` in the release).
    """
    every = np.ones(ids.shape, bool)
    number = unit.units(every, unit.word_starts(ids, vocabulary) if whole_words else every)
    drawn = np.take_along_axis(rng.random(ids.shape), number, 1)
    order = np.argsort(drawn, axis=1, kind="stable")
    last = order[:, -tail:]
    order[:, -tail:] = np.take_along_axis(last, rng.random(last.shape).argsort(1), 1)
    return order


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Permuted, studied: Any = None) -> Tree:
    """These rows with their last `slots` places in a drawn order predicted, 80/10/10 on them ("plm": all masked); what
    is padding there counts for nothing.
    """
    ids, present = rows["input_ids"], rows["input_mask"]
    places = permuted(ids, rng, vocabulary, data.slots, data.whole_words)[:, -data.slots :]
    labels, weights = (np.take_along_axis(array, places, 1) for array in (ids, present))
    only = {"mask": 1.0} if data.input_mode == "plm" else {"exclude": vocabulary.special - {vocabulary.mask}}
    new = replacement(labels.reshape(-1), rng, vocabulary, **only).reshape(labels.shape)
    corrupted = ids.copy()
    np.put_along_axis(corrupted, places, np.where(weights, new, labels), 1)
    return {**rows, "input_ids": corrupted, **masking.slot_targets(ids, np.where(weights, places, 0), weights)}
