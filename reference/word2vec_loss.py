"""word2vec's loss, pair by pair: skip-gram or CBOW, words drawn against each, or the way to it through a tree.

p {"embeddings": {"word"}, "out", "nodes"}, config (dict), batch (input_ids, attention_mask, before, after (b, t),
targets (b, k, t), negatives (b, n), nodes, codes (b, l, t); -100 asks nothing) -> scalar. Mikolov et al. 2013
(1301.3781; 1310.4546); SPEC W2V.
"""

from .hierarchical_softmax import hierarchical_softmax
from .negative_sampling import negative_sampling
from .word2vec_encode import word2vec_encode


def word2vec_loss(p, config, batch):
    return sum(word2vec_loss_terms(p, config, batch).values())


def word2vec_loss_terms(p, config, batch):
    pairs = [
        (r, s, t)
        for r, row in enumerate(batch["targets"])
        for asked in row
        for s, t in enumerate(asked)
        if t != -100
    ]
    h = word2vec_encode(p, config, batch)
    terms = {}
    if config["ns"]:
        table = p["out"]["word"]["weight"]
        losses = [negative_sampling(h[r][s], batch["input_ids"][r][t], batch["negatives"][r], table, config["negative"])
                  for r, s, t in pairs]  # fmt: skip
        terms["negative_sampling"] = sum(losses) / len(pairs)
    if config["hs"]:
        table, ways = p["nodes"]["weight"], list(zip(batch["nodes"], batch["codes"], strict=True))
        losses = [hierarchical_softmax(h[r][s], table, *ways[r], t) for r, s, t in pairs]
        terms["hierarchical_softmax"] = sum(losses) / len(pairs)
    return terms
