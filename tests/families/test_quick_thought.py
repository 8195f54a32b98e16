"""Quick-thought: a twin in torch, the diagonal, targets, missing sentences, rows of a text."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error
from twins import quick_thought as twins

import minibert
from minibert import tree
from minibert.corruption import consecutive
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import quick_thought
from minibert.heads import adjacent_sentence

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (285, "three kinds of encoders, two vectors of each sentence, rows of several"),
    "mistakes": (200, "a diagonal, targets, and a gated unit of its own"),
    "tests": (165, "beside a twin in torch: what two pages of facts ask for, and rows of a text"),
    "cases": (35, "sums of words beside the cases that all families have"),
}
CONFIGS = ({"encoder": "GRU", "bidir": True}, {"encoder": "LSTM", "shared_table": True}, {"encoder": "BOW"})
OWN = {"word_embedding_dim": 7, "encoder_dim": 10, "bidir": False, "context_size": 2}
PUBLISHED = [
    Published("quick_thought", "", {"sentence_places": "adjacent_sentence"}, OWN, CONFIGS, twin=twins.twin,
              terms=twins.terms)
]  # fmt: skip
DIRECTORIES: dict = {}
VARIANTS = ({}, {"encoder": "GRU", "shared_table": False, "context_size": 1, "bidir": True}, {"encoder": "BOW"})
SMALL = {"word_embedding_dim": 3, "encoder_dim": 2}
GRUS = 2 * 2 * 3 * 600 * (620 + 600 + 1)  # encoders, directions, gates
PARAMETERS = [
    ({}, (), 2 * 50001 * 620 + GRUS),
    (quick_thought.PRESETS["BC-glove"], (), 50001 * 300 + GRUS - 12 * 600 * 320),
]
BATCH = {
    "input_ids": [[[2, 9, 5, 11], [2, 6, 3, 3], [2, 7, 4, 3]]],
    "attention_mask": [[[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]],
    "sentence_places": [[0, 1, 2]],
}
FIGURES = [
    Figures("quick_thought", {
        "forward/loss": 1.456806761382,
        "gradients/word_embedding": 0.076931337129,
        "gradients/word_embedding_out": 0.246939363691,
        "gradients/f.weight_hh_l0_reverse": 0.056214371675,
        "gradients/g.bias_ih_l0": 0.253818025031,
    }, {"word_embedding_dim": 6}, BATCH),
    Figures("quick_thought", {"forward/loss": 1.073338667219, "gradients/g.weight_hh_l0": 0.020844923653},
            {"word_embedding_dim": 6, "encoder": "LSTM", "bidir": False, "context_size": 2}, BATCH),
]  # fmt: skip


def model(seed: int = 0, **fields):
    made = minibert.create("quick_thought", dtype="float64", **{**quick_thought.PROBE, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


def told(s, places, context=1):
    value, c = adjacent_sentence.loss(np.asarray(s), None, {"sentence_places": np.asarray(places)}, context=context)
    return float(value), c


@pytest.mark.parametrize("several", [3, 5])
def test_vectors_of_zeros_lose_the_logarithm_of_the_sentences(several):
    """(a) of B7 and of B26."""
    value, _ = told(np.zeros((1, several, 4)), [range(several)])
    assert value == pytest.approx(np.log(several), rel=1e-15)


def test_targets_are_shares_and_an_edge_has_one_neighbour():
    """(b) of B7; (c), (d) of B26."""
    y = adjacent_sentence.neighbours(np.arange(5)[None], 1, float)[0]
    assert y[0].tolist() == [0, 1, 0, 0, 0]
    assert y[2].tolist() == [0, 0.5, 0, 0.5, 0]
    assert np.array_equal(y.sum(1), np.ones(5))
    wide = adjacent_sentence.neighbours(np.array([[0, 1, 2, 3, -100]]), 2, float)[0]
    assert wide[0].tolist() == [0, 0.5, 0.5, 0, 0]
    assert not wide[4].any()


def test_the_diagonal_has_no_gradient_and_a_share():
    """(c) of B7, (b) of B26: a constant added to all scores but its own changes the loss."""
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, 1, 4, 3))
    z, c = adjacent_sentence.inner_scores(u, v)
    assert not z[0].diagonal().any()
    du, dv = adjacent_sentence.inner_scores_backward(np.eye(4)[None], c)
    assert not du.any()
    assert not dv.any()
    y = adjacent_sentence.neighbours(np.arange(4)[None], 1, float)
    given = {"targets": y, "there": np.ones((1, 4)), "denominator": 4.0}
    plain, c = adjacent_sentence.soft_cross_entropy(z, **given)
    assert (c["probs"][0].diagonal() > 0).all()
    off = 3.0 * (1 - np.eye(4))
    assert abs(adjacent_sentence.soft_cross_entropy(z + off, **given)[0] - plain) > 0.01
    assert adjacent_sentence.soft_cross_entropy(z + 3.0, **given)[0] == pytest.approx(float(plain), rel=1e-14)


def test_one_encoder_for_both_gives_symmetric_scores():
    """(d) of B7."""
    made, rng = model()
    made.params["g"] = made.params["f"]
    f, g = np.split(made.encode(input_ids=rng.integers(0, 17, (1, 5, 4)))["pooler_output"], 2, -1)
    z, _ = adjacent_sentence.inner_scores(f, g)
    assert np.array_equal(f, g)
    assert error(z, z.swapaxes(1, 2)) < 1e-15


def test_a_sentence_that_is_missing_changes_nothing():
    made, rng = model(encoder="GRU", bidir=True)
    ids = rng.integers(0, 17, (2, 3, 5))
    due, _ = made.loss({"input_ids": ids, "sentence_places": np.tile(np.arange(3), (2, 1))})
    wide = np.concatenate([ids, rng.integers(0, 17, (2, 1, 5))], 1)
    mask = np.ones_like(wide)
    mask[:, 3] = 0
    batch = {"input_ids": wide, "attention_mask": mask, "sentence_places": np.tile([0, 1, 2, -100], (2, 1))}
    assert made.loss(batch)[0] == pytest.approx(float(due), rel=1e-14)


def test_a_sentence_alone_has_the_vector_that_it_has_among_others():
    """What `minibert embed` reads: rows of one sentence."""
    made, rng = model(encoder="GRU", bidir=True)
    ids = rng.integers(0, 17, (2, 3, 5))
    several = made.encode(input_ids=ids)["pooler_output"]
    assert error(made.encode(input_ids=ids[:, 1])["pooler_output"], several[:, 1]) < 1e-15
    with pytest.raises(InputError, match=r"give rows of several, input_ids \(B, C, T\)"):
        made.loss({"input_ids": ids[:, 1], "sentence_places": np.zeros((2, 5), int) + np.arange(5)})


def test_rows_are_consecutive_sentences():
    vocabulary = Vocabulary(30, 0, 1, None, 2)
    text = [[[n] * (1 + n % 3) for n in range(3, 13)], [[n] for n in range(13, 20)]]
    made = consecutive.groups(text, np.random.default_rng(0), vocabulary, 5, 4, 2)
    for ids, there, places in zip(*made.values(), strict=True):
        words = ids[:, 1]
        assert np.array_equal(np.diff(words), [1, 1, 1])
        assert places.tolist() == [0, 1, 2, 3]
        assert [row[n - 1] for row, n in zip(ids, there.sum(1), strict=True)] == [1] * 4
    assert len(made["input_ids"]) == 8
    few = consecutive.groups(text[1:], np.random.default_rng(0), vocabulary, 5, 9, 1)
    assert few["sentence_places"].tolist() == [[0, 1, 2, 3, 4, 5, 6, -100, -100]]
    with pytest.raises(InputError, match="the text has no two sentences"):
        consecutive.groups([[[3]]], np.random.default_rng(0), vocabulary, 5, 4, 1)
    text = [[sentence] for sentence in range(3, 13)]
    cuts = [consecutive.groups([text], np.random.default_rng(seed), vocabulary, 8, 4, 1) for seed in range(20)]
    firsts = {int(made["input_ids"][:, 0, 1].min()) for made in cuts}
    assert firsts == {3, 4, 5}  # of 10 sentences two are left over: groups begin at any of the first three


def test_gates_begin_open():
    """As in the release: a unit's gates at 1, an LSTM's forget gate, all else at 0."""
    for encoder, due in (("GRU", [1, 1, 0]), ("LSTM", [0, 1, 0, 0])):
        made = minibert.create("quick_thought", **{**quick_thought.PROBE, "encoder": encoder})
        assert all(np.array_equal(made.params[side]["bias_ih"], np.repeat(due, 6)) for side in "fg")
