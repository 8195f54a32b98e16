"""Laws of masking and sentence pairs: exactness against scalar doubles, shares over 100,000 draws, planted faults.

The doubles below are written from the published algorithm, in its own order and on its own data structures (lists
of tokens, shuffled lists of index lists). Where they draw from the same generator the comparison is exact; where
they draw from Python's generator the two laws are compared by a chi-square test.
"""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from chance import Z, chi_square, deviation, frozen, two_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.corruption import masking, rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.replacement import replacement
from minibert.corruption.sentence_pairs import IS_NEXT, RANDOM, SWAPPED, ordered_pairs, sentence_pairs, single_pairs
from minibert.corruption.units import units
from minibert.errors import InputError

CLS, SEP, MASK, SIZE = 2, 3, 4, 50
CONTINUES = np.arange(SIZE) % 3 == 2
CONTINUES[:5] = False
VOCABULARY = Vocabulary(size=SIZE, cls=CLS, sep=SEP, mask=MASK, continues=CONTINUES)
DRAWS = 40_000


# ---- budget ----


def test_budget_of_published_lengths():
    lengths = [1, 2, 3, 10, 30, 50, 70, 90, 128, 200, 512]
    assert masking.budget(np.array(lengths)).tolist() == [1, 1, 1, 2, 4, 8, 10, 14, 19, 20, 20]
    assert masking.budget(np.array(lengths), cap=77)[-2:].tolist() == [30, 77]


@given(st.integers(1, 1000), st.floats(0, 1), st.integers(1, 100))
def test_budget_is_pythons_rounding(length, rate, cap):
    assert masking.budget(length, rate, cap) == min(cap, max(1, round(length * rate)))


# ---- units and selection ----


def published_groups(tokens: list[int], whole_words: bool) -> list[list[int]]:
    groups: list[list[int]] = []
    for i, token in enumerate(tokens):
        if token in (CLS, SEP):
            continue
        if whole_words and groups and CONTINUES[token]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


ROWS = st.lists(st.integers(5, SIZE - 1), min_size=1, max_size=30).flatmap(
    lambda a: st.lists(st.integers(5, SIZE - 1), min_size=1, max_size=20).map(lambda b: [CLS, *a, SEP, *b, SEP])
)


