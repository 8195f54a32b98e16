"""ERNIE's encoder (Baidu's): BERT's layers over a sum of embeddings that has a task's where `use_task_id`.

p, config (dict) and batch (input_ids, input_mask, segment_ids, task_type_ids, 0 unless given) -> (B, T, D). Sun et al.
2020 (1907.12412), section 3.3; SPEC ERN-EMB.
"""

from .bert_encode import FORBID
from .embedding import embedding
from .encoder_layer import encoder_layer
from .layer_norm import layer_norm
from .lists import each


def ernie_encode(p, config, batch):
    ids, own, eps = batch["input_ids"], p["embeddings"], config["layer_norm_eps"]
    zeros, places = [[0] * len(row) for row in ids], [list(range(len(row))) for row in ids]
    numbers = {"word": ids, "position": places, "token_type": batch.get("segment_ids", zeros)}
    if config["use_task_id"]:
        numbers["task_type"] = batch.get("task_type_ids", zeros)
    looked_up = [embedding(**own[table], ids=rows) for table, rows in numbers.items()]
    x = layer_norm(each(0, lambda *entries: sum(entries), *looked_up), **own["norm"], eps=eps)
    masked = config.get("mask_constant", "min")
    masked = FORBID if masked == "min" else masked
    bias = [[[[0 if keep else masked for keep in row]]] for row in batch["input_mask"]]
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, config["num_attention_heads"], bias, config["hidden_act"], eps)
    return x
