"""ALBERT: against transformers' AlbertForPreTraining, its own scalar loops, and what its paper promises."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import minibert
import reference
from minibert import gradcheck, objective, optim, pretraining, tokenizers, training, tree
from minibert.config import to_fields
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import albert, bert
from minibert.families.albert import Data as Options
from minibert.pretraining import pretrain
from reference.albert_loss import albert_loss_terms

GROUPS = {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2}
FIELDS = {
    "vocab_size": 29,
    "embedding_size": 10,
    "hidden_size": 24,
    **GROUPS,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "classifier_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def probe(model: minibert.Model, rng: np.random.Generator) -> None:
    """Probe weights: std 0.4 (0.2 beyond 4 layers), gains around 1, a near-constant row in each table."""
    std = 0.4 if len(albert.uses(model.config)) <= 4 else 0.2
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, std, value.shape)
    for table in ("word", "position", "token_type"):
        rows = model.params["embeddings"][table]["weight"]
        rows[0] = 0.1 + 1e-3 * rng.standard_normal(rows.shape[1])


def case(seed: int, **fields):
    """(our model, a batch without dropout, the published inputs and labels)."""
    rng = np.random.default_rng(seed)
    model = minibert.create("albert", dtype="float64", **{**FIELDS, **fields})
    probe(model, rng)
    batch = model.module.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    batch.pop("dropout", None)
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    inputs = {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["input_mask"],
        "token_type_ids": batch["segment_ids"],
        "labels": labels,
        "sentence_order_label": batch["sentence_order_labels"],
    }
    return model, batch, inputs


def error(got: np.ndarray, true: np.ndarray, scale: float = 0.0) -> float:
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


# ---- The published implementation ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers", reason="compares with the published implementation: install minibert[oracle]")
    return pytest.importorskip("torch", reason="compares with the published implementation")


def published(model: minibert.Model, torch, **fields):
    """The twin; `sharing: none` is as many groups as layers."""
    import transformers

    names = set(FIELDS) | {"hidden_act", "tie_word_embeddings"}
    own = {name: getattr(model.config, name) for name in names}
    config = transformers.AlbertConfig(**{**own, **fields}, attn_implementation="eager")
    twin = transformers.AlbertForPreTraining(config).double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*model.module.aliases(model.config)}
    twin.tie_weights()
    return twin


def as_torch(torch, inputs: dict) -> dict:
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def gradient_errors(model, cache, twin) -> dict[str, float]:
    ours = model.state_dict(model.loss_backward(cache))
    theirs = {name: p.grad.numpy() for name, p in twin.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    for name in ours:
        if name.endswith("key.bias"):  # the softmax does not see a constant added to every score of a row
            assert np.abs(ours[name]).max() < 1e-13 * largest
    return {name: error(ours[name], theirs[name], largest) for name in ours}


@pytest.mark.parametrize(
    ("fields", "theirs"),
    [
        ({}, {}),
        ({"hidden_act": "gelu", "num_hidden_layers": 3}, {}),
        ({"hidden_act": "gelu", "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 1}, {}),
        ({"hidden_act": "relu", "tie_word_embeddings": False, "inner_group_num": 1}, {}),
        ({"embedding_size": 24, "num_hidden_layers": 2, "num_hidden_groups": 1}, {}),
        ({"num_hidden_layers": 3, "sharing": "none"}, {"num_hidden_groups": 3}),
    ],
)
def test_loss_and_every_gradient(torch, fields, theirs):
    model, batch, inputs = case(1, **fields)
    twin = published(model, torch, **theirs)
    loss, cache = model.loss(batch)
    out = twin(**as_torch(torch, inputs))
    out.loss.backward()
    assert error(loss, out.loss.item()) < 1e-12
    rows, columns = np.nonzero(inputs["labels"] != -100)
    cross_entropy = torch.nn.functional.cross_entropy
    labels = torch.from_numpy(inputs["labels"])[rows, columns]
    masked_lm = cross_entropy(out.prediction_logits[rows, columns], labels)
    sentence_order = cross_entropy(out.sop_logits, torch.from_numpy(inputs["sentence_order_label"]))
    assert error(cache["terms"]["masked_lm"], masked_lm.item()) < 1e-12
    assert error(cache["terms"]["sentence_order"], sentence_order.item()) < 1e-12
    errors = gradient_errors(model, cache, twin)
    worst = max(errors, key=errors.get)
    print(f"largest gradient error {errors[worst]:.1e} in {worst}")
    assert errors[worst] < 1e-12


def test_a_gradient_that_forgets_a_use_is_caught(torch, monkeypatch):
    """The comparison can fail: the mean over the uses, or the last use alone."""
    model, batch, inputs = case(1)
    twin = published(model, torch)
    twin(**as_torch(torch, inputs)).loss.backward()
    for wrong in (lambda a, b: b, lambda a, b: tree.map(lambda x, y: (x + y) / 2, a, b)):
        cache = model.loss(batch)[1]
        monkeypatch.setattr(albert.tree, "add", wrong)
        assert max(gradient_errors(model, cache, twin).values()) > 1e-3
        monkeypatch.undo()


@pytest.mark.parametrize("planted", ["groups", "map", "eps", "swapped"])
def test_a_shifted_twin_is_caught(torch, planted):
    model, batch, inputs = case(1)
    twin = published(model, torch)
    if planted == "groups":
        twin.albert.encoder.config.num_hidden_layers = 4
    if planted == "map":
        twin.albert.encoder.embedding_hidden_mapping_in = torch.nn.Sequential(
            twin.albert.encoder.embedding_hidden_mapping_in, torch.nn.Tanh()
        )
    if planted == "eps":
        twin.predictions.LayerNorm.eps = 1e-12
    if planted == "swapped":
        inputs = {**inputs, "sentence_order_label": 1 - inputs["sentence_order_label"]}
    assert error(model.loss(batch)[0], twin(**as_torch(torch, inputs)).loss.item()) > 1e-9


def test_encode(torch):
    model, _, inputs = case(2)
    ours = model.encode(**{name: inputs[name] for name in INPUTS})
    given = as_torch(torch, {name: inputs[name] for name in INPUTS})
    with torch.no_grad():
        theirs = published(model, torch).albert(**given, output_hidden_states=True, output_attentions=True)
    assert error(ours["last_hidden_state"], theirs.last_hidden_state.numpy()) < 1e-12
    assert error(ours["pooler_output"], theirs.pooler_output.numpy()) < 1e-12
    assert len(ours["hidden_states"]) == 1 + 5 * 2
    for name in ("hidden_states", "attentions"):
        assert len(ours[name]) == len(theirs[name])
        for mine, true in zip(ours[name], theirs[name], strict=True):
            assert error(mine, true.numpy()) < 1e-12


def test_the_names_of_activations_are_those_of_forward_hooks(torch):
    """Every named output and its gradient, the calls of a shared module counted: "name", "name@1", …"""
    from minibert.golden.subject import Subject, observe

    model, batch, inputs = case(3)
    ours = observe(Subject("albert", model.config, model.params, [model.checked(batch)]), ())
    twin, seen = published(model, torch), {}

    def hook(name):
        def note(module, given, out):
            value = out[0] if isinstance(out, tuple) else out
            if torch.is_tensor(value):
                value.retain_grad()
                calls = sum(other == name or other.startswith(f"{name}@") for other in seen)
                seen[f"{name}@{calls}" if calls else name] = value

        return note

    for name, module in twin.named_modules():
        module.register_forward_hook(hook(name))
    twin(**as_torch(torch, inputs)).loss.backward()
    checked = 0
    for name, *_ in albert.activations(model.config):
        if name.split("@")[0].split(".")[-1] in ("scores", "probs", "context"):
            continue
        assert error(ours[f"forward/{name}"], seen[name].detach().numpy()) < 1e-12, name
        if f"gradients/{name}" in ours and not name.endswith("position_embeddings"):
            assert np.abs(ours[f"gradients/{name}"] - seen[name].grad.numpy()).max() < 1e-12, name
        checked += 1
    assert checked == 6 + 9 * 10 + 6


def test_directories_go_both_ways(torch, tmp_path):
    import transformers

    for kind, heads in (("PreTraining", ("pooler", "mlm", "sop")), ("MaskedLM", ("mlm",)), ("", ("pooler",))):
        fields = {name: value for name, value in FIELDS.items() if name != "initializer_range"}
        theirs = getattr(transformers, f"AlbertFor{kind}" if kind else "AlbertModel")(
            transformers.AlbertConfig(**fields, attn_implementation="eager")
        ).eval()
        theirs.save_pretrained(tmp_path / "theirs")
        model = minibert.load(tmp_path / "theirs")
        assert [head for head in objective.needs(albert, model.config) if head in model.params] == list(heads)
        model.save(tmp_path / "ours")
        again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
        assert json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"] == [type(theirs).__name__]


# ---- Published figures -----------------------------------------------------------------------------------------------
def size(config, *without) -> int:
    shapes = {part: tree_ for part, tree_ in objective.shapes(albert, config).items() if part not in without}
    return sum(math.prod(shape) for shape in tree.leaves(shapes))


@pytest.mark.parametrize(
    ("preset", "encoder"),
    [("base", 11_683_584), ("large", 17_683_968), ("xlarge", 58_724_864), ("xxlarge", 222_595_584)],
)
def test_sizes(preset, encoder):
    assert size(albert.Config(**albert.PRESETS[preset]), "mlm", "sop") == encoder


def test_the_default_is_the_base_model_with_its_heads():
    assert albert.Config() == albert.Config(**albert.PRESETS["base"])
    assert size(albert.Config()) == 11_813_810
    assert size(albert.Config(), "pooler", "sop") == 11_221_680


@pytest.mark.parametrize(
    ("sharing", "factorised", "square"),
    [
        ("all", 11_683_584, 31_114_752),
        ("attention", 63_647_232, 83_078_400),
        ("ffn", 37_686_528, 57_117_696),
        ("none", 89_650_176, 109_081_344),
    ],
)
def test_sizes_of_the_sharing_modes(sharing, factorised, square):
    """The paper's table 4: 12M, 64M, 38M, 89M, and with E = 768 (without a map) 31M, 83M, 57M, 108M."""
    assert size(albert.Config(sharing=sharing), "mlm", "sop") == factorised
    assert size(albert.Config(sharing=sharing, embedding_size=768, square_map=False), "mlm", "sop") == square


