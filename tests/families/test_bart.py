"""BART: transformers' BartForConditionalGeneration, what its page asks for, and the state from token to token."""

import dataclasses
import json

import numpy as np
import pytest
from figures import Figures
from published import FIELDS, Published, error, oracle, own, pair, probed, spared, twin, worst

import minibert
from minibert import objective, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import bart

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (365, "two stacks with sizes of their own, and a state"),
    "tests": (410, "beside a published class: the state, what is written, a constant, published configurations"),
    "cases": (50, "what is generated, beside the cases that all families have"),
    "mistakes": (200, "positions and norms of two stacks, a decoder's place by its cache, a factor within a module"),
    "bytes of golden cases": (1_010_000, "what is generated, and a constant beside the logits"),
}

LABELS = {"labels": "next_token"}
CONFIGS = (
    {"activation_function": "gelu", "scale_embedding": True},
    {"activation_function": "gelu_new"},
    {"activation_function": "relu", "scale_embedding": True, "tie_word_embeddings": False},
)
IDS = {"bos_token_id": 1, "eos_token_id": 4, "forced_eos_token_id": 6, "decoder_start_token_id": 3}


def shifted(rng, config, batch):
    """What the decoder reads is left to the labels."""
    del batch["decoder_input_ids"], batch["decoder_attention_mask"]


PUBLISHED = [
    Published("bart", "BartForConditionalGeneration", LABELS, IDS, CONFIGS),
    Published("bart", "BartForConditionalGeneration", LABELS, IDS, CONFIGS[:1], edit=shifted),
]
DIRECTORIES = {"BartForConditionalGeneration": {"lm"}, "BartModel": set()}
LAWS = ["probe"]
VARIANTS = ({"tie_word_embeddings": True, "activation_function": "relu"}, {"scale_embedding": False}, {})
SMALL = {"max_position_embeddings": 6, "decoder_layers": 1, "decoder_ffn_dim": 3, "decoder_attention_heads": 1}
# of the hub's facebook/bart-large and bart-base
PARAMETERS = [
    ({}, (), 406_291_456),
    (bart.PRESETS["base"], (), 139_420_416),
    ({"tie_word_embeddings": False}, ("lm",), 406_291_456 + 50265 * 1024),
]
BATCH = {
    "input_ids": [[0, 9, 5, 11, 3, 2], [0, 6, 10, 2, 1, 1]],
    "attention_mask": [[1] * 6, [1] * 4 + [0] * 2],
    "labels": [[0, 9, 8, 12, 2], [0, 13, 14, 2, -100]],
}
SMALLER = {"decoder_layers": 2, "decoder_ffn_dim": 16, "decoder_attention_heads": 2}
FIGURES = [
    Figures(
        "bart",
        {
            "forward/loss": 3.585276506450,
            "gradients/model.shared.weight": 1.287760893485,
            "gradients/model.encoder.embed_positions.weight": 0.358669976051,
            "gradients/model.encoder.layers.0.fc1.weight": 0.536531289641,
            "gradients/model.decoder.layernorm_embedding.weight": 0.113164459165,
            "gradients/model.decoder.layers.1.encoder_attn.k_proj.weight": 0.124609316024,
        },
        SMALLER,
        BATCH,
    ),
    Figures(
        "bart",
        {
            "forward/loss": 3.033827087229,
            "gradients/model.encoder.embed_tokens.weight": 0.602962642852,
            "gradients/lm_head.weight": 1.481974628020,
        },
        {**SMALLER, "scale_embedding": True, "tie_word_embeddings": False},
        BATCH,
    ),
]


def logits(model, **given):
    return objective.predict(bart, model.params, model.config, given, "next_token")


def inputs(rng, rows=3, source=6, target=7):
    """Sources padded at the end, and what is written for them."""
    mask = (np.arange(source) < np.append(source, rng.integers(2, source, rows - 1))[:, None]).astype(np.int64)
    return {"input_ids": rng.integers(0, 29, mask.shape), "attention_mask": mask,
            "decoder_input_ids": rng.integers(0, 29, (rows, target))}  # fmt: skip


# ---- Beside the published one ----------------------------------------------------------------------------------------
def test_no_field_stays_at_its_default():
    """Over the comparisons above."""
    default, moved = bart.Config(), set()
    for one in PUBLISHED:
        for config in one.configs:
            made = bart.Config(**{**own(bart, FIELDS), **one.fields, **config})
            moved |= {field.name for field in dataclasses.fields(made)
                      if getattr(made, field.name) != getattr(default, field.name)}  # fmt: skip
    asked = {"attention_dropout", "activation_dropout", "logits_bias"}  # of masks, which ports draw; below
    assert {field.name for field in dataclasses.fields(default)} - moved == {*asked, "pad_row_gradient"}


