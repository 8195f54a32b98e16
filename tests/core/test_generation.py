"""Writing token by token: chains whose best continuations are known, then GPT-2 and the published implementation."""

import io
import itertools
import json
import sys
from types import ModuleType

import hypothesis
import numpy as np
import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minibert
from minibert import cli, families, generation, inference, objective, tree
from minibert.errors import InputError
from minibert.families import bert, gpt2
from minibert.generation import Settings
from minibert.heads import next_token
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE
from minibert.tokenizers.layout import Layout

EARLY = (False, True, "never")


# ---- Chains: what comes depends on the last two tokens ---------------------------------------------------------------
def chain(table):
    """(step, state) over log probabilities (V + 1, V, V): of the token before (V: none), the last one, the next."""

    def step(ids, state):
        before = np.concatenate([state["last"][:, None], ids], 1)[:, -2]
        last = ids[:, -1].copy()
        last.flags.writeable = False  # a state is never written to
        return table[before, ids[:, -1]], {"last": last, "read": [state["read"][0] + ids.shape[1]]}

    return step, lambda rows: {"last": np.full(rows, len(table) - 1), "read": [np.zeros(rows, int)]}


def drawn_chain(seed, size=4, spread=1.5):
    logits = spread * np.random.default_rng(seed).standard_normal((size + 1, size, size))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def score(table, ids):
    """The sum of the log probabilities of all but the first id."""
    before = [len(table) - 1, *ids]
    return sum(table[before[i], ids[i], ids[i + 1]] for i in range(len(ids) - 1))


def run(table, ids, kind=None, **settings):
    (step, begun), ids = chain(table), np.array(ids)
    settings = Settings(**settings)
    if kind is None:
        kind = generation.beam if settings.num_beams > 1 else generation.greedy
    return kind(step, begun(len(ids)), ids, settings)


def test_greedy_is_the_path_of_the_chain():
    table = drawn_chain(0, 7)
    written = run(table, [[2], [5]], max_length=9)
    for row, total in zip(written.ids, written.scores, strict=True):
        path = [7, row[0]]
        while len(path) < 10:
            path.append(int(table[path[-2], path[-1]].argmax()))
        assert row.tolist() == path[1:]
        assert total == pytest.approx(score(table, path[1:]))
    assert written.lengths.tolist() == [8, 8]


def every(table, first, most, ends):
    """Every sequence that ends, or is as long as may be."""
    for length in range(2, most + 1):
        for rest in itertools.product(range(table.shape[1]), repeat=length - 1):
            if not set(rest[:-1]) & set(ends) and (rest[-1] in ends or length == most):
                yield [first, *rest]


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.7, 2.0])
@pytest.mark.parametrize("ends", [(), (3,), (1, 2)])
def test_beams_as_wide_as_all_sequences_find_the_best(ends, penalty, early):
    table, most = drawn_chain(1), 5
    given = {"num_beams": 4 ** (most - 1), "max_length": most, "eos_token_id": ends, "pad_token_id": 9}
    written = run(table, [[0], [2]], length_penalty=penalty, early_stopping=early, **given)
    for row, total, length in zip(*written, strict=True):
        value = {tuple(ids): score(table, ids) / (len(ids) - 1) ** penalty for ids in every(table, row[0], most, ends)}
        best = max(value, key=value.get)
        assert row[: length + 1].tolist() == list(best)
        assert set(row[length + 1 :]) <= {9}
        assert total == pytest.approx(value[best])


def beams_plainly(table, first, width, most, ends, penalty, early):
    """(4), (5) of one row in lists: (score, ids) of the best that is finished."""
    running, finished, better = [(0.0, [first])], [], True
    for now in range(2, most + 1):
        grown = [(total + table[ids[-2] if len(ids) > 1 else len(table) - 1, ids[-1], token], [*ids, token])
                 for total, ids in running for token in range(table.shape[1])]  # fmt: skip
        grown, count = sorted(grown, key=lambda pair: -pair[0]), max(2, 1 + len(ends)) * width
        if (np.diff([total for total, _ in grown[: count + 1]]) > -1e-9).any():
            hypothesis.reject()  # the same steps in another order: rounding decides which is better
        grown = grown[:count]
        ended = [ids[-1] in ends or now == most for _, ids in grown]
        if better and not (early is True and len(finished) == width):
            finished += [(total / (now - 1) ** penalty, ids) for total, ids in itertools.compress(grown[:width], ended)]
            finished = sorted(finished, key=lambda pair: -pair[0])[:width]
        running = [pair for pair, end in zip(grown, ended, strict=True) if not end][:width]
        if not running or (early is True and len(finished) == width):
            break
        longest = most if early == "never" and penalty > 0 else now
        hope = running[0][0] / (longest - 1) ** penalty
        better = better and (len(finished) < width or hope > finished[-1][0])
    return finished[0]


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.5, 2.0])
@hypothesis.settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([(), (3,), (1, 2), (0, 4, 5)]))
def test_beams_are_the_rule_said_plainly(penalty, early, seed, width, ends):
    table = drawn_chain(seed, 6)
    given = {"num_beams": width, "max_length": 8, "eos_token_id": ends, "pad_token_id": 9}
    written = run(table, [[0], [3], [5]], generation.beam, length_penalty=penalty, early_stopping=early, **given)
    for row, total, length in zip(*written, strict=True):
        due, ids = beams_plainly(table, row[0], width, 8, ends, penalty, early)
        assert row[: 1 + length].tolist() == ids
        assert total == pytest.approx(due)


def test_each_way_of_early_stopping_reads_no_further_than_it_has_to():
    """Of one row: until there are as many as beams; until none is hoped for by its length so far; to the end."""

    def steps(early):
        counted, (step, begun) = [], chain(drawn_chain(37, 6))
        settings = Settings(max_length=30, num_beams=2, eos_token_id=(3, 4), early_stopping=early)
        generation.beam(lambda *a: counted.append(1) or step(*a), begun(1), np.array([[0]]), settings)
        return len(counted)

    assert [steps(early) for early in (True, False, "never")] == [5, 7, 29]


@pytest.mark.parametrize("width", [2, 3, 5])
def test_more_beams_find_no_worse_and_the_score_is_that_of_the_sequence(width):
    table = drawn_chain(2, 6)
    found = [run(table, [[0], [1]], max_length=8, num_beams=w, length_penalty=0.0) for w in (width, 6**4)]
    for row, total, best in zip(found[0].ids, found[0].scores, found[1].scores, strict=True):
        assert total == pytest.approx(score(table, row.tolist()))
        assert total <= best + 1e-12


def test_one_beam_without_an_end_is_greedy():
    table = drawn_chain(3, 6)
    one = run(table, [[0], [3], [5]], generation.beam, max_length=10)
    assert np.array_equal(one.ids, run(table, [[0], [3], [5]], max_length=10).ids)


def test_a_state_that_is_not_reordered_is_seen(monkeypatch):
    table = drawn_chain(2, 6)
    right = run(table, [[0], [1]], max_length=8, num_beams=3)
    first = iter([True])
    monkeypatch.setattr(
        generation.tree, "map", lambda f, state: tree.unflatten({k: f(a) for k, a in tree.items(state)})
        if next(first, False) else state
    )  # fmt: skip
    wrong = run(table, [[0], [1]], max_length=8, num_beams=3)
    assert not np.allclose(wrong.scores, [score(table, row.tolist()) / 7 for row in wrong.ids])
    assert np.allclose(right.scores, [score(table, row.tolist()) / 7 for row in right.ids])


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(EARLY), st.sampled_from([-1.0, 0.5, 1.0, 2.0]))
def test_rows_do_not_depend_on_one_another(seed, width, early, penalty):
    table, ids = drawn_chain(seed, 6), np.random.default_rng(seed).integers(0, 6, (3, 2))
    given = {"max_length": 9, "num_beams": width, "eos_token_id": (4,), "early_stopping": early,
             "length_penalty": penalty, "pad_token_id": 7}  # fmt: skip
    together = run(table, ids, **given)
    each = [run(table, ids[i : i + 1], **given) for i in range(3)]
    for row, total, length, alone in zip(*together, each, strict=True):
        assert row[: 2 + length].tolist() == alone.ids[0].tolist()
        assert total == alone.scores[0]