# The published values of a tiny ALBERT (SPEC ALB-ALL-1): transformers 5.23, torch 2.13, float64, eager attention.
TINY = {
    "vocab_size": 17,
    "embedding_size": 4,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, 1]],
    "input_mask": [[1] * 8, [1] * 7 + [0]],
    "segment_ids": [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]],
    "masked_lm_positions": [[1, 3, 7], [2, 4, 0]],
    "masked_lm_ids": [[9, 11, 8], [10, 12, 0]],
    "masked_lm_weights": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
    "sentence_order_labels": [1, 0],
}
LOSS = 3.80340771417
LAST = [-1.269566691153, 0.698674901966, -0.379043369795, -0.346837323165,
        -0.052881584672, 0.520998237737, -0.789755658892, 0.748368213773]  # fmt: skip
POOLED = [-0.447615706987, 0.749335889192, 0.14266388871, 0.402881018687,
          0.488954917497, -0.350235759415, -0.809378133257, 0.529191076858]  # fmt: skip
LOGITS = [1.440786709316, -0.246855644868, 1.583771113429, 0.915589708716, -1.867211266521, 0.682095362378]
NORMS = {
    "albert.embeddings.word_embeddings.weight": 1.53742706528,
    "albert.encoder.embedding_hidden_mapping_in.weight": 2.100347931724,
    "albert.encoder.albert_layer_groups.0.albert_layers.1.attention.query.weight": 0.901372032518,
    "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn.weight": 0.904285079507,
}


