"""Of `families/transformer_xl`: its tables and its layer, with norms behind sub-layers and before them."""

from collections.abc import Iterator

import numpy as np

from minibert import layers, ops
from minibert.families import transformer_xl
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair = transformer_xl.adaptive_embedding, transformer_xl.adaptive_embedding_backward
    tables = [{"word": {"weight": (n, e)}, "projection": {"weight": (2, e)}} for n, e in ((3, 3), (2, 2))]
    yield Example("adaptive_embedding", *pair, {"p": drawn(rng, tables)},
                  {"ids": np.array([[0, 4, 2], [4, 1, 0]]), "ends": (0, 3, 5)})  # fmt: skip
    attention = {name: {"weight": (2, 4)} for name in ("query", "key", "value")}
    norm = {"weight": (4,), "bias": (4,)}
    attention |= {"position": {"weight": (2, 4), "bias": (2, 1)}, "content": {"bias": (2, 1)}, "norm": norm}
    feed = {"in": {"weight": (3, 4), "bias": (3,)}, "out": {"weight": (4, 3), "bias": (4,)}, "norm": norm}
    p = drawn(rng, {"attention": {**attention, "output": {"weight": (4, 2)}}, "feed_forward": feed})
    mask = layers.causal(2, 3, np.array([[1, 1, 0], [0, 1, 1]]))
    keep = {name: rng.integers(0, 2, (2, 2, 4)) for name in ("attention", "feed_forward")}
    given = {"mem": rng.standard_normal((2, 1, 4)), "places": rng.standard_normal((3, 4)), "width": 1, "eps": 1e-2}
    given |= {"pre": True, "keep": keep, "rate": 0.25}
    bias = ops.masking(mask, "min", np.dtype(np.float64))[0]
    pair = transformer_xl.xl_layer, transformer_xl.xl_layer_backward
    x = {"x": rng.standard_normal((2, 2, 4)), "p": p}
    yield Example("xl_layer", *pair, x, {**given, "inner": None, "mask": mask}, {**given, "bias": bias})