def test_rows_that_ended_are_filled_and_their_score_stands():
    table = drawn_chain(4, 6)
    free = run(table, [[0], [1], [2]], max_length=12)
    ends = tuple(int(free.ids[r, 3 + r]) for r in range(2))  # two ends, which two rows meet
    for pad, fill in ((99, 99), (None, ends[0]), (0, 0)):
        written = run(table, [[0], [1], [2]], max_length=12, eos_token_id=ends, pad_token_id=pad)
        assert written.lengths.min() < 11
        for row, total, length, whole in zip(*written, free.ids, strict=True):
            assert row[: 1 + length].tolist() == whole[: 1 + length].tolist()
            assert not set(row[1:length]) & set(ends)
            assert set(row[1 + length :]) <= {fill}
            assert total == pytest.approx(score(table, whole[: 1 + length].tolist()))


def test_beams_are_filled_as_published():
    """Behind the end with the padding id, but where that is 0: then with the end id (transformers' `or`)."""
    table = drawn_chain(0, 6)
    for pad, fill in ((9, 9), (None, 3), (0, 3)):
        written = run(table, [[0], [1], [2]], max_length=12, num_beams=2, eos_token_id=(3, 4), pad_token_id=pad)
        assert written.lengths.min() < written.lengths.max()
        for row, length in zip(written.ids, written.lengths, strict=True):
            assert set(row[1 + length :]) <= {fill}


def test_with_all_rows_ended_nothing_more_is_read():
    table, counted = drawn_chain(5, 6), []
    step, begun = chain(table)
    ends = tuple(range(6))
    generation.greedy(lambda *a: counted.append(1) or step(*a), begun(2), np.array([[0], [1]]),
                      Settings(max_length=30, eos_token_id=ends))  # fmt: skip
    assert len(counted) == 1


def test_the_prompt_is_read_once_a_row_and_the_state_repeated_then():
    table, read = drawn_chain(5, 6), []
    step, begun = chain(table)
    generation.beam(lambda ids, state: read.append(ids.shape) or step(ids, state), begun(2), np.array([[0, 1], [1, 2]]),
                    Settings(max_length=5, num_beams=4))  # fmt: skip
    assert read == [(2, 1), (8, 1), (8, 1)]


def test_forced_gives_the_logits_after_each_of_the_ids():
    table, (step, begun) = drawn_chain(6), chain(drawn_chain(6))
    ids = np.array([[0, 3, 1], [2, 2, 2]])
    logits = generation.forced(step, begun(2), ids)
    assert logits.shape == (2, 3, 4)
    assert np.array_equal(logits[0, 2], table[3, 1])


# ---- Which tokens may come -------------------------------------------------------------------------------------------
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_no_ngram_stands_twice(seed, size):
    table = drawn_chain(seed, 8, spread=5.0)
    for width in (1, 3):
        for row in run(table, [[0], [2]], max_length=8, num_beams=width, no_repeat_ngram_size=size).ids.tolist():
            ngrams = [tuple(row[i : i + size]) for i in range(len(row) - size + 1)]
            assert len({*ngrams}) == len(ngrams)


@pytest.mark.parametrize("way", [{"num_beams": 1}, {"num_beams": 2}, {"num_beams": 7}, {"do_sample": True}], ids=str)
def test_a_row_of_which_every_token_is_forbidden_ends_there(way):
    """It keeps what was written, and its score; the other goes on."""
    table, ids = drawn_chain(11, 5), [[1, 0, 2, 0], [1, 1, 1, 1]]
    (step, begun), settings = chain(table), {"max_length": 11, "no_repeat_ngram_size": 1, "pad_token_id": 9}
    if way == {"do_sample": True}:
        u = np.random.default_rng(0).random((7, 2))
        written = generation.sampled(step, begun(2), np.array(ids), Settings(**settings, **way), u)
    else:
        written = run(table, ids, length_penalty=0.0, **settings, **way)
    assert written.lengths.tolist() == [2, 4]
    assert written.ids.shape == (2, 8)
    for row, begin, length, total in zip(written.ids, ids, written.lengths, written.scores, strict=True):
        assert row[:4].tolist() == begin
        assert sorted({*row[: 4 + length].tolist()}) == [0, 1, 2, 3, 4]
        assert set(row[4 + length :]) <= {9}
        due = score(table, row[: 4 + length].tolist()) - score(table, begin)
        assert total == pytest.approx(due + first_step(table, begin, row[4]))
    alone = run(table, [[0, 1, 2, 3, 4]], **{**settings, "max_length": 9}, **way) if "num_beams" in way else None
    assert alone is None or (alone.ids.tolist(), alone.scores.tolist()) == ([[0, 1, 2, 3, 4]], [0.0])


def first_step(table, begin, token):
    """What the chain's first score differs by: it has not read what comes before the last id."""
    return table[len(table) - 1, begin[-1], token] - table[begin[-2], begin[-1], token]


def test_of_beams_that_may_not_go_on_the_best_is_taken():
    """Wide enough for every order of the ids: the best of them."""
    table = drawn_chain(12, 5)
    written = run(table, [[1]], max_length=20, num_beams=24, no_repeat_ngram_size=1, length_penalty=2.0)
    best = max(itertools.permutations([0, 2, 3, 4]), key=lambda rest: score(table, [1, *rest]))
    assert written.ids.tolist() == [[1, *best]]
    assert written.scores[0] == pytest.approx(score(table, [1, *best]) / 16)
    ended = run(table, [[1]], max_length=20, num_beams=24, no_repeat_ngram_size=1, eos_token_id=(3,))
    assert ended.ids[0, ended.lengths[0]] == 3, "what is finished stands before what ran dry"


def test_scores_of_what_may_come():
    ids = np.array([[0, 1, 0, 1], [2, 2, 0, 3]])
    scores = np.array([[1.0, -1.0, 2.0, 0.5], [4.0, 3.0, -2.0, 1.0]])
    scores.flags.writeable = False

    def allowed(begins=None, **settings):
        return generation.allowed(scores, ids, Settings(**settings), begins).tolist()

    no = -np.inf
    assert allowed() == scores.tolist()
    assert allowed(repetition_penalty=2.0) == [[0.5, -2.0, 2.0, 0.5], [2.0, 3.0, -4.0, 0.5]]
    assert allowed(np.array([0, 2]), repetition_penalty=2.0) == [[0.5, -2.0, 2.0, 0.5], [2.0, 3.0, -2.0, 0.5]]
    assert allowed(no_repeat_ngram_size=2) == [[no, -1.0, 2.0, 0.5], [4.0, 3.0, -2.0, 1.0]]
    assert allowed(no_repeat_ngram_size=1) == [[no, no, 2.0, 0.5], [no, 3.0, no, no]]
    assert allowed(no_repeat_ngram_size=3) == [[no, -1.0, 2.0, 0.5], [4.0, 3.0, -2.0, 1.0]]
    assert allowed(no_repeat_ngram_size=5) == scores.tolist()
    assert allowed(min_length=5, eos_token_id=(0, 3, 77)) == [[no, -1.0, 2.0, no], [no, 3.0, -2.0, no]]
    assert allowed(min_length=4, eos_token_id=(0,)) == scores.tolist()
    assert allowed(max_length=5, forced_eos_token_id=(1, 2)) == [[no, 0.0, 0.0, no]] * 2
    assert allowed(suppress_tokens=(2, 77), max_length=5, forced_eos_token_id=(1, 2)) == [[no, 0.0, no, no]] * 2
    assert allowed(max_length=6, forced_eos_token_id=(1,), forced_bos_token_id=2) == scores.tolist()
    one = generation.allowed(scores, ids[:, :1], Settings(forced_bos_token_id=2), None)
    assert one.tolist() == [[no, no, 0.0, no]] * 2


def kept(p, **settings):
    """The ids that are drawn from."""
    scores = generation.narrowed(np.log(np.array([p], np.float64)), Settings(**settings))
    return np.flatnonzero(np.isfinite(scores[0])).tolist()


