"""AWD-LSTM: a twin in torch under fastai's names, what is dropped where, its two terms, averaged SGD."""

import numpy as np
import pytest
from figures import TWO_TEXTS, Figures
from published import Published, error
from twins import awd_lstm as twins
from twins.lstm import seen

import minibert
from minibert import layers, optim, tree
from minibert.checkpoint import safetensors
from minibert.families import awd_lstm, lstm
from minibert.heads import activation

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (260, "five kinds of dropout, states of two widths, parts of a row"),
    "tests": (155, "beside a twin in torch: five dropouts, two terms, averages"),
    "cases": (45, "what is dropped beside what is certified, and what is generated"),
    "mistakes": (125, "five dropouts and two terms, which no other family has"),
}
NOTHING = dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), 0.0)
CONFIGS = ({"tie_weights": True}, {"tie_weights": False, "n_layers": 1})
PUBLISHED = [
    Published("awd_lstm", "", {"labels": "next_token"}, {**NOTHING, "alpha": 1.3}, CONFIGS, edit=seen, twin=twins.twin,
              terms=twins.terms)
]  # fmt: skip
DIRECTORIES: dict = {}
VARIANTS = ({}, {"tie_weights": True, "n_layers": 3})
SMALL = {"n_layers": 2}
PAPER = awd_lstm.PRESETS["paper"]
PARAMETERS = [
    ({**PAPER, "vocab_size": 10000}, (), 24_221_600),  # "24M" of the Penn Treebank
    ({**PAPER, "vocab_size": 33278}, (), 33_556_078),  # "33M" of WikiText-2
]
FIGURES = [
    Figures(
        "awd_lstm",
        {
            "forward/loss": 2.869078187489,
            "gradients/0.encoder.weight": 0.126007063073,
            "gradients/0.rnns.0.weight_hh_l0_raw": 0.039739758535,
            "gradients/0.rnns.1.module.bias_ih_l0": 0.176322675694,
            "gradients/1.decoder.bias": 0.206458183364,
        },
        {"emb_sz": 6},
        TWO_TEXTS,
    ),
]


def model(seed: int = 0, **fields):
    made = minibert.create("awd_lstm", dtype="float64", **{**awd_lstm.PROBE, **fields})
    rng = np.random.default_rng(seed)
    for value in tree.leaves(made.params):
        value[...] = rng.normal(0.0, 0.5, value.shape)
    return made, rng


def test_what_is_dropped_of_one_row_is_another_network():
    """Each mask, in the weights of a recurrent language model without: words of the table, columns of what reads."""
    made, rng = model(n_hid=5)  # as wide as the table
    c, ids = made.config, rng.integers(0, 17, (1, 6))
    masks = layers.keep_masks(rng, awd_lstm.dropouts(c, {"B": 1, "T": 6}))
    by = {name: masks[name] / (1 - rate) for name, (_, rate) in awd_lstm.dropouts(c, {"B": 1, "T": 6}).items()}
    out = awd_lstm.encode(made.params, c, {"input_ids": ids, "dropout": masks})[0]
    first, second = made.params["layers"]
    p = {
        "embeddings": {"word": {"weight": made.params["embeddings"]["word"]["weight"] * by["0.encoder_dp"]}},
        "layers": [
            {**first, "weight_hh": first["weight_hh"] * by["0.rnns.0"],
             "weight_ih": first["weight_ih"] * by["0.input_dp"][0]},
            {**second, "weight_hh": second["weight_hh"] * by["0.rnns.1"],
             "weight_ih": second["weight_ih"] * by["0.hidden_dps.0"][0]},
        ],
    }  # fmt: skip
    due = lstm.encode(p, lstm.Config(vocab_size=17, nhid=5, nlayers=2), {"input_ids": ids})[0]
    assert error(out["raw_output"], due["last_hidden_state"]) < 1e-14
    assert error(out["last_hidden_state"], due["last_hidden_state"] * by["1.output_dp"]) < 1e-14


def test_masks_are_the_same_at_all_tokens_and_rows_have_their_own():
    """(c) of B3; and (b): nothing of the first token depends on what was dropped of the recurrent matrix."""
    made, rng = model()
    places = awd_lstm.dropouts(made.config, {"B": 3, "T": 6})
    assert {shape[:2] for name, (shape, _) in places.items() if "_dp" in name and "encoder" not in name} == {(3, 1)}
    ids, outs = rng.integers(0, 17, (3, 6)), []
    for seed in (0, 1):
        mask = {"0.rnns.0": np.random.default_rng(seed).random((24, 6)) < 0.6}
        outs.append(awd_lstm.encode(made.params, made.config, {"input_ids": ids, "dropout": mask})[0]["raw_output"])
    assert np.array_equal(outs[0][:, 0], outs[1][:, 0])
    assert (abs(outs[0][:, 1:] - outs[1][:, 1:]).max((0, 2)) > 1e-6).all()


