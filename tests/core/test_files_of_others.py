"""Directories as people have them: written by programs of several years, with heads nobody here knows, in a cache."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import cli, families, layers, pretraining, tree
from minibert import config as configs
from minibert.checkpoint import directory, safetensors
from minibert.errors import InputError
from minibert.golden import commands

# What transformers 2.5 wrote of every model
GENERATION = {"do_sample": False, "eos_token_ids": 0, "length_penalty": 1.0, "max_length": 20, "num_beams": 1,
              "num_return_sequences": 1, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 50,
              "top_p": 1.0}  # fmt: skip
BERT = {"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 512, "num_attention_heads": 12,
        "num_hidden_layers": 12, "type_vocab_size": 2, "vocab_size": 30522}  # fmt: skip
ELECTRA = {
    "architectures": ["ElectraForPreTraining"], "attention_probs_dropout_prob": 0.1, "classifier_dropout": None,
    "embedding_size": 128, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 256,
    "initializer_range": 0.02, "intermediate_size": 1024, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "model_type": "electra", "num_attention_heads": 4, "num_hidden_layers": 12, "pad_token_id": 0,
    "position_embedding_type": "absolute", "summary_activation": "gelu", "summary_last_dropout": 0.1,
    "summary_type": "first", "summary_use_proj": True, "transformers_version": "4.11.3", "type_vocab_size": 2,
}  # fmt: skip
ALBERT = {
    "attention_probs_dropout_prob": 0, "bos_token_id": 2, "classifier_dropout_prob": 0.1, "down_scale_factor": 1,
    "embedding_size": 128, "eos_token_id": 3, "gap_size": 0, "hidden_dropout_prob": 0, "hidden_size": 768,
    "initializer_range": 0.02, "inner_group_num": 1, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "albert", "net_structure_type": 0, "num_attention_heads": 12,
    "num_hidden_groups": 1, "num_hidden_layers": 12, "num_memory_blocks": 0, "pad_token_id": 0, "type_vocab_size": 2,
}  # fmt: skip
# Configs as they are printed in public notes, by what they are of, and some fields as they have to be read.
PRINTED = {
    "roberta-base, transformers 4": ({
        "_name_or_path": "roberta-base", "architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0, "classifier_dropout": None, "eos_token_id": 2, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 514, "model_type": "roberta", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 1, "position_embedding_type": "absolute",
        "transformers_version": "4.30.2", "type_vocab_size": 1, "use_cache": True, "vocab_size": 50265},
        {"layer_norm_eps": 1e-5, "pad_token_id": 1, "max_position_embeddings": 514, "vocab_size": 50265}),
    "electra-small": (
        {"_name_or_path": "google/electra-small-discriminator", **ELECTRA, "use_cache": True, "vocab_size": 30522},
        {"embedding_size": 128, "hidden_size": 256}),
    "a Danish electra-small": (
        {**ELECTRA, "generator_size": "0.25", "vocab_size": 32000}, {"generator_size": 0.25, "vocab_size": 32000}),
    "albert-base-v2, transformers 4": (
        {**ALBERT, "hidden_act": "gelu_new", "position_embedding_type": "absolute", "vocab_size": 30000},
        {"hidden_act": "gelu_new", "vocab_size": 30000}),
    "a Chinese ALBERT": (
        {"architectures": ["AlbertForMaskedLM"], **ALBERT, "hidden_act": "relu", "layers_to_keep": [],
         "vocab_size": 21128},
        {"hidden_act": "relu", "vocab_size": 21128}),
    "bert-base-cased, transformers 2.5": (
        {**BERT, **GENERATION, "_num_labels": 2, "architectures": ["BertForMaskedLM"], "bad_words_ids": None,
         "bos_token_id": 0, "decoder_start_token_id": None, "early_stopping": False, "finetuning_task": None,
         "id2label": {"0": "LABEL_0"}, "is_decoder": False, "is_encoder_decoder": False,
         "label2id": {"LABEL_0": 0}, "layer_norm_eps": 1e-12, "model_type": "bert", "no_repeat_ngram_size": 0,
         "output_attentions": False, "output_hidden_states": False, "output_past": True, "pad_token_id": 0,
         "prefix": None, "pruned_heads": {}, "task_specific_params": None, "torchscript": False,
         "use_bfloat16": False, "vocab_size": 28996, "xla_device": None},
        {"vocab_size": 28996}),
    "bert-base-multilingual-cased": (
        {**BERT, "model_type": "bert", "directionality": "bidi", "pooler_fc_size": 768,
         "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3, "pooler_size_per_head": 128,
         "pooler_type": "first_token_transform", "vocab_size": 119547},
        {"vocab_size": 119547}),
    "TinyBERT": (
        {**BERT, "cell": {}, "model_type": "bert", "emb_size": 312, "hidden_size": 312, "intermediate_size": 1200,
         "num_hidden_layers": 4, "pre_trained": "", "structure": []},
        {"hidden_size": 312, "num_hidden_layers": 4}),
    "a cross-encoder": (
        {**BERT, "model_type": "bert", "num_labels": 1, "problem_type": None, "torch_dtype": "float32",
         "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity", "gradient_checkpointing": False,
         "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"}},
        {"hidden_size": 768}),
    "remote code, adapters, no quantization": (
        {**BERT, "model_type": "bert", "auto_map": {"AutoModel": "x.Y"}, "adapters": {"adapters": {}},
         "quantization_config": None, "some_newer_key": None, "transformers.js_config": {"dtype": "q8"}},
        {"hidden_size": 768}),
    "gpt2, transformers 2": (
        {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
         "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
         "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
         "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1,
         "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True, "vocab_size": 50257,
         "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, **GENERATION},
        {"n_embd": 768, "eos_token_id": 50256}),
    "gpt2 with several ends and no padding": (
        {"model_type": "gpt2", "eos_token_id": [50256, 198], "pad_token_id": -1}, {"eos_token_id": 50256,
                                                                                     "pad_token_id": None}),
    "pad_token_id -1": ({**BERT, "model_type": "bert", "pad_token_id": -1}, {"pad_token_id": 30521}),
    "gelu by another name": ({**BERT, "model_type": "bert", "hidden_act": "gelu_python"}, {"hidden_act": "gelu"}),
    "its tanh form": ({"model_type": "gpt2", "activation_function": "gelu_fast"}, {"activation_function": "gelu_new"}),
}  # fmt: skip
SMALL = {"num_hidden_layers": 2, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 10,
         "vocab_size": 24, "max_position_embeddings": 16}  # fmt: skip


def small(family: str, **more) -> minibert.Model:
    """A small model with random values everywhere."""
    module, rng = families.family(family), np.random.default_rng(1)
    known = module.Config.__dataclass_fields__
    fields = {families.field(module, name): value for name, value in SMALL.items()}
    fields |= {"embedding_size": 6} if "embedding_size" in known else {}
    fields |= {"bos_token_id": 3, "eos_token_id": 3} if "eos_token_id" in known else {}
    model = minibert.create(family, **fields, **({"role": "discriminator"} if family == "electra" else {}), **more)
    model.params = tree.map(lambda leaf: (0.3 * rng.standard_normal(leaf.shape)).astype(np.float32), model.params)
    return model


def edited(folder: Path, **changes) -> None:
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")


def rewritten(folder: Path, change, metadata=None) -> None:
    """The weights, with what `change` makes of the dict of them."""
    tensors = change(dict(safetensors.read(folder / "model.safetensors")))
    safetensors.write(folder / "model.safetensors", tensors, metadata)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        minibert.load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(a: minibert.Model, b: minibert.Model) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all((array == b[name]).all() for name, array in a.items())


def states(model: minibert.Model) -> np.ndarray:
    return model.encode(input_ids=[[2, 5, 6, 7, 3]])["last_hidden_state"]


def theirs(folder: Path) -> np.ndarray:
    """The last hidden states of the published program."""
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    model = transformers.AutoModel.from_pretrained(str(folder), attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state.numpy()


# ---- config.json -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PRINTED)
def test_a_printed_config_is_read_as_it_stands(name, tmp_path):
    """In its own sizes by itself, and in small ones with weights; what it says of mathematics is what comes."""
    fields, due = PRINTED[name]
    module = families.family(fields["model_type"])
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    read = configs.from_fields(module.Config, directory.mathematical(json.loads(json.dumps(fields)), module))
    assert {field: getattr(read, field) for field in due} == due
    model = small(fields["model_type"], **({"type_vocab_size": 1} if fields.get("type_vocab_size") == 1 else {}))
    model.save(tmp_path)
    sizes = {"embedding_size", *(families.field(module, size) for size in SMALL)}
    edited(tmp_path, **{field: value for field, value in fields.items() if field not in sizes})
    again = minibert.load(tmp_path)
    assert tree.flatten(again.params).keys() == tree.flatten(model.params).keys()
    if "gelu_python" not in fields.values() and fields.get("pad_token_id") != -1 and "generator_size" not in fields:
        assert np.abs(states(again) - theirs(tmp_path)).max() < 1e-5


@pytest.mark.parametrize(("fields", "words"), [
    ({"rope_scaling": {"type": "linear"}}, "unknown config field 'rope_scaling'"), ({"alibi": False}, "'alibi'"),
    ({"layers_to_keep": [1, 2]}, "'layers_to_keep'"), ({"ln_type": "preln"}, "'ln_type' is 'preln'"),
    ({"quantization_config": {"bits": 4}}, "'quantization_config'"), ({"hidden_act": "quick_gelu"}, "'quick_gelu'"),
    ({"hidden_act": "gelu_10"}, "'gelu_10'"), ({"hidden_act": None}, "'hidden_act'"),
    ({"hidden_act": ["gelu"]}, "'hidden_act'"), ({"pad_token_id": -2}, "'pad_token_id' is -2"),
    ({"pad_token_id": -1, "vocab_size": "many"}, "'vocab_size'"), ({"is_decoder": True}, "'is_decoder'"),
    ({"structure": [1]}, "'structure'"),
])  # fmt: skip
def test_mathematics_that_is_not_here_is_refused_by_name(fields, words, tmp_path):
    small("bert").save(tmp_path)
    edited(tmp_path, **fields)
    assert words in refusal(tmp_path)


def test_roberta_counts_from_its_padding(tmp_path):
    """Positions begin behind pad_token_id: -1 would be other positions, and is refused."""
    small("roberta").save(tmp_path)
    edited(tmp_path, pad_token_id=-1)
    assert "'pad_token_id' is -1" in refusal(tmp_path)


@pytest.mark.parametrize("name", [*directory.ACTIVATIONS, "gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_activations_of_several_names_are_what_they_say(name):
    """The published function of the name, which is the one that is taken for it."""
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    published = pytest.importorskip("transformers.activations", reason="compares with the published implementation")
    x = np.linspace(-6, 6, 1001)
    ours = layers.activation(x, name=directory.ACTIVATIONS.get(name, name))[0]
    assert np.abs(ours - published.ACT2FN[name](torch.tensor(x)).numpy()).max() < 1e-10


@pytest.mark.parametrize("text", [
    '\ufeff{"model_type": "bert", SIZES}', '{"model_type": "bert", "model_type": "bert", SIZES, SIZES}',
    '{"model_type": "bert", SIZES, "id2label": {"0": "a"}, "id2label": {"0": "b"}}',
    '{"model_type": "bert", SIZES, "length_penalty": NaN, "task_specific_params": {"x": -Infinity, "y": 1e999}}',
])  # fmt: skip
def test_json_as_pythons_writer_leaves_it(text, tmp_path):
    """A byte order mark, a key twice, NaN where nobody computes with it; and a command's --config the same."""
    model = small("bert")
    model.save(tmp_path)
    sizes = ", ".join(f'"{name}": {value}' for name, value in SMALL.items())
    (tmp_path / "config.json").write_text(text.replace("SIZES", sizes), encoding="utf-8")
    assert minibert.load(tmp_path).config == model.config
    assert commands._fields("bert", "family", tmp_path / "config.json") == SMALL
    assert planned(tmp_path) == {name: value for name, value in SMALL.items() if name != "vocab_size"}


