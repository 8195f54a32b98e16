"""Of the head `next_sentence`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, states
from minibert.heads import next_sentence


def examples(rng: np.random.Generator) -> Iterator[Example]:
    given = {"pooled": states(rng)[:, 0], "p": drawn(rng, next_sentence.shapes(width=4))}
    yield Example("nsp_head", next_sentence.nsp_head, next_sentence.nsp_head_backward, given, {})
