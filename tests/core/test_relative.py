"""What of the distance from a query to a key enters its score: the shift, and the sinusoids of distances."""

import numpy as np
import pytest

from minibert import ops, relative, strategies
from reference import double

SIZES = [(3, 4, 6), (3, 4, 5), (3, 4, 4), (2, 5, 9), (1, 3, 3), (4, 4, 4), (3, 2, 2)]  # queries, keys, columns


@pytest.mark.parametrize(("length", "keys", "columns"), SIZES)
@pytest.mark.parametrize("order", strategies.ORDERS)
def test_a_key_gets_the_score_of_its_distance(length, keys, columns, order):
    x = strategies.ORDERS[order](np.random.default_rng(0).standard_normal((2, 2, length, columns)))
    x.flags.writeable = False
    y, _ = ops.relative_shift(x, keys=keys)
    assert y.shape == (2, 2, length, keys)
    for i in range(length):
        for j in range(keys):
            distance = keys - length + i - j
            column = keys - 1 - distance
            due = x[:, :, i, column] if column < columns else 0
            assert np.array_equal(y[:, :, i, j], np.broadcast_to(due, (2, 2))), (i, j)


@pytest.mark.parametrize(("length", "keys", "columns"), SIZES)
def test_the_backward_is_the_adjoint(length, keys, columns):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 3, length, columns)), rng.standard_normal((2, 3, length, keys))
    y, c = ops.relative_shift(x, keys=keys)
    dx = ops.relative_shift_backward(dy, c)
    assert dx.shape == x.shape
    # <shift x, dy> = <x, shift* dy> over every basis vector: entry by entry
    for at in np.ndindex(length, columns):
        basis = np.zeros_like(x)
        basis[..., *at] = 1
        assert np.allclose((ops.relative_shift(basis, keys=keys)[0] * dy).sum((2, 3)), dx[..., *at], rtol=0, atol=0)
    assert np.sum(y * dy) == pytest.approx(np.sum(x * dx), rel=1e-13)


def test_all_distances_are_shifted_without_a_copy():
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    y, _ = ops.relative_shift(x, keys=3)
    assert np.shares_memory(x, y)
    assert not y.flags.writeable
    assert not np.shares_memory(x, ops.relative_shift(x, keys=6)[0])


def test_the_shift_of_the_releases():
    """The causal one of kimiyoung/transformer-xl where a query may look, that of zihangdai/xlnet everywhere."""
    x = np.random.default_rng(2).standard_normal((2, 3, 4, 7))
    padded = np.concatenate([np.zeros((2, 3, 4, 1)), x], -1).reshape(2, 3, 8, 4)[:, :, 1:].reshape(2, 3, 4, 7)
    seen = np.tri(4, 7, 3, dtype=bool)
    assert np.array_equal(ops.relative_shift(x, keys=7)[0], np.where(seen, padded, 0))
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 11))  # distances 7 ... -3, the first of which nobody needs
    xlnet = x.reshape(2, 3, 11, 4)[:, :, 1:].reshape(2, 3, 4, 10)[..., :7]
    assert np.array_equal(ops.relative_shift(x[..., 1:], keys=7)[0], xlnet)


@pytest.mark.parametrize(("clamp", "back"), [(0, False), (3, False), (0, True), (2, True)])
def test_sinusoids_of_distances_are_their_doubles(clamp, back):
    for width in (6, 5):
        rows = relative.sinusoids(4, -3, width=width, dtype=np.dtype(np.float64), clamp=clamp, back=back)
        distances = [-d if back else d for d in range(4, -4, -1)]
        due = double("distance_sinusoids")(distances, width, 1.0, clamp=clamp)
        assert np.abs(rows - np.array(due)).max() < 1e-15


def test_sinusoids_are_computed_once_a_length_and_kept():
    given = {"width": 4, "dtype": np.dtype(np.float32)}
    rows = relative.sinusoids(5, 0, **given)
    assert rows is relative.sinusoids(5, 0, **given)
    assert rows.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 0


def test_four_terms_as_loops_have_them():
    """Every score of a query and a key that it may see; distances of both directions change none."""
    rng, width, heads, t, s = np.random.default_rng(4), 2, 3, 3, 5
    x, source = rng.standard_normal((2, t, 4)), rng.standard_normal((2, s, 4))
    p = {name: {"weight": rng.standard_normal((6, 4))} for name in ("query", "key", "value", "position")}
    p["output"] = {"weight": rng.standard_normal((4, 6))}
    p["content"], p["position"]["bias"] = {"bias": rng.standard_normal((3, 2))}, rng.standard_normal((3, 2))
    mask = np.tri(t, s, s - t, dtype=bool)[None, None]
    places = relative.sinusoids(s - 1, 1 - t, width=4, dtype=np.dtype(np.float64))
    y, c = relative.relative_attention(x, source, p, places=places[:s], width=width, mask=mask)
    wide, _ = relative.relative_attention(x, source, p, places=places, width=width, mask=mask)
    assert np.abs(wide - y).max() < 1e-14
    q, k, r = (a @ p[name]["weight"].T for a, name in ((x, "query"), (source, "key"), (places, "position")))
    due = np.full((2, heads, t, s), -np.inf)
    for b, h, i in np.ndindex(2, heads, t):
        own = slice(h * width, (h + 1) * width)
        for j in range(s - t + i + 1):
            distance = s - t + i - j
            content = (q[b, i, own] + p["content"]["bias"][h]) @ k[b, j, own]
            position = (q[b, i, own] + p["position"]["bias"][h]) @ r[s - 1 - distance, own]
            due[b, h, i, j] = (content + position) / width**0.5
    e = np.exp(due - due.max(-1, keepdims=True))
    assert np.abs(c["attention"]["probs"] - e / e.sum(-1, keepdims=True)).max() < 1e-14
