"""BERT's training instances under their seven published names, from documents of tokenised sentences.

    input_ids, input_mask, segment_ids                            (N, T) int32
    masked_lm_positions, masked_lm_ids, masked_lm_weights         (N, M) int32, int32, float32
    next_sentence_labels                                          (N,)   int32, 0 = is next, 1 = random

`instances` is the release's static masking: the corpus is passed over `duplicates` times, each time with new pairs
and new masks, once and for all. For dynamic masking keep the unmasked `pairs` and call `masked` on each batch: the
law of the masks is the same.
"""

from collections.abc import Sequence

import numpy as np

from minibert.corruption import masking, rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.sequences import Batch, pairs

__all__ = ["Batch", "instances", "masked", "pairs"]


def masked(
    pairs: Batch,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    rate: float = 0.15,
    max_predictions: int = 20,
    whole_words: bool = False,
    exclude: tuple[int, ...] = (),
) -> Batch:
    """The seven fields of unmasked pairs (all, or any rows of them) with freshly drawn masks; see `rules.bert`."""
    ids, rule = pairs["input_ids"], rules.whole_word if whole_words else rules.bert
    own = {"rate": rate, "cap": max_predictions, "starts": pairs.get("starts"), "exclude": exclude}
    made = rule(ids, pairs["input_mask"], rng, vocabulary, **own)
    targets = masking.targets(ids, made.chosen, max_predictions)
    return {
        "input_ids": made.ids,
        "input_mask": pairs["input_mask"],
        "segment_ids": pairs["segment_ids"],
        **targets,
        "next_sentence_labels": pairs["next_sentence_labels"],
    }


def instances(
    documents: Sequence[Sequence[Sequence[int]]],
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    max_length: int = 128,
    max_predictions: int = 20,
    rate: float = 0.15,
    short_rate: float = 0.1,
    duplicates: int = 10,
    whole_words: bool = False,
    exclude: tuple[int, ...] = (),
) -> Batch:
    """The release's whole data algorithm with static masking; documents[d][s] is the list of ids of a sentence."""
    made = pairs(documents, rng, vocabulary, max_length, short_rate, duplicates)
    return masked(made, rng, vocabulary, rate, max_predictions, whole_words, exclude)
