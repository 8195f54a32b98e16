"""Of `families/chinesebert`: how tokens are read aloud, and all that enters the first layer."""

from collections.abc import Iterator

import numpy as np

from minibert.families import chinesebert
from minibert.gradcheck.blocks import Example, drawn


def examples(rng: np.random.Generator) -> Iterator[Example]:
    letters = rng.integers(0, 4, (2, 3, 4))
    spoken = {"letter": {"weight": (4, 2)}, "conv": {"weight": (3, 2, 2), "bias": (3,)}}
    pair = chinesebert.pinyin_encoder, chinesebert.pinyin_encoder_backward
    yield Example("pinyin_encoder", *pair, {"p": drawn(rng, spoken)}, {"letters": letters})
    tables = {name: {"weight": (n, 3)} for name, n in (("word", 4), ("position", 3), ("token_type", 2))}
    dense = {"weight": (3, 5), "bias": (3,)}
    own = {"pinyin": spoken, "glyph": {"image": {"weight": (4, 5)}, "map": dense}}
    fused = {**tables, **own, "fusion": {"weight": (3, 9), "bias": (3,)}, "norm": {"weight": (3,), "bias": (3,)}}
    pair = chinesebert.fused_embeddings, chinesebert.fused_embeddings_backward
    given = {"ids": np.array([[0, 3, 1], [3, 3, 2]]), "letters": letters, "positions": np.arange(3)}
    given |= {"types": np.array([[0, 0, 1], [0, 1, 1]]), "eps": 1e-2}
    more = {"frozen": None, "keep": None, "rate": 0.0}
    yield Example("fused_embeddings", *pair, {"p": drawn(rng, fused)}, {**given, **more}, given)
