"""Two grains of a text: its pieces, and coarse tokens, runs of whole words with several pieces (AMBERT, 2008.11869).

A coarse vocabulary is {ids of its pieces: its own id}; pieces that make up none are coarse tokens themselves, by the
ids that they have.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minibert.config import require
from minibert.corruption import masking
from minibert.corruption.masking import Vocabulary

Array = np.ndarray
Tree = dict[str, Any]
Known = Mapping[tuple[int, ...], int]

FILE = "coarse_vocab.txt"  # a coarse token a line, its pieces apart, in the order of the ids behind the pieces'


def counts(documents: list, starts: list | None, continues: Array, words: int, unknown: int) -> Counter:
    """How often runs of up to so many words stand in tokenised documents, of those with several pieces and none
    unknown; starts: for each token whether a word starts there, unless no piece continues one.
    """
    found: Counter = Counter()
    for d, document in enumerate(documents):
        for s, ids in enumerate(document):
            own = ~continues[ids] if starts is None else np.array(starts[d][s], bool) & ~continues[ids]
            at = [*np.flatnonzero(own).tolist(), len(ids)]
            for first in range(len(at) - 1):
                for last in range(first + 1, min(first + words, len(at) - 1) + 1):
                    if at[last] - at[first] > 1 and unknown not in ids[at[first] : at[last]]:
                        found[tuple(ids[at[first] : at[last]])] += 1
    return found


def coarse_tokens(ids: list[int], starts: list[bool], known: Known, longest: int) -> tuple[list[int], list[int]]:
    """(the coarse tokens of a row, for each piece the place of the coarse one that it is in): from the left the longest
    run of whole words that is known, else a piece.
    """
    at = [n for n, begins in enumerate(starts) if begins] + [len(ids)]
    borders, found, places = set(at), [], []
    n = 0
    while n < len(ids):
        ends = [m for m in range(min(len(ids), n + longest), n + 1, -1) if m in borders] if starts[n] else []
        end = next((m for m in ends if tuple(ids[n:m]) in known), n + 1)
        places += [len(found)] * (end - n)
        found.append(known[tuple(ids[n:end])] if end > n + 1 else ids[n])
        n = end
    return found, places


def of_rows(ids: Array, mask: Array, starts: Array, known: Known, pad: int | None) -> tuple[Array, Array]:
    """(coarse ids, padded with this id, places of the pieces in them, -1 at padding), both (B, T)."""
    longest = max(map(len, known), default=1)
    coarse, places = np.full_like(ids, pad or 0), np.full(ids.shape, -1)
    for b, length in enumerate(mask.sum(1).tolist()):
        found, own = coarse_tokens(ids[b, :length].tolist(), starts[b, :length].tolist(), known, longest)
        coarse[b, : len(found)], places[b, :length] = found, own
    return coarse, places


# ---- Masks -----------------------------------------------------------------------------------------------------------
def nested(
    rows: Tree, starts: Array, known: Known, rng: np.random.Generator, vocabulary: Vocabulary, *, rate: float,
    slots: int,
) -> Tree:  # fmt: skip
    """Both grains of these rows, so much of the coarse tokens masked, and with each all pieces within it, which share
    its draw of 80/10/10; the fields of the coarse ones begin with "coarse_".
    """
    ids, mask = rows["input_ids"], rows["input_mask"]
    coarse, places = of_rows(ids, mask, starts, known, vocabulary.pad)
    seen = np.arange(ids.shape[1]) < places.max(1)[:, None] + 1
    room = min(ids.shape[1], 3 * slots)  # of the pieces, of which a coarse token may have several
    chosen = _chosen(coarse, seen, places, rng, vocabulary, rate=rate, slots=slots, room=room)
    draws = rng.random(ids.shape)  # of each coarse token, for what is within it too
    inside = np.take_along_axis(chosen, np.maximum(places, 0), 1) & (places >= 0)
    own = np.take_along_axis(draws, np.maximum(places, 0), 1)
    size = vocabulary.size + len(known)
    coarse_targets = masking.targets(coarse, chosen, slots)
    return {
        "input_ids": _replaced(ids, inside, own, rng, vocabulary.mask, vocabulary.size),
        "input_mask": mask,
        "segment_ids": rows["segment_ids"],
        "coarse_ids": _replaced(coarse, chosen, draws, rng, vocabulary.mask, size),
        "coarse_attention_mask": seen.astype(np.int32),
        "coarse_token_type_ids": np.zeros_like(ids),
        **masking.targets(ids, inside, room),
        **{f"coarse_{name}": field for name, field in coarse_targets.items()},
    }


def _chosen(
    coarse: Array, seen: Array, places: Array, rng: np.random.Generator, vocabulary: Vocabulary, *, rate: float,
    slots: int, room: int,
) -> Array:  # fmt: skip
    """The chosen coarse tokens, bool (B, S): as many as BERT's budget allows of those that are there, drawn one after
    the other; one whose pieces have no slot left is passed over.
    """
    candidates = masking.candidates(coarse, seen, vocabulary)
    budget = masking.budget(seen.sum(1), rate, slots)
    chosen = np.zeros(coarse.shape, bool)
    for b, order in enumerate(rng.random(coarse.shape).argsort(1)):
        sizes, left, rest = np.bincount(places[b][places[b] >= 0], minlength=len(order)), budget[b], room
        for n in order.tolist():
            if left and candidates[b, n] and sizes[n] <= rest:
                chosen[b, n], left, rest = True, left - 1, rest - sizes[n]
    return chosen


def _replaced(ids: Array, chosen: Array, draws: Array, rng: np.random.Generator, mask: int, size: int) -> Array:
    """80 % of the chosen masked, 10 % as they are, 10 % any token, by their draws."""
    random = rng.integers(0, size, ids.shape)
    new = np.where(draws < 0.8, mask, np.where(draws < 0.9, ids, random))
    return np.where(chosen, new, ids).astype(ids.dtype)


# ---- A file ----------------------------------------------------------------------------------------------------------
def written(known: Known, tokens: Sequence[str]) -> str:
    """The text of FILE; tokens: the pieces by their ids."""
    ordered = sorted(known, key=known.__getitem__)
    return "".join(" ".join(tokens[i] for i in run) + "\n" for run in ordered)


def parsed(text: str, tokenizer: Any) -> dict[tuple[int, ...], int]:
    """The coarse vocabulary that a FILE says; InputError for a piece that the tokenizer does not have."""
    known: dict[tuple[int, ...], int] = {}
    for n, line in enumerate(text.splitlines()):
        pieces = line.split(" ")
        missing = next((piece for piece in pieces if piece not in tokenizer.index), None)
        require(missing is None, f"{FILE}, line {n + 1}: {missing!r} is no piece of this vocabulary")
        known[tuple(tokenizer.index[piece] for piece in pieces)] = len(tokenizer) + n
    return known
