"""BART's noises: shares over 100,000 draws, the law of the spans, what can be undone, what a wrong one would show."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from chance import Z, chi_square, deviation, frozen
from hypothesis import given
from hypothesis import strategies as st

from minibert.corruption import denoising
from minibert.corruption.denoising import IGNORED, NOISES, Denoised, Text
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.golden.draws import Draws

BOS, PAD, EOS, MASK, SIZE = 0, 1, 2, 49, 50
CONTINUES = np.arange(SIZE) % 3 == 2
CONTINUES[[EOS]] = False
VOCABULARY = Vocabulary(SIZE, BOS, EOS, MASK, PAD, frozen(CONTINUES), (BOS, PAD, EOS, MASK))
DRAWS = 100_000
SENTENCES = [[6, 8, 9, 10, 11], [12], [13, 15, 17, 16, 19, 20], [21, 22, 24]]  # 12 words: those of 8, 11, 17, 20 go on


def text(sentences=SENTENCES):
    ids = np.array([i for sentence in sentences for i in sentence], np.int32)
    starts = np.array([i == 0 for sentence in sentences for i, _ in enumerate(sentence)], bool)
    made = denoising.text(ids, VOCABULARY, starts)
    frozen(*made)
    return made


def noised(noise, seed=0, given=None, rng=None, **own):
    return denoising.noised(given or text(), rng or np.random.default_rng(seed), VOCABULARY,
                            Denoised(noise=noise, **{"random": 0.0, **own}))  # fmt: skip


def undone(before: Text, after: Text) -> list[int]:
    """The text again, from what is left of it and what stood at the places of masks ("given the spans")."""
    stands_for = [np.flatnonzero(after.place == at) for at in range(len(after.ids))]
    pieces = []
    for token, places in zip(after.ids.tolist(), stands_for, strict=True):
        if token != MASK:
            assert before.ids[places].tolist() == [token]  # what is no mask is itself
        pieces += [(int(at), int(before.ids[at])) for at in places]
    lost = np.flatnonzero(after.place < 0)
    pieces += [(int(at), int(before.ids[at])) for at in lost]
    return [token for _, token in sorted(pieces)]


TEXTS = st.lists(st.lists(st.integers(3, MASK - 1), min_size=1, max_size=9), min_size=1, max_size=5)


@given(TEXTS, st.sampled_from([*NOISES, "permutation+infilling", "deletion+rotation", "masking+sentence-masking"]),
       st.sampled_from([0.1, 0.3, 0.9]), st.integers(0, 99))  # fmt: skip
def test_every_noise_can_be_undone_and_is_a_function_of_its_draws(sentences, noise, rate, seed):
    before = text(sentences)
    after, again = (noised(noise, seed, before, rate=rate) for _ in range(2))
    for one, two in zip(after, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(after.ids) == len(after.words) == len(after.sentences)
    assert undone(before, after) == before.ids.tolist()
    assert after.ids.dtype == np.int32
    if "deletion" not in noise:
        assert (after.place >= 0).all()
    noised(noise, given=before, rng=Draws(3, "noise"))  # portable draws do


def test_a_text_without_a_token_stays_one():
    empty = Text(np.zeros(0, np.int32), *[np.zeros(0, bool)] * 2, np.zeros(0, np.int64))
    for noise in NOISES:
        assert len(noised(noise, given=empty).ids) == 0


# ---- Lengths ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mean", "entries", "none"), [(3.0, 18, 0.0498), (3.5, 19, 0.0302)])
def test_the_law_of_the_spans_is_poissons(mean, entries, none):
    law = denoising.poisson(mean)
    assert len(law) == entries
    assert round(law[0], 4) == none
    due = [mean**k * math.exp(-mean) / math.factorial(k) for k in range(entries)]
    np.testing.assert_allclose(law, due, rtol=1e-6)  # cut off at 1e-7
    assert due[-1] < 1e-7 < due[-2]
    assert abs(law.sum() - 1) < 1e-15
    rng = np.random.default_rng(5)
    drawn = np.concatenate([denoising.spans(300_000, rng, law)])
    seen = np.bincount(drawn[:-1], minlength=entries)
    assert seen.sum() >= DRAWS * 2 // 3
    assert chi_square(seen, law * seen.sum()) < 5
    assert chi_square(seen, denoising.poisson(mean + 0.05)[:entries] * seen.sum()) > 5  # planted
    assert drawn.sum() == 300_000  # the last one is cut


@given(st.integers(0, 200), st.integers(0, 99))
def test_spans_hide_exactly_what_is_due(count, seed):
    lengths = denoising.spans(count, np.random.default_rng(seed), denoising.poisson(3.0))
    assert lengths.sum() == count
    assert count == 0 or lengths[-1] > 0


def test_a_mean_whose_law_begins_below_the_cut():
    law = denoising.poisson(20.0)
    assert abs((law * np.arange(len(law))).sum() - 20) < 1e-4


# ---- The noises ------------------------------------------------------------------------------------------------------
def test_shares_of_masks_and_random_tokens():
    """30 % of the tokens exactly, any as likely; of the masks a tenth is another token, any but <s>."""
    before, rng = text(SENTENCES * 20), np.random.default_rng(2)
    count, own = 90, SIZE - 1  # 0.3 * 300; tokens that may be drawn
    made = [noised("masking", given=before, rng=rng, random=0.1) for _ in range(DRAWS // count + 1)]
    changed = np.array([after.ids != before.ids for after in made])
    masked = np.array([after.ids == MASK for after in made])
    draws = count * len(made)
    assert draws >= DRAWS
    assert deviation(masked.sum(), draws, 0.9 + 0.1 / own) < Z
    assert deviation(changed.sum(), draws, 1 - 0.1 / own) < Z
    assert deviation(masked.sum(), draws, 0.8) > Z
    assert abs(chi_square(masked.sum(0), np.full(300, masked.sum() / 300))) < 7  # of 300 places that share their sum
    other = np.concatenate([after.ids[row] for after, row in zip(made, changed & ~masked, strict=True)])
    assert sorted(set(other.tolist())) == [i for i in range(SIZE) if i not in (BOS, MASK)]


def test_deletion_keeps_the_order_of_what_it_leaves():
    before, rng = text(), np.random.default_rng(2)
    gone = np.zeros(15)
    for _ in range(DRAWS // 100):
        after = noised("deletion", given=before, rng=rng)
        assert len(after.ids) == 10
        there = iter(before.ids.tolist())
        assert all(token in there for token in after.ids.tolist())  # a subsequence
        gone += after.place < 0
    assert chi_square(gone, np.full(15, gone.sum() / 15)) < 5


def test_infilling_hides_words_and_puts_one_mask_for_a_span():
    before, rng = text(), np.random.default_rng(3)
    word = np.cumsum(before.words) - 1
    hidden, empty, draws = Counter(), 0, 0
    for _ in range(2000):
        after = noised("infilling", given=before, rng=rng)
        masks = np.flatnonzero(after.ids == MASK)
        sizes = [int((after.place == at).sum()) for at in masks]
        empty, draws = empty + sizes.count(0), draws + len(sizes)
        gone = after.ids[after.place] == MASK
        assert len(after.ids) == 15 - gone.sum() + len(masks)  # infilling length = L - sum(len) + #spans
        whole = np.bincount(word[gone], minlength=11)
        assert set(whole[whole > 0]) <= {1, 2, 3}
        assert (whole[whole > 0] == np.bincount(word)[whole > 0]).all()
        hidden[int((whole > 0).sum())] += 1
    assert max(hidden) == 4
    assert hidden[4] > 1250
    # 0, 0, … before the one that completes: as many spans of none as Poisson's law has, seen until 4 words are hidden
    assert 0.02 < empty / draws < 0.08


def test_a_span_of_no_words_is_a_mask_where_nothing_was_hidden(monkeypatch):
    monkeypatch.setattr(denoising, "spans", lambda count, rng, law: np.array([0, 2, 0]))
    before = text()
    slots = np.zeros(18)
    for seed in range(400):
        after = noised("infilling", seed, before)
        masks = np.flatnonzero(after.ids == MASK)
        sizes = sorted(int((after.place == at).sum()) for at in masks)
        assert len(masks) == 3
        assert sizes[:2] == [0, 0]
        assert 1 <= sizes[2] <= 4
        slots[masks] += 1
    assert slots[0]
    assert slots[12]


def test_permutation_of_sentences():
    """Every order is as likely; half of the sentences: the others keep their places in the order."""
    before, rng = text(), np.random.default_rng(4)
    orders = Counter()
    for _ in range(DRAWS // 40):
        after = noised("permutation", given=before, rng=rng)
        starts = np.append(np.flatnonzero(after.sentences), 15)
        parts = [tuple(after.ids[a:b].tolist()) for a, b in itertools.pairwise(starts)]
        assert sorted(parts) == sorted(map(tuple, SENTENCES))  # the multiset of sentences
        orders[tuple(parts)] += 1
    assert len(orders) == 24
    assert chi_square([*orders.values()], np.full(24, orders.total() / 24)) < 5
    for seed in range(50):
        after = noised("permutation", seed, before, permute=0.5)
        parts = np.split(after.ids, np.flatnonzero(after.sentences)[1:])
        moved = sum(list(part) not in SENTENCES[i : i + 1] for i, part in enumerate(parts))
        assert moved in (0, 2)


def test_rotation_is_a_cyclic_shift():
    before, rng = text(), np.random.default_rng(6)
    begins = Counter()
    for _ in range(DRAWS // 60):
        after = noised("rotation", given=before, rng=rng)
        at = int(after.place[0])
        np.testing.assert_array_equal(after.ids, np.roll(before.ids, at))
        begins[at] += 1
    assert chi_square([begins[at] for at in range(15)], np.full(15, begins.total() / 15)) < 5
    turned = [noised("rotation", given=before, rng=rng, rotate=0.4).place[0] != 0 for _ in range(DRAWS // 60)]
    assert deviation(sum(turned), len(turned), 0.4 * 14 / 15) < Z


def test_whole_sentences_are_masked():
    for seed in range(20):
        after = noised("sentence-masking", seed)
        masks = np.flatnonzero(after.ids == MASK)
        stood = [text().ids[after.place == at].tolist() for at in masks]
        assert len(masks) == 2
        assert all(sentence in SENTENCES for sentence in stood)


def test_masks_are_put_in_at_any_place():
    """30 % of 15 tokens, rounded up, at each of the 20 places that then are as often."""
    before, rng = text(), np.random.default_rng(7)
    places = np.zeros(20)
    for _ in range(DRAWS // 100):
        after = noised("insertion", given=before, rng=rng)
        masks = after.ids == MASK
        np.testing.assert_array_equal(after.ids[~masks], before.ids)
        places += masks
    assert places.sum() == 5 * (DRAWS // 100)
    assert chi_square(places, np.full(20, places.sum() / 20)) < 5


# ---- Rows ------------------------------------------------------------------------------------------------------------
DOCUMENTS = [[[6, 8, 9], [12], [], [13, 15, 17, 16]], [[21] * 30], [[7, 9]]]


def test_rows_are_whole_sentences_and_what_is_asked_is_all_of_them():
    data = Denoised(seq_length=10, duplicates=1)
    made = denoising.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, data)
    found = {tuple(row[mask == 1]) for row, mask in zip(made["text"], made["attention_mask"], strict=True)}
    assert found == {(0, 6, 8, 9, 12, 13, 15, 17, 16, 2), (0, *[21] * 8, 2), (0, 7, 9, 2)}
    before = {name: array.copy() for name, array in made.items()}
    frozen(*made.values())
    batch, again = (denoising.corrupt(made, np.random.default_rng(1), VOCABULARY, data) for _ in range(2))
    for name, array in batch.items():
        np.testing.assert_array_equal(array, again[name])
        assert array.dtype == np.int32
        assert array.shape == (3, 10)
    np.testing.assert_array_equal(batch["labels"], np.where(made["attention_mask"], before["text"], IGNORED))
    np.testing.assert_array_equal(batch["decoder_attention_mask"], made["attention_mask"])
    there = batch["attention_mask"].sum(1)
    for row, length in zip(batch["input_ids"], there, strict=True):
        assert (row[0], row[length - 1]) == (BOS, EOS)
        assert (row[length:] == PAD).all()
        assert not np.isin(row[1 : length - 1], (BOS, PAD, EOS)).any()
    assert (np.arange(10) < there[:, None]).astype(int).tolist() == batch["attention_mask"].tolist()


def test_what_has_no_room_is_cut_off(monkeypatch):
    monkeypatch.setattr(denoising, "spans", lambda count, rng, law: np.array([0] * 9 + [1]))
    data = Denoised(seq_length=10, duplicates=1)
    made = denoising.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, data)
    batch = denoising.corrupt(made, np.random.default_rng(1), VOCABULARY, data)
    assert (batch["input_ids"][:, -1] == EOS).any()


def test_options_and_vocabularies_that_are_none():
    with pytest.raises(InputError, match=r"noise is 'infiling'.*did you mean 'infilling'"):
        Denoised(noise="infiling")
    with pytest.raises(InputError, match="rate is 1"):
        Denoised(rate=1.0)
    data = Denoised(seq_length=10, duplicates=1)
    made = denoising.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, data)
    with pytest.raises(InputError, match="no mask token"):
        denoising.corrupt(made, np.random.default_rng(1), VOCABULARY._replace(mask=None), data)