def test_the_nucleus_is_the_published_one():
    """p .8 would keep all three, as 1 - .8 is below .2 in floating point: cases stay off such boundaries."""
    p = [0.5, 0.3, 0.2]
    assert kept(p, top_p=0.51) == [0, 1]
    assert kept(p, top_p=0.49) == [0]
    assert kept(p, top_p=0.79) == [0, 1]
    assert kept(p, top_p=0.81) == [0, 1, 2]
    assert kept(p, top_p=0.0) == [0]
    assert kept(p, top_p=1.0) == [0, 1, 2]
    assert kept(p[::-1], top_p=0.51) == [1, 2]


def test_equals_of_the_kth_stay():
    assert kept([0.3, 0.3, 0.3, 0.1], top_k=2) == [0, 1, 2]
    assert kept([0.3, 0.3, 0.3, 0.1], top_k=9) == [0, 1, 2, 3]
    assert kept([0.1, 0.4, 0.2, 0.3], top_k=2) == [1, 3]
    assert kept([0.5, 0.5], top_p=0.0) == [1], "one stays"


@pytest.mark.parametrize(("settings", "due"), [
    ({}, [5, 3, 2]), ({"top_k": 2}, [6, 4, 0]), ({"temperature": 0.5}, [7, 2, 1]), ({"top_p": 0.4}, [10, 0, 0]),
])  # fmt: skip
def test_draws_on_a_grid_are_as_frequent_as_they_are_probable(settings, due):
    """The middles of n cells: as many in each token's share as it is wide, to one cell."""
    scores = generation.narrowed(np.log(np.repeat([[0.5, 0.3, 0.2]], 10, 0)), Settings(**settings))
    chosen = generation.drawn(scores, (np.arange(10) + 0.5) / 10)
    assert np.bincount(chosen, minlength=3).tolist() == due
    assert (np.diff(chosen) >= 0).all()


def test_what_has_no_probability_is_never_drawn():
    scores = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])
    for u, due in ((0.0, 1), (0.4999, 1), (0.5, 3), (np.nextafter(1, 0), 3)):
        assert generation.drawn(scores, np.array([u])).tolist() == [due]


def test_samples_follow_their_numbers():
    table, (step, begun) = drawn_chain(7, 5), chain(drawn_chain(7, 5))
    u = generation.drawn_uniforms(3, range(2), 6)
    written = generation.sampled(step, begun(2), np.array([[0], [4]]), Settings(max_length=7), u)
    for r, row in enumerate(written.ids):
        before = [5, row[0]]
        for number in u[:, r]:
            p = np.exp(table[before[-2], before[-1]])
            before.append(next(i for i in range(5) if p[: i + 1].sum() > number * p.sum()))
        assert row.tolist() == before[1:]
    assert np.array_equal(u[:4, 1:], generation.drawn_uniforms(3, [1], 4)), "of its row and seed alone"
    assert not np.array_equal(u, generation.drawn_uniforms(4, range(2), 6))


# ---- Settings --------------------------------------------------------------------------------------------------------
class Fields:
    eos_token_id, pad_token_id, bos_token_id = 4, None, 2


def settled(given=(), file=None, length=3):
    return generation.settled(dict(given), file, Fields(), length)[0]


def test_arguments_win_over_the_file_and_the_file_over_the_config():
    assert settled() == Settings(max_length=23, eos_token_id=(4,), bos_token_id=2)
    file = {"eos_token_id": [1, 2], "max_new_tokens": 5, "min_length": 2, "use_cache": False, "typical_p": 1.0}
    assert settled(file=file) == Settings(max_length=8, min_length=2, eos_token_id=(1, 2))
    said = {"eos_token_id": None, "max_length": 6, "min_new_tokens": 1, "typical_p": None}
    assert settled(said, file) == Settings(max_length=6, min_length=4)
    both = settled({"max_length": 6, "max_new_tokens": 9})
    assert both.max_length == 12
    assert settled({"eos_token_id": np.array([3, 1])}).eos_token_id == (3, 1)
    for said, limit in (({}, None), ({"max_length": 5}, "max_length"), ({"max_new_tokens": 5}, "max_new_tokens")):
        assert generation.settled(said, {"max_length": 9, "max_new_tokens": 4}, Fields(), 3)[1] == limit


def test_a_file_that_says_nothing_is_one():
    """Then the config says nothing either."""
    assert settled(file={}) == Settings(max_length=23)


def test_what_greedy_never_reads_is_no_reason_to_refuse_a_file():
    file = {"temperature": 0.0, "typical_p": 0.9, "min_p": 0.1, "top_h": 0.3, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1}
    for more in ({}, {"do_sample": False}):
        assert settled(file={**file, **more}) == settled({"do_sample": None}, {**file, "do_sample": True})
        assert settled({"temperature": 0, **more}).temperature == 0
    for name in file:
        with pytest.raises(InputError, match=name):
            settled({"do_sample": True}, {name: file[name]})
    with pytest.raises(InputError, match="do_sample 1: expected true or false"):
        settled(file={"do_sample": 1})


def test_a_length_that_nobody_gave_to_this_prompt_bounds_no_longer_one():
    assert settled(file={"max_length": 3}).max_length == 3 + generation.DEFAULT_NEW
    assert settled(file={"max_length": 4}).max_length == 4


@pytest.mark.parametrize(("given", "file", "line"), [
    ({"num_beam": 2}, {}, "unknown setting 'num_beam'; did you mean 'num_beams'?"),
    ({}, {"alignment": 3}, "generation_config.json: unknown setting 'alignment'; alignment=None passes it over, on the "
                           "command line --pass-over alignment"),
    ({}, {"top_kk": 3}, "generation_config.json: unknown setting 'top_kk'; top_kk=None passes it over, on the command"),
    ({"do_sample": True}, {"typical_p": 0.9}, "generation_config.json: typical_p 0.9: not implemented; typical_p=None"),
    ({}, {"bad_words_ids": [[1]]}, "generation_config.json: bad_words_ids [[1]]: not implemented; bad_words_ids=None "),
    ({"num_return_sequences": 2}, {}, "num_return_sequences 2: not implemented; num_return_sequences=None passes"),
    ({"num_beams": 0}, {}, "num_beams 0: expected a whole number from 1 to 1024"),
    ({"num_beams": 2, "do_sample": True}, {}, "num_beams 2 with do_sample: beams that sample are not implemented"),
    ({"do_sample": 1}, {}, "do_sample 1: expected true or false"),
    ({"temperature": 0.0, "do_sample": True}, {}, "temperature 0: scores are divided by it; to take the "),
    ({"temperature": -1.0}, {}, "temperature -1.0: expected a number from 0 to 1e+06"),
    ({"top_p": 1.5}, {}, "top_p 1.5: expected a number from 0 to 1"),
    ({"early_stopping": "always"}, {}, "early_stopping 'always': expected true, false or \"never\""),
    ({"length_penalty": float("nan")}, {}, "length_penalty nan: expected a number from -20 to 20"),
    ({"eos_token_id": "</s>"}, {}, "eos_token_id '</s>': expected a whole number from 0"),
    ({"max_length": 3}, {}, "max_length 3: the rows have 3 tokens already; max_new_tokens counts new ones"),
    ({}, {"eos_token_id": [0] * 99}, "generation_config.json: eos_token_id [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0"),
    ({}, {"max_new_tokens": 0}, "generation_config.json: max_new_tokens 0: expected a whole number from 1"),
])  # fmt: skip
def test_settings_are_refused_in_one_line(given, file, line):
    with pytest.raises(InputError) as refused:
        settled(given, file)
    assert str(refused.value).startswith(line)


# ---- A family: GPT-2 -------------------------------------------------------------------------------------------------
SIZES = {"vocab_size": 31, "n_positions": 40, "n_embd": 16, "n_layer": 3, "n_head": 4, "initializer_range": 0.9,
         "bos_token_id": 1, "eos_token_id": 5, "pad_token_id": 7, "initialization": "release"}  # fmt: skip


def gpt(seed=0, **fields):
    """Weights so large that the choices differ from step to step, words of equal length, so that none is preferred."""
    model = minibert.create("gpt2", seed=seed, dtype="float64", **{**SIZES, **fields})
    rng = np.random.default_rng(seed)
    for array in tree.leaves(model.params):
        array += 0.3 * rng.standard_normal(array.shape)
    words = model.params["embeddings"]["word"]["weight"]
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    model.params["embeddings"]["position"]["weight"] *= 2
    model.params["norm"]["bias"][:] = 0
    return model


