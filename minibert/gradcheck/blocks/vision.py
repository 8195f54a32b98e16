"""Of `vision`: patches, images of characters, windows, merging, a layer of Swin's."""

from collections.abc import Iterator

import numpy as np

from minibert import vision
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    dense = {"weight": (2, 4), "bias": (2,)}
    p = drawn(rng, {"patch": dense, "class": {"weight": (1, 2)}, "position": {"weight": (5, 2)}})
    p["norm"] = drawn(rng, {"weight": (2,), "bias": (2,)})
    given = {"x": rng.standard_normal((2, 1, 4, 6)), "p": p, "token": rng.standard_normal((1, 2))}
    hidden = {"size": 2, "hidden": np.array([[1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0]]), "eps": 1e-2}
    dropped = {"keep": np.arange(28).reshape(2, 7, 2) % 5 > 0, "rate": 0.25}
    pair = vision.patch_embeddings, vision.patch_embeddings_backward
    yield Example("patch_embeddings", *pair, given, {**hidden, **dropped})
    attention = {name: {"weight": (2, 2), "bias": (2,)} for name in ("query", "key", "value", "output")}
    attention["relative_positions"] = {"weight": (9, 2)}
    cells, grid = rng.standard_normal((2, 12, 2)), {"height": 3, "size": 2, "shift": 1}
    ends = {"keep": np.arange(64).reshape(8, 4, 2) % 7 > 0, "rate": 0.2, "path_rate": 0.5}
    ends["path"] = np.array([0, 1]).reshape(2, 1, 1)
    pair = vision.windowed_attention, vision.windowed_attention_backward
    yield Example("windowed_attention", *pair, {"x": cells, "p": drawn(rng, attention)}, {**grid, "width": 1, **ends})
    merge = {"norm": {"weight": (8,), "bias": (8,)}, "reduction": {"weight": (3, 8)}}
    given = {"x": rng.standard_normal((1, 9, 2)), "p": drawn(rng, merge)}
    pair = vision.patch_merging, vision.patch_merging_backward
    yield Example("patch_merging", *pair, given, {"height": 3, "eps": 1e-2})
    norm = {"weight": (2,), "bias": (2,)}
    feed = {"norm": norm, "in": {"weight": (3, 2), "bias": (3,)}, "out": {"weight": (2, 3), "bias": (2,)}}
    layer = {"attention": {**attention, "norm": norm}, "feed_forward": feed}
    how = {"heads": 2, "act": "gelu", "eps": 1e-2, "rate": 0.25, "keep": np.arange(48).reshape(2, 12, 2) % 5 > 0}
    given = {"x": cells, "p": drawn(rng, layer)}
    yield Example("swin_layer", vision.swin_layer, vision.swin_layer_backward, given, {**how, **grid})
    seen = {"image": {"weight": (3, 18)}, "filter": {"weight": (2, 8), "bias": (2,)}}
    p = drawn(rng, {**seen, "map": {"weight": (2, 2), "bias": (2,)}})
    p["filter"]["bias"] += 2  # of each filter some window is above 0
    pair = vision.image_vectors, vision.image_vectors_backward
    yield Example("image_vectors", *pair, {"p": p}, {"ids": np.array([2, 0]), "fonts": 2, "kernel": 2})
