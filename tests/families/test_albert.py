"""ALBERT: layers that are used several times, their names, their dropout, and what one step of LAMB does to them."""

import dataclasses

import numpy as np
import pytest
from figures import TEXT, Figures, model
from published import Published, error, example, oracle, pair, probed, worst

import minibert
import reference
from minibert import objective, optim, pretraining, training, tree
from minibert.config import to_fields
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import albert, bert

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (310, "four modes of sharing, and groups"),
    "tests": (265, "sharing against copies, groups as published, names of repeated calls, pairs, LAMB"),
    "mistakes": (211, "what goes wrong where one tensor has several uses, and modules several calls"),
    "double": (65, "the encoder with its groups and the loss, each in a file of the loops' 40 lines"),
    "bytes of golden cases": (1_100_000, "a case for each mode of sharing"),
}

GROUPS = {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2}
LAWS = ["groups"]
PUBLISHED = [
    Published(
        "albert",
        "AlbertForPreTraining",
        labels={"labels": "masked_lm", "sentence_order_label": "sentence_order"},
        fields=GROUPS,
        configs=(
            {},
            {"hidden_act": "gelu", "num_hidden_layers": 3},
            {"hidden_act": "gelu", "num_hidden_layers": 4, "inner_group_num": 1},
            {"hidden_act": "relu", "tie_word_embeddings": False, "inner_group_num": 1},
            {"embedding_size": 24, "num_hidden_layers": 2, "num_hidden_groups": 1},
            {"num_hidden_layers": 3, "sharing": "none"},
        ),
        theirs=lambda config: {"num_hidden_groups": config.num_hidden_layers} if config.sharing == "none" else {},
    )
]
DIRECTORIES = {
    "AlbertForPreTraining": {"pooler", "mlm", "sop"},
    "AlbertForMaskedLM": {"mlm"},
    "AlbertModel": {"pooler"},
}
RUNS = [
    ({"masking": "dynamic", "dropout_steps": 6}, {**GROUPS, "num_hidden_layers": 3}),
    ({}, {**GROUPS, "num_hidden_layers": 3, "sharing": "attention"}),
]
VARIANTS = tuple({"sharing": sharing} for sharing in albert.SHARING)
SMALL = {"num_hidden_layers": 2, "num_hidden_groups": 1}
SQUARE = {"embedding_size": 768, "square_map": False}
PARAMETERS = [
    *((albert.PRESETS[size], ("mlm", "sop"), count) for size, count in (
        ("base", 11_683_584), ("large", 17_683_968), ("xlarge", 58_724_864), ("xxlarge", 222_595_584))),
    ({}, (), 11_813_810),
    ({}, ("pooler", "sop"), 11_221_680),
    *(({"sharing": sharing, **square}, ("mlm", "sop"), count) for sharing, square, count in (  # the paper's table 4
        ("all", {}, 11_683_584), ("all", SQUARE, 31_114_752), ("attention", {}, 63_647_232),
        ("attention", SQUARE, 83_078_400), ("ffn", {}, 37_686_528), ("ffn", SQUARE, 57_117_696),
        ("none", {}, 89_650_176), ("none", SQUARE, 109_081_344))),
]  # fmt: skip
LAYER = "gradients/albert.encoder.albert_layer_groups"
LAST = [-1.269566691153, 0.698674901966, -0.379043369795, -0.346837323165,
        -0.052881584672, 0.520998237737, -0.789755658892, 0.748368213773]  # fmt: skip
POOLED = [-0.447615706987, 0.749335889192, 0.14266388871, 0.402881018687,
          0.488954917497, -0.350235759415, -0.809378133257, 0.529191076858]  # fmt: skip
LOGITS = [1.440786709316, -0.246855644868, 1.583771113429, 0.915589708716, -1.867211266521, 0.682095362378]
FIGURES = [
    Figures(
        "albert",
        {
            "forward/loss": 3.80340771417,
            "gradients/albert.embeddings.word_embeddings.weight": 1.53742706528,
            "gradients/albert.encoder.embedding_hidden_mapping_in.weight": 2.100347931724,
            f"{LAYER}.0.albert_layers.1.attention.query.weight": 0.901372032518,
            f"{LAYER}.1.albert_layers.0.ffn.weight": 0.904285079507,
        },
        {**GROUPS, "num_hidden_layers": 4, "embedding_size": 4},
        {**TEXT, "sentence_order_labels": [1, 0]},
        values={("last_hidden_state", (0, 0)): LAST, ("pooler_output", 1): POOLED},
    )
]


