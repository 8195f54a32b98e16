"""ELECTRA: against transformers in float64, by its laws, and by numbers; bar 1e-12."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import cli, gradcheck, inference, layers, objective, pretraining, training, tree
from minibert.checkpoint import safetensors
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import electra
from minibert.heads import replaced_token

FIELDS = {
    "vocab_size": 29,
    "embedding_size": 10,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
}


def probed(seed: int = 0, **fields) -> minibert.Model:
    """Probe weights: std 0.4, gains around 1, one near-constant row in each table (a low-variance norm input)."""
    rng = np.random.default_rng(seed)
    model = minibert.create("electra", dtype="float64", **{**FIELDS, "generator_size": 0.5, **fields})
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
        if path.endswith(("word.weight", "position.weight", "token_type.weight")):
            value[0] = 0.1 + 1e-3 * rng.standard_normal(value.shape[1])
    return model


def example(model: minibert.Model, seed: int = 0) -> dict:
    """Four rows with padding, segments, the padding id within, repeated ids; target positions distinct."""
    rng = np.random.default_rng([seed, 1])
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    batch.pop("dropout")
    if "masked_lm_positions" in batch:
        batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    return batch


def error(got, true, scale: float = 0.0) -> float:
    true = np.asarray(true)
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


def worst(ours: dict, theirs: dict) -> float:
    """The largest error of any gradient; a key's bias, whose true gradient is 0, has to be nearly so."""
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    for name in ours:
        if name.endswith("key.bias"):
            assert np.abs(ours[name]).max() < 1e-13 * largest
    return max(error(ours[name], theirs[name], largest) for name in ours)


# ---- Against the published implementation ----------------------------------------------------------------------------
@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers", reason="compares with the published implementation")


def twin(torch, transformers, config, state: dict):
    """The published class with these weights, in float64."""
    names = [name for name in FIELDS if name != "initializer_range"]
    fields = {name: getattr(config, name) for name in names}
    kind = {"generator": "ElectraForMaskedLM", "discriminator": "ElectraForPreTraining"}[config.role]
    tied = {"tie_word_embeddings": config.tie_word_embeddings}
    published = transformers.ElectraConfig(**fields, **tied, attn_implementation="eager")
    module = getattr(transformers, kind)(published).double().eval()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert set(missing) <= {*electra.aliases(config), "electra.embeddings.position_ids"}
    module.tie_weights()
    return module


def torch_inputs(torch, batch: dict) -> dict:
    names = {"input_ids": "input_ids", "input_mask": "attention_mask", "segment_ids": "token_type_ids"}
    return {theirs: torch.from_numpy(batch[ours]) for ours, theirs in names.items()}


def replaced_token_loss(torch, out, labels: np.ndarray, mask: np.ndarray):
    """(8) of the published logits. The class itself makes its labels float32, and with them its float64 loss."""
    attended = torch.from_numpy(mask) == 1
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    exact = bce(out.logits[attended], torch.from_numpy(labels)[attended].double())
    assert out.loss is None or error(out.loss.item(), exact.item()) < 1e-6
    return exact


def masked_labels(batch: dict) -> np.ndarray:
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    return labels


@pytest.mark.parametrize(("role", "fields"), [
    ("generator", {}),
    ("generator", {"embedding_size": 24, "hidden_act": "relu"}),
    ("generator", {"tie_word_embeddings": False}),
    ("discriminator", {}),
    ("discriminator", {"embedding_size": 24, "hidden_act": "gelu"}),
])  # fmt: skip
def test_one_network_against_transformers(role, fields, torch, transformers):
    model = probed(1, role=role, **fields)
    batch = example(model)
    theirs = twin(torch, transformers, model.config, model.state_dict())
    inputs = torch_inputs(torch, batch)
    labels = masked_labels(batch) if role == "generator" else batch["replaced_labels"]
    out = theirs(**inputs, labels=torch.from_numpy(labels), output_hidden_states=True, output_attentions=True)
    published = out.loss
    if role == "discriminator":
        published = replaced_token_loss(torch, out, labels, batch["input_mask"])
    published.backward()
    loss, cache = model.loss(batch)
    assert error(loss, published.item()) < 1e-12
    assert list(cache["terms"]) == ["masked_lm" if role == "generator" else "replaced_token"]
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    measured = worst(model.state_dict(model.loss_backward(cache)), gradients)
    print(f"{role}: largest gradient error {measured:.1e}")
    assert measured < 1e-12
    ours = model.encode(batch["input_ids"], attention_mask=batch["input_mask"], token_type_ids=batch["segment_ids"])
    assert error(ours["last_hidden_state"], out.hidden_states[-1].detach().numpy()) < 1e-12
    for name in ("hidden_states", "attentions"):
        for mine, true in zip(ours[name], out[name], strict=True):
            assert error(mine, true.detach().numpy()) < 1e-12
    checked = model.checked(batch)
    if role == "discriminator":
        logits = objective.predict(electra, model.params, model.config, checked, "replaced_token")
        assert error(logits, out.logits.detach().numpy()) < 1e-12
    else:
        first = {name: checked[name][:1] for name in ("input_ids", "attention_mask", "token_type_ids")}
        logits = objective.predict(electra, model.params, model.config, first, "masked_lm", (0, [3, 1]))
        assert error(logits, out.logits[0, [3, 1]].detach().numpy()) < 1e-12