def test_a_dropout_of_all_loads(tmp_path):
    """It is of training alone, where nothing is left then: zeros, as torch has it, and no 0/0."""
    model = small("bert")
    model.save(tmp_path)
    edited(tmp_path, hidden_dropout_prob=1.0, attention_probs_dropout_prob=1)
    again = minibert.load(tmp_path)
    assert (states(again) == states(model)).all()
    batch = again.module.example(np.random.default_rng(0), again.config)
    rate = again.config.hidden_dropout_prob
    place, shape = "bert.embeddings.dropout", (*batch["input_ids"].shape, 12)
    keep = layers.keep_masks(np.random.default_rng(0), {place: (shape, rate)})
    assert not keep[place].any()
    loss, cache = again.loss({**batch, "dropout": keep})
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in tree.leaves(again.loss_backward(cache)))


def planned(folder: Path) -> dict:
    """The model's fields of a run with the folder's config.json, beside those of the smallest size."""
    (folder / "text.txt").write_text("one two three.\nfour five six.\n\nseven eight.\nnine ten.\n", encoding="utf-8")
    request = {"family": "bert", "preset": "tiny", "config": str(folder / "config.json"), "seq_length": 8,
               "corpus_files": [str(folder / "text.txt")]}  # fmt: skip
    run = pretraining._planned(request)[0]
    return {name: value for name, value in run["fields"].items() if name in SMALL}


