"""The blocked kernels: accuracy of the normal tail, and results that depend on neither blocks nor threads."""

import math
import threading
import time
from contextvars import ContextVar

import numpy as np
import pytest

from minibert import buffers, kernels, optim

# (x, x·Φ(x), its derivative), from 50-digit arithmetic
GELU = [
    (1.0, 0.84134474606854295, 1.0833154705876863),
    (-1.0, -0.15865525393145705, -0.083315470587686298),
    (0.5, 0.34573123063700655, None),
    (-3.0, -0.0040496940948902836, -0.011945647204183927),
    (-10.0, -7.6198530241605261e-23, None),
    (0.0, 0.0, 0.5),
]


@pytest.mark.parametrize(("x", "value", "slope"), GELU)
def test_gelu_at_known_points(x, value, slope):
    at, one = np.array([x]), np.ones(1)
    assert kernels.gelu(at)[0] == pytest.approx(value, rel=5e-15, abs=1e-300)
    if slope is not None:
        assert kernels.gelu_slope(at, kernels.gelu(at), one)[0] == pytest.approx(slope, rel=1e-14)


@pytest.mark.parametrize(("dtype", "bar"), [(np.float64, 5e-16), (np.float32, 3e-7)])
def test_gelu_and_erf_against_the_standard_library(dtype, bar):
    x = np.linspace(-9, 9, 20001).astype(dtype)
    erf = np.array([math.erf(v) for v in x])
    phi = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])
    density = np.exp(-0.5 * x.astype(float) ** 2) / math.sqrt(2 * math.pi)
    assert np.abs(kernels.erf(x) - erf).max() < bar
    assert np.abs(kernels.erf(x) / np.where(x == 0, 1, erf) - 1)[x != 0].max() < 1.5 * bar
    assert (np.abs(kernels.gelu(x) - x * phi) / np.maximum(1, np.abs(x))).max() < bar
    assert np.abs(kernels.gelu_slope(x, kernels.gelu(x), np.ones_like(x)) - (phi + x * density)).max() < 2 * bar


def test_longdouble_is_no_worse_than_double():
    x = np.linspace(-6, 6, 101)
    wide = kernels.gelu(x.astype(np.longdouble)).astype(float)
    assert np.abs(wide - kernels.gelu(x)).max() < 1e-15


def test_gelu_at_the_ends():
    x = np.array([np.inf, -np.inf, np.nan, 1e300, -1e300])
    assert np.allclose(kernels.gelu(x), [np.inf, 0, np.nan, 1e300, 0], rtol=0, atol=1e-300, equal_nan=True)
    assert np.array_equal(kernels.gelu_slope(x, kernels.gelu(x), np.ones(5)), [1, 0, np.nan, 1, 0], equal_nan=True)


def test_tanh_gelu_differs_from_erf_gelu_by_what_is_known():
    x = np.linspace(-6, 6, 120001)
    gap = np.abs(kernels.gelu(x) - kernels.gelu_tanh(x))
    assert gap.max() == pytest.approx(4.7324e-4, rel=1e-4)
    assert abs(x[gap.argmax()]) == pytest.approx(2.699, abs=2e-3)


def test_bits_do_not_depend_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 700, 300)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 300)).astype(np.float32)

    q, k, v = rng.standard_normal((3, 3, 2, 150, 40)).astype(np.float32)
    large, wide = rng.standard_normal((300, 700)).astype(np.float32), rng.standard_normal((700, 900)).astype(np.float32)
    assert large.size * wide.shape[1] > kernels.LEAST_PRODUCT
    few, table = rng.standard_normal((7, 600)).astype(np.float32), rng.standard_normal((2900, 600)).astype(np.float32)
    assert table.size * (7 + kernels._WEIGHT) > kernels.LEAST_PRODUCT

    def everything():
        attended = kernels.attention(q, k, v, None, None, 0.1)
        y, xhat, rstd = kernels.layer_norm(x, weight, bias, 1e-5)
        return [
            kernels.product(large, wide),
            kernels.product(wide.T, large.T),
            kernels.product(few, table.T),
            kernels.add(x, dy, x),
            kernels.column_sums(x),
            kernels.gelu(x),
            kernels.gelu_slope(x, kernels.gelu(x), dy),
            y,
            *kernels.layer_norm_slope(dy, xhat, rstd, weight),
            kernels.softmax(x, np.empty_like(x)),
            *kernels.log_sum_exp(x),
            *attended,
            *kernels.attention_slope(q, q, k, v, attended[1], None, 0.1),
        ]

    monkeypatch.setattr(kernels, "THREADS", 1)
    alone = everything()
    monkeypatch.setattr(kernels, "THREADS", 3)
    assert all(np.array_equal(a, b) for a, b in zip(alone, everything(), strict=True))


