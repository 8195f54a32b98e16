"""Transformer-XL's states: layers over sqrt(D) E_i[x] P_i^T, each of which sees what entered it before, too.

p, config and batch (dicts; ids (b, t), mems a list (L)(b, m, D)) -> (b, t, D). A query sees the keys up to its own that
are there, of these the last mem_len with same_length. Dai et al. 2019 (1901.02860), section 3; SPEC TXL-EMB to TXL-MEM.
"""

from .adaptive_embedding import adaptive_embedding
from .bert_encode import FORBID
from .distance_sinusoids import distance_sinusoids
from .xl_layer import xl_layer


def transformer_xl_encode(p, config, batch):
    ids, mems = batch["input_ids"], batch.get("mems") or [None] * len(p["decoder"])
    x = adaptive_embedding(p["embeddings"], ids, [0, *config["cutoffs"], config["vocab_size"]])
    before = 0 if mems[0] is None else len(mems[0][0])
    total = before + len(ids[0])
    places = distance_sinusoids(range(total - 1, -1, -1), len(x[0][0]), x[0][0][0], config["clamp_len"])
    seen = [[1] * before + row for row in batch.get("attention_mask") or [[1] * len(row) for row in ids]]
    most = config["mem_len"] if config["same_length"] else total
    bias = [[[[0 if 0 <= i - j < most and row[j] else FORBID for j in range(total)] for i in range(before, total)]]
            for row in seen]
    for memory, layer in zip(mems, p["decoder"], strict=True):
        own = dict(layer["attention"])
        for name, shared in p.get("biases", {}).items():
            own[name] = {**own.get(name, {}), **shared}
        how = config["d_head"], bias, config["layer_norm_epsilon"], config["pre_lnorm"]
        x = xl_layer(x, {**layer, "attention": own}, memory, places, *how)
    return x
