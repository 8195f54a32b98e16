"""What only rounding moves, alone or as a part of a fused parameter: not judged, said, and no cover for what is NaN."""

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import compare, unmoved

KEY = "steps/10/transformer.h.0.attn.c_attn.bias"
D = 12


@pytest.fixture(scope="module")
def case():
    return cases.read(cases.folder() / "gpt2" / "published")


def judged(case, key, array):
    return next(row for row in compare.compare(case, {key: array}, "float32") if row.key == key)


def test_the_middle_third_of_c_attn_is_what_rounding_moves(case):
    mask = case.unmoved["transformer.h.0.attn.c_attn.bias"]
    assert mask.tolist() == [False] * D + [True] * D + [False] * D
    assert unmoved.partly(KEY, case.unmoved)
    assert "transformer.h.0.attn.c_attn.weight" not in case.unmoved


def test_that_part_may_be_otherwise_and_the_row_says_so(case):
    array = np.array(case.tensor(KEY))
    array[D : 2 * D] += 0.01
    row = judged(case, KEY, array)
    assert (row.status, row.verdict) == ("right", "rounding explains it; a part is exempt: its gradient is 0")


@pytest.mark.parametrize("third", [0, 2])
def test_the_other_thirds_are_judged(case, third):
    array = np.array(case.tensor(KEY))
    array[third * D] += 1e-3
    assert judged(case, KEY, array).status == "wrong"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_exempt(case, value):
    array = np.array(case.tensor(KEY))
    array[D] = value
    assert judged(case, KEY, array).status == "nan"
    bert = cases.read(cases.folder() / "bert" / "published")
    key = "steps/10/bert.encoder.layer.0.attention.self.key.bias"
    array = np.array(bert.tensor(key))
    array[0] += 0.01
    assert judged(bert, key, array).status == "exempt"
    array[0] = value
    assert judged(bert, key, array).status == "nan"


@pytest.mark.parametrize("key", ["steps/1/", "steps/10/", "steps/1/adam_m.", "steps/10/adam_v."])
def test_no_rounding_moves_a_parameter_farther_than_steps_do(key):
    bert = cases.read(cases.folder() / "bert" / "published")
    key += "bert.encoder.layer.0.attention.self.key.bias"
    assert [judged(bert, key, np.array(bert.tensor(key)) + far).status for far in (1e6, -10)] == ["wrong", "wrong"]


def test_a_gradient_that_is_0_is_what_rounding_leaves_in_16_bits():
    """And is judged where it is more than suspect, or where bits are many."""
    bert = cases.read(cases.folder() / "bert" / "published")
    key = "gradients/bert.encoder.layer.0.attention.self.key.bias"
    found = []
    for dtype, times in (("bfloat16", 8), ("bfloat16", 1000), ("float32", 8)):
        far = times * compare.floor(bert.entries[key], dtype) * bert.entries[key].scale
        row = next(r for r in compare.compare(bert, {key: bert.tensor(key) + far}, dtype) if r.key == key)
        found.append(row.status)
    assert found == ["exempt", "wrong", "suspect"]


def test_nor_a_part_of_a_fused_one(case):
    array = np.array(case.tensor(KEY))
    array[D : 2 * D] += 1e3
    assert judged(case, KEY, array).status == "wrong"


def test_floors_of_a_fused_parameter_are_those_of_what_is_judged(case):
    """Adam turns the rounding of the middle third into steps as large as the rate: no floor may hold that."""
    assert case.entries[KEY].noise["float32"] < 1e-5