def tiny() -> minibert.Model:
    """The recipe of ALB-ALL-1, which is BERT-ALL-1's."""
    model = minibert.create("albert", dtype="float64", **TINY)
    arrays = model.state_dict()
    for k, name in enumerate(sorted(arrays)):
        j = np.arange(arrays[name].size)
        gain = name.endswith(("LayerNorm.weight", "full_layer_layer_norm.weight"))
        arrays[name][...] = (0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k) + gain).reshape(arrays[name].shape)
    assert len(arrays) == 80
    return model


def test_the_figures_of_the_whole_model():
    model = tiny()
    loss, cache = model.loss(BATCH)
    assert float(loss) == pytest.approx(LOSS, abs=1e-11)
    gradient = model.state_dict(model.loss_backward(cache))
    for name, expected in NORMS.items():
        assert np.linalg.norm(gradient[name]) == pytest.approx(expected, abs=1e-11), name
    out = model.encode(**{name: BATCH[name] for name in ("input_ids", "input_mask", "segment_ids")})
    assert out["last_hidden_state"][0, 0] == pytest.approx(LAST, abs=1e-11)
    assert out["pooler_output"][1] == pytest.approx(POOLED, abs=1e-11)
    inputs = {"input_ids": np.array(BATCH["input_ids"]), "token_type_ids": np.array(BATCH["segment_ids"])}
    logits = objective.predict(albert, model.params, model.config, inputs, "masked_lm", (0, [1]))
    assert logits[0, :6] == pytest.approx(LOGITS, abs=1e-11)


