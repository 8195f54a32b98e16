"""BERT's encoder: embeddings, then num_hidden_layers post-norm layers; masked keys (input_mask 0) are forbidden.

ids and mask (B, T) -> (B, T, D); positions count 0 ... T - 1, padding included. `config` is a dict under published
names; its optional `mask_constant` replaces the forbidding bias (BERT's release: -10000.0). SPEC BERT-ENC.
"""

from .bert_embeddings import bert_embeddings
from .encoder_layer import encoder_layer

FORBID = -(10**40)  # an int, which adds to float and Decimal alike


def bert_encode(p, config, input_ids, input_mask, segment_ids):
    positions = [list(range(len(row))) for row in input_ids]
    x = bert_embeddings(p["embeddings"], input_ids, segment_ids, positions, config["layer_norm_eps"])
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in row]]] for row in input_mask]  # (B, 1, 1, T): the key axis
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias,
                          config["hidden_act"], config["layer_norm_eps"])
    return x
