"""Convolution, pooling, mixing and the tensor layer: beside torch, at known values, and under padding and order."""

import warnings

import numpy as np
import pytest
from draws import RNG, drawn, same, the_same_draws  # noqa: F401

from minibert import ops, pooling, training, tree
from minibert.errors import InputError

ROWS, LEFT, RIGHT = np.array([[[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]]]), np.array([[1, 1, 0]]), np.array([[0, 1, 1]])


def wave(shape, number):
    """The probe weights of the worked values: 0.5 sin(0.137 j² + 0.3 j + 0.61 k)."""
    j = np.arange(np.prod(shape), dtype=float)
    return (0.5 * np.sin(0.137 * j * j + 0.3 * j + 0.61 * number)).reshape(shape)


# ---- Convolution -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("same_length", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_convolution_is_torchs(width, same_length):
    torch = pytest.importorskip("torch", reason="torch.nn.functional.conv1d is the published implementation")
    args = {"x": RNG.standard_normal((2, 5, 4)), "weight": RNG.standard_normal((3, 4, width)), "bias": RNG.random(3)}
    given = {name: torch.tensor(a, requires_grad=True) for name, a in args.items()}
    how = {"padding": "same" if same_length else "valid"}
    with warnings.catch_warnings():  # of windows of an even number of tokens torch says that it copies
        warnings.simplefilter("ignore")
        theirs = torch.nn.functional.conv1d(given["x"].mT, given["weight"], given["bias"], **how).mT
    y, c = ops.convolution(**args, same=same_length)
    same(y, theirs.detach().numpy())
    dy = RNG.standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    dx, g = ops.convolution_backward(dy, c)
    for name, gradient in {"x": dx, **g}.items():
        same(gradient, given[name].grad.numpy())


def test_a_text_shorter_than_the_window_has_none():
    x, weight = RNG.standard_normal((2, 2, 4)), RNG.standard_normal((3, 4, 5))
    y, c = ops.convolution(x, weight, np.ones(3))
    assert y.shape == (2, 0, 3)
    dx, g = ops.convolution_backward(y, c)
    assert dx.shape == x.shape
    assert not any(a.any() for a in (dx, *g.values()))
    pooled, c = pooling.text_convolution(x, [{"weight": weight, "bias": np.ones(3)}])
    assert np.array_equal(pooled, np.zeros((2, 3)))
    assert not pooling.text_convolution_backward(np.ones((2, 3)), c)[0].any()
    assert ops.windows_there(np.ones((2, 2)), 5).shape == (2, 0)


def test_padding_changes_nothing_of_a_text_convolution():
    """Of texts longer and shorter than the windows; without a mask it does."""
    x, ps = RNG.standard_normal((2, 4, 3)), drawn([{"weight": (2, 3, k), "bias": (2,)} for k in (2, 4)])
    seen = np.array([[1] * 4, [1, 1, 1, 0]])
    longer = np.concatenate([np.where(seen[..., None], x, 1e3), np.full((2, 2, 3), 1e3)], 1)
    y, c = pooling.text_convolution(x, ps, seen=seen)
    z, more = pooling.text_convolution(longer, ps, seen=np.pad(seen, ((0, 0), (0, 2))))
    same(z, y, 1e-15)
    assert np.array_equal(z[1, 2:], [0, 0])
    assert np.abs(pooling.text_convolution(longer, ps)[0] - y).max() > 1
    dx = pooling.text_convolution_backward(np.ones(z.shape), more)[0]
    assert not dx[:, 4:].any()
    same(dx[:, :4], pooling.text_convolution_backward(np.ones(y.shape), c)[0], 1e-15)


def test_windows_of_one_token_are_a_linear_map():
    x, p = RNG.standard_normal((2, 4, 3)), drawn({"weight": (5, 3, 1), "bias": (5,)})
    due = np.maximum(ops.linear(x, p["weight"][..., 0], p["bias"])[0], 0).max(1)
    same(pooling.text_convolution(x, [p])[0], due, 1e-15)


