"""Of `families/grover`: its layer."""

from collections.abc import Iterator

import numpy as np

from minibert import layers, ops
from minibert.families import grover
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    norm, square = {"weight": (4,), "bias": (4,)}, {"weight": (4, 4), "bias": (4,)}
    attention = {**dict.fromkeys(("query", "key", "value", "output"), square), "norm": norm}
    feed = {"in": {"weight": (3, 4), "bias": (3,)}, "out": {"weight": (4, 3), "bias": (4,)}, "norm": norm}
    p = drawn(rng, {"attention": attention, "feed_forward": feed})
    mask = layers.causal(2, 2, np.array([[1, 1], [1, 0]]))
    keep = {name: rng.integers(0, 2, (2, 2, 4)) for name in ("attention", "feed_forward")}
    given = {"heads": 2, "eps": 1e-2, "keep": keep, "rate": 0.25}
    own = {**given, "act": "gelu", "mask": mask}
    doubled = {**given, "activation": "gelu", "bias": ops.masking(mask, "min", np.dtype(np.float64))[0]}
    pair = grover.grover_layer, grover.grover_layer_backward
    yield Example("grover_layer", *pair, {"x": rng.standard_normal((2, 2, 4)), "p": p}, own, doubled)
