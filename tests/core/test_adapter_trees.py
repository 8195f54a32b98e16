"""Adapters in the trees of networks whose files know nothing of them: every encoder, and the toys."""

import numpy as np
import pytest
from draws import some

import minibert
from minibert import batches, families, gradcheck, objective, training, tree
from minibert.adapters import houlsby
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from tests import toys


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(families, "_registered", {})
    toys.register()


def layered(name: str) -> bool:
    """Whether a family has sub-layers for them; tables alone have none."""
    module = families.family(name)
    return houlsby.shapes(shapes := module.shapes(module.Config(**module.PROBE)), 3) != shapes


NAMES = [name for name in families.names() if not name.startswith("toy") and layered(name)]


def with_adapters(name: str, dtype: str = "float64", std: float = 0.4):
    """A model at its probe configuration, with adapters that are far from the identity, and a batch."""
    module, rng = families.family(name), np.random.default_rng(3)
    spread = families.own(module, {"initializer_range": 0.4})
    model = minibert.create(name, **{**module.PROBE, "dtype": dtype, **spread})
    model.params = houlsby.added(model.params, 3, rng)
    for path, array in tree.items(model.params):
        if houlsby.learns(path):
            array += (std * rng.standard_normal(array.shape)).astype(dtype)
    return model, batches.example(module, model.config, rng)


@pytest.mark.parametrize("name", some([*NAMES, "toy_vit"], 12))
def test_gradients_with_adapters(name):
    """Of every adapter's tensors together, and of all parameters."""
    model, batch = with_adapters(name)
    module, config, batch = model.module, model.config, model.checked(batch)
    gradient = objective.loss_backward(objective.loss(module, model.params, config, batch)[1])
    assert tree.flatten(gradient).keys() == tree.flatten(model.params).keys()
    own = [path for path, _ in tree.items(model.params) if houlsby.learns(path)]
    layers = {path.partition(".adapter.")[0] for path in own}
    assert len(own) == 4 * len(layers) >= 8
    rng, flat = np.random.default_rng(0), tree.flatten(model.params)
    for paths in (own, list(flat)):
        ahead = {path: rng.standard_normal(flat[path].shape) for path in paths}
        claimed = sum(float(np.sum(tree.get(gradient, path) * ahead[path])) for path in paths)

        def moved(step: float, ahead=ahead) -> float:
            near = {path: a + step * ahead[path] if path in ahead else a for path, a in flat.items()}
            return float(objective.loss(module, tree.unflatten(near), config, batch)[0])

        due = gradcheck.derivative(moved, 1e-11 * abs(claimed))
        assert abs(claimed - float(due)) < 1e-8 * abs(claimed), name


@pytest.mark.parametrize("name", [*NAMES, "toy_vit"])
def test_fresh_adapters_leave_the_network_nearly_as_it_was(name):
    model, batch = with_adapters(name, std=0.0)
    module = families.family(name)
    spread = families.own(module, {"initializer_range": 0.4})
    plain = minibert.create(name, **{**module.PROBE, "dtype": "float64", **spread})
    before, after = float(plain.loss(batch)[0]), float(model.loss(batch)[0])
    assert 0 < abs(after - before) < 1e-3 * before


def test_a_network_without_sub_layers_gets_none():
    module = families.family("toy_word2vec")
    shapes = module.shapes(module.Config(**module.PROBE))
    assert houlsby.shapes(shapes, 3) == shapes


@pytest.mark.parametrize("name", ["bert", "toy_vit"])
def test_trained_alone_the_rest_is_frozen(name, tmp_path):
    """By a rate for each parameter; taken up again after a checkpoint with the same bits."""
    plan = training.Plan(steps=20, learning_rate=0.02, checkpoint_every=10, batch_size=3, schedule="linear",
                         optimizer="adamw")  # fmt: skip
    ended = []
    for folder in ("whole", "again"):
        model, batch = with_adapters(name, "float32", std=0.0)
        before = {path: array.copy() for path, array in tree.items(model.params)}
        first = float(model.loss(batch)[0])
        if folder == "again":
            (tmp_path / "again").mkdir()
            (tmp_path / "whole" / "checkpoints").rename(tmp_path / "again" / "checkpoints")
            training.discard(tmp_path / "again" / "checkpoints" / "00000020")
        (tmp_path / folder).mkdir(exist_ok=True)
        training.fit(model, plan, tmp_path / folder, lambda step, batch=batch: [batch],
                     rates=lambda path, step: 0.02 if houlsby.learns(path) else None)  # fmt: skip
        assert float(model.loss(batch)[0]) < first
        for path, array in tree.items(model.params):
            assert np.array_equal(array, before[path]) != houlsby.learns(path), path
        ended.append({path: array.tobytes() for path, array in tree.items(model.params)})
    assert ended[0] == ended[1]


def test_a_directory_holds_them_beside_the_published_layout(tmp_path):
    """With the same loss to the bit; what is no adapter of this network is refused by name."""
    model, batch = with_adapters("bert", "float32")
    model.save(tmp_path / "model")
    again = minibert.load(tmp_path / "model")
    assert again.loss(batch)[0] == model.loss(batch)[0]
    held = safetensors.read(tmp_path / "model" / "added.safetensors")
    assert {*held} == {path for path, _ in tree.items(model.params) if houlsby.learns(path)}
    wrong = np.zeros(4, np.float32)
    for spoilt in ({"encoder.0.attention.adapter.down.bias": wrong}, {"encoder.9.x": wrong}):
        safetensors.write(tmp_path / "model" / "added.safetensors", {**held, **spoilt})
        with pytest.raises(InputError, match=r"added\.safetensors: '.*', float32 .*, is nothing that may stand beside"):
            minibert.load(tmp_path / "model")
    plain = minibert.create("bert", **families.family("bert").PROBE)
    plain.save(tmp_path / "model")
    assert not (tmp_path / "model" / "added.safetensors").exists()


def test_they_may_stand_in_some_sub_layers_alone_each_of_its_own_width():
    model, batch = with_adapters("bert")
    sub = model.params["encoder"][0]
    del sub["attention"]["adapter"]
    own = sub["feed_forward"]["adapter"]
    for name, cut in (("down", lambda a: a[:2]), ("up", lambda a: a[:, :2])):
        own[name]["weight"] = cut(own[name]["weight"])
    own["down"]["bias"] = own["down"]["bias"][:2]
    loss, cache = model.loss(batch)
    gradient = model.loss_backward(cache)
    assert tree.flatten(gradient).keys() == tree.flatten(model.params).keys()
    assert np.isfinite(loss)
    own["up"]["weight"] = own["up"]["weight"][:, :1]
    with pytest.raises(InputError, match=r"adapter.up.weight' is \(8, 1\), expected an array of shape \(8, 2\)"):
        model.loss(batch)
    del own["up"]
    with pytest.raises(InputError, match="params lack arrays of 'encoder'"):
        model.loss(batch)
    with pytest.raises(InputError, match="width 0: expected a whole number, 1 or more"):
        houlsby.added(model.params, 0, np.random.default_rng(0))
