"""Longformer: transformers' LongformerForMaskedLM, windows that cover all, what is outside of them, memory."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error, example, pair, probed

import minibert
from minibert import batches, sliding, tree
from minibert.errors import InputError
from minibert.families import longformer
from reference.sliding_attention import sliding_attention

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (350, "a layer of its own, fields of one or a list, dropout by slots, growing out of RoBERTa, maps"),
    "tests": (260, "beside a published class: dense patterns, full attention, memory, what is outside, maps"),
    "mistakes": (220, "windows, global tokens and their projections, which no other family has"),
}
WINDOWS = {"attention_window": (4, 6, 4)}


def filled(rng, config, batch):
    """Rows to a multiple of the largest window, as theirs are inside, whose modules else have more rows."""
    values = {"input_ids": config.pad_token_id}
    for name in ("input_ids", "input_mask", "segment_ids", "global_attention_mask"):
        more = [(0, 0), (0, -batch[name].shape[1] % 12)]
        batch[name] = np.pad(batch[name], more, constant_values=values.get(name, 0))


def mend(module, config):
    """Their softmax is in float32, whatever the precision of the model."""
    import transformers.models.longformer.modeling_longformer as theirs

    theirs.nn = _Exact(theirs.nn)


class _Exact:
    """torch.nn with a softmax in the precision of what it gets."""

    def __init__(self, nn):
        self.functional = self
        self._nn = nn

    def __getattr__(self, name):
        return getattr(self._nn, name) if hasattr(self._nn, name) else getattr(self._nn.functional, name)

    def softmax(self, x, dim, dtype=None):
        return self._nn.functional.softmax(x, dim=dim)


def theirs(config):
    return {"attention_window": [*config.attention_window]}


# whose rows they have in front, global queries alone, and the query divided in its place
TURNED = tuple(f"longformer.encoder.layer.{i}.attention.self.{name}{part}" for i in range(3)
               for name in ("query", "key", "value") for part in ("", "_global"))  # fmt: skip
PUBLISHED = [Published("longformer", "LongformerForMaskedLM", {"labels": "masked_lm"}, WINDOWS, theirs=theirs,
                       mend=mend, edit=filled, several=TURNED)]  # fmt: skip
DIRECTORIES = {"LongformerForMaskedLM": {"mlm"}, "LongformerModel": {"pooler"}}
VARIANTS = ({}, {"attention_window": 4, "attention_dilation": 1}, {"tie_word_embeddings": False})
SMALL = {"attention_window": 2, "attention_dilation": (1, 2)}
PARAMETERS = [
    ({}, ("mlm",), 148_659_456),
    ({}, ("pooler",), 148_711_257),
    (longformer.PRESETS["large"], ("mlm",), 434_600_960),
]
FIGURES = [
    Figures(
        "longformer",
        {
            "forward/loss": 3.080383990231,
            "gradients/longformer.embeddings.word_embeddings.weight": 1.491389517539,
            "gradients/longformer.encoder.layer.0.attention.self.query_global.weight": 0.065858181621,
        },
        {"attention_window": 4},
        {
            "input_ids": [[0, 9, 5, 11, 3, 7, 4, 2], [0, 6, 10, 3, 12, 2, 1, 1]],
            "input_mask": [[1] * 8, [1] * 6 + [0] * 2],
            "global_attention_mask": [[1, 0, 0, 0, 0, 0, 1, 0], [1] + [0] * 7],
            "segment_ids": [[0] * 8] * 2,
            "masked_lm_positions": [[1, 3], [2, 4]],
            "masked_lm_ids": [[9, 11], [10, 12]],
            "masked_lm_weights": [[1.0, 1.0], [1.0, 1.0]],
        },
    )
]


def without(batch, *names):
    return {name: array for name, array in batch.items() if name not in ("dropout", *names)}


# ---- What a conformance test should show -----------------------------------------------------------------------------
def test_it_is_dense_attention_over_a_pattern():
    """w 2, eight tokens, one global, two padding."""
    rng = np.random.default_rng(0)
    qkv = {name: {"weight": (6, 6), "bias": (6,)} for name in ("query", "key", "value")}
    p = tree.map(rng.standard_normal, {**qkv, "output": qkv["query"], "global": qkv})
    x = rng.standard_normal((1, 8, 6))
    there, everywhere = np.arange(8)[None] < 6, np.arange(8)[None] == 3
    y, _ = sliding.sliding_attention(x, p, width=3, window=2, seen=sliding.sight(there, everywhere))
    lists = tree.map(np.ndarray.tolist, p), 3, 2, there.tolist(), everywhere.tolist()
    assert error(y, np.array(sliding_attention(x.tolist(), *lists))) < 1e-14


@pytest.mark.parametrize("length", [5, 11])
def test_windows_that_cover_everything_are_full_attention(length):
    """And global projections that are copies: RoBERTa, forward and gradient, whatever is global."""
    full = probed("roberta", num_attention_heads=3, max_position_embeddings=19)
    p, config = longformer.extended(full.params, full.config, 13, attention_window=2 * length)
    model = minibert.model.Model("longformer", config, p, None)
    batch = {name: array[:, :length] if array.shape[1] == 11 else array for name, array in example(full).items()}
    batch["masked_lm_positions"] %= length
    due, cache = full.loss(batch)
    truth = tree.flatten(full.loss_backward(cache))
    for everywhere in (np.zeros((4, length), int), np.ones((4, length), int)):
        loss, cache = model.loss({**batch, "global_attention_mask": everywhere})
        assert error(loss, due) < 1e-13
        found = tree.flatten(model.loss_backward(cache))
        largest = max(np.abs(g).max() for g in truth.values())
        for path, g in truth.items():
            both = path.replace("attention.", "attention.global.")
            mine = found[path] + (found[both] if both in found and both != path else 0)
            assert error(mine, g, largest) < 1e-12 or path.endswith("key.bias"), path


def test_a_model_is_made_of_robertas():
    """Row 514 is row 2, rows 0 and 1 stay; what is global begins as the rest, in memory of its own."""
    full = probed("roberta", pad_token_id=1, max_position_embeddings=514, num_hidden_layers=1)
    p, config = longformer.extended(full.params, full.config, 2048)
    table = p["embeddings"]["position"]["weight"]
    assert config.max_position_embeddings == len(table) == 2050
    assert np.array_equal(table[:514], full.params["embeddings"]["position"]["weight"])
    assert np.array_equal(table[514:1026], table[2:514])
    own = p["encoder"][0]["attention"]
    assert np.array_equal(own["global"]["key"]["weight"], own["key"]["weight"])
    assert not np.shares_memory(own["global"]["key"]["weight"], own["key"]["weight"])


@pytest.mark.parametrize("dilation", [1, 2, (1, 2, 3, 1)])
def test_what_is_outside_of_the_window_changes_no_bit_and_gets_no_gradient(dilation):
    model = probed("longformer", num_hidden_layers=1, attention_window=4, attention_dilation=dilation,
                   max_position_embeddings=46)  # fmt: skip
    rng, reach = np.random.default_rng(0), 2 * np.max(dilation)
    ids = rng.integers(6, 29, (2, 40))
    everywhere = (np.arange(40) == 7)[None].repeat(2, 0).astype(int)
    given = {"attention_mask": np.ones_like(ids), "global_attention_mask": everywhere}
    first = model.encode(ids, **given)["last_hidden_state"]
    for at in (0, 20, 39):
        others = ids.copy()
        others[:, at] = ids[:, at] % 23 + 6
        changed = (model.encode(others, **given)["last_hidden_state"] != first).any(-1)
        near = abs(np.arange(40) - at) <= reach
        near[7] = True  # it sees all
        assert not changed[:, ~near].any()
        assert changed[:, [at, 7]].all()
    out, c = longformer.encode(model.params, model.config, {"input_ids": ids, **given})
    dout = np.zeros_like(out["last_hidden_state"])
    dout[:, 20] = rng.standard_normal(dout[:, 20].shape)
    g = longformer.encode_backward({"last_hidden_state": dout}, c)["embeddings"]["position"]["weight"]
    used = g[6:].any(1)  # positions 0 … 39
    assert not used[(abs(np.arange(40) - 20) > reach) & (np.arange(40) != 7)].any()
    assert used[[20, 7]].all()


# ---- Memory ----------------------------------------------------------------------------------------------------------
def test_what_is_kept_grows_with_the_length():
    """By counted sizes of a loss's cache: twice the text, twice the numbers; no array is (T, T)."""
    def kept(length):
        model = minibert.create("longformer", **{**longformer.QUICK, "vocab_size": 50, "attention_window": 16,
                                                 "max_position_embeddings": length + 2})  # fmt: skip
        sizes = {"B": 2, "T": length, "M": 4}
        batch = without(batches.example(longformer, model.config, np.random.default_rng(0), sizes))
        batch["global_attention_mask"] = (np.arange(length) < 2).astype(int)[None].repeat(2, 0)
        own = {id(a) for a in tree.leaves(model.params)}
        arrays = {id(a): a for a in leaves(model.loss(batch)[1]["encode"]) if id(a) not in own}
        assert max(a.size for a in arrays.values()) <= 2 * length * max(256, 4 * (2 + 3 * 8))
        return sum(a.size for a in arrays.values())

    assert kept(320) / kept(160) == pytest.approx(2, rel=0.02)


