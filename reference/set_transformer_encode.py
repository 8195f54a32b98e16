"""Set Transformer's decoded vectors: ISABs (SABs where there are no points) over E[w], PMA, then SABs.

p, config and batch (dicts; ids and mask lists (b, t)) -> (b, k, D). Scores are divided by the root of the whole width,
as in paper and release, or of a head's. Lee et al. 2019 (1810.00825), section 3; SPEC SET-ENC, SET-DEC.
"""

from .attention_pooling import attention_pooling
from .embedding import embedding
from .induced_attention import induced_attention
from .scalars import constant, sqrt
from .set_self_attention import set_self_attention


def set_transformer_encode(p, config, batch):
    word, d = p["embeddings"]["word"]["weight"], config["dim_hidden"]
    width = d // config["num_heads"]
    scale = 1 / sqrt(constant(str(d if config["attention_scale"] == "width" else width), word[0][0]))
    given = {"width": width, "scale": scale, "eps": constant("1e-5", word[0][0])}
    x, seen = batch.get("input_vectors") or embedding(word, ids=batch["input_ids"]), batch.get("attention_mask")
    for layer in p["encoder"]:
        x = (induced_attention if "points" in layer else set_self_attention)(x, layer, seen=seen, **given)
    x = attention_pooling(x, p["pool"], seen=seen, **given)
    for layer in p.get("decoder", []):
        x = set_self_attention(x, layer, **given)
    return x