def prompts(rng, rows, length, vocabulary=31):
    """(ids, mask) of unequal length, the first of one token alone, padded on the left with 7."""
    lengths = np.array([1, length, *rng.integers(1, length + 1, rows)])[:rows]
    mask = np.arange(length) >= length - lengths[:, None]
    return np.where(mask, rng.integers(8, vocabulary, (rows, length)), 7), mask.astype(int)


def test_step_by_step_is_the_full_forward():
    """Every way to cut a row into what `start` reads, steps of several tokens and of one; padding in front, too."""
    model, rng = gpt(), np.random.default_rng(1)
    ids, mask = prompts(rng, 4, 9)
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    h = model.encode(ids, mask, position_ids=positions)["last_hidden_state"]
    full = next_token.predict(h, None, table=model.params["embeddings"]["word"]["weight"])
    largest = np.abs(full).max()
    for cuts in ([8, 9], [5, 6, 7, 8, 9], [3, 7, 9], [1, 8, 9], [0, 4, 9]):
        rows = mask[:, cuts[0] :].all(1)  # what is read in steps is all there
        assert rows.any()
        read = {"input_ids": ids[rows, : cuts[0]], "attention_mask": mask[rows, : cuts[0]]}
        state = model.start(**read) if cuts[0] else model.start()
        for begin, end in itertools.pairwise(cuts):
            logits, state = model.step(ids[rows, begin:end], state)
            assert np.abs(logits - full[rows, end - 1]).max() < 1e-12 * largest, (cuts, end)


@pytest.mark.parametrize("settings", [
    {}, {"do_sample": True, "top_k": 9, "top_p": 0.8, "seed": 4}, {"num_beams": 3}, {"repetition_penalty": 1.5},
    {"repetition_penalty": 3.0, "num_beams": 3},
])  # fmt: skip
def test_prompts_of_unequal_length_go_on_as_each_by_itself(settings):
    model, (ids, mask) = gpt(), prompts(np.random.default_rng(2), 5, 6)
    together = model.generate(ids, mask, max_new_tokens=10, eos_token_id=None, **settings)
    assert np.array_equal(together[:, :6], ids)
    for row, (line, there) in enumerate(zip(ids, mask.astype(bool), strict=True)):
        alone = model.written([line[there]], max_new_tokens=10, eos_token_id=None, first=row, **settings).ids
        assert alone[0, there.sum() :].tolist() == together[row, 6:].tolist(), row


def test_the_shape_and_the_filling_are_as_said():
    model = gpt()
    free = model.generate([[9, 11], [12, 13]], max_new_tokens=8, eos_token_id=None)
    assert free.shape == (2, 10)
    end = free[0, 4].item()
    at = free[0].tolist().index(end) + 1
    ended = model.generate([[9, 11], [12, 13]], max_new_tokens=8, eos_token_id=end)
    assert ended[0].tolist() == [*free[0, :at], *[7] * (ended.shape[1] - at)]
    unpadded = model.generate([[9, 11], [12, 13]], max_new_tokens=8, eos_token_id=end, pad_token_id=None)
    assert unpadded[0].tolist() == [*free[0, :at], *[end] * (ended.shape[1] - at)]
    assert ended.shape[1] > at
    assert model.generate(max_new_tokens=3).shape == (1, 4), "without a prompt from bos_token_id"
    assert model.generate()[0, 0] == 1
    spelled = model.generate([[7, 9], [12, 13]], input_mask=[[0, 1], [1, 1]])
    assert np.array_equal(spelled, model.generate([[7, 9], [12, 13]], [[0, 1], [1, 1]]))
    beams = model.generate([[9, 11], [12, 13]], max_new_tokens=8, num_beams=2)
    assert np.array_equal(beams[:, :2], [[9, 11], [12, 13]])


def test_progress_is_told_of_each_token_as_it_is_written():
    model, told = gpt(), []
    ids = model.generate([[9, 11], [12, 13]], max_new_tokens=8, progress=lambda new: told.append(new.copy()))
    assert np.array_equal(np.stack(told, 1), ids[:, 2:])


def test_the_position_table_bounds_a_row():
    model = gpt()
    assert model.generate([[9] * 38], eos_token_id=None).shape == (1, 41), "cut where nobody asked, the last not read"
    assert model.generate([[9] * 38], eos_token_id=None, max_new_tokens=3).shape == (1, 41)
    line = "4 new tokens after 38 are more than n_positions, 40, has places for: at most 3 are new"
    for settings in ({"max_new_tokens": 4}, {"max_length": 42}):
        with pytest.raises(InputError, match=line):
            model.generate([[9] * 38], **settings)
    model.generation = {"max_length": 400, "eos_token_id": None}
    assert model.generate([[9] * 38]).shape == (1, 41), "nor is what the file says asked for by anyone"
    model.generation = None
    with pytest.raises(InputError, match="a row of 41 tokens is longer than n_positions, which is 40"):
        model.generate([[9] * 41])
    padded = [[7] * 30 + [9] * 20], [[0] * 30 + [1] * 20]
    assert model.generate(*padded, eos_token_id=None, max_new_tokens=21).shape == (1, 71), "padding takes no place"


@pytest.mark.parametrize(("inputs", "line"), [
    ({"input_ids": [[99]]}, r"input_ids\[0, 0\] is 99: not in \[0, 31\)"),
    ({"input_ids": [1, 2]}, "input_ids: expected shape"),
    ({"input_ids": [[]]}, "input_ids: empty"),
    ({"input_ids": [[1, 2]], "attention_mask": [[1, 0]]}, "attention_mask: row 0 ends in padding; pad prompts on"),
    ({"attention_mask": [[1, 0]]}, "the batch lacks 'input_ids'"),
    ({"input_ids": [[1, 2]], "position_ids": [[0, 1]]}, "does not take position_ids"),
    ({"input_ids": [[1]], "forced_eos_token_id": 31}, "forced_eos_token_id 31: there are 31 ids"),
    ({"bos_token_id": None}, "no input_ids are given, and no bos_token_id to begin with"),
    ({"bos_token_id": 31}, "bos_token_id 31: there are 31 ids"),
    ({"input_ids": [[1]], "seed": -1, "do_sample": True}, "seed -1"),
    ({"input_ids": [[1]], "uniforms": [[1.0]], "do_sample": True, "max_new_tokens": 1}, "uniforms: expected numb"),
    ({"input_ids": [[1]], "uniforms": [[0.5]], "do_sample": True, "max_new_tokens": 2}, "at least 2 x 1, got"),
    ({"input_ids": [[1]], "no_such": 1}, "unknown setting 'no_such'"),
])  # fmt: skip
def test_what_generate_refuses(inputs, line):
    with pytest.raises(InputError, match=line):
        gpt().generate(**inputs)


