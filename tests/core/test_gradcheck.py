"""The checker of gradients: right pairs pass, wrong ones are named, whatever the arguments' memory order."""

import os
import re
from functools import partial
from random import Random

import misses
import numpy as np
import pytest
from draws import some

from minibert import InputError, cli, gradcheck, ops, strategies, tree
from minibert.gradcheck import GradientError
from minibert.pairs import PAIRS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 5))
CASES = {case.name: case for case in gradcheck.examples(11)}
EVERY = bool(os.environ.get("MINIBERT_EVERY_TENSOR"))  # .ci/run: all arguments of all pairs; else some are drawn
LINEAR = {"linear x", "linear weight", "linear bias", "embedding weight", "dropout x", "split_heads x"}
CURVED = {"tanh", "gelu", "sigmoid", "softmax", "log_softmax", "cross_entropy"}


def squash(x):
    y = np.tanh(x) + x * x
    return y, {"x": x}


def squash_backward(dy, c):
    return dy * (1 - np.tanh(c["x"]) ** 2 + 2 * c["x"])


def doubled(x):
    return 2 * x, {}


def message(f, f_backward, args, constants=None) -> str:
    with pytest.raises(GradientError) as caught:
        gradcheck.require(f, f_backward, args, constants)
    return str(caught.value)


