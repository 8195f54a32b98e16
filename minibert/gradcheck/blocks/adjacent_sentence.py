"""Of the head `adjacent_sentence`: one sentence missing."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example
from minibert.heads import adjacent_sentence


def examples(rng: np.random.Generator) -> Iterator[Example]:
    u, v = rng.standard_normal((2, 2, 3, 2))
    pair = adjacent_sentence.inner_scores, adjacent_sentence.inner_scores_backward
    yield Example("inner_scores", *pair, {"u": u, "v": v}, {})
    places = np.array([[0, 1, 2], [1, 0, -100]])
    how = {"targets": adjacent_sentence.neighbours(places, 1, float), "there": (places >= 0) * 1.0, "denominator": 5.0}
    pair = adjacent_sentence.soft_cross_entropy, adjacent_sentence.soft_cross_entropy_backward
    yield Example("soft_cross_entropy", *pair, {"z": rng.standard_normal((2, 3, 3))}, how)
