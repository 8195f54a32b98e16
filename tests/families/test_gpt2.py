"""GPT-2: transformers' GPT2LMHeadModel, what is its own in the network, and the state from token to token."""

import dataclasses
import json

import numpy as np
import pytest
from figures import TEXT, Figures
from published import FIELDS, Published, error, example, oracle, own, pair, probed, replaced

import minibert
from minibert import gradcheck, layers, objective, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import gpt2

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (380, "no kin's configuration or places, and a state that goes on from token to token"),
    "tests": (320, "beside a published class: the state, prefixes to the bit, first weights, old files"),
    "cases": (70, "what is generated, and rows padded at their start, beside the cases that all families have"),
    "mistakes": (475, "the first causal decoder: 33 entries, half of them those of every one to come"),
}

LAWS = ["probe"]
LABELS = {"labels": "next_token"}
SCALES = (
    {"activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    {"activation_function": "gelu_new", "scale_attn_weights": False},
    {"activation_function": "relu", "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True,
     "tie_word_embeddings": False},
)  # fmt: skip
IDS = {"embd_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2, "n_positions": 17}


def given(rng, config, batch):
    """Token types, which are words, positions of each row's own, and padding on the left."""
    mask = batch["attention_mask"][:, ::-1].copy()
    batch |= {"attention_mask": mask, "labels": np.where(mask, batch["input_ids"], -100)}
    batch["position_ids"] = np.maximum(mask.cumsum(1) - 1, 0) + rng.integers(0, 5, (len(mask), 1))
    batch["token_type_ids"] = rng.integers(0, config.vocab_size, mask.shape)


# reorder_and_upcast_attn makes ports compute scores in float32: a test below has it
PORTS = {"configs": SCALES, "theirs": lambda config: {"reorder_and_upcast_attn": False}}
PUBLISHED = [
    Published("gpt2", "GPT2LMHeadModel", LABELS, IDS, **PORTS),
    Published("gpt2", "GPT2LMHeadModel", LABELS, {**IDS, "n_inner": None}, edit=given, **PORTS),
]
DIRECTORIES = {"GPT2LMHeadModel": {"lm"}, "GPT2Model": set()}
VARIANTS = (
    {"tie_word_embeddings": True, "scale_attn_weights": True, "initialization": "paper", "n_inner": None},
    {"scale_attn_by_inverse_layer_idx": False},
    {},
)
SMALL = {"n_positions": 6, "n_layer": 2}
PARAMETERS = [
    ({}, (), 124_439_808),
    ({"tie_word_embeddings": False}, ("lm",), 124_439_808),
    *(({**gpt2.PRESETS[size]}, (), count)
      for size, count in (("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200))),
]  # fmt: skip
BATCH = {
    "input_ids": TEXT["input_ids"],
    "attention_mask": TEXT["input_mask"],
    "labels": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, -100]],
}
LAST = (1.005945113292532, 1.206783060939750, -0.897587549736493)
TYPES = {**BATCH, "token_type_ids": [[1] * 4 + [3] * 4] * 2, "position_ids": [[*range(3, 11)]] * 2}
FIGURES = [
    Figures(
        "gpt2",
        {
            "forward/loss": 3.134270894538,
            "gradients/transformer.wte.weight": 0.913826871774,
            "gradients/transformer.wpe.weight": 0.410043112297,
            "gradients/transformer.h.0.attn.c_attn.weight": 0.358820156738,
            "gradients/transformer.h.1.mlp.c_proj.weight": 0.250201384161,
            "gradients/transformer.ln_f.weight": 0.303605293496,
        },
        batch=BATCH,
        values={("last_hidden_state", (0, 7, i)): value for i, value in enumerate(LAST)},
    ),
    Figures("gpt2", {"forward/loss": 3.079742821968}, {"scale_attn_weights": False}, BATCH),
    Figures("gpt2", {"forward/loss": 3.136698855529}, {"scale_attn_by_inverse_layer_idx": True}, BATCH),
    Figures("gpt2", {"forward/loss": 3.570188509745}, {"tie_word_embeddings": False}, BATCH),
    Figures("gpt2", {"forward/loss": 2.905183733755, "gradients/transformer.wte.weight": 0.982105774742}, batch=TYPES),
]


def logits(model, **given):
    return objective.predict(gpt2, model.params, model.config, given, "next_token")


# ---- Beside the published one ----------------------------------------------------------------------------------------
def test_no_field_stays_at_its_default():
    """Over the comparisons above; `initialization` is in no equation."""
    default, moved = gpt2.Config(), set()
    for one in PUBLISHED:
        for config in one.configs:
            made = gpt2.Config(**{**own(gpt2, FIELDS), **one.fields, **config})
            moved |= {field.name for field in dataclasses.fields(made)
                      if getattr(made, field.name) != getattr(default, field.name)}  # fmt: skip
    assert {field.name for field in dataclasses.fields(default)} - moved == {"initialization"}


def test_the_order_of_rounding_is_no_matter_here():
    """`reorder_and_upcast_attn`: no bit of ours; ports, which refuse it in float64, differ by float32's rounding."""
    torch, _ = oracle()
    both = pair(PUBLISHED[0], {"reorder_and_upcast_attn": True})
    ours = logits(both.model, input_ids=both.batch["input_ids"])
    plain = replaced(both.model, reorder_and_upcast_attn=False)
    assert np.array_equal(logits(plain, input_ids=both.batch["input_ids"]), ours)
    for block in both.twin.transformer.h:
        block.attn.reorder_and_upcast_attn = True
    with torch.no_grad():
        theirs = both.twin.float()(torch.from_numpy(both.batch["input_ids"])).logits.numpy()
    assert error(theirs, ours) < 1e-4


def test_positions_that_begin_again_are_positions_alone():
    """GPT2-EMB-3."""
    torch, _ = oracle()
    both, places = pair(PUBLISHED[0], SCALES[0]), np.array([[*range(5), *range(6)]] * 4)
    given = {"input_ids": both.batch["input_ids"], "position_ids": places}
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    with torch.no_grad():
        packed = both.twin(**tensors, use_cache=False).logits.numpy()
        alone = both.twin(**tensors, use_cache=False, attention_mask=torch.ones(4, 11)).logits.numpy()
    ours = logits(both.model, **given)
    assert error(ours, alone) < 1e-12
    assert error(ours[:, :5], packed[:, :5]) < 1e-12 < 1e-3 < error(ours[:, 5:], packed[:, 5:])


def _upright(both):
    for block in both.twin.transformer.h:
        block.attn.c_proj.weight.data = block.attn.c_proj.weight.data.T.contiguous()


def _other_thirds(both):
    for block in both.twin.transformer.h:
        block.attn.c_attn.weight.data = block.attn.c_attn.weight.data.roll(24, 1)


def _no_norm(both):
    both.twin.transformer.ln_f = oracle()[0].nn.Identity()


def _one_scale(both):
    for block in both.twin.transformer.h:
        block.attn.scaling = 6**-0.5


FAULTS = {
    "no final norm": _no_norm,
    "labels shifted before": lambda both: both.batch.update(labels=np.roll(both.batch["labels"], -1, 1)),
    "the scale by layer forgotten": _one_scale,
    "a weight as it lies in the file": _upright,
    "thirds of c_attn in another order": _other_thirds,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    both = pair(PUBLISHED[0], SCALES[0])
    loss = both.model.loss(both.batch)[0]
    assert error(loss, both.total().item()) < 1e-12
    FAULTS[fault](both)
    assert error(loss, both.total().item()) > 1e-7


@pytest.mark.parametrize("off", [-1, 1])
def test_a_mask_that_is_off_by_one_is_caught(off, monkeypatch):
    both, causal = pair(PUBLISHED[0], SCALES[0]), layers.causal
    monkeypatch.setattr(layers, "causal", lambda n, total, seen: causal(n, total, seen) & np.tri(n, n, off, bool)
                        if off < 0 else np.tri(n, n, off, bool)[None, None])  # fmt: skip
    assert error(both.model.loss(both.batch)[0], both.total().item()) > 1e-7


# ---- Files -----------------------------------------------------------------------------------------------------------
YOUNGER = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "tie_word_embeddings")


def test_a_bare_file_with_the_masks_of_old_ones(tmp_path):
    """As the hub's own "gpt2", its config too: names without the prefix, no decoder, buffers that no equation reads."""
    model = probed("gpt2")
    batch = example(model)
    model.save(tmp_path)
    tensors = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    assert {"wte.weight", "h.0.attn.c_attn.weight"} <= tensors.keys()
    for i in range(model.config.n_layer):
        tensors[f"h.{i}.attn.bias"] = np.tri(19, dtype=np.float32)[None, None]
        tensors[f"h.{i}.attn.masked_bias"] = np.array(-1e4, np.float32)
    safetensors.write(tmp_path / "model.safetensors", tensors)
    place = tmp_path / "config.json"
    summary = {"type": "cls_index", "use_proj": True, "activation": None, "proj_to_labels": True, "first_dropout": 0.1}
    fields = json.loads(place.read_text(encoding="utf-8")) | {f"summary_{key}": value for key, value in summary.items()}
    fields |= {"n_ctx": 19, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}
    fields = {name: value for name, value in fields.items() if name not in YOUNGER}
    place.write_text(json.dumps(fields), encoding="utf-8")
    assert minibert.load(tmp_path).loss(batch)[0] == model.loss(batch)[0]
    tensors["lm_head.weight"] = tensors["wte.weight"] + 1e-3
    safetensors.write(tmp_path / "model.safetensors", tensors)
    with pytest.raises(InputError, match=r"'lm_head.weight' differs from 'transformer.wte.weight'"):
        minibert.load(tmp_path)


# ---- Initialization --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", gpt2.INITIALIZATIONS)
def test_the_first_weights_deviate_as_it_says(rule):
    """GPT2-INIT: every tensor within five deviations of a sample's own, 1/√(2n) of it; n at least 2048 here."""
    sizes = {"vocab_size": 200, "n_positions": 64, "n_embd": 48, "n_layer": 8, "n_head": 4}
    model = minibert.create("gpt2", 3, "float64", **sizes, initialization=rule)
    residual, position = {"paper": (0.02 / 4, 0.02), "release": (0.02, 0.01)}[rule]  # √(2·8) = 4
    for name, value in model.state_dict().items():
        if name.endswith("bias") or ".ln_" in name:
            assert (value == float(".ln_" in name and name.endswith("weight"))).all(), name
            continue
        due = residual if "c_proj" in name else position if "wpe" in name else 0.02
        assert value.size > 2048
        assert abs(value.std() / due - 1) < 5 / (2 * value.size) ** 0.5, name
        assert abs(value.mean()) < 5 * due / value.size**0.5, name


# ---- What a token sees -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [2, 5, 16])
def test_a_later_token_changes_no_earlier_logit_by_a_bit(length, dtype):
    """(a) of B2: whatever comes later, and whether it is padding; padding on the left sees nothing and is not asked."""
    rng = np.random.default_rng(length)
    model = probed("gpt2", n_positions=16)
    model.params = tree.map(lambda a: a.astype(dtype), model.params)
    ids, mask = rng.integers(0, 29, (3, length)), np.ones((3, length), np.int64)
    mask[1, : length // 2] = 0
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": rng.integers(0, 29, ids.shape)}
    first = logits(model, **given)
    for at in range(1, length):
        others = {name: value.copy() for name, value in given.items()}
        others["input_ids"][:, at:] = (ids[:, at:] + rng.integers(1, 29, ids[:, at:].shape)) % 29
        others["token_type_ids"][:, at:] = 0
        others["attention_mask"][2, at:] = rng.integers(0, 2, length - at)
        seen = np.broadcast_to(mask[:, :at, None] != 0, first[:, :at].shape)
        second = logits(model, **others)
        assert np.array_equal(second[:, :at][seen], first[:, :at][seen])
        assert not np.array_equal(second[:, at:], first[:, at:])


def test_padding_on_the_left_needs_positions():
    """(c) of B2."""
    model, ids = probed("gpt2"), np.array([[7, 9, 11, 13, 9], [8, 6, 7, 10, 12]])
    padded, mask = np.pad(ids, ((0, 0), (3, 0))), np.pad(np.ones_like(ids), ((0, 0), (3, 0)))
    straight = logits(model, input_ids=ids)
    assert error(logits(model, input_ids=padded, attention_mask=mask)[:, 3:], straight) > 1e-2
    counted = np.maximum(mask.cumsum(1) - 1, 0)
    assert error(logits(model, input_ids=padded, attention_mask=mask, position_ids=counted)[:, 3:], straight) < 1e-12


def test_token_types_are_words():
    """One for all is its word's row added to each position's."""
    model = probed("gpt2")
    batch, other = example(model), probed("gpt2")
    other.params["embeddings"]["position"]["weight"] += model.params["embeddings"]["word"]["weight"][21]
    typed = model.loss({**batch, "token_type_ids": np.full_like(batch["input_ids"], 21)})[0]
    assert error(other.loss(batch)[0], typed) < 1e-13
    assert error(model.loss(batch)[0], typed) > 1e-3


# ---- From token to token ---------------------------------------------------------------------------------------------
def prompts(model, rng, read, length=9):
    """Rows padded on the left: not at all, by half of what is read first, by all of it; positions from its first."""
    mask = (np.arange(length) >= np.array([0, read // 2, read])[:, None]).astype(np.int64)
    ids = rng.integers(0, model.config.vocab_size, mask.shape)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": np.maximum(mask.cumsum(1) - 1, 0)}


@pytest.mark.parametrize("fields", [*SCALES, {"n_head": 1}], ids=lambda fields: next(iter(fields)))
@pytest.mark.parametrize(("read", "at_once"), [(5, 1), (8, 1), (3, 2), (0, 4)])
def test_step_by_step_is_the_whole(fields, read, at_once):
    """(b) of B2: whatever `start` has read, nothing too, and however many tokens a step reads."""
    model, rng = probed("gpt2", **fields), np.random.default_rng(read)
    given = prompts(model, rng, read)
    due, ids, run = logits(model, **given), given["input_ids"], (model.params, model.config)
    inputs = {name: given[name][:, :read] for name in ("input_ids", "attention_mask") if read}
    state = gpt2.start(*run, inputs)
    assert bool(state) == bool(read)
    for at in range(read, ids.shape[1], at_once):
        before, read_now = state, ids[:, at : at + at_once]
        for array in tree.leaves(state):
            array.flags.writeable = False  # a state is never written to
        found, state = gpt2.step(*run, read_now, state)
        assert error(found, due[:, at + read_now.shape[1] - 1]) < 1e-12
    order = np.array([2, 0, 0])  # as beams take rows
    taken = gpt2.step(*run, read_now[order], tree.map(lambda a: a[order], before))[0]
    assert error(taken, found[order]) < 1e-14


def test_positions_go_on_from_those_given_and_end_with_the_table():
    model, ids = probed("gpt2"), np.array([[7, 9, 11, 13]])
    places = np.array([[4, 5, 6, 7]])
    due = logits(model, input_ids=ids, position_ids=places)
    state = gpt2.start(model.params, model.config, {"input_ids": ids[:, :3], "position_ids": places[:, :3]})
    assert error(gpt2.step(model.params, model.config, ids[:, 3:], state)[0], due[:, -1]) < 1e-12
    with pytest.raises(InputError, match="21 tokens a row, but n_positions is 19"):
        gpt2.step(model.params, model.config, np.zeros((1, 14), np.int64), state)


def test_the_gradient_of_what_follows_a_past():
    """Truncated: the keys and values of what was read before are data, the parameters' gradient is that of the rest."""
    model, rng = probed("gpt2", **SCALES[2]), np.random.default_rng(5)
    given = prompts(model, rng, 4)
    state = gpt2.start(model.params, model.config, {name: a[:, :4] for name, a in given.items()})
    batch = {"input_ids": given["input_ids"][:, 4:], "attention_mask": given["attention_mask"], "past": state["layers"],
             "position_ids": given["position_ids"][:, 4:], "labels": given["input_ids"][:, 4:]}  # fmt: skip
    for array in tree.leaves(batch):
        array.flags.writeable = False

    def loss(p):
        return objective.loss(gpt2, p, model.config, batch)[0]

    gradient = objective.loss_backward(objective.loss(gpt2, model.params, model.config, batch)[1])
    found = gradcheck.directional(loss, model.params, gradient, rng, 3)
    assert max(found.values()) < gradcheck.DIFFERENCE_BAR, found
    assert not gradient["embeddings"]["position"]["weight"][-5:].any()