# ---- Memory orders ---------------------------------------------------------------------------------------------------
LAYOUTS = {
    **{name: order(X) for name, order in strategies.ORDERS.items()},
    "transposed": X.T,
    "every other": RNG.standard_normal((6, 10))[::2, ::2],
    "big-endian": X.astype(">f8"),
    "float32": X.astype(np.float32),
    "a row in the place of all": np.broadcast_to(RNG.standard_normal(5), (3, 5)),
    "one number in the place of all": np.broadcast_to(0.7, (3, 5)),
    "no dimension": np.array(0.3),
    "a Python float": 0.3,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_memory_order_is_differenced(name):
    value = LAYOUTS[name]
    before = np.array(value)
    assert gradcheck.check(squash, squash_backward, {"x": value})["x"] < 1e-11
    assert gradcheck.check(squash, lambda dy, c: np.zeros_like(dy), {"x": value})["x"] >= 1
    assert gradcheck.require(squash, squash_backward, {"x": value})["x"].order >= 1.9
    assert "got 0, due" in message(squash, lambda dy, c: np.zeros_like(dy), {"x": value})
    assert np.array_equal(before, value)


def test_an_empty_argument_has_an_empty_gradient():
    assert gradcheck.require(squash, squash_backward, {"x": np.zeros((0, 3))}) == {"x": (0.0, None)}


def test_functions_are_given_the_memory_order_of_the_argument():
    seen = []

    def seeing(x):
        seen.append(x.strides)
        return squash(x)

    for value in (np.asfortranarray(X), X[:, ::-2], np.broadcast_to(X[:1], X.shape)):
        seen.clear()
        gradcheck.check(seeing, squash_backward, {"x": value})
        assert seen[0] == value.strides


def test_a_backward_that_takes_memory_for_rows_is_caught():
    def of_memory(dy, c):
        return squash_backward(dy.ravel(order="K").reshape(dy.shape), c)

    def of_the_argument(dy, c):
        return squash_backward(dy, {"x": c["x"].ravel(order="K").reshape(dy.shape)})

    assert gradcheck.check(squash, of_memory, {"x": X})["x"] > 1e-2
    assert "wrong when it is given a dy that is not contiguous" in message(squash, of_memory, {"x": X})
    assert gradcheck.check(squash, of_the_argument, {"x": X})["x"] < 1e-11
    assert gradcheck.check(squash, of_the_argument, {"x": np.asfortranarray(X)})["x"] > 1e-2


def test_a_forward_that_takes_memory_for_rows_is_named():
    def of_memory(x):
        return squash(x.ravel(order="K").reshape(x.shape))

    said = message(of_memory, squash_backward, {"x": np.asfortranarray(X)})
    assert "of_memory returns another value at y[0, 1]" in said
    assert "depends on their memory order" in said


# ---- The verdict -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in CASES if EVERY or name in PAIRS])
def test_every_pair_of_the_engine_is_right(name):
    """Every op; of blocks the doubles tell in test_gradients, and the differences of each entry in `.ci/run`."""
    case = CASES[name]
    found = gradcheck.require(case.forward, case.backward, case.args, case.constants)
    assert max(of.error for of in found.values()) < gradcheck.DIFFERENCE_BAR


@pytest.mark.parametrize("name", CASES)
def test_a_backward_gives_the_same_when_it_is_called_again_and_for_any_memory_order(name):
    case = CASES[name]
    pair = gradcheck.evaluated(case.forward, case.backward, case.args, case.constants)
    pair.require_a_function()
    pair.require_gradients()
    first, *others = pair.got.values()
    for got in others:
        assert max(gradcheck.errors(got, first).values()) < gradcheck.EXACT_BAR


@pytest.mark.parametrize("name", some([*CASES], 50))
def test_a_right_gradient_is_of_order_two_and_a_thousandth_off_is_failed_by_the_order_alone(name):
    """In each of six arguments, one after the other; where the function is linear, the remainder is there, too."""
    case = CASES[name]
    pair = gradcheck.evaluated(case.forward, case.backward, case.args, case.constants)
    remember(pair)
    paths = list(pair.got[""])
    for path in paths if EVERY or len(paths) <= 6 else Random(name).sample(paths, 6):
        right, order = pair.got[""][path], pair.order(path, np.random.default_rng(0))
        assert order is None or order > 1.95, path  # 3 where there is no bend
        assert order is None if f"{name} {path}" in LINEAR else (order or name not in CURVED), path
        if np.abs(right).max(initial=0) > 1e-12:  # all but the key bias
            pair.got[""][path] = 1.001 * right
            assert pair.order(path, np.random.default_rng(0)) < 1.1, path
            pair.got[""][path] = right


def remember(pair):
    """What f gives for arguments is computed once."""
    value, held = pair.value, {}

    def remembered():
        key = tuple(a.tobytes() for a in tree.leaves(pair.args))
        if key not in held:
            held[key] = value()
        return held[key]

    pair.value = remembered


def test_the_order_of_known_remainders():
    assert gradcheck.remainder_order(np.exp, 1.0) == pytest.approx(2, abs=0.02)
    assert gradcheck.remainder_order(np.sin, 1.0) == pytest.approx(3, abs=0.02)
    assert gradcheck.remainder_order(np.exp, 1.001) == pytest.approx(1, abs=0.02)
    assert gradcheck.remainder_order(lambda h: 3 * h, 3.0) is None
    kink = lambda h: h + max(0.0, h - 1e-3)  # noqa: E731
    assert gradcheck.remainder_order(kink, 1.0) is None
    assert gradcheck.remainder_order(kink, 1.001) == pytest.approx(1, abs=0.02)
    assert gradcheck.remainder_order(lambda h: np.log(1e-6 + h), 1e6) == pytest.approx(2, abs=0.1)


def test_derivatives_over_kinks_edges_and_scales():
    assert gradcheck.derivative(np.exp) == pytest.approx(1, abs=1e-13)
    assert gradcheck.derivative(lambda h: np.sin(1000 * h)) == pytest.approx(1000, abs=1e-7)
    assert gradcheck.derivative(lambda h: max(0.0, h + 3e-5)) == pytest.approx(1, abs=1e-9)
    assert np.isnan(gradcheck.derivative(lambda h: float("nan")))
    sine = lambda x: (np.sin(x), x)  # noqa: E731
    for size in (1e-4, 1.0, 1e3, 1e6):
        for f, f_backward in ((squash, squash_backward), (sine, lambda dy, x: dy * np.cos(x))):
            assert gradcheck.require(f, f_backward, {"x": size * X})["x"].order >= 1.9
    log = lambda x: (np.log(x), {"x": x})  # noqa: E731
    assert gradcheck.require(log, lambda dy, c: dy / c["x"], {"x": np.array([1e-3, 0.02, 5.0])})["x"].error < 1e-9


def test_a_derivative_takes_few_evaluations():
    calls = []
    gradcheck.derivative(lambda h: calls.append(h) or np.exp(h))
    assert len(calls) <= 12
    calls.clear()
    gradcheck.derivative(lambda h: calls.append(h) or 3 * h)
    assert len(calls) <= 4


def test_the_message_says_what_where_and_by_how_much():
    def lost(dy, c):
        dx, g = ops.linear_backward(dy, c)
        g["weight"][1, 2] *= 1.5
        return dx, g

    args = {"x": X, "weight": RNG.standard_normal((4, 5)), "bias": np.zeros(4)}
    with pytest.raises(GradientError) as caught:
        gradcheck.require(ops.linear, lost, args)
    fault, shape = caught.value, (4, 5)
    assert isinstance(fault, AssertionError)
    assert (fault.argument, fault.index, fault.shapes) == ("weight", (1, 2), (shape, shape))
    assert fault.got == pytest.approx(1.5 * fault.due)
    assert fault.order == pytest.approx(1, abs=0.05)
    pattern = r"lost: the gradient of weight is wrong: at \[1, 2\] got \S+, due \S+; error \S+ of at most 1e-09; "
    assert re.match(pattern + r"its Taylor remainder falls as h\^1\.00, due is h\^2; shape \(4, 5\)$", str(fault))


def test_paths_of_trees_are_named():
    case = CASES["feed_forward"]

    def lost(dy, c):
        dx, g = case.backward(dy, c)
        return dx, {**g, "out": {**g["out"], "bias": 0 * g["out"]["bias"]}}

    assert "the gradient of p.out.bias is wrong" in message(case.forward, lost, case.args, case.constants)
    two = {"layers": [{"w": X}, {"w": X + 1}]}
    f = lambda layers: (layers[0]["w"] * layers[1]["w"], layers)  # noqa: E731
    wrong = lambda dy, c: {"layers": [{"w": dy * c[1]["w"]}, {"w": dy * c[1]["w"]}]}  # noqa: E731
    assert "the gradient of layers.1.w is wrong" in message(f, wrong, two)


def test_every_wrong_argument_has_a_line():
    f = lambda a, b: (a * b, {"a": a, "b": b})  # noqa: E731
    said = message(f, lambda dy, c: (dy * c["a"], dy * c["b"]), {"a": X, "b": X + 1})
    assert [line.split(" is wrong")[0].split()[-1] for line in said.splitlines()] in (["a", "b"], ["b", "a"])


# ---- What no difference can tell -------------------------------------------------------------------------------------
def test_kinks_are_named():
    x = np.array([0.5, 0.0, -1.0])
    said = message(ops.relu, ops.relu_backward, {"x": x})
    assert "x[1] = 0 is at a kink of relu" in said
    assert "its slope is 0 from below and" in said
    assert "relu_backward gives 0;" in said
    size = lambda x: (np.abs(x), {"x": x})  # noqa: E731
    assert "at a kink" in message(size, lambda dy, c: dy * np.sign(c["x"]), {"x": x})
    wrong = message(ops.relu, lambda dy, c: 2 * dy * (c["x"] > 0), {"x": x})
    assert "the gradient of x is wrong: at [0]" in wrong  # what is wrong elsewhere comes first
    near = np.array([1e-3, -1e-4, 0.5])
    gradcheck.require(ops.relu, ops.relu_backward, {"x": near})


def test_nan_is_named_as_nan():
    def holed(x):
        y, c = squash(x)
        y[1, 2] = np.nan
        return y, c

    def holed_backward(dy, c):
        dx = squash_backward(dy, c)
        dx[2, 0] = np.nan
        return dx

    assert message(holed, squash_backward, {"x": X}) == "holed returns NaN at y[1, 2]"
    said = message(squash, holed_backward, {"x": X})
    assert said == "holed_backward: the gradient of x is NaN at [2, 0]; shape (3, 5)"
    assert gradcheck.check(squash, holed_backward, {"x": X})["x"] == np.inf
    assert "is infinity" in message(squash, lambda dy, c: dy + np.inf, {"x": X})


def test_shapes_are_named():
    said = message(squash, lambda dy, c: squash_backward(dy, c).T, {"x": X})
    assert said.endswith("the gradient of x has shape (5, 3), the argument has (3, 5)")
    assert gradcheck.check(squash, lambda dy, c: squash_backward(dy, c).T, {"x": X})["x"] == np.inf


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda dx: (dx, dx), "returns gradients ['?', 'x'], expected ['x']"),
        (lambda dx: (), "returns gradients [], expected ['x']"),
        (lambda dx: {"y": dx}, "returns gradients ['x.y'], expected ['x']"),
        (lambda dx: None, "returns None as the gradient of x"),
        (lambda dx: 1j * dx, "returns complex128 as the gradient of x"),
    ],
)
def test_gradients_that_do_not_match_the_arguments(returned, said):
    wrong = lambda dy, c: returned(squash_backward(dy, c))  # noqa: E731
    assert said in message(squash, wrong, {"x": X})
    with pytest.raises(InputError, match=re.escape(said)):
        gradcheck.check(squash, wrong, {"x": X})


