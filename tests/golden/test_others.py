"""What customary criteria would have said, and the page of what they let pass."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import others

FILE = Path(__file__).parents[1] / "benchmarks" / "blindness.py"
spec = importlib.util.spec_from_file_location("blindness", FILE)
blindness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(blindness)
POOLER = "forward/bert.pooler"


def said(change, key=POOLER):
    case = cases.read("bert/published")
    held = {key: np.array(case.tensor(key)), "forward/loss": case.tensor("forward/loss") + 9}  # a loss is no output
    held[key] = change(held[key])
    return {one.criterion: one for one in others.said(case, held, {})}


@pytest.mark.parametrize(("change", "passes"), [
    (lambda a: a, {"cosine", "PCC", "1e-3", "1e-5"}),
    (lambda a: a + 5e-6, {"cosine", "PCC", "1e-3", "1e-5"}),
    (lambda a: a + 5e-4, {"cosine", "PCC", "1e-3"}),
    (lambda a: a * 1.5, {"cosine", "PCC"}),  # neither sees a factor
    (lambda a: a + 3, {"PCC"}),  # nor PCC a sum
    (lambda a: -a, set()),
    (lambda a: a * np.nan, set()),
])  # fmt: skip
def test_what_each_criterion_lets_pass(change, passes):
    got = said(change)
    assert {name for name, one in got.items() if one.passes} == passes
    assert {one.key for one in got.values()} == {POOLER}


def test_they_speak_of_what_was_given():
    """Of embeddings alone, where no later output is; of nothing, where there is no output."""
    case = cases.read("bert/published")
    assert others.outputs(case, {"forward/loss": 0, "gradients/bert.pooler": 0}) == ["forward/loss"]
    assert others.outputs(case, {"forward/bert.embeddings": 0}) == ["forward/bert.embeddings"]
    assert others.said(case, {}, {}) == []


def test_the_page_is_of_this_catalogue_and_these_cases():
    text = blindness.PAGE.read_text(encoding="utf-8")
    assert blindness.digest() in text, "python tests/benchmarks/blindness.py --write"


def test_a_cosine_passes_another_gelu_and_no_other_scale():
    """Two lines of what the page counts, made again."""
    gelu, scale = blindness.made("bert/published", ["G01", "A04"])
    assert (gelu.id, "cosine" in gelu.passes, gelu.ratio > 64) == ("G01", True, True)
    assert (scale.id, "cosine" in scale.passes, scale.ratio > 64) == ("A04", False, True)
