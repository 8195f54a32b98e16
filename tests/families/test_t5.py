"""T5: transformers' T5ForConditionalGeneration, what its page asks for, and the state from token to token."""

import dataclasses
import json
import types

import numpy as np
import pytest
from figures import Figures
from published import Published, error, example, oracle, pair, probed, replaced

import minibert
from minibert import data, inference, objective, pretraining, relative, tokenizers, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import t5
from minibert.golden import case

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (450, "two versions, a layer of its own in two stacks, classes of tasks too"),
    "tests": (465, "beside a published class: buckets, sums over layers, two versions' files, generation"),
    "cases": (45, "what is generated, beside the cases that all families have"),
    "mistakes": (500, "scores, buckets, a norm, a gate and a scale that are in no other family"),
}

LABELS = {"labels": "next_token"}
V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
CONFIGS = (
    {"feed_forward_proj": "gelu"},
    V1_1,
    {"feed_forward_proj": "gated-relu", "scale_decoder_outputs": False},
    {"feed_forward_proj": "gelu_new", "tie_word_embeddings": False, "scale_decoder_outputs": True},
)
OWN = {"d_kv": 5, "num_decoder_layers": 2, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 7,
       "initializer_factor": 0.5, "eos_token_id": 4, "decoder_start_token_id": 3}  # fmt: skip


def mend(module, config):
    """The mean of the norms, which ports take in float32, in float64; U, which they tie to E, its own."""
    torch, _ = oracle()

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    for norm in module.modules():
        if type(norm).__name__ == "T5LayerNorm":
            norm.forward = types.MethodType(forward, norm)
    if not config.tie_word_embeddings:
        module.lm_head.weight = torch.nn.Parameter(module.lm_head.weight.detach().clone())
        module.config.tie_word_embeddings = False  # the stacks share one parameter from the start


def theirs(config):
    scaled = config.scale != 1
    return {"tie_word_embeddings": scaled, "scale_decoder_outputs": scaled,
            "decoder_start_token_id": config.decoder_start_token_id}  # fmt: skip


PUBLISHED = [Published("t5", "T5ForConditionalGeneration", LABELS, OWN, CONFIGS, theirs, mend=mend)]
DECODER = {"decoder", "decoder_positions", "decoder_norm"}
DIRECTORIES = {"T5ForConditionalGeneration": {*DECODER, "lm"}, "T5Model": DECODER, "T5EncoderModel": set()}
LAWS = ["probe"]
VARIANTS = (
    {"feed_forward_proj": "relu", "tie_word_embeddings": True, "scale_decoder_outputs": None},
    {"feed_forward_proj": "gated-gelu_new", "scale_decoder_outputs": True},
    {},
)
SMALL = {"d_kv": 3, "num_decoder_layers": 1}
PARAMETERS = [({**t5.PRESETS[size]}, (), count) for size, count in (
    ("small", 60_506_624), ("base", 222_903_552), ("large", 737_668_096), ("3b", 2_851_598_336),
    ("11b", 11_307_321_344), ("v1_1-small", 76_961_152), ("v1_1-base", 247_577_856), ("v1_1-large", 783_150_080),
    ("v1_1-xl", 2_849_757_184), ("v1_1-xxl", 11_135_332_352))]  # fmt: skip
BATCH = {
    "input_ids": [[2, 9, 5, 11, 3, 7, 1], [2, 6, 10, 3, 1, 0, 0]],
    "attention_mask": [[1] * 7, [1] * 5 + [0] * 2],
    "decoder_input_ids": [[0, 16, 4, 8, 15], [0, 16, 13, 3, 1]],
    "labels": [[16, 4, 8, 15, 1], [16, 13, 3, 1, -100]],
}
SIZES = {"d_kv": 3, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 5}
BIAS = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
FIGURES = [
    Figures(
        "t5",
        {
            "forward/loss": 3.021586523348,
            "gradients/shared.weight": 0.933037253273,
            f"gradients/encoder.{BIAS}": 0.043673774380,
            f"gradients/decoder.{BIAS}": 0.024451730035,
            "gradients/decoder.block.1.layer.1.EncDecAttention.k.weight": 0.126101633295,
            "gradients/encoder.final_layer_norm.weight": 0.141078895308,
        },
        SIZES,
        BATCH,
        values={("last_hidden_state", (0, 4, 0)): -0.7039998789866151},
    ),
    Figures(
        "t5",
        {
            "forward/loss": 3.228766018900,
            "gradients/shared.weight": 1.328243996285,
            f"gradients/encoder.{BIAS}": 0.074350225136,
            f"gradients/decoder.{BIAS}": 0.167934335368,
        },
        {**SIZES, **V1_1},
        BATCH,
    ),
]