@pytest.mark.parametrize("rows", [1, 2, 5, 17, 32, 33])
@pytest.mark.parametrize(("inner", "columns"), [(768, 771), (130, 3001), (70, 2), (3072, 259), (70000, 9)])
def test_a_product_of_few_rows_is_the_product(rows, inner, columns):
    rng = np.random.default_rng(rows)
    a, b = rng.standard_normal((rows, inner)), rng.standard_normal((columns, inner))
    for dtype, bar in ((np.float64, 1e-14), (np.float32, 1e-5)):
        for right in (b.astype(dtype).T, np.ascontiguousarray(b.T.astype(dtype))):
            got = kernels.product(a.astype(dtype), right)
            assert got.dtype == dtype
            assert np.abs(got - a @ b.T).max() < bar * inner


def test_work_beside_other_work_is_each_one_thread_s_in_the_caller_s_context(monkeypatch):
    monkeypatch.setattr(kernels, "THREADS", 2)
    told: ContextVar[str] = ContextVar("told", default="nobody")
    token = told.set("the caller")
    both = threading.Barrier(2, timeout=60)

    def work(item):
        if item < 2:
            both.wait()  # two are at work at a time
        inner = kernels.over_blocks(lambda part: threading.get_ident(), 6, 1)  # waits for no thread that waits for it
        return item, told.get(), {threading.get_ident()} == {*inner}

    assert sorted(kernels.beside(work, range(5))) == [(i, "the caller", True) for i in range(5)]
    told.reset(token)
    assert len({*kernels.over_blocks(lambda part: threading.get_ident(), 6, 1)}) == 2  # the caller shares as before
    assert [*kernels.beside(str, [])] == []
    with pytest.raises(ZeroDivisionError):
        [*kernels.beside(lambda item: 1 / item, [1, 0, 1])]


def test_what_is_left_of_the_work_is_not_begun(monkeypatch):
    monkeypatch.setattr(kernels, "THREADS", 2)
    begun, go = [], threading.Event()

    def work(item):
        begun.append(item)
        if item:
            go.wait(60)
        return item

    found = kernels.beside(work, range(9))
    assert next(found) == 0
    threading.Timer(0.05, go.set).start()  # the two at work end, nobody else begins
    found.close()
    assert len(begun) <= 4


@pytest.mark.parametrize("shape", [(700, 384), (384, 1536), (4096, 64), (33, 5000), (2, 30522)])
@pytest.mark.parametrize("count", [4, 6, 7])
def test_the_pieces_of_a_product_cover_it_once(shape, count):
    seen = np.zeros(shape, int)
    pieces = kernels._cut(*shape, count)
    for piece in pieces:
        seen[piece] += 1
    assert (seen == 1).all()
    assert len(pieces) <= count


def test_an_error_in_a_thread_is_raised_when_all_have_ended(monkeypatch):
    monkeypatch.setattr(kernels, "THREADS", 2)
    ended = []

    def block(part):
        if part.start == 1:
            raise ValueError("of the second block")
        ended.append(part.start)

    with pytest.raises(ValueError, match="of the second block"):
        kernels.over_blocks(block, 3, 1)
    assert sorted(ended) == [0, 2]
    assert kernels.over_blocks(lambda part: part.start, 3, 1) == [0, 1, 2]  # the thread is there still


