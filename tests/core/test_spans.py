"""T5's objectives: lengths as published, noise masks to the letter of the release, the text again from both sides."""

import itertools
from collections import Counter

import numpy as np
import pytest
from chance import Z, chi_square, deviation, frozen
from hypothesis import given
from hypothesis import strategies as st

from minibert.corruption import spans
from minibert.corruption.masking import Vocabulary
from minibert.corruption.spans import IGNORED, OBJECTIVES, Spans
from minibert.errors import InputError
from minibert.golden.draws import Draws

PAD, EOS, UNK, SIZE, EXTRA = 0, 1, 2, 140, 30
VOCABULARY = Vocabulary(SIZE, pad=PAD, specials=(PAD, EOS, UNK, *range(SIZE - EXTRA, SIZE)), end=EOS)
DRAWS = 100_000
TEXT = frozen(np.arange(3, 103, dtype=np.int32))


def restored(*sides):
    """The text, by putting in the place of each sentinel what is on the other side behind its like."""

    def runs(ids):
        found = [[]]
        for i in ids:
            found[-1].append(i) if i < SIZE - EXTRA else found.append([])
        return found

    first, second = sorted(sides, key=lambda ids: ids[:1] < [SIZE - EXTRA])  # one begins with a sentinel
    pairs = itertools.zip_longest(runs(first), runs(second), fillvalue=[])
    return [i for pair in pairs for run in pair for i in run]


def pair(objective, seed=0, text=TEXT, rng=None, **own):
    data = Spans(objective=objective, **own)
    return [side.tolist() for side in OBJECTIVES[objective](text, rng or np.random.default_rng(seed), VOCABULARY, data)]


# ---- Lengths ---------------------------------------------------------------------------------------------------------
def test_published_lengths():
    assert spans.counts(568, 0.15, 3.0) == (85, 28)
    assert spans.counts(20, 0.15, 3.0) == (3, 1)
    assert spans.counts(512, 0.15, 3.0) == (77, 26)
    assert spans.lengths(512, 0.15, 3.0) == (568, 114)


def released_helper(inputs_length, noise_density, mean):
    """The release's random_spans_helper, in Python's numbers."""
    def both(tokens):
        noise = round(tokens * noise_density)
        number = round(noise / mean)
        return tokens - noise + number + 1, noise + number + 1

    tokens = inputs_length - 1
    while both(tokens + 1)[0] <= inputs_length:
        tokens += 1
    inputs, targets = both(tokens)
    if noise_density == 0.5 and targets > inputs:
        return tokens - 1, targets - 1
    return tokens, targets


@pytest.mark.parametrize("rate", [0.1, 0.15, 0.25, 0.5])
@pytest.mark.parametrize("mean", [2.0, 3.0, 5.0, 10.0])
def test_lengths_are_those_of_the_release(rate, mean):
    for width in (*range(16, 560, 8), *range(604, 621)):
        length, room = released_helper(width, rate, mean)
        noise, number = spans.counts(length, rate, mean)
        agrees = all(round(n * rate) == spans.counts(n, rate, mean)[0] for n in (length, length + 1))
        if agrees and noise + number + 1 == room and length - noise + number + 1 <= width:
            assert spans.lengths(width, rate, mean) == (length, room)
        else:  # where the release contradicts its own noise mask
            assert width != 512


@given(st.integers(8, 300), st.sampled_from([0.05, 0.15, 0.5, 0.8]), st.sampled_from([1.0, 1.5, 3.0, 40.0]),
       st.integers(0, 9))  # fmt: skip
def test_rows_fill_what_is_read_and_what_is_written(width, rate, mean, seed):
    length, room = spans.lengths(width, rate, mean)
    noise = spans.random_spans(length, rate, mean, np.random.default_rng(seed))
    tokens, number = spans.counts(length, rate, mean)
    starts = noise & ~np.pad(noise, (1, 0))[:-1]
    assert noise.shape == (length,)
    assert noise.sum() == tokens
    assert starts.sum() == number
    assert not noise[0]
    assert noise[-1]
    assert length - tokens + number + 1 <= width
    assert tokens + number + 1 == room
    if rate != 0.5:
        more, again = spans.counts(length + 1, rate, mean)
        assert length + 1 - more + again + 1 > width  # no token more would do


