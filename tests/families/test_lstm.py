"""The recurrent language model: a twin in torch, its state, what is dropped where."""

import numpy as np
import pytest
from figures import TWO_TEXTS, Figures
from published import Published, error
from twins import lstm as twins

import minibert
from minibert import layers, tree
from minibert.errors import InputError
from minibert.families import lstm

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (285, "two kinds of layers, a state from segment to segment"),
    "double": (125, "its network and loss stand beside the op of the same name, forward and backward"),
    "cases": (40, "what is generated, and states, beside the cases that all families have"),
    "mistakes": (115, "states between segments and from token to token"),
}
CONFIGS = ({"rnn_type": "LSTM"}, {"rnn_type": "GRU", "tie_weights": False, "ninp": 9})
OWN = {"dropout": 0.0}
PUBLISHED = [
    Published("lstm", "", {"labels": "next_token"}, OWN, CONFIGS, edit=twins.seen, twin=twins.twin, terms=twins.terms)
]
DIRECTORIES: dict = {}
VARIANTS = ({}, {"rnn_type": "LSTM", "tie_weights": True, "ninp": None})
SMALL = {"ninp": None, "nhid": 3, "nlayers": 2}
UNTIED = {"tie_weights": False}
PARAMETERS = [
    ({**lstm.PRESETS["small"], **UNTIED}, (), 4_653_200),
    ({**lstm.PRESETS["medium"], **UNTIED}, (), 19_780_400),
    ({**lstm.PRESETS["large"], **UNTIED}, (), 66_034_000),  # "66M"
    ({}, (), 13_280_400),
]
FIGURES = [
    Figures(
        "lstm",
        {
            "forward/loss": 2.758978783336,
            "gradients/encoder.weight": 0.139158913777,
            "gradients/rnn.weight_hh_l0": 0.008236456421,
            "gradients/rnn.bias_ih_l1": 0.072005697937,
            "gradients/decoder.bias": 0.193765525050,
        },
        {},
        TWO_TEXTS,
    ),
    Figures("lstm", {"forward/loss": 2.643137992969, "gradients/rnn.weight_hh_l0": 0.034389165808},
            {"rnn_type": "GRU"}, TWO_TEXTS),
]


def model(seed: int = 0, **fields):
    made = minibert.create("lstm", dtype="float64", **{**lstm.PROBE, "dropout": 0.0, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


@pytest.mark.parametrize("kind", lstm.GATES)
def test_segments_one_after_the_other_are_one_text(kind):
    """Whatever their length; and token by token, the logits of the whole."""
    made, rng = model(rnn_type=kind)
    ids = rng.integers(0, 17, (2, 9))
    whole = made.encode(input_ids=ids)
    for size in (1, 4):
        found, states = [], None
        for at in range(0, 9, size):
            out = made.encode(input_ids=ids[:, at : at + size], states=states)
            states = out["states"]
            found.append(out["last_hidden_state"])
        assert error(np.concatenate(found, 1), whole["last_hidden_state"]) < 1e-14
        assert all(error(a, b) < 1e-14 for a, b in zip(states, whole["states"], strict=True))
    state = made.start()
    for t in range(9):
        logits, state = made.step(ids[:, t], state)
    decoder = made.params["lm"]["decoder"]
    assert error(logits, whole["last_hidden_state"][:, -1] @ decoder["weight"].T + decoder["bias"]) < 1e-13


def test_a_loss_asks_nothing_of_the_segment_before():
    """The state is data: what was read before it gets no gradient, and the next token of its last is not asked."""
    made, rng = model()
    ids = rng.integers(0, 17, (2, 8))
    first = made.encode(input_ids=ids[:, :4])["states"]
    loss, cache = made.loss({"input_ids": ids[:, 4:], "labels": ids[:, 4:], "states": first})
    table = made.loss_backward(cache)["embeddings"]["word"]["weight"]
    assert not table[np.setdiff1d(np.arange(17), ids[:, 4:])].any()
    whole, cache = made.loss({"input_ids": ids, "labels": np.where(np.arange(8) < 5, -100, ids)})
    assert error(loss, whole) < 1e-14
    assert made.loss_backward(cache)["embeddings"]["word"]["weight"][ids[0, 0]].any()


def test_what_is_dropped_is_not_handed_on_from_token_to_token():
    """What is dropped in front of a layer changes its state and those above, no other: of the last none."""
    made, rng = model(dropout=0.5)
    batch = {"input_ids": rng.integers(0, 17, (2, 6))}
    masks = layers.keep_masks(rng, lstm.dropouts(made.config, {"B": 2, "T": 6}))
    assert [*masks] == ["drop", "rnn.1", "rnn.2", "drop@1"]
    plain = lstm.encode(made.params, made.config, batch)[0]
    for first, (name, mask) in enumerate(masks.items()):
        out = lstm.encode(made.params, made.config, {**batch, "dropout": {name: mask}})[0]
        same = [np.array_equal(a, b) for a, b in zip(out["states"], plain["states"], strict=True)]
        assert same == [i < first for i in range(3)], name


def test_padding_in_front_is_no_padding():
    made, rng = model()
    ids = rng.integers(0, 17, (1, 5))
    padded = np.pad(ids, [(0, 0), (3, 0)], constant_values=11)
    out = made.encode(input_ids=padded, attention_mask=(np.arange(8) >= 3)[None] * 1)
    due = made.encode(input_ids=ids)
    assert np.array_equal(out["last_hidden_state"][:, 3:], due["last_hidden_state"])
    assert all(np.array_equal(a, b) for a, b in zip(out["states"], due["states"], strict=True))


def test_tied_tables_have_one_width():
    with pytest.raises(InputError, match="'ninp' is 5; allowed: null, 1 to"):
        minibert.create("lstm", **{**lstm.PROBE, "tie_weights": True})
    with pytest.raises(InputError, match="states: 1 arrays, but there are 3 layers"):
        model()[0].encode(input_ids=[[1, 2]], states=[np.zeros((1, 1, 6))])