def test_no_block_is_skipped_when_another_thread_sets_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(kernels, "THREADS", 2)

    def block(part):
        kernels.THREADS = 4
        return part.start

    assert kernels.over_blocks(block, 12, 1) == list(range(12))


@pytest.mark.parametrize(("t", "s"), [(70, 50), (131, 97), (5, 300), (64, 64)])
def test_attention_equals_the_plain_formula(t, s):
    rng = np.random.default_rng(t)
    q, dy = rng.standard_normal((2, 2, 3, t, 64))
    k, v = rng.standard_normal((2, 2, 3, s, 64))
    bias, dropout = rng.standard_normal((2, 1, 1, s)), rng.random((2, 3, t, s))
    scores = 0.2 * q @ k.swapaxes(-1, -2) + bias
    probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    y, kept = kernels.attention(q, k, v, bias, dropout, 0.2)
    assert np.allclose(kept, probs, rtol=1e-12)
    assert np.allclose(y, (probs * dropout) @ v, rtol=0, atol=1e-13)
    dprobs = dy @ v.swapaxes(-1, -2) * dropout
    dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True)) * 0.2
    expected = dscores @ k, dscores.swapaxes(-1, -2) @ q, (probs * dropout).swapaxes(-1, -2) @ dy
    for got, true in zip(kernels.attention_slope(dy, q, k, v, kept, dropout, 0.2), expected, strict=True):
        assert np.allclose(got, true, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(70, 40, 65), (300, 700, 900), (2000, 90, 128), (1, 6000, 3000), (3, 0, 2)])
def test_products_in_pieces(m, k, n, dtype):
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((k, m)).astype(dtype).T, rng.standard_normal((n, k)).astype(dtype).T
    expected = np.einsum("mk,kn->mn", a, b.astype(np.float64))
    assert np.abs(kernels.product(a, b) - expected).max() <= 2 * np.finfo(dtype).eps * k


@pytest.fixture
def blas():
    """(get, set) of the number of OpenBLAS's threads, which are three."""
    get, put = kernels.openblas("get_num_threads"), kernels.openblas("set_num_threads")
    if get is None:
        pytest.skip("NumPy has another BLAS than OpenBLAS here")
    before = get()
    put(3)
    yield get, put
    put(before)


def test_blas_gets_its_threads_back(blas):
    get, _ = blas
    with kernels.one_blas_thread():
        with pytest.raises(ValueError, match="matmul"):  # shapes that don't fit, beyond _ALONE
            kernels.product(np.ones((90, 90)), np.ones((91, 90)))
        assert get() == 1  # an inner one gives nothing back
    assert get() == 3
    with pytest.raises(ValueError, match="matmul"):
        kernels.product(np.ones((90, 90)), np.ones((91, 90)))
    assert get() == 3


def test_who_was_cut_off_inside_does_not_stay_there(blas):
    get, put = blas
    kernels._threads_before.append(3)  # as Ctrl-C between entering and leaving would have it
    put(1)
    kernels.product(np.ones((90, 90)), np.ones((90, 90)))
    assert get() == 3


def test_nobody_writes_after_an_error(monkeypatch):
    monkeypatch.setattr(kernels, "THREADS", 2)
    done = []

    def block(part):
        if part.start == 0:
            raise ZeroDivisionError
        time.sleep(0.01)
        done.append(part.start)

    with pytest.raises(ZeroDivisionError):
        kernels.over_blocks(block, 6, 1)
    assert done == [1, 3, 5]


def test_shapes_and_dtypes_of_sums_and_dropout():
    x = np.arange(6.0).reshape(2, 3)
    with pytest.raises(ValueError, match="broadcast"):
        kernels.add(x, x.T.copy())
    with pytest.raises(ValueError, match="broadcast"):
        kernels.dropped(x, np.ones((3, 2), bool), 2.0)
    assert np.array_equal(kernels.dropped(x, np.array([[1], [0]]), 2.0), x * [[2], [0]])
    assert kernels.add(x.astype(np.float32), x).dtype == np.float64
    assert kernels.dropped(np.array([3e38], np.float32), np.array([False]), 2.0) == 0