def test_without_dropout_and_terms_it_is_the_recurrent_language_model():
    """(e) of B3, bit for bit."""
    made, rng = model(**NOTHING, n_hid=5, alpha=0.0, beta=0.0)
    plain = minibert.create("lstm", dtype="float64", vocab_size=17, nhid=5, dropout=0.0, tie_weights=False)
    plain.params = made.params
    ids = rng.integers(0, 17, (2, 7))
    batch = {"input_ids": ids, "labels": ids}
    assert made.loss(batch)[0] == plain.loss(batch)[0]
    written = [network.generate(ids[:1, :3], max_new_tokens=4)[0] for network in (made, plain)]
    assert np.array_equal(*written)


def test_the_two_terms_by_hand():
    """States of two rows, of which one position asks nothing: means over entries, and pairs of neighbours."""
    h = np.array([[[1.0, 2.0], [3.0, 2.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0], [5.0, 5.0]]])
    labels = {"labels": np.array([[4, 5, 6], [4, 5, -100]])}
    small = activation.loss(h, None, labels, order=0)[0]
    assert float(small) == pytest.approx((1 + 4 + 9 + 4 + 4 + 0) / 6, rel=1e-15)
    slow, c = activation.loss(h, None, labels, order=1)
    assert float(slow) == pytest.approx((4 + 0 + 9 + 1 + 1 + 1) / 6, rel=1e-15)
    dh, *_ = activation.loss_backward(np.array(1.0), c)
    assert dh[0, 1].tolist() == pytest.approx([(2 * 2 + 2 * 3) / 6, 2 * 1 / 6], rel=1e-15)
    assert not dh[1, 2].any()


def test_a_file_of_fastais_is_read(tmp_path):
    """The matrix as it is beside what was last dropped of it, which nothing reads."""
    made, _ = model(tie_weights=True, emb_sz=5)
    made.save(tmp_path)
    path = tmp_path / "model.safetensors"
    held = dict(safetensors.read(path))
    spare = {f"0.rnns.{i}.module.weight_hh_l0": np.zeros_like(held[f"0.rnns.{i}.weight_hh_l0_raw"]) for i in range(2)}
    safetensors.write(path, {**held, **spare, "0.encoder_dp.emb.weight": held["0.encoder.weight"]})
    again = minibert.load(tmp_path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in made.state_dict().items())


def test_averages_are_torchs_and_begin_when_the_loss_stops_to_fall():
    """torch.optim.ASGD (t0 = 0, lambd = 0), its rate constant; the trigger of the paper."""
    torch = pytest.importorskip("torch", reason="torch.optim.ASGD is the published implementation")
    rng = np.random.default_rng(0)
    w = rng.standard_normal(5)
    theirs = torch.nn.Parameter(torch.tensor(w.copy()))
    stepped = torch.optim.ASGD([theirs], lr=0.25, lambd=0.0, t0=0, alpha=0.0)
    p, mean, held = {"w": w.copy()}, None, []
    for t in range(4):
        g = rng.standard_normal(5)
        theirs.grad = torch.tensor(g)
        stepped.step()
        p["w"] -= 0.25 * g
        mean = optim.averaged(mean, p, max(t - 1, 0))  # theirs has the second once more alone
        assert error(p["w"], theirs.detach().numpy()) < 1e-15
        held = [*held, p["w"].copy()] if t else held
        assert error(mean["w"], np.mean(held or [p["w"]], 0)) < 1e-15
        assert error(mean["w"], stepped.state[theirs]["ax"].numpy()) < 1e-7  # whose 1/n are float32
    falling = [9.0, 8, 7, 6, 5, 4, 3]
    assert not optim.non_monotone(falling)
    assert not optim.non_monotone([5.0, 6, 7, 8, 9])  # as many checks as are waited for
    assert optim.non_monotone([5.0, 6, 7, 8, 9, 10])
    assert not optim.non_monotone([5.0, 6, 7, 8, 9, 4.9])
    assert optim.non_monotone([4.0, 6, 5], interval=2)