def test_the_doubles_have_the_published_figures():
    p, config = as_lists(tiny())
    assert reference.double("albert_loss")(p, config, BATCH) == pytest.approx(LOSS, abs=1e-11)
    fields = (BATCH[name] for name in ("input_ids", "input_mask", "segment_ids"))
    x = reference.double("albert_encode")(p, config, *fields)
    assert x[0][0] == pytest.approx(LAST, abs=1e-11)
    assert reference.double("pooler")(x, p["pooler"])[1] == pytest.approx(POOLED, abs=1e-11)


def test_they_are_the_figures_in_the_text():
    text = (Path(reference.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
    section = text[text.index("- **ALB-ALL-1**") :]
    assert {LOSS, *NORMS.values()} <= {float(number) for number in re.findall(r"\d+\.\d+", section)}


# ---- The scalar loops ------------------------------------------------------------------------------------------------
def as_lists(model: minibert.Model):
    config = to_fields(model.config)
    if config["mask_constant"] != "min":
        config["mask_constant"] = float(config["mask_constant"])
    return tree.map(np.ndarray.tolist, model.params), config


@pytest.mark.parametrize("sharing", albert.SHARING)
def test_loss_and_slopes_of_the_double(sharing):
    """The loss and its terms, and slopes at 50 digits along random directions: each part of the tree, and all of it."""
    small = {**albert.PROBE, "num_hidden_layers": 2, "num_hidden_groups": 1, "hidden_size": 4, "embedding_size": 3,
             "vocab_size": 9, "intermediate_size": 5, "sharing": sharing, "pad_row_gradient": True}  # fmt: skip
    rng = np.random.default_rng(3)
    model = minibert.create("albert", dtype="float64", **small)
    probe(model, rng)
    batch = model.module.example(rng, model.config, {"B": 2, "T": 4, "M": 2})
    del batch["dropout"]
    loss, cache = model.loss(batch)
    gradient = model.loss_backward(cache)
    p, config = as_lists(model)
    lists = {name: value.tolist() for name, value in batch.items()}
    for term, value in albert_loss_terms(p, config, lists).items():
        assert float(cache["terms"][term]) == pytest.approx(value, rel=1e-13)
    double, directional = reference.double("albert_loss"), reference.double("directional")
    assert float(loss) == pytest.approx(double(p, config, lists), rel=1e-13)
    signs = tree.map(lambda a: rng.choice([-1.0, 1.0], a.shape), model.params)
    slopes, truth = {}, {}
    for part in ("", *model.params, "encoder.0.attention.query", "encoder.1.feed_forward.in"):
        chosen = {path: sign if path.startswith(part) else 0 * sign for path, sign in tree.items(signs)}
        direction = tree.map(np.ndarray.tolist, tree.unflatten(chosen))
        arguments = {"p": p, "config": config, "batch": lists}
        truth[part] = np.array(float(directional(double, arguments, "p", direction)))
        slopes[part] = sum(np.sum(tree.get(gradient, path) * sign) for path, sign in chosen.items())
    errors = gradcheck.errors(slopes, truth)
    assert max(errors.values()) < gradcheck.EXACT_BAR, errors


# ---- Sharing ---------------------------------------------------------------------------------------------------------
def test_groups_are_used_as_published():
    def entries(**fields):
        return [(use["attention"], use["feed_forward"]) for use in albert.uses(albert.Config(**fields))]

    assert entries(num_hidden_layers=4) == [(0, 0)] * 4
    assert entries(num_hidden_layers=5, num_hidden_groups=2) == [(0, 0)] * 3 + [(1, 1)] * 2
    two = entries(num_hidden_layers=3, num_hidden_groups=2, inner_group_num=2)
    assert two == [(0, 0), (1, 1), (0, 0), (1, 1), (2, 2), (3, 3)]
    assert entries(num_hidden_layers=3, sharing="attention") == [(0, 0), (0, 1), (0, 2)]
    assert entries(num_hidden_layers=3, sharing="ffn") == [(0, 0), (1, 0), (2, 0)]
    for depth in range(1, 40):
        for groups in range(1, depth + 1):
            config = albert.Config(num_hidden_layers=depth, num_hidden_groups=groups)
            used = [use["attention"] for use in albert.uses(config)]
            assert sorted(set(used)) == list(range(groups))
            assert used == sorted(used)
    rounded = [use["attention"] for use in albert.uses(albert.Config(num_hidden_layers=18, num_hidden_groups=14))]
    assert rounded[9] == 6 < 9 * 14 // 18  # as published: 9 / (18 / 14) is less than 7 in float64


@pytest.mark.parametrize("sharing", ["all", "attention", "ffn"])
def test_sharing_is_an_unshared_model_with_copied_weights(sharing):
    """Equal losses; the gradient of a shared tensor is the sum of its copies' gradients."""
    model, batch, _ = case(4, sharing=sharing)
    copies = dataclasses.replace(model.config, sharing="none")
    entries = zip(albert.uses(model.config), albert.uses(copies), strict=True)
    where = [(part, use[part], copy[part]) for use, copy in entries for part in albert.PARTS]
    encoder = [{} for _ in range(10)]
    for part, i, k in where:
        encoder[k][part] = model.params["encoder"][i][part]
    apart = minibert.Model("albert", copies, {**model.params, "encoder": encoder})
    assert len(tree.leaves(apart.params)) > len(tree.leaves(model.params))
    (loss, cache), (copied_loss, copied_cache) = model.loss(batch), apart.loss(batch)
    assert loss == copied_loss
    ours, theirs = model.loss_backward(cache), apart.loss_backward(copied_cache)
    total = tree.zeros_like(model.params["encoder"])
    for part, i, k in where:
        total[i][part] = tree.add(total[i][part], theirs["encoder"][k][part])
    for path, value in tree.items(total):
        assert np.abs(value - tree.get(ours["encoder"], path)).max() <= 1e-12 * np.abs(value).max(), path


def test_dropout_masks_have_their_places():
    """Each of the published places, and the release's, changes the loss; no other name is taken."""
    model, batch, _ = case(5, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, classifier_dropout_prob=0.25)
    release = dataclasses.replace(model.config, feed_forward_dropout=True)
    plain = model.loss(batch)[0]
    rng = np.random.default_rng(0)
    fewer, places = (albert.dropouts(c, {"B": 4, "T": 11}) for c in (model.config, release))
    assert len(fewer) == 2 + 2 * 10
    assert len(places) == 2 + 3 * 10
    assert "albert.encoder.albert_layer_groups.1.albert_layers.0.attention.output_dropout@1" in fewer
    one = minibert.Model("albert", release, model.params)
    for name, (shape, rate) in places.items():
        masks = {name: rng.random(shape) >= rate}
        loss = one.loss({**batch, "dropout": masks})[0]
        assert abs(loss - plain) > 1e-6, name
        if name not in fewer:
            with pytest.raises(InputError, match="unknown dropout mask"):
                model.loss({**batch, "dropout": masks})


def test_without_a_map():
    model, batch, _ = case(6, embedding_size=24, square_map=False)
    assert "map" not in model.params
    assert "map" not in model.loss_backward(model.loss(batch)[1])
    assert "map" in minibert.create("albert", **{**FIELDS, "square_map": False}).params


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_groups", 6),
        ("num_hidden_groups", 0),
        ("inner_group_num", 205),
        ("embedding_size", 0),
        ("sharing", "fnn"),
        ("classifier_dropout_prob", 1.0),
        ("num_attention_heads", 5),
    ],
)
def test_impossible_configurations_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        minibert.create("albert", **{**FIELDS, field: value})


