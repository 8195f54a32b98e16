"""Every pair's backward is the derivative of its forward, and the checker sees it when it is not."""

import dataclasses
import importlib
import math
import os

import numpy as np
import pytest
from draws import some
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
from minibert import gradcheck, layers, ops, strategies, tree
from minibert.families import bert
from minibert.pairs import BLOCKS, PAIRS
from reference import directional

CASES = {case.name: case for case in gradcheck.examples(7)}
EVERY = bool(os.environ.get("MINIBERT_EVERY_TENSOR"))  # as `.ci/run` asks
thorough = settings(max_examples=8 if EVERY else 4, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", some([*PAIRS], 28))
@thorough
@given(data=st.data())
def test_ops_by_finite_differences(name, data):
    pair = PAIRS[name]
    gradcheck.require(pair.forward, pair.backward, *data.draw(strategies.of_pair(pair)))


def listed(arguments):
    return tree.map(lambda a: a.tolist() if isinstance(a, np.ndarray) else a, arguments)


def slopes(case, got, rng):
    """Slopes along a direction drawn in each tensor, {path: slope}: those claimed, those of the double at 50 digits."""
    pair = gradcheck.evaluated(case.forward, case.backward, case.args, case.constants)
    given, claimed, true = listed({**case.args, **(case.double_constants or case.constants)}), {}, {}
    for path, gradient in (got or pair.got[""]).items():
        along = tree.map(np.zeros_like, case.args)
        tree.get(along, path)[...] = rng.standard_normal(gradient.shape)
        name = path.partition(".")[0]
        slope = directional.directional(
            reference.double(case.name), given, name, listed(along)[name], pair.dy.tolist()
        )
        claimed[path], true[path] = np.sum(gradient * tree.get(along, path)), np.asarray(float(slope))
    return claimed, true


@pytest.mark.parametrize("name", some([*CASES], 40))
def test_against_fifty_digit_derivatives_of_the_double(name):
    """In every entry; of what has more than 60 along a direction in each tensor, and in every entry in `.ci/run`."""
    case = CASES[name]
    if EVERY or sum(map(np.size, tree.leaves(case.args))) <= 60:
        constants = case.double_constants or case.constants
        pair = case.forward, case.backward, reference.double(name)
        found = gradcheck.exact(*pair, case.args, case.constants, constants)
    else:
        found = gradcheck.errors(*slopes(case, None, np.random.default_rng(0)))
    assert max(found.values()) < gradcheck.EXACT_BAR, found


def test_one_wrong_entry_shows_along_a_direction():
    """A millionth off: of each tensor in its turn, in that slope alone."""
    case = CASES["encoder_layer"]
    pair = gradcheck.evaluated(case.forward, case.backward, case.args, case.constants)
    wrong = tree.map(np.copy, pair.got[""])
    for gradient in wrong.values():
        gradient.flat[-1] += 1e-6 * max(1.0, np.abs(gradient).max())
    found = gradcheck.errors(*slopes(case, wrong, np.random.default_rng(0)))
    assert found.keys() == tree.flatten(case.args).keys()
    assert min(found.values()) > 1e-10, found


@pytest.mark.parametrize("name", CASES)
def test_forward_equals_the_double(name):
    case = CASES[name]
    ours = case.forward(**case.args, **case.constants)[0]
    constants = case.double_constants or case.constants
    theirs = np.array(reference.double(name)(**listed({**case.args, **constants})))
    assert ours.shape == theirs.shape
    assert gradcheck.error(ours, theirs, 0.0) < 1e-13




@pytest.mark.parametrize("name", PAIRS)
def test_a_wrong_backward_is_caught(name):
    """2.001 for 2, in each gradient of each op: the checker fires."""
    case = CASES[name]

    def faulty(dy, c):
        wrong = case.backward(dy, c)
        if isinstance(wrong, tuple):
            first, *rest = wrong
            return (first * 1.0005, *rest)
        return tree.map(lambda a: a * 1.0005, wrong)

    faulty.__name__ = "faulty_backward"
    found = gradcheck.check(case.forward, faulty, case.args, case.constants)
    assert max(found.values()) > 1e-4


def test_a_lost_layer_norm_term_is_caught():
    def faulty(dy, c):
        dx, g = ops.layer_norm_backward(dy, c)
        dxhat = dy * c["weight"]
        xhat = c["xhat"].reshape(dy.shape)
        lost = xhat * (dxhat * xhat).mean(-1, keepdims=True) * c["rstd"].reshape(*dy.shape[:-1], 1)
        return dx + lost, g

    case = CASES["layer_norm"]
    assert gradcheck.check(case.forward, faulty, case.args, case.constants)["x"] > 1e-2


def test_shapes_and_names_that_do_not_match_are_refused():
    case = CASES["linear"]
    with pytest.raises(ValueError, match=r"returns gradients .* expected"):
        gradcheck.check(case.forward, lambda dy, c: dy, case.args, case.constants)
    swapped = gradcheck.check(case.forward, _transposed, case.args, case.constants)
    assert swapped["weight"] == float("inf")


def _transposed(dy, c):
    dx, g = ops.linear_backward(dy, c)
    return dx, {**g, "weight": g["weight"].T}


def test_relu_at_a_kink_between_steps():
    x = np.array([1e-3, -1e-3, 0.5, -0.04])
    assert gradcheck.check(ops.relu, ops.relu_backward, {"x": x})["x"] < 1e-9


@pytest.mark.parametrize("name", PAIRS)
def test_ops_write_to_no_argument_and_keep_the_precision(name):
    case = CASES[name]
    for dtype in (np.float32, np.float64, np.longdouble):
        args = tree.map(lambda a, dtype=dtype: a.astype(dtype), case.args)
        for array in tree.leaves({**args, **case.constants}):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        y, c = case.forward(**args, **case.constants)
        dy = np.ones_like(y)
        dy.flags.writeable = False
        first = gradcheck.gradients(case.forward, case.backward(dy, c), args)
        again = gradcheck.gradients(case.forward, case.backward(dy, c), args)
        assert y.dtype == dtype
        for path, value in first.items():
            assert value.dtype == dtype, path
            assert np.array_equal(value, again[path]), path


def test_attention_masks():
    """Causal, padding and arbitrary additive masks; a row of -inf alone is uniform.

    Such a row is left out of the differences: its value is constant, so they are 0, but its gradient is that of the
    softmax, as in published implementations.
    """
    rng = np.random.default_rng(3)
    q, k, v = rng.standard_normal((3, 2, 2, 4, 3))
    causal = np.tri(4, dtype=bool)
    padding = np.array([[1, 1, 0, 0], [0] * 4], bool)[:, None, None, :]
    living = padding | ~padding.any(-1, keepdims=True)
    args, bias = {"q": q, "k": k, "v": v}, rng.standard_normal((2, 1, 4, 4))
    for own, mask in ((args, causal), (args, living), ({**args, "bias": bias}, None), (args, causal & living)):
        found = gradcheck.check(ops.attention, ops.attention_backward, own, {"mask": mask})
        assert max(found.values()) < gradcheck.DIFFERENCE_BAR
    y, c = ops.attention(q, k, v, mask=padding)
    assert all(np.isfinite(d).all() for d in ops.attention_backward(y, c))
    assert np.allclose(c["probs"][1], 0.25)
    assert np.allclose(y[1], v[1].mean(1, keepdims=True))
    assert (c["probs"][0][..., 2:] == 0).all()
    assert (np.triu(ops.attention(q, k, v, mask=causal)[1]["probs"], 1) == 0).all()


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (2, 1, 4, 5), (1, 2, 1, 5), (4, 5), (5,), (2, 1, 1, 1)])
def test_a_bias_has_a_gradient_of_its_own_shape(shape):
    """Relative positions share a table over the batch (arXiv 1910.10683, section 2.1): what is broadcast is summed."""
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((2, 2, n, 3)) for n in (4, 5, 5))
    args = {"q": q, "k": k, "v": v, "bias": rng.standard_normal(shape)}
    mask = np.ones((2, 1, 1, 5), bool)
    mask[0, ..., 3:] = False
    dropout = 1.25 * (rng.random((2, 2, 4, 5)) < 0.8)
    for constants in ({}, {"mask": mask}, {"mask": mask, "dropout": dropout}):
        found = gradcheck.check(ops.attention, ops.attention_backward, args, constants)
        assert found.keys() == args.keys()
        assert max(found.values()) < gradcheck.DIFFERENCE_BAR


