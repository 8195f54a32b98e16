"""Sentences in their order: groups of them, or one with that before and that behind it in its document.

    groups      input_ids, attention_mask (N, C, T) int32, sentence_places (N, C): 0, 1, …, -100 where there is none
    triples     input_ids, attention_mask (N, T) int32; previous_labels, next_labels (N, T): the sentence before and
                behind and their end token, -100 where nothing is asked; decoder_attention_mask (N, T): as far as the
                longer of the two goes

A sentence that is read stands between [CLS] and [SEP]; what is longer than a row is cut. Rows come in random order.
"""

from collections.abc import Sequence

import numpy as np

from minibert.config import require
from minibert.corruption.masking import Vocabulary

Batch = dict[str, np.ndarray]
IGNORED = -100
Documents = Sequence[Sequence[Sequence[int]]]


def _read(sentences: Sequence[Sequence[int]], vocabulary: Vocabulary, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids (N, length), bits) of sentences as an encoder reads them."""
    ids = np.full((len(sentences), length), vocabulary.pad, np.int32)
    there = np.zeros_like(ids)
    for n, sentence in enumerate(sentences):
        row = [vocabulary.cls, *sentence[: length - 2], vocabulary.sep]
        ids[n, : len(row)], there[n, : len(row)] = row, 1
    return ids, there


def groups(
    documents: Documents, rng: np.random.Generator, vocabulary: Vocabulary, length: int, several: int, passes: int
) -> Batch:  # fmt: skip
    """Rows of `several` consecutive sentences of the text, as released: documents stand end to end. At each pass they
    are cut at other places; a text of fewer sentences is one row.
    """
    vocabulary.need("cls", "sep", "pad")
    text, made = [sentence for document in documents for sentence in document if sentence], []
    require(len(text) > 1, "the text has no two sentences: give more, in their order")
    for _ in range(passes):
        first = int(rng.integers(len(text) % several + 1))
        made += [text[at : at + several] for at in range(first, len(text) - several + 1, several)]
    made = made or [text]
    order = rng.permutation(len(made))
    ids = np.full((len(made), several, length), vocabulary.pad, np.int32)
    there, places = np.zeros_like(ids), np.full((len(made), several), IGNORED, np.int32)
    for row, number in enumerate(order.tolist()):
        group = made[number]
        ids[row, : len(group)], there[row, : len(group)] = _read(group, vocabulary, length)
        places[row, : len(group)] = np.arange(len(group))
    return {"input_ids": ids, "attention_mask": there, "sentence_places": places}


def triples(
    documents: Documents, rng: np.random.Generator, vocabulary: Vocabulary, length: int, passes: int
) -> Batch:  # fmt: skip
    """A row for each sentence that has one before and one behind it in its document."""
    vocabulary.need("cls", "sep", "pad")
    texts = [[s for s in document if s] for document in documents]
    found = [text[i - 1 : i + 2] for text in texts for i in range(1, len(text) - 1)]
    require(bool(found), "no document has three sentences: give texts of several, in their order")
    order = np.concatenate([rng.permutation(len(found)) for _ in range(passes)])
    ids, there = _read([found[n][1] for n in range(len(found))], vocabulary, length)
    made = {"input_ids": ids, "attention_mask": there}
    for side, name in ((0, "previous_labels"), (2, "next_labels")):
        labels = np.full(ids.shape, IGNORED, np.int32)
        for n, triple in enumerate(found):
            row = [*triple[side][: length - 1], vocabulary.sep]
            labels[n, : len(row)] = row
        made[name] = labels
    both = (made["previous_labels"] != IGNORED) | (made["next_labels"] != IGNORED)
    made["decoder_attention_mask"] = both.astype(np.int32)
    return {name: array[order] for name, array in made.items()}
