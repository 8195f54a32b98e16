"""Of `adapters.lora`."""

from collections.abc import Iterator

import numpy as np

from minibert.adapters import lora
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, {"down": {"weight": (2, 4)}, "up": {"weight": (3, 2)}, "scale": {"weight": (1,)}})
    args = {"weight": rng.standard_normal((3, 4)), "p": p}
    yield Example("low_rank", lora.low_rank, lora.low_rank_backward, args, {})