# ---- Data and training -----------------------------------------------------------------------------------------------
DOCUMENTS = [[[int(i) for i in range(20 * d + 7 * s + 5, 20 * d + 7 * s + 12)] for s in range(9)] for d in range(30)]
VOCABULARY = Vocabulary(800, 2, 3, 4, 0, np.arange(800) % 3 == 1, (0, 1, 2, 3, 4))


def rows(seed: int = 0, **options):
    options = Options(seq_length=32, duplicates=3, short_rate=0.0, **options)
    return albert.rows(DOCUMENTS, np.random.default_rng(seed), VOCABULARY, options), options


def test_pairs_are_in_order_or_swapped():
    """Without masks: the second segment continues the first, or the first the second where the label is 1."""
    found, _ = rows()
    ids, types, labels = found["input_ids"], found["segment_ids"], found["sentence_order_labels"]
    ends = [(row[0], row[-1]) for row in (r[(r > 4)] for r in ids)]
    assert 0.3 < labels.mean() < 0.7
    for (first, last), label in zip(ends, labels, strict=True):
        assert (last < first) == label
    assert set(np.unique(types)) == {0, 1}


@pytest.mark.parametrize("units", albert.UNITS)
def test_corrupted_rows_have_the_fields_of_the_loss_and_can_be_restored(units):
    found, options = rows(units=units)
    made = albert.corrupt(found, np.random.default_rng(1), VOCABULARY, options)
    assert set(made) == {"input_ids", "input_mask", "segment_ids", *objective.labels(albert, albert.Config())}
    restored = made["input_ids"].copy()
    row, slot = np.nonzero(made["masked_lm_weights"])
    restored[row, made["masked_lm_positions"][row, slot]] = made["masked_lm_ids"][row, slot]
    assert (restored == found["input_ids"]).all()
    assert (made["input_ids"] != found["input_ids"]).any(axis=1).mean() > 0.9
    chosen = np.zeros(restored.shape, bool)
    chosen[row, made["masked_lm_positions"][row, slot]] = True
    ordinary = found["input_ids"] > 4
    inside = VOCABULARY.continues[found["input_ids"]][:, 1:] & ordinary[:, 1:] & ordinary[:, :-1]
    assert (chosen[:, 1:] == chosen[:, :-1])[inside].all() == (units != "pieces")


