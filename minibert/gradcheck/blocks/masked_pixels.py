"""Of the head `masked_pixels`: states behind a class token, each of which stands for two patches either way."""

from collections.abc import Iterator

import numpy as np

from minibert.gradcheck.blocks import Example, drawn, loss_of
from minibert.heads import masked_pixels


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p, h = drawn(rng, masked_pixels.shapes(width=3, stride=2, channels=2)), rng.standard_normal((2, 3, 3))
    given = {"pixels": rng.standard_normal((2, 2, 2, 4)), "patch": 1, "stride": 2, "eps": 0.01}
    labels = {"bool_masked_pos": np.array([[1, 0, 0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0, 0, 0]])}
    yield loss_of(masked_pixels, {"h": h}, labels, p, **given)
