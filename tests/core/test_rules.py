"""Every rule of corruption: properties on odd shapes, shares over 40,000 draws, laws against scalar doubles.

The doubles are written from the published algorithms, in their own data structures (lists of index lists that are
shuffled, sets of masked positions, one sentence at a time) and on Python's generator; a rule and its double are
compared as laws, by a chi-square test over many copies of one sentence. Each check also meets a rule that is wrong.
"""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from chance import Z, chi_square, deviation, frozen, two_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.corruption import masking, replacement, rules, selection, units
from minibert.corruption.masking import Vocabulary
from minibert.corruption.rules import RULES, Corruption
from minibert.errors import InputError
from minibert.golden.draws import Draws

PAD, UNK, CLS, SEP, MASK, SIZE = 0, 1, 2, 3, 4, 60
SPECIALS = (PAD, UNK, CLS, SEP, MASK)
CONTINUES = frozen((np.arange(SIZE) % 3 == 2) & (np.arange(SIZE) > MASK))
VOCABULARY = Vocabulary(SIZE, CLS, SEP, MASK, PAD, CONTINUES, SPECIALS)
DRAWS = 40_000
COPIES = 10_000
SIMILAR = {
    (6,): [(7,), (9,), (10, 8)],
    (10, 8): [(12, 11), (13, 14), (15,)],
    (7, 8, 11): [(9, 14, 17)],
    (9,): [(6, 8)],  # nothing of its length
    (12, 14, 20): [(12, 14, 23)],  # shares no word with the sentences, but a prefix
}


def batch(rows, width):
    ids = np.array([[*row, *[PAD] * (width - len(row))] for row in rows], np.int32)
    present = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int32)
    return frozen(ids, present)


def words_of(row):
    """Index lists of the words of a row, as the releases group them."""
    found = []
    for i, token in enumerate(row):
        if token in (CLS, SEP):
            continue
        if found and CONTINUES[token]:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def options(name):
    return {"similar": SIMILAR} if name == "macbert" else {}


# ---- Properties ------------------------------------------------------------------------------------------------------
TOKEN = st.integers(MASK + 1, SIZE - 1)
ROW = st.one_of(
    st.just([]),
    st.just([CLS]),
    st.just([CLS, SEP, SEP]),
    st.lists(TOKEN, min_size=1, max_size=25).map(lambda a: [CLS, *a, SEP]),
    st.lists(TOKEN, min_size=2, max_size=25).map(lambda a: [CLS, *a[: len(a) // 2], SEP, *a[len(a) // 2 :], SEP]),
    st.lists(TOKEN, min_size=1, max_size=25),
)


def most(name, row, rate, width):
    """(least, most) tokens that the rule may choose of a row, None where its own slots decide."""
    plain = sum(token not in (CLS, SEP) for token in row)
    if name == "span":
        return (math.ceil(rate * plain),) * 2
    if name == "roberta":
        return math.floor(rate * len(row)), math.ceil(rate * len(row))
    bert = max(1, round(rate * len(row)))
    if name == "bert":
        return (min(bert, plain),) * 2
    if name == "electra":
        return min(1, plain), min(bert, max(1, int((rate + 0.005) * width)))
    if name == "macbert":
        return 0, plain
    if name == "xlm":
        return 0, max(0, len(row) - 1)
    return 0, bert


def broken(name, ids, present, made, rate):
    """The properties that a corruption lacks, by name."""
    wrong = set()
    there = present == 1
    if made.ids.shape != ids.shape or made.ids.dtype != ids.dtype or made.groups.dtype != np.int32:
        wrong.add("shape")
    if (made.chosen & ~there).any() or (made.ids != ids)[~there].any():
        wrong.add("padding")
    if name == "xlm" and made.chosen[:, 0].any():
        wrong.add("first")
    if name not in ("roberta", "xlm") and made.chosen[np.isin(ids, (CLS, SEP))].any():
        wrong.add("specials")
    if (made.ids != ids)[~made.chosen].any():
        wrong.add("elsewhere")
    if ((made.ids < 0) | (made.ids >= SIZE)).any():
        wrong.add("vocabulary")
    if name == "macbert" and (made.ids == MASK).any():
        wrong.add("mask")
    fields = masking.targets(ids, made.chosen, ids.shape[1])
    if made.positions is not None:
        fields = masking.slot_targets(ids, made.positions, made.weights)
    for b, row in enumerate(present.sum(1)):
        row = ids[b, :row].tolist()
        restored, used = made.ids[b].copy(), fields["masked_lm_weights"][b] == 1
        restored[fields["masked_lm_positions"][b][used]] = fields["masked_lm_ids"][b][used]
        if (restored != ids[b]).any() or fields["masked_lm_ids"][b][~used].any():
            wrong.add("inverse")
        least, limit = most(name, row, rate, ids.shape[1])
        if not least <= made.chosen[b].sum() <= limit:
            wrong.add("budget")
        words = words_of(row)
        taken = [word for word in words if made.chosen[b, word].any()]
        if name == "macbert" and len(taken) > max(1, round(rate * len(words))):
            wrong.add("budget")
        if name in ("whole-word", "ngram", "macbert") and not all(made.chosen[b, word].all() for word in taken):
            wrong.add("torn")
        if name in ("ngram", "macbert", "whole-word"):
            run = [len({words.index(word) for word in words if made.groups[b, word[0]] == g}) for g in range(99)]
            if max(run) > {"ngram": 3, "macbert": 4, "whole-word": 1}[name]:
                wrong.add("runs")
        numbers = made.groups[b][made.chosen[b]].tolist()
        if (made.groups[b][~made.chosen[b]] != -1).any() or list(dict.fromkeys(numbers)) != sorted(set(range(
            max(numbers, default=-1) + 1
        ))):  # fmt: skip
            wrong.add("groups")
    return wrong


@pytest.mark.parametrize("name", RULES)
@given(st.lists(ROW, min_size=1, max_size=4), st.sampled_from([0.0, 0.15, 0.4, 1.0]), st.integers(0, 99))
@settings(max_examples=60)
def test_properties_of_every_corruption(name, rows, rate, seed):
    width = max(1, *map(len, rows))
    ids, present = batch(rows, width)
    made, again = (
        RULES[name](ids, present, np.random.default_rng(seed), VOCABULARY, rate=rate, cap=None, **options(name))
        for _ in range(2)
    )
    assert broken(name, ids, present, made, rate) == set()
    for one, two in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"macbert"}))
