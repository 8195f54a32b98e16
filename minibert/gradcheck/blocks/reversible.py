"""Of `reversible`: the feed-forward in slices, the layer."""

from collections.abc import Iterator

import numpy as np

from minibert import reversible
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    norm = {"weight": (3,), "bias": (3,)}
    p = drawn(rng, {"norm": norm, "in": {"weight": (4, 3), "bias": (4,)}, "out": {"weight": (3, 4), "bias": (3,)}})
    x, keep = rng.standard_normal((2, 2, 5, 3)), rng.integers(0, 2, (2, 5, 4))
    how = {"act": "tanh", "eps": 1e-2, "keep": keep, "rate": 0.25}
    pair = reversible.normed_feed_forward, reversible.normed_feed_forward_backward
    yield Example("normed_feed_forward", *pair, {"x": x[0], "p": p}, how)
    pair = reversible.sliced_feed_forward, reversible.sliced_feed_forward_backward
    yield Example("sliced_feed_forward", *pair, {"x": x[1], "p": p}, {**how, "slices": 2})
    attention = {"query": {"weight": (4, 3)}, "value": {"weight": (4, 3)}, "output": {"weight": (3, 4)}, "norm": norm}
    keep = {"attention": rng.integers(0, 2, (2, 5, 3)), "inner": keep, "feed_forward": rng.integers(0, 2, (2, 5, 3))}
    attending = {"width": 2, "chunk": 5, "before": 1, "after": 0, "causal": True, "factors": (2,), "rotations": None}
    given = {**how, "kind": "lsh", "keep": keep, "slices": 3, "attending": attending}
    pair = reversible.reversible_layer, reversible.reversible_layer_backward
    p = {"attention": drawn(rng, attention), "feed_forward": p}
    yield Example("reversible_layer", *pair, {"x": x, "p": p}, given)