def test_another_precision_is_named():
    single = lambda x: (squash(x)[0].astype(np.float32), {"x": x})  # noqa: E731
    assert "returns float32 though its arguments are float64" in message(single, squash_backward, {"x": X})
    rounded = lambda dy, c: squash_backward(dy, c).astype(np.float32)  # noqa: E731
    assert message(squash, rounded, {"x": X}).endswith("shape (3, 5); it is float32")


def test_a_forward_that_rounds_is_named():
    """Over large steps its differences are right."""
    rounding = lambda x: (x.astype(np.float16).astype(np.float64), {})  # noqa: E731
    said = message(rounding, lambda dy, c: dy, {"x": np.ones((2, 3)) + 2.0**-6})
    assert "falls as h^1.00" in said
    assert "does <lambda> round, or compute in a lower precision?" in said


def test_a_forward_that_draws_is_named():
    rng = np.random.default_rng(0)
    noisy = lambda x: (squash(x)[0] * rng.random(x.shape), {"x": x})  # noqa: E731
    said = message(noisy, squash_backward, {"x": X})
    assert "returns another value at y[0, 0]" in said
    assert "draw what is random outside" in said


# ---- Who writes where ------------------------------------------------------------------------------------------------
def test_a_forward_that_writes_to_its_argument_is_named():
    def writing(x, *, eps):
        x[0, 1] += 1
        return squash(x)

    for value in (X, np.broadcast_to(X[:1], X.shape), np.asfortranarray(X)):
        value = value.view()
        value.flags.writeable = False
        said = "writing writes to its argument x, at [0, 1]"
        assert said in message(writing, squash_backward, {"x": value}, {"eps": np.array([np.nan])})
        with pytest.raises(InputError, match=re.escape(said)):
            gradcheck.check(writing, squash_backward, {"x": value}, {"eps": np.array([np.nan])})


