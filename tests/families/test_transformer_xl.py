"""Transformer-XL: a twin in torch, what its page asks for, memory from segment to segment, runs over a stream."""

import numpy as np
import pytest
from figures import Figures
from published import Published
from twins import transformer_xl as twins

import minibert
from minibert import objective, training, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import transformer_xl
from minibert.golden import blocks
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.heads import adaptive_softmax

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (480, "clusters of words, a memory, norms in two places, a state"),
    "tests": (298, "beside a twin in torch: memory, reach, clusters, runs over a stream"),
    "cases": (50, "a memory, one softmax and clusters, what is generated"),
    "mistakes": (340, "distances, four terms, memory and clusters, which no other family has"),
}

CONFIGS = (
    {"same_length": True},
    {"pre_lnorm": True, "untie_r": False, "cluster_order": "reversed", "proj_share_all_but_first": False,
     "tie_word_embeddings": False},
    {"div_val": 1, "clamp_len": -1, "untie_r": False},
    {"cutoffs": (), "div_val": 1, "d_embed": 24, "same_length": True, "mem_len": 4},
)  # fmt: skip
OWN = {"cutoffs": (9, 17), "div_val": 2, "d_head": 5, "mem_len": 6, "clamp_len": 5, "same_length": False,
       "dropout": 0.0, "dropatt": 0.0}  # fmt: skip
PUBLISHED = [
    Published("transformer_xl", "", {"labels": "next_token"}, OWN, CONFIGS, edit=twins.seen, twin=twins.twin,
              terms=twins.terms)
]  # fmt: skip
DIRECTORIES: dict = {}
TIED = {"tie_word_embeddings": True, "proj_share_all_but_first": True, "untie_r": True, "cluster_order": "ascending"}
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "labels": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, -100]],
}
SIZES = {"d_embed": 8, "d_head": 4, "cutoffs": (6, 11), "div_val": 2, "mem_len": 4, "clamp_len": 2}
FIGURES = [
    Figures(
        "transformer_xl",
        {
            "forward/loss": 3.980525403965,
            "gradients/transformer.word_emb.emb_layers.0.weight": 1.767776188390,
            "gradients/transformer.word_emb.emb_projs.1": 0.660398471929,
            "gradients/transformer.layers.0.dec_attn.r_net.weight": 0.046354725155,
            "gradients/crit.cluster_weight": 1.278656759349,
        },
        SIZES,
        BATCH,
    ),
    Figures(
        "transformer_xl",
        {"forward/loss": 3.513455212575},
        {**SIZES, "cluster_order": "reversed", "same_length": False},
        BATCH,
    ),
    Figures(
        "transformer_xl", {"forward/loss": 4.353114338061}, {**SIZES, "pre_lnorm": True, "untie_r": False}, BATCH
    ),
]
LAWS = ["bytes"]
VARIANTS = (
    {**TIED, "pre_lnorm": False, "same_length": True, "mem_len": 3},
    {"div_val": 1, "d_embed": 8, "cutoffs": (), "clamp_len": -1, "mem_len": 0},
    {},
)
SMALL = {"mem_len": 3, "clamp_len": 3, "cutoffs": (4, 7), "d_embed": 4}
PARAMETERS = [
    (transformer_xl.PRESETS["base"], (), 151_107_538),  # "151M"
    (transformer_xl.PRESETS["enwik8"], (), 41_055_436),  # "41M"
    ({}, (), 285_205_322),
    ({"n_layer": 16}, (), 257_919_818),  # the paper's "257M"
]


