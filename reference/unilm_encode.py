"""UniLM's encoder: BERT's, where each query has a mask of keys of its own: 1 in input_mask (B, T, T) is attended to.

ids (B, T) -> (B, T, D); positions count 0 ... T - 1. `config` is a dict under published names; its optional
`mask_constant` replaces the forbidding bias. Dong et al. 2019 (1905.03197), section 2.2, equations 1-3; SPEC UNI-ATT.
"""

from .bert_embeddings import bert_embeddings
from .encoder_layer import encoder_layer

FORBID = -(10**40)


def unilm_encode(p, config, input_ids, input_mask, segment_ids):
    positions = [list(range(len(row))) for row in input_ids]
    x = bert_embeddings(p["embeddings"], input_ids, segment_ids, positions, config["layer_norm_eps"])
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in keys] for keys in queries]] for queries in input_mask]  # (B, 1, T, T)
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias,
                          config["hidden_act"], config["layer_norm_eps"])
    return x
