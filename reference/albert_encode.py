"""ALBERT's encoder: embeddings of width E, a linear map to width D, then shared post-norm layers.

Layer l of N belongs to group floor(l / (N / G)) of G; a group is `inner_group_num` layers, one after another. Where
`sharing` does not name a sub-layer ("attention", "ffn"; "all" names both) it is stored for every l instead of every
group: p["encoder"] holds them in the order of groups, or layers, and within these of inner layers. ids and mask
(B, T) -> (B, T, D). Lan et al. 2019 (1909.11942), section 3.1; SPEC ALB-ENC.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .encoder_layer import encoder_layer
from .linear import linear


def albert_encode(p, config, input_ids, input_mask, segment_ids):
    positions = [list(range(len(row))) for row in input_ids]
    x = bert_embeddings(p["embeddings"], input_ids, segment_ids, positions, config["layer_norm_eps"])
    if "map" in p:
        x = linear(x, **p["map"])
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in row]]] for row in input_mask]
    depth, inner, sharing = config["num_hidden_layers"], config["inner_group_num"], config.get("sharing", "all")
    for layer in range(depth):
        group = int(layer / (depth / config["num_hidden_groups"]))
        for i in range(inner):
            attention = p["encoder"][(group if sharing in ("all", "attention") else layer) * inner + i]["attention"]
            feed_forward = p["encoder"][(group if sharing in ("all", "ffn") else layer) * inner + i]["feed_forward"]
            x = encoder_layer(x, {"attention": attention, "feed_forward": feed_forward},
                              config["num_attention_heads"], bias, config["hidden_act"], config["layer_norm_eps"])
    return x
