"""RoBERTa: the figures of its specification, its data rules, transformers' RobertaForMaskedLM."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minibert
import reference
from minibert import objective, pretraining, tree
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import bert, roberta
from minibert.golden.subject import Subject, observe

FIELDS = {
    "vocab_size": 29,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "layer_norm_eps": 3e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
}


# ---- Positions -------------------------------------------------------------------------------------------------------
def test_positions_of_the_specification():
    ids = np.array([[0, 9, 5, 2, 1, 1], [1, 1, 0, 9, 5, 2], [0, 1, 9, 1, 5, 2]])
    assert roberta.positions(ids, 1).tolist() == [[2, 3, 4, 5, 1, 1], [1, 1, 2, 3, 4, 5], [2, 1, 3, 1, 4, 5]]


def test_padding_on_the_left_changes_no_token():
    model = probed(minibert.create("roberta", dtype="float64", **FIELDS))
    ids = np.array([[7, 9, 11, 13, 9], [8, 6, 7, 10, 12]])
    padded = np.concatenate([np.full((2, 3), 5), ids], 1)
    straight = model.encode(ids)["last_hidden_state"]
    shifted = model.encode(padded, attention_mask=(padded != 5).astype(int))["last_hidden_state"][:, 3:]
    assert np.abs(shifted - straight).max() < 1e-12
    counted = model.encode(padded, attention_mask=padded != 5, position_ids=np.arange(8)[None].repeat(2, 0))
    assert np.abs(counted["last_hidden_state"][:, 3:] - straight).max() > 1e-2  # BERT's positions are seen


def test_rows_beyond_the_padding_rows_are_refused():
    model = minibert.create("roberta", **FIELDS)
    assert model.encode(np.full((1, 13), 7))["last_hidden_state"].shape == (1, 13, 24)
    with pytest.raises(InputError, match="14 tokens a row, but max_position_embeddings is 19, of which 13 are for"):
        model.encode(np.full((1, 14), 7))
    with pytest.raises(InputError, match="'max_position_embeddings' is 2; allowed: 3 or more"):
        minibert.create("roberta", max_position_embeddings=2)


# ---- Sizes and figures -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("size", "model", "bare", "masked_lm"),
    [("base", 124_645_632, 124_055_040, 124_697_433), ("large", 355_359_744, None, 355_412_057)],
)
def test_parameters_of_the_published_sizes(size, model, bare, masked_lm):
    shapes = objective.shapes(roberta, roberta.Config(**roberta.PRESETS[size]))
    count = {part: sum(int(np.prod(shape)) for shape in tree.leaves(below)) for part, below in shapes.items()}
    encoder = count["embeddings"] + count["encoder"]
    assert encoder + count["pooler"] == model
    assert encoder + count["mlm"] == masked_lm
    assert bare in (None, encoder)


def test_the_figures_of_the_whole_model():
    """ROB-ALL-1 of SPEC.md, computed with transformers 5.23."""
    fields = {"vocab_size": 17, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 16, "max_position_embeddings": 12}  # fmt: skip
    model = minibert.create("roberta", dtype="float64", **fields)
    state = model.state_dict()
    for k, name in enumerate(sorted(state)):
        j = np.arange(state[name].size)
        wave = 0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * k)
        gain = name.endswith(("LayerNorm.weight", "layer_norm.weight"))
        state[name][...] = (wave + gain).reshape(state[name].shape)
    batch = {
        "input_ids": [[0, 9, 5, 11, 3, 7, 4, 2], [0, 6, 10, 3, 12, 2, 1, 1]],
        "input_mask": [[1] * 8, [1] * 6 + [0] * 2],
        "masked_lm_positions": [[1, 3], [2, 4]],
        "masked_lm_ids": [[9, 11], [10, 12]],
        "masked_lm_weights": [[1.0, 1.0], [1.0, 1.0]],
    }
    loss, cache = model.loss(batch)
    gradient = model.state_dict(model.loss_backward(cache))
    found = {"loss": loss, **{name: np.linalg.norm(gradient[name]) for name in FIGURES if name != "loss"}}
    assert found == pytest.approx(FIGURES, rel=1e-11)
    text = (Path(__file__).resolve().parent.parent / "reference" / "SPEC.md").read_text(encoding="utf-8")
    assert all(str(figure) in text for figure in FIGURES.values())


FIGURES = {
    "loss": 3.817530928373,
    "roberta.embeddings.word_embeddings.weight": 1.224174251967,
    "roberta.embeddings.position_embeddings.weight": 0.728236972379,
    "lm_head.bias": 0.51532709004,
}


# ---- The objective ---------------------------------------------------------------------------------------------------
def test_next_sentence_is_a_variant():
    plain, paired = (minibert.create("roberta", **FIELDS, next_sentence=n) for n in (False, True))
    assert set(paired.params) - set(plain.params) == {"pooler", "nsp"}
    rng = np.random.default_rng(0)
    batch = roberta.example(rng, paired.config)
    assert list(paired.loss(batch)[1]["terms"]) == ["masked_lm", "next_sentence"]
    with pytest.raises(InputError, match="unknown input 'next_sentence_labels'"):
        plain.loss(batch)
    assert list(plain.loss(roberta.example(rng, plain.config))[1]["terms"]) == ["masked_lm"]


def test_a_pooler_that_nothing_trains_has_gradient_0():
    model = probed(minibert.create("roberta", dtype="float64", **FIELDS))
    batch = roberta.example(np.random.default_rng(0), model.config)
    expected = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    model.params["pooler"] = {"weight": np.ones((24, 24)), "bias": np.ones(24)}
    found = tree.flatten(model.loss_backward(model.loss(batch)[1]))
    assert not found.pop("pooler.weight").any()
    assert not found.pop("pooler.bias").any()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[path], expected[path]) for path in expected)


def test_the_whole_loss_equals_its_scalar_double():
    for next_sentence in (False, True):
        fields = {**roberta.PROBE, "next_sentence": next_sentence, "mask_constant": "min"}
        model = minibert.create("roberta", dtype="float64", **fields, initializer_range=0.4)
        batch = roberta.example(np.random.default_rng(1), model.config)
        del batch["dropout"]
        lists = {name: value.tolist() for name, value in batch.items()}
        params = tree.map(np.ndarray.tolist, model.params)
        expected = reference.double("roberta_loss")(params, {**vars(model.config)}, lists)
        assert float(model.loss(batch)[0]) == pytest.approx(expected, rel=1e-12)


def test_every_gradient_against_50_digits():
    """A random direction in each part of a model small enough for scalar loops."""
    fields = {**roberta.PROBE, "hidden_size": 4, "intermediate_size": 5, "vocab_size": 9, "num_hidden_layers": 1,
              "mask_constant": "min", "max_position_embeddings": 11, "initializer_range": 0.4}  # fmt: skip
    model = minibert.create("roberta", dtype="float64", **fields)
    rng = np.random.default_rng(2)
    batch = roberta.example(rng, model.config, {"B": 2, "T": 4, "M": 2})
    del batch["dropout"]
    gradient = model.loss_backward(model.loss(batch)[1])
    lists = {name: value.tolist() for name, value in batch.items()}
    given = {"p": tree.map(np.ndarray.tolist, model.params), "config": {**vars(model.config)}, "batch": lists}
    found, truth = {}, {}
    for path in tree.flatten(model.params):
        signs = tree.unflatten({name: rng.choice([-1.0, 1.0], array.shape) * (name == path)
                                for name, array in tree.items(model.params)})  # fmt: skip
        found[path] = np.sum(tree.get(gradient, path) * tree.get(signs, path))
        double, directional = reference.double("roberta_loss"), reference.double("directional")
        truth[path] = float(directional(double, given, "p", tree.map(np.ndarray.tolist, signs)))
    largest = max(map(abs, truth.values()))
    worst = max(abs(found[path] - truth[path]) / max(abs(truth[path]), 1e-3 * largest) for path in truth)
    assert worst < 1e-12


# ---- Data ------------------------------------------------------------------------------------------------------------
VOCABULARY = Vocabulary(60, cls=0, sep=2, mask=59, pad=1, specials=(0, 1, 2, 3, 59))


def options(**given):
    return roberta.Data(**{"seq_length": 16, "duplicates": 1, **given})


def text(rng):
    return [[rng.integers(4, 59, rng.integers(2, 7)).tolist() for _ in range(9)] for _ in range(8)]


@pytest.mark.parametrize("form", roberta.FORMATS)
def test_every_format_makes_rows_of_its_kind(form):
    documents = text(np.random.default_rng(0))
    given = options(format=form)
    rows = roberta.rows(documents, np.random.default_rng(1), VOCABULARY, given)
    assert not rows["segment_ids"].any()
    assert (rows["input_ids"][:, 0] == 0).all()
    config = roberta.Config(vocab_size=60, **roberta.fields(given, {}))
    made = roberta.corrupt(rows, np.random.default_rng(2), VOCABULARY, given)
    assert {"input_ids", "input_mask", "segment_ids", *objective.labels(roberta, config)} == made.keys()
    counts = made["masked_lm_weights"].sum(1)
    length = rows["input_mask"].sum(1)
    assert ((counts == np.floor(0.15 * length)) | (counts == np.ceil(0.15 * length))).all()
    restored = made["input_ids"].copy()
    row, slot = np.nonzero(made["masked_lm_weights"])
    restored[row, made["masked_lm_positions"][row, slot]] = made["masked_lm_ids"][row, slot]
    assert np.array_equal(restored, rows["input_ids"])


@pytest.mark.parametrize(("masking", "form"), [("dynamic", "full-sentences"), ("static", "segment-pair")])
def test_pretrain_in_small(masking, form, tmp_path, capsys):
    """Runs, resumes from a checkpoint to the same bits, and what it leaves behind loads."""
    corpus = tmp_path / "corpus.txt"
    words = ["red", "green", "blue", "fast", "slow", "train", "boat", "runs", "swims", "stops"]
    rng = np.random.default_rng(0)
    lines = [f"{' '.join(rng.choice(words, 6))}." + "\n" * (1 + (i % 8 == 7)) for i in range(400)]
    corpus.write_text("".join(lines), encoding="utf-8")
    given = {"corpus_files": [corpus], "steps": 6, "seq_length": 24, "masking": masking, "format": form,
             "vocab_size": 300, "checkpoint_every": 3, "held_out": 0.2, "threads": 1,
             "fields": {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 8}}  # fmt: skip
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    pretraining.pretrain("roberta", out=whole, **given)
    pretraining.pretrain("roberta", out=parted, **given)
    shutil.rmtree(parted / "checkpoints" / "00000006")
    (parted / "model.safetensors").unlink()
    pretraining.pretrain("roberta", out=parted, resume=True, threads=1)
    for file in ("model.safetensors", "report.json"):
        assert (whole / file).read_bytes() == (parted / file).read_bytes()
    terms = json.loads((whole / "report.json").read_bytes())["terms"]
    assert list(terms) == ["masked_lm", *(["next_sentence"] if form == "segment-pair" else [])]
    model = minibert.load(whole)
    assert model.family == "roberta"
    assert model.config.pad_token_id == model.tokenizer.pad_id
    assert model.config.next_sentence == (form == "segment-pair")


# ---- transformers ----------------------------------------------------------------------------------------------------
def probed(model, seed=1):
    """Probe weights: std 0.4, gains around 1."""
    rng = np.random.default_rng(seed)
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    return model


def published():
    reason = "compares with the published implementation: install minibert[oracle]"
    torch = pytest.importorskip("torch", reason=reason)
    return torch, pytest.importorskip("transformers", reason=reason)


def error(got, true, scale=0.0):
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


def twins(act, tied):
    """(our model, transformers' twin, a batch, the published inputs and labels): nothing at its default."""
    torch, transformers = published()
    rng = np.random.default_rng(3)
    own = {"hidden_act": act, "tie_word_embeddings": tied}
    model = probed(minibert.create("roberta", dtype="float64", **FIELDS, **own))
    batch = roberta.example(rng, model.config, {"B": 4, "T": 11, "M": 4})
    first = {"word": batch["input_ids"][0, 0], "position": 6, "token_type": 0}
    for table, row in first.items():  # a low-variance input of the norm
        model.params["embeddings"][table]["weight"][row] = 0.1 + 1e-3 * rng.standard_normal(24)
    config = transformers.RobertaConfig(**FIELDS, **own, attn_implementation="eager")
    twin = transformers.RobertaForMaskedLM(config).double().eval()
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {*roberta.aliases(model.config), *roberta.unused(model.config)}
    twin.tie_weights()
    batch["masked_lm_positions"] = np.stack([rng.choice(np.arange(1, 6), 4, replace=False) for _ in range(4)])
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    inputs = {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["input_mask"],
        "token_type_ids": batch["segment_ids"],
        "labels": labels,
    }
    return model, twin, batch, {name: torch.from_numpy(value) for name, value in inputs.items()}


@pytest.mark.parametrize(("act", "tied"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_loss_and_every_gradient_of_transformers(act, tied):
    model, twin, batch, inputs = twins(act, tied)
    loss, cache = model.loss(batch)
    out = twin(**inputs)
    out.loss.backward()
    assert error(loss, out.loss.item()) < 1e-12
    ours = model.state_dict(model.loss_backward(cache))
    theirs = {name: p.grad.numpy() for name, p in twin.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    errors = {name: error(ours[name], theirs[name], largest) for name in ours}
    worst = max(errors, key=errors.get)
    print(f"largest gradient error {errors[worst]:.1e} in {worst}")
    assert errors[worst] < 1e-12
    for name in ours:
        if name.endswith("key.bias"):  # the softmax does not see a constant added to every score of a row
            assert np.abs(ours[name]).max() < 1e-13 * largest
    assert not theirs["roberta.embeddings.position_embeddings.weight"][5].any()  # as padding_idx has it
    free = tree.flatten(model.loss_backward(replaced(model, pad_row_gradient=True).loss(batch)[1]))
    assert free["embeddings.position.weight"][5].any()  # the rule can be seen


def replaced(model, **fields):
    return minibert.Model("roberta", dataclasses.replace(model.config, **fields), model.params)


@pytest.mark.parametrize("fault", ["eps", "positions", "activation of the head"])
def test_a_planted_fault_is_seen(fault, monkeypatch):
    model, twin, batch, inputs = twins("gelu", True)
    if fault == "eps":
        twin.lm_head.layer_norm.eps = 1e-12
    elif fault == "positions":
        monkeypatch.setattr(roberta, "positions", lambda ids, pad: np.arange(ids.shape[1]) + pad + 1)
    else:
        term = bert.masked_lm_term
        monkeypatch.setattr(bert, "masked_lm_term", lambda config, width, act: term(config, width, "gelu_new"))
    assert error(model.loss(batch)[0], twin(**inputs).loss.item()) > 1e-9


def test_encode_of_transformers():
    torch, transformers = published()
    model, twin, _, inputs = twins("gelu", True)
    model.params["pooler"] = {"weight": 0.4 * np.random.default_rng(0).standard_normal((24, 24)), "bias": np.ones(24)}
    theirs = transformers.RobertaModel(twin.config).double().eval()
    mine = {name.removeprefix("roberta."): torch.from_numpy(value) for name, value in model.state_dict().items()}
    theirs.load_state_dict({name: value for name, value in mine.items() if not name.startswith("lm_head")})
    given = {name: value for name, value in inputs.items() if name != "labels"}
    ours = model.encode(**{name: value.numpy() for name, value in given.items()})
    with torch.no_grad():
        out = theirs(**given, output_hidden_states=True, output_attentions=True)
    for name in ("last_hidden_state", "pooler_output"):
        assert error(ours[name], out[name].numpy()) < 1e-12
    for name in ("hidden_states", "attentions"):
        assert len(ours[name]) == len(out[name])
        assert all(error(a, b.numpy()) < 1e-12 for a, b in zip(ours[name], out[name], strict=True))


def test_activations_are_what_hooks_on_transformers_see():
    torch, _ = published()
    model, twin, batch, inputs = twins("gelu", True)
    seen = {}

    def hook(name):
        return lambda module, given, out: seen.update({name: out if torch.is_tensor(out) else out[0]})

    for name, module in twin.named_modules():
        module.register_forward_hook(hook(name)) if name else None
    with torch.no_grad():
        twin(**{name: value for name, value in inputs.items() if name != "labels"})
    ours = observe(Subject("roberta", model.config, model.params, [model.checked(batch)]), ())
    ours = {key.removeprefix("forward/"): value for key, value in ours.items() if key.startswith("forward/")}
    shared = ours.keys() & seen.keys()
    assert len(shared) == 5 + 9 * 3 + 3  # embeddings, layers, head
    assert all(name.endswith((".scores", ".probs", ".context")) or "loss" in name for name in ours.keys() - shared)
    for name in shared:
        assert error(ours[name], seen[name].numpy()) < 1e-12, name


@pytest.mark.parametrize("kind", ["RobertaForMaskedLM", "RobertaModel"])
@pytest.mark.parametrize("tied", [True, False])
def test_directories_of_transformers_and_back(kind, tied, tmp_path):
    torch, transformers = published()
    config = transformers.RobertaConfig(**FIELDS, tie_word_embeddings=tied)
    theirs = getattr(transformers, kind)(config).double()
    theirs.save_pretrained(tmp_path / "theirs")
    model = minibert.load(tmp_path / "theirs")
    assert ("pooler" in model.params, "mlm" in model.params) == (kind == "RobertaModel", kind != "RobertaModel")
    model.save(tmp_path / "ours")
    again, info = getattr(transformers, kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float64
    )
    missing = set(info["missing_keys"]) - set(roberta.unused(model.config))
    assert not missing
    assert not info["unexpected_keys"]
    for name, value in theirs.named_parameters():
        assert name in roberta.unused(model.config) or torch.equal(again.get_parameter(name), value), name
    assert json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))["architectures"] == [kind]


def test_a_directory_with_pooler_and_head_loads(tmp_path):
    model = minibert.create("roberta", **FIELDS)
    model.params["pooler"] = {"weight": np.ones((24, 24), np.float32), "bias": np.ones(24, np.float32)}
    model.save(tmp_path)
    again = minibert.load(tmp_path)
    assert "pooler_output" in again.encode(np.array([[0, 7, 2]]))
    assert again.loss(roberta.example(np.random.default_rng(0), again.config))[0] > 0