def test_the_figures_of_the_loops_and_of_the_logits():
    tiny = model(FIGURES[0])
    p, config = tree.map(np.ndarray.tolist, tiny.params), to_fields(tiny.config)
    given = (TEXT[name] for name in ("input_ids", "input_mask", "segment_ids"))
    x = reference.double("albert_encode")(p, config, *given)
    assert x[0][0] == pytest.approx(LAST, abs=1e-11)
    assert reference.double("pooler")(x, p["pooler"])[1] == pytest.approx(POOLED, abs=1e-11)
    inputs = {"input_ids": np.array(TEXT["input_ids"]), "token_type_ids": np.array(TEXT["segment_ids"])}
    logits = objective.predict(albert, tiny.params, tiny.config, inputs, "masked_lm", (0, [1]))
    assert logits[0, :6] == pytest.approx(LOGITS, abs=1e-11)
    assert len(tiny.state_dict()) == 80


# ---- Against the published implementation: faults that it would show -------------------------------------------------
@pytest.mark.parametrize("wrong", [lambda a, b: b, lambda a, b: tree.map(lambda x, y: (x + y) / 2, a, b)])
def test_a_gradient_that_forgets_a_use_is_caught(wrong, monkeypatch):
    """The last use alone, or the mean over the uses."""
    both = pair(PUBLISHED[0], {})
    sum(both.terms().values()).backward()
    theirs = {name: p.grad.numpy() for name, p in both.twin.named_parameters() if p.grad is not None}
    cache = both.model.loss(both.batch)[1]
    monkeypatch.setattr(albert.tree, "add", wrong)
    assert worst(both.model.state_dict(both.model.loss_backward(cache)), theirs) > 1e-3


@pytest.mark.parametrize("planted", ["groups", "map", "swapped"])
def test_a_shifted_twin_is_caught(planted):
    both = pair(PUBLISHED[0], {})
    encoder, loss = both.twin.albert.encoder, both.model.loss(both.batch)[0]
    if planted == "groups":
        encoder.config.num_hidden_layers = 4
    if planted == "map":
        torch, _ = oracle()
        encoder.embedding_hidden_mapping_in = torch.nn.Sequential(encoder.embedding_hidden_mapping_in, torch.nn.Tanh())
    if planted == "swapped":
        both.batch["sentence_order_labels"] = 1 - both.batch["sentence_order_labels"]
    assert error(loss, sum(both.terms().values()).item()) > 1e-9


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
            used = [attention for attention, _ in entries(num_hidden_layers=depth, num_hidden_groups=groups)]
            assert sorted(set(used)) == list(range(groups))
            assert used == sorted(used)
    rounded = [attention for attention, _ in entries(num_hidden_layers=18, num_hidden_groups=14)]
    assert rounded[9] == 6 < 9 * 14 // 18  # as published: 9 / (18 / 14) is less than 7 in float64


@pytest.mark.parametrize("sharing", ["all", "attention", "ffn"])
def test_sharing_is_an_unshared_model_with_copied_weights(sharing):
    """Equal losses; the gradient of a shared tensor is the sum of its copies' gradients."""
    shared = probed("albert", 4, **GROUPS, sharing=sharing)
    batch = example(shared)
    copies = dataclasses.replace(shared.config, sharing="none")
    entries = zip(albert.uses(shared.config), albert.uses(copies), strict=True)
    where = [(part, use[part], copy[part]) for use, copy in entries for part in albert.PARTS]
    encoder = [{} for _ in range(10)]
    for part, i, k in where:
        encoder[k][part] = shared.params["encoder"][i][part]
    apart = minibert.Model("albert", copies, {**shared.params, "encoder": encoder})
    assert len(tree.leaves(apart.params)) > len(tree.leaves(shared.params))
    (loss, cache), (copied_loss, copied_cache) = shared.loss(batch), apart.loss(batch)
    assert loss == copied_loss
    ours, theirs = shared.loss_backward(cache), apart.loss_backward(copied_cache)
    total = tree.zeros_like(shared.params["encoder"])
    for part, i, k in where:
        total[i][part] = tree.add(total[i][part], theirs["encoder"][k][part])
    for path, value in tree.items(total):
        assert np.abs(value - tree.get(ours["encoder"], path)).max() <= 1e-12 * np.abs(value).max(), path


def test_dropout_masks_have_their_places():
    """Each of the published places, and the release's, changes the loss; no other name is taken."""
    rates = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "classifier_dropout_prob": 0.25}
    published = probed("albert", 5, **GROUPS, **rates)
    batch, rng = example(published), np.random.default_rng(0)
    plain = published.loss(batch)[0]
    release = dataclasses.replace(published.config, feed_forward_dropout=True)
    fewer, places = (albert.dropouts(c, {"B": 4, "T": 11}) for c in (published.config, release))
    assert (len(fewer), len(places)) == (2 + 2 * 10, 2 + 3 * 10)
    assert "albert.encoder.albert_layer_groups.1.albert_layers.0.attention.output_dropout@1" in fewer
    for name, (shape, rate) in places.items():
        masks = {name: rng.random(shape) >= rate}
        loss = minibert.Model("albert", release, published.params).loss({**batch, "dropout": masks})[0]
        assert abs(loss - plain) > 1e-6, name
        if name not in fewer:
            with pytest.raises(InputError, match="unknown dropout mask"):
                published.loss({**batch, "dropout": masks})


