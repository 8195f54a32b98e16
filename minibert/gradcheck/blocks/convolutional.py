"""Of `convolutional`: what reads a text window by window."""

from collections.abc import Iterator

import numpy as np

from minibert import convolutional
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    x, seen = rng.standard_normal((2, 4, 3)), np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    pair = convolutional.convolution_layer, convolutional.convolution_layer_backward
    p = drawn(rng, convolutional.shapes(3, 2))
    yield Example("convolution_layer", *pair, {"x": x, "p": p}, {"eps": 1e-3, "seen": seen})
