"""Of `families/set_transformer`: its layers, with points and without."""

from collections.abc import Iterator

import numpy as np

from minibert.families import set_transformer
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    def mab(x: int, y: int) -> dict:
        widths = {"query": x, "key": y, "value": y}
        attention = {name: {"weight": (4, n), "bias": (4,)} for name, n in widths.items()}
        return {"attention": attention, "feed_forward": {"out": {"weight": (4, 4), "bias": (4,)}}}

    x, given = rng.standard_normal((2, 3, 3)), {"width": 2, "scale": 0.5, "seen": np.array([[1, 1, 0], [1, 0, 1]])}
    pair = set_transformer.set_self_attention, set_transformer.set_self_attention_backward
    yield Example("set_self_attention", *pair, {"x": x, "p": drawn(rng, mab(3, 3))}, given)
    p = drawn(rng, {"points": {"weight": (2, 4)}, "induce": mab(4, 3), "read": mab(3, 4)}, 0.4)
    pair = set_transformer.induced_attention, set_transformer.induced_attention_backward
    yield Example("induced_attention", *pair, {"x": x, "p": p}, given)