def joined(torch, transformers, model: minibert.Model):
    """The two published networks with the joint model's weights, what is shared being the same torch parameters."""
    flat, sizes = model.state_dict(), electra.parts(model.config)
    for alias, name in electra.aliases(model.config).items():
        flat[alias] = flat[name]
    both = {}
    for role, part in sizes.items():
        own = {name.removeprefix(f"{role}."): value for name, value in flat.items() if name.startswith(f"{role}.")}
        own = {name: value for name, value in own.items() if "baseline" not in name}
        both[role] = twin(torch, transformers, part, own)
    g, d = both["generator"].electra, both["discriminator"].electra
    if model.config.sharing in ("embeddings", "all"):
        g.embeddings = d.embeddings
        both["generator"].generator_lm_head.weight = d.embeddings.word_embeddings.weight
    if model.config.sharing == "all":
        g.encoder, g.embeddings_project = d.encoder, d.embeddings_project
    return both


def joint_gradients(both: dict) -> dict:
    """By our names: each parameter once, shared ones under discriminator."""
    found, seen = {}, set()
    for role in ("discriminator", "generator"):
        for name, p in both[role].named_parameters():
            if p.grad is not None and id(p) not in seen:
                found[f"{role}.{name}"] = p.grad.numpy()
                seen.add(id(p))
    return found


@pytest.mark.parametrize(("sharing", "size"), [("embeddings", 0.5), ("none", 0.5), ("all", 1.0), ("embeddings", 1.0)])
def test_joint_against_two_published_networks(sharing, size, torch, transformers):
    model = probed(2, sharing=sharing, generator_size=size)
    batch = example(model)
    both = joined(torch, transformers, model)
    inputs = torch_inputs(torch, batch)
    masked_lm = both["generator"](**inputs, labels=torch.from_numpy(masked_labels(batch))).loss
    ids, labels = batch["input_ids"].copy(), np.zeros_like(batch["input_ids"])
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        at = b, batch["masked_lm_positions"][b, m]
        ids[at] = batch["replacement_ids"][b, m]
        labels[at] = ids[at] != batch["masked_lm_ids"][b, m]
    inputs["input_ids"] = torch.from_numpy(ids)
    out = both["discriminator"](**inputs, labels=torch.from_numpy(labels))
    replaced_token = replaced_token_loss(torch, out, labels, batch["input_mask"])
    total = masked_lm + 50 * replaced_token
    total.backward()
    loss, cache = model.loss(batch)
    assert error(loss, total.item()) < 1e-12
    assert error(cache["terms"]["masked_lm"], masked_lm.item()) < 1e-12
    assert error(cache["terms"]["replaced_token"], replaced_token.item()) < 1e-12
    measured = worst(model.state_dict(model.loss_backward(cache)), joint_gradients(both))
    print(f"joint, sharing {sharing}: largest gradient error {measured:.1e}")
    assert measured < 1e-12


@pytest.mark.parametrize("sharing", ["embeddings", "none"])
def test_adversarial_against_two_published_networks(sharing, torch, transformers):
    """REINFORCE written with torch's detach, on the published networks."""
    model = probed(3, objective="adversarial", sharing=sharing)
    batch = example(model)
    both = joined(torch, transformers, model)
    inputs = torch_inputs(torch, batch)
    p = {name: torch.from_numpy(value.copy()).requires_grad_()
         for name, value in model.params["generator"]["baseline"].items()}  # fmt: skip
    b, m = np.nonzero(batch["masked_lm_weights"])
    at = b, batch["masked_lm_positions"][b, m]
    samples, truth = batch["replacement_ids"][b, m], batch["masked_lm_ids"][b, m]
    ids, labels = batch["input_ids"].copy(), np.zeros(batch["input_ids"].shape)
    ids[at], labels[at] = samples, samples != truth
    published = both["discriminator"]({**inputs, "input_ids": torch.from_numpy(ids)}["input_ids"],
                                      **{n: inputs[n] for n in ("attention_mask", "token_type_ids")})  # fmt: skip
    nll = torch.nn.functional.binary_cross_entropy_with_logits
    d_losses = nll(published.logits, torch.from_numpy(labels), reduction="none")
    replaced_token = d_losses[batch["input_mask"] == 1].mean()
    reward = d_losses[at].detach()
    out = both["generator"](**inputs, output_hidden_states=True)
    log_p = out.logits.log_softmax(-1)[at][torch.arange(len(b)), torch.from_numpy(samples)]
    u = (out.hidden_states[-1][at].detach() @ p["weight"].T + p["bias"])[:, 0]
    advantage = reward - torch.nn.functional.softplus(-u).detach()
    policy = -(advantage * log_p).mean()
    baseline = nll(u, torch.exp(-reward))
    total = policy + baseline + 50 * replaced_token
    total.backward()
    loss, cache = model.loss(batch)
    assert cache["terms"].keys() == set(electra.terms(model.config))
    for name, value in {"policy": policy, "baseline": baseline, "replaced_token": replaced_token}.items():
        assert error(cache["terms"][name], value.item()) < 1e-12, name
    assert error(loss, total.item()) < 1e-12
    theirs = joint_gradients(both)
    theirs |= {f"generator.generator_baseline.{name}": value.grad.numpy() for name, value in p.items()}
    measured = worst(model.state_dict(model.loss_backward(cache)), theirs)
    print(f"adversarial: largest gradient error {measured:.1e}")
    assert measured < 1e-12


