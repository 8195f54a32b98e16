"""CoVe's loss: cross-entropy of the target's words, written by a decoder that attends to LSTMs over word vectors.

p, config (dict) and batch (dict of lists) -> scalar; without decoder_input_ids the labels one place later, behind the
start id. McCann et al. 2017 (1708.00107), section 3; SPEC CV.
"""

from .attentional_decoder import attentional_decoder
from .cross_entropy import cross_entropy
from .embedding import embedding
from .linear import linear
from .lstm_stack import lstm_stack
from .shifted_right import shifted_right


def cove_loss(p, config, batch):
    ids = batch.get("decoder_input_ids")
    if ids is None:
        ids = shifted_right(batch["labels"], config["decoder_start_token_id"], config["pad_token_id"])
    x, seen = embedding(p["embeddings"]["word"]["weight"], ids=batch["input_ids"]), batch.get("attention_mask")
    memory, z = lstm_stack(x, p["encoder"], seen), embedding(p["writer"]["word"]["weight"], ids=ids)
    written = attentional_decoder(z, memory, p["writer"], seen=seen)
    return cross_entropy(linear(written, **p["lm"]["decoder"]), labels=batch["labels"], ignore=-100)
