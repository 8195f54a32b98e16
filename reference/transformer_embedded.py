"""What enters a stack of the Transformer: sqrt(D) E[x] + S(t), S the sinusoids. ids (b, t) -> (b, t, D).

Vaswani et al. 2017 (1706.03762), sections 3.4 and 3.5; SPEC TR-EMB.
"""

from .embedding import embedding
from .lists import each
from .scalars import constant, sqrt
from .sinusoids import sinusoids


def embedded(p, config, ids):
    width, like = config["d_model"], config["layer_norm_eps"]
    root, word = sqrt(constant(str(width), like)), embedding(p["embeddings"]["word"]["weight"], ids=ids)
    places = sinusoids(len(ids[0]), width, config["positions"] == "concatenated", like)
    return each(0, lambda e, s: root * e + s, word, [places] * len(ids))
