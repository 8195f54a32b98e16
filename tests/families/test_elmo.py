"""ELMo: a twin in torch under allennlp's names, characters, both sides, files of bilm-tf."""

import numpy as np
import pytest
from figures import TWO_TEXTS, Figures
from published import Published, error
from twins import elmo as twins
from twins.lstm import seen

import minibert
from minibert import ops, tree
from minibert.errors import InputError
from minibert.families import elmo

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (390, "characters and highways, two sides, each with a projection and a clip"),
    "tests": (155, "beside a twin in torch: spelling, both sides, files of TensorFlow"),
    "cases": (40, "clips that bind, beside the cases that all families have"),
    "mistakes": (108, "characters, highways and residuals, which no other family has"),
}
CONFIGS = ({"use_skip_connections": True}, {"use_skip_connections": False, "n_highway": 1, "n_layers": 2})
OWN = {"max_characters_per_token": 7, "embedding_dim": 5, "filter_widths": (1, 2, 4), "filter_counts": (4, 3, 5),
       "projection_dim": 6, "dim": 9, "cell_clip": 0.9, "proj_clip": 0.8, "dropout": 0.0}  # fmt: skip
PUBLISHED = [
    Published("elmo", "", {"labels": "forward_lm"}, OWN, CONFIGS, edit=seen, twin=twins.twin, terms=twins.terms)
]
DIRECTORIES: dict = {}
VARIANTS = ({}, {"use_skip_connections": True, "n_layers": 2, "spellings": ""})
SMALL = {"filter_counts": (1, 2), "projection_dim": 3, "dim": 2, "n_layers": 1}
PARAMETERS = [
    ({}, ("lm",), 93_600_864),  # "93.6 million", with row 0 of the characters
    (elmo.PRESETS["medium"], ("lm",), 28_027_744),
    (elmo.PRESETS["small"], ("lm",), 13_593_312),  # "13.6 million"
]
FIGURES = [
    Figures(
        "elmo",
        {
            "forward/loss": 3.023563814345,
            "gradients/_elmo_lstm._token_embedder._char_embedding_weights": 0.046593313436,
            "gradients/_elmo_lstm._token_embedder._highways._layers.0.weight": 0.035620674345,
            "gradients/_elmo_lstm._elmo_lstm.backward_layer_1.state_projection.weight": 0.068959736829,
            "gradients/softmax.W": 0.294020848087,
        },
        {"max_characters_per_token": 5, "embedding_dim": 3, "filter_widths": (1, 2), "filter_counts": (3, 4)},
        TWO_TEXTS,
    ),
]