def test_the_doors_of_start_and_step():
    model = gpt()
    state = model.start(input_ids=[[8, 9]])
    for ids, held, line in (
        ([31], state, r"ids\[0, 0\] is 31"), ([8, 9], state, "state: 'layers.0.key' is .* dimensions and 2 rows"),
        ([8], None, "state None: expected what `start` or `step` of this model"), ([[]], state, "ids: empty"),
        ([[[8]]], state, "ids: expected shape"), (["a"], state, "ids: expected numbers"),
        ([8], {"layers": 3}, "state: it lacks 'layers.0.key'; expected what `start` or `step` of this model returned"),
        ([[8] * 39], state, "41 tokens a row, but n_positions is 40"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=line):
            model.step(ids, held)
    with pytest.raises(InputError, match=r"input_ids\[0, 1\] is -1"):
        model.start(input_ids=[[8, -1]])
    with pytest.raises(InputError, match="bert goes on by filling a mask behind the text, and there is no vocabulary"):
        minibert.create("bert", **bert.PROBE).start(input_ids=[[1, 2]])
    model.params["norm"]["weight"] *= 1e308
    with pytest.raises(InputError, match="the logits are not finite: beyond float64"):
        model.generate([[8, 9]])


def test_a_state_of_something_else_is_refused_in_one_line():
    model, here = gpt(), tree.unflatten
    flat = tree.flatten(model.start(input_ids=[[8, 9], [10, 11]]))
    for changed, line in (
        ({"position": None}, "it lacks 'position'"), ({"layers.2.value": None}, "it lacks 'layers.2.value'"),
        ({"layers.3.key": flat["layers.0.key"]}, "it has a foreign 'layers.3.key'"),
        ({"position": flat["position"] - 9}, "'position' has numbers below 0"),
        ({"position": flat["position"] * 1.0}, "'position' is float64"),
        ({"layers.1.key": flat["layers.1.key"].astype("f4")}, "'layers.1.key' is float32"),
        ({"layers.1.key": flat["layers.1.key"][..., :2]}, r"'layers.1.key' has shape \(2, 4, 2, 2\), expected 4 in p"),
        ({"layers.1.key": flat["layers.1.key"][:, :, :1]}, r"has shape \(2, 4, 1, 4\), expected 2 in place 2"),
        ({"mask": flat["mask"][:, 1:]}, r"'mask' has shape \(2, 1\), expected 2 in place 1"),
        ({"mask": flat["mask"][:, 0]}, "expected an array of 2 dimensions and 2 rows"),
        ({"mask": flat["mask"].tolist()}, "it lacks 'mask'"), ({"mask": "x"}, "'mask' is str"),
    ):  # fmt: skip
        state = here({path: leaf for path, leaf in {**flat, **changed}.items() if leaf is not None})
        with pytest.raises(InputError, match=f"^state: .*{line}"):
            model.step([12, 13], state)
    round_ = {}
    round_["layers"] = round_
    keys = {**here(flat), "layers": {str(i): layer for i, layer in enumerate(here(flat)["layers"])}}
    for state in ([], [flat], {"x": np.zeros((2, 3))}, keys, {**here(flat), "more": {}}, {**here(flat), 3: 4}, round_,
                  gpt(n_layer=2).start(input_ids=[[8], [9]]), gpt(n_head=2).start(input_ids=[[8], [9]])):  # fmt: skip
        with pytest.raises(InputError, match=r"state: |nested too deeply"):
            model.step([12, 13], state)
    anew, _ = model.step([[8, 9], [10, 11]], {})
    assert np.allclose(anew, model.step([9, 11], model.start(input_ids=[[8], [10]]))[0], rtol=0, atol=1e-11)
    assert gpt(n_positions=1).step([8], {})[0].shape == (1, 31), "of one place"


def test_what_a_state_looks_like_is_found_once(monkeypatch):
    model, read, step = gpt(), [], gpt2.step
    monkeypatch.setattr(gpt2, "step", lambda *given: read.append(given[2].shape) or step(*given))
    _, state = model.step([[8, 9, 10]], {})
    assert read == [(1, 1), (1, 1), (1, 3)]
    model.step([8], state)
    model.generate([[8]], max_new_tokens=2)
    assert read[3:] == [(1, 1)] * 3


def test_without_its_head_nothing_is_written():
    model = gpt(tie_word_embeddings=False)
    assert model.generate([[8]], max_new_tokens=2).shape == (1, 3)
    del model.params["lm"]
    state, line = model.start(input_ids=[[8]]), "needs the head 'lm', which these parameters do not have"
    for action in (lambda: model.step([9], state), lambda: model.generate([[8]]), lambda: model.written([[8]])):
        with pytest.raises(InputError, match=line):
            action()


def test_a_state_is_never_written_to():
    model = gpt()
    state = model.start(input_ids=[[8, 9], [10, 11]])
    before = tree.map(np.copy, state)
    for array in tree.leaves(state):
        array.flags.writeable = False
    first, _ = model.step([12, 13], state)
    again, _ = model.step([12, 13], state)
    swapped, _ = model.step([13, 12], tree.map(lambda a: a[::-1], state))
    assert np.array_equal(first, again)
    assert np.allclose(first, swapped[::-1], rtol=0, atol=1e-12 * np.abs(first).max())
    assert all(map(np.array_equal, tree.leaves(state), tree.leaves(before)))


def test_of_a_prompt_no_logits_but_the_last_are_computed_and_once_a_row(monkeypatch):
    asked, predict = [], next_token.predict
    monkeypatch.setattr(next_token, "predict", lambda h, *a, **k: asked.append(h.shape) or predict(h, *a, **k))
    gpt().generate([[8, 9, 10, 11], [12, 13, 14, 15]], max_new_tokens=3, num_beams=3, eos_token_id=None)
    assert asked == [(2, 16), (6, 16), (6, 16)]


def test_padding_in_front_of_every_row_is_not_read(monkeypatch):
    read, start = [], gpt2.start
    monkeypatch.setattr(gpt2, "start", lambda p, config, given: read.append(given) or start(p, config, given))
    gpt().generate([[7, 7, 8, 9], [7, 7, 7, 9]], [[0, 0, 1, 1], [0, 0, 0, 1]], max_new_tokens=1)
    assert [given["input_ids"].tolist() for given in read] == [[[8], [7]]]
    gpt().generate([[7, 8], [7, 9]], [[0, 1], [0, 1]], max_new_tokens=1)
    assert read[1:] == [{}]


# ---- Beside the published implementation -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def twins():
    """(a model, the published one with the same weights, 100 prompts and their masks)."""
    published.oracle()
    model = gpt()
    twin = published.twin(model.config, model.state_dict(), published.spared(model), "GPT2LMHeadModel")
    return model, twin, *prompts(np.random.default_rng(0), 100, 7)


def theirs(twin, ids, mask, monkeypatch, **settings):
    """(ids, scores of beams or None) of the published `generate`; its logits become float32 there, but not here."""
    torch, _ = published.oracle()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        given = {"attention_mask": torch.from_numpy(mask), "return_dict_in_generate": True, "output_scores": True}
        out = twin.generate(torch.from_numpy(ids), do_sample=False, **given, **settings)
    scores = getattr(out, "sequences_scores", None)
    return out.sequences.numpy(), None if scores is None else scores.numpy()


def same(twins, monkeypatch, rows=slice(None), **settings):
    model, twin, ids, mask = twins
    due, scores = theirs(twin, ids[rows], mask[rows], monkeypatch, **settings)
    found = model.written(ids[rows], mask[rows], **settings)
    assert np.array_equal(found.ids, due), settings
    if scores is not None:
        assert np.abs(found.scores - scores).max() < 1e-11 * np.abs(scores).max(), settings
    return found


@pytest.mark.parametrize("settings", [
    {"eos_token_id": None}, {}, {"eos_token_id": [5, 9, 20], "pad_token_id": 0}, {"repetition_penalty": 1.7},
    {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 1}, {"min_length": 15, "eos_token_id": [3, 4, 5, 9]},
    {"min_new_tokens": 4, "eos_token_id": [3, 4, 5, 9]}, {"forced_eos_token_id": [6, 9]}, {"max_length": 9},
    {"suppress_tokens": [3, 4, 5, 8, 9, 11]},
], ids=str)  # fmt: skip
def test_greedy_is_the_published_one(twins, monkeypatch, settings):
    length = {} if "max_length" in settings else {"max_new_tokens": 16}
    found = same(twins, monkeypatch, **length, **settings)
    if settings == {"eos_token_id": None}:
        new = found.ids[:, 7:]
        assert len({*map(tuple, new)}) > 90
        assert np.mean([len({*row}) for row in new.tolist()]) > 7, "the choices differ from step to step"


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_beams_are_the_published_ones(twins, monkeypatch, width):
    """100 prompts; then every combination of settings, on ten of them each in turn."""
    same(twins, monkeypatch, num_beams=width, max_new_tokens=12)
    found = same(twins, monkeypatch, num_beams=width, max_new_tokens=12, eos_token_id=[5, 9, 20], pad_token_id=0)
    assert len({*found.lengths.tolist()}) > 5
    every = itertools.product((0.5, 1.0, 2.0, -1.0), EARLY, (0, 2, 3), (5, [3, 4, 5, 9, 20]))
    for number, (penalty, early, size, ends) in enumerate(every):
        rows = slice(number % 10, None, 10)
        same(twins, monkeypatch, rows, num_beams=width, max_new_tokens=10, length_penalty=penalty, early_stopping=early,
             no_repeat_ngram_size=size, eos_token_id=ends)  # fmt: skip


@pytest.mark.parametrize("settings", [
    {"repetition_penalty": 1.7}, {"min_length": 13, "eos_token_id": [3, 4, 5]}, {"forced_eos_token_id": 9},
    {"no_repeat_ngram_size": 1}, {"pad_token_id": None, "eos_token_id": [9, 5, 3]},
], ids=str)  # fmt: skip
def test_beams_are_the_published_ones_with_other_settings(twins, monkeypatch, settings):
    same(twins, monkeypatch, num_beams=3, max_new_tokens=12, **settings)


@pytest.mark.parametrize(("early", "ends"), [(False, [1, 2]), ("never", [1, 2]), (True, [1])], ids=str)
def test_more_beams_than_ids_are_the_published_ones(monkeypatch, early, ends):
    """All but one case: early_stopping with more beams than ids that do not end (generation.md, GEN-6)."""
    for seed in range(3):
        model = minibert.create("gpt2", seed=seed, dtype="float64", **{**SIZES, "vocab_size": 3})
        spared = published.spared(model)
        twin = published.twin(model.config, model.state_dict(), spared, "GPT2LMHeadModel")
        pair = model, twin, np.array([[0], [1]]), np.ones((2, 1), int)
        for penalty in (-1.0, 0.0, 2.0):
            same(pair, monkeypatch, num_beams=5, eos_token_id=ends, early_stopping=early, max_length=9,
                 length_penalty=penalty, pad_token_id=0)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using the model-agnostic")
def test_a_directory_says_the_same_there(twins, monkeypatch, tmp_path):
    torch, transformers = published.oracle()
    model, _, ids, mask = twins
    beams = {"num_beams": 3, "no_repeat_ngram_size": 2, "eos_token_id": [9, 5], "pad_token_id": 7}
    for said in (beams, {"top_p": 0.5}, {}):
        model.generation = said
        model.save(tmp_path)
        there = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float64)
        due, _ = theirs(there, ids, mask, monkeypatch)
        assert np.array_equal(minibert.load(tmp_path).generate(ids, mask), due), said
    model.generation = None


