"""StructBERT's pre-training loss: masked tokens, tokens of shuffled runs by the same head, three classes of pairs.

p, config (dict) and batch (BERT's fields; shuffled_positions, _ids, _weights; sentence_structure_labels 0 = elsewhere,
1 = next, 2 = previous) -> scalar. Wang et al. 2019 (1908.04577), section 2.2; SPEC SB-LOSS.
"""

from .bert_loss import bert_loss_terms


def structbert_loss(p, config, batch):
    return sum(structbert_loss_terms(p, config, batch).values())


def structbert_loss_terms(p, config, batch):
    asked = {**batch, "next_sentence_labels": batch["sentence_structure_labels"]}
    masked = bert_loss_terms(p, config, asked)
    names = ("positions", "ids", "weights")
    moved = {**asked, **{f"masked_lm_{name}": batch[f"shuffled_{name}"] for name in names}}
    return {
        "masked_lm": masked["masked_lm"],
        "shuffled_words": bert_loss_terms(p, config, moved)["masked_lm"],
        "sentence_structure": masked["next_sentence"],
    }
