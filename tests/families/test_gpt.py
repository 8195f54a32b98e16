"""The first GPT: transformers' OpenAIGPTLMHeadModel and its double heads, the state, what is its own."""

import copy

import numpy as np
import published
import pytest
from figures import TEXT, Figures
from published import Published, error, example, oracle, pair, probed

import minibert
from minibert import layers, objective, tree
from minibert.errors import InputError
from minibert.families import gpt

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (295, "a configuration and places of its own, rows of one text or of several, two heads"),
    "tests": (200, "beside two published classes: two heads, the state, what is generated"),
    "cases": (50, "both heads, beside the cases that all families have"),
}

CONFIGS = ({"afn": "gelu"}, {"afn": "relu", "tie_word_embeddings": False})
FIELDS = {"embd_pdrop": 0.0, "eos_token_id": 2, "layer_norm_epsilon": 3e-3}


def given(rng, config, batch):
    """Token types, which are words, and positions of each row's own."""
    mask = batch["attention_mask"]
    batch["labels"] = np.where(mask, batch["input_ids"], -100)
    batch["position_ids"] = np.arange(mask.shape[-1]) + rng.integers(0, 5, (*mask.shape[:-1], 1))
    batch["token_type_ids"] = rng.integers(0, config.vocab_size, mask.shape)


def apart(module, config):
    """One activation module for each layer, which share one: so each has a name of its own."""
    for block in module.transformer.h if hasattr(module, "transformer") else ():
        block.mlp.act = copy.deepcopy(block.mlp.act)


def asked(twin, batch):
    """What the class with both heads gives, which wants masks and positions of texts flat."""
    torch, _ = oracle()
    flat = {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in ("attention_mask", "position_ids")}
    return twin(**{name: torch.from_numpy(array) for name, array in {**batch, **flat}.items()})


def both_heads(twin, batch):
    out = asked(twin, batch)
    return {"next_token": out.loss, "choice": out.mc_loss}


PUBLISHED = [
    Published("gpt", "OpenAIGPTLMHeadModel", {"labels": "next_token"}, FIELDS, CONFIGS, mend=apart),
    Published("gpt", "OpenAIGPTLMHeadModel", {"labels": "next_token"}, FIELDS, CONFIGS[:1], edit=given, mend=apart),
]
DOUBLE = Published("gpt", "OpenAIGPTDoubleHeadsModel", {}, {**FIELDS, "double_heads": True, "lm_coef": 0.3}, edit=given,
                   mend=apart, terms=both_heads)  # fmt: skip
DIRECTORIES = {
    "OpenAIGPTLMHeadModel": {"lm"}, "OpenAIGPTModel": set(), "OpenAIGPTDoubleHeadsModel": {"lm", "choice"},
}  # fmt: skip
VARIANTS = ({}, {"tie_word_embeddings": True, "afn": "gelu"}, {"double_heads": True})
SMALL = {"n_positions": 6}
PARAMETERS = [({}, (), 116_534_784), ({"double_heads": True}, (), 116_535_553)]
BATCH = {
    "input_ids": TEXT["input_ids"],
    "attention_mask": TEXT["input_mask"],
    "labels": [[2, 9, 5, 11, 3, 7, 4, 8], [2, 6, 10, 3, 12, 13, 3, -100]],
}
CHOICES = {name: [value] for name, value in BATCH.items()} | {"mc_token_ids": [[7, 6]], "mc_labels": [1]}
FIGURES = [
    Figures(
        "gpt",
        {
            "forward/loss": 4.187172217584,
            "gradients/transformer.tokens_embed.weight": 1.583363397821,
            "gradients/transformer.positions_embed.weight": 0.979005864132,
            "gradients/transformer.h.0.attn.c_attn.weight": 0.924178129893,
            "gradients/transformer.h.1.mlp.c_proj.weight": 0.794706321519,
        },
        batch=BATCH,
    ),
    Figures(
        "gpt",
        {
            "forward/loss": 2.273993392398,
            "gradients/transformer.tokens_embed.weight": 1.762788282787,
            "gradients/multiple_choice_head.summary.weight": 1.760332724797,
        },
        {"double_heads": True},
        CHOICES,
    ),
]


def logits(model, **inputs):
    return objective.predict(gpt, model.params, model.config, inputs, "next_token")


# ---- Two heads -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fields", CONFIGS)
def test_double_heads_beside_the_published_class(fields):
    """Terms, their weighted sum, every gradient; the logits of both heads."""
    published.test_loss_terms_and_every_gradient(DOUBLE, fields)
    both = pair(DOUBLE, fields)
    out = asked(both.twin, both.batch)
    for term, due in (("next_token", out.logits), ("choice", out.mc_logits)):
        found = objective.predict(gpt, both.model.params, both.model.config, both.batch, term)
        assert error(found, due.detach().numpy()) < published.BAR