# ---- Pooling ---------------------------------------------------------------------------------------------------------
def test_the_worked_values():
    """Of the first, last, mean, maximum and a mean by place, of padding at the right and at the left."""
    for seen, first, last, mean, top in (
        (LEFT, [1, 2], [3, -4], [2, -1], [3, 2]),
        (RIGHT, [3, -4], [5, 6], [4, 1], [5, 6]),
    ):
        assert pooling.first_token(ROWS, seen=seen)[0].tolist() == [first]
        assert pooling.last_token(ROWS, seen=seen)[0].tolist() == [last]
        assert ops.mean_over_time(ROWS, weights=seen)[0].tolist() == [mean]
        assert ops.max_over_time(ROWS, mask=seen)[0].tolist() == [top]
    by_place = ops.mean_over_time(ROWS, weights=LEFT * LEFT.cumsum(1))[0]
    assert np.allclose(by_place, [[7 / 3, -2]], rtol=1e-15, atol=0)
    assert pooling.first_token(ROWS)[0].tolist() == [[1, 2]]
    assert pooling.last_token(ROWS)[0].tolist() == [[5, 6]]


def test_a_text_of_nothing_is_finite():
    nothing = np.zeros((1, 3))
    for pair, back, name in (
        (ops.mean_over_time, ops.mean_over_time_backward, "weights"),
        (ops.max_over_time, ops.max_over_time_backward, "mask"),
    ):
        y, c = pair(ROWS, **{name: nothing})
        assert y.tolist() == [[0, 0]]
        assert not back(np.ones((1, 2)), c).any()
    for choice in (pooling.first_token, pooling.last_token):
        assert np.isfinite(choice(ROWS, seen=nothing)[0]).all()


def test_of_equal_entries_the_first_is_taken():
    """Where torch.max over a dimension takes it; its gradient reaches one token."""
    x = np.array([[[2.0, -1.0], [2.0, -3.0], [0.0, -1.0]]])
    y, c = ops.max_over_time(x)
    assert ops.max_over_time_backward(np.array([[5.0, 7.0]]), c).tolist() == [[[5, 7], [0, 0], [0, 0]]]
    y, c = ops.max_over_time(x, mask=RIGHT)
    assert y.tolist() == [[2, -1]]
    assert ops.max_over_time_backward(np.array([[5.0, 7.0]]), c).tolist() == [[[0, 0], [5, 0], [0, 7]]]


def test_a_mix_of_equal_weights_is_the_mean():
    x = RNG.standard_normal((3, 2, 4, 5))
    same(ops.scalar_mix(x, np.zeros(3), np.ones(1))[0], x.mean(0), 1e-15)
    same(ops.scalar_mix(x, np.array([0.0, 900.0, 0.0]), np.full(1, 2.0))[0], 2 * x[1], 1e-15)


# ---- Any of these ----------------------------------------------------------------------------------------------------
SIZES = {"cnn": {"windows": (2, 3), "filters": 3}, "lstm": {"hidden": 3, "layers": 2}, "rcnn": {"hidden": 3},
         "attention": {"seeds": 2}, "layers": {"layers": 3}, "ulmfit": {"units": 3}}  # fmt: skip
WIDTHS = {"attention": 8, "cnn": 6, "lstm": 6, "rcnn": 10, "concat": 12, "ulmfit": 3}