def test_a_shifted_twin_is_caught(torch, transformers):
    model = probed(1, role="discriminator")
    batch = example(model)
    theirs = twin(torch, transformers, model.config, model.state_dict())
    theirs.electra.encoder.layer[1].output.LayerNorm.eps = 1e-12
    inputs = torch_inputs(torch, batch)
    labels = torch.from_numpy(batch["replaced_labels"])
    out = theirs(**inputs, labels=labels)
    published = replaced_token_loss(torch, out, batch["replaced_labels"], batch["input_mask"])
    assert error(model.loss(batch)[0], published.item()) > 1e-9


# ---- Directories -----------------------------------------------------------------------------------------------------
def test_directories_of_transformers_load(torch, transformers, tmp_path):
    """Written by save_pretrained: the head in the file says which network it is."""
    for role in ("generator", "discriminator"):
        model = probed(4, role=role)
        theirs = twin(torch, transformers, model.config, model.state_dict())
        theirs.save_pretrained(tmp_path / role)
        loaded = minibert.load(tmp_path / role)
        assert loaded.config.role == role
        assert loaded.state_dict().keys() == model.state_dict().keys()
        for name, value in model.state_dict().items():
            assert np.array_equal(loaded.state_dict()[name], value), name
        batch = example(model)
        for name in ("architectures",):  # the heads in the file decide, not what the config says
            config = json.loads((tmp_path / role / "config.json").read_text())
            (tmp_path / role / "config.json").write_text(json.dumps({**config, name: ["ElectraModel"]}))
        assert minibert.load(tmp_path / role).loss(batch)[0] == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)


def test_an_adversarial_generator_alone_may_lack_its_baseline(torch, transformers, tmp_path):
    """Transformers drops the baseline's tensors but keeps what the config says; only the joint model needs them."""
    model = probed(4, objective="adversarial")
    model.save(tmp_path)
    own = minibert.load(tmp_path / "generator")
    batch = {name: value for name, value in example(model).items() if name != "replacement_ids"}
    gradient = own.loss_backward(own.loss(batch)[1])
    assert tree.flatten(gradient).keys() == tree.flatten(own.params).keys()
    assert not any(leaf.any() for leaf in tree.leaves(gradient["baseline"]))
    theirs = transformers.ElectraForMaskedLM.from_pretrained(tmp_path / "generator", dtype=torch.float64)
    theirs.save_pretrained(tmp_path / "generator")
    again = minibert.load(tmp_path / "generator")
    assert again.loss(batch)[0] == own.loss(batch)[0]
    assert tree.flatten(again.loss_backward(again.loss(batch)[1])).keys() == tree.flatten(again.params).keys()
    again.save(tmp_path / "again")
    assert minibert.load(tmp_path / "again").config == own.config
    with pytest.raises(InputError, match=r"2 missing: 'generator\.generator_baseline"):
        minibert.load(tmp_path)


def test_a_bare_encoder_loads_without_a_head(torch, transformers, tmp_path):
    model = probed(4, role="discriminator")
    theirs = twin(torch, transformers, model.config, model.state_dict())
    theirs.electra.save_pretrained(tmp_path)
    loaded = minibert.load(tmp_path)
    assert loaded.config.role == "discriminator"
    assert "rtd" not in loaded.params
    with pytest.raises(InputError, match="'rtd'"):
        loaded.loss(example(model))
    with pytest.raises(InputError, match="detect needs the head 'rtd'"):
        objective.predict(electra, loaded.params, loaded.config, {"input_ids": np.array([[1, 2]])}, "replaced_token")