# ---- Noise -----------------------------------------------------------------------------------------------------------
def test_all_divisions_are_equally_likely():
    """10 tokens, half of them noise in two spans: 4 * 4 ways, each as likely; another law would show."""
    rng = np.random.default_rng(0)
    seen = Counter(tuple(spans.random_spans(10, 0.5, 2.5, rng).tolist()) for _ in range(DRAWS // 20))
    assert len(seen) == 16
    assert chi_square([*seen.values()], np.full(16, seen.total() / 16)) < 5
    assert chi_square([*seen.values()], np.linspace(0.8, 1.2, 16) * seen.total() / 16) > 5
    assert spans.random_spans(1, 0.15, 3.0, rng).tolist() == [False]


def test_shares_of_each_objective():
    rng, draws = np.random.default_rng(1), DRAWS // 100
    masks = random = dropped = 0
    for _ in range(draws):
        read, written = pair("bert-style", rng=rng)
        assert written == TEXT.tolist()
        changed = np.array(read) != TEXT
        masks += np.count_nonzero(np.array(read) == SIZE - 1)
        random += np.count_nonzero(changed & (np.array(read) != SIZE - 1))
        assert max(np.array(read)[changed & (np.array(read) != SIZE - 1)], default=3) < SIZE - EXTRA
        dropped += len(pair("drop-tokens", rng=rng)[1])
    assert deviation(masks, draws * 100, 0.15 * 0.9) < Z
    assert deviation(random, draws * 100, 0.15 * 0.1 * (1 - 1 / 107)) < Z
    assert deviation(random, draws * 100, 0.15 * 0.12) > Z
    assert deviation(dropped, draws * 100, 0.15) < Z
    cuts = Counter(len(pair("prefix-lm", rng=rng, text=TEXT[:11])[0]) for _ in range(DRAWS // 40))
    assert sorted(cuts) == [*range(1, 11)]
    assert chi_square([*cuts.values()], np.full(10, cuts.total() / 10)) < 5


# ---- Both sides ------------------------------------------------------------------------------------------------------
@given(st.lists(st.integers(3, SIZE - EXTRA - 1), min_size=2, max_size=80), st.sampled_from([0.1, 0.25, 0.5]),
       st.integers(0, 99), st.sampled_from([*OBJECTIVES]))  # fmt: skip
def test_both_sides_give_the_text_again(text, rate, seed, objective):
    given_text = frozen(np.array(text, np.int32))
    own = {"text": given_text, "rate": rate, "mean_span": 2.0}
    read, written = pair(objective, seed, **own)
    assert (read, written) == tuple(pair(objective, seed, **own))
    pair(objective, rng=Draws(3, "noise"), **own)  # portable draws do
    if objective in ("random-spans", "replace-spans"):
        assert restored(read, written) == text
        assert objective == "replace-spans" or written[0] == SIZE - 1  # text first
        marks = [i for i in read if i >= SIZE - EXTRA]
        assert marks == [*range(SIZE - 1, SIZE - 1 - len(marks), -1)]  # counted down from the end
    elif objective == "drop-tokens":
        assert Counter(read + written) == Counter(text)
    elif objective == "prefix-lm":
        assert read + written == text
        assert read
        assert written
    else:
        assert written == text
        assert objective != "deshuffling" or Counter(read) == Counter(text)
        assert objective != "mass-style" or all(i in (t, SIZE - 1) for i, t in zip(read, text, strict=True))


def test_the_papers_example():
    """Figure 2, but that its code does not close what is written with one more sentinel."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    noise = np.array([word in ("for", "inviting", "last") for word in words])
    ids = np.arange(10, 10 + len(words))
    names = dict(enumerate(words, 10)) | {SIZE - 1 - k: f"<{mark}>" for k, mark in enumerate("XYZ")}
    read, written = (" ".join(names[i] for i in spans.sentinels(ids, side, SIZE).tolist()) for side in (noise, ~noise))
    assert read == "Thank you <X> me to your party <Y> week ."
    assert written == "<X> for inviting <Y> last <Z>"  # text behind the last noise: random spans never have any


def test_random_tokens_are_ordinary_ones():
    for special in ((0, 1, 2), (0, 5, 9), (7, 8, 9), ()):
        small = Vocabulary(10, pad=None, specials=special)
        due = [i for i in range(10) if i not in special]
        drawn = (np.arange(len(due)) + 0.5) / len(due)
        assert spans._ordinary(drawn, small).tolist() == due


def test_more_runs_than_sentinels_stay_as_they_are():
    few = VOCABULARY._replace(specials=(PAD, EOS, UNK, SIZE - 2, SIZE - 1))
    assert (VOCABULARY.sentinels, few.sentinels) == (EXTRA, 2)
    assert Vocabulary(9, pad=8, specials=(8, 7)).sentinels == 2
    data = Spans(objective="replace-spans", rate=0.5)
    read, written = OBJECTIVES["replace-spans"](TEXT, np.random.default_rng(0), few, data)
    assert (read == SIZE - 1).sum() == 1
    assert (written >= SIZE - 2).sum() <= 2
    assert len(read) > 90
    with pytest.raises(InputError, match=r"random-spans of 70 tokens takes 3 sentinels, .* ends in 2 special"):
        spans.rows([[[5] * 500]], np.random.default_rng(0), few, Spans(seq_length=64))


# ---- Rows ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rows_of_every_objective(objective):
    data = Spans(objective=objective, seq_length=32, duplicates=2)
    documents = [[[*range(3, 60)], [], [*range(60, 100)]], [[7] * 11]]
    made = spans.rows(documents, np.random.default_rng(0), VOCABULARY, data)
    length, room = data.sizes
    assert made["text"].shape == (2 * 108 // length, length)
    assert made["attention_mask"].shape[1] == 32
    frozen(*made.values())
    batch = spans.corrupt(made, np.random.default_rng(1), VOCABULARY, data)
    assert {name: (array.shape[1], array.dtype) for name, array in batch.items()} == {
        "input_ids": (32, np.int32), "attention_mask": (32, np.int32), "labels": (room, np.int32),
        "decoder_attention_mask": (room, np.int32),
    }  # fmt: skip
    sizes = batch["attention_mask"].sum(1)
    for row, size, labels in zip(batch["input_ids"], sizes, batch["labels"], strict=True):
        assert row[size - 1] == EOS
        assert (row[size:] == PAD).all()
        assert EOS not in row[: size - 1]
        asked = labels[labels != IGNORED]
        assert asked[-1] == EOS
        assert (labels[: len(asked)] == asked).all()
    np.testing.assert_array_equal(batch["decoder_attention_mask"], batch["labels"] != IGNORED)
    if objective == "random-spans":
        assert (sizes == 32).all()
        assert (batch["labels"] != IGNORED).all()
    with pytest.raises(InputError, match="no end of text token"):
        spans.corrupt(made, np.random.default_rng(1), VOCABULARY._replace(end=None), data)