def _offset(both):
    for stack in (both.twin.model.encoder, both.twin.model.decoder):
        stack.embed_positions.offset = 1


def _start(both):
    both.twin.config.decoder_start_token_id = both.twin.config.bos_token_id


def _no_norm(both):
    both.twin.model.decoder.layernorm_embedding = oracle()[0].nn.Identity()


def _one_table(both):
    both.twin.model.decoder.embed_positions.weight = both.twin.model.encoder.embed_positions.weight


def _unmasked(both):
    layer = both.twin.model.decoder.layers[0].encoder_attn
    forward = layer.forward
    layer.forward = lambda *a, **given: forward(*a, **{**given, "attention_mask": None})


FAULTS = {
    "positions begin a row early": _offset,
    "the decoder starts with <s>": _start,
    "no norm in the embeddings": _no_norm,
    "one table of positions": _one_table,
    "padding of the source is seen": _unmasked,
    "scores of another width": lambda both: setattr(both.twin.model.decoder.layers[1].encoder_attn, "scaling", 0.5),
    "the root of the width forgotten": lambda both: setattr(both.twin.model.encoder.embed_tokens, "embed_scale", 1.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    both = pair(PUBLISHED[1], CONFIGS[0])
    loss = both.model.loss(both.batch)[0]
    assert error(loss, both.total().item()) < 1e-12
    FAULTS[fault](both)
    assert error(loss, both.total().item()) > 1e-7


def test_with_nothing_to_write_the_decoder_reads_the_source():
    """As BartModel: the source one place later, its padding too."""
    torch, _ = oracle()
    both = pair(PUBLISHED[0], CONFIGS[0])
    given = {name: both.batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        due = both.twin.model(**{name: torch.from_numpy(value) for name, value in given.items()})
    assert error(both.model.encode(**given)["last_hidden_state"], due.last_hidden_state.numpy()) < 1e-12


# ---- Positions, padding, what a token sees ---------------------------------------------------------------------------
def test_two_rows_of_each_table_of_positions_are_no_position():
    """(a) of B8: in the file there are two more than positions; the first token has the third, and none the first."""
    model = probed("bart", **IDS)
    batch = {**inputs(np.random.default_rng(1)), "labels": np.full((3, 7), 9)}
    gradient = model.loss_backward(model.loss(batch)[1])
    for stack, length in (("encoder", 6), ("decoder", 7)):
        rows = gradient[f"{stack}_embeddings"]["position"]["weight"]
        assert len(rows) == model.state_dict()[f"model.{stack}.embed_positions.weight"].shape[0] == 19 + 2
        assert np.flatnonzero(rows.any(1)).tolist() == [*range(2, 2 + length)]


def test_the_padding_row_has_the_logits_gradient_alone():
    """BART-EMB-3; `pad_row_gradient` has both."""
    model, rng = probed("bart", **IDS), np.random.default_rng(1)
    batch = {**inputs(rng), "labels": rng.integers(0, 29, (3, 7))}
    batch["decoder_input_ids"][0, 1] = 5
    word = {}
    for rule in (False, True):
        model.config = dataclasses.replace(model.config, pad_row_gradient=rule)
        word[rule] = model.loss_backward(model.loss(batch)[1])["embeddings"]["word"]["weight"]
    assert np.flatnonzero((word[True] != word[False]).any(1)).tolist() == [5]
    torch_free = probed("bart", tie_word_embeddings=False, **IDS)
    g = torch_free.loss_backward(torch_free.loss(batch)[1])
    assert not g["decoder_embeddings"]["word"]["weight"][5].any()
    assert g["lm"]["decoder"]["weight"][5].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [2, 5, 16])
def test_a_later_token_changes_no_earlier_logit_by_a_bit(length, dtype):
    """(f) of B8."""
    rng, model = np.random.default_rng(length), probed("bart", **IDS)
    model.params = tree.map(lambda a: a.astype(dtype), model.params)
    given = {**inputs(rng, target=length), "decoder_attention_mask": np.ones((3, length), np.int64)}
    first = logits(model, **given)
    for at in range(1, length):
        ids, mask = given["decoder_input_ids"].copy(), given["decoder_attention_mask"].copy()
        ids[:, at:] = (ids[:, at:] + rng.integers(1, 29, ids[:, at:].shape)) % 29
        mask[2, at:] = rng.integers(0, 2, length - at)
        second = logits(model, **{**given, "decoder_input_ids": ids, "decoder_attention_mask": mask})
        assert np.array_equal(second[:, :at], first[:, :at])
        assert not np.array_equal(second[:, at:], first[:, at:])


def test_padding_of_the_source_changes_nothing_on_the_right_and_moves_it_on_the_left():
    """(f) of B8, and BART-EMB-2."""
    model, rng = probed("bart", **IDS), np.random.default_rng(1)
    source, ids = rng.integers(0, 29, (2, 5)), rng.integers(0, 29, (2, 4))
    straight = logits(model, input_ids=source, decoder_input_ids=ids)
    for width, most in (((0, 4), 1e-12), ((4, 0), None)):
        mask = np.pad(np.ones_like(source), ((0, 0), width))
        wide = np.where(mask, np.pad(source, ((0, 0), width)), rng.integers(0, 29, mask.shape))
        found = error(logits(model, input_ids=wide, attention_mask=mask, decoder_input_ids=ids), straight)
        assert found < most if most else found > 1e-2


def test_labels_make_what_the_decoder_reads():
    """BART-START: </s>, then the text; -100 is read as padding, and padding as a label is asked for."""
    model, rng = probed("bart", **IDS), np.random.default_rng(2)
    labels = np.where(np.arange(7) < [[7], [5], [4]], rng.integers(0, 29, (3, 7)), -100)
    given = {**inputs(rng), "labels": labels}
    read = np.concatenate([np.full((3, 1), 3), np.where(labels == -100, 5, labels)[:, :-1]], 1)
    del given["decoder_input_ids"]
    loss = model.loss(given)[0]
    assert loss == model.loss({**given, "decoder_input_ids": read})[0]
    assert abs(model.loss({**given, "labels": np.where(labels == -100, 5, labels)})[0] - loss) > 1e-3


def test_what_a_configuration_may_not_say():
    wrong = {"decoder_attention_heads": 3, "encoder_attention_heads": 3, "pad_token_id": 17,
             "decoder_start_token_id": -1, "forced_eos_token_id": -1}  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(InputError, match=f"'{name}' is .*; allowed"):
            bart.Config(**{**bart.PROBE, name: value})
    with pytest.raises(InputError, match="max_position_embeddings is 9; truncate"):
        minibert.create("bart", **bart.PROBE).encode(input_ids=np.zeros((1, 10), int), decoder_input_ids=[[3]])


# ---- From token to token ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1, 1), (3, 4), (7,), (1, 6)])
@pytest.mark.parametrize("fields", CONFIGS, ids=["gelu", "gelu_new", "untied"])
def test_step_by_step_is_the_whole(fields, cuts):
    model, given = probed("bart", **IDS, **fields), inputs(np.random.default_rng(1))
    whole, ids = logits(model, **given), given.pop("decoder_input_ids")
    state, at = model.start(**given), 0
    for n in cuts:
        for array in tree.leaves(state):
            array.flags.writeable = False  # a state is never written to
        z, state = model.step(ids[:, at : at + n], state)
        at += n
        assert error(z, whole[:, at - 1]) < 1e-12


def test_padding_of_what_is_written_is_refused():
    model, given = probed("bart", **IDS), inputs(np.random.default_rng(1))
    ids = given.pop("decoder_input_ids")
    mask = np.ones_like(ids)
    free = model.generate(**given, decoder_input_ids=ids, decoder_attention_mask=mask)
    assert np.array_equal(free, model.generate(**given, decoder_input_ids=ids))
    mask[1, 0] = 0
    with pytest.raises(InputError, match="decoder_attention_mask hides tokens; what is written on has no padding"):
        model.generate(**given, decoder_input_ids=ids, decoder_attention_mask=mask)
    with pytest.raises(InputError, match="start reads the source; decoder_input_ids are read by step"):
        model.start(**given, decoder_input_ids=ids)


ENDS = {"eos_token_id": [4, 9, 20, 24], "pad_token_id": 5}
SETTINGS = (
    {},
    {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "no_repeat_ngram_size": 3},
    {"num_beams": 4, "early_stopping": True},
    {"num_beams": 4, "forced_bos_token_id": 0, "min_length": 8, "no_repeat_ngram_size": 3, "early_stopping": True,
     "length_penalty": 2.0, "forced_eos_token_id": 2},
    {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.5, "repetition_penalty": 1.3},
)  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=["greedy", "forced", "beams", "summaries", "never"])
def test_what_is_written_is_what_ports_write(settings, monkeypatch):
    """Token for token, on 100 sources; logits become float32 there, but not here."""
    torch, _ = oracle()
    fields, rng = {**own(bart, FIELDS), **IDS, **CONFIGS[1], "init_std": 0.2}, np.random.default_rng(7)
    model = minibert.create("bart", 3, "float64", **fields)
    for layer in model.params["decoder"]:  # so that what is written differs from source to source
        layer["cross_attention"]["output"]["weight"] *= 3
    published = twin(model.config, model.state_dict(), spared(model), "BartForConditionalGeneration")
    mask = (np.arange(9) < rng.integers(2, 10, 100)[:, None]).astype(np.int64)
    given = {"input_ids": np.where(mask, rng.integers(0, 29, mask.shape), 5), "attention_mask": mask}
    chosen = {"max_new_tokens": 12, **ENDS, "decoder_start_token_id": 3, "forced_eos_token_id": None, **settings}
    published.generation_config.forced_eos_token_id = None
    monkeypatch.setattr(torch, "float32", torch.float64)
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        due = published.generate(**tensors, do_sample=False, **chosen).numpy()
    assert len({*map(tuple, due.tolist())}) > 20
    assert 5 < (due[:, -1] == 5).sum() < 100, "rows end at different places"
    assert np.array_equal(model.generate(**given, **chosen), due)


# ---- Files -----------------------------------------------------------------------------------------------------------
LABELLED = {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
            "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}}  # fmt: skip
TASKS = {"summarization": {"length_penalty": 1.0, "max_length": 128, "min_length": 12, "num_beams": 4},
         "summarization_cnn": {"length_penalty": 2.0, "max_length": 142, "min_length": 56, "num_beams": 4}}  # fmt: skip
BOTH = {
    "activation_dropout": 0.1, "activation_function": "gelu", "add_bias_logits": False, "add_final_layer_norm": False,
    "attention_dropout": 0.1, "bos_token_id": 0, "classif_dropout": 0.1, "classifier_dropout": 0.0,
    "decoder_layerdrop": 0.0, "decoder_start_token_id": 2, "dropout": 0.1, "early_stopping": True,
    "encoder_layerdrop": 0.0, "eos_token_id": 2, "forced_eos_token_id": 2, "gradient_checkpointing": False,
    **LABELLED, "init_std": 0.02, "is_encoder_decoder": True, "max_position_embeddings": 1024, "model_type": "bart",
    "no_repeat_ngram_size": 3, "normalize_before": False, "num_beams": 4, "pad_token_id": 1, "scale_embedding": False,
    "task_specific_params": TASKS, "use_cache": True, "vocab_size": 50265,
}  # fmt: skip
HUB = {  # as the models' own config.json say them
    "base": {
        **BOTH, **bart.PRESETS["base"], "_name_or_path": "bart-base", "architectures": ["BartModel"],
        "forced_bos_token_id": 0, "normalize_embedding": True, "num_hidden_layers": 6, "torch_dtype": "float32",
        "transformers_version": "4.12.0.dev0",
    },
    "large": {
        **BOTH, "architectures": ["BartModel"], "d_model": 1024, "decoder_attention_heads": 16,
        "decoder_ffn_dim": 4096, "decoder_layers": 12, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096,
        "encoder_layers": 12, "forced_bos_token_id": 0, "num_hidden_layers": 12, "transformers_version": "4.7.0.dev0",
    },
    "large-cnn": {
        **BOTH, "_num_labels": 3, "activation_dropout": 0.0, "architectures": ["BartForConditionalGeneration"],
        "attention_dropout": 0.0, "classif_dropout": 0.0, "d_model": 1024, "decoder_attention_heads": 16,
        "decoder_ffn_dim": 4096, "decoder_layers": 12, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096,
        "encoder_layers": 12, "force_bos_token_to_be_generated": True, "forced_bos_token_id": 0, "length_penalty": 2.0,
        "max_length": 142, "min_length": 56, "num_hidden_layers": 12, "output_past": True, "prefix": " ",
        "transformers_version": "4.7.0.dev0",
    },
}  # fmt: skip


def stored(folder, model, fields, bare=False, **more):
    """A directory of such config fields, small where the model is."""
    sizes = [f"{stack}_{what}" for stack in bart.STACKS for what in ("layers", "ffn_dim", "attention_heads")]
    sizes += ["d_model", "vocab_size", "max_position_embeddings", "pad_token_id"]
    small = {name: getattr(model.config, name) for name in sizes}
    (folder / "config.json").write_text(json.dumps({**fields, **small}), encoding="utf-8")
    tensors = {name.removeprefix("model." if bare else ""): value for name, value in model.state_dict().items()}
    safetensors.write(folder / "model.safetensors", {**tensors, **more})
    return folder


@pytest.mark.parametrize("size", HUB)
def test_published_configurations_load_as_they_stand(size, tmp_path):
    """With the tables and the zeros that published files hold besides; their settings are those of `generate`."""
    model = probed("bart")
    word, bare = model.params["embeddings"]["word"]["weight"], HUB[size]["architectures"] == ["BartModel"]
    names = (f"{'' if bare else 'model.'}{stack}.embed_tokens.weight" for stack in bart.STACKS)
    more = {**dict.fromkeys(names, word), "final_logits_bias": np.zeros((1, 29))}
    loaded = minibert.load(stored(tmp_path, model, HUB[size], bare, **more))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    batch = {**inputs(np.random.default_rng(0)), "labels": np.full((3, 7), 9)}
    assert loaded.loss(batch)[0] == model.loss(batch)[0]
    ids = loaded.generate(batch["input_ids"], batch["attention_mask"], max_new_tokens=6, min_length=0)
    assert ids[:, :2].tolist() == [[2, 0]] * 3
    assert loaded.generation["num_beams"] == 4
    assert {name: getattr(bart.Config(**bart.PRESETS[size.partition("-")[0]]), name) for name in bart.PRESETS["base"]
            } == {name: HUB[size][name] for name in bart.PRESETS["base"]}  # fmt: skip


@pytest.mark.parametrize(("fields", "more", "line"), [
    ({"logits_bias": False}, {"final_logits_bias": np.eye(1, 29)}, "tensor 'final_logits_bias' is not 0"),
    ({}, {"final_logits_bias": np.ones((1, 28))}, "final_logits_bias"),
    ({}, {"lm_head.weight": np.ones((29, 24))}, "'lm_head.weight' differs from 'model.shared.weight'"),
    ({"add_final_layer_norm": True}, {}, "'add_final_layer_norm' is True; implemented: false"),
    ({"normalize_before": True}, {}, "'normalize_before' is True; implemented: false"),
    ({"encoder_layerdrop": 0.1}, {}, "'encoder_layerdrop' is 0.1; implemented: 0"),
])  # fmt: skip
def test_files_of_another_network_are_refused(fields, more, line, tmp_path):
    model = probed("bart")
    with pytest.raises(InputError, match=line):
        minibert.load(stored(tmp_path, model, {**HUB["base"], **fields}, **more))


@pytest.mark.parametrize("tied", [True, False])
def test_a_constant_of_the_logits_is_added_kept_and_not_trained(tied, tmp_path):
    """As ports have it, whose buffer is no parameter: logits, loss, gradients, what is written; both ways on disk."""
    torch, ports = oracle()
    model = probed("bart", tie_word_embeddings=tied)
    published = twin(model.config, model.state_dict(), spared(model), "BartForConditionalGeneration").double().eval()
    constant = np.random.default_rng(5).standard_normal((1, 29))
    published.final_logits_bias = torch.tensor(constant)
    published.save_pretrained(tmp_path / "ports")
    loaded = minibert.load(tmp_path / "ports", dtype="float64")
    assert np.array_equal(loaded.state_dict()["final_logits_bias"], constant)
    ids = inputs(np.random.default_rng(0))
    given = {**ids, "labels": np.random.default_rng(1).integers(6, 29, (3, 7))}
    value, cache = loaded.loss(given)
    due = published(**{name: torch.tensor(array) for name, array in given.items()}).loss
    due.backward()
    assert abs(value - due.item()) < 1e-12 < abs(value - model.loss(given)[0])
    g = loaded.state_dict(loaded.loss_backward(cache))
    assert not g.pop("final_logits_bias").any()
    assert worst(g, {name: p.grad.numpy() for name, p in published.named_parameters() if p.grad is not None}) < 1e-12
    settings = {"max_new_tokens": 6, "num_beams": 2, "min_length": 0}
    theirs = published.generate(**{name: torch.tensor(array) for name, array in ids.items()}, **settings)
    assert np.array_equal(loaded.generate(**ids, **settings), theirs.numpy())  # the start stands before what is given
    loaded.save(tmp_path / "ours")
    back = ports.BartForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert torch.equal(back.final_logits_bias.double(), published.final_logits_bias)
    assert minibert.load(tmp_path / "ours").loss(given)[0] == value
