"""What real ports were seen to do, each named from the tensors that it gives; the README's test command draws some."""

import os
from random import Random

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import kills, precision
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose
from minibert.mistakes.swap import sites
from tests.golden.test_solving import candidate_of

# (case, entry, words of the mutant, where)
SEEN = [
    ("bert/published", "D15", "products in TF32", ""),
    ("bert/published", "L11", "the whole norm in float16", ""),
    ("bert/published", "L11", "the whole norm in bfloat16", ""),
    ("bert/published", "L11", "the whole norm in float16", "layer 1 attention norm"),
    ("bert/published", "L08", "and the residual is what it gives", ""),
    ("bert/published", "O08", "the tied table is updated twice", ""),
    ("bert/published", "O08", "updated twice, with two states", ""),
    ("bert/adamw", "O08", "the tied table is updated twice", ""),
    ("bert/published", "O05", "each tensor clipped by its own norm", ""),  # with 1e-6 or without: as near in float32
    ("bert/masked-row", "A08", "of -10000, is scaled too", ""),
    ("bert/published", "A13", "of -10000, stands on the query axis", ""),
    ("bert/masked-row", "A13", "of -10000, stands on both axes", ""),
    ("bert/published", "E14", "the sum without its norm", ""),
    ("bert/published", "C02", "gamma and beta change places", ""),
    ("bert/published", "C02", "gamma and beta change places", "layer 1 attention norm"),
    ("bert/published", "C02", "gamma and beta change places", "mlm"),
    ("albert/groups", "C14", "the groups take turns", ""),
    ("albert/groups", "C14", "the first groups have fewer layers", ""),
    ("albert/groups", "C14", "from the last to the first", ""),
]
DRAWN = SEEN if os.environ.get("MINIBERT_EVERY_MUTANT") else Random(3).sample(SEEN, 1)


def made(case, id, words, where):
    subject = case.subject()
    return next(m for m in CATALOGUE[id].mutants(subject, sites(subject)) if words in m.what and m.where == where)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "id", "words", "where"), DRAWN)
def test_it_is_named_from_its_tensors(name, id, words, where):
    case = cases.read(name)
    mutant = made(case, id, words, where)
    result = diagnose(case, candidate_of(case, mutant), "float32")
    assert id in result.ids, result.lines
    assert words in next(found for found in result.mistakes if found.id == id).mutant.what
    assert result.kind in ("mistake", "pair" if mutant.also else "tie")


@pytest.mark.parametrize("id", sorted({id for _, id, *_ in SEEN}))
def test_a_case_catches_it(id):
    assert any(not kill.missed or len(kill.missed) < kill.made for folder in kills.folders()
               for kill in kills.read(folder).get(id, {}).values())  # fmt: skip


# ---- What each of them computes --------------------------------------------------------------------------------------
def test_a_product_in_tf32_is_of_eleven_bits():
    """1 + 2⁻¹⁰ is one of its numbers, 1 + 2⁻¹¹ is halfway and goes to the even one."""
    r = precision.rounding("tf32")
    given = np.array([1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -1e30, 0.0])
    assert r(given)[:3].tolist() == [1 + 2.0**-10, 1.0, 1 + 2 * 2.0**-10]
    assert r(given)[3] == pytest.approx(-1e30, rel=2.0**-11)
    case = cases.read("bert/published")
    got = observe(made(case, "D15", "TF32", "").change(case.subject()), ())
    truth = case.tensor("forward/bert.encoder.layer.0.attention.self.query")
    error = np.abs(got["forward/bert.encoder.layer.0.attention.self.query"] - truth).max() / np.abs(truth).max()
    assert 2.0**-14 < error < 2.0**-9


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_roundings_are_those_of_the_format(name):
    a = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert precision.held(precision.rounding(name)(a), "float32") == name
    assert precision.rounding(name)(a).dtype == np.float32
    assert np.abs(precision.rounding(name)(a) / a - 1).max() <= 2.0 ** -precision.BITS[name]


def test_a_table_updated_twice_has_moved_by_two_steps():
    """Of Adam without correction: with two states by twice the step of one, the others as they are due."""
    case = cases.read("bert/published")
    subject, table = case.subject(), "bert.embeddings.word_embeddings.weight"
    right = observe(subject, (1,))
    start = case.tensor(f"weights/{table}").astype(np.float64)
    twice = observe(made(case, "O08", "with two states", "").change(subject), (1,))
    moved, due = (tensors[f"steps/1/{table}"] - start for tensors in (twice, right))
    assert np.abs(moved - 2 * due).max() < 1e-6 * np.abs(due).max() + 1e-3 * 0.01 * np.abs(due).max()
    other = "steps/1/bert.embeddings.position_embeddings.weight"
    assert np.array_equal(twice[other], right[other])
    same = observe(made(case, "O08", "the tied table is updated twice", "").change(subject), (1,))
    m = f"steps/1/adam_m.{table}"
    np.testing.assert_allclose(same[m], right[m] * 1.9, rtol=1e-12)  # 0.9·0.1 g + 0.1 g
    np.testing.assert_allclose(twice[m], right[m], rtol=1e-12)


def test_albert_s_groups_take_turns():
    """Layer 1 of three has the second group's parameters, layer 2 the first's again."""
    case = cases.read("albert/groups")
    mutant = made(case, "C14", "take turns", "")
    config = mutant.change(case.subject()).config
    assert [config.group(i) for i in range(config.num_hidden_layers)] == [
        i % config.num_hidden_groups for i in range(config.num_hidden_layers)
    ]
    assert isinstance(config, type(case.config()))
