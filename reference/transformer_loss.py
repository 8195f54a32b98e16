"""The Transformer's loss: smoothed cross-entropy of z_t = h_t E^T at the labels that are not -100, E the one table.

Without decoder_input_ids the decoder reads the labels one place later, behind the start id. p, config (dict) and batch
(dict of lists) -> scalar. Vaswani et al. 2017 (1706.03762), sections 3.4 and 5.4; SPEC TR-LM, TR-LOSS.
"""

from .linear import linear
from .shifted_right import shifted_right
from .smoothed_cross_entropy import smoothed_cross_entropy
from .transformer_encode import transformer_encode


def transformer_loss(p, config, batch):
    if "decoder_input_ids" not in batch:
        ids = shifted_right(batch["labels"], config["decoder_start_token_id"], config["pad_token_id"])
        batch = {**batch, "decoder_input_ids": ids}
    logits = linear(transformer_encode(p, config, batch), p["embeddings"]["word"]["weight"])
    return smoothed_cross_entropy(logits, labels=batch["labels"], smoothing=config["label_smoothing"], ignore=-100)
