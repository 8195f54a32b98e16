"""The door of the model: what it accepts, and the one line with which it refuses the rest."""

import numpy as np
import pytest

import minibert
from minibert import InputError, objective, tree
from minibert.families import bert

FIELDS = {**bert.PROBE, "mlm_denominator_eps": 0.0}


@pytest.fixture
def model():
    return minibert.create("bert", **FIELDS)


@pytest.fixture
def batch(model):
    return bert.example(np.random.default_rng(0), model.config)


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ({"input_ids": [[1, 17]]}, r"input_ids\[0, 1\] is 17: not in \[0, 17\)"),
        ({"input_ids": [[1, -1]]}, r"input_ids\[0, 1\] is -1"),
        ({"input_ids": [[1] * 10]}, "10 tokens a row, but max_position_embeddings is 9"),
        ({"input_ids": [1, 2]}, r"input_ids: expected shape \(B, T\), got \(2,\)"),
        ({"input_ids": [[1.0, 2.0]]}, "expected integers, got float64"),
        ({"input_ids": np.zeros((0, 3), int)}, "empty"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids: not an array: the rows differ in length"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1]]}, "T is 2 elsewhere"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 2]]}, r"attention_mask\[0, 1\] is 2: neither 0 nor 1"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[0, 3]]}, r"token_type_ids\[0, 1\] is 3"),
        ({"input_ids": [[1, 2]], "position_ids": [[0, 9]]}, r"position_ids\[0, 1\] is 9"),
        ({"input_ids": [[1, 2]], "atention_mask": [[1, 1]]}, "did you mean 'attention_mask'"),
        ({"input_ids": [[1, 2]], "input_mask": [[1, 1]], "attention_mask": [[1, 1]]}, "both given"),
        ({"input_ids": [[1, 2]], "outputs": ["logits"]}, "unknown output 'logits'"),
        ({}, "lacks 'input_ids'"),
    ],
)
def test_unusable_inputs(model, inputs, line):
    with pytest.raises(InputError, match=line) as error:
        model.encode(**inputs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda b: b.pop("next_sentence_labels"), "lacks 'next_sentence_labels'"),
        (lambda b: b.pop("masked_lm_ids"), "lacks 'masked_lm_ids'"),
        (lambda b: b.update(masked_lm_positions=b["masked_lm_positions"] + 7), "masked_lm_positions"),
        (lambda b: b.update(next_sentence_labels=np.array([0, 1, 2])), r"next_sentence_labels\[2\] is 2"),
        (lambda b: b.update(masked_lm_weights=np.full((3, 3), np.nan)), "not finite"),
        (lambda b: b.update(masked_lm_weights=np.full((3, 3), -1.0)), "negative"),
        (lambda b: b.update(dropout={"bert.embedding.dropout": np.ones((3, 7, 8))}), "did you mean 'bert.embeddings"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.ones((3, 7))}), r"expected shape \(3, 7, 8\)"),
        (lambda b: b.update(dropout=[1]), "dropout: expected a dict"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.full((3, 7, 8), np.nan)}), "expected 0 and 1"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.full((3, 7, 8), 1.25)}), "expected 0 and 1"),
    ],
)
def test_unusable_batches(model, batch, edit, line):
    edit(batch)
    with pytest.raises(InputError, match=line):
        model.loss(batch)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"hiden_size": 8}, "did you mean 'hidden_size'"),
        ({"hidden_size": 10, "num_attention_heads": 4}, "a divisor of hidden_size 10"),
        ({"hidden_act": "swish"}, "allowed: gelu, gelu_new"),
        ({"num_hidden_layers": 0}, "allowed: 1 to"),
        ({"num_hidden_layers": 10**9}, "allowed: 1 to"),
        ({"hidden_dropout_prob": 1.0}, r"allowed: \[0, 1\)"),
        ({"vocab_size": "17"}, "vocab_size"),
        ({"pad_token_id": 99}, "a token id"),
    ],
)
def test_unusable_configs(fields, line):
    with pytest.raises(InputError, match=line):
        minibert.create("bert", **{**FIELDS, **fields})