@pytest.mark.parametrize(("text", "words"), [
    ('{"hidden_size": 12, "hidden_size": 24}', "'hidden_size' is 12, and then 24"),
    ('{"layer_norm_eps": NaN}', "'layer_norm_eps' is nan"), ('{"hidden_sise": 12}', "did you mean 'hidden_size'"),
])  # fmt: skip
def test_what_a_config_says_twice_or_as_no_number_is_refused_where_it_is_computed_with(text, words, tmp_path, capsys):
    model = small("bert")
    model.save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(text[:-1] + ', "model_type": "bert"}', encoding="utf-8")
    for command in ("info {0}", "pretrain bert --config {0}/config.json --out {0}/run",
                    "golden make bert --config {0}/config.json -o {0}/case"):  # fmt: skip
        assert cli.main(command.format(tmp_path).split()) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert words in said


def test_settings_of_generate_in_config_json_count_where_they_have_no_file(tmp_path):
    """As published: `generate` follows them; generation_config.json, where there is one, wins whole."""
    model = small("gpt2")
    model.save(tmp_path)
    assert minibert.load(tmp_path).generation is None
    edited(tmp_path, **{**GENERATION, "eos_token_id": [3, 7], "max_length": 9})
    again = minibert.load(tmp_path)
    assert (again.generation["eos_token_id"], again.generation["max_length"]) == ([3, 7], 9)
    assert again.config.eos_token_id == 3
    rows = again.generate([[1, 2, 4], [2, 5, 6]])
    assert (rows == model.generate([[1, 2, 4], [2, 5, 6]], eos_token_id=[3, 7], max_length=9)).all()
    again.save(tmp_path / "new")
    assert minibert.load(tmp_path / "new").generation["eos_token_id"] == [3, 7]
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 2}', encoding="utf-8")
    assert minibert.load(tmp_path).generation == {"max_new_tokens": 2}


