"""Rows and drawn orders of a permutation language model (Yang et al. 2019, arXiv 1906.08237; zihangdai/xlnet,
`data_utils.py`): which tokens are predicted, in which order, and who may see what before it is its turn.
"""

import numpy as np

from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

Array = np.ndarray
Rng = np.random.Generator

LONGEST = 5  # tokens of a span; of n with probability proportional to 1/n
CONTEXT = 6  # tokens of text for each that is predicted (mask_alpha / mask_beta)
IGNORED = -100
PUNCTUATION = frozenset('!"#$%&\"()*+,-./:;?@[\\]^_`{|}~')


def begins(piece: str) -> bool:
    """Whether a word begins with a SentencePiece, as the release has it: also with what stands in brackets."""
    return piece.startswith(("\u2581", "<")) or piece in PUNCTUATION


# ---- Rows ------------------------------------------------------------------------------------------------------------
def halves(
    documents: list, rng: Rng, vocabulary: Vocabulary, max_length: int = 64, duplicates: int = 1,
    both_ways: bool = False,
) -> dict[str, Array]:  # fmt: skip
    """Rows of running text, half a row of it, then A <sep> B <sep> <cls>, (N, T), T even.

        input_ids, token_type_ids (N, T) int32     types: 0 up to the first <sep>, 1 up to the second, <cls> 2
        backward (N,) int32                        with both_ways: 1 in the second half, whose text runs from its end

    A row goes on where half of the one before it ended. B follows A in half of the rows, else it is from elsewhere in
    the text; both are cut to the room there is, the longer one first. A pass takes documents in an order as drawn; the
    token `end` stands behind each, if there is one.
    """
    vocabulary.need("cls", "sep")
    room = max_length // 2 - 3
    if max_length % 2 or room < 2:
        raise InputError(f"rows of {max_length} tokens: give an even number, 10 or more")
    made: list[tuple[list[int], list[int], int]] = []
    for _ in range(duplicates):
        order = rng.random(len(documents)).argsort()
        end = [] if vocabulary.end is None else [[vocabulary.end]]
        sentences = [sentence for d in order.tolist() for sentence in (*documents[d], *end) if len(sentence)]
        ids = np.array([i for sentence in sentences for i in sentence], np.int64)
        turn = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
        for way in range(1 + both_ways):
            stream = [array[:: 1 - 2 * way] for array in (ids, turn)]
            made += [(*row, way) for row in _rows(*stream, rng, vocabulary, max_length, room)]
    if not made:
        raise InputError(f"the text is too short for a row of {max_length}: give more text, or shorter rows "
                         "(seq_length)")  # fmt: skip
    rows = {"input_ids": np.array([ids for ids, *_ in made], np.int32),
            "token_type_ids": np.array([types for _, types, _ in made], np.int32)}  # fmt: skip
    return {**rows, "backward": np.array([way for *_, way in made], np.int32)} if both_ways else rows


def _rows(ids: Array, turn: Array, rng: Rng, vocabulary: Vocabulary, length: int, room: int) -> list:
    """The rows of a stream of tokens; turn: the number of each one's sentence."""
    found, half = [], length // 2
    for begin in range(0, len(ids) - length + 1, half):
        parts = pair(turn, begin + half, room, rng)
        if parts is None:
            break
        (a, a_end), (b, b_end) = parts
        sep, first = vocabulary.sep, ids[begin : begin + half]
        text = [*first, *ids[a:a_end], sep, *ids[b:b_end], sep, vocabulary.cls]
        types = [0] * (half + a_end - a + 1) + [1] * (b_end - b + 1) + [2]
        found.append((text, types))
    return found