def test_a_bias_and_a_mask_do_not_overflow():
    q, k, v = np.random.default_rng(5).standard_normal((3, 1, 1, 2, 3)).astype(np.float32)
    mask = np.array([[[[1, 0]]]])
    y, c = ops.attention(q, k, v, np.full((1, 1, 2, 2), -np.inf, np.float32), mask=mask)
    assert np.isfinite(y).all()
    assert np.allclose(c["probs"], 0.5)


@pytest.mark.parametrize("constant", ops.MASK_CONSTANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mask_constants_of_a_fully_masked_row(constant, dtype):
    q, k = np.random.default_rng(0).standard_normal((2, 2, 1, 3, 3)).astype(dtype)
    mask = np.array([[0, 0, 0], [1, 0, 1]])[:, None, None, :]
    y = ops.attention(q, k, np.tile(np.eye(3, dtype=dtype), (2, 1, 1, 1)), mask=mask, masked=constant)[0]
    raw = ops.attention(q, k, k)[1]["probs"]
    uniform = np.full(3, 1 / 3)
    vanishes = constant == "min" or (constant == "-1e9" and dtype == np.float32)
    expected = uniform if vanishes else 0 if constant == "zero" else raw[0]
    assert np.allclose(y[0], expected, atol=2e-3 if constant == "-10000" and dtype == np.float32 else 1e-6)
    assert (y[1, 0, :, 1] == 0).all()


def test_losses_with_nothing_to_count():
    logits = np.random.default_rng(0).standard_normal((3, 5))
    labels = np.array([1, 2, 1])
    for extra in ({"weights": np.zeros(3)}, {"labels": np.full(3, -100), "ignore": -100}):
        loss, c = ops.cross_entropy(logits, **{"labels": labels, **extra})
        assert loss == 0
        assert not ops.cross_entropy_backward(np.asarray(1.0), c).any()
    loss, c = ops.cross_entropy(logits, labels=np.array([-100, 2, 1]), ignore=-100)
    assert not ops.cross_entropy_backward(np.asarray(1.0), c)[0].any()


def test_large_logits_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        loss = ops.cross_entropy(np.array([[1e4, 0.0], [0.0, 1e4]]), labels=np.array([0, 0]))[0]
        assert loss == 5e3
        binary = ops.binary_cross_entropy(np.array([1e4, -1e4]), labels=np.array([1, 1]))[0]
        assert binary == 5e3
        assert np.array_equal(ops.sigmoid(np.array([-1e4, 1e4]))[0], [0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_probabilities_are_accurate(dtype):
    """Relative to the number itself: what 1 + tanh, or a gradient against the largest entry, would hide."""
    x = np.linspace(-60, 60, 41).astype(dtype)
    true = [1 / (1 + math.exp(-float(value))) for value in x]
    y = ops.sigmoid(x)[0]
    assert y.dtype == dtype
    assert np.allclose(y, true, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_an_offset_of_all_logits_costs_no_accuracy():
    """float32 cross-entropy of logits around 1e4 is as exact as those logits are."""
    rng = np.random.default_rng(0)
    logits, labels = (1e4 + rng.standard_normal((5, 9))).astype(np.float32), rng.integers(0, 9, 5)
    (loss, c), (true, true_c) = (ops.cross_entropy(z, labels=labels) for z in (logits, logits.astype(np.float64)))
    assert abs(loss - true) < 1e-6 * true
    got, wanted = (ops.cross_entropy_backward(np.ones_like(a), b) for a, b in ((loss, c), (true, true_c)))
    assert abs(got - wanted).max() < 1e-6 * abs(wanted).max()
    assert np.allclose(ops.log_softmax(logits)[0], ops.log_softmax(logits.astype(np.float64))[0], rtol=1e-6)


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="longdouble is float64 on this machine")
def test_attention_scales_in_longdouble():
    """1/√K of K = 3 is no float64: rounded to one it would cost longdouble three digits."""
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 2, 4, 3)).astype(np.longdouble)
    got, true = (ops.attention(q, k, v, scale=scale)[0] for scale in (None, 1 / np.sqrt(np.longdouble(3))))
    assert abs(got - true).max() < 1e-18


def test_heads_are_counted_from_the_rows_of_the_query():
    """With a head's rows gone from query, key and value, and its columns from the output: as if it gave nothing."""
    rng = np.random.default_rng(0)
    shapes = {name: {"weight": (6, 6), "bias": (6,)} for name in ("query", "key", "value", "output")}
    p, x = tree.map(lambda shape: rng.standard_normal(shape), shapes), rng.standard_normal((2, 4, 6))
    silent = {**p, "output": {**p["output"], "weight": p["output"]["weight"] * ([0.0] * 2 + [1.0] * 4)}}
    pruned = {name: tree.map(lambda a: a[2:], p[name]) for name in ("query", "key", "value")}
    pruned["output"] = {**p["output"], "weight": p["output"]["weight"][:, 2:]}
    due, got = (layers.self_attention(x, own, width=2)[0] for own in (silent, pruned))
    assert np.allclose(got, due, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("length", "total"), [(1, 1), (4, 4), (2, 5), (1, 3)])
def test_a_causal_mask_is_its_doubles(length, total):
    rows = np.random.default_rng(total).integers(0, 2, (3, total))
    for seen in (None, rows, np.ones((2, total), np.int64)):
        due = np.array(reference.double("causal")(length, total, None if seen is None else seen.tolist()), bool)
        got = layers.causal(length, total, seen)
        assert np.array_equal(np.broadcast_to(got, due.shape), due)


def test_what_comes_after_a_past_is_the_end_of_the_whole():
    """Values, and gradients for what stands after it: the keys and values before are data."""
    rng = np.random.default_rng(0)
    shapes = {name: {"weight": (6, 6), "bias": (6,)} for name in ("query", "key", "value", "output")}
    p, x = tree.map(lambda shape: rng.standard_normal(shape), shapes), rng.standard_normal((2, 5, 6))
    whole, c = layers.self_attention(x, p, width=3, mask=layers.causal(5, 5))
    first = layers.self_attention(x[:, :2], p, width=3, mask=layers.causal(2, 2))[1]["attention"]
    past = {"key": first["k"], "value": first["v"]}
    y, own = layers.self_attention(x[:, 2:], p, width=3, past=past, mask=layers.causal(3, 5))
    assert np.allclose(y, whole[:, 2:], rtol=0, atol=1e-14)
    dy = rng.standard_normal(whole.shape) * (np.arange(5) > 3)[:, None]  # asked of the last: nothing flows between
    (due, g), (dx, own_g) = (layers.self_attention_backward(*given) for given in ((dy, c), (dy[:, 2:], own)))
    assert np.allclose(dx, due[:, 2:], rtol=0, atol=1e-13)
    assert np.allclose(own_g["query"]["weight"], g["query"]["weight"], rtol=0, atol=1e-13)
    assert not np.allclose(own_g["key"]["weight"], g["key"]["weight"], rtol=0, atol=1e-3)  # without the past's share
    (name, tensor), *_ = past.items()
    past[name] = tensor + 1e-3
    assert not np.allclose(layers.self_attention(x[:, 2:], p, width=3, past=past)[0], y, rtol=0, atol=1e-6)


def test_a_query_may_have_a_mask_of_its_own():
    """(B, T, T): what no query sees changes nothing that it says; one row of bits for all is the mask of keys."""
    config = bert.Config(**bert.PROBE)
    rng = np.random.default_rng(1)
    p = tree.map(lambda shape: 0.4 * rng.standard_normal(shape), bert.shapes(config))["encoder"]
    x, mask = rng.standard_normal((2, 5, 8)), rng.integers(0, 2, (2, 5)) | (np.arange(5) == 0)
    given = {"dropout": {}, "prefix": ""}
    wide = np.broadcast_to(mask[:, None], (2, 5, 5))
    first, second = (layers.encoder(x, p, config, mask=m, **given)[0][-1] for m in (mask, wide))
    assert np.array_equal(first, second)
    causal = np.broadcast_to(np.tri(5, dtype=np.int64), (2, 5, 5))
    config = dataclasses.replace(config, mask_constant="min")
    before = layers.encoder(x, p, config, mask=causal, **given)[0][-1]
    x[:, 3:] += 1
    assert np.array_equal(layers.encoder(x, p, config, mask=causal, **given)[0][-1][:, :3], before[:, :3])


def test_linear_without_a_bias():
    rng = np.random.default_rng(2)
    x, weight, dy = rng.standard_normal((3, 4)), rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    y, c = ops.linear(x, weight)
    dx, g = ops.linear_backward(dy, c)
    whole, own = ops.linear(x, weight, np.zeros(5))
    assert np.array_equal(y, whole)
    assert g.keys() == {"weight"}
    due, both = ops.linear_backward(dy, own)
    assert np.array_equal(dx, due)
    assert np.array_equal(g["weight"], both["weight"])


def test_every_block_that_families_share_is_held_to_its_double():
    """Those of layers and heads; a family's own are held by its whole loss."""
    places = ("layers", "relative", "sliding", "recurrent", "pooling", "heads", "summaries", "adapters")
    shared = tuple(f"minibert.{name}" for name in places)
    own = {name for name, (forward, _) in BLOCKS.items() if forward.__module__.startswith(shared)}
    assert own - {"embeddings"} <= CASES.keys()  # whose double is bert_embeddings
    for name in own - {"embeddings"}:
        assert gradcheck.doubles().double(name)


@pytest.mark.parametrize(("count", "before", "after"), [(1, 2, 1), (2, 3, 0), (3, 4, 5)])
def test_a_chunk_stands_for_neighbours_beyond_the_ring(count, before, after):
    """As released: of two chunks the third in front is the chunk itself, not the other."""
    x = np.random.default_rng(0).standard_normal((1, 2, 2 * count, 3))
    given = {"chunk": 2, "before": before, "after": after}
    y, c = ops.neighbours(x, **given)
    assert np.array_equal(y, importlib.import_module("reference.neighbours").neighbours(x.tolist(), **given))
    assert np.array_equal(y[:, :, :, :2], x.reshape(1, 2, count, 2, 3))
    assert ops.neighbours_backward(np.ones_like(y), c).sum() == y.size
