"""Of `families.word2vec`: the mean of a window."""

from collections.abc import Iterator

import numpy as np

from minibert.families import word2vec
from minibert.gradcheck.blocks import Example


def examples(rng: np.random.Generator) -> Iterator[Example]:
    inside = np.array([[[0, 1, 1], [1, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 1], [1, 1, 0]]])
    pair = word2vec.window_mean, word2vec.window_mean_backward
    for mean in (True, False):
        yield Example("window_mean", *pair, {"x": rng.standard_normal((2, 3, 2))}, {"inside": inside, "mean": mean})