def test_scatter_add_accumulates_repeated_ids():
    rng = np.random.default_rng(1)
    ids, values = rng.integers(0, 5, 40), rng.standard_normal((40, 3))
    expected = np.zeros((7, 3))
    np.add.at(expected, ids, values)
    assert np.allclose(kernels.scatter_add(ids, values, 7), expected, rtol=0, atol=1e-13)
    assert not kernels.scatter_add(ids[:0], values[:0], 7).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_rows_with_nothing_to_prefer(dtype):
    x = np.array([[-np.inf, -np.inf, -np.inf], [0, -np.inf, 0], [1e4, 0, -1e4]], dtype)
    y = kernels.softmax(x, np.empty_like(x))
    assert np.allclose(y, [[1 / 3] * 3, [0.5, 0, 0.5], [1, 0, 0]], atol=1e-7)


class Counted(np.ndarray):
    """An array that counts the passes over it and its like, of ufuncs over as many entries."""

    passes, whole = 0, 64 * 64

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **given):
        def bare(a):
            return a.view(np.ndarray) if isinstance(a, Counted) else a

        Counted.passes += max(np.size(a) for a in inputs) >= self.whole
        into = {} if out is None else {"out": tuple(map(bare, out))}
        result = getattr(ufunc, method)(*map(bare, inputs), **into, **given)
        return result if out is None else out[0]


def counted(arrays):
    return [a.view(Counted) for a in arrays] if isinstance(arrays, list) else arrays.view(Counted)


X, DY = np.random.default_rng(0).standard_normal((2, 64, 64)).astype(np.float32)
ROW, HALF = np.ones(64, np.float32), X[:, :1]
PASSES = {  # a sum over rows by BLAS is one; where the first operand is not the engine's own, it is not counted
    "gelu": (24, lambda: kernels.gelu(X)),
    "gelu_slope": (14, lambda: kernels.gelu_slope(X, X, DY)),
    "gelu_tanh": (8, lambda: kernels.gelu_tanh(X)),
    "gelu_tanh_slope": (15, lambda: kernels.gelu_tanh_slope(X, DY)),
    "layer_norm": (5, lambda: kernels.layer_norm(X, ROW, ROW, 1e-5)),
    "layer_norm_slope": (9, lambda: kernels.layer_norm_slope(DY, X, HALF, ROW)),
    "softmax": (5, lambda: kernels.softmax(counted(X), counted(X.copy()))),
    "softmax_slope": (2, lambda: kernels.softmax_slope(DY, X)),
    "log_sum_exp": (3, lambda: kernels.log_sum_exp(X)),
    "softmax_minus_onehot": (
        4, lambda: kernels.softmax_minus_onehot(X, HALF, HALF, np.zeros(64, np.int64), np.ones(64, np.float32))),
    **{name: (most, lambda name=name: updated(name)) for name, most in (("adamw", 14), ("bert_adam", 15))},
}  # fmt: skip


def updated(name):
    held, grads = {"w": counted(X.copy())}, {"w": counted(DY.copy())}
    state = getattr(optim, f"{name}_state")(held)
    state |= {slot: {"w": counted(np.abs(X))} for slot in state if slot != "step"}
    getattr(optim, name).__wrapped__(held, grads, state, lr=0.1, decay={"w": 0.1}, scale=0.5)


@pytest.mark.parametrize("name", PASSES)
def test_passes_over_memory(name, monkeypatch):
    """So that none is added unseen; each is a walk through all entries."""
    most, run = PASSES[name]
    for module, function in ((kernels, "scratch"), (buffers, "empty_like")):
        own = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *args, own=own: counted(own(*args)))
    monkeypatch.setattr(kernels, "THREADS", 1)
    Counted.passes = 0
    run()
    assert Counted.passes == most
