"""Rows of conversations: roles, and a turn from elsewhere where they are fake."""

import numpy as np
import pytest

from minibert.corruption import dialogue
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError


def test_dialogue_rows_have_roles_and_one_turn_from_elsewhere_where_fake():
    turns = [[[4 + d * 20 + t * 4 + i for i in range(1 + (d + t) % 4)] for t in range(5)] for d in range(60)]
    made = dialogue.turns(turns, np.random.default_rng(0), Vocabulary(1300, 1, 2, 3), 20, 20)
    share = made["next_sentence_labels"].mean()
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / len(made["next_sentence_labels"]))
    for ids, mask, roles, label in zip(*made.values(), strict=True):
        ends = np.flatnonzero(ids == 2)
        assert len(ends) == 3
        assert mask.sum() == ends[-1] + 1
        starts = np.array([1, ends[0] + 1, ends[1] + 1])
        for start, end, role in zip(starts, ends, dialogue.ROLES, strict=True):
            assert (roles[start : end + 1] == role).all()
        conversations = (ids[starts] - 4) // 20
        assert len({*conversations.tolist()}) == (1 if label == dialogue.REAL else 2)
    cut = dialogue.turns([[[9] * 30, [8] * 2, [7] * 30]] * 2, np.random.default_rng(0), Vocabulary(10, 1, 2, 3), 20)
    assert (cut["input_mask"].sum(1) <= 20).all()
    with pytest.raises(InputError, match="two conversations"):
        dialogue.turns(turns[:1], np.random.default_rng(0), Vocabulary(1300, 1, 2, 3), 20)
