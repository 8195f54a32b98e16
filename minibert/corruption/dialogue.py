"""Rows of conversations: query, response, query, real or with one of them from elsewhere (ERNIE's dialogue model)."""

import numpy as np

from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

Batch = dict[str, np.ndarray]
FAKE, REAL = 0, 1  # ERNIE's polarity of next_sentence_labels, the opposite of BERT's
QUERY, RESPONSE = 0, 1  # roles, as segment_ids
ROLES = (QUERY, RESPONSE, QUERY)


def turns(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, max_length: int, duplicates: int = 1
) -> Batch:
    """[CLS] Q [SEP] R [SEP] Q [SEP] of three neighbouring turns (Sun et al., arXiv 1904.09223, section 3.3).

    documents: conversations of turns, the first, third, … the asker's; segment_ids are the roles, 0 the asker's and 1
    the other's, a [SEP] with its turn. In half of the rows one of the three, drawn, gives way to a turn of another
    conversation: next_sentence_labels 0 = fake, 1 = real. Turns that do not fit lose their last tokens, the longest
    first. Conversations of fewer than three turns are partners alone. InputError where there is no row.
    """
    vocabulary.need("cls", "sep", "pad")
    kept = [[turn for turn in document if len(turn)] for document in documents]
    kept = [document for document in kept if document]
    windows = [(d, t) for d, document in enumerate(kept) for t in range(0, len(document) - 2, 2)]
    if not windows or len(kept) < 2 or max_length < 7:
        raise InputError(f"rows of dialogue need 7 tokens, here are {max_length}, and two conversations, one of three "
                         f"turns, here are {len(kept)}: a line is a turn, a blank line stands between conversations")
    rows = {name: np.zeros((len(windows) * duplicates, max_length), np.int32)
            for name in ("input_ids", "input_mask", "segment_ids")}  # fmt: skip
    rows["input_ids"][:] = vocabulary.pad
    labels = np.full(len(windows) * duplicates, REAL, np.int32)
    order = rng.permuted(np.tile(np.arange(len(windows)), (duplicates, 1)), axis=1).reshape(-1)
    for row, window in enumerate(order.tolist()):
        d, t = windows[window]
        parts = list(kept[d][t : t + 3])
        if rng.random() < 0.5:
            other = int(rng.integers(0, len(kept) - 1))
            other += other >= d
            parts[int(rng.integers(0, 3))] = kept[other][int(rng.integers(0, len(kept[other])))]
            labels[row] = FAKE
        ids, roles = [vocabulary.cls], [QUERY]
        for part, room, role in zip(parts, _fitted([len(part) for part in parts], max_length - 4), ROLES, strict=True):
            ids += [*part[:room], vocabulary.sep]
            roles += [role] * (room + 1)
        rows["input_ids"][row, : len(ids)], rows["segment_ids"][row, : len(ids)] = ids, roles
        rows["input_mask"][row, : len(ids)] = 1
    return {**rows, "next_sentence_labels": labels}


def _fitted(lengths: list[int], room: int) -> list[int]:
    """The lengths cut so that they fit together: every longest one to the same number."""
    left, fitted = room, [0] * len(lengths)
    for n, i in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        fitted[i] = min(lengths[i], left // (len(lengths) - n))
        left -= fitted[i]
    return fitted