@pytest.mark.parametrize(("sharing", "size"), [("embeddings", 0.5), ("none", 0.5), ("all", 1.0)])
def test_the_joint_model_is_two_published_directories(sharing, size, torch, transformers, tmp_path):
    model = probed(5, sharing=sharing, generator_size=size)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "discriminator", "generator"]
    again = minibert.load(tmp_path)
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert np.array_equal(again.state_dict()[name], value), name
    batch = example(model)
    loss, cache = model.loss(batch)
    assert again.loss(batch)[0] == loss
    inputs = torch_inputs(torch, batch)
    for role, kind in (("generator", "ElectraForMaskedLM"), ("discriminator", "ElectraForPreTraining")):
        theirs, report = getattr(transformers, kind).from_pretrained(
            tmp_path / role, output_loading_info=True, attn_implementation="eager", dtype=torch.float64
        )
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert not report["mismatched_keys"]
        assert json.loads((tmp_path / role / "config.json").read_text())["architectures"] == [kind]
        ours = minibert.load(tmp_path / role)
        assert ours.config.role == role
        if role == "generator":
            out = theirs.eval()(**inputs, labels=torch.from_numpy(masked_labels(batch)))
            assert error(cache["terms"]["masked_lm"], out.loss.item()) < 1e-12
            given = {name: value for name, value in batch.items() if name != "replacement_ids"}
            assert error(ours.loss(given)[0], out.loss.item()) < 1e-12
        else:
            ids, labels = electra.replaced(batch)
            out = theirs.eval()(**{**inputs, "input_ids": torch.from_numpy(ids)}, labels=torch.from_numpy(labels))
            published = replaced_token_loss(torch, out, labels, batch["input_mask"])
            assert error(cache["terms"]["replaced_token"], published.item()) < 1e-12


def test_joint_names_and_one_network_over_both(tmp_path):
    model = probed(6)
    names = list(model.state_dict())
    assert len(set(names)) == len(names)
    assert all(name.startswith(("generator.", "discriminator.")) for name in names)
    assert not any(name.startswith("generator.electra.embeddings.") for name in names)
    assert "generator.electra.embeddings_project.weight" in names
    model.save(tmp_path)
    probed(6, role="discriminator").save(tmp_path)  # its weights at the top: now the directory is that network
    assert minibert.load(tmp_path).config.role == "discriminator"
    model.save(tmp_path)
    assert minibert.load(tmp_path).config.role == "joint"
    (tmp_path / "generator" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"generator has no model\.safetensors"):
        minibert.load(tmp_path)


def test_shared_tensors_that_differ_are_refused(tmp_path):
    model = probed(6)
    model.save(tmp_path)
    other = probed(7)
    other.save(tmp_path / "other")
    (tmp_path / "other" / "generator" / "model.safetensors").replace(tmp_path / "generator" / "model.safetensors")
    with pytest.raises(InputError, match="which it has to repeat"):
        minibert.load(tmp_path)


def test_networks_whose_own_configs_disagree_are_refused(tmp_path):
    """Else the joint model and its generator alone would compute different things from one directory."""
    model = probed(6)
    for part, name, value in (("generator", "hidden_act", "relu"), ("discriminator", "num_attention_heads", 2)):
        model.save(tmp_path)
        path = tmp_path / part / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        with pytest.raises(InputError, match=rf"{part}.config\.json: '{name}' is {value!r}, but .* makes it"):
            minibert.load(tmp_path)
    model.save(tmp_path)
    (tmp_path / "generator" / "config.json").unlink()
    assert minibert.load(tmp_path).config == model.config


@pytest.mark.parametrize("published", ["ElectraForMaskedLM", "ElectraForPreTraining"])
def test_weights_of_other_frameworks(published, tmp_path):
    """The advice is to convert by the class that keeps this network's head; 16 heads have no third."""
    fields = {"model_type": "electra", "architectures": [published], "hidden_size": 1024, "num_attention_heads": 16}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=rf"pytorch_model\.bin is not read.*transformers: {published}\.from"):
        minibert.load(tmp_path)


# ---- Published figures -----------------------------------------------------------------------------------------------
def parameters(**fields) -> int:
    config = electra.Config(**fields)
    return sum(int(np.prod(shape)) for shape in tree.leaves(electra.shapes(config)))


@pytest.mark.parametrize(("preset", "encoder", "discriminator", "generator", "joint"), [
    ("small", 13_483_008, 13_549_057, 4_620_026, 14_196_219),
    ("small++", 13_483_008, 13_549_057, None, 23_122_875),
    ("base", 108_891_648, 109_483_009, 33_740_602, 119_386_427),
    ("large", 334_092_288, 335_142_913, None, 354_655_291),
])  # fmt: skip
def test_parameter_counts_of_the_published_sizes(preset, encoder, discriminator, generator, joint):
    sizes = electra.PRESETS[preset]
    head = sizes["hidden_size"] ** 2 + 2 * sizes["hidden_size"] + 1
    assert parameters(**sizes, role="discriminator") == discriminator == encoder + head
    assert parameters(**sizes) == joint
    if generator:
        part = electra.parts(electra.Config(**sizes))["generator"]
        assert sum(int(np.prod(shape)) for shape in tree.leaves(electra.shapes(part))) == generator