def test_what_is_drawn_from_is_the_published_set(twins):
    """Their warpers on our logits: the same tokens stay, and have the same probabilities. Which of equals top-p takes
    away is left open there, by a sort that is not stable: then as many of them stay.
    """
    torch, transformers = published.oracle()
    model, _, ids, mask = twins
    logits, _ = model.step(ids[:, -1], model.start(input_ids=ids[:, :-1], attention_mask=mask[:, :-1]))
    warpers = transformers.generation.logits_process
    for scores, ties in ((logits, False), (np.round(logits), True)):
        for temperature, k, p in itertools.product((1.0, 0.7, 3.0), (0, 1, 5, 40), (1.0, 0.93, 0.37, 0.05)):
            due = torch.from_numpy(scores)
            for warper, value, off in (("Temperature", temperature, 1.0), ("TopK", k, 0), ("TopP", p, 1.0)):
                due = due if value == off else getattr(warpers, f"{warper}LogitsWarper")(value)(None, due)
            found = generation.narrowed(scores, Settings(temperature=temperature, top_k=k, top_p=p))
            ours = np.exp(found - found.max(1, keepdims=True))
            pair = ours / ours.sum(1, keepdims=True), due.softmax(-1).numpy()
            a, b = (np.sort(q, 1) for q in pair) if ties and p < 1 else pair
            assert np.array_equal(a > 0, b > 0), (temperature, k, p)
            assert np.abs(a - b).max() < 1e-14


# ---- A family with a source ------------------------------------------------------------------------------------------
@pytest.fixture
def copier(monkeypatch):
    """A family from outside: it copies its source one id higher, from behind a start id on, then ends."""
    monkeypatch.setattr(families, "_registered", {})
    module = ModuleType("elsewhere.copier")
    module.__getattr__ = families.inherited("gpt2")
    seen = []

    def inputs(config):
        return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "decoder_input_ids": "?(B,S)<vocab_size"}

    def start(p, config, given):
        seen.append(sorted(given))
        mask = given.get("attention_mask", np.ones_like(given["input_ids"]))
        ends = np.full((len(mask), 1), config.eos_token_id)
        source = np.concatenate([np.where(mask, given["input_ids"] + 1, config.eos_token_id), ends], 1)
        return {"source": source, "at": np.zeros(len(mask), int)}

    def step(p, config, ids, state):
        at = state["at"] + ids.shape[1]
        due = np.take_along_axis(state["source"], np.minimum(at, state["source"].shape[1])[:, None] - 1, 1)
        return -1.0 * (np.arange(config.vocab_size) != due), {**state, "at": at}

    vars(module).update(
        inputs=inputs, start=start, step=step, rows=None, lengths=lambda config: {"S": ("decoder_input_ids", 6)},
        read=lambda encodings, pad: {"input_ids": np.array([e.ids for e in encodings])},
    )  # fmt: skip
    families.register(module)
    return minibert.create("copier", **SIZES), seen


def test_the_doors_of_start_and_step_behind_a_source(copier):
    model, _ = copier
    state = model.start(input_ids=[[8, 9, 10], [11, 12, 7]])
    logits, further = model.step([1, 1], state)
    assert logits.argmax(1).tolist() == [9, 12]
    assert model.step([9, 12], further)[0].argmax(1).tolist() == [10, 13]
    for wrong, line in (({}, "it lacks 'source'"), ({"source": state["source"]}, "it lacks 'at'"),
                        ({**state, "at": state["at"] - 1}, "'at' has numbers below 0")):  # fmt: skip
        with pytest.raises(InputError, match=line):
            model.step([1, 1], wrong)


@pytest.mark.parametrize("family", ["gpt2", "bart", "t5", "transformer"])
def test_in_float32_a_state_chooses_what_whole_rows_do(family):
    """Of 200 prompts, or sources, the tokens that a loop over whole rows chooses."""
    held = published.probed(family)
    model = minibert.Model(family, held.config, tree.map(lambda a: a.astype(np.float32), held.params))
    name = generation.rows_of(model.module.inputs(model.config))
    ids = np.random.default_rng(0).integers(0, 17, (200, 4))
    sourced = name != generation.PROMPT
    rows = np.full((200, 1), model.config.decoder_start_token_id) if sourced else ids
    given = {generation.PROMPT: ids} if sourced else {}
    found = model.generate(ids, max_new_tokens=4, eos_token_id=None, forced_eos_token_id=None)
    for _ in range(4):
        read = {**given, name: rows}
        logits = objective.predict(model.module, model.params, model.config, read, "next_token", (slice(None), -1))
        rows = np.concatenate([rows, logits.argmax(1)[:, None]], 1)
    assert logits.dtype == np.float32
    assert np.array_equal(found, rows)


def test_sources_are_read_together_whatever_is_written_behind_them(copier):
    model, _ = copier
    lengths = [3, 30, 0, 4]
    for settings in ({"max_new_tokens": 60}, {"max_length": 5}, {}):
        assert inference._together(model, lengths, settings) == [[0, 1], [2], [3]]
    bounded = {"T": ("attention_mask", 20), "S": ("decoder_input_ids", 6)}
    vars(model.module)["lengths"] = lambda config: bounded
    assert inference._together(model, lengths, {}) == [[0], [1], [2], [3]]


def test_what_the_config_says_of_lengths_counts_for_what_is_read_together(monkeypatch):
    model = gpt()
    assert inference._together(model, [1, 2], {}) == [[0, 1]]
    monkeypatch.setattr(gpt2.Config, "min_length", 3, raising=False)
    assert inference._together(model, [1, 2], {}) == [[0], [1]]
    model.generation = {}
    assert inference._together(model, [1, 2], {}) == [[0, 1]]