def test_ngrams_are_masked_unless_told_otherwise():
    made = [albert.corrupt(*rows(units=u)[:1], np.random.default_rng(1), VOCABULARY, rows(units=u)[1])["input_ids"]
            for u in (albert.Data.units, "ngrams", "words")]  # fmt: skip
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_unknown_units_and_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match="units is 'spans'; there are: ngrams, words, pieces"):
        rows(units="spans")
    with pytest.raises(InputError, match=r"format is 'order'.*there are: sentence-order, next-sentence"):
        pretrain("albert", out=tmp_path / "run", format="order")


def test_the_other_pairs_are_berts():
    """The same network on next-sentence pairs: label 1 is a random segment."""
    found, _ = rows(format="next-sentence")
    theirs = makers.pairs(DOCUMENTS, np.random.default_rng(0), VOCABULARY, 32, 0.0, 3)
    assert (found["sentence_order_labels"] == theirs["next_sentence_labels"]).all()
    assert (found["input_ids"] == theirs["input_ids"]).all()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """(a corpus, a WordPiece vocabulary of it)."""
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("albert")
    words = ["".join(rng.choice([*"abdegiklmnorstu"], rng.integers(2, 7))) for _ in range(60)]
    documents = ["\n".join(" ".join(rng.choice(words, 6)) + "." for _ in range(10)) for _ in range(20)]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    tokenizers.tokenizer("wordpiece").train(documents, 120).save(folder)
    return folder / "text.txt", folder


