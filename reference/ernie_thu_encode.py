"""ERNIE's encoder (Tsinghua's): BERT's layers, and layers that fuse the states of tokens and of their entities.

p, config (dict) and batch (input_ids, input_mask, segment_ids, entity_ids, -1 = none) -> (B, T, D). Zhang et al. 2019
(1905.07129), section 3.3; SPEC THU-ENC.
"""

from .bert_embeddings import bert_embeddings
from .bert_encode import FORBID
from .encoder_layer import encoder_layer
from .entity_fusion import entity_fusion, residual
from .self_attention import self_attention


def ernie_thu_encode(p, config, batch):
    ids, eps, size = batch["input_ids"], config["layer_norm_eps"], config["entity_size"]
    none = [[-1] * len(row) for row in ids]
    entities, types = batch.get("entity_ids", none), batch.get("segment_ids", [[0] * len(row) for row in ids])
    x = bert_embeddings(p["embeddings"], ids, types, [list(range(len(row))) for row in ids], eps)
    e = [[[0] * size if a < 0 else p["entities"]["weight"][a] for a in row] for row in entities]
    there = [[int(t == 0 or a >= 0) for t, a in enumerate(row)] for row in entities]
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    seen, known = ([[[[0 if bit else masked for bit in row]]] for row in bits] for bits in (batch["input_mask"], there))
    for layer in p["encoder"]:
        if "entity_feed_forward" not in layer:
            x = encoder_layer(x, layer, config["num_attention_heads"], seen, config["hidden_act"], eps)
            continue
        own = layer["attention"]
        a = residual(x, self_attention(x, own, config["num_attention_heads"], seen), own, eps)
        if "entity_attention" in layer:
            own = layer["entity_attention"]
            e = residual(e, self_attention(e, own, config["entity_attention_heads"], known), own, eps)
        pairs = [zip(bits, row, strict=True) for bits, row in zip(there, e, strict=True)]
        b = [[[m * v for v in vector] for m, vector in row] for row in pairs]
        x, e = entity_fusion(a, b, layer, config["hidden_act"], eps)
    return x