# ---- Families whose mask is another, or none -------------------------------------------------------------------------
@pytest.mark.parametrize("mask", [{}, {"attention_mask": "?(B,T,T)?"}], ids=["none", "of pairs"])
def test_a_family_without_a_mask_of_tokens_is_handed_none(monkeypatch, mask, tokenizer):
    monkeypatch.setattr(families, "_registered", {})
    module, seen = ModuleType("elsewhere.unmasked"), []
    module.__getattr__ = families.inherited("gpt2")

    def start(p, config, given):
        seen.append(sorted(given))
        return gpt2.start(p, config, given)

    vars(module).update(inputs=lambda config: {"input_ids": "(B,T)<vocab_size", **mask}, start=start)
    families.register(module)
    model = minibert.create("unmasked", **{**SIZES, "vocab_size": len(tokenizer), "eos_token_id": None})
    twin = minibert.Model("gpt2", gpt2.Config(**vars(model.config)), model.params, tokenizer)
    ids = [[8, 9, 10], [11, 12, 13]]
    assert np.array_equal(model.generate(ids), twin.generate(ids))
    assert seen == [["input_ids"]]
    ones = np.ones((2, 3, 3) if mask else (2, 3))
    with pytest.raises(InputError, match="attention_mask"):
        model.generate(ids, ones)
    model.tokenizer = tokenizer
    found, due = ([*inference.continued(m, ["The cat", "sat on the mat", "sat"])] for m in (model, twin))
    assert [c.ids for c in found] == [c.ids for c in due]


def test_other_steps_may_go_in_the_place_of_the_familys_own():
    model, read = gpt(), []

    def start(*given):
        read.append(given)
        return gpt2.start(*given)

    given = {"input_ids": np.array([[8, 9]])}
    begun = generation.begun(gpt2, model.params, model.config, given, {}, {}, going=(start, gpt2.step))
    assert begun.ids.tolist() == [[8, 9]]
    assert len(read) == 1


@pytest.mark.parametrize("width", [1, 2])
def test_behind_a_source_the_decoders_rows_are_written(copier, width):
    model, seen = copier
    given = {"input_ids": [[8, 9, 10], [11, 7, 7]], "attention_mask": [[1, 1, 1], [1, 0, 0]], "num_beams": width}
    begun = model.generate(**given, decoder_start_token_id=3, early_stopping=True)
    assert begun.tolist() == [[3, 9, 10, 11, 5], [3, 12, 5, 7, 7]]
    assert seen == [["attention_mask", "input_ids"]]
    assert model.generate(**given)[:, 0].tolist() == [1, 1], "else bos_token_id"
    further = model.generate(**given, decoder_input_ids=[[2, 9], [2, 12]], early_stopping=True)
    assert further.tolist() == [[2, 9, 10, 11, 5], [2, 12, 5, 7, 7]]
    forced = model.generate(**given, forced_bos_token_id=4, forced_eos_token_id=6, max_length=4)
    assert forced[:, :2].tolist() == [[1, 4], [1, 4]]
    assert forced[0, 3] == 6
    with pytest.raises(InputError, match="7 new tokens after 1 are more than n_positions, 6, has places for"):
        model.generate(**given, max_new_tokens=7)
    with pytest.raises(InputError, match="the batch lacks 'input_ids'"):
        model.generate()
    with pytest.raises(InputError, match="no decoder_input_ids are given, and no decoder_start_token_id to begin with"):
        model.generate(**given, bos_token_id=None)


# ---- generation_config.json ------------------------------------------------------------------------------------------
def test_the_file_is_loaded_and_saved_and_asked_only_when_it_is_used(tmp_path):
    model = gpt()
    model.generation = {"eos_token_id": [5, 9], "max_new_tokens": 4, "num_beams": 2, "token_healing": True}
    model.save(tmp_path / "a")
    again = minibert.load(tmp_path / "a")
    assert again.generation == model.generation
    with pytest.raises(InputError, match=r"generation_config.json: token_healing True: not implemented; token_he"):
        again.generate([[8]])
    model.generation, said = None, {"eos_token_id": [5, 9], "max_new_tokens": 4, "num_beams": 2}
    assert np.array_equal(again.generate([[8, 9]], token_healing=None), model.generate([[8, 9]], **said))
    gpt().save(tmp_path / "a")
    assert not (tmp_path / "a" / "generation_config.json").exists(), "of the model before"
    assert minibert.load(tmp_path / "a").generation is None
    (tmp_path / "a" / "generation_config.json").write_text("{}", "utf-8")
    assert minibert.load(tmp_path / "a").generation == {}
    model.generation = {"eos_token_id": {5}}
    with pytest.raises(InputError, match=r"generation_config.json cannot hold what it is to say"):
        model.save(tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("data", "line"), [
    (b"[1]", "is not a JSON object"), (b"{", "is not usable JSON"), (b"\xff", "is not UTF-8"),
    (None, "is a directory"), ("link", "No such file"),
])  # fmt: skip
def test_an_unusable_file_is_one_line(tmp_path, data, line):
    gpt().save(tmp_path)
    place = tmp_path / "generation_config.json"
    if data == "link":
        place.symlink_to("nothing there")
    elif data is None:
        place.mkdir()
    else:
        place.write_bytes(data)
    with pytest.raises(InputError, match=f"generation_config.json.*{line}"):
        minibert.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"do_sample": true, "top_p": NaN}', "top_p nan"),
        ('{"top_k": 3, "top_k": 4, "do_sample": true}', "top_k 3, and then 4"),
    ],
)
def test_a_setting_that_nobody_can_mean_is_refused_when_it_is_used(tmp_path, text, line):
    gpt().save(tmp_path)
    (tmp_path / "generation_config.json").write_text(text, "utf-8")
    model = minibert.load(tmp_path)
    with pytest.raises(InputError, match=f"^generation_config.json: {line}: expected "):
        model.generate([[8, 9]])


# ---- Text, and the command -------------------------------------------------------------------------------------------
TEXT = ["The cat sat on the mat.", "the dog ran – naïve café", "语言 模型"]


@pytest.fixture(scope="module")
def tokenizer():
    held = ByteLevelBPE.train(TEXT * 3, 300)
    return ByteLevelBPE(held.vocabulary, held.merges, held.specials, around=Layout())


@pytest.fixture
def writer(tokenizer):
    """Its likely tokens are single bytes that are no UTF-8 by themselves."""
    model = gpt(3, vocab_size=len(tokenizer) + 3, bos_token_id=0, eos_token_id=2)
    model.tokenizer = tokenizer
    return model


@pytest.fixture
def folder(writer, tmp_path):
    writer.save(tmp_path / "model")
    return tmp_path / "model"


def test_texts_go_on_in_order_together_or_alone(writer):
    texts = ["The cat", "", "语言", "the " * 30, "sat on the mat"]
    settings = {"do_sample": True, "seed": 5, "eos_token_id": None}
    together = [*inference.continued(writer, iter(texts), batch_size=4, **settings)]
    alone = [*inference.continued(writer, texts, batch_size=1, **settings)]
    assert together == [c._replace(score=pytest.approx(c.score)) for c in alone]
    assert [c.prompt for c in together] == texts
    assert len(together[3].ids) < 20 == len(together[0].ids), "the fourth alone is cut at the position table"
    rows = writer.generate([writer.tokenizer.encode("The cat").ids], **settings)
    assert together[0].ids == rows[0, -20:].tolist()
    assert together[0].text == writer.tokenizer.decode([i for i in together[0].ids if i < len(writer.tokenizer)])
    longer = [*inference.continued(writer, texts[:1] + texts[4:], max_length=12, **settings)]
    assert len(longer[0].ids) + len(writer.tokenizer.encode("The cat").ids) == 12
    with pytest.raises(InputError, match="texts 'one': expected several"):
        next(inference.continued(writer, "one"))


def test_what_is_shown_is_the_text_character_by_character(writer, monkeypatch):
    """Characters of several tokens come whole; what stands for no character comes, too."""
    text = "naïve 语言, 模型 café".encode()
    data = text[:5] + b"\xe8\xe8" + text[5:]  # begins characters that do not go on
    ids, pieces = [writer.tokenizer.index[CHARACTERS[byte]] for byte in data], []
    written = iter(ids)
    monkeypatch.setattr(generation, "allowed", lambda scores, *_: np.eye(scores.shape[1])[[next(written)]])
    found = [*inference.continued(writer, ["x"], show=pieces.append, max_new_tokens=len(ids))]
    assert found[0].text == data.decode("utf-8", "replace")
    assert [piece for piece in pieces if piece] == [*"naïv", "\ufffd", "\ufffde", *" 语言, 模型 café"]