@pytest.mark.parametrize(("name", "family"), [
    ("BertForPreTraining", "bert"), ("BertModel", "bert"), ("RobertaForMaskedLM", "roberta"), ("AlbertModel", "albert"),
    ("ElectraForTokenClassification", "electra"), ("GPT2LMHeadModel", "gpt2"), ("GPT2DoubleHeadsModel", "gpt2"),
    ("GPT2Model", "gpt2"), ("DistilBertModel", None), ("XLMRobertaForMaskedLM", None), ("Bert", None), (None, None),
])  # fmt: skip
def test_a_config_without_model_type_says_its_class(name, family, tmp_path):
    """As bert-base-uncased's first one."""
    small(family or "bert").save(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del fields["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(fields | {"architectures": [name]}), encoding="utf-8")
    if family is None:
        assert "names no family ('model_type')" in refusal(tmp_path)
    else:
        assert minibert.load(tmp_path).family == family


# ---- Weights ---------------------------------------------------------------------------------------------------------
def with_head(names):
    return lambda tensors: tensors | {name: np.ones((3, 12), np.float32) for name in names}


# What a directory holds beside an encoder: (family, tensors of heads nobody here knows)
HEADS = {
    "BertForSomethingElse": ("bert", ["classifier.weight", "classifier.bias"]),
    "BertForSequenceClassification": ("bert", ["scorer.weight", "scorer.bias"]),
    "RobertaForQuestionAnswering": ("roberta", ["classifier.dense.weight", "classifier.out_proj.weight"]),
    "GPT2DoubleHeadsModel": ("gpt2", ["multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias"]),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_nobody_knows_is_left_and_named(name, tmp_path):
    family, head = HEADS[name]
    model = small(family)
    model.save(tmp_path)
    edited(tmp_path, architectures=[name], problem_type="single_label_classification")
    rewritten(tmp_path, with_head(head))
    again = minibert.load(tmp_path)
    assert again.left == tuple(sorted(head))
    assert same(again, model)


def test_what_transformers_saves_with_an_unknown_head_loads_as_its_encoder(tmp_path):
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    published, module = transformers.GPT2DoubleHeadsModel, families.family("gpt2")
    fields = {families.field(module, field): value for field, value in SMALL.items()}
    torch.manual_seed(0)
    twin = published(published.config_class(**fields, pad_token_id=1, num_labels=3)).eval()
    twin.save_pretrained(tmp_path)
    model = minibert.load(tmp_path)
    assert model.left
    assert not {name for name in model.left if name.startswith(model.module.PREFIX)}
    assert np.abs(states(model) - theirs(tmp_path)).max() < 1e-5
    batch = np.array([[2, 5, 6, 7, 3]])
    with torch.no_grad():
        base = twin.base_model(torch.tensor(batch)).last_hidden_state.numpy()
    assert np.abs(states(model) - base).max() < 1e-5


WRAPPED = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"_orig_mod.module.{name}",
    "a part that is compiled": lambda name: name.replace("bert.encoder.", "bert.encoder._orig_mod."),
    "checkpointing": lambda name: name.replace("layer.1.", "layer.1._checkpoint_wrapped_module."),
    "a bare encoder": lambda name: f"module.{name.removeprefix('bert.')}",
    "gamma": lambda name: f"module.{name.replace('Norm.weight', 'Norm.gamma')}",
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_names_of_wrappers_are_seen_through(how, tmp_path):
    model = small("bert")
    model.save(tmp_path)
    change = WRAPPED[how]
    rewritten(tmp_path, lambda t: {change(name): array for name, array in with_head(["classifier.weight"])(t).items()})
    again = minibert.load(tmp_path)
    assert again.left == (change("classifier.weight"),)
    assert same(again, model)


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: {n.replace("layer.1.", "layer.9."): a for n, a in t.items()}, "16 missing: 'bert.encoder.layer.1."),
    (lambda t: {n.replace("bert.", "bart."): a for n, a in t.items()}, "'bart.embeddings.LayerNorm.bias'"),
    (lambda t: t | {"bert.encoder.layer.0.adapter.weight": np.ones(3)}, "1 unexpected: 'bert.encoder.layer.0.adapter"),
    (lambda t: t | {"module.encoder.layer.7.x": np.ones(3)}, "1 unexpected: 'module.encoder.layer.7.x'"),
    (lambda t: {n.replace("cls.seq_relationship.w", "cls.seq_relation.w"): a for n, a in t.items()},
     "1 missing: 'cls.seq_relationship.weight'; 1 unexpected: 'cls.seq_relation.weight'"),
    (lambda t: t | {"module.bert.pooler.dense.bias": np.ones(12)}, "both 'bert.pooler.dense.bias'"),
])  # fmt: skip
def test_a_file_that_is_not_the_encoders_is_refused(change, words, tmp_path):
    """A name that is mistyped, a tensor that the encoder has no use for: it would compute something else."""
    small("bert").save(tmp_path)
    rewritten(tmp_path, change)
    assert words in refusal(tmp_path)