def logits(model, **given):
    return objective.predict(t5, model.params, model.config, given, "next_token")


# ---- Relative positions ----------------------------------------------------------------------------------------------
def bucket(offset, both):
    """Of a distance, key - query."""
    first = max(-offset, 0)
    return int(relative.buckets(1, first + offset + 1, both=both, count=32, most=128, first=first)[0, first + offset])


def test_the_table_of_buckets():
    """(a) of B9: T5-REL-1. Both ways all from 91 on share one, one way all from 113 on."""
    # fmt: off
    known = {0: (0, 0), -1: (1, 1), 1: (17, 0), -7: (7, 7), 7: (23, 0), -8: (8, 8), 8: (24, 0), 11: (24, 0),
             12: (25, 0), -15: (9, 15), -16: (10, 16), -32: (12, 21), -64: (14, 26), -100: (15, 30), -128: (15, 31),
             46: (29, 0), 90: (30, 0), 91: (31, 0), -90: (14, 29), -91: (15, 29), -112: (15, 30), -113: (15, 31)}
    # fmt: on
    assert {offset: (bucket(offset, True), bucket(offset, False)) for offset in known} == known


def test_buckets_are_those_of_ports():
    """Every distance within 700, of both stacks, for several sizes."""
    torch, transformers = oracle()
    theirs = transformers.models.t5.modeling_t5.T5Attention._relative_position_bucket
    for count, most in ((32, 128), (32, 64), (16, 100), (8, 20), (6, 5), (64, 512)):
        for both in (True, False):
            ours = relative.buckets(701, 1401, both=both, count=count, most=most, first=700)
            offset = torch.arange(1401)[None] - torch.arange(700, 1401)[:, None]
            assert np.array_equal(ours, theirs(offset, both, count, most).numpy()), (count, most, both)


def test_the_gradient_of_a_table_of_positions_is_the_sum_over_its_layers():
    """(d) of B9: of a table for every layer each entry has a gradient of its own, by differences."""
    model = probed("t5", **OWN, **V1_1)
    batch = example(model)
    gradient = model.loss_backward(model.loss(batch)[1])
    for stack in t5.STACKS:
        name, at = f"{stack}_positions", (1, 2)
        found = []
        for i in range(t5.depth(model.config, stack)):
            values = []
            for sign in (1, -1):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(t5, "t5_layer", moved(model, stack, i, at, sign * 1e-5))
                    values.append(float(model.loss(batch)[0]))
            found.append((values[0] - values[1]) / 2e-5)
        assert min(map(abs, found)) > 1e-4
        assert sum(found) == pytest.approx(gradient[name]["weight"][at], rel=1e-7)


def moved(model, stack, number, at, step):
    """A layer that reads another entry in the table of positions, where it is this one of its stack."""
    layer, seen = t5.t5_layer, {"encoder": -1, "decoder": -1}

    def other(x, bias, memory, p, **given):
        of = "encoder" if memory is None else "decoder"
        seen[of] += 1
        if (of, seen[of]) == (stack, number):
            config, (length, total) = model.config, bias.shape[2:]
            count, most = config.relative_attention_num_buckets, config.relative_attention_max_distance
            places = relative.buckets(length, total, both=of == "encoder", count=count, most=most)
            bias = bias.copy()
            bias[0, at[1]][places == at[0]] += step
        return layer(x, bias, memory, p, **given)

    return other


