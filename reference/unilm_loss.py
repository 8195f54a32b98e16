"""UniLM's loss: masked-token cross-entropy, or divergence from smoothed labels, and next sentences of weighted rows.

p, config (dict) and batch (BERT's fields, input_mask (B, T, T), next_sentence_weights) -> scalar. `label_smoothing` is
the fine-tuning's. Dong et al. 2019 (1905.03197), sections 2.3 and 2.4; SPEC UNI-LOSS.
"""

from .cross_entropy import cross_entropy
from .gather import gather
from .lists import leaves
from .mlm_head import mlm_head
from .nsp_head import nsp_head
from .pooler import pooler
from .smoothed_divergence import smoothed_divergence
from .unilm_encode import unilm_encode


def unilm_loss(p, config, batch):
    return sum(unilm_loss_terms(p, config, batch).values())


def unilm_loss_terms(p, config, batch):
    x = unilm_encode(p, config, batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    table = p["mlm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    chosen = gather(x, positions=batch["masked_lm_positions"])
    logits = mlm_head(chosen, p["mlm"], table, config["hidden_act"], config["layer_norm_eps"])
    weights = batch["masked_lm_weights"]
    given = {"labels": batch["masked_lm_ids"], "weights": weights}
    given["denominator"] = sum(leaves(weights)) + config.get("mlm_denominator_eps", 0)
    smoothing = config.get("label_smoothing", 0)
    if smoothing:
        masked = smoothed_divergence(logits, smoothing=smoothing, excluded=config["pad_token_id"], **given)
    else:
        masked = cross_entropy(logits, **given)
    follows = nsp_head(pooler(x, p["pooler"]), p["nsp"])
    paired = {"labels": batch["next_sentence_labels"], "weights": batch["next_sentence_weights"]}
    return {"masked_lm": masked, "next_sentence": cross_entropy(follows, **paired)}
