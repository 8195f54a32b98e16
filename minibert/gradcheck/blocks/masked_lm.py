"""Of the head `masked_lm`, its table beside it."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, states
from minibert.heads import masked_lm


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, masked_lm.shapes(width=4, table=(7, 4), tied=True))
    given, how = {"x": states(rng), "p": p, "table": rng.standard_normal((7, 4))}, {"eps": 1e-3}
    own, doubled = {"act": "gelu", **how}, {"activation": "gelu", **how}
    yield Example("mlm_head", masked_lm.mlm_head, masked_lm.mlm_head_backward, given, own, doubled)
