"""Of `hashed`: attention in chunks of the text, and of the order of buckets."""

from collections.abc import Iterator

import numpy as np

from minibert import hashed
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, {**{name: {"weight": (4, 3)} for name in ("query", "key", "value")}, "output": {"weight": (3, 4)}})
    x, mask = rng.standard_normal((2, 6, 3)), np.array([[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1]])
    given = {"width": 2, "chunk": 2, "before": 1, "after": 1, "causal": False, "mask": mask}
    pair = hashed.local_attention, hashed.local_attention_backward
    yield Example("local_attention", *pair, {"x": x, "p": p}, {**given, "dropout": rng.random((2, 2, 3, 2, 6)) + 0.5})
    own = {name: p[name] for name in ("query", "value", "output")}
    given |= {"rotations": rng.standard_normal((2, 2, 2, 2, 3)), "factors": (2, 4), "causal": True, "after": 0}
    pair = hashed.hashed_attention, hashed.hashed_attention_backward
    given |= {"rules": ("own", "buckets", "meetings"), "dropout": rng.random((2, 2, 6, 2, 4)) + 0.5}
    yield Example("hashed_attention", *pair, {"x": x, "p": own}, given)
