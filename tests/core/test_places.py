"""Where tensors and calls stand: said by each family's `activations`, whatever its names look like."""

import re

import numpy as np
import pytest

from minibert import batches, families, laws, trace
from minibert.golden import case as cases
from minibert.golden import levels, places
from minibert.golden.compare import compare
from minibert.model import create

GPT2 = [  # a decoder under its published names, as its file will say
    ("transformer.wte", "encode.embeddings.word", "", "embeddings"),
    *((f"transformer.h.{i}.{name}", f"encode.layers.{i}.{path}", "", f"layer {i}")
      for i in range(12)
      for name, path in (("ln_1", "attention.norm"), ("attn", "attention"), ("mlp", "feed_forward"))),
    ("transformer.ln_f", "encode.norm", "", "head"),
    ("lm_head", "next_token.head", "", "head"),
]  # fmt: skip
BART = [
    (f"model.{stack}.{name}", f"encode.{stack}.{path}", "", f"{stack} {place}")
    for stack in ("encoder", "decoder")
    for name, path, place in (
        ("layernorm_embedding", "embeddings.norm", "embeddings"),
        *((f"layers.{i}.fc1", f"layers.{i}.feed_forward.in", f"layer {i}") for i in range(2)),
        *((f"layers.{i}.fc2", f"layers.{i}.feed_forward.out", f"layer {i}") for i in range(2)),
    )
]


def test_places_need_no_names_of_berts_kind():
    where = places.Places(GPT2)
    assert [where.of_tensor(name) for name in ("transformer.wte.weight", "transformer.h.11.ln_1.bias", "lm_head")] == [
        "embeddings", "layer 11", "head"]  # fmt: skip
    assert where.group("transformer.h.1.mlp") == "transformer.h.1"
    assert where.of_call("encode.layers.3.attention.split_query") == "layer 3"
    assert where.of_call("next_token.loss") == "head"
    assert where.of_call("encode") == ""
    assert where.of_tensor("loss.next_token") == ""


def test_two_stacks_have_places_of_their_own():
    where = places.Places(BART)
    assert where.towers == {"encoder", "decoder"}
    assert where.of_tensor("model.decoder.layers.1.fc2.weight") == "decoder layer 1"
    assert where.of_call("encode.encoder.layers.0.dropout") == "encoder layer 0"
    assert where.group("model.decoder.layers.1.fc2") == "model.decoder.layers.1"
    assert (places.tower("decoder layer 1"), places.kind("decoder layer 1")) == ("decoder", "layer")
    assert (places.tower("head"), places.kind("head")) == ("", "head")


@pytest.mark.parametrize("family", families.names())
def test_every_family_says_where_its_modules_stand(family):
    module = families.family(family)
    config = module.Config(**module.PROBE)
    where = places.places(family, config)
    assert all(re.fullmatch(r"(\w+ )?(embeddings|layer \d+|head)", place) for place in where.modules.values())
    by_kind = {places.kind(place) for place in where.modules.values()}
    tables = not {"hidden_unit_permutation", "key_bias_invariance"} - laws.silent(family, config).keys()
    assert by_kind | ({"layer"} if tables else set()) == {"embeddings", "layer", "head"}  # tables alone have no layer
    model = create(family, **module.PROBE)
    with trace.recording() as record:
        _, cache = model.loss(batches.example(module, config, np.random.default_rng(0)))
    layered = [path for path in record.named(cache) if places.kind(where.of_call(path)) == "layer"]
    assert {where.of_call(path) for path in layered} == {p for p in where.names if places.kind(p) == "layer"}


@pytest.mark.parametrize("name", ["bert/probe", "albert/groups", "electra/joint", "spanbert/probe"])
def test_the_levels_of_a_whole_case_are_by_place(name):
    case = cases.read(name)
    found = levels.levels(case, compare(case, {}, "float64"))
    where = places.of_case(case)
    forward = {key: entry for key, entry in case.entries.items() if key.startswith("forward/")}
    outputs = [key.partition("/")[2] for key, entry in forward.items() if entry.role != "loss"]
    for number, kind in ((1, "embeddings"), (2, "layer"), (3, "head")):
        assert found[number].total == sum(places.kind(where.of_tensor(output)) == kind for output in outputs) > 0