def leaves(c):
    if isinstance(c, np.ndarray):
        return [c]
    held = c.values() if isinstance(c, dict) else c if isinstance(c, list | tuple) else ()
    return [leaf for part in held for leaf in leaves(part)]


# ---- Global tokens, padding, maps ------------------------------------------------------------------------------------
def test_rows_need_no_multiple_of_the_window():
    """Theirs are padded to one; more padding changes nothing."""
    model = probed("longformer", **WINDOWS)
    batch = example(model, length=11)
    due = float(model.loss(batch)[0])
    wider = dict(batch)
    filled(None, model.config, wider)
    assert wider["input_ids"].shape[1] == 12
    assert error(model.loss(wider)[0], due) < 1e-13


def test_padding_is_never_global_and_has_no_context():
    model = probed("longformer", **WINDOWS)
    batch = example(model)
    seen = sliding.sight(batch["input_mask"], np.ones((4, 11), int))
    assert np.array_equal(seen.everywhere, batch["input_mask"] == 1)
    out, c = longformer.encode(model.params, model.config, {"input_ids": batch["input_ids"],
                               "attention_mask": batch["input_mask"]})  # fmt: skip
    context = c["encoder"][0]["attention"]["output"]["x"]
    assert not context[batch["input_mask"] == 0].any()
    assert out["attentions"][0][batch["input_mask"][:, None].repeat(4, 1) == 1].sum(-1) == pytest.approx(1)


