"""How tokens are read aloud: over each token's letters a convolution over pairs of them, and its largest value.

letters (b, t, n) -> (b, t, d); p: letter (table), conv (weight (d, e, 2), bias). Every letter counts, also those that
fill up. Sun et al. 2021 (2106.16038), section 3.3; the release's pinyin_embedding.py; SPEC CHB-EMB.
"""

from .convolution import convolution
from .embedding import embedding
from .max_over_time import max_over_time


def pinyin_encoder(p, *, letters):
    return [max_over_time(convolution(embedding(**p["letter"], ids=row), **p["conv"])) for row in letters]
