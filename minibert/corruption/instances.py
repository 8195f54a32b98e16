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

from minibert.corruption import masking
from minibert.corruption.masking import Vocabulary
from minibert.corruption.sentence_pairs import sentence_pairs
from minibert.errors import InputError

Batch = dict[str, np.ndarray]


def pairs(
    documents: Sequence[Sequence[Sequence[int]]],
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    max_length: int = 128,
    short_rate: float = 0.1,
    duplicates: int = 1,
) -> Batch:
    """Unmasked input_ids, input_mask, segment_ids (N, T = max_length), next_sentence_labels (N,), in random order.

    Empty sentences and documents are passed over. The release shuffles the documents first; as all pairs are
    shuffled in the end and documents are drawn uniformly, that changes nothing, and it is left out. InputError:
    ids outside the vocabulary, no tokens, max_length under 5.
    """
    if max_length < 5:
        raise InputError(f"max_length {max_length} is too short for [CLS] a [SEP] b [SEP]: give 5 or more")
    ids, sentences, borders = _flat(documents, vocabulary)
    passes = [sentence_pairs(sentences, borders, rng, max_length - 3, short_rate) for _ in range(duplicates)]
    return _assembled(ids, rng.permutation(np.concatenate(passes)), vocabulary, max_length)


def masked(
    pairs: Batch,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    rate: float = 0.15,
    max_predictions: int = 20,
    whole_words: bool = False,
    exclude: tuple[int, ...] = (),
) -> Batch:
    """The seven fields of unmasked pairs (all, or any rows of them) with freshly drawn masks; see `masking.masking`."""
    ids = pairs["input_ids"]
    corrupted, chosen = masking.masking(
        ids, pairs["input_mask"], rng, vocabulary, rate, max_predictions, whole_words, exclude
    )
    targets = masking.targets(ids, chosen, max_predictions)
    return {
        "input_ids": corrupted,
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


def _flat(
    documents: Sequence[Sequence[Sequence[int]]], vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ids in one array, the sentences' offsets in it, the documents' offsets among the sentences."""
    kept = [[sentence for sentence in document if len(sentence)] for document in documents]
    kept = [document for document in kept if document]
    if not kept:
        raise InputError("no tokens to make instances of: every document is empty")
    lengths = [len(sentence) for document in kept for sentence in document]
    flat = (i for document in kept for sentence in document for i in sentence)
    ids = np.fromiter(flat, np.int64, count=sum(lengths))
    if ids.min() < 0 or ids.max() >= vocabulary.size:
        wrong = ids[(ids < 0) | (ids >= vocabulary.size)][0]
        raise InputError(f"token id {wrong} lies outside the vocabulary of {vocabulary.size}: check the tokenizer")
    borders = np.cumsum([0, *map(len, kept)])
    return ids.astype(np.int32), np.cumsum([0, *lengths]), borders


def _assembled(ids: np.ndarray, pairs: np.ndarray, vocabulary: Vocabulary, width: int) -> Batch:
    """[CLS] A [SEP] B [SEP] and padding, (N, width), from the flat ids and pairs (N, 5)."""
    a_start, a_stop, b_start, b_stop, label = (column[:, None] for column in pairs.T)
    at = np.arange(width)[None, :]
    a_sep = 1 + a_stop - a_start  # position of the first [SEP]
    b_sep = a_sep + 1 + b_stop - b_start
    source = np.where(at < a_sep, a_start + at - 1, b_start + at - a_sep - 1)
    input_ids = ids[np.clip(source, 0, len(ids) - 1)]
    input_ids[:, 0] = vocabulary.cls
    input_ids[(at == a_sep) | (at == b_sep)] = vocabulary.sep
    input_ids[at > b_sep] = vocabulary.pad
    return {
        "input_ids": input_ids,
        "input_mask": (at <= b_sep).astype(np.int32),
        "segment_ids": ((at > a_sep) & (at <= b_sep)).astype(np.int32),
        "next_sentence_labels": label[:, 0].astype(np.int32),
    }
