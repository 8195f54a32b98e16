"""Of `pooling`: what makes one vector of a text."""

from collections.abc import Iterator

import numpy as np

from minibert import pooling, recurrent, tree
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    x, seen, both = rng.standard_normal((2, 3, 2)), np.array([[1, 1, 0], [1, 1, 1]]), recurrent.shapes(2, 1, both=True)
    wide, there = rng.standard_normal((2, 4, 4)), np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    first, last = (
        (pooling.first_token, pooling.first_token_backward),
        (pooling.last_token, pooling.last_token_backward),
    )
    yield Example("first_token", *first, {"x": x}, {"seen": seen[:, ::-1]})
    yield Example("last_token", *last, {"x": x}, {"seen": seen[:, ::-1]})
    yield from _of_several(rng, x, seen)
    pair, read = (pooling.lstm_pooling, pooling.lstm_pooling_backward), {"seen": seen[:, 1:]}
    yield Example("lstm_pooling", *pair, {"x": x[:, 1:], "ps": drawn(rng, [both])}, read)
    pair, loud = (pooling.rcnn_pooling, pooling.rcnn_pooling_backward), tree.map(abs, drawn(rng, [both]))  # ReLU: not 0
    yield Example("rcnn_pooling", *pair, {"x": abs(x[:, 1:]), "ps": loud}, read)
    windows = [{**drawn(rng, {"weight": (n, 4, k)}), "bias": 1 + rng.random(n)} for n, k in ((3, 2), (2, 3))]
    pair = pooling.text_convolution, pooling.text_convolution_backward
    yield Example("text_convolution", *pair, {"x": wide, "ps": windows}, {"seen": there})
    yield from _of_sets(rng, x, seen)
    layer = drawn(rng, {"tensor": {"weight": (3, 2, 4)}, "linear": {"weight": (3, 6), "bias": (3,)}})
    pair = pooling.tensor_layer, pooling.tensor_layer_backward
    yield Example("tensor_layer", *pair, {"u": x[:, 0], "v": wide[:, 0], "p": layer}, {})
    yield Example("cosine", pooling.cosine, pooling.cosine_backward, {"u": x[0], "v": x[1]}, {})
    pair, mixed = (pooling.layer_pooling, pooling.layer_pooling_backward), {"x": rng.standard_normal((2, *x.shape))}
    yield Example("layer_pooling", *pair, {**mixed, "p": drawn(rng, {"weight": (2,)})}, {"seen": seen})


def _of_several(rng: np.random.Generator, x: np.ndarray, seen: np.ndarray) -> Iterator[Example]:
    pair = pooling.concat_pooling, pooling.concat_pooling_backward
    yield Example("concat_pooling", *pair, {"x": x}, {"seen": seen})
    pair, rows = (pooling.batch_norm, pooling.batch_norm_backward), rng.standard_normal((4, 2))
    norm = tree.map(abs, drawn(rng, dict.fromkeys(("weight", "bias", *pooling.FOLLOWED), (2,))))
    for batch in (True, False):
        yield Example("batch_norm", *pair, {"x": rows, "p": norm}, {"batch": batch})
    pair = pooling.ulmfit_pooling, pooling.ulmfit_pooling_backward
    p = tree.map(abs, drawn(rng, pooling.shapes("ulmfit", 2, units=2)))
    p["dense"]["weight"][1] *= -1
    keep = np.array([[1, 0, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1]], bool)
    yield Example("ulmfit_pooling", *pair, {"x": x, "p": p}, {"seen": seen, "keep": keep, "rate": 0.2})


def _of_sets(rng: np.random.Generator, x: np.ndarray, seen: np.ndarray) -> Iterator[Example]:
    def dense(n_in: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (3, n_in), "bias": (3,)}

    attention, norm = {name: dense(2) for name in ("query", "key", "value")}, {"weight": (3,), "bias": (3,)}
    p = drawn(rng, {"attention": {**attention, "norm": norm}, "feed_forward": {"out": dense(3), "norm": norm}})
    how, given = {"width": 1, "seen": seen}, {"x": rng.standard_normal((2, 2, 2)), "y": x, "p": p}
    pair = pooling.set_attention, pooling.set_attention_backward
    yield Example("set_attention", *pair, given, {**how, "scale": 0.6, "eps": 1e-3})
    p = drawn(rng, {"attention": attention, "feed_forward": {"out": dense(3)}, "seeds": {"weight": (2, 2)}})
    pair = pooling.attention_pooling, pooling.attention_pooling_backward
    yield Example("attention_pooling", *pair, {"x": x, "p": p}, how)