def test_maps_of_the_window_and_of_all():
    """Who attends to whom, (T, T), is dense attention's over the pattern."""
    model = probed("longformer", num_hidden_layers=1, attention_window=4, attention_dilation=(1, 2, 1, 3))
    batch = example(model)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["input_mask"],
              "global_attention_mask": batch["global_attention_mask"]}  # fmt: skip
    c = longformer.encode(model.params, model.config, inputs)[1]
    seen, own = sliding.sight(batch["input_mask"], batch["global_attention_mask"]), c["encoder"][0]["attention"]
    rows = [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(4)]
    maps = np.stack([longformer.maps(model.config, row, model.encode(**row))["encoder.0"] for row in rows])
    p = model.params["encoder"][0]["attention"]["value"]
    v = (own["value"]["x"] @ p["weight"].T + p["bias"]).reshape(4, 11, 4, 6).swapaxes(1, 2)
    local = (maps @ v).swapaxes(1, 2).reshape(4, 11, 24)
    chosen = (batch["input_mask"] == 1) & (seen.everywhere == 0)
    assert error(own["output"]["x"][chosen], local[chosen]) < 1e-13


def test_what_a_window_may_be_is_said():
    wrong = [("attention_window", value) for value in (3, 0, (4, 4))] + [("attention_dilation", 0)]
    for name, value in (*wrong, ("attention_dilation", (1, 1))):
        with pytest.raises(InputError, match=f"config field '{name}' is .*; allowed: one, or a list of 12"):
            minibert.create("longformer", **{name: value})
    with pytest.raises(InputError, match="15 tokens a row, but max_position_embeddings is 16, of which 14 are for"):
        probed("longformer", pad_token_id=1, max_position_embeddings=16).encode(np.full((1, 15), 7))


def test_a_planted_fault_is_seen(monkeypatch):
    both = pair(PUBLISHED[0], {"hidden_act": "relu"})
    monkeypatch.setattr(longformer, "window", lambda config, i: config.attention_window[i])
    assert error(both.model.loss(both.batch)[0], both.terms()["masked_lm"].item()) > 1e-9
