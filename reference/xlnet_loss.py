"""XLNet's pre-training loss: mean cross-entropy of the targets' tokens, from the queries' states.

p, config (dict) and batch (dict of lists; mems a list a layer) -> scalar. Targets are rows of target_mapping with a 1;
a label of -100 is not asked. Yang et al. 2019 (1906.08237), eq. 3-5; SPEC XLN-LOSS.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .xlnet_encode import xlnet_encode


def xlnet_loss(p, config, batch):
    states, labels, count = [], [], len(batch["input_ids"])
    for n, ids in enumerate(batch["input_ids"]):
        mapping = batch["target_mapping"][n]
        used = [m for m, row in enumerate(mapping) if any(row) and batch["labels"][n][m] != -100]
        places, nothing = [mapping[m].index(1) for m in used], [[0] * len(ids)] * len(ids)
        memory = [layer[n] for layer in batch["mems"]] if "mems" in batch else None
        names = ("token_type_ids", "perm_mask", "attention_mask")
        types, hidden, seen = (batch[name][n] if name in batch else None for name in names)
        backward = batch["backward"][n] if "backward" in batch else config["bi_data"] and n >= count // 2
        there = seen or [1] * len(ids), places, memory, backward
        _, g = xlnet_encode(p, config, ids, types, hidden or nothing, *there)
        states, labels = states + g, labels + [batch["labels"][n][m] for m in used]
    table = p["lm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    return cross_entropy(linear(states, table, p["lm"]["decoder"]["bias"]), labels=labels)
