"""MacBERT's pre-training loss: BERT's, its pairs labelled by order: 0 = in order, 1 = swapped.

p, config (dict) and batch (BERT's fields, sentence_order_labels in place of next_sentence_labels) -> scalar.
Cui et al. 2020 (2004.13922), section 3; SPEC MAC-LOSS.
"""

from .bert_loss import bert_loss


def macbert_loss(p, config, batch):
    return bert_loss(p, config, {**batch, "next_sentence_labels": batch["sentence_order_labels"]})
