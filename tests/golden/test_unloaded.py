"""Weights that were not loaded: found where rows enough say that a linear map or a table gives what is wrong."""

import numpy as np
import pytest

from minibert import tree
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import diagnose, unloaded
from minibert.mistakes.trials import Trials

NAME = "bert/published"
QUERY, KEY = ("encoder.1.attention.query.weight", "encoder.1.attention.key.weight")


@pytest.fixture(autouse=True)
def no_other(monkeypatch):
    monkeypatch.setattr(Trials, "mutants", [])


def said(edit):
    """What is said of a port whose parameters are edited: edit(params by path) -> those that change."""
    case = cases.read(NAME)
    subject = case.subject()
    flat = dict(tree.items(subject.params))
    params = tree.unflatten({**flat, **edit(flat)})
    got = observe(type(subject)(subject.family, subject.config, params, subject.batches, subject.optimizer), ())
    return diagnose(case, {key: a.astype(np.float32) for key, a in got.items() if key in case.entries}, "float32")


def fresh(flat, pattern):
    """What an initialiser leaves in these."""
    rng = np.random.default_rng(3)
    return {path: 0.02 * rng.normal(size=a.shape) for path, a in flat.items() if pattern in path and a.ndim == 2}


def test_a_layer_that_was_not_loaded_is_named_as_one():
    found = said(lambda flat: fresh(flat, "encoder.1"))
    assert [str(one) for one in found.names] == [f"C08 in layer 1: {unloaded.WHAT}"]
    assert found.unexplained is None


def test_a_head_that_was_not_loaded_may_have_been_dropped():
    found = said(lambda flat: fresh(flat, "mlm.dense"))
    assert (found.kind, {one.id for one in found.names}) == ("tie", {"C04", "C08"})


def test_a_table_whose_ids_come_again_is_told():
    found = said(lambda flat: fresh(flat, "token_type"))
    assert [one.id for one in found.names] == ["C08"]


@pytest.mark.parametrize(
    "odd",
    [
        lambda w: w[KEY][::-1].copy(),
        lambda w: w[KEY] * 0.5,
        lambda w: np.zeros_like(w[KEY]),
        lambda w: w[KEY] @ w[QUERY],
        lambda w: w[QUERY],
        lambda w: w[KEY] + np.eye(len(w[KEY])),
    ],
    ids=["reversed", "scaled", "nothing", "the query's key", "the query's", "added to"],
)
def test_other_linear_maps_are_not_called_so(odd):
    assert not said(lambda flat: {KEY: odd(flat)}).names


def test_few_rows_say_nothing():
    """Any rows of three tokens are given by some kernel of twelve columns."""
    found = said(lambda flat: fresh(flat, "pooler"))
    assert not found.names
