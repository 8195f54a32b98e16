"""BERT's pre-training loss: mean masked-token cross-entropy + mean next-sentence cross-entropy.

p, config (dict) and batch (dict of the seven published fields) -> scalar. `mlm_denominator_eps` (release: 1e-5) is
added to sum(masked_lm_weights). Without a next-sentence head (wwm-ext) it is the first term alone. Devlin et al. 2018
(1810.04805), appendix A.2; SPEC BERT-LOSS.
"""

from .bert_encode import bert_encode
from .cross_entropy import cross_entropy
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler


def bert_loss(p, config, batch):
    return sum(bert_loss_terms(p, config, batch).values())


def bert_loss_terms(p, config, batch):
    x = bert_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    chosen = gather(x, positions=batch["masked_lm_positions"])
    logits = mlm_head(chosen, p["mlm"], table, config["hidden_act"], config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    denominator = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    labels = batch["masked_lm_ids"]
    terms = {"masked_lm": cross_entropy(logits, labels=labels, weights=weights, denominator=denominator)}
    if "nsp" in p:
        follows = nsp_head(pooler(x, p["pooler"]), p["nsp"])
        terms["next_sentence"] = cross_entropy(follows, labels=leaves(batch["next_sentence_labels"]))
    return terms
