"""BERT's pre-training loss: mean masked-token cross-entropy + mean next-sentence cross-entropy.

p, config (dict) and batch (dict of the seven published fields) -> scalar. `mlm_denominator_eps` (release: 1e-5) is
added to sum(masked_lm_weights). Devlin et al. 2018 (1810.04805), appendix A.2; SPEC BERT-LOSS.
"""

from .bert_encode import bert_encode
from .cross_entropy import cross_entropy
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def bert_loss(p, config, batch):
    terms = bert_loss_terms(p, config, batch)
    return terms["masked_lm"] + terms["next_sentence"]


def bert_loss_terms(p, config, batch):
    x = bert_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    chosen = gather(x, positions=batch["masked_lm_positions"])
    logits = mlm_head(chosen, p["mlm"], table, config["hidden_act"], config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    return {
        "masked_lm": cross_entropy(logits, labels=batch["masked_lm_ids"], weights=weights, denominator=denominator),
        "next_sentence": cross_entropy(nsp_head(pooler(x, p["pooler"]), p["nsp"]),
                                       labels=leaves(batch["next_sentence_labels"])),
    }