def test_defaults_and_the_generator_of_an_odd_fraction():
    config = electra.Config()
    assert (config.generator_size, config.temperature) == (1 / 3, 1.0)
    assert electra.weights(config) == {"masked_lm": 1.0, "replaced_token": 50.0}
    odd = electra.Config(hidden_size=24, num_attention_heads=2, intermediate_size=37, generator_size=0.2)
    part = electra.parts(odd)["generator"]
    assert (part.hidden_size, part.num_attention_heads, part.intermediate_size) == (5, 1, 7)  # rounded, at least one


# Written down from values-encoders.json of the project's specification: transformers 5.23, float64
RECIPE = {**FIELDS, "vocab_size": 17, "embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 2,
          "hidden_act": "gelu", "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12,
          "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0}  # fmt: skip
TEXT = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
}
ANSWERS = {
    "discriminator": (
        {"replaced_labels": [[0, 1, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]},
        0.633523285389,
        {
            "electra.embeddings.word_embeddings.weight": 0.018676434106,
            "electra.embeddings_project.weight": 0.087000243361,
            "discriminator_predictions.dense_prediction.weight": 0.363692869775,
        },
    ),
    "generator": (
        {
            "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
            "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
            "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
        },
        2.806144589884,
        {
            "electra.embeddings.word_embeddings.weight": 0.727908886741,
            "generator_predictions.dense.weight": 2.237155901473,
            "generator_lm_head.bias": 0.400345967257,
        },
    ),
}


@pytest.mark.parametrize("role", ["discriminator", "generator"])
def test_golden_values(role):
    model = minibert.create("electra", dtype="float64", role=role, **RECIPE)
    for k, (_name, array) in enumerate(sorted(model.state_dict().items())):
        j = np.arange(array.size)
        values = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + _name.endswith("LayerNorm.weight")
        array[...] = values.reshape(array.shape)
    labels, expected, norms = ANSWERS[role]
    loss, cache = model.loss({**TEXT, **labels})
    bar = 1e-11 if role == "generator" else 6e-8  # the published class rounds this loss to float32, not its gradients
    assert float(loss) == pytest.approx(expected, rel=bar)
    spec = Path(__file__).parents[1] / "reference" / "SPEC.md"
    assert f"loss {float(loss):.12f}" in spec.read_text(encoding="utf-8")
    gradients = model.state_dict(model.loss_backward(cache))
    for name, norm in norms.items():
        assert np.linalg.norm(gradients[name]) == pytest.approx(norm, rel=1e-10), name
    if role == "discriminator":
        checked = model.checked({**TEXT, **labels})
        first = objective.predict(electra, model.params, model.config, checked, "replaced_token")[0, :2]
        assert first == pytest.approx([-0.166011708959, -0.083243292128], rel=1e-10)


# ---- Laws ------------------------------------------------------------------------------------------------------------
def test_nothing_flows_back_through_the_sample():
    """50 times the discriminator's loss leaves the generator's own weights alone, but not the shared table."""
    model = probed(8, generator_weight=0.0)
    gradient = tree.flatten(model.loss_backward(model.loss(example(model))[1]))
    for path, value in gradient.items():
        assert value.any() == path.startswith("discriminator."), path


def test_the_shared_table_learns_from_both_losses():
    model = probed(8)
    batch = example(model)
    one, two = (probed(8, generator_weight=g, discriminator_weight=d) for g, d in ((1.0, 0.0), (0.0, 50.0)))
    both, alone = (
        [m.loss_backward(m.loss(batch)[1])["discriminator"]["embeddings"]["word"]["weight"] for m in models]
        for models in ((model,), (one, two))
    )
    assert all(part.any() for part in alone)
    assert error(alone[0] + alone[1], both[0]) < 1e-12


def test_a_generator_that_tells_the_truth_replaces_nothing():
    model = probed(8)
    batch = example(model)
    batch["replacement_ids"] = batch["masked_lm_ids"]
    ids, labels = electra.replaced(batch)
    original = batch["input_ids"].copy()
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        original[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    assert np.array_equal(ids, original)
    assert not labels.any()


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
    model = probed(8, objective=objective, mlm_denominator_eps=0.3)
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
    model = probed(9, temperature=1.7, vocab_size=8, num_hidden_layers=1)
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
    model = probed(9, disallow_correct=True, vocab_size=3, pad_token_id=0)
    batch = example(model)
    drawn = electra.sample(np.random.default_rng(1), model.params, model.config, batch)["replacement_ids"]
    used = batch["masked_lm_weights"] > 0
    assert (drawn[used] != batch["masked_lm_ids"][used]).all()


def test_the_rate_of_the_dropout_of_embeddings():
    """Where all is kept, it multiplies the norm's output by 1 / (1 - rate)."""
    model = probed(10, role="discriminator", hidden_dropout_prob=0.3)
    batch = example(model)
    keep = np.ones((4, 11, 10), bool)
    kept = float(model.loss({**batch, "dropout": {"electra.embeddings.dropout": keep}})[0])
    for value in model.params["embeddings"]["norm"].values():
        value /= 0.7
    assert kept == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)


def test_dropout_masks_reach_both_networks_and_the_sample():
    model = probed(10, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    batch = example(model)
    places = electra.dropouts(model.config, dict(zip("BT", batch["input_ids"].shape, strict=True)))
    loss = float(model.loss(batch)[0])
    for name, (shape, _) in places.items():
        keep = np.ones(shape, bool)
        assert float(model.loss({**batch, "dropout": {name: keep}})[0]) != loss, name  # kept entries are scaled
    rng = np.random.default_rng(0)
    dropped = {**batch, "dropout": layers.keep_masks(rng, places)}
    plain, masked = (
        electra.sample(np.random.default_rng(1), model.params, model.config, b)["replacement_ids"]
        for b in (batch, dropped)
    )
    assert not np.array_equal(plain, masked)


@pytest.mark.parametrize("fields", [
    {"role": "generator", "tie_word_embeddings": False}, {"role": "discriminator"}, {"sharing": "none"},
    {"sharing": "all", "generator_size": 1.0}, {"embedding_size": 8}, {"embedding_size": 4},
])  # fmt: skip
def test_gradients_of_every_kind_against_differences(fields):
    rng = np.random.default_rng(1)
    small = {**electra.PROBE, "num_hidden_layers": 1, "initializer_range": 0.4, **fields}
    model = minibert.create("electra", 0, "float64", **small)
    params = tree.map(lambda a: a + 0.2 * rng.standard_normal(a.shape), model.params)
    batch = model.checked(electra.example(rng, model.config))
    gradient = objective.loss_backward(objective.loss(electra, params, model.config, batch)[1])
    found = gradcheck.directional(lambda p: electra.loss(p, model.config, batch)[0], params, gradient, rng)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR


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


def test_gradients_of_the_head_at_fifty_digits():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 5))
    p = {"dense": {"weight": rng.standard_normal((5, 5)), "bias": rng.standard_normal(5)},
         "out": {"weight": rng.standard_normal((1, 5)), "bias": rng.standard_normal(1)}}  # fmt: skip
    double = gradcheck.doubles().double("rtd_head")
    pair = replaced_token.rtd_head, replaced_token.rtd_head_backward
    found = gradcheck.exact(*pair, double, {"x": x, "p": p}, {"act": "gelu"}, {"activation": "gelu"})
    assert max(found.values()) < gradcheck.EXACT_BAR


