"""BART's loss: cross-entropy of z_t = h_t E^T + c at the labels that are not -100, E the one table or one of its own,
c a constant that is not trained, or none.

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
    own = p.get("lm", {})
    table = (own["decoder"] if "decoder" in own else p["embeddings"]["word"])["weight"]
    z = linear(bart_encode(p, config, batch), table, own.get("bias"))
    return cross_entropy(z, labels=batch["labels"], ignore=-100)