def batch(rows: list[list[int]], width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Padded ids and presence, read-only. The padding id 0 also stands for an ordinary candidate elsewhere."""
    ids = np.array([row + [0] * (width - len(row)) for row in rows], np.int32)
    present = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int32)
    return frozen(ids, present)


@given(st.lists(ROWS, min_size=1, max_size=4), st.booleans())
def test_units_are_the_published_groups(rows, whole_words):
    ids, present = batch(rows)
    candidates = (present == 1) & (ids != CLS) & (ids != SEP)
    index = units(candidates, ~CONTINUES[ids] if whole_words else candidates)
    for row, found in zip(rows, index, strict=True):
        groups = published_groups(row, whole_words)
        assert [np.flatnonzero(found == u).tolist() for u in range(found.max() + 1)] == groups


def test_a_continuing_piece_behind_a_boundary_joins_the_word_before_it():
    ids = np.array([[CLS, 8, 6, SEP, 8, SEP]])  # 8 continues: first of all, and behind [SEP]
    candidates = (ids != CLS) & (ids != SEP)
    assert units(candidates, ~CONTINUES[ids]).tolist() == [[-1, 0, 1, -1, 1, -1]]


def masked(ids, present, rng, vocabulary=VOCABULARY, rate=0.15, cap=20, whole_words=False):
    rule = rules.whole_word if whole_words else rules.bert
    return rule(ids, present, rng, vocabulary, rate=rate, cap=cap)[:2]


def published_masking(tokens, rng, whole_words, rate=0.15, cap=20):
    """The published algorithm with rng: shuffle(list), random(), randint(0, SIZE - 1)."""
    groups = published_groups(tokens, whole_words)
    rng.shuffle(groups)
    output, chosen, taken = list(tokens), min(cap, max(1, round(len(tokens) * rate))), []
    for group in groups:
        if len(taken) >= chosen:
            break
        if len(taken) + len(group) > chosen:
            continue
        for i in group:
            if rng.random() < 0.8:
                output[i] = MASK
            elif rng.random() < 0.5:
                output[i] = tokens[i]
            else:
                output[i] = rng.randint(0, SIZE - 1)
            taken.append(i)
    return output, sorted(taken)


@given(st.lists(ROWS, min_size=1, max_size=5), st.booleans(), st.integers(0, 1000))
def test_masking_equals_a_scalar_double_with_the_same_draws(rows, whole_words, seed):
    ids, present = batch(rows)
    corrupted, chosen = masked(ids, present, np.random.default_rng(seed), VOCABULARY, cap=5, whole_words=whole_words)
    rng = np.random.default_rng(seed)
    keys = rng.random(ids.shape)
    expected = []
    for row, key in zip(rows, keys, strict=True):
        groups = published_groups(row, whole_words)
        left, taken = min(5, max(1, round(len(row) * 0.15))), []
        for _, group in sorted(zip(key, groups, strict=False), key=lambda pair: pair[0]):
            if len(group) <= left:
                taken += group
                left -= len(group)
        expected.append(sorted(taken))
    assert [np.flatnonzero(row).tolist() for row in chosen] == expected
    count = sum(map(len, expected))
    draw, token = rng.random(count), rng.integers(0, SIZE, count)
    k = 0
    for row, positions, after in zip(rows, expected, corrupted, strict=True):
        row = row + [0] * (60 - len(row))
        for i in positions:
            row[i] = MASK if draw[k] < 0.8 else row[i] if draw[k] < 0.9 else token[k]
            k += 1
        assert after.tolist() == row


@given(st.lists(ROWS, min_size=1, max_size=5), st.booleans(), st.floats(0, 1), st.integers(1, 30), st.integers(0, 99))
def test_properties_of_every_mask(rows, whole_words, rate, cap, seed):
    ids, present = batch(rows)
    draw = np.random.default_rng(seed)
    corrupted, chosen = masked(ids, present, draw, VOCABULARY, rate, cap, whole_words)
    fields = masking.targets(ids, chosen, cap)
    again = masked(ids, present, np.random.default_rng(seed), VOCABULARY, rate, cap, whole_words)
    np.testing.assert_array_equal(again, (corrupted, chosen))
    assert corrupted.dtype == ids.dtype
    assert not chosen[(ids == CLS) | (ids == SEP) | (present == 0)].any()  # D04
    np.testing.assert_array_equal(corrupted[~chosen], ids[~chosen])
    for b, row in enumerate(rows):
        positions, labels, weights = (fields[f"masked_lm_{name}"][b] for name in ("positions", "ids", "weights"))
        count = int(chosen[b].sum())
        limit = min(cap, max(1, round(len(row) * rate)))
        assert count <= limit
        if not whole_words:
            assert count == min(limit, len(row) - 3)
        assert positions[:count].tolist() == np.flatnonzero(chosen[b]).tolist()  # sorted, distinct
        assert weights.tolist() == [1.0] * count + [0.0] * (cap - count)
        assert not positions[count:].any()
        assert not labels[count:].any()
        restored = corrupted[b].copy()
        restored[positions[:count]] = labels[:count]
        np.testing.assert_array_equal(restored, ids[b])
        groups = published_groups(row, whole_words)
        assert all(chosen[b, group].all() or not chosen[b, group].any() for group in groups)


def test_words_larger_than_the_budget_leave_a_row_without_targets():
    ids, present = batch([[CLS, 6, 8, 8, SEP, 9, 11, SEP]])
    _, chosen = masked(ids, present, np.random.default_rng(0), VOCABULARY, whole_words=True)
    assert not chosen.any()


def test_rows_without_candidates_and_missing_word_boundaries():
    ids, present = batch([[CLS, SEP, SEP]])
    corrupted, chosen = masked(ids, present, np.random.default_rng(0), VOCABULARY)
    np.testing.assert_array_equal(corrupted, ids)
    assert not chosen.any()
    with pytest.raises(InputError, match="continues"):
        masked(ids, present, np.random.default_rng(0), VOCABULARY._replace(continues=None), whole_words=True)


SENTENCE = [CLS, 5, 8, 6, 7, 11, 14, SEP, 9, 10, 8, 13, SEP]  # words of 2, 1, 3, 1, 2 and 1 pieces


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("rate", [0.15, 0.35])
def test_the_law_is_that_of_the_published_algorithm(whole_words, rate):
    """Chosen sets, and fates of one position, of 15,000 rows at once against as many runs of the double."""
    count = 15_000
    ids, present = batch([SENTENCE] * count, width=16)
    corrupted, chosen = masked(ids, present, np.random.default_rng(5), VOCABULARY, rate, whole_words=whole_words)
    rng = random.Random(6)
    runs = [published_masking(SENTENCE, rng, whole_words, rate) for _ in range(count)]
    sets = Counter(tuple(np.flatnonzero(row).tolist()) for row in chosen)
    assert abs(two_samples(sets, Counter(tuple(taken) for _, taken in runs))) < 5
    fates = Counter(corrupted[:, 3].tolist())
    assert abs(two_samples(fates, Counter(output[3] for output, _ in runs))) < 5
    if whole_words:  # planted: pieces chosen one by one, as if "##" meant nothing
        _, faulty = masked(ids, present, np.random.default_rng(5), VOCABULARY, rate)
        assert two_samples(sets, Counter(tuple(np.flatnonzero(row).tolist()) for row in faulty)) > 50
    else:  # planted: an independent coin for each token, without budget
        faulty = (np.random.default_rng(8).random(ids.shape) < rate) & (ids > SEP)
        assert two_samples(sets, Counter(tuple(np.flatnonzero(row).tolist()) for row in faulty)) > 50


def test_single_batches_and_one_large_batch_have_the_same_law():
    """Masks drawn afresh row by row (dynamic) against all rows at once (static)."""
    count = 10_000
    ids, present = batch([SENTENCE] * count, width=16)
    rng = np.random.default_rng(7)
    static = masked(ids, present, rng, VOCABULARY)[0]
    dynamic = [masked(ids[i : i + 4], present[i : i + 4], rng, VOCABULARY)[0] for i in range(0, count, 4)]
    rows = [Counter(map(tuple, (part != ids).tolist())) for part in (static, np.concatenate(dynamic))]
    assert abs(two_samples(*rows)) < 5


def test_every_candidate_is_equally_likely():
    ids, present = batch([[CLS, *range(5, 25), SEP, *range(25, 42), SEP]] * DRAWS, width=44)
    _, chosen = masked(ids, present, np.random.default_rng(1), VOCABULARY)
    counts = chosen.sum(axis=0)[(ids[0] > SEP)]
    assert counts.sum() == len(ids) * 6  # 15 % of 40 tokens
    # Drawn without replacement: the counts vary by the factor (1 - 6/37) less than independent ones.
    assert abs(chi_square(counts, np.full(37, counts.sum() / 37)) / (1 - 6 / 37)) < 5


# ---- replacement ----


def shares(replace) -> float:
    """The chi-square excess of a rule (labels, rng) -> tokens against 80/10/10 over DRAWS draws."""
    labels = frozen(np.random.default_rng(2).integers(5, SIZE, DRAWS))
    after = replace(labels, np.random.default_rng(3))
    observed = [(after == MASK).sum(), (after == labels).sum(), ((after != MASK) & (after != labels)).sum()]
    expected = [0.8 + 0.1 / SIZE, 0.1 + 0.1 / SIZE, 0.1 - 0.2 / SIZE]
    return chi_square(observed, np.array(expected) * DRAWS)


def rule(labels, rng):
    return replacement(labels, rng, VOCABULARY)


def d01(labels, rng):
    """The random share taken as a tenth of the rest: 80/2/18."""
    after = np.where(rng.random(labels.size) < 0.8, MASK, labels)
    swap = (rng.random(labels.size) < 0.1) & (after != MASK)
    return np.where(swap, rng.integers(0, SIZE, labels.size), after)


def d02(labels, rng):
    """The mask step drawn apart, so that it overwrites random tokens."""
    after = np.where(rng.random(labels.size) < 0.1, rng.integers(0, SIZE, labels.size), labels)
    return np.where(rng.random(labels.size) < 0.8, MASK, after)


def d03(labels, rng):
    """One draw for both choices: what was selected with draw < 0.15 is always below 0.8."""
    draw = 0.15 * rng.random(labels.size)
    return np.where(draw < 0.8, MASK, labels)


def d09(labels, rng):
    """ELECTRA's 85/15."""
    return np.where(rng.random(labels.size) < 0.85, MASK, labels)


def test_replacement_is_80_10_10():
    assert abs(shares(rule)) < 5


@pytest.mark.parametrize("fault", [d01, d02, d03, d09])
def test_wrong_shares_are_rejected(fault):
    assert shares(fault) > 50


def uniformity(replace, allowed: np.ndarray) -> float:
    """The chi-square excess of the random tokens against a uniform draw from `allowed`."""
    labels = np.full(10 * DRAWS, SIZE)  # a label outside the vocabulary: what is kept shows
    after = replace(labels, np.random.default_rng(4))
    counts = np.bincount(after[(after != SIZE) & (after != MASK)], minlength=SIZE)[:SIZE]
    expected = np.where(np.isin(np.arange(SIZE), allowed) & (np.arange(SIZE) != MASK), 1.0, 0.0)
    if counts[expected == 0].any():
        return np.inf
    return chi_square(counts, expected / expected.sum() * counts.sum())


def test_random_tokens_are_uniform_over_the_declared_vocabulary():
    specials = (0, CLS, SEP, MASK)
    ordinary = np.setdiff1d(np.arange(SIZE), specials)

    def without(labels, rng):
        return replacement(labels, rng, VOCABULARY, exclude=specials)

    assert abs(uniformity(rule, np.arange(SIZE))) < 5
    assert abs(uniformity(without, ordinary)) < 5
    assert uniformity(rule, ordinary) > 50  # D05: special tokens drawn where they are excluded
    assert uniformity(without, np.arange(SIZE)) > 50

    def short(labels, rng):  # planted: the last id is never drawn
        return replacement(labels, rng, VOCABULARY._replace(size=SIZE - 1))

    assert uniformity(short, np.arange(SIZE)) > 50


# ---- sentence pairs ----


def offsets(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Sentence and document offsets from sentence lengths, read-only."""
    lengths = [n for document in documents for n in document]
    return frozen(np.cumsum([0, *lengths]), np.cumsum([0, *map(len, documents)]))


def published_pairs(
    documents: list[list[list[int]]], rng, max_num_tokens: int, short_seq_prob: float, random_next: bool = True
) -> list:
    """Token lists and labels, in the published order of decisions, same generator; random_next: BERT, else ALBERT."""

    def randint(a, b):
        return int(rng.integers(a, b, endpoint=True))

    found = []
    for index, document in enumerate(documents):
        target = max_num_tokens
        if rng.random() < short_seq_prob:
            target = randint(2, max_num_tokens)
        chunk: list[list[int]] = []
        i = 0
        while i < len(document):
            chunk.append(document[i])
            if i == len(document) - 1 or sum(map(len, chunk)) >= target:
                a_end = randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                tokens_a = [t for sentence in chunk[:a_end] for t in sentence]
                tokens_b: list[int] = []
                if len(chunk) == 1 or (random_next and rng.random() < 0.5):
                    is_random = 1
                    for _ in range(10):
                        other = randint(0, len(documents) - 1)
                        if other != index:
                            break
                    start = randint(0, len(documents[other]) - 1)
                    for sentence in documents[other][start:]:
                        tokens_b.extend(sentence)
                        if len(tokens_b) >= target - len(tokens_a):
                            break
                    i -= len(chunk) - a_end
                elif not random_next and rng.random() < 0.5:
                    is_random = 1
                    tokens_b = tokens_a
                    tokens_a = [t for sentence in chunk[a_end:] for t in sentence]
                else:
                    is_random = 0
                    tokens_b = [t for sentence in chunk[a_end:] for t in sentence]
                while len(tokens_a) + len(tokens_b) > max_num_tokens:
                    longer = tokens_a if len(tokens_a) > len(tokens_b) else tokens_b
                    if rng.random() < 0.5:
                        del longer[0]
                    else:
                        longer.pop()
                found.append((tokens_a, tokens_b, is_random))
                chunk = []
            i += 1
    return found


LENGTHS = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=12), min_size=1, max_size=6)


@pytest.mark.parametrize("maker", [sentence_pairs, ordered_pairs])
@given(LENGTHS, st.integers(2, 40), st.sampled_from([0.0, 0.1, 0.7]), st.integers(0, 1000))
@settings(max_examples=200)
def test_pairs_equal_the_scalar_double_on_the_same_generator(maker, lengths, max_tokens, short_rate, seed):
    sentences, borders = offsets(lengths)
    stream = list(range(int(sentences[-1])))
    split = [stream[a:b] for a, b in pairwise(sentences.tolist())]
    documents = [split[a:b] for a, b in pairwise(borders.tolist())]
    rng = np.random.default_rng(seed)
    expected = published_pairs(documents, rng, max_tokens, short_rate, maker is sentence_pairs)
    pairs = maker(sentences, borders, np.random.default_rng(seed), max_tokens, short_rate)
    assert [(stream[a:b], stream[c:d], label) for a, b, c, d, label in pairs.tolist()] == expected


def test_half_of_the_chunks_are_swapped():
    """Among chunks of several sentences; two consecutive segments, and nothing else, whichever comes first."""
    sentences, borders = offsets([[2] * 50_000] * 13)
    pairs = ordered_pairs(sentences, borders, np.random.default_rng(2), 16, 0.0)
    assert len(pairs) > 80_000
    assert deviation((pairs[:, 4] == SWAPPED).sum(), len(pairs), 0.5) < Z
    assert deviation((pairs[:, 4] == SWAPPED).sum(), len(pairs), 0.49) > Z
    swapped = pairs[:, 4] == SWAPPED
    a_start, a_stop, b_start, b_stop, _ = pairs.T
    np.testing.assert_array_equal(np.where(swapped, b_stop, a_stop), np.where(swapped, a_start, b_start))
    assert (a_stop - a_start + b_stop - b_start).sum() == sentences[
        -1
    ]  # each token once, whatever the order
    random = sentence_pairs(sentences, borders, np.random.default_rng(2), 16, 0.0)  # H12: made as NSP data
    assert (random[random[:, 4] == RANDOM, 3] != random[random[:, 4] == RANDOM, 0]).mean() > 0.9
    single = ordered_pairs(*offsets([[5]] * 40), np.random.default_rng(2), 16, 0.0)
    assert single[:, 4].tolist() == [SWAPPED] * 40  # cannot be swapped: a random B instead


@given(LENGTHS, st.integers(2, 40), st.integers(0, 1000))
def test_pairs_of_single_sentences(lengths, max_tokens, seed):
    sentences, borders = offsets(lengths)
    pairs = single_pairs(sentences, borders, np.random.default_rng(seed), max_tokens)
    within = (
        np.searchsorted(sentences, pairs[:, :4] - [0, 1, 0, 1], side="right") - 1
    )  # sentence of first and last token
    document = np.searchsorted(borders, within, side="right") - 1
    assert (pairs[:, 1] - pairs[:, 0] + pairs[:, 3] - pairs[:, 2] <= max_tokens).all()
    used = []
    for (a, a_end, b, b_end), home, label in zip(within.tolist(), document.tolist(), pairs[:, 4], strict=True):
        assert (a, b) == (a_end, b_end)  # one sentence each
        assert label == RANDOM or (b == a + 1 and home[0] == home[2])
        assert label == IS_NEXT or home[0] != home[2] or len(lengths) < 8  # ten tries at 1 in n may fail
        used += [a] if label == RANDOM else [a, b]
    assert used == list(range(len(sentences) - 1))  # every sentence once, in order


@given(LENGTHS, st.integers(2, 40), st.integers(0, 1000))
def test_properties_of_every_pair(lengths, max_tokens, seed):
    sentences, borders = offsets(lengths)
    pairs = sentence_pairs(sentences, borders, np.random.default_rng(seed), max_tokens, 0.3)
    document_of = np.searchsorted(sentences[borders], np.arange(sentences[-1]), side="right") - 1
    for a, b, c, d, label in pairs.tolist():
        assert a < b
        assert c < d
        assert (b - a) + (d - c) <= max_tokens
        assert document_of[a] == document_of[b - 1]  # no segment spans two documents
        assert document_of[c] == document_of[d - 1]
        if label == IS_NEXT:
            assert document_of[a] == document_of[c]
            assert b <= c
    if len(lengths) == 1:
        assert set(document_of[pairs[:, 2]]) == {0}
    first = np.sort(pairs[:, 0])
    assert len(np.unique(document_of[first])) == len(lengths)  # every document is used


def test_untruncated_next_segments_follow_at_once():
    sentences, borders = offsets([[3] * 40] * 30)  # 30 tokens: chunks of exactly ten sentences, nothing to cut
    pairs = sentence_pairs(sentences, borders, np.random.default_rng(1), 30, 0.0)
    following = pairs[:, 1] == pairs[:, 2]
    assert following[pairs[:, 4] == IS_NEXT].all()
    assert following[pairs[:, 4] == RANDOM].mean() < 0.01
    starts = pairs[pairs[:, 4] == IS_NEXT, 0] // 3
    assert (starts >= 0).all()


def test_half_of_the_pairs_are_random():
    """Over 100,000 chunks of several sentences; a chunk of one sentence is always random, and is counted apart."""
    sentences, borders = offsets([[2] * 50_000] * 13)
    pairs = sentence_pairs(sentences, borders, np.random.default_rng(2), 16, 0.0)
    counts = np.bincount(pairs[:, 4])
    assert counts.sum() > DRAWS
    assert abs(chi_square(counts, np.full(2, counts.sum() / 2))) < 5
    assert chi_square(counts, np.array([0.49, 0.51]) * counts.sum()) > 5  # the test would see one per cent
    single = sentence_pairs(*offsets([[5]] * 40), np.random.default_rng(2), 16, 0.0)
    assert single[:, 4].tolist() == [RANDOM] * 40


def test_random_segments_come_from_other_documents_uniformly():
    sentences, borders = offsets([[4] * 10] * 8)
    rng = np.random.default_rng(3)
    pairs = np.concatenate([sentence_pairs(sentences, borders, rng, 8, 0.0) for _ in range(1000)])
    own, other, label = pairs[:, 0] // 40, pairs[:, 2] // 40, pairs[:, 4]
    step = (other - own)[label == RANDOM] % 8
    counts = np.bincount(step, minlength=8)
    assert counts[0] == 0  # ten tries at 1 in 8 fail once in a billion
    assert abs(chi_square(counts[1:], np.full(7, counts.sum() / 7))) < 5
    start = (pairs[label == RANDOM, 2] // 4) % 10
    assert abs(chi_square(np.bincount(start, minlength=10), np.full(10, len(start) / 10))) < 5


def short_targets(short_rate: float) -> float:
    """The chi-square excess of the first chunk's length against 90 % full and 10 % uniform in [2, 20]."""
    documents = 20_000
    pairs = sentence_pairs(*offsets([[1] * 40] * documents), np.random.default_rng(4), 20, short_rate)
    first = pairs[(pairs[:, 0] % 40 == 0) & (pairs[:, 4] == IS_NEXT)]
    length = first[:, 3] - first[:, 0]
    expected = np.array([0.1 / 19] * 18 + [0.9 + 0.1 / 19])
    return chi_square(np.bincount(length, minlength=21)[2:], expected * len(first))


def test_one_pass_in_ten_aims_at_a_shorter_length():
    assert abs(short_targets(0.1)) < 5
    assert short_targets(0.2) > 50  # planted


def test_a_whole_pass_is_deterministic_and_writes_nothing():
    sentences, borders = offsets([[3, 5, 2], [7, 1]])
    runs = [sentence_pairs(sentences, borders, np.random.default_rng(9), 12) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
