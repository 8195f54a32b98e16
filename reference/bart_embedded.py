"""What enters a stack of BART: LN(s E[x] + P[t + 2]), s 1 or sqrt(D). ids (b, t) -> (b, t, D).

P and the norm are those of the stack ("encoder" or "decoder"), E is all stacks' where the tables are tied. Lewis et al.
2019 (1910.13461), section 2.1; fairseq models/bart/model.py; SPEC BART-EMB.
"""

from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each
from .scalars import constant, sqrt

EPS = "1e-5"


def bart_embedded(p, config, stack, ids):
    own = p[f"{stack}_embeddings"]
    like = own["norm"]["bias"][0]
    scale = sqrt(constant(str(config["d_model"]), like)) if config["scale_embedding"] else 1
    word = embedding(p.get("embeddings", own)["word"]["weight"], ids=ids)
    places = embedding(**own["position"], ids=[list(range(2, 2 + len(row))) for row in ids])
    return layer_norm(each(0, lambda e, s: scale * e + s, word, places), **own["norm"], eps=constant(EPS, like))