def test_attention_to_the_source_has_no_positions():
    """Its order is no matter where the encoder's own table says nothing."""
    model, rng = probed("t5", **OWN), np.random.default_rng(0)
    ids, written = rng.integers(0, 29, (2, 7)), rng.integers(0, 29, (2, 5))
    straight = logits(model, input_ids=ids, decoder_input_ids=written)
    assert error(logits(model, input_ids=ids[:, ::-1].copy(), decoder_input_ids=written), straight) > 1e-3
    model.params["encoder_positions"]["weight"][:] = 0
    straight = logits(model, input_ids=ids, decoder_input_ids=written)
    assert error(logits(model, input_ids=ids[:, ::-1].copy(), decoder_input_ids=written), straight) < 1e-12


def test_rows_have_no_end():
    """Far beyond 512, which published configurations call n_positions: what is farther than 128 shares a bucket."""
    model = minibert.create("t5", **t5.PROBE)
    ids = np.arange(600)[None] % 17
    assert model.encode(input_ids=ids, decoder_input_ids=ids[:, :520])["last_hidden_state"].shape == (1, 520, 8)
    assert model.generate(ids, max_new_tokens=10, eos_token_id=None).shape == (1, 11)


# ---- Heads -----------------------------------------------------------------------------------------------------------
def test_logits_with_and_without_the_scale_differ_by_the_root_of_the_width():
    """(e) of B9."""
    model = probed("t5", **OWN)
    given = {name: value for name, value in example(model).items() if name != "labels"}
    plain = logits(replaced(model, scale_decoder_outputs=False), **given)
    assert error(logits(model, **given) * 24**0.5, plain) < 1e-14
    assert (t5.Config().scale, t5.Config(tie_word_embeddings=False).scale) == (512**-0.5, 1.0)


def test_a_matrix_of_its_own_takes_no_part_in_looking_up():
    model = probed("t5", **OWN, **V1_1)
    batch = example(model)
    before = model.encode(**{name: value for name, value in batch.items() if name != "labels"})["last_hidden_state"]
    model.params["lm"]["decoder"]["weight"] += 1.0
    after = model.encode(**{name: value for name, value in batch.items() if name != "labels"})["last_hidden_state"]
    assert np.array_equal(before, after)


def test_labels_make_what_the_decoder_reads():
    """T5-START: the start id, then the labels; -100 is read as padding, and padding as a label is asked for."""
    model = probed("t5", **OWN)
    batch = example(model)
    labels = batch["labels"]
    read = np.concatenate([np.full((4, 1), 3), np.where(labels == -100, 5, labels)[:, :-1]], 1)
    given = {name: value for name, value in batch.items() if name != "decoder_input_ids"}
    loss = model.loss(given)[0]
    assert loss == model.loss({**given, "decoder_input_ids": read})[0]
    asked = np.where(labels == -100, 5, labels)
    assert abs(model.loss({**given, "labels": asked})[0] - loss) > 1e-3
    with pytest.raises(InputError, match="decoder_input_ids are missing"):
        model.encode(input_ids=batch["input_ids"])