def model(seed: int = 0, **fields):
    """With probe weights; without memory on top, every earlier token seen, and no clamp, unless asked for."""
    small = {"vocab_size": 17, "cutoffs": (6, 11), "d_model": 8, "d_embed": 8, "n_head": 2, "d_head": 3, "d_inner": 11}
    small |= {"div_val": 2, "n_layer": 2, "mem_len": 64, "clamp_len": 0, "same_length": False}
    made = minibert.create("transformer_xl", dtype="float64", **{**small, **fields})
    rng = np.random.default_rng(seed)
    for path, value in tree.items(made.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    return made, rng


def segments(made, ids, size):
    """The last hidden states, segment after segment."""
    found, mems = [], None
    for at in range(0, ids.shape[1], size):
        out = made.encode(input_ids=ids[:, at : at + size], mems=mems)
        mems = out["mems"]
        found.append(out["last_hidden_state"])
    return np.concatenate(found, 1)


# ---- Memory ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_segments_with_a_full_memory_are_one_long_pass(pre, size):
    made, rng = model(pre_lnorm=pre)
    ids = rng.integers(0, 17, (2, 12))
    whole = made.encode(input_ids=ids)["last_hidden_state"]
    assert np.abs(segments(made, ids, size) - whole).max() < 1e-12
    short, _ = model(pre_lnorm=pre, mem_len=2)
    assert np.abs(segments(short, ids, size) - whole).max() > 1e-3


@pytest.mark.parametrize("size", [1, 2, 6])
def test_with_same_length_a_short_memory_is_enough(size):
    """Whatever the segments: each query sees the last mem_len keys."""
    made, rng = model(same_length=True, mem_len=4)
    ids = rng.integers(0, 17, (2, 12))
    whole = made.encode(input_ids=ids)["last_hidden_state"]
    assert np.abs(segments(made, ids, size) - whole).max() < 1e-12


def test_the_memory_is_what_entered_each_layer():
    made, rng = model(mem_len=5)
    ids = rng.integers(0, 17, (2, 7))
    first = made.encode(input_ids=ids[:, :3])
    assert all(np.array_equal(a, b) for a, b in zip(first["mems"], first["hidden_states"], strict=False))
    second = made.encode(input_ids=ids[:, 3:], mems=first["mems"])
    for held, before, after in zip(second["mems"], first["mems"], second["hidden_states"], strict=False):
        assert np.array_equal(held, np.concatenate([before, after], 1)[:, -5:])
    with pytest.raises(InputError, match="mems: 1 arrays, but there are 2 layers"):
        made.encode(input_ids=ids, mems=first["mems"][:1])
    with pytest.raises(InputError, match="expected a list of arrays"):
        made.encode(input_ids=ids, mems=np.stack(first["mems"]))


def test_no_gradient_goes_into_the_memory():
    """The loss of the second segment has no slope in what the first one read: its gradient is that of the second alone,
    with the memory as data, though the loss changes with the memory."""
    made, rng = model()
    ids, mems = rng.integers(0, 17, (2, 10)), made.encode(input_ids=rng.integers(0, 17, (2, 4)))["mems"]
    batch = {"input_ids": ids, "labels": ids, "mems": mems}
    loss, cache = made.loss(batch)
    g = made.loss_backward(cache)
    other = made.loss({**batch, "mems": [m + 0.1 for m in mems]})[0]
    assert abs(float(loss - other)) > 1e-4
    table, rng = made.params["embeddings"][0]["word"]["weight"], np.random.default_rng(3)
    direction, h = rng.standard_normal(table.shape), 1e-6

    def moved(sign):
        params = {**made.params, "embeddings": [*made.params["embeddings"]]}
        params["embeddings"][0] = {**params["embeddings"][0], "word": {"weight": table + sign * h * direction}}
        return float(minibert.Model("transformer_xl", made.config, params).loss(batch)[0])

    slope = (moved(1) - moved(-1)) / (2 * h)
    assert slope == pytest.approx((g["embeddings"][0]["word"]["weight"] * direction).sum(), rel=1e-6)


@pytest.mark.parametrize(("layers", "most"), [(2, 4), (3, 3)])
def test_a_token_reaches_as_far_as_the_layers_hand_it_on(layers, most):
    """N (W - 1) places, exactly, also across segments: not by a bit further, with one table of words."""
    made, rng = model(same_length=True, mem_len=most, n_layer=layers, cutoffs=(), div_val=1)
    far, length = layers * (most - 1), 14
    ids = rng.integers(0, 17, (1, length))
    before = segments(made, ids, 3)
    reached = []
    for changed in range(length):
        other = ids.copy()
        other[0, changed] = (other[0, changed] + 1) % 17
        moved = np.abs(segments(made, other, 3) - before).max(-1)[0]
        reached.append(max(np.flatnonzero(moved)) - changed)
        assert not moved[:changed].any()
    assert max(reached) == far
    assert all(n == min(far, length - 1 - changed) for changed, n in enumerate(reached))


def test_same_length_shows_each_query_as_many_keys():
    config = transformer_xl.Config(**{**transformer_xl.PROBE, "same_length": True, "mem_len": 5})
    ids = np.zeros((1, 4), int)
    full = transformer_xl.visible(config, {"input_ids": ids}, 5)[0, 0]
    assert (full.sum(-1) == 5).all()
    assert np.array_equal(full, [[i + 1 <= j <= i + 5 for j in range(9)] for i in range(4)])
    begun = transformer_xl.visible(config, {"input_ids": ids}, 2)[0, 0]  # as the release's triu and tril have it
    shift = 4 - (6 - 5)
    assert np.array_equal(begun, [[i - shift < j <= i + 2 for j in range(6)] for i in range(4)])


@pytest.mark.parametrize("cuts", [(1, 1, 1), (2, 1), (3,)])
def test_token_by_token_as_all_at_once(cuts):
    made, rng = model(mem_len=9)
    ids, mask = rng.integers(0, 17, (3, 6)), np.arange(6) >= [[0], [2], [1]]
    logits = objective.predict(made.module, made.params, made.config,
                               {"input_ids": ids, "attention_mask": mask * 1}, "next_token")  # fmt: skip
    assert np.abs(np.exp(logits).sum(-1) - 1).max() < 1e-12
    state, at = made.start(input_ids=ids[:, :3], attention_mask=mask[:, :3] * 1), 3
    for n in cuts:
        z, state = made.step(ids[:, at : at + n], state)
        at += n
        assert np.abs(z - logits[:, at - 1]).max() < 1e-12


# ---- Softmax ---------------------------------------------------------------------------------------------------------
GOLDEN = [-2.05741049, -1.35741049, -3.76059654, -3.06059654, -1.71059654, -1.01059654]


@pytest.mark.parametrize("one", [True, False])
def test_both_orders_of_clusters(one):
    """In tables of one width, together or apart; and the loss is what the probabilities say."""
    rows, p = 0.1 * np.arange(12.0).reshape(6, 2), {"decoder": [{"bias": 0.1 * np.arange(6)}]}
    p["clusters"] = {"weight": np.array([[0.5, -0.5], [0.25, 0.75]]), "bias": np.array([0.1, -0.1])}
    table = [{"word": {"weight": rows}}]
    if not one:
        table = [{"word": {"weight": part}} for part in np.split(rows, 3)]
        p["decoder"] = [{"bias": part} for part in np.split(p["decoder"][0]["bias"], 3)]
    h, how = np.array([[[1.0, 2.0]] * 7]), {"table": table, "ends": (0, 2, 4, 6)}
    labels = {"labels": np.array([[0, 0, 1, 2, 3, 4, 5]])}
    for order, due in (("ascending", GOLDEN), ("reversed", [*GOLDEN[:2], *GOLDEN[4:], *GOLDEN[2:4]])):
        log = adaptive_softmax.predict(h, p, order=order, **how)
        assert np.abs(log[0, 0] - due).max() < 1e-8
        assert np.exp(log[0, 0]).sum() == pytest.approx(1, abs=1e-12)
        loss, c = adaptive_softmax.loss(h, p, labels, order=order, **how)
        assert float(loss) == pytest.approx(-np.mean(due), abs=1e-8)
        assert adaptive_softmax.right(c)[:2] == (1, 6)  # the likeliest in two steps is always the same
        assert adaptive_softmax.count(labels) == 6


def test_nothing_asked_costs_nothing():
    made, rng = model()
    ids = rng.integers(0, 17, (2, 5))
    loss, cache = made.loss({"input_ids": ids, "labels": np.full((2, 5), -100)})
    assert float(loss) == 0
    assert not any(leaf.any() for leaf in tree.leaves(made.loss_backward(cache)))


def test_configurations_that_nobody_can_compute_are_refused():
    for fields in ({"cutoffs": (6, 6)}, {"cutoffs": (17,)}, {"cutoffs": (0, 3)}, {"d_model": 7}, {"div_val": 3},
                   {"same_length": True, "mem_len": 0}, {"clamp_len": -2}, {"eos_token_id": -1}):  # fmt: skip
        with pytest.raises(InputError, match="allowed"):
            transformer_xl.Config(**{**transformer_xl.PROBE, **fields})


# ---- Training over a stream ------------------------------------------------------------------------------------------
def test_a_stream_goes_on_in_each_of_its_places():
    steps = [training.streamed(step, 3, 14) for step in range(9)]
    assert [rows.tolist() for rows, _ in steps[:4]] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert [on for _, on in steps] == [False, True, True, True, False, True, True, True, False]
    assert [rows.tolist() for rows, _ in (training.streamed(step, 3, 2) for step in (0, 1))] == [[0, 1, 0]] * 2


@pytest.mark.parametrize("streams", [1, 3])
def test_a_stream_is_judged_with_its_memory(streams):
    """Held-out rows one after the other, each with the memory of those before it; not what each row says alone."""
    made, rng = model()
    ids = rng.integers(0, 17, (7, 4))
    measured = training.stream_evaluation(made, {"input_ids": ids, "labels": ids}, streams)
    sums = []
    for rows in np.array_split(ids, streams):
        h = made.encode(input_ids=rows.reshape(1, -1))["last_hidden_state"]
        term = made.module.terms(made.config)["next_token"]
        log = term.head.predict(h, made.params["softmax"], table=made.params["embeddings"], **term.constants)
        log = log.reshape(len(rows), 4, -1)[:, :-1]
        sums.append(np.take_along_axis(log, rows[:, 1:, None], -1))
    assert measured["targets"] == {"next_token": 21}
    assert measured["loss"] == pytest.approx(-np.concatenate(sums).mean(), rel=1e-12)
    assert abs(measured["loss"] - training.evaluation(made, {"input_ids": ids, "labels": ids})["loss"]) > 1e-3


def test_a_checkpoint_holds_the_memory_and_refuses_another(tmp_path):
    made, rng = model(mem_len=4, vocab_size=17)
    ids = rng.integers(0, 17, (8, 5))

    def batches(step, carried):
        rows, on = training.streamed(step, 4, 8)
        chosen = {"input_ids": ids[rows], "labels": ids[rows]}
        return training.micro_batches(made, chosen, plan, step, False, carried=carried if on else None)

    plan = training.Plan(steps=3, batch_size=4, accumulate=2, optimizer="adamw", schedule="linear", checkpoint_every=1)
    training.fit(made, plan, tmp_path, batches, carrying=True)
    held = safetensors.read(tmp_path / "checkpoints" / "00000002" / training.CARRIED)
    assert held.keys() == {f"{part}.mems.{layer}" for part in (0, 1) for layer in (0, 1)}
    assert all(array.shape == (2, 4, 8) for array in held.values())
    for wrong in ({}, {"0.mems.0": held["0.mems.0"]}, {name: array[..., :7] for name, array in held.items()},
                  {name: array.astype(np.float32) for name, array in held.items()},
                  {name: array + np.nan for name, array in held.items()}):  # fmt: skip
        for path in training.checkpoints(tmp_path):
            safetensors.write(path / training.CARRIED, wrong)
        with pytest.raises(InputError, match="no readable checkpoint"):
            training.fit(made, plan, tmp_path, batches, carrying=True)


def test_the_first_softmax_is_no_loss_where_tokens_have_two():
    """Block by block, a right candidate's loss is what the candidate's own tensors give: no part goes for all of it."""
    subject = cases.read("transformer_xl/memory").subject()
    right = observe(subject, ())
    alone = blocks.expected(subject, right)
    for key, array in alone.items():
        np.testing.assert_allclose(array, right[key], rtol=1e-11, atol=1e-13, err_msg=key)
