"""Of `relative`: where one token stands from another."""

from collections.abc import Iterator

import numpy as np

from minibert import relative
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair, places = (relative.relative_bias, relative.relative_bias_backward), {"both": True, "count": 8, "most": 6}
    table = drawn(rng, {"weight": (8, 2)})
    yield Example("relative_bias", *pair, {"p": table}, {"buckets": relative.buckets(3, 4, **places)})