def test_ports_make_the_same_of_labels():
    torch, _ = oracle()
    both = pair(PUBLISHED[0], CONFIGS[0], seed=5)
    given = {name: both.batch[name] for name in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        due = both.twin(**{name: torch.from_numpy(value) for name, value in given.items()}).loss.item()
    assert error(both.model.loss(given)[0], due) < 1e-12


# ---- What a token sees -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [2, 5, 16])
def test_a_later_token_changes_no_earlier_logit_by_a_bit(length, dtype):
    rng, model = np.random.default_rng(length), probed("t5", **OWN)
    model.params = tree.map(lambda a: a.astype(dtype), model.params)
    source, ids, mask = rng.integers(0, 29, (3, 6)), rng.integers(0, 29, (3, length)), np.ones((3, length), np.int64)
    given = {"input_ids": source, "decoder_input_ids": ids, "decoder_attention_mask": mask}
    first = logits(model, **given)
    for at in range(1, length):
        other, later = ids.copy(), mask.copy()
        other[:, at:] = (ids[:, at:] + rng.integers(1, 29, ids[:, at:].shape)) % 29
        later[2, at:] = rng.integers(0, 2, length - at)
        second = logits(model, **{**given, "decoder_input_ids": other, "decoder_attention_mask": later})
        assert np.array_equal(second[:, :at], first[:, :at])
        assert not np.array_equal(second[:, at:], first[:, at:])


@pytest.mark.parametrize("side", [0, 1])
def test_padding_of_the_source_changes_nothing_on_either_side(side):
    """Positions are distances: what stands in front moves nothing either."""
    model, rng = probed("t5", **OWN), np.random.default_rng(side)
    source, ids, width = rng.integers(0, 29, (2, 5)), rng.integers(0, 29, (2, 4)), ((0, 0), (0, 4) if side else (4, 0))
    mask = np.pad(np.ones_like(source), width)
    wide = np.where(mask, np.pad(source, width), rng.integers(0, 29, mask.shape))
    padded = logits(model, input_ids=wide, attention_mask=mask, decoder_input_ids=ids)
    assert error(padded, logits(model, input_ids=source, decoder_input_ids=ids)) < 1e-12


# ---- From token to token ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1, 1), (3, 4), (7,), (1, 6)])
@pytest.mark.parametrize("fields", CONFIGS[:2], ids=["1.0", "1.1"])
def test_step_by_step_is_the_whole(fields, cuts):
    model, rng = probed("t5", **{**OWN, **fields}), np.random.default_rng(1)
    source, ids, mask = rng.integers(0, 29, (3, 6)), rng.integers(0, 29, (3, 7)), (np.arange(6) < [[6], [4], [2]]) * 1
    whole = logits(model, input_ids=source, attention_mask=mask, decoder_input_ids=ids)
    state, at = model.start(input_ids=source, attention_mask=mask), 0
    for n in cuts:
        for array in tree.leaves(state):
            array.flags.writeable = False  # a state is never written to
        z, state = model.step(ids[:, at : at + n], state)
        at += n
        assert error(z, whole[:, at - 1]) < 1e-12


SETTINGS = ({}, {"num_beams": 4, "early_stopping": True},
            {"num_beams": 3, "length_penalty": 2.0, "no_repeat_ngram_size": 2})  # fmt: skip


@pytest.mark.parametrize("fields", CONFIGS[:2], ids=["1.0", "1.1"])
@pytest.mark.parametrize("settings", SETTINGS, ids=["greedy", "beams", "others"])
def test_what_is_written_is_what_ports_write(fields, settings, monkeypatch):
    """Token for token, on 100 sources; logits become float32 there, but not here."""
    torch, _ = oracle()
    both = pair(PUBLISHED[0], fields, seed=3)
    rng = np.random.default_rng(7)
    mask = (np.arange(9) < rng.integers(2, 10, 100)[:, None]).astype(np.int64)
    ids = np.where(mask, rng.integers(0, 29, mask.shape), 5)
    given = {"input_ids": ids, "attention_mask": mask}
    chosen = {"max_new_tokens": 12, "eos_token_id": [4, 9, 20, 24], "pad_token_id": 5, **settings}
    chosen |= {"decoder_start_token_id": 3}
    monkeypatch.setattr(torch, "float32", torch.float64)
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        due = both.twin.generate(**tensors, do_sample=False, **chosen).numpy()
    assert 5 < (due[:, -1] == 5).sum() < 100, "rows end at different places"
    assert len(np.unique(due[:, 1])) > 5
    assert np.array_equal(both.model.generate(**given, **chosen), due)


# ---- Files -----------------------------------------------------------------------------------------------------------
SUMMARY = {"summarization": {"early_stopping": True, "length_penalty": 2.0, "max_length": 200, "min_length": 30,
                             "no_repeat_ngram_size": 3, "num_beams": 4, "prefix": "summarize: "}}  # fmt: skip
HUB = {  # as the models' own config.json say them
    "small": {
        "architectures": ["T5ForConditionalGeneration"], "d_ff": 2048, "d_kv": 64, "d_model": 512,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0,
        "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512, "num_heads": 8,
        "num_layers": 6, "output_past": True, "pad_token_id": 0, "relative_attention_num_buckets": 32,
        "task_specific_params": SUMMARY, "vocab_size": 32128,
    },
    "v1_1-small": {
        "architectures": ["T5ForConditionalGeneration"], "d_ff": 1024, "d_kv": 64, "d_model": 512,
        "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0, "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06, "model_type": "t5",
        "num_decoder_layers": 8, "num_heads": 6, "num_layers": 8, "output_past": True, "pad_token_id": 0,
        "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "vocab_size": 32128,
    },
}  # fmt: skip
YOUNGER = {"classifier_dropout": 0.0, "relative_attention_max_distance": 128, "use_cache": True, "dtype": "float32"}


def stored(folder, model, fields, **more):
    """A directory of such config fields, small where the model is."""
    small = {name: getattr(model.config, name) for name in ("d_ff", "d_kv", "d_model", "num_heads", "num_layers",
             "vocab_size", "relative_attention_num_buckets")}  # fmt: skip
    small |= {"num_decoder_layers": model.config.num_decoder_layers} if "num_decoder_layers" in fields else {}
    (folder / "config.json").write_text(json.dumps({**fields, **small}), encoding="utf-8")
    safetensors.write(folder / "model.safetensors", {**model.state_dict(), **more})
    return folder


@pytest.mark.parametrize("size", HUB)
@pytest.mark.parametrize("younger", [False, True])
def test_published_configurations_load_as_they_stand(size, younger, tmp_path):
    """With the tables that published files repeat, and the one of attention to the source, which nothing reads."""
    fields = {name: value for name, value in t5.PRESETS[size].items() if isinstance(value, str | bool)}
    model = probed("t5", d_kv=5, relative_attention_num_buckets=32, eos_token_id=1, **fields)
    model.config = dataclasses.replace(model.config, layer_norm_epsilon=1e-6, dropout_rate=0.1, pad_token_id=0)
    word = model.params["embeddings"]["word"]["weight"]
    more = {f"{stack}.embed_tokens.weight": word for stack in t5.STACKS}
    more["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.zeros((32, 4))
    gated = size.startswith("v1_1")
    given = HUB[size]
    if younger:  # as transformers writes it today
        act = {"dense_act_fn": "gelu_new" if gated else "relu", "is_gated_act": gated, "tie_word_embeddings": True}
        given = {**given, **YOUNGER, **act, "scale_decoder_outputs": not gated}
    loaded = minibert.load(stored(tmp_path, model, given, **more))
    batch = example(model)
    assert loaded.loss(batch)[0] == model.loss(batch)[0]
    assert loaded.config.tie_word_embeddings != gated
    assert (loaded.config.scale == 1) == gated
    assert {field: getattr(t5.Config(**t5.PRESETS[size]), field) for field in ("d_model", "d_ff", "num_heads")} == {
        field: HUB[size][field] for field in ("d_model", "d_ff", "num_heads")}  # fmt: skip


@pytest.mark.parametrize(("fields", "line"), [
    ({"is_gated_act": True}, "'is_gated_act' is True, but feed_forward_proj 'relu'"),
    ({"dense_act_fn": "gelu"}, "'dense_act_fn' is 'gelu', but feed_forward_proj 'relu'"),
    ({"feed_forward_proj": "gated"}, "feed_forward_proj"),
    ({"relative_attention_max_distance": 16}, "allowed: more than 16, half of"),
    ({"relative_attention_num_buckets": 3}, "allowed: 4 or more"),
    ({"decoder_start_token_id": 29}, "allowed: a token id"),
    ({"num_decoder_layers": 0}, "allowed: null, 1 to"),
])  # fmt: skip
def test_what_a_configuration_may_not_say(fields, line, tmp_path):
    model = probed("t5", d_kv=5)
    given = {"feed_forward_proj": "relu", **HUB["small"], **fields}
    folder = stored(tmp_path, model, given)
    text = json.loads((folder / "config.json").read_text(encoding="utf-8")) | fields
    (folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(InputError, match=line):
        minibert.load(folder)


def test_an_encoder_alone(tmp_path):
    """As T5EncoderModel: it encodes; what asks for a decoder is told so."""
    model = probed("t5", **OWN)
    batch = example(model)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    due = model.encode(**given, decoder_input_ids=batch["decoder_input_ids"])["encoder_last_hidden_state"]
    for part in DECODER:
        del model.params[part]
    model.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["architectures"] == ["T5EncoderModel"]
    loaded = minibert.load(tmp_path)
    out = loaded.encode(**given)
    assert list(out) == ["encoder_last_hidden_state"]
    assert np.array_equal(out["encoder_last_hidden_state"], due)
    for ask in (lambda: loaded.loss(batch), lambda: loaded.generate(**given)):
        with pytest.raises(InputError, match="needs the head 'decoder"):
            ask()


# ---- Data ------------------------------------------------------------------------------------------------------------
def test_rows_are_text_of_which_the_gaps_are_written():
    """(c) of B9: what is read and what is written are the text again; the loss takes them as they are."""
    text = [["A text of some words, in which gaps are made.", "Another sentence follows it here."]] * 30
    made = tokenizers.tokenizer(t5.TOKENIZER).train(text[0], 60, lowercase=False, specials=t5.SPECIALS, extra_ids=9)
    recipe = data.Recipe("t5", made, t5.Data(seq_length=24, duplicates=1, masking="dynamic"))
    rows, _ = recipe.instances(text, "train")
    served, first = recipe.corrupted(rows, np.random.default_rng(1)), len(made) - 9
    for whole, read, written in zip(rows["text"], served["input_ids"], served["labels"], strict=True):
        gaps = {}
        for i in written[written >= 0]:
            gaps |= {i: (at := [])} if i >= first else {}
            at += [i] if i < first and i != made.eos_id else []
        ids = [j for i in read for j in (gaps[i] if i >= first else [i]) if j not in (made.pad_id, made.eos_id)]
        assert ids == whole.tolist()
    model = minibert.create("t5", **{**t5.PROBE, "vocab_size": len(made), "pad_token_id": made.pad_id})
    assert np.isfinite(model.loss(served)[0])
    assert (t5.DEFAULTS["optimizer"], t5.DEFAULTS["schedule"]) == ("adafactor", "t5")


def test_what_is_written_is_held_against_its_own_frequencies():
    """Sentinels and ends are among them, so the text's entropy would be no bar."""
    model, held = minibert.create("t5", **t5.PROBE), np.array([[1, 1, 2, -100]])
    model.tokenizer = range(17)
    rows = type("Rows", (), {"__len__": lambda _: 1, "__getitem__": lambda _, at: {"labels": held[at]}})()
    due = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert pretraining._unigram(model, rows, rows) == {"entropy": pytest.approx(due, rel=1e-12)}


def test_what_is_written_says_which_gap_it_fills():
    made = tokenizers.tokenizer(t5.TOKENIZER).train(["Some words."] * 9, 40, specials=t5.SPECIALS, extra_ids=9)
    model = minibert.create("t5", **{**t5.PROBE, "vocab_size": len(made)})
    model.tokenizer = made
    ids = [made.pad_id, made.id("<extra_id_0>"), *made.ids("some"), made.eos_id]
    assert inference._decoded(model, [])(ids) == "<extra_id_0> some"


def test_rounding_of_a_bias_is_rounding():
    """Of one that each head has its own of, and that a mask is added to: floors of the case are those of float32."""
    entries = case.read("t5/published").entries
    tables = [entries[f"gradients/{stack}.{BIAS}"].noise["float32"] for stack in t5.STACKS]
    assert max(tables) < 1e-4 > entries["forward/decoder.block.1"].noise["float32"]


# ---- Initialization --------------------------------------------------------------------------------------------------
def test_the_first_weights_deviate_as_it_says():
    """T5-INIT: every tensor within five deviations of a sample's own."""
    sizes = {"vocab_size": 200, "d_model": 48, "d_kv": 16, "num_heads": 4, "d_ff": 80, "num_layers": 6, **V1_1}
    model = minibert.create("t5", 3, "float64", **sizes, initializer_factor=0.5)
    due = {"shared": 1, "lm_head": 1, "q": (48 * 16) ** -0.5, "k": 48**-0.5, "v": 48**-0.5, "o": 64**-0.5,
           "wi_0": 48**-0.5, "wi_1": 48**-0.5, "wo": 80**-0.5, "relative_attention_bias": 48**-0.5}  # fmt: skip
    for name, value in model.state_dict().items():
        kind = name.split(".")[-2]
        if kind.endswith("layer_norm"):
            assert (value == 0.5).all(), name
            continue
        assert abs(value.std() / (0.5 * due[kind]) - 1) < 5 / (2 * value.size) ** 0.5, name
