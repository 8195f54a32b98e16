"""ELECTRA: two networks over one another, each and both (`twins.electra`) compared; sampling, two stages."""

import dataclasses

import numpy as np
import pytest
from figures import TEXT, Figures
from figures import model as model_of
from published import Published, error, example, probed, worst
from twins.electra import adversarial_terms, corrupted, joined, joint_terms

import minibert
import reference
from minibert import gradcheck, layers, objective, pretraining, training, tree
from minibert.checkpoint import safetensors
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import electra

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (550, "two networks over one another, three ways to share, two further ways to train"),
    "tests": (600, "two networks that share or not, sampling, REINFORCE, stages, two directories"),
    "cases": (55, "cases of each network, of both, and of what an adversarial generator adds"),
    "mistakes": (330, "two networks, sampling, replacing, a policy: most of it is in no other family"),
    "bytes of golden cases": (1_200_000, "each network alone, both together, adversarial training"),
}

ALL = {"sharing": "all", "generator_size": 1.0}
TWO = {"objective": "two-stage", "sharing": "none", "generator_size": 1.0}
LAWS = ["policy", "discriminator", "generator"]
PUBLISHED = [
    Published(
        "electra",
        "ElectraForMaskedLM",
        labels={"labels": "masked_lm"},
        fields={"role": "generator", "hidden_act": "gelu_new"},
        configs=({}, {"embedding_size": 24, "hidden_act": "relu"}, {"tie_word_embeddings": False}),
    ),
    Published(
        "electra",
        "ElectraForPreTraining",
        labels={"labels": "replaced_token"},
        fields={"role": "discriminator", "hidden_act": "gelu_new"},
        configs=({}, {"embedding_size": 24, "hidden_act": "gelu"}),
    ),
    Published(
        "electra",
        "both together",
        labels={"labels of the first": "masked_lm", "labels of the second": "replaced_token"},
        fields={"generator_size": 0.5, "hidden_act": "gelu_new"},
        configs=({}, {"sharing": "none"}, {"sharing": "all", "generator_size": 1.0}, {"generator_size": 1.0}),
        twin=joined,
        terms=joint_terms,
    ),
    Published(
        "electra",
        "both together, adversarial",
        labels={"by torch's detach": "policy", "rewards": "baseline", "labels of the second": "replaced_token"},
        fields={"generator_size": 0.5, "hidden_act": "gelu_new", "objective": "adversarial"},
        configs=({}, {"sharing": "none"}),
        twin=joined,
        terms=adversarial_terms,
    ),
]
DIRECTORIES = {"ElectraForMaskedLM": {"mlm"}, "ElectraForPreTraining": {"rtd"}, "ElectraModel": set()}
UNTIED = {"role": "generator", "tie_word_embeddings": False}
VARIANTS = ({}, UNTIED, {"role": "discriminator"}, {"sharing": "none"}, ALL, {"embedding_size": 8},
            {"embedding_size": 4})  # fmt: skip
