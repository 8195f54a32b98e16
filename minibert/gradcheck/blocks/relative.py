"""Of `relative`: where one token stands from another."""

from collections.abc import Iterator

import numpy as np

from minibert import layers, ops, relative
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair, places = (relative.relative_bias, relative.relative_bias_backward), {"both": True, "count": 8, "most": 6}
    table = drawn(rng, {"weight": (8, 2)})
    yield Example("relative_bias", *pair, {"p": table}, {"buckets": relative.buckets(3, 4, **places)})
    names = {**dict.fromkeys(("query", "key", "value"), (4, 3)), "output": (3, 4)}
    p = drawn(rng, {name: {"weight": shape} for name, shape in names.items()})
    p |= drawn(rng, {"position": {"weight": (4, 3), "bias": (2, 2)}, "content": {"bias": (2, 2)}})
    given = {"x": rng.standard_normal((2, 2, 3)), "source": rng.standard_normal((2, 4, 3)), "p": p}
    how = {"places": rng.standard_normal((4, 3)), "width": 2}
    mask = layers.causal(2, 4, np.array([[1, 1, 0, 1], [0, 1, 1, 1]]))
    pair = relative.relative_attention, relative.relative_attention_backward
    doubled = {**how, "bias": ops.masking(mask, "min", np.dtype(np.float64))[0]}
    yield Example("relative_attention", *pair, given, {**how, "mask": mask}, doubled)
