"""ERNIE of Tsinghua: the release's network in torch, BERT where it has no such layers, candidates, what is frozen."""

import dataclasses
import math

import numpy as np
import pytest
from published import Published, example, inputs, probed
from twins.ernie_thu import informed, terms

import minibert
from minibert import gradcheck, tree
from minibert import informed as blocks
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import ernie_thu
from minibert.heads import entity
from minibert.pretraining import pretrain

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (330, "two streams of states, three kinds of layers, knowledge and links as data"),
    "double": (75, "an encoder of three kinds of layers, and a loss of three terms"),
    "mistakes": (120, "which slots have an entity, the fusion, candidates, what is frozen"),
    "tests": (160, "no published class to install: equality with BERT where its parts are off, one by one"),
}

LAYERS = {"layer_types": ("sim", "mix", "norm", "norm"), "num_hidden_layers": 4, "entity_size": 10,
          "entity_attention_heads": 5, "num_entities": 13, "entity_gradient": True}  # fmt: skip
OTHERS = {"layer_types": ("norm", "sim", "mix"), "num_hidden_layers": 3, "tie_word_embeddings": False}
PUBLISHED = [
    Published(
        "ernie_thu",
        "BertForPreTraining",
        labels={"masked": "masked_lm", "pairs": "next_sentence", "entities": "entity"},
        fields=LAYERS,
        configs=({"hidden_act": "gelu"}, {"hidden_act": "gelu_new", **OTHERS}),
        twin=informed,
        terms=terms,
    )
]
PARAMETERS = [({}, ("entities",), 114_444_032), ({}, ("mlm", "nsp", "entity", "entities"), 113_742_744)]
SMALL = {"num_hidden_layers": 3, "entity_size": 4, "entity_attention_heads": 2, "num_entities": 5}
VARIANTS = ({}, {"layer_types": ("sim", "norm", "norm")})


def test_with_plain_layers_alone_it_is_bert_to_the_last_bit():
    theirs = probed("bert", 3)
    ours = probed("ernie_thu", 3, layer_types=("sim",) * 3, entity_size=4, num_entities=7)
    for path, value in tree.items(theirs.params):
        tree.get(ours.params, path)[...] = value
    batch = example(ours)
    plain = {name: value for name, value in batch.items() if not name.startswith("entity")}
    ours.params["entity"]["dense"]["weight"][...] = 0  # so that its gradient reaches nothing else
    (_, c), (_, d) = ours.loss(batch), theirs.loss(plain)
    assert {**c["terms"], "entity": None} == {**d["terms"], "entity": None}
    g, due = (tree.flatten(model.loss_backward(cache)) for model, cache in ((ours, c), (theirs, d)))
    assert all(np.array_equal(g[path], due[path]) for path in due)


def test_without_entities_a_mixed_layer_is_bert_s_once_the_bias_is_folded_in():
    """And the released proportions of layers; what is below the first that reads entities doesn't depend on them."""
    ours = probed("ernie_thu", 4, num_entities=7, entity_size=4)
    assert ours.config.layer_types == ("mix", "norm", "norm")
    assert ernie_thu.Config().layer_types == ("sim",) * 5 + ("mix",) + ("norm",) * 6
    ours = probed("ernie_thu", 4, layer_types=("sim", "mix"), num_entities=7, entity_size=4)
    batch = inputs(example(ours))
    first, second = (ours.encode(**{**batch, "entity_ids": ids})["hidden_states"]
                     for ids in (batch["entity_ids"], np.full_like(batch["entity_ids"], -1)))  # fmt: skip
    assert np.array_equal(first[1], second[1])
    assert not np.allclose(first[2], second[2])
    theirs = probed("bert", 4)
    for path, value in tree.items(theirs.params):
        value[...] = tree.get(ours.params, path)
    fed, own = (theirs.params["encoder"][1]["feed_forward"], ours.params["encoder"][1]["entity_feed_forward"])
    fed["in"]["bias"] += own["in"]["bias"]
    plain = {name: value for name, value in batch.items() if name != "entity_ids"}
    assert np.allclose(second[2], theirs.encode(**plain)["hidden_states"][2], rtol=0, atol=1e-12)