SMALL = {"mlm_denominator_eps": 0.0, "rtd_denominator_eps": 0.0, "duplicates": "last"}  # as the scalar loops have it
RUNS = [({}, {}), ({}, {"objective": "adversarial"}), ({}, TWO)]
PARAMETERS = [
    *((electra.PRESETS[size], (), count) for size, count in (
        ("small", 14_196_219), ("small++", 23_122_875), ("base", 119_386_427), ("large", 354_655_291))),
    *(({**electra.PRESETS[size], "role": "discriminator"}, left_out, count) for size, left_out, count in (
        ("small", ("rtd",), 13_483_008), ("small", (), 13_549_057), ("base", ("rtd",), 108_891_648),
        ("base", (), 109_483_009), ("large", ("rtd",), 334_092_288), ("large", (), 335_142_913))),
    *((dataclasses.asdict(electra.towers(electra.Config(**electra.PRESETS[size]))["generator"]), (), count)
      for size, count in (("small", 4_620_026), ("base", 33_740_602))),
]  # fmt: skip
FIGURES = [
    Figures(
        "electra",
        {
            "forward/loss": 0.633523317267,
            "gradients/electra.embeddings.word_embeddings.weight": 0.018676434106,
            "gradients/electra.embeddings_project.weight": 0.087000243361,
            "gradients/discriminator_predictions.dense_prediction.weight": 0.363692869775,
        },
        {"role": "discriminator", "embedding_size": 4},
        {**{name: TEXT[name] for name in ("input_ids", "input_mask", "segment_ids")},
         "replaced_labels": [[0, 1, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]},
    ),
    Figures(
        "electra",
        {
            "forward/loss": 2.806144589884,
            "gradients/electra.embeddings.word_embeddings.weight": 0.727908886741,
            "gradients/generator_predictions.dense.weight": 2.237155901473,
            "gradients/generator_lm_head.bias": 0.400345967257,
        },
        {"role": "generator", "embedding_size": 4},
    ),
]  # fmt: skip


def double(p, config, batch):
    """The scalar loops' terms: of both networks, or of the one that there is."""
    batch = {**batch, "attention_mask": batch["input_mask"], "token_type_ids": batch["segment_ids"]}
    known = electra.Config.__dataclass_fields__.keys() - {"mask_constant"}  # which loops take as a number
    made = electra.Config(**{name: value for name, value in config.items() if name in known})
    heads = {role: part.num_attention_heads for role, part in electra.towers(made).items()}
    if made.role == "joint":
        both = {role: network for role, (network, *_) in electra.networks(p, made).items()}
        return reference.double("electra_loss")(both, config, batch, heads)
    x = reference.double("electra_encode")(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    if made.role == "discriminator":
        logits = reference.double("rtd_head")(x, p["rtd"], config["hidden_act"])
        bce = reference.double("binary_cross_entropy")
        return {"replaced_token": bce(logits, labels=batch["replaced_labels"], weights=batch["input_mask"])}
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    chosen = reference.double("gather")(x, positions=batch["masked_lm_positions"])
    head = reference.double("mlm_head")
    logits = head(chosen, p["mlm"], table, config["generator_act"], config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    return {"masked_lm": reference.double("cross_entropy")(logits, labels=batch["masked_lm_ids"], weights=weights)}


def network(seed=0, **fields):
    """The joint model with probe weights, its generator half as wide; or one of them."""
    return probed("electra", seed, **{"hidden_act": "gelu_new", "generator_size": 0.5, **fields})


# ---- Laws ------------------------------------------------------------------------------------------------------------
def test_defaults_and_the_generator_of_an_odd_fraction():
    config = electra.Config()
    assert (config.generator_size, config.temperature) == (1 / 3, 1.0)
    assert electra.weights(config) == {"masked_lm": 1.0, "replaced_token": 50.0}
    odd = electra.Config(hidden_size=24, num_attention_heads=2, intermediate_size=37, generator_size=0.2)
    part = electra.towers(odd)["generator"]
    assert (part.hidden_size, part.num_attention_heads, part.intermediate_size) == (5, 1, 7)  # rounded, at least one


def test_the_first_logits_of_the_whole_model():
    given = FIGURES[0]
    discriminator = model_of(given)
    checked = discriminator.checked({name: np.array(value) for name, value in given.batch.items()})
    logits = objective.predict(electra, discriminator.params, discriminator.config, checked, "replaced_token")
    assert logits[0, :2] == pytest.approx([-0.166011708959, -0.083243292128], rel=1e-10)


def test_nothing_flows_back_through_the_sample():
    """50 times the discriminator's loss leaves the generator's own weights alone, but not the shared table."""
    model = network(8, generator_weight=0.0)
    gradient = tree.flatten(model.loss_backward(model.loss(example(model))[1]))
    for path, value in gradient.items():
        assert value.any() == path.startswith("discriminator."), path


def test_the_shared_table_learns_from_both_losses():
    model = network(8)
    batch = example(model)
    one, two = (network(8, generator_weight=g, discriminator_weight=d) for g, d in ((1.0, 0.0), (0.0, 50.0)))
    both, alone = (
        [m.loss_backward(m.loss(batch)[1])["discriminator"]["embeddings"]["word"]["weight"] for m in models]
        for models in ((model,), (one, two))
    )
    assert all(part.any() for part in alone)
    assert error(alone[0] + alone[1], both[0]) < 1e-12


def test_a_generator_that_tells_the_truth_replaces_nothing():
    batch = example(network(8))
    batch["replacement_ids"] = batch["masked_lm_ids"]
    original, none = corrupted(batch)
    ids, labels = electra.replaced(batch)
    assert np.array_equal(ids, original)
    assert not labels.any()
    assert not none.any()


@pytest.mark.parametrize(("duplicates", "expected", "label"), [("last", 13, 1), ("first", 10, 0), ("mean", 11, 1)])
def test_a_position_drawn_twice(duplicates, expected, label):
    batch = {
        "input_ids": np.array([[2, 4, 4, 3]]),
        "masked_lm_positions": np.array([[1, 1, 0]]),
        "masked_lm_ids": np.array([[10, 10, 0]]),
        "masked_lm_weights": np.array([[1.0, 1.0, 0.0]]),
        "replacement_ids": np.array([[10, 13, 7]]),
    }
    ids, labels = electra.replaced(batch, duplicates)
    assert ids.tolist() == [[2, expected, 4, 3]]  # position 0 of the unused slot is never written
    assert labels.tolist() == [[0, label, 0, 0]]


@pytest.mark.parametrize("objective", ["joint", "adversarial"])
def test_a_target_of_weight_two_is_the_target_given_twice(objective):
    """In the terms of the policy too, whose weights are the target's times the advantage."""
    model = network(8, objective=objective, mlm_denominator_eps=0.3)
    batch = example(model)
    twice = {name: np.concatenate([batch[name], batch[name][:, :2]], 1) for name in electra.labels(model.config)}
    heavy = {**batch, "masked_lm_weights": batch["masked_lm_weights"] * [2.0, 2.0, 1.0, 1.0]}
    (one, c), (two, d) = model.loss(heavy), model.loss({**batch, **twice})
    assert error(one, two) < 1e-12
    for name, value in d["terms"].items():
        assert error(c["terms"][name], value) < 1e-12, name
    gradients = (model.state_dict(model.loss_backward(cache)) for cache in (c, d))
    assert worst(*gradients) < 1e-12


def test_samples_follow_the_softmax():
    """Gumbel-max at a temperature, against the probabilities: chi-square; the same seed draws the same."""
    model = network(9, temperature=1.7, vocab_size=8, num_hidden_layers=1)
    batch = example(model)
    batch = {name: np.repeat(value[:1], 4000, axis=0) for name, value in batch.items()}
    batch["masked_lm_weights"][:] = [0, 1, 0, 0]
    drawn = electra.sample(np.random.default_rng(1), model.params, model.config, batch)["replacement_ids"]
    again = electra.sample(np.random.default_rng(1), model.params, model.config, batch)["replacement_ids"]
    other = electra.sample(np.random.default_rng(2), model.params, model.config, batch)["replacement_ids"]
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    assert np.array_equal(drawn[:, [0, 2, 3]], batch["masked_lm_ids"][:, [0, 2, 3]])
    first = {"input_ids": batch["input_ids"][:1], "attention_mask": batch["input_mask"][:1],
             "token_type_ids": batch["segment_ids"][:1]}  # fmt: skip
    place = 0, batch["masked_lm_positions"][0, 1]
    z = objective.predict(electra, model.params, model.config, first, "masked_lm", place) / 1.7
    expected = 4000 * np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    observed = np.bincount(drawn[:, 1], minlength=8)
    assert ((observed - expected) ** 2 / expected).sum() < 24.3  # 7 degrees of freedom, p = 0.001


def test_the_correct_token_can_be_disallowed():
    model = network(9, disallow_correct=True, vocab_size=3, pad_token_id=0)
    batch = example(model)
    drawn = electra.sample(np.random.default_rng(1), model.params, model.config, batch)["replacement_ids"]
    used = batch["masked_lm_weights"] > 0
    assert (drawn[used] != batch["masked_lm_ids"][used]).all()


def test_the_rate_of_the_dropout_of_embeddings():
    """Where all is kept, it multiplies the norm's output by 1 / (1 - rate)."""
    model = network(10, role="discriminator", hidden_dropout_prob=0.3)
    batch = example(model)
    keep = np.ones((4, 11, 10), bool)
    kept = float(model.loss({**batch, "dropout": {"electra.embeddings.dropout": keep}})[0])
    for value in model.params["embeddings"]["norm"].values():
        value /= 0.7
    assert kept == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)


def test_dropout_masks_reach_the_sample():
    model = network(10, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    batch = example(model)
    keep = layers.keep_masks(np.random.default_rng(0), electra.dropouts(model.config, {"B": 4, "T": 11}))
    plain, masked = (
        electra.sample(np.random.default_rng(1), model.params, model.config, given)["replacement_ids"]
        for given in (batch, {**batch, "dropout": keep})
    )
    assert not np.array_equal(plain, masked)


def test_the_policy_gradient_is_that_of_a_surrogate():
    """With samples, rewards and baseline held where they are, the gradient is that of the frozen objective."""
    rng = np.random.default_rng(0)
    fields = {**electra.PROBE, "num_hidden_layers": 1, "objective": "adversarial", "mlm_denominator_eps": 0.0}
    model = minibert.create("electra", 0, "float64", **fields, initializer_range=0.4)
    params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    batch = model.checked(electra.example(rng, model.config))
    cache = electra.loss(params, model.config, batch)[1]
    gradient = electra.loss_backward(cache)
    frozen = cache["generator"]
    advantage, labels = frozen["advantage"], frozen["baseline"]["loss"]["labels"]
    flat = frozen["masked_lm"]["gather"]["positions"][0]
    h = frozen["baseline"]["dense"]["x"]
    ids = electra.replaced(batch, model.config.duplicates)[0].reshape(-1)[flat]
    total = batch["masked_lm_weights"].sum()

    def surrogate(p):
        own = electra.loss(p, model.config, batch)[1]
        z = own["generator"]["masked_lm"]["loss"]["logits"]
        log_p = (z - np.logaddexp.reduce(z, axis=-1, keepdims=True))[np.arange(len(z)), ids]
        u = (h @ p["generator"]["baseline"]["weight"].T + p["generator"]["baseline"]["bias"])[:, 0]
        policy = -(advantage * log_p).sum() / total
        baseline = (np.logaddexp(0, u) - u * labels).sum() / total
        return 0.7 * policy + baseline + 3.0 * own["terms"]["replaced_token"]

    found = gradcheck.directional(surrogate, params, gradient, rng)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR
    assert np.unique(np.sign(advantage)).size == 2  # some samples are encouraged, others discouraged


def test_the_policy_is_that_of_the_scalar_loops():
    model = network(11, objective="adversarial", num_hidden_layers=1, vocab_size=11)
    cache = model.loss(example(model))[1]
    own = cache["generator"]
    policy = reference.double("electra_policy")(
        own["masked_lm"]["loss"]["logits"].tolist(),
        own["baseline"]["dense"]["x"].tolist(),
        tree.map(np.ndarray.tolist, model.params["generator"]["baseline"]),
        samples=own["policy"]["loss"]["labels"].tolist(),
        rewards=(-np.log(own["baseline"]["loss"]["labels"])).tolist(),
    )
    for name, value in policy.items():
        assert error(cache["terms"][name], value) < 1e-12, name


def test_what_the_sums_are_divided_by():
    """The weights, or the attended tokens, and the epsilon of each; for a micro-batch those of the large batch."""
    batch = example(network(14))
    totals = objective.counts(electra, None, batch)
    assert totals == {"masked_lm": batch["masked_lm_weights"].sum(), "replaced_token": batch["input_mask"].sum()}
    unmasked = {"input_ids": batch["input_ids"], "replaced_labels": 0}
    assert objective.counts(electra, None, unmasked) == {"replaced_token": 44}
    terms = network(14).loss(batch)[1]["terms"]
    for name, epsilon in (("masked_lm", "mlm_denominator_eps"), ("replaced_token", "rtd_denominator_eps")):
        model = network(14, **{epsilon: 0.5})
        sums = float(terms[name]) * totals[name]
        assert error(model.loss(batch)[1]["terms"][name], sums / (totals[name] + 0.5)) < 1e-12
        assert error(model.loss(batch, {name: 70.0})[1]["terms"][name], sums / 70.5) < 1e-12


def test_micro_batches_add_up_to_the_large_batch():
    """Of the policy too, whose rewards and baseline are each row's own."""
    model = network(14, objective="adversarial", mlm_denominator_eps=0.2, rtd_denominator_eps=0.3)
    batch = example(model)
    parts = [{name: value[rows] for name, value in batch.items()} for rows in (slice(1), slice(1, 4))]
    (one, whole), (two, summed) = training.gradient(model, [batch]), training.gradient(model, parts)
    for path, value in tree.items(one):
        assert tree.get(two, path) == pytest.approx(value, rel=1e-12), path
    assert worst(model.state_dict(summed), model.state_dict(whole)) < 1e-12


def test_a_straight_through_fault_would_show(monkeypatch):
    """A gradient that reached the generator from the discriminator's loss is seen by the stop-gradient law."""
    right = electra.loss_backward

    def leaky(c):
        g = right(c)
        g["generator"]["mlm"]["dense"]["bias"] = g["generator"]["mlm"]["dense"]["bias"] + 1e-6
        return g

    monkeypatch.setattr(electra, "loss_backward", leaky)
    with pytest.raises(AssertionError):
        test_nothing_flows_back_through_the_sample()


@pytest.mark.parametrize("fault", ["sampled-equal is fake", "over pads", "only the masked", "weight 1"])
def test_known_faults_change_the_loss(fault):
    model = network(12)
    batch = model.checked(example(model))
    batch["replacement_ids"][:, 0] = batch["masked_lm_ids"][:, 0]
    loss, cache = electra.loss(model.params, model.config, batch)
    z = cache["discriminator"]["replaced_token"]["loss"]["logits"]
    labels = electra.replaced(batch)[1]
    mask = batch["attention_mask"].astype(float)
    weight = 50.0
    chosen = np.zeros_like(mask)
    row, slot = np.nonzero(batch["masked_lm_weights"])
    chosen[row, batch["masked_lm_positions"][row, slot]] = 1
    if fault == "sampled-equal is fake":
        labels = chosen
    elif fault == "over pads":
        mask = np.ones_like(mask)
    elif fault == "only the masked":
        mask = chosen
    else:
        weight = 1.0
    nll = np.logaddexp(0, z) - z * labels
    wrong = float(cache["terms"]["masked_lm"]) + weight * (mask * nll).sum() / mask.sum()
    assert abs(wrong - float(loss)) > 1e-3


@pytest.mark.parametrize(("fields", "message"), [
    ({"sharing": "all"}, "generator_size 1"),
    ({"objective": "two-stage"}, "generator_size 1, sharing 'none'"),
    ({"role": "both"}, "joint, generator, discriminator"),
    ({"generator_size": 0.0}, "above 0, to 1"),
    ({"generator_size": 0.3, "hidden_size": 24, "num_attention_heads": 12}, "num_attention_heads"),
    ({"temperature": 0.0}, "temperature"),
    ({"generator_size": 1.001}, "above 0, to 1"),
    ({"embedding_size": 0}, "1 to 1048576"),
    ({"generator_weight": -0.1}, "generator_weight"),
    ({"discriminator_weight": -0.1}, "discriminator_weight"),
    ({"mlm_denominator_eps": -0.1}, "mlm_denominator_eps"),
    ({"rtd_denominator_eps": -0.1}, "rtd_denominator_eps"),
    ({"objective": "adversarial", "duplicates": "mean"}, "needs another"),  # of averaged ids none was sampled
])  # fmt: skip
def test_configurations_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        network(**fields)


# ---- Two stages, and rows --------------------------------------------------------------------------------------------
def test_two_stages_freeze_one_network_each():
    """First the generator alone moves; then the discriminator, from a copy of it, the generator staying as it is."""
    fields = {"objective": "two-stage", "sharing": "none", "generator_size": 1.0}
    model = network(13, **fields)
    before = tree.map(np.copy, model.params)
    assert electra.stage(model.params, model.config, 4, 10) == ("discriminator",)
    assert all(map(np.array_equal, tree.leaves(before), tree.leaves(model.params)))
    assert electra.stage(model.params, model.config, 5, 10) == ("generator",)
    for part in ("embeddings", "project", "encoder"):
        copied = tree.leaves(model.params["discriminator"][part])
        assert all(map(np.array_equal, copied, tree.leaves(before["generator"][part])))
    assert all(map(np.array_equal, *(tree.leaves(p["discriminator"]["rtd"]) for p in (before, model.params))))
    model.params["discriminator"]["project"]["bias"][0] += 1
    assert electra.stage(model.params, model.config, 6, 10) == ("generator",)
    assert not np.array_equal(*(model.params[role]["project"]["bias"] for role in electra.ROLES[1:]))
    assert electra.stage(model.params, network(13).config, 5, 10) == ()


def test_a_frozen_network_keeps_its_bits_in_a_run(corpus, tmp_path):
    fields = {"embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 12, **TWO}  # fmt: skip
    options = {"steps": 12, "batch_size": 4, "seq_length": 24, "vocab_size": 300, "duplicates": 1, "held_out": 0.2,
               "learning_rate": 0.01, "checkpoint_every": 6}  # fmt: skip
    run = pretraining.pretrain("electra", [corpus / "text.txt"], tmp_path / "run", fields=fields, **options)
    half, end = (safetensors.read(run / "checkpoints" / f"{step:08}" / "model.safetensors") for step in (6, 12))
    drawn = minibert.create("electra", **{**fields, "vocab_size": len(half["generator.generator_lm_head.bias"]),
                                          "max_position_embeddings": 24, "initializer_range": 0.1})  # fmt: skip
    assert half.keys() == drawn.state_dict().keys()
    for name in half:
        assert np.array_equal(half[name], end[name]) == name.startswith("generator."), name
        if name.startswith("discriminator."):
            assert np.array_equal(half[name], drawn.state_dict()[name]), name


def test_rows_and_masks():
    """Rows with their own targets; distinct positions unless they are asked to repeat."""
    vocabulary = Vocabulary(50, 2, 3, 4, 0, None, (0, 1, 2, 3, 4))
    rng = np.random.default_rng(0)
    documents = [[list(rng.integers(5, 50, 9)) for _ in range(20)] for _ in range(6)]
    options = electra.Data(seq_length=64, duplicates=2)
    rows = electra.rows(documents, rng, vocabulary, options)
    made = electra.corrupt(rows, rng, vocabulary, options)
    assert made["masked_lm_positions"].shape[1] == 9  # floor((0.15 + 0.005)·64)
    again = electra.corrupt(rows, rng, vocabulary, dataclasses.replace(options, units="repeated"))
    for batch, repeats in ((made, False), (again, True)):
        used = batch["masked_lm_weights"] > 0
        pairs = [(b, t) for b, t in zip(np.nonzero(used)[0], batch["masked_lm_positions"][used], strict=True)]
        assert (len(set(pairs)) < len(pairs)) == repeats
        row, at = map(np.array, zip(*pairs, strict=True))
        assert np.array_equal(rows["input_ids"][row, at], batch["masked_lm_ids"][used])
        changed = batch["input_ids"] != rows["input_ids"]
        assert (batch["input_ids"][changed] == 4).all()
        chosen = np.zeros_like(changed)
        chosen[row, at] = True
        assert not (changed & ~chosen).any()
    few = electra.corrupt(rows, rng, vocabulary, dataclasses.replace(options, max_predictions=4))
    many = electra.corrupt(rows, rng, vocabulary, dataclasses.replace(options, rate=0.4))
    assert few["masked_lm_positions"].shape[1] == 4
    assert many["masked_lm_weights"].sum() > 2 * used.sum()
    with pytest.raises(InputError, match="units is 'words'; there are: pieces, repeated"):
        dataclasses.replace(options, units="words")
