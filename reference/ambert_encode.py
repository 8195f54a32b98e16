"""AMBERT's encoders: both grains go through BERT's layers by one set of layers, positions and types, each with its own
word table; structure "combo": each has all its own, "hybrid": one encoder over both, behind each other.

p, config (dict) and batch (dict of lists) -> (states of the fine tokens, of the coarse ones). Zhang, Li 2020
(2008.11869), section 3.2; SPEC AMB-ENC.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .encoder_layer import encoder_layer


def ambert_encode(p, config, batch):
    types = batch.get("segment_ids") or batch["token_type_ids"]
    tables = {**p["embeddings"], **p["coarse_embeddings"]}
    fine = _embedded(p["embeddings"], config, batch["input_ids"], types)
    coarse = _embedded(tables, config, batch["coarse_ids"], batch["coarse_token_type_ids"])
    seen, other = batch.get("input_mask") or batch["attention_mask"], batch["coarse_attention_mask"]
    if config["structure"] == "hybrid":
        both, masks = ([a + b for a, b in zip(*pair, strict=True)] for pair in ((fine, coarse), (seen, other)))
        both, cut = _encoded(both, p["encoder"], config, masks), len(fine[0])
        return [x[:cut] for x in both], [x[cut:] for x in both]
    own = p.get("coarse_encoder", p["encoder"])
    return _encoded(fine, p["encoder"], config, seen), _encoded(coarse, own, config, other)


def _embedded(tables, config, ids, types):
    return bert_embeddings(tables, ids, types, [list(range(len(row))) for row in ids], config["layer_norm_eps"])


def _encoded(x, layers, config, seen):
    masked = config.get("mask_constant", "min")
    bias = [[[[0 if keep else FORBID if masked == "min" else masked for keep in row]]] for row in seen]
    for layer in layers:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], config["layer_norm_eps"])
    return x
