"""Of `families.quick_thought`."""

from collections.abc import Iterator

import numpy as np

from minibert.families import quick_thought
from minibert.gradcheck.blocks import Example


def examples(rng: np.random.Generator) -> Iterator[Example]:
    x, seen = rng.standard_normal((2, 3, 2)), np.array([[1, 1, 0], [1, 1, 1]])
    pair = quick_thought.summed_words, quick_thought.summed_words_backward
    yield Example("summed_words", *pair, {"x": x}, {"seen": seen})
