"""Attention beside recurrence and convolution: the formulas of their cost against what the engine computes."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import kernels, lengths, tree

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
layers = importlib.import_module("layers")
NAMES = layers.known()


def made(name, n, rows=1, **sizes):
    layer, rng = layers.known(layers.WIDTH, **sizes)[name], np.random.default_rng(n)
    return layer, layers.drawn(layer.shapes, rng, np.float64), rng.standard_normal((rows, n, layers.WIDTH))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [96, 192])
def test_multiplications_are_those_of_the_formula(name, n):
    """As ops are called, for each of two rows."""
    layer, p, x = made(name, n, rows=2)
    assert lengths.multiplications(lambda: layer.forward(x, p)) == 2 * layer.work(n, layers.WIDTH)


@pytest.mark.parametrize("name", NAMES)
def test_products_that_wait_for_one_another_grow_with_the_text_in_a_recurrence_alone(name, monkeypatch):
    def products(n):
        layer, p, x = made(name, n)
        found, product = [], kernels.product
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "product", lambda *args: found.append(1) or product(*args))
            layer.forward(x, p)
        return len(found)

    layer = NAMES[name]
    assert products(192) - products(96) == layer.sequential(192) - layer.sequential(96)


@pytest.mark.parametrize("name", NAMES)
def test_the_path_is_as_long_as_it_takes_the_first_token_to_reach_the_last(name):
    """Layers upon one another: after one fewer than the formula says the last output has no gradient by the first
    token. In a recurrence one layer is enough, and the path runs through the tokens.
    """
    n = 36
    layer, p, x = made(name, n, kernel=7, near=27)
    x = x[:, : n // 9 * 9]

    def reaches(depth):
        caches, h = [], x
        for _ in range(depth):
            h, c = layer.forward(h, p)
            caches.append(c)
        d = np.zeros_like(h)
        d[0, -1] = np.random.default_rng(0).standard_normal(h.shape[-1])
        for c in reversed(caches):
            d = layer.backward(d, c)[0]
        return bool(d[0, 0].any())

    due = 1 if name.startswith("recurrence") else layer.path(n)
    assert reaches(due)
    assert not reaches(due - 1)
    assert due == {"attention": 1, "restricted attention": 3, "recurrence (LSTM)": 1, "convolution": 12}[name]


def test_attention_to_a_neighbourhood_that_is_the_text_is_attention():
    """Forward and backward, to 1e-14, where one block and its neighbours hold all tokens."""
    full, p, x = made("attention", 9, rows=2)
    near, *_ = made("restricted attention", 9, near=27)
    due, got = full.forward(x, p), near.forward(x, p)
    assert np.abs(due[0] - got[0]).max() < 1e-14 * np.abs(due[0]).max()
    dy = np.random.default_rng(1).standard_normal(due[0].shape)
    (dx, g), (dx_near, g_near) = full.backward(dy, due[1]), near.backward(dy, got[1])
    assert np.abs(dx - dx_near).max() < 1e-13 * np.abs(dx).max()
    largest = max(np.abs(a).max() for a in tree.leaves(g))
    assert all(np.abs(a - b).max() < 1e-13 * largest for a, b in zip(tree.leaves(g), tree.leaves(g_near), strict=True))


def test_the_picture_has_a_line_for_each_layer_in_both_charts():
    rows = [layers.Row(name, n, n / 7, n / 3, n) for name in NAMES for n in (64, 128)]
    drawn = layers.picture(rows)
    assert drawn.count("<polyline") == 3 * len(NAMES)
    assert drawn.startswith("<svg")
    page = (Path(__file__).parents[2] / "reference" / "SCIENCE.md").read_text(encoding="utf-8")
    assert "`python tests/benchmarks/layers.py --svg reference/layers.svg`" in page
    assert all(line in page for line in layers.formulas())
