"""Transformer-XL's loss: the mean of -log p(label of t + 1) over the positions t whose next label is not -100.

p by adaptive_softmax; tables and projections are the embeddings' where the head has none of its own.
p, config (dict) and batch (dict of lists) -> scalar. Dai et al. 2019 (1901.02860), section 4.1; SPEC TXL-SOFT.
"""

from .adaptive_softmax import adaptive_softmax
from .transformer_xl_encode import transformer_xl_encode


def transformer_xl_loss(p, config, batch):
    own, ends = p["softmax"], [0, *config["cutoffs"], config["vocab_size"]]
    parts, one = [], len(own["decoder"]) == 1
    for i in range(len(ends) - 1):
        held, n = own["decoder"][0 if one else i], 0 if one else i
        rows = slice(ends[i], ends[i + 1]) if one else slice(None)
        weight = held["weight"] if "weight" in held else p["embeddings"][n]["word"]["weight"]
        projections = own.get("projections", [])
        projection = projections[i] if i < len(projections) else p["embeddings"][n].get("projection")
        parts.append({"weight": weight[rows], "bias": held["bias"][rows],
                      "projection": projection and projection["weight"]})
    h = transformer_xl_encode(p, config, batch)
    logs = adaptive_softmax(h, parts, own.get("clusters"), config["cluster_order"])
    following = [[*row[1:], -100] for row in batch["labels"]]
    pairs = [pair for own in zip(logs, following, strict=True) for pair in zip(*own, strict=True)]
    asked = [log[label] for log, label in pairs if label != -100]
    return -sum(asked) / len(asked)
