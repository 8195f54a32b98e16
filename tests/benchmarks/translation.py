"""What a translation is worth: python tests/benchmarks/translation.py DIR TRAIN.tsv TEST.tsv [--pairs N] [--beams N]

    minibert pairs /usr/share/locale --language de --part train > train.tsv         # and --part held-out > test.tsv
    minibert pairs /usr/share/locale --language de --part train --blocks > corpus.txt
    minibert pretrain transformer --corpus corpus.txt --task pairs --out DIR

Printed: BLEU and chrF (sacrebleu, with its defaults) of the model in DIR, of the source as it is, and of the source
with each word replaced by the one of the training targets that stands with it most often (Dice's coefficient; words are
what blanks separate), on N held-out pairs that fit the model's rows, drawn from a seed, and on parts of them:

    translated   the target is not the source: catalogues hold many names
    apart        and no training source has the same letters and digits: "_Open" and "Open…" are one text
    sentences    and the source has five words or more
"""

import argparse
import collections
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import inference, parallel
from minibert.corruption import translation

Pair = tuple[str, str]


def dictionary(pairs: Iterable[Pair]) -> dict[str, str]:
    """For each word of a source the word of a target with the largest 2·n(both) / (n(one) + n(other)), n: of pairs."""
    sources, targets, both = collections.Counter(), collections.Counter(), collections.Counter()
    for source, target in pairs:
        one, other = {*source.split()}, {*target.split()}
        sources.update(one)
        targets.update(other)
        both.update((word, found) for word in one for found in other)
    best: dict[str, tuple[float, str]] = {}
    for (word, found), count in both.items():
        best[word] = max(best.get(word, (0.0, "")), (2 * count / (sources[word] + targets[found]), found))
    return {word: found for word, (_, found) in best.items()}


def parts(train: list[Pair], pairs: list[Pair]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, which of the pairs), as above."""
    known = {translation.plain(source) for source, _ in train}
    translated = np.array([source != target for source, target in pairs])
    apart = translated & [translation.plain(source) not in known for source, _ in pairs]
    yield "all", np.ones(len(pairs), bool)
    yield "translated", translated
    yield "apart", apart
    yield "sentences", apart & [len(source.split()) >= 5 for source, _ in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a directory that pretrain has made")
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--pairs", type=int, default=1000, help="of those held out (default 1000)")
    parser.add_argument("--beams", type=int, default=1)
    given = parser.parse_args()
    import sacrebleu  # which the rest of this file does without

    train, test = (list(parallel.pairs([path])) for path in (given.train, given.test))
    words, model = dictionary(train), minibert.load(given.model)
    most = model.config.max_position_embeddings
    test = [pair for pair in test if len(model.tokenizer.encode(pair[0])) <= most]
    drawn = np.random.default_rng(0).permutation(len(test))[: given.pairs]
    pairs = [test[i] for i in drawn]
    sources = [source for source, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda i: len(sources[i]))
    writing = {"num_beams": given.beams, "max_new_tokens": min(40, most - 1)}
    found = inference.continued(model, [sources[i] for i in order], 32, **writing)
    made = dict(zip(order, (one.text.strip() for one in found), strict=True))
    answers = {
        "model": [made[i] for i in range(len(pairs))],
        "the source": sources,
        "word by word": [" ".join(words.get(word, word) for word in source.split()) for source in sources],
    }
    for name, chosen in parts(train, pairs):
        print(f"{name}: {chosen.sum():,} pairs")
        due = [pairs[i][1] for i in np.flatnonzero(chosen)]
        for label, texts in answers.items():
            own = [texts[i] for i in np.flatnonzero(chosen)]
            bleu, chrf = (metric(own, [due]).score for metric in (sacrebleu.corpus_bleu, sacrebleu.corpus_chrf))
            print(f"    {label:14}BLEU {bleu:5.1f}  chrF {chrf:5.1f}")


if __name__ == "__main__":
    main()
