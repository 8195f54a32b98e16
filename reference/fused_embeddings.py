"""ChineseBERT's input: LN(W [word; pinyin; glyph] + b + position + type), of the parts that p has.

p: word, position, norm, and as far as there are: pinyin, glyph (image, map), fusion, token_type. ids, types (b, t),
positions (t) or (b, t), letters (b, t, n) -> (b, t, d). Sun et al. 2021 (2106.16038), section 3; the release's
fusion_embedding.py; SPEC CHB-EMB.
"""

from .embedding import embedding
from .layer_norm import layer_norm
from .linear import linear
from .lists import each, shape
from .pinyin_encoder import pinyin_encoder


def fused_embeddings(p, *, ids, letters, positions, types, eps):
    parts = [embedding(**p["word"], ids=ids)]
    if "pinyin" in p:
        parts.append(pinyin_encoder(p["pinyin"], letters=letters))
    if "glyph" in p:
        parts.append(linear(embedding(**p["glyph"]["image"], ids=ids), **p["glyph"]["map"]))
    x = each(1, lambda *rows: [a for row in rows for a in row], *parts)
    terms = [linear(x, **p["fusion"]) if "fusion" in p else x]
    places = positions if len(shape(positions)) > 1 else [positions] * len(ids)
    terms.append(embedding(**p["position"], ids=places))
    terms += [embedding(**p["token_type"], ids=types)] if "token_type" in p else []
    return layer_norm(each(0, lambda *entries: sum(entries), *terms), **p["norm"], eps=eps)