def pair(turn: Array, begin: int, room: int, rng: Rng) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where A and B begin and end, `room` tokens together; A at `begin`. None where the text ends before
    (`_split_a_and_b` in the release).
    """
    total = len(turn)
    if begin + room >= total:
        return None
    borders = (np.flatnonzero(np.diff(turn[begin:])) + begin + 1).tolist()
    cuts = [n for n in borders if n - begin < room]
    end = next((n for n in borders if n - begin >= room), total)
    if not cuts or rng.random() < 0.5:
        a_end = cuts[rng.integers(len(cuts))] if cuts else end
        size = max(1, room - (a_end - begin))
        b = int(rng.integers(0, total - size))
        b_end = b + size
        while b > 0 and turn[b - 1] == turn[b]:
            b -= 1
        while b_end < total - 1 and turn[b_end - 1] == turn[b_end]:
            b_end += 1
    else:
        b, b_end = cuts[rng.integers(len(cuts))], end
        a_end = b
    while a_end - begin + b_end - b > room:
        if a_end - begin > b_end - b:
            a_end -= 1
        else:
            b_end -= 1
    return None if max(a_end, b_end) >= total else ((begin, a_end), (b, b_end))


# ---- What is predicted -----------------------------------------------------------------------------------------------
def spans(starts: Array, goal: int, rng: Rng, backward: bool = False) -> Array:
    """Bool (T,): the `goal` tokens of a half that are predicted; starts: whether a word begins there, in text order
    (`_sample_mask` in the release).

    A span of n = 1 … 5 tokens lies in a context of 6n, at the first word that begins after a drawn part of it; what is
    missing in the end falls on any tokens. As in the release a span is n pieces, where the paper has n words: it asks
    of the span's first piece whether a word begins, again for every piece. backward: the text is sampled from its end.
    """
    starts = starts[::-1] if backward else starts
    chosen, at, count = np.zeros(len(starts), bool), 0, 0
    limits = np.cumsum(1 / np.arange(1, LONGEST + 1))
    while at < len(starts) and count < goal:
        n = 1 + int(np.searchsorted(limits[:-1], rng.random() * limits[-1], side="right"))
        n = min(n, goal - count)
        left = int(rng.integers(n * CONTEXT))
        begin = at + left
        while begin < len(starts) and not starts[begin]:
            begin += 1
        end = begin + n
        if end >= len(starts):
            break
        chosen[begin:end] = True
        count += n
        at = end + n * CONTEXT - left
    while count < min(goal, len(starts)):
        i = int(rng.integers(len(starts)))
        count += not chosen[i]
        chosen[i] = True
    return chosen[::-1] if backward else chosen


# ---- Who sees what ---------------------------------------------------------------------------------------------------
def local(chosen: Array, functional: Array, rank: Array) -> tuple[Array, Array]:
    """(perm_mask (T, T), 1 = hidden; which tokens are targets (T,)), from the tokens that are chosen and those that are
    <sep> or <cls>; rank (T,): the place of each in the order (`_local_perm` in the release).

    Tokens that are neither are seen by all, and see one another alone. The others see those, and what comes before
    them; a functional token itself, too, a target not.
    """
    told = ~chosen & ~functional
    targets = chosen & ~functional
    rank = np.where(told, -1, rank)
    own = np.where(targets, rank, rank + 1)
    return (own[:, None] <= rank) & ~told, targets


def hidden(order: Array, length: int) -> Array:
    """perm_mask (T, T) of T tokens of which these places are predicted one after another: `local` without functional
    tokens.
    """
    chosen, rank = np.zeros(length, bool), np.full(length, -1)
    chosen[order], rank[order] = True, np.arange(len(order))
    return local(chosen, np.zeros(length, bool), rank)[0].astype(np.int64)


def ranked(length: int, size: int, rng: Rng) -> Array:
    """The place of each of `length` tokens in an order (`_local_perm` in the release): one of `size` tokens is drawn,
    and holds for each `size` tokens after one another; 0: of all of them.
    """
    size = size or length
    own = rng.random(size).argsort()
    return np.concatenate([own + begin for begin in range(0, length, size)])


def ordered(
    rows: dict[str, Array], rng: Rng, vocabulary: Vocabulary, slots: int, starts: Array, size: int = 0
) -> dict[str, Array]:
    """The rows of `halves` with a drawn order of what is predicted of each half, and its targets:

        perm_mask (N, T, T) int8       1 = hidden; the first half does not see the second, which sees all of it
        target_mapping (N, M, T) int8  a target a row, in the order of the text; zeros where there are fewer than slots
        labels (N, M) int32            its token, -100 there

    starts (V,): whether a word begins with a piece. The first half gets the odd one of the slots; each half draws an
    order of its own. size: of what is drawn (`ranked`; perm_size in the release).
    """
    ids = rows["input_ids"]
    count, length = ids.shape
    half = length // 2
    functional = (ids == vocabulary.sep) | (ids == vocabulary.cls)
    masks = np.zeros((count, length, length), np.int8)
    masks[:, :half, half:] = 1
    mapping, labels = np.zeros((count, slots, length), np.int8), np.full((count, slots), IGNORED, np.int32)
    back = rows.get("backward", np.zeros(count))
    for n in range(count):
        targets = []
        for part, goal in ((slice(half), slots - slots // 2), (slice(half, length), slots // 2)):
            chosen = spans(starts[ids[n, part]], goal, rng, bool(back[n]))
            rank = ranked(half, size, rng)
            masks[n, part, part], own = local(chosen, functional[n, part], rank)
            targets += (np.flatnonzero(own) + part.start if part.start else np.flatnonzero(own)).tolist()
        mapping[n, np.arange(len(targets)), targets] = 1
        labels[n, : len(targets)] = ids[n, targets]
    return {**rows, "perm_mask": masks, "target_mapping": mapping, "labels": labels}