def test_buffers_of_positions_are_passed_over_whatever_their_dtype(tmp_path):
    model = small("bert")
    model.save(tmp_path)
    numbers = np.arange(16)[None]
    rewritten(tmp_path, lambda t: t | {"bert.embeddings.position_ids": numbers.astype(np.float32),
                                       "bert.embeddings.token_type_ids": np.zeros_like(numbers)})  # fmt: skip
    assert same(minibert.load(tmp_path), model)


# Files that a directory has in the place of model.safetensors -> what the line says, behind its name
PLACES = {
    "pytorch_model.bin training_args.bin optimizer.pt rng_state.pth": "pytorch_model.bin is not read (pickles can run",
    "pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json":
        "pytorch_model-00002-of-00002.bin is not read (pickles can run code); convert it once with transformers: "
        "BertForPreTraining.from_pretrained(DIR).save_pretrained(NEW)",
    "tf_model.h5": "with transformers 4: BertForPreTraining.from_pretrained(DIR, from_tf=True).save",
    "bert_model.ckpt.index bert_model.ckpt.meta bert_model.ckpt.data-00000-of-00001":
        "BertForPreTraining.from_pretrained('DIR/bert_model.ckpt.index', from_tf=True, config='DIR/config.json')",
    "flax_model.msgpack": "is Flax's, which is not read; convert it once with transformers 4", "model.onnx": "another",
    "rust_model.ot": "is another program's: get the model's model.safetensors", "model-q4.gguf": "another program's",
    "openvino_model.xml openvino_model.bin": "openvino_model.xml is another program's",
    "pytorch_model.safetensors": "a single file has to be called model.safetensors",
    "model-00001-of-00002.safetensors model-00002-of-00002.safetensors": "of several model.safetensors.index.json says",
    "adapter_model.safetensors adapter_config.json": "is an adapter's: load its model",
    "training_args.bin scheduler.pt": "",
}  # fmt: skip