def test_without_a_map():
    square = probed("albert", 6, embedding_size=24, square_map=False)
    assert "map" not in square.params.keys() | square.loss_backward(square.loss(example(square))[1]).keys()
    assert "map" in probed("albert", square_map=False).params


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_hidden_groups", 6), ("num_hidden_groups", 0), ("inner_group_num", 205), ("embedding_size", 0),
     ("sharing", "fnn"), ("classifier_dropout_prob", 1.5), ("num_attention_heads", 5)],
)  # fmt: skip
def test_impossible_configurations_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        probed("albert", **{**GROUPS, field: value})


# ---- Training --------------------------------------------------------------------------------------------------------
def test_lamb_moves_a_shared_tensor_once_by_its_share():
    """A step of lr 0.01 changes each adapted tensor by a hundredth of its norm, however often it is used."""
    shared = probed("albert", 7, **GROUPS)
    before = tree.map(np.copy, shared.params)
    gradient = shared.loss_backward(shared.loss(example(shared))[1])
    decay = optim.decay_rates(shared.module.names(shared.config), 0.01)
    optim.lamb(shared.params, gradient, optim.bert_adam_state(before), lr=0.01, decay=decay)
    for path, old in tree.items(before):
        moved = np.linalg.norm(tree.get(shared.params, path) - old) / np.linalg.norm(old)
        adapted = not path.endswith("bias") and path.split(".")[-2] != "norm"
        assert adapted == (decay[path] > 0), path
        assert moved == pytest.approx(0.01, rel=1e-9) if adapted else abs(moved / 0.01 - 1) > 1e-3, path


@pytest.mark.parametrize(("preset", "rate"), [("quick", 5e-3), ("base", 5e-3)])
def test_lambs_rate_does_not_scale_with_the_width(preset, rate):
    options, fields = pretraining._preset(preset, albert)
    assert (options["optimizer"], options["learning_rate"]) == ("lamb", rate)
    assert pretraining._preset("base", bert)[0]["learning_rate"] == 0.128 / 768
    assert fields.get("embedding_size", 128) == (32 if preset == "quick" else 128)
    assert albert.Config() == albert.Config(**albert.PRESETS["base"])


# ---- Data ------------------------------------------------------------------------------------------------------------
DOCUMENTS = [[[int(i) for i in range(20 * d + 7 * s + 5, 20 * d + 7 * s + 12)] for s in range(9)] for d in range(30)]
VOCABULARY = Vocabulary(800, 2, 3, 4, 0, np.arange(800) % 3 == 1, (0, 1, 2, 3, 4))


def rows(**given):
    options = albert.Data(seq_length=32, duplicates=3, short_rate=0.0, **given)
    return albert.rows(DOCUMENTS, np.random.default_rng(0), VOCABULARY, options)


def test_pairs_are_in_order_or_swapped():
    """The second segment continues the first, or the first the second where the label is 1."""
    found = rows()
    ends = [(row[0], row[-1]) for row in (ids[ids > 4] for ids in found["input_ids"])]
    labels = found["sentence_order_labels"]
    assert 0.3 < labels.mean() < 0.7
    assert all((last < first) == label for (first, last), label in zip(ends, labels, strict=True))
    assert set(np.unique(found["segment_ids"])) == {0, 1}


def test_the_other_pairs_are_berts():
    """The same network on next-sentence pairs: label 1 is a random segment."""
    theirs = makers.pairs(DOCUMENTS, np.random.default_rng(0), VOCABULARY, 32, 0.0, 3)
    found = rows(format="next-sentence")
    assert (found["sentence_order_labels"] == theirs["next_sentence_labels"]).all()
    assert (found["input_ids"] == theirs["input_ids"]).all()


def test_dropout_is_removed_after_its_step(corpus, tmp_path):
    """Another rate changes what follows; from step 5 on none is drawn."""
    fields = {"hidden_size": 8, "embedding_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 12, "hidden_dropout_prob": 0.1}  # fmt: skip
    given = {"steps": 8, "batch_size": 4, "seq_length": 16, "vocab_size": 300, "duplicates": 1, "held_out": 0.2}
    drawn = []
    for until in (5, 0):
        run = pretraining.pretrain("albert", [corpus / "text.txt"], tmp_path / f"until-{until}", fields=fields,
                                   dropout_steps=until, **given)  # fmt: skip
        drawn.append([entry["loss"] for entry in training.read_log(run / "log.jsonl")])
    assert drawn[0][:5] == drawn[1][:5]
    assert all(a != b for a, b in zip(drawn[0][5:], drawn[1][5:], strict=True))
