"""Of `families.elmo`."""

from collections.abc import Iterator

import numpy as np

from minibert.families import elmo
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    small = {**elmo.PROBE, "filter_widths": (1, 2), "filter_counts": (2, 1), "projection_dim": 2, "dim": 1}
    p = drawn(rng, elmo.shapes(elmo.Config(**small)))
    p["characters"]["table"]["weight"] = p["characters"]["table"]["weight"][:4]
    pair, ids = (elmo.words_of_characters, elmo.words_of_characters_backward), np.array([[1, 2, 3], [2, 1, 1]])
    yield Example("words_of_characters", *pair, {"p": p["characters"]}, {"ids": ids})
    one = {"x": rng.standard_normal((2, 3)), "p": p["characters"]["highways"][0]}
    yield Example("highway", elmo.highway, elmo.highway_backward, one, {})
    x, keep, seen = rng.standard_normal((2, 3, 2)), rng.random((2, 3, 2)) < 0.7, np.array([[1, 1, 1], [1, 1, 0]])
    how = {"seen": seen, "skip": True, "keep": keep, "rate": 0.25, "cell_clip": 0.4, "clip": 0.3}
    pair = elmo.elmo_layer, elmo.elmo_layer_backward
    yield Example("elmo_layer", *pair, {"x": x, "p": p["forward"][0]}, how)
