"""GPT's loss: L1, the mean of -log softmax(h_t table^T)[label of t + 1]; of rows of several texts L2 + lambda L1.

L2: the mean over the rows of -log softmax(z)[mc_label], z_i = w h + b of the i-th text's state at mc_token_ids.
p, config (dict) and batch (dict of lists, inputs (b, t) or (b, c, t)) -> scalar. Radford et al. 2018, eq. 1, 3-5;
SPEC GPT-LOSS.
"""

from .choice import choice
from .cross_entropy import cross_entropy
from .gpt_encode import gpt_encode
from .linear import linear
from .scalars import constant

TOKENS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "labels")


def gpt_loss(p, config, batch):
    several = isinstance(batch["input_ids"][0][0], list)
    flat = {name: [text for row in batch[name] for text in row] if several else batch[name]
            for name in TOKENS if name in batch}
    h = gpt_encode(p, config, flat)
    table = (p["lm"]["decoder"] if "lm" in p else p["embeddings"]["word"])["weight"]
    following = [[*row[1:], -100] for row in flat["labels"]]
    language = cross_entropy(linear(h, table, [0] * len(table)), labels=following, ignore=-100)
    if not several:
        return language
    states = iter(h)
    s = [[next(states)[i] for i in places] for places in batch["mc_token_ids"]]
    return choice(s, p["choice"], {"labels": batch["mc_labels"]}) + constant(config["lm_coef"], language) * language
