"""Of `sliding`: a window about each token, and tokens that all attend to."""

from collections.abc import Iterator

import numpy as np

from minibert import sliding
from minibert.gradcheck.blocks import Example, drawn

THERE = [[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]]
EVERYWHERE = [[1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0]]  # of what is not there, too; none of a row


def examples(rng: np.random.Generator) -> Iterator[Example]:
    dense = {"weight": (4, 3), "bias": (4,)}
    qkv = dict.fromkeys(("query", "key", "value"), dense)
    p = drawn(rng, {**qkv, "output": {"weight": (3, 4), "bias": (3,)}, "global": qkv})
    how = {"width": 2, "window": 1, "dilation": (1, 2)}
    how["dropout"] = {"window": abs(rng.standard_normal((2, 2, 6, 3))), "global": abs(rng.standard_normal((2, 2, 6)))}
    pair = sliding.sliding_attention, sliding.sliding_attention_backward
    seen = sliding.sight(np.array(THERE), np.array(EVERYWHERE))
    doubled = {**how, "there": THERE, "everywhere": EVERYWHERE}
    given = {"x": rng.standard_normal((2, 6, 3)), "p": p}
    yield Example("sliding_attention", *pair, given, {**how, "seen": seen}, doubled)
