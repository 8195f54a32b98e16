"""Megatron-BERT's loss: mean masked-token cross-entropy + mean cross-entropy of the order of two segments.

p, config (dict) and batch (dict of the seven fields of BERT) -> scalar. The masked-token head has an activation of its
own where `mlm_act` names one. Shoeybi et al. 2019 (1909.08053), section 5.3; SPEC MEGB-LOSS.
"""

from .cross_entropy import cross_entropy
from .gather import gather
from .lists import leaves
from .megatron_bert_encode import megatron_bert_encode
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def megatron_bert_loss(p, config, batch):
    return sum(megatron_bert_loss_terms(p, config, batch).values())


def megatron_bert_loss_terms(p, config, batch):
    x = megatron_bert_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    act = config["hidden_act"] if config["mlm_act"] == "hidden_act" else config["mlm_act"]
    logits = mlm_head(gather(x, positions=batch["masked_lm_positions"]), p["mlm"], table, act, config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    order = nsp_head(pooler(x, p["pooler"]), p["nsp"])
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator),
        "next_sentence": cross_entropy(order, labels=leaves(batch["next_sentence_labels"])),
    }