def test_the_loss_is_that_of_the_scalar_loops():
    """The joint objective and the adversarial terms, against reference/electra_loss.py and electra_policy.py."""
    loops = gradcheck.doubles()
    for kind in ("joint", "adversarial"):
        model = probed(11, objective=kind, num_hidden_layers=1, vocab_size=11, generator_size=0.5)
        batch = model.checked(example(model))
        cache = electra.loss(model.params, model.config, batch)[1]
        config = {name: getattr(model.config, name) for name in electra.Config.__dataclass_fields__}
        lists = {name: np.asarray(value).tolist() for name, value in batch.items() if name != "dropout"}
        both = {role: tree.map(np.ndarray.tolist, net) for role, (net, *_) in
                electra.networks(model.params, model.config).items()}  # fmt: skip
        heads = {role: part.num_attention_heads for role, part in electra.parts(model.config).items()}
        terms = loops.double("electra_loss")(both, config, lists, heads)
        for name in ("masked_lm", "replaced_token"):
            assert error(cache["terms"][name], terms[name]) < 1e-12, name
        if kind == "adversarial":
            own = cache["generator"]
            policy = loops.double("electra_policy")(
                own["masked_lm"]["loss"]["logits"].tolist(),
                own["baseline"]["dense"]["x"].tolist(),
                both["generator"]["baseline"],
                samples=own["policy"]["loss"]["labels"].tolist(),
                rewards=(-np.log(own["baseline"]["loss"]["labels"])).tolist(),
            )
            for name, value in policy.items():
                assert error(cache["terms"][name], value) < 1e-12, name