def test_a_forward_that_writes_to_a_constant_is_named():
    def writing(x, *, ids):
        ids -= 1
        return squash(x)

    said = message(writing, squash_backward, {"x": X}, {"ids": np.array([3, 4])})
    assert said == "writing writes to its argument ids, at [0]; work on a copy"


def test_a_backward_that_writes_is_named():
    def to_dy(dy, c):
        dy *= 1 - np.tanh(c["x"]) ** 2 + 2 * c["x"]
        return dy

    def to_argument(dy, c):
        dx = squash_backward(dy, c)
        c["x"] *= 2
        return dx

    assert "to_dy writes to its argument dy, at [0, 0]" in message(squash, to_dy, {"x": X})
    assert "to_argument writes to its argument x, at [0, 0]" in message(squash, to_argument, {"x": X})


def test_a_backward_that_uses_up_its_cache_is_named():
    slope = lambda x: (squash(x)[0], {"slope": 1 - np.tanh(x) ** 2 + 2 * x})  # noqa: E731

    def once(dy, c):
        c["slope"] *= dy
        return c["slope"]

    assert "wrong when it is called again with the same cache" in message(slope, once, {"x": X})
    assert gradcheck.check(slope, once, {"x": X})["x"] > 1e-2


def test_what_a_pair_may_share():
    """Its argument as its result, dy as its gradient: nothing is written to."""
    gradcheck.require(lambda x: (x, {}), lambda dy, c: dy, {"x": X})
    gradcheck.require(lambda a, b: (a + b, {}), lambda dy, c: [dy, dy], {"a": X, "b": X})
    gradcheck.require(lambda x: (x.T, {}), lambda dy, c: dy.T, {"x": X})
    gradcheck.require(lambda x: (float(np.sum(x * x)), x), lambda dy, c: 2 * dy * c, {"x": X})


