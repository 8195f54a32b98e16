"""T5's loss: cross-entropy of z_t at the labels that are not -100, z_t = D^-0.5 h_t E^T, or h_t U^T of a head's own U.

Without decoder_input_ids the decoder reads the labels one place later, behind the start id. p, config (dict) and batch
(dict of lists) -> scalar. Raffel et al. 2019 (1910.10683), section 2.1, and the released code; SPEC T5-LM, T5-LOSS.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .lists import each
from .scalars import constant, sqrt
from .shifted_right import shifted_right
from .t5_encode import t5_encode


def t5_loss(p, config, batch):
    if "decoder_input_ids" not in batch:
        ids = shifted_right(batch["labels"], config["decoder_start_token_id"], config["pad_token_id"])
        batch = {**batch, "decoder_input_ids": ids}
    h, tied, scaled = t5_encode(p, config, batch), config["tie_word_embeddings"], config["scale_decoder_outputs"]
    root = sqrt(constant(str(config["d_model"]), config["layer_norm_epsilon"]))
    h = each(0, lambda a: a / root, h) if scaled or (scaled is None and tied) else h
    table = p["embeddings"]["word"] if tied else p["lm"]["decoder"]
    return cross_entropy(linear(h, **table), labels=batch["labels"], ignore=-100)