def test_what_the_sums_are_divided_by():
    """The weights, or the attended tokens, and the epsilon of each; for a micro-batch those of the large batch."""
    batch = example(probed(14))
    totals = electra.counts(None, batch)
    assert totals == {"masked_lm": batch["masked_lm_weights"].sum(), "replaced_token": batch["input_mask"].sum()}
    assert electra.counts(None, {"input_ids": batch["input_ids"], "replaced_labels": 0}) == {"replaced_token": 44}
    terms = probed(14).loss(batch)[1]["terms"]
    for name, epsilon in (("masked_lm", "mlm_denominator_eps"), ("replaced_token", "rtd_denominator_eps")):
        model = probed(14, **{epsilon: 0.5})
        sums = float(terms[name]) * totals[name]
        assert error(model.loss(batch)[1]["terms"][name], sums / (totals[name] + 0.5)) < 1e-12
        assert error(model.loss(batch, {name: 70.0})[1]["terms"][name], sums / 70.5) < 1e-12


@pytest.mark.parametrize("fields", [{}, {"objective": "adversarial"}, {"sharing": "all", "generator_size": 1.0}])
def test_micro_batches_add_up_to_the_large_batch(fields):
    model = probed(14, **fields, mlm_denominator_eps=0.2, rtd_denominator_eps=0.3)
    batch = example(model)
    parts = [{name: value[rows] for name, value in batch.items()} for rows in (slice(1), slice(1, 4))]
    (one, whole), (two, summed) = training.gradient(model, [batch]), training.gradient(model, parts)
    for path, value in tree.items(one):
        assert tree.get(two, path) == pytest.approx(value, rel=1e-12), path
    assert worst(model.state_dict(summed), model.state_dict(whole)) < 1e-12


def test_what_is_counted_as_right():
    """Over attended tokens alone, and their labels; a logit above 0 says replaced."""
    model = probed(14, role="discriminator")
    batch = example(model)
    attended = batch["input_mask"] == 1
    batch["replaced_labels"][~attended] = 1
    cache = model.loss(batch)[1]
    z, labels = cache["discriminator"]["replaced_token"]["loss"]["logits"], batch["replaced_labels"]
    count, ones = int(attended.sum()), int(labels[attended].sum())
    for sign, right in ((1, count), (-1, 0)):
        z[attended] = np.where(labels == 1, 0.1 * sign, -0.1 * sign)[attended]
        z[~attended] = 0.1  # right, were padding counted
        (found, counted, classes), = electra.right(cache).values()
        assert (found, counted, *classes) == (right, count, count - ones, ones)


# ---- Planted faults --------------------------------------------------------------------------------------------------
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
    model = probed(12)
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


# ---- Refusals --------------------------------------------------------------------------------------------------------
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
])  # fmt: skip
def test_configurations_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        minibert.create("electra", **{**FIELDS, "generator_size": 0.5, **fields})


def test_a_missing_network_is_named():
    generator, discriminator = probed(role="generator"), probed(role="discriminator")
    inputs = {"input_ids": np.array([[1, 2, 3]])}
    with pytest.raises(InputError, match="fill-mask needs the generator, but this is the discriminator alone"):
        objective.predict(electra, discriminator.params, discriminator.config, inputs, "masked_lm", (0, [1]))
    with pytest.raises(InputError, match="detect needs the discriminator, but this is the generator alone"):
        objective.predict(electra, generator.params, generator.config, inputs, "replaced_token")
    with pytest.raises(InputError, match="no generator to draw from"):
        electra.sample(np.random.default_rng(0), discriminator.params, discriminator.config, inputs)
    batch = example(probed())
    del batch["replacement_ids"]
    with pytest.raises(InputError, match="replacement_ids"):
        probed().loss(batch)
    assert Path(electra.__file__).name == "electra.py"


# ---- From text to a model --------------------------------------------------------------------------------------------
OPTIONS = {"steps": 12, "batch_size": 4, "seq_length": 24, "vocab_size": 120, "duplicates": 1, "held_out": 0.2,
           "learning_rate": 0.01, "checkpoint_every": 4}  # fmt: skip
SMALL = {"embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 12, "hidden_dropout_prob": 0.1}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twelve documents of eight sentences of drawn words."""
    draw = random.Random(4)
    words = ["".join(draw.choices("abdegiklmnorstu", k=draw.randint(2, 6))) for _ in range(60)]
    sentences = [[" ".join(draw.choices(words, k=draw.randint(3, 9))) + "." for _ in range(8)] for _ in range(12)]
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join("\n".join(part) for part in sentences) + "\n", encoding="utf-8")
    return path


def bits(run: Path) -> list[bytes]:
    return [(run / name / "model.safetensors").read_bytes() for name in ("generator", "discriminator")]


