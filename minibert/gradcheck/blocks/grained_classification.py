"""Of the head `grained_classification`."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example
from minibert.heads import grained_classification as head


def examples(rng: np.random.Generator) -> Iterator[Example]:
    z, other = rng.standard_normal((2, 3, 4))
    yield Example("disagreement", head.disagreement, head.disagreement_backward, {"z": z, "other": other}, {})
