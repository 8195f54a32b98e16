"""Families from outside the package as golden cases: pixels, word vectors, recurrent; none has BERT's fields."""

from dataclasses import replace

import numpy as np
import pytest
from draws import some

from minibert import families
from minibert.checkpoint import safetensors
from minibert.golden import case as files
from minibert.golden import cases, checking, levels, make
from tests import toys

BLOCKS = [("toy_rnn", "recurrent"), ("toy_vit", "layer"), ("toy_vit", "patched"), ("toy_vit", "self_attention"),
          ("toy_word2vec", "mean")]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def registered():
    """For these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "_registered", {})
        yield toys.register()


@pytest.fixture(scope="module")
def made(registered, tmp_path_factory):
    """A case of each, with few noise runs and steps."""
    folder = tmp_path_factory.mktemp("toys")
    wanted = {name: replace(cases.of(name, "family", {}, seed=3), steps=(1, 2)) for name in registered}
    return {name: make.make(name, recipe, folder / name, runs=8) for name, recipe in wanted.items()}


def single(case):
    """What a right implementation in float32 hands over."""
    return {key: np.asarray(a) for key, a in make.computed(case, "float32").items() if key in case.entries}


def report(case, tensors, folder):
    path = folder / "candidate.safetensors"
    safetensors.write(path, tensors)
    return checking.report_of(case.path, path, dtype="float32", seconds=0)  # no name is sought


@pytest.mark.parametrize("name", some(["toy_rnn", "toy_vit", "toy_word2vec"], 1))
def test_a_whole_family_with_steps(name, made, tmp_path):
    case = files.read(made[name].path)
    assert cases.of(name, "family", {}, seed=3).steps == (1, 2, 10)
    assert make.verify(case) == []
    right = single(case)
    found = report(case, right, tmp_path)
    assert (found.first, levels.label(levels.reached(found.levels))) == (None, "L7 trajectory")
    key = next(key for key in right if key.startswith("forward/") and right[key].ndim > 1)
    found = report(case, {**right, key: right[key] * 1.5}, tmp_path)
    assert (found.first.key, found.code) == (key, 1)


def test_what_is_inside_its_attention_is_held_and_judged_alone(made, tmp_path):
    """Scores that are wrong are wrong by themselves, and of them other probabilities were due."""
    case = made["toy_vit"]
    key = "forward/vit.layers.1.scores"
    found = report(case, {**single(case), key: case.tensor(key) * np.float32(1.01)}, tmp_path)
    rows = {row.key: row for row in found.rows}
    assert found.first.key == key
    assert rows[key].alone > 64
    assert rows["forward/vit.layers.1.probs"].alone > 64


@pytest.mark.parametrize(("family", "block"), BLOCKS)
def test_a_block_of_its_own(family, block, tmp_path):
    case = make.make("block", cases.of(family, "block", {}, 5, block), tmp_path / "block", runs=4)
    assert make.verify(files.read(tmp_path / "block")) == []
    right = {key: case.tensor(key) for key in case.entries if key.startswith(("forward/", "gradients/"))}
    assert report(case, right, tmp_path).code == 0
    key = "forward/output"
    found = report(case, {**right, key: right[key] + 1}, tmp_path)
    assert (found.first.key, found.code) == (key, 1)


def test_sizes_are_those_of_the_probe():
    """Whole numbers and tuples of them, but no ids; what is no size keeps its default."""
    made = cases.config("toy_vit", {})
    assert (made.hidden_size, made.depths, made.patch_size) == (8, (1, 1), 3)
    assert (made.hidden_act, made.layer_norm_eps) == ("gelu", 1e-12)
