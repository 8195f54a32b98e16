"""ELECTRA's directories: one network alone, and the joint model, which is two published directories."""

import json

import numpy as np
import pytest
from published import error, example, label, oracle, term_of, torch_inputs
from test_electra import network

import minibert
from minibert import tree
from minibert.errors import InputError
from minibert.families import electra


@pytest.fixture
def torch():
    return oracle()[0]


@pytest.fixture
def transformers():
    return oracle()[1]


def test_an_adversarial_generator_alone_may_lack_its_baseline(torch, transformers, tmp_path):
    """Transformers drops the baseline's tensors but keeps what the config says; only the joint model needs them."""
    model = network(4, objective="adversarial")
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


@pytest.mark.parametrize(("sharing", "size"), [("embeddings", 0.5), ("none", 0.5), ("all", 1.0)])
def test_the_joint_model_is_two_published_directories(sharing, size, torch, transformers, tmp_path):
    model = network(5, sharing=sharing, generator_size=size)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "discriminator", "generator"]
    again = minibert.load(tmp_path)
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert np.array_equal(again.state_dict()[name], value), name
    batch = example(model)
    loss, cache = model.loss(batch)
    assert again.loss(batch)[0] == loss
    inputs = torch_inputs(batch)
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
            out = theirs.eval()(**inputs, labels=torch.from_numpy(label("masked_lm", batch)))
            assert error(cache["terms"]["masked_lm"], out.loss.item()) < 1e-12
            given = {name: value for name, value in batch.items() if name != "replacement_ids"}
            assert error(ours.loss(given)[0], out.loss.item()) < 1e-12
        else:
            ids, labels = electra.replaced(batch)
            out = theirs.eval()(**{**inputs, "input_ids": torch.from_numpy(ids)}, labels=torch.from_numpy(labels))
            published = term_of("replaced_token", out.logits, labels, batch["input_mask"])
            assert error(cache["terms"]["replaced_token"], published.item()) < 1e-12


def test_joint_names_and_one_network_over_both(tmp_path):
    model = network(6)
    names = list(model.state_dict())
    assert len(set(names)) == len(names)
    assert all(name.startswith(("generator.", "discriminator.")) for name in names)
    assert not any(name.startswith("generator.electra.embeddings.") for name in names)
    assert "generator.electra.embeddings_project.weight" in names
    model.save(tmp_path)
    network(6, role="discriminator").save(tmp_path)  # its weights at the top: now the directory is that network
    assert minibert.load(tmp_path).config.role == "discriminator"
    model.save(tmp_path)
    assert minibert.load(tmp_path).config.role == "joint"
    (tmp_path / "generator" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"generator has no model\.safetensors"):
        minibert.load(tmp_path)


def test_shared_tensors_that_differ_are_refused(tmp_path):
    model = network(6)
    model.save(tmp_path)
    other = network(7)
    other.save(tmp_path / "other")
    (tmp_path / "other" / "generator" / "model.safetensors").replace(tmp_path / "generator" / "model.safetensors")
    with pytest.raises(InputError, match="which it has to repeat"):
        minibert.load(tmp_path)


def test_networks_whose_own_configs_disagree_are_refused(tmp_path):
    """Else the joint model and its generator alone would compute different things from one directory."""
    model = network(6)
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


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_the_head_in_the_file_says_which_network_it_is(role, tmp_path):
    """Not what the config calls its architecture."""
    model = network(4, role=role)
    model.save(tmp_path)
    path = tmp_path / "config.json"
    given = {name: value for name, value in json.loads(path.read_text()).items() if name != "role"}
    path.write_text(json.dumps({**given, "architectures": ["ElectraModel"]}))
    loaded = minibert.load(tmp_path)
    assert loaded.config.role == role
    assert loaded.loss(example(model))[0] == model.loss(example(model))[0]
