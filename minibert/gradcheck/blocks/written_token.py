"""Of the head `written_token`: a floor under the probabilities."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example
from minibert.heads import written_token


def examples(rng: np.random.Generator) -> Iterator[Example]:
    how = {"labels": np.array([2, -100, 0, 4]), "floor": 0.1, "ignore": -100}
    pair = written_token.floored_cross_entropy, written_token.floored_cross_entropy_backward
    yield Example("floored_cross_entropy", *pair, {"logits": rng.standard_normal((4, 5))}, how)
