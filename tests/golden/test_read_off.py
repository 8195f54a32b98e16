"""What no mutant has and is read off: an activation that is another function of each entry, dropout that runs."""

from types import SimpleNamespace

import numpy as np
import pytest

from minibert import ops
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import curves, diagnose, dropping
from minibert.mistakes.catalogue import swap
from minibert.mistakes.ops.activations import pointwise
from minibert.mistakes.swap import Replacement, edited, sites
from minibert.mistakes.trials import Trials

NAME = "bert/published"
SITE = SimpleNamespace(name="embeddings")


@pytest.fixture(autouse=True)
def no_other(monkeypatch):
    monkeypatch.setattr(Trials, "mutants", [])


def said(name, replacement, paths, keep=lambda key: True):
    """What is said of a port with this in the place of calls."""
    case = cases.read(NAME)
    subject = case.subject()
    (planted, *_) = swap("planted", name, replacement, paths)(subject, sites(subject))
    got = observe(planted.change(subject), ())
    return diagnose(case, {k: a.astype(np.float32) for k, a in got.items() if k in case.entries and keep(k)}, "float32")


def wave(x):
    return ops.gelu(x)[0] * np.cos(0.7 * x), np.ones_like(x)


def sine(x, **_):
    return np.sin(1.5 * x), None


def test_an_activation_that_nobody_knows_is_named_with_its_values():
    found = said("activation", pointwise(wave), r".*feed_forward\.act")
    values = "-0.008 at -2, -0.121 at -1, 0 at 0, 0.643 at 1, 0.332 at 2"
    assert [str(one) for one in found.names] == [f"G15: another function of each entry: {values}"], found.lines
    assert found.unexplained is None


def test_of_one_layer_alone():
    found = said("activation", pointwise(wave), r".*encoder\.1\.feed_forward\.act")
    assert [one.id for one in found.names] == ["G15"]
    assert found.names[0].place == " in layer 1"


def test_of_the_pooler():
    found = said("tanh", Replacement(sine, lambda dy, c: dy), r".*pooler\.tanh")
    assert [one.id for one in found.names] == ["H24"], found.lines


def _leaking(x, **_):
    y = ops.gelu(x)[0]
    return y + 0.1 * np.roll(y, 1, axis=-1), None


def _scaled_by_column(x, **_):
    return ops.gelu(x)[0] * np.linspace(0.97, 1.03, x.shape[-1]), None


def _noisy(x, **_):
    return wave(x)[0] + 0.02 * np.random.default_rng(0).standard_normal(x.shape), None


def _gated(x, **_):
    return ops.gelu(x)[0] * np.roll(x, 1, axis=-1), None


@pytest.mark.parametrize("odd", [_leaking, _scaled_by_column, _noisy, _gated])
def test_what_is_no_function_of_an_entry_has_no_name(odd):
    found = said("activation", Replacement(odd, lambda dy, c: dy), r".*feed_forward\.act")
    assert found.kind == "unknown", found.lines


def test_what_no_activation_gives_has_no_name():
    doubled = edited(ops.linear, lambda given: {"x": given["x"] ** 2})
    assert said("linear", doubled, r".*feed_forward\.in").kind == "unknown"


@pytest.mark.filterwarnings("error")
def test_points_that_are_one_say_nothing():
    assert not curves._follows(np.zeros(100), np.zeros(100), 1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_that_runs_is_named_by_its_zeros(rate):
    kept = np.random.default_rng(1).random((3, 9, 12)) >= rate
    found = said("embeddings", dropping._masked(SITE, kept / (1 - rate)), r".*embeddings")
    zeros = f"{(~kept).sum()} of 324 entries are 0, the others times {1 / (1 - rate):.4g}"
    assert [str(one) for one in found.names] == [f"D11 in embeddings: dropout runs: {zeros}"], found.lines
    assert found.unexplained is None


@pytest.mark.parametrize("factor", [1.0, 0.8, 2.0, np.linspace(1, 1.3, 12)], ids=["once", "less", "too much", "unlike"])
def test_zeros_that_no_dropout_leaves_have_no_name(factor):
    kept = np.random.default_rng(1).random((3, 9, 12)) >= 0.1
    assert said("embeddings", dropping._masked(SITE, kept * factor), r".*embeddings").kind == "unknown"
