"""The recurrent language model's states: layers of LSTMs or GRUs over E_word[x], each of which begins where it ended.

p, config and batch (dicts; ids and mask lists (b, t), states (L)(b, 2 or 1, n)) -> (b, t, n). Zaremba et al. 2014
(1409.2329), section 3; SPEC LSTM-EMB, LSTM-LAYER.
"""

from .embedding import embedding
from .gru_layer import gru_layer
from .lstm_layer import lstm_layer


def lstm_encode(p, config, batch):
    x = embedding(p["embeddings"]["word"]["weight"], ids=batch["input_ids"])
    for layer, before in zip(p["layers"], batch.get("states") or [None] * len(p["layers"]), strict=True):
        if config["rnn_type"] == "GRU":
            x = gru_layer(x, layer, batch.get("attention_mask"), before and [row[0] for row in before])
        else:
            state = before and [[row[k] for row in before] for k in (0, 1)]
            x = lstm_layer(x, layer, batch.get("attention_mask"), state)
    return x
