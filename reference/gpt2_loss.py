"""GPT-2's loss: the mean of -log softmax(z_t)[label of t + 1] over the positions t whose next label is not -100.

z = gpt2_encode table^T, without a bias; the table is the word embeddings', or the head's own where it has one.
p, config (dict) and batch (dict of lists) -> scalar. Radford et al. 2018, eq. 1; Radford et al. 2019, section 2;
SPEC GPT2-LOSS.
"""

from .cross_entropy import cross_entropy
from .gpt2_encode import gpt2_encode
from .linear import linear


def gpt2_loss(p, config, batch):
    table = (p["lm"]["decoder"] if "lm" in p else p["embeddings"]["word"])["weight"]
    logits = linear(gpt2_encode(p, config, batch), table, [0] * len(table))
    following = [[*row[1:], -100] for row in batch["labels"]]
    return cross_entropy(logits, labels=following, ignore=-100)
