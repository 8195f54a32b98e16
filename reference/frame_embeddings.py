"""Frames of sound as a network reads them: Drop(LN(x W^T + b + S)), S the sinusoids of positions; (B, T, F) -> (B, T, D).

Liu et al. 2019 (1910.12638), section 2.1; s3prl/s3prl, `TransformerInputRepresentations`; SPEC AUDIO-IN.
"""

from .dropout import dropout
from .layer_norm import layer_norm
from .linear import linear
from .lists import each, leaves
from .sinusoids import sinusoids


def frame_embeddings(x, p, eps, keep=None, rate=0):
    h = linear(x, **p["frame"])
    places = sinusoids(len(h[0]), len(h[0][0]), False, leaves(h)[0])
    h = [each(0, lambda a, s: a + s, row, places) for row in h]
    h = layer_norm(h, **p["norm"], eps=eps)
    return h if keep is None else dropout(h, keep=keep, rate=rate)