def test_the_gradient_of_the_fusion_for_both_streams():
    rng, norm = np.random.default_rng(0), lambda n: {"weight": rng.standard_normal(n), "bias": rng.standard_normal(n)}
    dense = lambda a, b: {"weight": rng.standard_normal((a, b)), "bias": rng.standard_normal(a)}  # noqa: E731
    p = {"feed_forward": {"in": dense(5, 3), "out": dense(3, 5), "norm": norm(3)},
         "entity_feed_forward": {"in": dense(5, 2), "out": dense(2, 5), "norm": norm(2)}}  # fmt: skip
    given = {"act": "gelu", "eps": 1e-2, "rate": 0.25}
    keep = {"tokens": rng.integers(0, 2, (2, 2, 3)), "entities": rng.integers(0, 2, (2, 2, 2))}
    args = {"x": rng.standard_normal((2, 2, 5)), "p": p}
    gradcheck.require(blocks.fusion, blocks.fusion_backward, args, {**given, "keep": keep})


def test_candidates_and_the_none_in_a_toy_batch():
    """Unit vectors, states that say which: the logits are 1 for that one and 0 else, the none's always 0."""
    labels = np.array([[-100, 2, -100], [-100, -100, 0]])
    given = np.array([[-1, 2, -1], [-1, -1, 1]])
    ids = entity.candidates(labels)
    assert ids.tolist() == [[-100, 0, 2]] * 2
    table, p = 3 * np.eye(3), {"dense": {"weight": np.eye(3), "bias": np.zeros(3)},
                               "norm": {"weight": np.zeros(3), "bias": np.array([0.0, 0.0, 1.0])}}  # fmt: skip
    asked = {"entity_labels": labels, "entity_candidates": ids}
    value, c = entity.loss(np.zeros((2, 3, 3)), p, asked, table=table, act="gelu", eps=1e-3, given=given)
    rest = math.log(2 + math.exp(3))  # the third unit alone, against the none and entity 0
    assert value == pytest.approx((rest - 3 + rest) / 2, rel=1e-12)
    correct, counted, classes = entity.right(c)
    assert (correct, counted, classes.tolist()) == (1, 2, [1, 1])
    with pytest.raises(InputError, match="not among those of its row"):
        entity.loss(np.zeros((2, 3, 3)), p, {**asked, "entity_labels": labels + (labels == 2)}, table=table, act="gelu",
                    eps=1e-3)  # fmt: skip


def test_vectors_are_data_unless_they_learn():
    """The gradient of all else has the same bits."""
    ours = probed("ernie_thu", 5, num_entities=7, entity_size=4)
    batch = example(ours)
    frozen = tree.flatten(ours.loss_backward(ours.loss(batch)[1]))
    config = dataclasses.replace(ours.config, entity_gradient=True)
    learning = minibert.Model("ernie_thu", config, ours.params)
    g = tree.flatten(learning.loss_backward(learning.loss(batch)[1]))
    assert g["entities.weight"].any()
    assert not frozen.pop("entities.weight").any()
    assert all(np.array_equal(frozen[path], g[path]) for path in frozen)


def test_files_of_the_release_have_no_vectors(tmp_path):
    ours = probed("ernie_thu", 6, num_entities=7, entity_size=4)
    batch = inputs(example(ours))
    spare = {**ours.params}
    del spare["entities"], spare["entity"]
    minibert.Model("ernie_thu", ours.config, spare).save(tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    unread = {name: np.zeros((4,)) for name in ours.module.unused(ours.config)}  # what the last layer makes of entities
    safetensors.write(tmp_path / "model.safetensors", {**tensors, **unread}, {"format": "pt"})
    again = minibert.load(tmp_path, family="ernie_thu")
    with pytest.raises(InputError, match="has no vectors of entities"):
        again.encode(**batch)
    none = {**batch, "entity_ids": np.full_like(batch["entity_ids"], -1)}
    plain = {name: value for name, value in batch.items() if name != "entity_ids"}
    found = again.encode(**plain)["last_hidden_state"]
    assert np.array_equal(found, ours.encode(**none)["last_hidden_state"])


def test_a_run_over_a_folder_of_knowledge(corpus, knowledge_folder, tmp_path):
    """Entities stand in the rows, their vectors are as they were learnt, and what is learnt is the same again."""
    few = {"steps": 2, "batch_size": 4, "seq_length": 24, "held_out": 0.2, "threads": 1, "vocab_size": 300,
           "knowledge": str(knowledge_folder), "entity_size": 4, "duplicates": 1, "passes": 2}  # fmt: skip
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    run = minibert.load(pretrain("ernie_thu", [corpus / "text.txt"], tmp_path / "run", fields=sizes, **few))
    assert run.with_task("classify", classes=2).params["entities"]["weight"].any()
    vectors = run.params["entities"]["weight"]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors, ernie_thu.study(None, ernie_thu.Data(**{k: few[k] for k in (
        "knowledge", "entity_size", "passes")}), None))  # fmt: skip
