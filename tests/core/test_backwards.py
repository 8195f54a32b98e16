"""The backward of every op as scalar loops: the derivative of its forward at 50 digits, and what the engine gives."""

import inspect

import numpy as np
import pytest

import reference
from minibert import gradcheck
from minibert.pairs import PAIRS
from reference.derivative import derivative
from reference.lists import convert, leaves
from reference.numbers import fifty_digits

EXAMPLES = {case.name: case for case in gradcheck.examples(3) if case.name in PAIRS}
LESS = {"projected_lstm"}  # as `lstm`, with a projection


def backward(name):
    return getattr(__import__(f"reference.{name}", fromlist=[name]), f"{name}_backward", None)


def given(case):
    """(arguments and constants of the double as nested lists, the cotangent)."""
    y, _ = case.forward(**case.args, **case.constants)
    dy = np.random.default_rng(5).standard_normal(np.shape(y))
    arrays = {**case.args, **(case.double_constants or case.constants)}
    lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in arrays.items()}
    return lists, dy


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_the_derivative_of_its_forward(name):
    case, f = EXAMPLES[name], backward(name)
    if name in LESS:
        assert f is None
        return
    lists, dy = given(case)
    with fifty_digits():
        got = f(*convert([dy.tolist()]), **convert(lists))
    assert got.keys() == {name for name in case.args if case.args[name] is not None}
    for argument in case.args:
        due = leaves(derivative(reference.double(name), dict(lists), argument, dy.tolist()))
        found = leaves(got[argument])
        most = max(map(abs, due))
        assert len(found) == len(due)
        assert max(abs(a - b) for a, b in zip(found, due, strict=True)) <= most * convert(1e-25), argument


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in LESS])
def test_the_engine_gives_the_same(name):
    case = EXAMPLES[name]
    lists, dy = given(case)
    got = backward(name)(dy.tolist(), **lists)
    _, cache = case.forward(**case.args, **case.constants)
    due = gradcheck.gradients(case.forward, case.backward(dy, cache), case.args)
    for argument, array in case.args.items():
        value = np.array(got[argument], float)
        assert value.shape == np.shape(array)
        np.testing.assert_allclose(value, due[argument], rtol=0, atol=1e-12 * max(np.abs(due[argument]).max(), 1e-3))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in LESS])
def test_it_says_where_it_comes_from(name):
    """The derivation, in the docstring; arguments are those of the forward."""
    f = backward(name)
    assert len(inspect.getdoc(f)) > 40
    names, own = ([*inspect.signature(g).parameters] for g in (f, reference.double(name)))
    assert names == ["dy", *own]