def model(seed: int = 0, **fields):
    made = minibert.create("elmo", dtype="float64", **{**elmo.PROBE, "dropout": 0.0, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


def test_words_are_bytes_between_marks():
    """(a), (b) of B1, and one more each: 0 is that of no word."""
    cat = elmo.character_ids(b"cat", 50)
    assert cat[:6] == [259, 100, 98, 117, 260, 261]
    assert set(cat[5:]) == {261}
    long = elmo.character_ids(b"x" * 60, 50)
    assert (len(long), long[0], long[-1], long.count(ord("x") + 1)) == (50, 259, 260, 48)
    pieces = "\n".join(["Ġthe", "Ã©", *"abcdefghijklmno"])
    spelled = elmo._spelled(elmo.Config(**{**elmo.PROBE, "max_characters_per_token": 8, "spellings": pieces}))
    assert spelled[0].tolist() == [259, 33, *(ord(c) + 1 for c in "the"), 260, 261, 261]
    assert spelled[1].tolist()[1:3] == [byte + 1 for byte in "é".encode()]


def test_characters_given_are_read_instead_of_the_vocabulary_s():
    """Bit for bit those of the same words; a word that no vocabulary has; the same vector at each of its places."""
    made, rng = model()
    ids = rng.integers(0, 17, (2, 5))
    due = made.encode(input_ids=ids)["last_hidden_state"]
    given = elmo._spelled(made.config)[ids]
    assert error(made.encode(input_ids=0 * ids, char_ids=given)["last_hidden_state"], due) < 1e-14
    given = given.copy()
    given[0, 2] = given[1, 3] = elmo.character_ids("我".encode(), 5)
    first = made.encode(input_ids=ids, char_ids=given)["hidden_states"][0]
    assert error(first[0, 2], first[1, 3]) < 1e-15
    assert np.array_equal(first[..., :4], first[..., 4:])


def test_an_open_gate_is_the_identity():
    """(d) of B1."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    y, _ = elmo.highway(x, {"weight": np.zeros((8, 4)), "bias": np.repeat([1.0, 50.0], 4)})
    assert abs(y - x).max() < 1e-20 + 1e-15 * abs(x).max()


def test_a_text_turned_round_with_the_sides_exchanged_is_its_mirror():
    """(d) of B4."""
    made, rng = model()
    ids = rng.integers(0, 17, (2, 6))
    due = made.encode(input_ids=ids)["last_hidden_state"]
    made.params["forward"], made.params["backward"] = made.params["backward"], made.params["forward"]
    found = made.encode(input_ids=ids[:, ::-1])["last_hidden_state"][:, ::-1]
    assert np.array_equal(found, np.concatenate([due[..., 4:], due[..., :4]], -1))


def test_neither_side_sees_what_it_is_asked_for():
    """A token changes no state before it from the left, none behind it from the right; states stay within the clip."""
    made, rng = model(n_layers=2, proj_clip=0.2)
    ids = rng.integers(0, 17, (1, 7))
    other = ids.copy()
    other[0, 3] = (ids[0, 3] + 1) % 17
    a, b = (made.encode(input_ids=given) for given in (ids, other))
    moved = {side: abs(a[f"{side}_state"] - b[f"{side}_state"])[0].max(-1) > 1e-12 for side in elmo.SIDES}
    assert moved["forward"].tolist() == [False] * 3 + [True] * 4
    assert moved["backward"].tolist() == [True] * 4 + [False] * 3
    assert abs(a["last_hidden_state"]).max() == 0.2


def test_mixed_with_equal_weights_the_layers_are_their_mean():
    """(a) of B4: w = 0, γ = 1."""
    made, rng = model()
    hidden = np.stack(made.encode(input_ids=rng.integers(0, 17, (2, 5)))["hidden_states"])
    assert made.config.width == hidden.shape[-1] == 8
    mixed, _ = ops.scalar_mix(hidden, np.zeros(len(hidden)), np.ones(1))
    assert error(mixed, hidden.mean(0)) < 1e-15


def test_files_of_tensorflow_are_turned():
    """(c) of B4: rows i j f o with 1 added at the forget gate when they run, carry gates, a row of no word before."""
    made, _ = model(n_characters=262)
    c, p = made.config, made.params
    arrays = {"char_embed": p["characters"]["table"]["weight"][1:]}
    for i, own in enumerate(p["characters"]["convolutions"]):
        arrays |= {f"CNN/W_cnn_{i}": own["weight"].transpose(2, 1, 0)[None], f"CNN/b_cnn_{i}": own["bias"]}
    for k, own in enumerate(p["characters"]["highways"]):
        (t, g), (bt, bg) = (np.split(own[leaf], 2) for leaf in ("weight", "bias"))
        high = {"W_transform": t.T, "W_carry": -g.T, "b_transform": bt, "b_carry": -bg}
        arrays |= {f"CNN_high_{k}/{name}": array for name, array in high.items()}
    last = p["characters"]["projection"]
    arrays |= {"CNN_proj/W_proj": last["weight"].T, "CNN_proj/b_proj": last["bias"]}
    for n, side in enumerate(elmo.SIDES):
        for i, own in enumerate(p[side]):
            rows = {name: np.split(own[name], 4) for name in ("weight_ih", "weight_hh", "bias_hh")}
            (ih, hh), b = ([np.concatenate([r[0], r[2], r[1], r[3]]) for r in (rows["weight_ih"], rows["weight_hh"])],
                           rows["bias_hh"])  # fmt: skip
            cell = {"W_0": np.concatenate([ih, hh], 1).T, "B": np.concatenate([b[0], b[2], b[1] - 1, b[3]])}
            cell["W_P_0"] = own["weight_hr"].T
            arrays |= {f"RNN_{n}/RNN/MultiRNNCell/Cell{i}/LSTMCell/{name}": a for name, a in cell.items()}
    p["characters"]["table"]["weight"][0] = 0
    found = tree.flatten(elmo.of_tensorflow(arrays, c))
    due = tree.flatten({name: part for name, part in p.items() if name != "lm"})
    assert found.keys() == due.keys()
    assert all(error(found[path], due[path]) < 1e-15 for path in due if due[path].any())


def test_spellings_are_as_many_as_words():
    with pytest.raises(InputError, match="'spellings' is of 2 words; allowed: vocab_size 17 or more"):
        minibert.create("elmo", **{**elmo.PROBE, "spellings": "a\nb"})
    with pytest.raises(InputError, match="one for each of filter_widths"):
        minibert.create("elmo", **{**elmo.PROBE, "filter_counts": (2,)})
