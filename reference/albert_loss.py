"""ALBERT's pre-training loss: mean masked-token cross-entropy + mean sentence-order cross-entropy.

p, config (dict) and batch (dict of the published fields, sentence_order_labels 0 = in order, 1 = swapped) -> scalar.
Lan et al. 2019 (1909.11942), section 3.1; SPEC ALB-LOSS.
"""

from .albert_encode import albert_encode
from .cross_entropy import cross_entropy
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def albert_loss(p, config, batch):
    terms = albert_loss_terms(p, config, batch)
    return terms["masked_lm"] + terms["sentence_order"]


def albert_loss_terms(p, config, batch):
    x = albert_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    chosen = gather(x, positions=batch["masked_lm_positions"])
    logits = mlm_head(chosen, p["mlm"], table, config["hidden_act"], config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator),
        "sentence_order": cross_entropy(nsp_head(pooler(x, p["pooler"]), p["sop"]),
                                        labels=leaves(batch["sentence_order_labels"])),
    }
