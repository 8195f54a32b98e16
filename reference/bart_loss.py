"""BART's loss: cross-entropy of z_t = h_t E^T at the labels that are not -100, E the one table or one of its own.

Without decoder_input_ids the decoder reads the labels one place later, behind the start id. p, config (dict) and batch
(dict of lists) -> scalar. Lewis et al. 2019 (1910.13461), section 2.2; SPEC BART-LM, BART-LOSS.
"""

from .bart_encode import bart_encode
from .cross_entropy import cross_entropy
from .linear import linear
from .shifted_right import shifted_right


def bart_loss(p, config, batch):
    if "decoder_input_ids" not in batch:
        ids = shifted_right(batch["labels"], config["decoder_start_token_id"], config["pad_token_id"])
        batch = {**batch, "decoder_input_ids": ids}
    table = (p["lm"]["decoder"] if "lm" in p else p["embeddings"]["word"])["weight"]
    return cross_entropy(linear(bart_encode(p, config, batch), table), labels=batch["labels"], ignore=-100)
