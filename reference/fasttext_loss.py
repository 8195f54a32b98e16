"""fastText's loss, pair by pair: word2vec's, of vectors made of words and n-grams; k words in full against each pair.

p, config, batch as `word2vec_loss`, and "piece" in the embeddings, pieces (b, g, t) in the batch -> scalar. Bojanowski
et al. 2016 (1607.04606); SPEC FT.
"""

from .fasttext_encode import fasttext_encode
from .hierarchical_softmax import hierarchical_softmax
from .negative_sampling import negative_sampling


def fasttext_loss(p, config, batch):
    return sum(fasttext_loss_terms(p, config, batch).values())


def fasttext_loss_terms(p, config, batch):
    terms, losses = {}, {"negative_sampling": [], "hierarchical_softmax": []}
    for r, row in enumerate(batch["targets"]):
        for s, t in [(s, t) for asked in row for s, t in enumerate(asked) if t != -100]:
            h, word = fasttext_encode(p, config, batch, r, s), batch["input_ids"][r][t]
            if config["ns"]:
                others = [n for n in batch["negatives"][r] if n != word]
                given = (h, word, others or batch["negatives"][r], p["out"]["word"]["weight"], config["negative"])
                losses["negative_sampling"].append(negative_sampling(*given))
            if config["hs"]:
                ways = p["nodes"]["weight"], batch["nodes"][r], batch["codes"][r]
                losses["hierarchical_softmax"].append(hierarchical_softmax(h, *ways, t))
    for term, found in losses.items():
        if found:
            terms[term] = sum(found) / len(found)
    return terms
