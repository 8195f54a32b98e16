"""Which token stands for which entity, and entities that are replaced or hidden (Zhang et al., arXiv 1905.07129).

An entity stands at the first token of its mention; -1 (NONE) at all others, as in thunlp/ERNIE (`create_insts.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minibert.corruption.masking import Vocabulary

Array = np.ndarray

NONE = -1
REPLACED, HIDDEN = 0.05, 0.15  # shares of the entities; the rest is kept


def aligned(encoding: Any, links: Iterable[tuple[int, int, int]]) -> list[int]:
    """For each token of an encoded text the entity whose mention begins there; links: (first, end, entity) in
    characters. A mention that begins inside of a token stands at that token.
    """
    entities, left = [NONE] * len(encoding.ids), sorted(links)
    for at, (start, end) in enumerate(encoding.offsets):
        while left and start < end and left[0][0] < end:
            *_, entity = left.pop(0)
            entities[at] = entity if entities[at] == NONE else entities[at]
    return entities


def carried(
    documents: Sequence, entities: Sequence | None, vocabulary: Vocabulary,
    made: Callable[[list, Vocabulary], dict[str, Array]],
) -> dict[str, Array]:  # fmt: skip
    """Rows that `made` makes of tokenised documents, with "entity_ids" (N, T) int32, what their tokens stand for.

    The maker copies tokens, so it is given numbers of places in the text in the place of ids: behind the vocabulary's
    own, which it writes itself, as [CLS].
    """
    ids = [id for document in documents for sentence in document for id in sentence]
    own = [NONE] * len(ids)
    if entities is not None:
        own = [entity for document in entities for sentence in document for entity in sentence]
    token = np.array([*range(vocabulary.size), *ids], np.int32)
    entity = np.array([NONE] * vocabulary.size + own, np.int32)
    coded, at = [], vocabulary.size
    for document in documents:
        coded.append([])
        for sentence in document:
            coded[-1].append([*range(at, at + len(sentence))])
            at += len(sentence)
    rows = made(coded, vocabulary._replace(size=len(token)))
    places = rows["input_ids"]
    return {**rows, "input_ids": token[places], "entity_ids": entity[places]}


def denoising(entities: Array, rng: np.random.Generator) -> Array:
    """Entities (B, T) of which 5 % are replaced by others of these rows, any of them alike and perhaps by the same, and
    15 % are hidden.
    """
    there, u = entities >= 0, rng.random(entities.shape)
    known = np.unique(entities[there])
    others = rng.choice(known, entities.shape) if len(known) else entities
    now = np.where(u < REPLACED, others, np.where(u < REPLACED + HIDDEN, NONE, entities))
    return np.where(there, now, NONE).astype(entities.dtype)