@pytest.mark.parametrize("how", pooling.POOLINGS)
def test_a_text_as_one_vector_whatever_stands_behind_it(how):
    """Its width, the tree of its gradient, no change and no gradient by padding, whatever that holds."""
    p = drawn(pooling.shapes(how, 4, **SIZES.get(how, {})) or [])
    p = tree.map(abs, p) if how in ("cnn", "rcnn", "ulmfit") else p  # that ReLU lets something of each through
    given = {"how": how, **({"width": 2} if how == "attention" else {})}
    before = (3,) if how == "layers" else ()
    x, seen = RNG.random((*before, 2, 4, 4)), np.array([[1] * 4, [1, 1, 0, 0]])
    longer = np.concatenate([np.where(seen[..., None], x, 1e3), np.full((*before, 2, 2, 4), 1e3)], -2)
    y, _ = pooling.pooled(x, p, seen=seen, **given)
    z, c = pooling.pooled(longer, p, seen=np.pad(seen, ((0, 0), (0, 2))), **given)
    assert y.shape == (2, WIDTHS.get(how, 4))
    same(z, y, 1e-14)
    dx, g = pooling.pooled_backward(RNG.standard_normal(z.shape), c)
    assert pooling.POOLINGS[how].wide(4, SIZES.get(how, {}).get(pooling.POOLINGS[how].size, 0)) in (y.shape[1], 9)
    assert not dx[..., 4:, :].any()
    assert not dx[..., 1, 2:, :].any()
    assert dx[..., 1, :2, :].any()
    if how in SIZES:
        assert tree.map(np.shape, g) == tree.map(np.shape, p)
        assert all(leaf.any() for path, leaf in tree.items(g) if not path.endswith("key.bias"))
    else:
        assert g is None
        assert pooling.shapes(how, 4) is None


def test_batch_norm_is_torchs_in_training_and_behind_it():
    """torch.nn.BatchNorm1d: outputs, gradients, and what it keeps of its batches."""
    torch = pytest.importorskip("torch", reason="torch.nn.BatchNorm1d is the published implementation")
    theirs = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    p = {name: RNG.random(3) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")}
    theirs.load_state_dict({name: torch.tensor(array) for name, array in p.items()}, strict=False)
    for batch in (True, False):
        x, dy = 2 * RNG.standard_normal((4, 3)) + 1, RNG.standard_normal((4, 3))
        given = torch.tensor(x, requires_grad=True)
        theirs.train(batch).zero_grad()
        due = theirs(given)
        due.backward(torch.tensor(dy))
        y, c = pooling.batch_norm(x, p, batch=batch)
        dx, g = pooling.batch_norm_backward(dy, c)
        same(y, due.detach().numpy(), 1e-14)
        same(dx, given.grad.numpy(), 1e-14)
        for name in ("weight", "bias"):
            same(g[name], getattr(theirs, name).grad.numpy(), 1e-14)
        training.follow(p, c.get("followed", {}))
        for name in pooling.FOLLOWED:
            same(p[name], getattr(theirs, name).numpy(), 1e-14)


def test_a_way_that_is_none_is_refused():
    with pytest.raises(InputError, match="unknown pooling 'maximum'"):
        pooling.pooled(ROWS, None, how="maximum")


def test_lstms_give_torchs_last_states():
    torch = pytest.importorskip("torch", reason="torch.nn.LSTM is the published implementation")
    theirs = torch.nn.LSTM(4, 3, 1, batch_first=True, bidirectional=True, dtype=torch.float64)
    named = {name: tensor.detach().numpy() for name, tensor in theirs.named_parameters()}
    p = {direction: {name.replace(f"_l0{suffix}", ""): a for name, a in named.items() if name.endswith(f"_l0{suffix}")}
         for direction, suffix in (("forward", ""), ("backward", "_reverse"))}  # fmt: skip
    x, seen = RNG.standard_normal((2, 5, 4)), np.arange(5) < np.array([[3], [5]])
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), [3, 5], batch_first=True, enforce_sorted=False)
    due = theirs(packed)[1][0].detach().numpy()
    same(pooling.pooled(x, [p], how="lstm", seen=seen)[0], np.concatenate([due[0], due[1]], -1))