OPTIONS = {"steps": 12, "batch_size": 4, "seq_length": 16, "duplicates": 2, "held_out": 0.2, "dropout_steps": 7,
           "optimizer": "lamb", "masking": "dynamic", "checkpoint_every": 3}  # fmt: skip
NARROW = {"hidden_size": 8, "embedding_size": 6, "num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2,
          "num_attention_heads": 2, "intermediate_size": 12, "hidden_dropout_prob": 0.1}  # fmt: skip


@pytest.mark.parametrize("sharing", ["all", "attention"])
def test_a_run_killed_and_resumed_ends_with_the_same_bits(sharing, text, tmp_path, monkeypatch):
    corpus, vocabulary = text
    given = {"vocabulary": vocabulary, "fields": {**NARROW, "sharing": sharing}, **OPTIONS}
    whole = pretrain("albert", [corpus], tmp_path / "whole", **given)
    save = training.save_checkpoint

    def killed(run, model, state, seconds):
        save(run, model, state, seconds)
        if state["step"] == 6:
            raise RuntimeError("killed")

    monkeypatch.setattr(training, "save_checkpoint", killed)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain("albert", [corpus], tmp_path / "parts", **given)
    monkeypatch.undo()
    parts = pretrain("albert", out=tmp_path / "parts", resume=True)
    for name in ("model.safetensors", "report.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    first, second = (training.read_log(run / "log.jsonl") for run in (whole, parts))
    assert [entry["loss"] for entry in first] == [entry["loss"] for entry in second]
    assert len(first) == 12
    model = minibert.load(whole)
    assert model.config.sharing == sharing
    assert sum(a.size for a in tree.leaves(model.params)) == size(model.config)
    assert set(json.loads((whole / "report.json").read_text())["terms"]) == set(albert.terms(albert.Config()))


def test_dropout_is_removed_after_its_step(text, tmp_path):
    """Another rate changes what follows; from step 7 on none is drawn."""
    corpus, vocabulary = text
    drawn = []
    for until in (7, 0):
        given = {"vocabulary": vocabulary, "fields": NARROW, **OPTIONS, "dropout_steps": until}
        run = pretrain("albert", [corpus], tmp_path / f"until-{until}", **given)
        drawn.append([entry["loss"] for entry in training.read_log(run / "log.jsonl")])
    assert drawn[0][:7] == drawn[1][:7]
    assert all(a != b for a, b in zip(drawn[0][7:], drawn[1][7:], strict=True))


def test_lamb_moves_a_shared_tensor_once_by_its_share():
    """A step of lr 0.01 changes each adapted tensor by a hundredth of its norm, however often it is used."""
    model, batch, _ = case(7)
    before = tree.map(np.copy, model.params)
    gradient = model.loss_backward(model.loss(batch)[1])
    decay = optim.decay_rates(model.module.names(model.config), 0.01)
    optim.lamb(model.params, gradient, optim.bert_adam_state(before), lr=0.01, decay=decay)
    for path, old in tree.items(before):
        moved = np.linalg.norm(tree.get(model.params, path) - old) / np.linalg.norm(old)
        adapted = optim.decays(path)
        assert adapted == (decay[path] > 0), path
        assert moved == pytest.approx(0.01, rel=1e-9) if adapted else abs(moved / 0.01 - 1) > 1e-3, path


@pytest.mark.parametrize(("preset", "rate"), [("quick", 5e-3), ("base", 5e-3)])
def test_lambs_rate_does_not_scale_with_the_width(preset, rate):
    options, fields = pretraining._preset(preset, albert)
    assert (options["optimizer"], options["learning_rate"]) == ("lamb", rate)
    assert pretraining._preset("base", bert)[0]["learning_rate"] == 0.128 / 768
    assert fields.get("embedding_size", 128) == (32 if preset == "quick" else 128)
