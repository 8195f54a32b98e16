"""Backwards as scalar loops, of every op and of heads: the derivative of the forward at 50 digits, and the engine's."""

import inspect

import numpy as np
import pytest
from draws import some

import reference
from minibert import gradcheck, tree
from minibert.pairs import PAIRS
from reference.derivative import derivative
from reference.lists import convert
from reference.scalars import fifty_digits

LESS = {"projected_lstm"}  # as `lstm`, with a projection


def backward(name):
    return getattr(__import__(f"reference.{name}", fromlist=[name]), f"{name}_backward", None)


def numbered(cases):
    """Each by its name, further ones of a name with a number behind."""
    found = {}
    for case in cases:
        count = sum(other.name == case.name for other in found.values())
        found[f"{case.name}-{count}" if count else case.name] = case
    return found


EXAMPLES = numbered(case for case in gradcheck.examples(3) if case.name in PAIRS or backward(case.name))
HEADS = {"choice", "classification", "contrast", "crf", "distillation", "entity_head", "lstm_tagging", "mlm_head",
         "nsp_head", "relation", "rtd_head", "sbo_head", "similarity", "span_answer", "tagging",
         "taught_states"}  # fmt: skip


def given(case):
    """(arguments and constants of the double as nested lists, the cotangent)."""
    y, _ = case.forward(**case.args, **case.constants)
    dy = np.random.default_rng(5).standard_normal(np.shape(y))
    arrays = {**case.args, **(case.double_constants or case.constants)}
    return tree.map(lambda value: value.tolist() if isinstance(value, np.ndarray) else value, arrays), dy


def flat(value):
    """The numbers of nested lists and dicts, these in the order of their keys."""
    if isinstance(value, dict):
        return [leaf for name in sorted(value) for leaf in flat(value[name])]
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, list) else [value]


def test_ops_and_heads_have_one():
    assert {case.name for case in EXAMPLES.values()} >= {*HEADS, *PAIRS.keys() - LESS}
    assert not any(backward(name) for name in LESS)


@pytest.mark.parametrize("name", some([name for name in EXAMPLES if name not in LESS], 35))
def test_it_is_the_derivative_of_its_forward(name):
    case, f = EXAMPLES[name], backward(EXAMPLES[name].name)
    lists, dy = given(case)
    with fifty_digits():
        got = f(*convert([dy.tolist()]), **convert(lists))
    assert {name for name in case.args if case.args[name] is not None} <= got.keys() <= lists.keys()
    for argument in case.args:
        due = flat(derivative(reference.double(case.name), dict(lists), argument, dy.tolist()))
        found = flat(got[argument])
        most = max(map(abs, due))
        assert len(found) == len(due)
        assert max(abs(a - b) for a, b in zip(found, due, strict=True)) <= most * convert(1e-25), argument


def at(value, path):
    """What stands there in nested dicts and lists."""
    for part in path.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return value


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in LESS])
def test_the_engine_gives_the_same(name):
    case = EXAMPLES[name]
    lists, dy = given(case)
    got = backward(case.name)(dy.tolist(), **lists)
    _, cache = case.forward(**case.args, **case.constants)
    due = gradcheck.gradients(case.forward, case.backward(dy, cache), case.args)
    for path, array in tree.flatten(case.args).items():
        value = np.array(at(got, path), float)
        assert value.shape == np.shape(array)
        np.testing.assert_allclose(value, due[path], rtol=0, atol=1e-12 * max(np.abs(due[path]).max(), 1e-3))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in LESS])
def test_it_says_where_it_comes_from(name):
    """The derivation, in the docstring; arguments are those of the forward."""
    f = backward(EXAMPLES[name].name)
    assert len(inspect.getdoc(f)) > 40
    names, own = ([*inspect.signature(g).parameters] for g in (f, reference.double(EXAMPLES[name].name)))
    assert names == ["dy", *own]