def test_a_vocabulary_without_a_mask(name):
    """As GPT-2's: one line says so. MacBERT's rule puts none in."""
    ids = np.arange(8, 24)[None]
    for vocabulary in (VOCABULARY._replace(mask=None), Vocabulary(SIZE, continues=CONTINUES)):
        with pytest.raises(InputError, match="no mask token"):
            RULES[name](ids, np.ones_like(ids), np.random.default_rng(0), vocabulary)


def test_specials_that_are_absent_are_no_ids():
    ids, bare = np.arange(16)[None], Vocabulary(16, pad=None, mask=15, continues=np.zeros(16, bool))
    assert masking.candidates(ids, np.ones_like(ids), bare).all()
    assert bare.special == {15}
    assert replacement.ordinary(bare).tolist() == list(range(15))
    for name in ("bert", "macbert", "roberta"):
        made = RULES[name](ids, np.ones_like(ids), np.random.default_rng(0), bare)
        assert made.chosen.any()
        assert (made.ids[~made.chosen] == ids[~made.chosen]).all()


@pytest.mark.parametrize("name", RULES)
@given(st.lists(ROW, min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=30)
def test_the_cap_holds(name, rows, cap, seed):
    width = max(1, *map(len, rows))
    ids, present = batch(rows, width)
    rng = np.random.default_rng(seed)
    made = RULES[name](ids, present, rng, VOCABULARY, rate=0.9, cap=cap, **options(name))
    assert made.chosen.sum(1).max() <= cap
    assert masking.targets(ids, made.chosen, cap)["masked_lm_ids"].shape == (len(ids), cap)


@pytest.mark.parametrize("name", RULES)
def test_random_and_integers_are_all_that_is_drawn(name):
    """So that portable draws, such as those of the golden cases, do as well as NumPy's generator."""

    class Two:
        def __init__(self, seed):
            rng = np.random.default_rng(seed)
            self.random, self.integers = rng.random, rng.integers

    ids, present = batch([SENTENCE, SENTENCE[:1], SENTENCE[:9]], 16)
    made = RULES[name](ids, present, Two(3), VOCABULARY, rate=0.4)
    np.testing.assert_array_equal(
        made.ids, RULES[name](ids, present, np.random.default_rng(3), VOCABULARY, rate=0.4).ids
    )
    made = RULES[name](ids, present, Draws(3, "corruption"), VOCABULARY, rate=0.4)
    assert broken(name, ids, present, made, 0.4) == set()


def spoilt(made, **changed):
    return made._replace(**changed)


def shifted(ids, present, made):
    """Positions one to the right: padding and [SEP] come to be chosen, words are torn."""
    chosen = np.pad(made.chosen, ((0, 0), (1, 0)))[:, :-1]
    return Corruption(np.where(chosen, MASK, ids), chosen, np.where(chosen, 0, -1).astype(np.int32))


FAULTS = {
    "shape": lambda ids, present, made: spoilt(made, ids=made.ids.astype(np.int64)),
    "padding": lambda ids, present, made: spoilt(made, ids=np.where(present == 0, MASK, made.ids).astype(np.int32)),
    "specials": shifted,
    "torn": shifted,
    "elsewhere": lambda ids, present, made: spoilt(made, ids=np.where(ids == 30, 31, made.ids).astype(np.int32)),
    "inverse": lambda ids, present, made: spoilt(made, chosen=made.chosen & (np.arange(ids.shape[1]) % 5 > 0)),
    "vocabulary": lambda ids, present, made: spoilt(made, ids=made.ids + np.where(made.chosen, SIZE, 0)),
    "mask": lambda ids, present, made: spoilt(made, ids=np.where(made.chosen, MASK, made.ids).astype(np.int32)),
    "budget": lambda ids, present, made: spoilt(made, chosen=(present == 1) & (ids > SEP)),
    "runs": lambda ids, present, made: spoilt(made, groups=np.where(made.chosen, 0, -1).astype(np.int32)),
    "groups": lambda ids, present, made: spoilt(made, groups=made.groups + 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_corruption_is_caught(fault):
    rng = np.random.default_rng(0)
    rows = [[CLS, *rng.integers(5, SIZE, n).tolist(), SEP, *rng.integers(5, SIZE, 9).tolist(), SEP] for n in range(30)]
    ids, present = batch(rows, 45)
    name = "macbert" if fault == "mask" else "ngram"
    made = RULES[name](ids, present, rng, VOCABULARY, rate=0.3)
    assert broken(name, ids, present, made, 0.3) == set()
    assert fault in broken(name, ids, present, FAULTS[fault](ids, present, made), 0.3)


# ---- Shares ----------------------------------------------------------------------------------------------------------
LONG = [CLS, *range(5, 25), SEP, *range(25, 42), SEP]


def shares(name, seed=1, **given):
    """(masked, kept, replaced, draws) over at least DRAWS draws of the rule: positions, groups or slots."""
    few = ("bert", "whole-word", "entity", "ngram", "roberta", "xlm")
    rows = DRAWS // 6 + 3000 if name in few else DRAWS * 3 // 4
    ids, present = batch([LONG] * rows, len(LONG))
    made = RULES[name](ids, present, np.random.default_rng(seed), VOCABULARY, **given)
    masked, kept = (made.ids == MASK) & made.chosen, (made.ids == ids) & made.chosen
    if name in ("span", "macbert"):  # a draw is a group: look at its first position
        first = made.chosen & (np.pad(made.groups, ((0, 0), (1, 0)), constant_values=-1)[:, :-1] != made.groups)
        masked, kept, chosen = masked & first, kept & first, first
    else:
        chosen = made.chosen
    return int(masked.sum()), int(kept.sum()), int((chosen & ~masked & ~kept).sum()), int(chosen.sum())


OTHER = SIZE - len(SPECIALS)  # ordinary tokens
EXPECTED = {  # masked, kept, another token
    **dict.fromkeys(("bert", "whole-word", "entity", "ngram", "xlm"),
                    (0.8 + 0.1 / SIZE, 0.1 + 0.1 / SIZE, 0.1 - 0.2 / SIZE)),
    "span": (0.8, 0.1 + 0.1 / OTHER, 0.1 - 0.1 / OTHER),
    "macbert": (0.0, 0.1 + 0.9 / OTHER, 0.9 - 0.9 / OTHER),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_shares_lie_in_their_99_9_percent_interval(name):
    *found, draws = shares(name)
    assert draws >= DRAWS
    for count, probability in zip(found, EXPECTED[name], strict=True):
        assert deviation(count, draws, probability) < Z if probability else count == 0, count / draws


@pytest.mark.parametrize(("name", "mask", "keep"), [("bert", 0.8, 0.18), ("bert", 0.82, 0.08), ("span", 0.8, 0.11)])
def test_wrong_shares_leave_their_interval(monkeypatch, name, mask, keep):
    real = replacement.replacement
    monkeypatch.setattr(replacement, "replacement", lambda *given, **own: real(*given, mask=mask, keep=keep, **own))
    *found, draws = shares(name)
    assert max(deviation(n, draws, p) for n, p in zip(found, EXPECTED[name], strict=True)) > Z


def test_roberta_chooses_and_replaces_as_fairseq():
    """0.15 of 40 tokens exactly on average; specials are chosen; random tokens are ordinary ones or the mask."""
    rows = DRAWS // 6 + 1
    ids, present = batch([LONG] * rows, len(LONG) + 3)
    made = rules.roberta(ids, present, np.random.default_rng(3), VOCABULARY)
    assert made.chosen.sum() >= DRAWS
    count = made.chosen.sum(1)
    assert set(count.tolist()) == {6}  # 0.15 · 40 is whole
    per_position = made.chosen.sum(0)[:40]
    assert abs(chi_square(per_position, np.full(40, count.sum() / 40)) / (1 - 6 / 40)) < 5
    after, before = made.ids[made.chosen], ids[made.chosen]
    draws, other = after.size, OTHER + 1
    assert deviation((after == MASK).sum(), draws, 0.8 + 0.1 / other) < Z
    new = after[(after != MASK) & (after != before)]
    assert not np.isin(new, (PAD, UNK, CLS, SEP)).any()
    short, shortly = batch([LONG[:23]] * DRAWS, 23)
    sizes = rules.roberta(short, shortly, np.random.default_rng(4), VOCABULARY).chosen.sum(1)
    assert set(sizes.tolist()) == {3, 4}  # 3.45: probabilistic rounding
    assert deviation((sizes == 4).sum(), DRAWS, 0.45) < Z
    assert deviation((sizes == 4).sum(), DRAWS, 0.44) > Z  # planted: the test would see one per cent


def test_electra_masks_85_percent_of_its_slots():
    rows = DRAWS // 6
    ids, present = batch([LONG] * rows, 64)  # 9 slots, round(0.15 · 40) = 6 used
    made = rules.electra(ids, present, np.random.default_rng(5), VOCABULARY)
    assert made.positions.shape == (rows, int(0.155 * 64))
    assert (made.weights.sum(1) == 6).all()
    assert not made.positions[made.weights == 0].any()
    once = (made.positions[:, :6, None] == made.positions[:, None, :6]).sum(-1) == 1
    after = np.take_along_axis(made.ids, made.positions[:, :6], 1)
    assert deviation((after[once] == MASK).sum(), once.sum(), 0.85) < Z
    assert deviation((after[once] == MASK).sum(), once.sum(), 0.8) > 20  # D09
    assert not ((made.ids != ids) & (made.ids != MASK)).any()  # no random tokens
    distinct = 37 * (1 - (36 / 37) ** 6)
    assert abs(made.chosen.sum(1).mean() - distinct) < 0.01
    apart = rules.electra(ids, present, np.random.default_rng(5), VOCABULARY, distinct=True)
    assert (apart.chosen.sum(1) == 6).all()
    wide, there = batch([[CLS, *[30] * 126, SEP]] * 1000, 128)
    made = rules.electra(wide, there, np.random.default_rng(6), VOCABULARY)
    assert made.positions.shape == (1000, 19)
    assert abs(made.chosen.sum(1).mean() - 126 * (1 - (125 / 126) ** 19)) < 0.1  # 17.7 of 19


# ---- Lengths ---------------------------------------------------------------------------------------------------------
PUBLISHED = {
    "albert": (rules.ALBERT_LENGTHS, [6 / 11, 3 / 11, 2 / 11]),
    "macbert": (rules.MACBERT_LENGTHS, [0.4, 0.3, 0.2, 0.1]),
    "spanbert": (
        rules.SPAN_LENGTHS,
        [0.22406, 0.17925, 0.14340, 0.11472, 0.09177, 0.07342, 0.05874, 0.04699, 0.03759, 0.03007],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_lengths_follow_their_published_law(name):
    lengths, expected = PUBLISHED[name]
    drawn = selection.runs(lengths, (DRAWS,), np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(expected) + 1)[1:]
    expected = np.array(expected) / sum(expected) * DRAWS
    assert abs(chi_square(counts, expected)) < 5
    assert chi_square(counts, expected[::-1]) > 50
    assert chi_square(counts, np.full(len(expected), DRAWS / len(expected))) > 50
    if name == "spanbert":
        assert abs(drawn.mean() - 3.7971) < 0.03
        assert abs(counts / DRAWS - expected / DRAWS).max() < 0.01


def test_a_run_that_fills_the_budget_has_the_drawn_length():
    """Rows of one-piece words with room for one run of full length; at the row's end a run is cut, not drawn again."""
    draws = DRAWS // 5  # the shares of planted lengths lie 120 deviations away

    def single(words, lengths, room):
        """Rows whose words, `room` at most, are one run."""
        grid = np.tile(np.arange(words), (draws, 1))
        groups = selection.selection(grid, np.full(draws, room), np.random.default_rng(1), lengths)
        return int(((groups >= 0).sum(1) * (groups.max(1) == 0) == min(room, words)).sum())

    for lengths, last in ((rules.ALBERT_LENGTHS, 2 / 11), (rules.MACBERT_LENGTHS, 0.1)):
        longest = len(lengths)
        expected = last * (51 - longest) / 50  # 50 starts, of which the last longest - 1 are too near the end
        assert deviation(single(50, lengths, longest), draws, expected) < Z
        assert deviation(single(50, lengths[::-1], longest), draws, expected) > Z
    assert deviation(single(2, rules.ALBERT_LENGTHS, 9), draws, 0.5 * 5 / 11) < Z  # from the first, longer than one


# ---- Doubles ---------------------------------------------------------------------------------------------------------
SENTENCE = [CLS, 6, 10, 8, 7, 8, 11, 9, SEP, 6, 13, 10, 8, 12, SEP]  # words of 1 2 3 1 | 1 1 2 1 pieces


def fate(before, after):
    return "m" if after == MASK else "=" if after == before else "r"


def compared(name, double, given=None, faults=(), row=SENTENCE, copies=COPIES, seen=None):
    """Chosen sets with what stands there: the rule's law against the double's; every fault must be told apart."""

    def outcome(output, taken):
        return tuple((i, fate(row[i], output[i]) if seen is None else seen(row[i], output[i])) for i in sorted(taken))

    def sample(rule, seed=11, **own):
        made = rule(ids, present, np.random.default_rng(seed), VOCABULARY, **{**(given or {}), **own})
        taken = [np.flatnonzero(line).tolist() for line in made.chosen]
        return Counter(outcome(output, chosen) for output, chosen in zip(made.ids.tolist(), taken, strict=True))

    ids, present = batch([row] * copies, len(row) + 2)
    rng = random.Random(12)
    expected = Counter(outcome(*double(row, rng)) for _ in range(copies))
    assert abs(two_samples(sample(RULES[name]), expected)) < 5
    for rule, own in faults:
        assert two_samples(sample(rule, **own), expected) > 5, rule


def albert_double(tokens, rng, rate=0.3, weights=(1, 1 / 2, 1 / 3)):
    """The release: a list of n-gram slices for every word, shuffled; shorter slices tried while one exceeds."""
    words = words_of(tokens)
    slices = [[words[i : i + n + 1] for n in range(len(weights))] for i in range(len(words))]
    rng.shuffle(slices)
    predicted, covered, output = max(1, round(len(tokens) * rate)), set(), list(tokens)
    for choices in slices:
        if len(covered) >= predicted:
            break
        n = rng.choices(range(len(weights)), weights)[0]
        indexes = list(itertools.chain.from_iterable(choices[n]))
        while len(covered) + len(indexes) > predicted and n > 0:
            n -= 1
            indexes = list(itertools.chain.from_iterable(choices[n]))
        if len(covered) + len(indexes) > predicted or covered & set(indexes):
            continue
        for i in indexes:
            covered.add(i)
            draw = rng.random()
            output[i] = MASK if draw < 0.8 else tokens[i] if draw < 0.9 else rng.randrange(SIZE)
    return output, covered


def test_ngrams_follow_the_release():
    faults = [
        (rules.ngram, {"lengths": rules.ALBERT_LENGTHS[::-1]}),  # favours the longer
        (rules.ngram, {"lengths": (1, 1, 1)}),
        (rules.whole_word, {}),
    ]
    compared("ngram", albert_double, {"rate": 0.3}, faults)

    def longer(tokens, rng):
        return albert_double(tokens, rng, weights=(1 / 3, 1 / 2, 1))

    compared("ngram", longer, {"rate": 0.3, "lengths": rules.ALBERT_LENGTHS[::-1]})


@given(st.lists(ROW, min_size=1, max_size=4), st.integers(0, 12), st.booleans(), st.integers(0, 999))
@settings(max_examples=200)
def test_runs_equal_a_scalar_double_with_the_same_draws(rows, budget, counted, seed):
    width = max(1, *map(len, rows))
    ids, present = batch(rows, width)
    index = units.units(masking.candidates(ids, present, VOCABULARY), ~CONTINUES[ids])
    limits = np.full(len(rows), budget), np.full(len(rows), budget // 2) if counted else None
    groups = selection.selection(index, limits[0], np.random.default_rng(seed), rules.MACBERT_LENGTHS, limits[1])
    rng = np.random.default_rng(seed)
    keys = rng.random(ids.shape)
    drawn = selection.runs(rules.MACBERT_LENGTHS, ids.shape, rng)
    for row, key, n, found in zip(rows, keys, drawn, groups, strict=True):
        words, taken = words_of(row), []
        left, words_left = budget, budget // 2 if counted else width
        for start in sorted(range(len(words)), key=lambda u, key=key: key[u]):
            for length in range(int(n[start]), 0, -1):
                run = words[start : start + length]
                if len(run) <= words_left and sum(map(len, run)) <= left:
                    if not any(word in other for word in run for other in taken):
                        taken.append(run)
                        left, words_left = left - sum(map(len, run)), words_left - len(run)
                    break
        taken.sort()
        expected = [-1] * width
        for g, run in enumerate(taken):
            for i in itertools.chain.from_iterable(run):
                expected[i] = g
        assert found.tolist() == expected


def span_double(tokens, rng, rate=0.3):
    """The release: a set of masked positions, anchors drawn until one is free; then spans sorted and merged."""
    inner = tokens[1:-1]
    starts = [not CONTINUES[t] for t in inner]
    mask, found = set(), []
    while len(mask) < math.ceil(len(inner) * rate):
        length = rng.choices(range(1, 11), [0.2 * 0.8**n for n in range(10)])[0]
        anchor = rng.randrange(len(inner))
        if anchor in mask:
            continue
        left = anchor
        while left > 0 and not starts[left]:
            left -= 1
        words, right, last = 0, left, left
        while words < length and right < len(inner) and len(mask) < math.ceil(len(inner) * rate):
            stop = right + 1
            while stop < len(inner) and not starts[stop]:
                stop += 1
            for i in range(right, stop):
                if len(mask) >= math.ceil(len(inner) * rate):
                    break
                mask.add(i)
                last = i
            words, right = words + 1, stop
        found.append([left, last])
    merged = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1] + 1:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    output = list(tokens)
    for start, end in merged:
        draw = rng.random()
        for i in range(start + 1, end + 2):
            if draw < 0.8:
                output[i] = MASK
            elif draw < 0.9:
                output[i] = rng.choice([6, 6, 7])
    return output, {i + 1 for i in mask}


ONE = [CLS, 6, 10, 8, 7, 8, 11, 9, 6, 13, 10, 8, 12, 16, 19, SEP]


def test_spans_follow_the_release():
    def by_piece(*given, **own):
        """The flag's default: a draw for each piece."""
        made = rules.span(*given, **own)
        ids, _, rng, vocabulary = given
        corrupted = ids.copy()
        pool = own["pool"]
        corrupted[made.chosen] = replacement.replacement(ids[made.chosen], rng, vocabulary, pool=pool)
        return made._replace(ids=corrupted)

    pool = frozen(np.array([6, 6, 7]))
    given = {"rate": 0.3, "pool": pool}
    faults = [
        (by_piece, {}),
        (rules.span, {"lengths": tuple(0.3 * 0.7**n for n in range(10))}),  # the flag's geometric default
        (rules.span, {"pool": np.array([6, 7, 7])}),
        (rules.span, {"rate": 0.25}),
    ]
    seen = lambda before, after: MASK if after == MASK else after  # noqa: E731
    compared("span", span_double, given, faults, ONE, 2 * COPIES, seen)


def test_spans_merge_end_at_gaps_and_are_cut_at_the_budget():
    ids, present = batch([SENTENCE] * 3000, 17)
    made = rules.span(ids, present, np.random.default_rng(0), VOCABULARY, rate=0.5)
    assert (made.chosen.sum(1) == math.ceil(0.5 * 12)).all()
    for row in made.groups[:300].tolist():
        for g, run in itertools.groupby(range(17), key=row.__getitem__):
            run = list(run)
            assert g == -1 or not (run[0] < 8 < run[-1])  # never over [SEP]
        kept = [g for g, _ in itertools.groupby(row) if g >= 0]
        assert kept == list(range(len(kept)))  # stretches that touch are one
    candidates = frozen(np.ones((2000, 12), bool))
    starts = frozen(np.tile(np.arange(12) % 4 == 0, (2000, 1)))
    groups = selection.spans(candidates, starts, np.full(2000, 6), np.random.default_rng(1), (1.0,))
    assert ((groups >= 0).sum(1) == 6).all()  # one word of four, and the first half of another
    halves = (groups >= 0).reshape(2000, 3, 4).sum(-1)
    assert set(map(tuple, np.sort(halves, 1).tolist())) == {(0, 2, 4)}


def test_span_targets():
    """Spans (2, 3) and (4, 6) are one with boundaries 1 and 7; at the block's ends there is none."""
    ids = frozen(np.array([[CLS, 20, 21, 22, 23, 24, 25, 26, 27, SEP, PAD]] * 2, np.int32))
    candidates = frozen(ids > MASK)
    chosen = np.zeros(ids.shape, bool)
    chosen[0, 2:7] = True
    chosen[1, [1, 2, 5, 8]] = True
    groups = frozen(selection.stretches(chosen))
    fields = masking.span_targets(ids, candidates, groups, 6)
    assert fields["span_boundaries"].tolist() == [[[1, 7]] * 5 + [[0, 0]], [[4, 6]] + [[0, 0]] * 5]
    assert fields["span_positions"].tolist() == [[0, 1, 2, 3, 4, 0], [0] * 6]
    assert fields["span_ids"].tolist() == [[21, 22, 23, 24, 25, 0], [24, 0, 0, 0, 0, 0]]
    assert all(field.dtype == np.int32 for field in fields.values())
    short = masking.span_targets(ids, candidates, groups, 6, max_span=2)
    assert short["span_positions"].tolist()[0] == [0, 1, 0, 0, 0, 0]
    assert short["span_boundaries"][0, 1].tolist() == [1, 7]
    assert masking.span_targets(ids, candidates, groups, 1)["span_ids"].tolist() == [[21], [24]]


@given(st.lists(ROW, min_size=1, max_size=4), st.integers(1, 30), st.integers(1, 6), st.integers(0, 99))
def test_span_targets_equal_a_scalar_double(rows, slots, longest, seed):
    width = max(1, *map(len, rows))
    ids, present = batch(rows, width)
    made = rules.span(ids, present, np.random.default_rng(seed), VOCABULARY, rate=0.4)
    candidates = masking.candidates(ids, present, VOCABULARY)
    fields = masking.span_targets(ids, candidates, made.groups, slots, longest)
    for b, row in enumerate(rows):
        expected = []
        for g in range(made.groups[b].max() + 1):
            span = np.flatnonzero(made.groups[b] == g).tolist()
            left, right = span[0] - 1, span[-1] + 1
            inside = range(len(row))
            if left in inside and right in inside and not {row[left], row[right]} & {CLS, SEP}:
                expected += [((left, right), k, row[i]) for k, i in enumerate(span)][:longest]
        expected = (expected + [((0, 0), 0, 0)] * slots)[:slots]
        found = zip(*(fields[f"span_{part}"][b].tolist() for part in ("boundaries", "positions", "ids")), strict=True)
        assert [(tuple(pair), k, token) for pair, k, token in found] == expected
        assert all(right >= left + 2 or (left, right) == (0, 0) for left, right in fields["span_boundaries"][b])


def roberta_double(tokens, rng, rate=0.25):
    """fairseq: one probabilistic rounding, a choice without replacement of all tokens, then masks and two coins."""
    count = int(rate * len(tokens) + rng.random())
    taken = set(rng.sample(range(len(tokens)), count))
    output = list(tokens)
    for i in taken:
        output[i] = MASK
        if rng.random() < 0.2:
            output[i] = tokens[i] if rng.random() < 0.5 else rng.choice(range(4, SIZE))
    return output, taken


SHORT = [CLS, 6, 10, 8, 7, 9, SEP]


def test_roberta_follows_the_release():
    def always_down(ids, present, rng, vocabulary, **own):
        return rules.bert(ids, present, rng, vocabulary, **own)

    faults = [(always_down, {}), (rules.roberta, {"rate": 0.3})]
    compared("roberta", roberta_double, {"rate": 0.25}, faults, SHORT, 2 * COPIES)


def electra_double(tokens, rng, rate=0.3, width=9):
    """The release: slots drawn with replacement; position 0 stands for an unused one and is never written to."""
    slots = math.floor((rate + 0.005) * width)
    count = max(1, min(slots, round(len(tokens) * rate)))
    where = [i for i, t in enumerate(tokens) if t not in (CLS, SEP, MASK, PAD)]
    positions = [rng.choice(where) for _ in range(count)]
    output = list(tokens)
    for i in positions:
        if rng.random() < 0.85:
            output[i] = MASK
    return output, set(positions)


def test_electra_follows_the_release():
    faults = [(rules.electra, {"distinct": True}), (rules.electra, {"mask": 1.0}), (rules.bert, {})]
    compared("electra", electra_double, {"rate": 0.3}, faults, SHORT, 2 * COPIES)


def macbert_double(tokens, rng, rate=0.5):
    """The README: words by n-grams up to a share of the words; similar, random, unchanged."""
    words = words_of(tokens)
    starts = list(range(len(words)))
    rng.shuffle(starts)
    left, taken, output = max(1, round(rate * len(words))), set(), list(tokens)
    for start in starts:
        length = rng.choices((1, 2, 3, 4), (0.4, 0.3, 0.2, 0.1))[0]
        run = range(start, min(start + min(length, left), len(words)))
        if not run or taken & set(run):
            continue
        taken |= set(run)
        left -= len(run)
        draw = rng.random()
        for word in (words[w] for w in run):
            pieces = tuple(tokens[i] for i in word)
            same = [other for other in SIMILAR.get(pieces, []) if len(other) == len(pieces)]
            new = pieces
            if draw < 0.8 and same:
                new = rng.choice(same)
            elif draw < 0.9:
                new = tuple(rng.randrange(5, SIZE) for _ in pieces)
            for i, token in zip(word, new, strict=True):
                output[i] = token
    return output, {i for w in taken for i in words[w]}


def test_macbert_follows_the_readme():
    """The random tokens are seen as such; those of the similar words by their ids."""
    known = {token for found in SIMILAR.values() for word in found for token in word}

    def seen(before, after):
        return "=" if after == before else after if after in known else "r"

    row = [CLS, 6, 10, 8, 7, 8, 11, 9, SEP]
    faults = [
        (rules.macbert, {"similar": {}}),
        (rules.macbert, {"similar": {**SIMILAR, (9,): [(12,)]}}),
        (rules.macbert, {"replace": 0.9}),
        (rules.macbert, {"lengths": (0.25,) * 4}),
        (rules.macbert, {"rate": 0.25}),
    ]
    compared("macbert", macbert_double, {"rate": 0.5, "similar": SIMILAR}, faults, row, 2 * COPIES, seen)


def test_macbert_without_or_with_itself_as_a_thesaurus():
    ids, present = batch([SENTENCE] * 10_000, 16)
    rng = np.random.default_rng(0)
    itself = {tuple(SENTENCE[i] for i in word): [tuple(SENTENCE[i] for i in word)] for word in words_of(SENTENCE)}
    made = rules.macbert(ids, present, rng, VOCABULARY, similar=itself, replace=1.0, keep=0.0)
    np.testing.assert_array_equal(made.ids, ids)
    assert made.chosen.any(1).all()
    other = {word: [(*same, 9) for same in found] for word, found in itself.items()}  # all of another length
    made = rules.macbert(ids, present, rng, VOCABULARY, similar=other)
    after = made.ids[made.chosen & (made.ids != ids)]
    assert not np.isin(after, SPECIALS).any()
    assert len(np.unique(after)) == OTHER
    table = replacement.thesaurus(SIMILAR, VOCABULARY)
    runs = [rules.macbert(ids, present, np.random.default_rng(1), VOCABULARY, similar=s).ids for s in (SIMILAR, table)]
    np.testing.assert_array_equal(*runs)
    with pytest.raises(InputError, match="outside the vocabulary"):
        replacement.thesaurus({(5,): [(SIZE,)]}, VOCABULARY)


WORD = st.lists(st.integers(5, 9), min_size=1, max_size=4).map(tuple)


@given(st.dictionaries(WORD, st.lists(WORD, max_size=4), max_size=12), st.lists(WORD, min_size=1, max_size=9))
@settings(max_examples=200)
def test_the_thesaurus_finds_what_the_mapping_holds(similar, words):
    labels = frozen(np.array([t for word in words for t in word]))
    number = frozen(np.array([w for w, word in enumerate(words) for _ in word]))
    place = frozen(np.array([i for word in words for i in range(len(word))]))
    known = replacement.thesaurus(similar, VOCABULARY)
    found = replacement.similar(labels, number, place, known, np.random.default_rng(0))
    for w, word in enumerate(words):
        same = [other for other in similar.get(word, []) if len(other) == len(word)]
        new = tuple(found[number == w].tolist())
        assert new in same if same else set(new) == {-1}


# ---- Units -----------------------------------------------------------------------------------------------------------
def test_entities_are_taken_whole_and_the_rest_by_word():
    ids, present = batch([SENTENCE] * 4000, 16)
    handed_in = np.full(ids.shape, -1, np.int32)
    handed_in[:, [2, 3, 4]], handed_in[:, [9, 10]] = 1, 0  # over a word and a third of the next; across nothing
    handed_in[:, 8] = 1  # [SEP] is no candidate, whatever is handed in
    frozen(handed_in)
    made = rules.entity(ids, present, np.random.default_rng(0), VOCABULARY, rate=0.3, units=handed_in)
    for group in ([2, 3, 4], [9, 10], [5, 6], [11, 12]):
        part = made.chosen[:, group]
        assert (part.all(1) == part.any(1)).all()
        assert part.any()
    assert not made.chosen[:, 8].any()
    by_piece = VOCABULARY._replace(continues=None)
    loose = rules.entity(ids, present, np.random.default_rng(0), by_piece, rate=0.3, units=handed_in).chosen
    assert (loose[:, 11] != loose[:, 12]).any()
    assert (loose[:, 2] == loose[:, 4]).all()
    with pytest.raises(InputError, match="unit 99"):
        rules.entity(ids, present, np.random.default_rng(0), VOCABULARY, units=np.full(ids.shape, 99))


README = ["使用", "语言", "模型", "来", "预测", "下", "一个", "词", "的", "probability", "。"]


def test_the_readmes_segmentation():
    """BERT-wwm's example: positions are chosen by the words of a Chinese segmentation."""
    pieces = [*"使用语言模型来预测下一个词的", "pro", "##ba", "##bility", "。"]
    starts = units.segmentation(pieces, README)
    assert starts == [1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1]
    assert units.segmentation(pieces, []) == [0 if piece.startswith("##") else 1 for piece in pieces]
    assert units.segmentation(list("研究生命起源"), ["研究", "研究生", "生命", "起源"]) == [1, 0, 0, 1, 1, 0]  # greedy
    assert units.segmentation(list("2024年"), ["2024年"]) == [1] * 5  # Chinese throughout, or not at all
    assert units.segmentation([], ["使用"]) == []
    ids, present = batch([[CLS, *range(20, 20 + len(pieces)), SEP]] * 3000, 22)
    given_starts = np.zeros(ids.shape, bool)
    given_starts[:, 1 : 1 + len(pieces)] = starts
    frozen(given_starts)
    bounds = [i for i, start in enumerate([*starts, 1], 1) if start]
    for name in ("whole-word", "ngram", "macbert"):
        made = RULES[name](ids, present, np.random.default_rng(0), VOCABULARY, starts=given_starts)
        for a, b in itertools.pairwise(bounds):
            assert (made.chosen[:, a:b].all(1) == made.chosen[:, a:b].any(1)).all(), name
    alone = rules.bert(ids, present, np.random.default_rng(0), VOCABULARY, starts=given_starts).chosen
    assert (alone[:, 1] != alone[:, 2]).any()


def test_without_words_the_stream_of_whole_words_is_berts():
    ids, present = batch([LONG] * 50, 45)
    every = frozen(np.ones(ids.shape, bool))
    one = rules.whole_word(ids, present, np.random.default_rng(3), VOCABULARY, starts=every)
    two = rules.bert(ids, present, np.random.default_rng(3), VOCABULARY)
    np.testing.assert_array_equal(one.ids, two.ids)


@pytest.mark.parametrize("name", ["whole-word", "ngram", "macbert", "span"])
def test_words_must_be_known(name):
    ids, present = batch([SENTENCE], 15)
    with pytest.raises(InputError, match="continues"):
        RULES[name](ids, present, np.random.default_rng(0), VOCABULARY._replace(continues=None))


@given(st.lists(ROW, min_size=1, max_size=3))
def test_places_count_within_units(rows):
    ids, present = batch(rows, max(1, *map(len, rows)))
    index = units.units(masking.candidates(ids, present, VOCABULARY), ~CONTINUES[ids])
    found = units.places(index)
    for b, row in enumerate(rows):
        for word in words_of(row):
            assert found[b, word].tolist() == list(range(len(word)))
