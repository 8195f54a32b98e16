"""The recurrent language model's loss: the mean of -log softmax(h_t table^T + b)[label of t + 1].

p, config (dict) and batch (dict of lists) -> scalar. Zaremba et al. 2014 (1409.2329), section 4.1; SPEC LSTM-LOSS.
"""

from .cross_entropy import cross_entropy
from .linear import linear
from .lstm_encode import lstm_encode


def lstm_loss(p, config, batch):
    own = p["lm"]["decoder"]
    z = linear(lstm_encode(p, config, batch), own.get("weight", p["embeddings"]["word"]["weight"]), own["bias"])
    return cross_entropy(z, labels=[[*row[1:], -100] for row in batch["labels"]], ignore=-100)
