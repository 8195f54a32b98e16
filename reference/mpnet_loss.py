"""MPNet's pre-training loss: mean cross-entropy of the predicted tokens, in whichever mode.

p, config (dict) and batch (dict of lists) -> scalar; slots of weight 0 are not predicted. The head's activation is gelu
whatever the layers have. Song et al. 2020 (2004.09297), eq. 2; SPEC MPN-LOSS.
"""

from .cross_entropy import cross_entropy
from .mlm_head import mlm_head
from .mpnet_encode import mpnet_encode


def mpnet_loss(p, config, batch):
    states, labels, weights = [], [], []
    for n, ids in enumerate(batch["input_ids"]):
        slots = zip(*(batch[f"masked_lm_{name}"][n] for name in ("positions", "ids", "weights")), strict=True)
        used = [slot for slot in slots if slot[2]]
        seen = batch["input_mask"][n] if "input_mask" in batch else [1] * len(ids)
        if used:
            places, tokens, own = (list(part) for part in zip(*used, strict=True))
            states += mpnet_encode(p, config, ids, seen, places, tokens)
            labels, weights = labels + tokens, weights + own
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    logits = mlm_head(states, p["mlm"], table, "gelu", config["layer_norm_eps"])
    denominator = sum(weights) + config.get("mlm_denominator_eps", 0)
    return cross_entropy(logits, labels=labels, weights=weights, denominator=denominator)