@pytest.mark.parametrize("names", PLACES)
def test_what_stands_in_the_place_of_weights_is_told_what_to_do(names, tmp_path):
    small("bert").save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for name in names.split():
        (tmp_path / name).write_bytes(b"")
    said = refusal(tmp_path)
    assert said.startswith(f"{tmp_path} has no model.safetensors")
    assert PLACES[names] in said
    assert (said == f"{tmp_path} has no model.safetensors") == (PLACES[names] == "")


def test_a_directory_without_a_config_is_told_what_it_is(tmp_path):
    for name, words in (("bert_config.json", "shows a TensorFlow release"), ("dict.txt", "shows a fairseq release")):
        (tmp_path / name).write_text("{}", encoding="utf-8")
        assert f"has no config.json; {name} {words}: convert it once" in refusal(tmp_path)
        (tmp_path / name).unlink()
    assert "No such file" in refusal(tmp_path)
    for step in (500, 1000, 1500, 2000):
        small("bert").save(tmp_path / f"checkpoint-{step}")
    assert "name one: checkpoint-1000, checkpoint-1500, checkpoint-2000 and 1 more" in refusal(tmp_path)
    assert "is not a directory with a model: name the directory that it is in" in refusal(
        tmp_path / "checkpoint-500" / "config.json")  # fmt: skip
    if os.name != "nt":
        (tmp_path / "config.json").symlink_to("nowhere")
        assert "config.json is a link to nothing: download the model again" in refusal(tmp_path)