@pytest.mark.parametrize("fields", [
    {}, {"objective": "adversarial"}, {"objective": "two-stage", "sharing": "none", "generator_size": 1.0}
], ids=["joint", "adversarial", "two-stage"])  # fmt: skip
def test_pretraining_resumed_gives_the_same_bits(fields, corpus, tmp_path, monkeypatch):
    """Stopped after a checkpoint (for two stages the one between them), as by a kill, and continued."""
    given = {"fields": {**SMALL, **fields}, **OPTIONS}
    whole = pretraining.pretrain("electra", [corpus], tmp_path / "whole", **given)
    report = json.loads((whole / "report.json").read_text())
    assert set(report["accuracies"]) == {"masked_lm", "replaced_token"}
    assert set(report["terms"]) == set(electra.terms(minibert.load(whole).config))
    for stop in (6, 9):
        broken, batches = tmp_path / f"stopped-{stop}", pretraining._batches

        def cut(model, data, plan, step, dropout, stop=stop, batches=batches):
            if step == stop:
                raise RuntimeError("killed")
            return batches(model, data, plan, step, dropout)

        monkeypatch.setattr(pretraining, "_batches", cut)
        with pytest.raises(RuntimeError, match="killed"):
            pretraining.pretrain("electra", [corpus], broken, **{**given, "checkpoint_every": 3})
        monkeypatch.undo()
        pretraining.pretrain("electra", out=broken, resume=True)
        assert bits(broken) == bits(whole)


def test_two_stages_freeze_one_network_each():
    """First the generator alone moves; then the discriminator, from a copy of it, the generator staying as it is."""
    fields = {"objective": "two-stage", "sharing": "none", "generator_size": 1.0}
    model = probed(13, **fields)
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
    assert electra.stage(model.params, probed(13).config, 5, 10) == ()


def test_a_frozen_network_keeps_its_bits_in_a_run(corpus, tmp_path):
    fields = {**SMALL, "objective": "two-stage", "sharing": "none", "generator_size": 1.0}
    options = {**OPTIONS, "checkpoint_every": 6}
    run = pretraining.pretrain("electra", [corpus], tmp_path / "run", fields=fields, **options)
    half, end = (
        safetensors.read(run / "checkpoints" / step / "model.safetensors") for step in ("00000006", "00000012")
    )
    drawn = minibert.create("electra", **{**fields, "vocab_size": len(half["generator.generator_lm_head.bias"]),
                                          "max_position_embeddings": 24, "initializer_range": 0.1})  # fmt: skip
    assert half.keys() == drawn.state_dict().keys()
    for name in half:
        assert np.array_equal(half[name], end[name]) == name.startswith("generator."), name
        if name.startswith("discriminator."):
            assert np.array_equal(half[name], drawn.state_dict()[name]), name


def test_detect_fill_mask_and_embed(corpus, tmp_path, capsys):
    run = pretraining.pretrain("electra", [corpus], tmp_path / "run", fields=SMALL, **OPTIONS)
    word = corpus.read_text(encoding="utf-8").split()[0]
    capsys.readouterr()
    assert cli.main(["detect", str(run), f"{word} {word}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"][found["tokens"][0]["start"]] == word[0]
    model = minibert.load(run)
    encoding = model.tokenizer.encode(found["text"])
    inputs = {"input_ids": np.array([encoding.ids])}
    logits = objective.predict(electra, model.params, model.config, inputs, "replaced_token")[0, 1:-1]
    assert [token["probability"] for token in found["tokens"]] == pytest.approx(1 / (1 + np.exp(-logits)), rel=1e-6)
    model.params["discriminator"]["rtd"]["out"]["bias"][:] = 9.0  # everything looks replaced
    model.save(run)
    assert cli.main(["detect", str(run), word]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == word
    assert all(line.endswith("]") and "%" in line for line in lines[1:])
    assert cli.main(["fill-mask", str(run), f"{word} [MASK]"]) == 0
    assert cli.main(["fill-mask", str(run / "generator"), f"{word} [MASK]"]) == 0
    joint, alone = capsys.readouterr().out.split(f"{word} [MASK]")[1:]
    assert joint == alone
    one, two = (inference.sentence_vectors(minibert.load(place), [word]) for place in (run, run / "discriminator"))
    assert one.shape == (1, 8)
    assert np.array_equal(one, two)
    assert cli.main(["detect", str(run / "generator"), word]) == 2
    assert "detect needs the discriminator" in capsys.readouterr().err
    assert cli.main(["fill-mask", str(run / "discriminator"), f"{word} [MASK]"]) == 2
    assert "fill-mask needs the generator" in capsys.readouterr().err


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


def test_averaged_samples_are_no_policy():
    """Where ids of one position are averaged, the generator has sampled none of them."""
    with pytest.raises(InputError, match="needs another"):
        minibert.create("electra", objective="adversarial", duplicates="mean")