# ---- Arguments that cannot be differentiated by ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"x": np.ma.masked_less(X, 0)}, "x is a masked array"),
        ({"x": None}, "x: expected floats, got None"),
        ({"x": np.arange(3)}, "x: expected floats, got int64; what has no gradient belongs into constants"),
        ({"x": "text"}, "x: expected floats, got str"),
        ({"x": X + 0j}, "x: expected floats, got complex128"),
        ({"x": {"w": [X, np.array([True])]}}, "x.w.1: expected floats, got bool"),
        ({"x": np.array([1.0, np.nan])}, "x[1] is NaN"),
        ({"x": np.array([[-np.inf]])}, "x[0, 0] is -infinity"),
        ({"z": X}, "squash does not take these args and constants by name: missing a required argument: 'x'"),
        ({}, "expected a dict of at least one array"),
        (X, "args: expected a dict of at least one array by name, got float64"),
    ],
)
def test_arguments_are_refused_in_one_line(args, said):
    for checker in (gradcheck.require, gradcheck.check):
        with pytest.raises(InputError) as caught:
            checker(squash, squash_backward, args)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_forward_that_is_no_forward():
    assert "returns float64, expected (y, cache)" in message(lambda x: 2 * x, squash_backward, {"x": X})
    assert "returns dict as y" in message(lambda x: ({}, {}), squash_backward, {"x": X})
    assert "returns int64 as y" in message(lambda x: (np.arange(3), {}), squash_backward, {"x": X})


# ---- The command -----------------------------------------------------------------------------------------------------
def test_a_name_alone_repeats_the_line_of_the_full_run(monkeypatch):
    """Whatever is checked before it: each name draws for itself."""
    monkeypatch.setattr(gradcheck, "family_errors", partial(gradcheck.family_errors, drawn=1))
    names = ["tanh", "layer_norm", "nsp_head", "bert"]
    together = {row[:2]: row for row in gradcheck.table(names, 3)}
    for name in names:
        alone = {row[:2]: row for row in gradcheck.table([name], 3)}
        assert alone == {key: row for key, row in together.items() if key[0].removesuffix(" loss") == name}
        assert alone


def test_seeds_draw_something_else(capsys):
    def printed(*arguments):
        assert cli.main(["gradcheck", *arguments]) == 0
        return capsys.readouterr().out

    assert printed("tanh") == printed("tanh", "--seed", "0") != printed("tanh", "--seed", "1")


# ---- Misses ----------------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_is_overlooked():
    """Of ops, of what entries of the catalogue replace, and of three blocks that are drawn; `python tests/misses.py`
    asks all, along more directions.
    """
    asked = {*PAIRS, "activation", "add_norm", "encoder_layer", *Random(0).sample(sorted(CASES.keys() - PAIRS), 3)}
    tried, by_check, by_directional = misses.measure(1, 1, None if EVERY else asked)
    pairs = {pair for pair, _ in tried}
    assert pairs == ({*CASES, "activation"} if EVERY else asked)
    assert {(pair, what) for pair in pairs for what in ("one entry x 2.001", "one row lost")} <= tried.keys()
    catalogue = {what.split()[0] for _, what in tried} & {"E10", "E11", "G08", "H01", "L12", "L13", "O08", "O12"}
    assert len(catalogue) == 8
    assert by_check.total() == 0
    assert by_directional.total() <= misses.ALLOWED * tried.total()


def test_exchanged_rows_do_not_cancel_along_a_direction():
    """Along ±1 they did, for one direction in two."""
    loss = lambda p: float(p["w"] @ np.array([3.0, 1.0]))  # noqa: E731
    wrong = {"w": np.array([1.0, 3.0])}
    for seed in range(50):
        found = gradcheck.directional(loss, {"w": np.ones(2)}, wrong, np.random.default_rng(seed))
        assert min(found.values()) > 1e-6, seed


def test_directions_of_a_right_gradient():
    params = {"a": X, "b": [X[0]]}
    loss = lambda p: float(np.sum(np.tanh(p["a"]) * p["b"][0]))  # noqa: E731
    right = {"a": (1 - np.tanh(X) ** 2) * X[0], "b": [np.tanh(X).sum(0)]}
    found = gradcheck.directional(loss, params, right, np.random.default_rng(0))
    assert list(found) == ["", "a", "b.0"]
    assert max(found.values()) < 1e-11
    assert tree.flatten(right).keys() == found.keys() - {""}