# ---- Attention by seeds ----------------------------------------------------------------------------------------------
def seeded():
    """A tree of the shapes and probe weights of the release's worked value: two heads, no norms."""
    names = [*zip(("query", "key", "value", "out"), range(4), strict=True)]
    p = {name: {"weight": wave((4, 4), 2 + 2 * i), "bias": wave((4,), 3 + 2 * i)} for name, i in names}
    return {"seeds": {"weight": wave((1, 4), 0)}, "feed_forward": {"out": p.pop("out")}, "attention": p}


def test_pooling_by_attention_is_the_releases():
    """juho-lee/set_transformer, whose scale is of the whole width."""
    due = [0.074255731955, -0.069204321375, -0.331973392793, 0.235544630943]
    x = wave((1, 3, 4), 1)
    y = pooling.attention_pooling(x, seeded(), width=2, scale=0.5)[0]
    assert np.allclose(y[0, 0], due, rtol=0, atol=1e-12)
    assert np.abs(pooling.attention_pooling(x, seeded(), width=2)[0][0, 0] - due).max() > 1e-4


def test_pooling_by_attention_knows_no_order_and_no_padding():
    x, p, seen = RNG.standard_normal((2, 4, 4)), seeded(), np.array([[1, 1, 1, 0], [1] * 4])
    y, c = pooling.attention_pooling(x, p, width=2, seen=seen)
    order = RNG.permutation(4)
    same(pooling.attention_pooling(x[:, order], p, width=2, seen=seen[:, order])[0], y)
    x[0, 3] = 1e3
    same(pooling.attention_pooling(x, p, width=2, seen=seen)[0], y)
    assert not pooling.attention_pooling_backward(np.ones(y.shape), c)[0][0, 3].any()


# ---- The tensor layer ------------------------------------------------------------------------------------------------
def test_the_tensor_layer_at_the_worked_example():
    """e1 = [1, 2], e2 = [0.5, -1], W = 0.1·(0 … 7), V = 0.05·(0 … 7), b = [0.1, -0.1], score [1, 2]·tanh z."""
    u, v, score = np.array([1.0, 2.0]), np.array([0.5, -1.0]), np.array([1.0, 2.0])
    p = {
        "tensor": {"weight": 0.1 * np.arange(8.0).reshape(2, 2, 2)},
        "linear": {"weight": 0.05 * np.arange(8.0).reshape(2, 4), "bias": np.array([0.1, -0.1])},
    }
    y, c = pooling.tensor_layer(u, v, p)
    assert np.allclose(np.arctanh(y), [-0.4, -0.7], rtol=1e-14)
    assert np.isclose(score @ y, -1.5886845164895518, rtol=1e-15)
    du, dv, g = pooling.tensor_layer_backward(score, c)
    slope = np.array([0.8556387861, 1.2694791799])
    for got, due in (
        (du, [-0.2125117966, -0.3187676949]),
        (dv, [2.8398298350, 3.5836211231]),
        (g["linear"]["bias"], slope),
        (g["linear"]["weight"], slope[:, None] * [1, 2, 0.5, -1]),
        (g["tensor"]["weight"], slope[:, None, None] * np.outer(u, v)),
    ):
        assert np.allclose(got, due, rtol=0, atol=2e-10)


def test_a_bilinear_map_is_torchs():
    torch = pytest.importorskip("torch", reason="torch.nn.functional.bilinear is the published implementation")
    args = {"u": (2, 3, 4), "v": (2, 3, 5), "weight": (6, 4, 5), "bias": (6,)}
    args = {name: RNG.standard_normal(shape) for name, shape in args.items()}
    given = {name: torch.tensor(a, requires_grad=True) for name, a in args.items()}
    theirs = torch.nn.functional.bilinear(*given.values())
    y, c = ops.bilinear(**args)
    same(y, theirs.detach().numpy())
    dy = RNG.standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    du, dv, g = ops.bilinear_backward(dy, c)
    for name, gradient in {"u": du, "v": dv, **g}.items():
        same(gradient, given[name].grad.numpy())
