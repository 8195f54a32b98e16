"""Word vectors beside gensim's, on the text that every Python ships: words a second, and the same neighbours.

    python tests/benchmarks/word_vectors.py [--seeds N] [--epochs N] [--network skip-gram|cbow] [--threads N]

Both read the same words, five passes, D = 64, windows of 5, five words against each. Another seed holds out other
documents. Agreement: of the 10 nearest words of each of the 500 most frequent that are no stop words, the share that
two sets of vectors from different seeds have in common; what gensim has in common with itself is what a right
implementation can reach. Words a second are those of the raw text, by the clock and by the processor's time.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minibert import corpus, data, families, tokenizers, training, vectors
from minibert import model as models
from minibert.pretraining import pretrain

NEAREST, SKIPPED, ASKED = 10, 60, 500


def timed(f):
    clock, processor = time.perf_counter(), time.process_time()
    found = f()
    return found, time.perf_counter() - clock, time.process_time() - processor


def ours(seed, epochs, network, threads, folder):
    """(vectors, words a second by the clock, by the processor): of the training loop alone."""
    measured = []
    fit = training.fit

    def fitted(*args, **given):
        measured.append(timed(lambda: fit(*args, **given))[1:])

    training.fit = fitted
    try:
        rows = 4886  # of the default text; a step takes 32
        run = pretrain("word2vec", (), folder, seed=seed, steps=epochs * rows // 32, network=network, threads=threads,
                       learning_rate=0.025 if network == "skip-gram" else 0.05, fields={"cbow_mean": True})  # fmt: skip
    finally:
        training.fit = fit
    return vectors.of(models.load(run)), measured[0]


def sentences(folder):
    """The training text of a run, as words of its vocabulary."""
    options = json.loads((folder / "run.json").read_text(encoding="utf-8"))["options"]
    tokenizer = tokenizers.load(folder, "words", specials_in_text=False)
    documents = corpus.default_documents()
    text, _ = corpus.split(documents, options["held_out"], options["seed"], corpus.survey(documents).sizes)
    special, spoken = tokenizer.special_ids, families.family("word2vec")
    return [[tokenizer.tokens[i] for i in tokenizer.ids(sentence) if i not in special]
            for document in text for sentence in data.spoken(spoken, document)]  # fmt: skip


def theirs(seed, epochs, network, threads, text):
    from gensim.models import Word2Vec

    alpha = 0.025 if network == "skip-gram" else 0.05
    made = Word2Vec(vector_size=64, window=5, min_count=1, sg=int(network == "skip-gram"), negative=5, sample=1e-3,
                    workers=threads, seed=seed + 1, alpha=alpha)  # fmt: skip
    made.build_vocab(text)
    _, *took = timed(lambda: made.train(text, total_examples=len(text), epochs=epochs))
    words = list(made.wv.index_to_key)
    return vectors.Vectors(words, made.wv.vectors, {word: i for i, word in enumerate(words)}), took


def neighbours(held, words):
    rows = vectors.unit(held.rows[[held.index[word] for word in words]])
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, 1)[:, :NEAREST]


def agreement(a, b, words):
    one, other = (neighbours(held, words)[:ASKED] for held in (a, b))
    return np.mean([len({*x} & {*y}) / NEAREST for x, y in zip(one.tolist(), other.tolist(), strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--network", default="skip-gram")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    given = args.epochs, args.network, args.threads
    mine, gensims, rates = [], [], {"ours": [], "gensim": []}
    with tempfile.TemporaryDirectory() as place:
        for seed in range(args.seeds):
            folder = Path(place, str(seed))
            held, took = ours(seed, *given, folder)
            text = sentences(folder)
            count = args.epochs * sum(map(len, text))
            mine.append(held)
            rates["ours"].append([count / seconds for seconds in took])
            held, took = theirs(seed, *given, text)
            gensims.append(held)
            rates["gensim"].append([count / seconds for seconds in took])
            print(f"seed {seed}: words/s by the clock, by the processor: ours {rates['ours'][-1]}, gensim "
                  f"{rates['gensim'][-1]}", file=sys.stderr, flush=True)  # fmt: skip
    known = [word for word in gensims[0].words if all(word in held.index for held in (*mine, *gensims))]
    words = known[SKIPPED : SKIPPED + 4 * ASKED]
    found = {"ours, gensim": [agreement(mine[a], gensims[b], words)
                              for a, b in itertools.permutations(range(args.seeds), 2)],
             "gensim, gensim": [agreement(a, b, words) for a, b in itertools.combinations(gensims, 2)],
             "ours, ours": [agreement(a, b, words) for a, b in itertools.combinations(mine, 2)]}  # fmt: skip
    print(f"{args.network}, {args.epochs} passes of {count // args.epochs:,} words, {len(known):,} words, "
          f"{args.threads} threads")  # fmt: skip
    for name, several in rates.items():
        clock, processor = np.median(several, 0)
        print(f"{name:<16}{clock:>12,.0f} words/s{processor:>12,.0f} by the processor's time")
    for name, shares in found.items():
        if shares:
            print(f"{name:<16}{np.mean(shares):8.3f} ± {np.std(shares):.3f} of {NEAREST} nearest in common, "
                  f"{len(shares)} pairs of sets")  # fmt: skip


if __name__ == "__main__":
    main()
