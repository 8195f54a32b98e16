"""StructBERT: shuffled runs asked for by BERT's head, pairs of three classes; BERT where these are off."""

import numpy as np
import pytest
from published import Published, example, probed
from twins.structbert import terms, three_classes

from minibert import tree
from minibert.corruption import sentence_pairs, sequences
from minibert.corruption.masking import Vocabulary
from minibert.families import structbert

PUBLISHED = [
    Published(
        "structbert",
        "BertForPreTraining",
        labels={"masked": "masked_lm", "shuffled": "shuffled_words", "structure": "sentence_structure"},
        twin=three_classes,
        terms=terms,
    )
]
DIRECTORIES = {"BertForMaskedLM": {"mlm"}, "BertModel": {"pooler"}}
PARAMETERS = [({}, (), 110_107_197), ({}, ("nsp",), 110_104_890)]


def test_with_its_parts_off_it_is_bert_to_the_last_bit():
    """Nothing shuffled, and a third class that nobody asks for and no softmax sees: BERT's loss and gradients."""
    theirs, ours = probed("bert", 3), probed("structbert", 3)
    batch = example(theirs)
    for path, value in tree.items(theirs.params):
        if not path.startswith("nsp."):
            tree.get(ours.params, path)[...] = value
    for name, off in (("weight", 0.0), ("bias", -1e5)):
        two = theirs.params["nsp"][name]
        ours.params["nsp"][name][...] = np.concatenate([two, off + 0 * two[:1]])
    given = {**example(ours), **batch, "sentence_structure_labels": batch["next_sentence_labels"]}
    del given["next_sentence_labels"]
    given["shuffled_weights"] = 0 * given["shuffled_weights"]
    (loss, c), (mine, own) = theirs.loss(batch), ours.loss(given)
    assert mine == loss
    g, due = (tree.flatten(model.loss_backward(cache)) for model, cache in ((ours, own), (theirs, c)))
    assert all(np.array_equal(g[path], due[path]) for path in due if not path.startswith("nsp."))
    assert np.array_equal(g["nsp.weight"][:2], due["nsp.weight"])
    shuffled = ours.loss({**given, "shuffled_weights": 1 + given["shuffled_weights"]})[0]
    assert abs(shuffled - loss) > 1e-3


VOCABULARY = Vocabulary(600, 1, 2, 3, 0, np.arange(600) < 0, (0, 1, 2, 3))


def drawn(**options):
    """(unmasked rows, their corrupted batch, where it is masked, where shuffled) of 4000 rows of distinct tokens."""
    rng = np.random.default_rng(5)
    ids = 4 + rng.permuted(np.tile(np.arange(596), (4000, 1)), axis=1)[:, :64].astype(np.int32)
    ids[:, 0], ids[:, 30], ids[:, 60] = 1, 2, 2
    present = np.ones_like(ids)
    ids[:, 61:], present[:, 61:] = 0, 0
    rows = {"input_ids": ids, "input_mask": present, "segment_ids": 0 * ids, "sentence_structure_labels": ids[:, 0]}
    batch = structbert.corrupt(rows, rng, VOCABULARY, structbert.Data(**options))
    found = []
    for name in ("masked_lm", "shuffled"):
        where, used = np.zeros(ids.shape, int), batch[f"{name}_weights"] > 0
        at = np.nonzero(used)[0], batch[f"{name}_positions"][used]
        np.add.at(where, at, 1)
        assert where.max() <= 1
        assert np.array_equal(ids[at], batch[f"{name}_ids"][used])  # what stood there before
        found.append(where == 1)
    return rows, batch, *found


@pytest.mark.parametrize("length", [2, 3, 5])
def test_runs_are_shuffled_apart_from_masks_and_keep_their_tokens(length):
    """About 5 % of what is free; a run's tokens stay a multiset; a token stays in its place once in `length` times."""
    rows, batch, masked, shuffled = drawn(shuffle_length=length)
    ids, now = rows["input_ids"], batch["input_ids"]
    assert not (masked & shuffled).any()
    assert np.array_equal(now[~masked & ~shuffled], ids[~masked & ~shuffled])
    assert not np.isin(ids[shuffled], (0, 1, 2)).any()
    inside = np.where(shuffled, np.cumsum(shuffled, 1) - 1, -1)  # runs may touch: cut by their length
    starts = shuffled & (inside % length == 0)
    row, at = np.nonzero(starts)
    runs = at[:, None] + np.arange(length)
    assert len(row) * length == shuffled.sum()
    assert shuffled[row[:, None], runs].all()
    old, new = ids[row[:, None], runs], now[row[:, None], runs]
    assert np.array_equal(np.sort(old), np.sort(new))
    free = int((np.isin(ids, (0, 1, 2)) | masked).__invert__().sum())
    runs_due = free * 0.05 / length
    assert abs(len(row) - runs_due) < 5 * np.sqrt(0.25 * 4000)
    same = (old == new).sum()
    assert abs(same / old.size - 1 / length) < 5 * np.sqrt(1 / old.size)
    identical = (old == new).all(1).mean()
    due = 1 / np.prod(np.arange(1, length + 1))
    assert abs(identical - due) < 5 * np.sqrt(due * (1 - due) / len(row))


def test_nothing_is_shuffled_where_nothing_is_asked_for():
    *_, shuffled = drawn(shuffle_rate=0.0)
    assert not shuffled.any()


def test_pairs_are_of_three_equal_classes_and_labelled_by_where_they_stand():
    """No token twice: its number says where it stood. 0 elsewhere, 1 next, 2 previous."""
    documents = [[[4 + d * 60 + s * 3 + i for i in range(3)] for s in range(1 + d % 20)] for d in range(200)]
    vocabulary = Vocabulary(4 + 200 * 60, 1, 2, 3, 0)
    made = sequences.structured_pairs(documents, np.random.default_rng(1), vocabulary, 24, 0.1, 230)
    labels = made["sentence_structure_labels"]
    assert len(labels) > 100_000
    plain = (made["input_mask"] == 1) & (made["input_ids"] > 3)
    a, b = ([ids[there & (types == n)] for ids, there, types in
             zip(made["input_ids"], plain, made["segment_ids"], strict=True)] for n in (0, 1))  # fmt: skip
    one = np.array([(x[0] - 4) // 60 == (y[0] - 4) // 60 for x, y in zip(a, b, strict=True)])
    forward = np.array([x[0] < y[0] for x, y in zip(a, b, strict=True)])
    due = np.where(one, np.where(forward, sentence_pairs.NEXT, sentence_pairs.PREVIOUS), sentence_pairs.ELSEWHERE)
    assert np.array_equal(due, labels)
    share = np.bincount(labels, minlength=3) / len(labels)
    assert np.abs(share - 1 / 3).max() < 5 * np.sqrt(2 / 9 / len(labels)), share
