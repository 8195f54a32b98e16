"""Of `audio_bert`: frames and their positions."""

from collections.abc import Iterator

import numpy as np

from minibert.families import audio_bert
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    p = drawn(rng, {"frame": {"weight": (4, 3), "bias": (4,)}, "norm": {"weight": (4,), "bias": (4,)}})
    keep = rng.random((2, 3, 4)) < 0.7
    pair = audio_bert.frame_embeddings, audio_bert.frame_embeddings_backward
    yield Example("frame_embeddings", *pair, {"x": rng.standard_normal((2, 3, 3)), "p": p}, {"eps": 1e-3, "keep": keep, "rate": 0.25})
