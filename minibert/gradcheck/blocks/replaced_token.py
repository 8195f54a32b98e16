"""Of the head `replaced_token`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, states
from minibert.heads import replaced_token


def examples(rng: np.random.Generator) -> Iterator[Example]:
    pair, act = (replaced_token.rtd_head, replaced_token.rtd_head_backward), "gelu"
    given = {"x": states(rng), "p": drawn(rng, replaced_token.shapes(width=4), 0.3)}  # more would silence its units
    yield Example("rtd_head", *pair, given, {"act": act}, {"activation": act})
