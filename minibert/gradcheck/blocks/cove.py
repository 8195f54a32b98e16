"""Of `families.cove`: three steps, a source that is shorter."""

from collections.abc import Iterator

import numpy as np

from minibert import recurrent
from minibert.families import cove
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    dense = {"attention": {"weight": (2, 2), "bias": (2,)}, "combine": {"weight": (2, 4), "bias": (2,)}}
    p = drawn(rng, {**dense, "layers": [recurrent.shapes(3, 2)]})
    args = {"z": rng.standard_normal((2, 3, 1)), "memory": rng.standard_normal((2, 3, 2)), "p": p}
    pair = cove.attentional_decoder, cove.attentional_decoder_backward
    yield Example("attentional_decoder", *pair, args, {"seen": np.array([[1, 1, 1], [1, 1, 0]])})
