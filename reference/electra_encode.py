"""ELECTRA's encoder: BERT's, with tables and their norm E wide, projected to the network's width where E differs.

ids and mask (B, T) -> (B, T, D). Clark et al. 2020 (2003.10555), section 3.2; SPEC ELEC-ENC.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .encoder_layer import encoder_layer
from .linear import linear


def electra_encode(p, config, input_ids, input_mask, segment_ids):
    positions = [list(range(len(row))) for row in input_ids]
    x = bert_embeddings(p["embeddings"], input_ids, segment_ids, positions, config["layer_norm_eps"])
    if "project" in p:
        x = linear(x, **p["project"])
    bias = [[[[0 if keep else FORBID for keep in row]]] for row in input_mask]  # (B, 1, 1, T): the key axis
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], config["layer_norm_eps"])
    return x
