"""Megatron-BERT's encoder: pre-norm layers over word[id] + token_type[s] + position[t], and one norm behind the last.

ids, mask and segments (B, T) -> (B, T, D); masked keys (input_mask 0) are forbidden, `config` as in bert_encode.
Shoeybi et al. 2019 (1909.08053), section 5.3, figure 7; SPEC MEGB-ENC.
"""

from .bert_encode import FORBID
from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each
from .pre_norm_layer import pre_norm_layer


def megatron_bert_encode(p, config, input_ids, input_mask, segment_ids):
    tables, eps = p["embeddings"], config["layer_norm_eps"]
    places = [list(range(len(row))) for row in input_ids]
    looked = {"word": input_ids, "token_type": segment_ids, "position": places}
    x = each(0, lambda a, b, c: a + b + c, *(embedding(**tables[name], ids=ids) for name, ids in looked.items()))
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in row]]] for row in input_mask]
    for layer in p["encoder"]:
        x = pre_norm_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], eps)
    return layer_norm(x, **p["norm"], eps=eps)