SHARDS = {  # what is done to the index of two shards, and to the second -> whether it loads, and what is left
    "as published": (lambda index: index, {}), "no metadata": (lambda index: {"weight_map": index["weight_map"]}, {}),
    "metadata null": (lambda index: index | {"metadata": None}, {}),
    "the folder named": (lambda index: {"weight_map": {n: f"./{f}" for n, f in index["weight_map"].items()}}, {}),
    "a head that is not listed": (lambda index: index, {"classifier.weight": np.ones((2, 12), np.float32)}),
    "a copy that is not the one listed": (lambda index: index, {"bert.pooler.dense.bias": np.ones(12, np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARDS)
def test_shards_and_their_index_as_people_have_them(name, tmp_path):
    model = small("bert")
    model.save(tmp_path)
    tensors = dict(safetensors.read(tmp_path / "model.safetensors"))
    (tmp_path / "model.safetensors").unlink()
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    places = {tensor: files["encoder" in tensor] for tensor in tensors}
    change, more = SHARDS[name]
    for file in files:
        held = {tensor: array for tensor, array in tensors.items() if places[tensor] == file}
        safetensors.write(tmp_path / file, held | (more if file == files[1] else {}))
    index = change({"metadata": {"total_size": 3}, "weight_map": places})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    again = minibert.load(tmp_path)
    assert same(again, model)
    assert again.left == tuple(tensor for tensor in more if tensor not in tensors)


def raw(path: Path, entries: dict, data: bytes, metadata: object = "") -> None:
    """A safetensors file by hand."""
    fields = {**({} if metadata == "" else {"__metadata__": metadata}), **entries}
    head = json.dumps(fields).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def test_what_nobody_reads_hurts_only_whoever_needs_it(tmp_path):
    """A tensor of a published dtype that no NumPy has, and metadata that says nothing."""
    model = small("bert")
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    fields, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    fields.pop("__metadata__")
    for dtype, size in (("F8_E4M3", 6), ("F8_E5M2", 6), ("F4", 3), ("C64", 48)):
        extra = {"classifier.scale": {"dtype": dtype, "shape": [2, 3], "data_offsets": [len(data), len(data) + size]}}
        raw(path, fields | extra, data + bytes(size), None)
        assert minibert.load(tmp_path).left == ("classifier.scale",)
        with pytest.raises(InputError, match=f"'classifier.scale' is {dtype}, which is not read"):
            safetensors.read(path)
        raw(path, fields | extra, data + bytes(size + 1), None)
        assert "bytes nobody owns" in refusal(tmp_path)
    name = "bert.pooler.dense.bias"
    needed = {**fields, name: {**fields[name], "dtype": "F8_E4M3", "shape": [12, 4]}}
    raw(path, needed, data)
    assert "mis-shaped" in refusal(tmp_path)
    eighth = json.loads(json.dumps(fields))
    eighth[name] = {"dtype": "F8_E4M3", "shape": [12], "data_offsets": [len(data), len(data) + 12]}
    hole = fields[name]["data_offsets"]
    eighth["unused"] = {"dtype": "F32", "shape": [12], "data_offsets": hole}
    raw(path, eighth, data + bytes(12))
    assert f"'{name}' is F8_E4M3, which is not read" in refusal(tmp_path)
    raw(path, fields, data, [])
    assert "'__metadata__' is not an object of strings" in refusal(tmp_path)
    raw(path, {"x": {"dtype": "F9", "shape": [1], "data_offsets": [0, 1]}}, b"1")
    assert "has dtype 'F9'" in refusal(tmp_path)


# ---- A hub's cache ---------------------------------------------------------------------------------------------------
def cached(folder: Path, tmp_path: Path, revision: str = "0a1b" * 10) -> Path:
    """The directory as a hub's cache has it: links from a snapshot into blobs."""
    cache = tmp_path / "models--org--name"
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "snapshots" / revision).mkdir(parents=True)
    for i, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, cache / "blobs" / f"{i:040x}")
        (cache / "snapshots" / revision / file.name).symlink_to(Path("..", "..", "blobs", f"{i:040x}"))
    (cache / "refs" / "main").write_text(revision, encoding="utf-8")
    return cache


@pytest.mark.skipif(os.name == "nt", reason="links are another matter on Windows")
def test_a_hubs_cache_is_its_main_snapshot(tmp_path):
    small("bert").save(tmp_path / "model")
    due = states(minibert.load(tmp_path / "model"))
    cache = cached(tmp_path / "model", tmp_path)
    assert (states(minibert.load(cache)) == due).all()
    assert (states(minibert.load(cache / "snapshots" / ("0a1b" * 10))) == due).all()
    shutil.copytree(cache / "snapshots" / ("0a1b" * 10), cache / "snapshots" / "older", symlinks=True)
    assert (states(minibert.load(cache)) == due).all()
    (cache / "refs" / "main").unlink()
    assert "no refs/main and 2 snapshots" in refusal(cache)
    shutil.rmtree(cache / "snapshots" / "older")
    assert (states(minibert.load(cache)) == due).all()


@pytest.mark.skipif(os.name == "nt", reason="links are another matter on Windows")
def test_a_hostile_cache_leads_nowhere(tmp_path):
    small("bert").save(tmp_path / "model")
    cache = cached(tmp_path / "model", tmp_path)
    main = cache / "refs" / "main"
    for said in ("../../model", "..", "/etc", "", "x/y", "absent", "a\0b", "a\nb"):
        main.write_text(said, encoding="utf-8")
        assert "has no snapshot" in refusal(cache)
    main.write_text("x" * 1000, encoding="utf-8")
    assert "more than 256 bytes" in refusal(cache)
    main.unlink()
    os.mkfifo(main)
    assert "FIFO" in refusal(cache)
    main.unlink()
    (cache / "snapshots" / "loop").symlink_to("loop")
    main.write_text("loop", encoding="utf-8")
    assert "has no snapshot 'loop'" in refusal(cache)
    main.write_text("0a1b" * 10, encoding="utf-8")
    (cache / "blobs" / f"{1:040x}").unlink()  # the weights, a download that broke off
    assert "has no model.safetensors" in refusal(cache)
