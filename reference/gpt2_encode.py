"""GPT-2's network: LN(y^L) of pre-norm layers over E_word[x] + E_position[t], and E_word[s] where there are types s.

p, config and batch (dicts; ids and mask lists (b, t)) -> (b, t, D). A token sees itself and those before it that the
mask has. Scores are divided by the root of a head's width, and by the layer's number, as the config says.
Radford et al. 2019, section 2.3; Radford et al. 2018, eq. 2; SPEC GPT2-EMB to GPT2-NORM.
"""

from .bert_encode import FORBID
from .causal import causal
from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each
from .pre_norm_layer import pre_norm_layer
from .scalars import constant, sqrt


def gpt2_encode(p, config, batch):
    ids, word, one = batch["input_ids"], p["embeddings"]["word"]["weight"], constant("1", config["layer_norm_epsilon"])
    places = batch.get("position_ids") or [list(range(len(row))) for row in ids]
    x = each(0, lambda a, b: a + b, embedding(word, ids=ids), embedding(**p["embeddings"]["position"], ids=places))
    if "token_type_ids" in batch:
        x = each(0, lambda a, b: a + b, x, embedding(word, ids=batch["token_type_ids"]))
    seen = causal(len(ids[0]), len(ids[0]), batch.get("attention_mask") or [[1] * len(row) for row in ids])
    bias = each(0, lambda bit: 0 if bit else FORBID, seen)
    for number, layer in enumerate(p["decoder"], 1):
        scale = one / sqrt(one * (config["n_embd"] // config["n_head"])) if config["scale_attn_weights"] else one
        scale = scale / number if config["scale_attn_by_inverse_layer_idx"] else scale
        act, eps = config["activation_function"], config["layer_norm_epsilon"]
        x = pre_norm_layer(x, layer, config["n_head"], bias, act, eps, scale)
    return layer_norm(x, **p["norm"], eps=config["layer_norm_epsilon"])