def test_the_labels_decide_what_is_asked():
    model = probed("gpt", double_heads=True, lm_coef=0.3)
    batch = example(model)
    loss, cache = model.loss(batch)
    language, choice = cache["terms"]["next_token"], cache["terms"]["choice"]
    assert error(loss, choice + 0.3 * language) < 1e-15
    without = {name: {key: batch[key] for key in batch if key != name} for name in ("labels", "mc_labels")}
    assert model.loss(without["labels"])[0] == choice
    assert model.loss(without["mc_labels"])[0] == 0.3 * language
    first = {name: batch[name][:, 0] for name in ("input_ids", "attention_mask", "labels")}
    assert {*model.loss(first)[1]["terms"]} == {"next_token"}  # rows of one text
    with pytest.raises(InputError, match="labels of no term"):
        model.loss({"input_ids": batch["input_ids"]})
    last = {**batch, "mc_token_ids": np.full_like(batch["mc_token_ids"], batch["input_ids"].shape[-1] - 1)}
    del batch["mc_token_ids"]
    assert model.loss(batch)[0] == model.loss(last)[0] != loss
    assert len(model.generate(first["input_ids"][:1, :3], max_new_tokens=2)[0]) == 5


def test_a_mean_over_each_text_is_another_loss():
    """(e) of B1: the release's, where texts differ in length."""
    model = probed("gpt")
    batch = example(model)
    rows = [model.loss({name: array[i : i + 1] for name, array in batch.items()})[0] for i in range(4)]
    assert len({*batch["attention_mask"].sum(1)}) > 1
    assert error(np.mean(rows), model.loss(batch)[0]) > 1e-3


# ---- The network -----------------------------------------------------------------------------------------------------
def test_its_gelu_is_the_tanh_form():
    """(c) of B1."""
    assert round(float(layers.activation(np.array(1.0), name=gpt.ACTS["gelu"])[0]), 5) == 0.84119


def test_no_norm_stands_at_the_end_and_none_behind_the_tables():
    """The last state of each token has the last norm's mean and deviation; the first states are the tables' sum."""
    model = probed("gpt")
    norm = model.params["decoder"][-1]["feed_forward"]["norm"]
    norm["weight"][:], norm["bias"][:] = 1, 0
    out = model.encode(input_ids=[[3, 7, 9]])
    assert np.abs(out["last_hidden_state"].mean(-1)).max() < 1e-15
    assert np.abs(out["last_hidden_state"].var(-1) - 1).max() < 1e-3
    tables = model.params["embeddings"]
    due = tables["word"]["weight"][[3, 7, 9]] + tables["position"]["weight"][:3]
    assert np.array_equal(out["hidden_states"][0][0], due)


def test_a_later_token_changes_no_earlier_logit_by_a_bit():
    """(a) of B1."""
    model, ids = probed("gpt"), np.array([[5, 3, 8, 2, 6]])
    first = logits(model, input_ids=ids)
    for at in range(1, 5):
        other = ids.copy()
        other[:, at:] = 11
        second = logits(model, input_ids=other)
        assert np.array_equal(second[:, :at], first[:, :at])
        assert not np.array_equal(second[:, at:], first[:, at:])


@pytest.mark.parametrize(("read", "at_once"), [(5, 1), (0, 4)])
def test_step_by_step_is_the_whole(read, at_once):
    model, mask = probed("gpt"), (np.arange(9) >= np.array([0, read])[:, None]).astype(np.int64)
    ids = np.random.default_rng(read).integers(0, 29, mask.shape)
    places = np.maximum(mask.cumsum(1) - 1, 0)
    due, run = logits(model, input_ids=ids, attention_mask=mask, position_ids=places), (model.params, model.config)
    inputs = {"input_ids": ids[:, :read], "attention_mask": mask[:, :read]} if read else {}
    state = gpt.start(*run, inputs)
    for at in range(read, 9, at_once):
        for array in tree.leaves(state):
            array.flags.writeable = False
        now = ids[:, at : at + at_once]
        found, state = gpt.step(*run, now, state)
        assert error(found, due[:, at + now.shape[1] - 1]) < 1e-12


def test_generation_is_the_published_class_s():
    torch, _ = oracle()
    both = pair(PUBLISHED[0], CONFIGS[0])
    ids = np.array([[3, 7, 9], [4, 4, 1]])
    for settings in ({}, {"num_beams": 2}):
        given = {"max_new_tokens": 6, "eos_token_id": 2, "pad_token_id": 5, **settings}
        theirs = both.twin.generate(torch.from_numpy(ids), do_sample=False, **given)
        assert np.array_equal(both.model.generate(ids, **given), theirs.numpy())


def test_first_weights_have_one_deviation():
    model = minibert.create("gpt", 3, "float64", vocab_size=200, n_positions=64, n_embd=48, n_layer=4, n_head=4)
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            assert abs(value.std() / 0.02 - 1) < 5 / (2 * value.size) ** 0.5, name
