"""Activations that no mutant has: found where what is given is a function of each entry, and nowhere else."""

import numpy as np
import pytest

from minibert import ops
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import diagnose
from minibert.mistakes.catalogue import swap
from minibert.mistakes.ops.activations import pointwise
from minibert.mistakes.swap import Replacement, edited, sites
from minibert.mistakes.trials import Trials

NAME = "bert/published"


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
