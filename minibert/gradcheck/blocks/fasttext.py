"""Of `families.fasttext`: what a word is made of, and what is seen in its characters."""

from collections.abc import Iterator

import numpy as np

from minibert.families import fasttext
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, {"word": {"weight": (4, 2)}, "piece": {"weight": (3, 2)}})
    parts = np.array([[[0, 2, -100], [0, -100, -100]], [[1, 1, 2], [2, 0, -100]]])
    given = {"ids": np.array([[0, 3, 3], [2, 1, 0]]), "parts": parts, "unknown": 3}
    yield Example("spelt", fasttext.spelt, fasttext.spelt_backward, {"p": p}, given)
    glyph = {"image": {"weight": (2, 8)}, "filter": {"weight": (2, 8), "bias": (2,)}}
    p = drawn(rng, {"piece": {"weight": (3, 2)}, "glyph": {**glyph, "map": {"weight": (2, 2), "bias": (2,)}}})
    p["glyph"]["filter"]["bias"] += 2
    given = {"rows": np.array([0, 2, 4]), "bucket": 3, "fonts": 2, "kernel": 2}
    yield Example("pictured", fasttext.pictured, fasttext.pictured_backward, {"p": p}, given)
