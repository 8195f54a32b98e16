"""Of `families/reformer`: axial positions, the feed-forward in slices, the reversible layer."""

from collections.abc import Iterator

import numpy as np

from minibert.families import reformer
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, places = drawn(rng, [{"weight": (3, 2)}, {"weight": (2, 1)}]), np.array([[0, 3, 5], [5, 1, 2]])
    pair = reformer.axial_positions, reformer.axial_positions_backward
    yield Example("axial_positions", *pair, {"p": p}, {"places": places})
    norm = {"weight": (3,), "bias": (3,)}
    p = drawn(rng, {"norm": norm, "in": {"weight": (4, 3), "bias": (4,)}, "out": {"weight": (3, 4), "bias": (3,)}})
    x, keep = rng.standard_normal((2, 2, 5, 3)), rng.integers(0, 2, (2, 5, 4))
    how = {"act": "tanh", "eps": 1e-2, "keep": keep, "rate": 0.25}
    pair = reformer.normed_feed_forward, reformer.normed_feed_forward_backward
    yield Example("normed_feed_forward", *pair, {"x": x[0], "p": p}, how)
    pair = reformer.sliced_feed_forward, reformer.sliced_feed_forward_backward
    yield Example("sliced_feed_forward", *pair, {"x": x[1], "p": p}, {**how, "slices": 2})
    attention = {"query": {"weight": (4, 3)}, "value": {"weight": (4, 3)}, "output": {"weight": (3, 4)}, "norm": norm}
    keep = {"attention": rng.integers(0, 2, (2, 5, 3)), "inner": keep, "feed_forward": rng.integers(0, 2, (2, 5, 3))}
    attending = {"width": 2, "chunk": 5, "before": 1, "after": 0, "causal": True, "factors": (2,), "rotations": None}
    given = {**how, "kind": "lsh", "keep": keep, "slices": 3, "attending": attending}
    pair = reformer.reversible_layer, reformer.reversible_layer_backward
    p = {"attention": drawn(rng, attention), "feed_forward": p}
    yield Example("reversible_layer", *pair, {"x": x, "p": p}, given)