def test_unknown_families_and_dtypes():
    with pytest.raises(InputError, match="did you mean 'bert'"):
        minibert.create("berd")
    with pytest.raises(InputError, match="float32, float64 or longdouble"):
        minibert.create("bert", dtype="float16", **FIELDS)
    with pytest.raises(InputError, match="dtype 'foo': parameters are float32"):
        minibert.create("bert", dtype="foo", **FIELDS)
    with pytest.raises(InputError, match="seed -1: expected a whole number"):
        minibert.create("bert", seed=-1, **FIELDS)


def test_both_spellings_and_label_shapes(model, batch):
    other = dict(batch)
    other["attention_mask"], other["token_type_ids"] = other.pop("input_mask"), other.pop("segment_ids")
    other["next_sentence_labels"] = other["next_sentence_labels"][:, None]
    assert model.loss(other)[0] == model.loss(batch)[0]


def test_a_forward_alone_has_no_backward(model, batch):
    """Gradients without any of the layers would be silently wrong."""
    loss, cache = model.loss(batch, keep="last")
    assert loss == model.loss(batch)[0]
    with pytest.raises(InputError, match="kept no caches"):
        model.loss_backward(cache)
    with pytest.raises(InputError, match="unknown keep 'input'"):
        model.loss(batch, keep="input")


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_integers_of_any_size(model, batch, dtype):
    other = {name: a.astype(dtype) for name, a in batch.items() if name not in ("dropout", "masked_lm_weights")}
    assert model.loss({**batch, **other})[0] == model.loss(batch)[0]


def test_the_loss_is_the_sum_of_its_terms(model, batch):
    loss, cache = model.loss(batch)
    assert loss.shape == ()
    assert loss == cache["terms"]["masked_lm"] + cache["terms"]["next_sentence"]


@pytest.mark.parametrize("slots", [3, 0])
def test_no_targets(model, batch, slots):
    for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
        batch[name] = batch[name][:, :slots]
    batch["masked_lm_weights"] = np.zeros((3, slots))
    _, cache = model.loss(batch)
    assert cache["terms"]["masked_lm"] == 0
    gradient = model.loss_backward(cache)
    assert not any(a.any() for a in tree.leaves(gradient["mlm"]))
    assert all(np.isfinite(a).all() for a in tree.leaves(gradient))


def test_the_release_s_denominator(batch):
    plain, release = (minibert.create("bert", **{**FIELDS, "mlm_denominator_eps": eps}) for eps in (0.0, 1e-5))
    ratio = release.loss(batch)[1]["terms"]["masked_lm"] / plain.loss(batch)[1]["terms"]["masked_lm"]
    assert ratio == pytest.approx(8 / (8 + 1e-5), rel=1e-6)


def test_the_padding_row_learns_from_lookups_only_in_the_release(batch):
    rows = []
    for rule in (False, True):
        model = minibert.create("bert", **{**FIELDS, "pad_row_gradient": rule}, dtype="float64")
        gradient = model.loss_backward(model.loss(batch)[1])
        rows.append(gradient["embeddings"]["word"]["weight"])
    assert np.abs(rows[0][5] - rows[1][5]).max() > 1e-6
    others = np.arange(17) != 5
    assert np.array_equal(rows[0][others], rows[1][others])
    assert rows[0][5].any()  # the tied decoder's part it does get


def test_a_missing_head_is_named(model, batch):
    del model.params["nsp"]
    with pytest.raises(InputError, match="needs the head 'nsp'"):
        model.loss(batch)
    assert "pooler_output" in model.encode([[1, 2]])


def test_parameter_counts_of_the_published_sizes():
    """From shapes alone, nothing allocated; figures of the published models with their pooler and without heads."""
    counts = {"tiny": 4385920, "mini": 11170560, "small": 28763648, "medium": 41373184, "base": 109482240,
              "large": 335141888}  # fmt: skip
    for name, count in counts.items():
        shapes = objective.shapes(bert, bert.Config(**bert.PRESETS[name]))
        sizes = {part: sum(int(np.prod(s)) for s in tree.leaves(shapes[part])) for part in shapes}
        assert sizes["embeddings"] + sizes["encoder"] + sizes["pooler"] == count, name
        if name == "base":
            assert sum(sizes.values()) == 110106428


def test_initial_weights_are_truncated_normal():
    model = minibert.create("bert", **{**FIELDS, "vocab_size": 20000}, initializer_range=0.02)
    table = model.params["embeddings"]["word"]["weight"]
    assert np.abs(table).max() <= 0.04
    assert table.std() == pytest.approx(0.02 * 0.8796, rel=5e-3)