def output(monkeypatch, *arguments, stdin="", terminal=False, keyboard=None):
    """(exit code, standard output, standard error)."""
    made = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for name in ("stdout", "stderr")}
    made["stdin"] = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    for name, stream in made.items():
        monkeypatch.setattr(sys, name, stream)
    made["stdout"].isatty = lambda: terminal
    code = cli.main(["generate", *map(str, arguments)])
    for name in ("stdout", "stderr"):
        made[name].flush()
    return code, *(made[name].buffer.getvalue().decode() for name in ("stdout", "stderr"))


def test_the_command_answers_line_by_line(folder, writer, monkeypatch):
    lines = ["The cat", "", "语言 \x07", "sat"]
    said = ["--sample", "--seed", 2, "--max-new-tokens", 9, "--top-k", 12]
    settings = {"do_sample": True, "seed": 2, "max_new_tokens": 9, "top_k": 12}
    due = [*inference.continued(writer, lines, **settings)]
    code, out, err = output(monkeypatch, folder, *said, stdin="\n".join(lines) + "\n")
    assert (code, err) == (0, "")
    assert out.splitlines() == [minibert.errors.printable(c.prompt + c.text) for c in due]
    assert out.isprintable() or "\x07" not in out
    code, out, err = output(monkeypatch, folder, "--json", *said, *lines)
    assert [json.loads(line) for line in out.splitlines()] == [
        {**c._asdict(), "score": pytest.approx(c.score)} for c in due
    ]
    assert (code, err) == (0, "")


def test_on_a_terminal_tokens_come_as_they_are_written(folder, writer, monkeypatch):
    due = [*inference.continued(writer, ["The cat", "sat"], do_sample=True, max_new_tokens=30)]
    code, out, _ = output(monkeypatch, folder, "--sample", "--max-new-tokens", 30, "The cat", "sat", terminal=True)
    door = ["\n".join(map(minibert.errors.printable, (c.prompt + c.text).split("\n"))) for c in due]
    assert (code, out) == (0, "".join(f"{text}\n" for text in door))


def test_with_control_c_what_is_there_stays(folder, monkeypatch):
    whole = output(monkeypatch, folder, "The cat", "--no-repeat-ngram", 1)[1]
    steps, stepped = iter(range(6)), gpt2.step

    def step(*given):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return stepped(*given)

    monkeypatch.setattr(gpt2, "step", step)
    code, out, err = output(monkeypatch, folder, "The cat", "--no-repeat-ngram", 1)
    assert (code, err) == (130, "minibert: interrupted\n")
    assert out.endswith("\n")
    assert whole.startswith(out[:-1])
    assert len("The cat") < len(out) < len(whole)


@pytest.mark.parametrize(("arguments", "line"), [
    (["--top-k", "3"], "--top-k says nothing without --sample"),
    (["--length-penalty", "2"], "--length-penalty says nothing without --beams"),
    (["--sample", "--beams", "2"], "error: --beams 2 with --sample: beams that sample"),
    (["--sample", "--temperature", "0"], "error: --temperature 0: scores are divided by it; to take the most probable"),
    (["--max-new-tokens", "0"], "error: --max-new-tokens 0: expected a whole number from 1"),
    (["--max-new-tokens", "100"], "at most 39 are new (--max-new-tokens)"),
    (["--no-repeat-ngram", "-1"], "error: --no-repeat-ngram -1: expected"),
    (["--batch-size", "0"], "--batch-size 0"), (["--seed", "-1"], "--seed -1"),
    (["--early-stopping", "perhaps"], "--early-stopping: unknown 'perhaps'"),
])  # fmt: skip
def test_what_the_command_refuses(folder, monkeypatch, arguments, line):
    code, out, err = output(monkeypatch, folder, "The cat", *arguments)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_the_command_passes_over_what_the_file_says(folder, writer, monkeypatch):
    """The line says how; what it says of the file's settings keeps their names."""
    place = folder / "generation_config.json"
    place.write_text('{"alignment": 3, "max_new_tokens": 5, "bos_token_id": 0, "eos_token_id": 2}', "utf-8")
    code, out, err = output(monkeypatch, folder, "The cat")
    assert (code, out) == (2, "")
    assert "generation_config.json: unknown setting 'alignment'" in err
    assert "on the command line --pass-over alignment" in err
    code, out, err = output(monkeypatch, folder, "The cat", "--pass-over", "alignmen")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--pass-over 'alignmen': " in err
    assert "did you mean 'alignment'?" in err
    over = ["--pass-over", "alignment"]
    due = next(inference.continued(writer, ["The cat"], max_new_tokens=5))
    assert output(monkeypatch, folder, "The cat", *over) == (0, printed(due), "")
    place.write_text('{"max_new_tokens": 0, "eos_token_id": 2}', "utf-8")
    assert "generation_config.json: max_new_tokens 0" in output(monkeypatch, folder, "The cat")[2]
    due = next(inference.continued(writer, ["The cat"]))
    assert output(monkeypatch, folder, "The cat", "--pass-over", "max_new_tokens")[1] == printed(due)


def printed(found):
    return f"{minibert.errors.printable(found.prompt + found.text)}\n"


def test_a_line_that_is_longer_than_the_files_length_stops_nothing(folder, monkeypatch):
    (folder / "generation_config.json").write_text('{"max_length": 6, "eos_token_id": null}', "utf-8")
    code, out, err = output(monkeypatch, folder, "--json", stdin="The\nThe cat sat on the mat the cat\nThe\n")
    assert (code, err) == (0, "")
    lengths = [len(json.loads(line)["ids"]) for line in out.splitlines()]
    assert lengths[0] == lengths[2] < lengths[1] == generation.DEFAULT_NEW


def test_a_score_is_a_json_number_where_nothing_may_come(folder, monkeypatch):
    more = ["--no-repeat-ngram", 1, "--beams", 2, "--max-new-tokens", 30, "--json"]
    monkeypatch.setattr(generation, "allowed", lambda scores, *_: np.full_like(scores, -np.inf))
    code, out, _ = output(monkeypatch, folder, "The cat", *more)
    assert code == 0
    assert json.loads(out, parse_constant=pytest.fail) == {"prompt": "The cat", "text": "", "ids": [], "score": 0.0}


class Pipe(io.BytesIO):
    """Lines of which each comes once all before are answered: what is out is counted as one is asked for."""

    def __init__(self, data, answers):
        super().__init__(data)
        self.answers, self.seen = answers, []

    def readline(self, *size):
        self.seen.append(self.answers())
        return super().readline(*size)


def test_a_line_from_a_pipe_is_answered_before_the_next_is_read(folder, monkeypatch):
    made, lines = io.BytesIO(), b"The cat\nsat\non the mat\n"
    pipe = Pipe(lines, lambda: made.getvalue().count(b"\n"))
    for name, stream in (("stdin", pipe), ("stdout", made), ("stderr", io.BytesIO())):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, "utf-8", newline="\n"))
    assert cli.main(["generate", str(folder), "--max-new-tokens", "3"]) == 0
    assert pipe.seen == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [1, 8])
def test_what_stands_before_a_line_that_cannot_be_read_is_answered(folder, writer, size):
    def lines():
        yield from ("The cat", "sat")
        raise InputError("standard input is not UTF-8")

    found = inference.continued(writer, lines(), size, max_new_tokens=3)
    assert [next(found).prompt for _ in range(2)] == ["The cat", "sat"]
    with pytest.raises(InputError, match="standard input is not UTF-8"):
        next(found)


def test_the_command_needs_a_family_that_goes_on_and_words(folder, monkeypatch, tmp_path, tokenizer):
    assert "no text given" in output(monkeypatch, folder)[2]
    fields = {**families.family("electra").PROBE, "vocab_size": len(tokenizer), "role": "discriminator"}
    made = minibert.create("electra", **fields)
    made.tokenizer = tokenizer
    made.save(tmp_path / "e")
    assert "fill-mask needs the generator" in output(monkeypatch, tmp_path / "e", "x")[2]


def test_help_reads_well_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = output(monkeypatch, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
