"""What can be told without any order of words: python tests/benchmarks/bag_of_words.py TRAIN DEV [FORMAT] [--task TASK]
[--rows N] [--held-out N]

What a fine-tuned network is to be compared with, beside what a constant answer gets, on the first N rows of two files
(of those held out, those whose tags the others have):

    classify    logistic regression (scikit-learn) over words and pairs of neighbours, weighted by their rarity
    tag         logistic regression over the word, its last three letters and the words beside it; and the tag that the
                word has most often, of a new word that of all words
    answer      what stands before the colon of the sentence of the context that shares most words with the question,
                weighted by their rarity, where that is more than a share of them which suits the training rows best
"""

import argparse
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator

from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier

from minibert import metrics, rows

Rows = list[dict]
WORDS = re.compile(r"\w+")
BEFORE = re.compile(r"(?:^|(?<=\. ))[^.:]+(?=: )")  # what an entry is of


def told(train: Rows, dev: Rows) -> dict[str, float]:
    """Accuracy on the held-out rows."""
    sides = [([" ".join((row["text"], row.get("pair", ""))) for row in part], [row["label"] for row in part])
             for part in (train, dev)]  # fmt: skip
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=50_000, sublinear_tf=True)
    regression = LogisticRegression(C=10, max_iter=200).fit(words.fit_transform(sides[0][0]), sides[0][1])
    guess = regression.predict(words.transform(sides[1][0])).tolist()
    return {"most frequent class": metrics.accuracy(sides[1][1], [most(sides[0][1])] * len(dev)),
            "bag of words": metrics.accuracy(sides[1][1], guess)}  # fmt: skip


def tagged(train: Rows, dev: Rows) -> dict[str, float]:
    """Accuracy on the words of the held-out rows."""
    right, every = ([tag for row in part for tag in row["tags"]] for part in (dev, train))
    seen: dict[str, Counter] = {}
    for row in train:
        for word, tag in zip(row["tokens"], row["tags"], strict=True):
            seen.setdefault(word, Counter())[tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    words = [word for row in dev for word in row["tokens"]]
    hashed = FeatureHasher(input_type="string")
    features, others = (hashed.transform(one for row in part for one in beside(row["tokens"])) for part in (train, dev))
    regression = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=15, random_state=0).fit(features, every)
    guess = regression.predict(others).tolist()
    return {"most frequent tag": metrics.accuracy(right, [most(every)] * len(right)),
            "the word's most frequent": metrics.accuracy(right, [usual.get(word, most(every)) for word in words]),
            "word and neighbours": metrics.accuracy(right, guess)}  # fmt: skip


def beside(words: list[str]) -> Iterator[list[str]]:
    """What each word is told by."""
    padded = ["", *words, ""]
    for before, word, after in zip(padded, words, padded[2:], strict=False):
        capital = "capital" if word[:1].isupper() else "small"
        yield [f"word {word}", f"end {word[-3:]}", f"before {before}", f"after {after}", capital]


def answered(train: Rows, dev: Rows) -> dict[str, float]:
    """F1 of the held-out rows' answers."""
    texts = Counter(word for row in train for word in {*WORDS.findall(row["context"].lower())})
    rarity = {word: math.log(len(train) / count) for word, count in texts.items()}
    best = [[shared(row, rarity) for row in part] for part in (train, dev)]
    due = [[[answer["text"] for answer in row["answers"]] for row in part] for part in (train, dev)]
    least = -metrics.best_threshold(due[0], [text for text, _ in best[0]], [-share for _, share in best[0]])[1]
    guess = [text if share >= least else "" for text, share in best[1]]
    return {"no answer": metrics.span_f1(due[1], [""] * len(dev)), "shared words": metrics.span_f1(due[1], guess)}


def shared(row: dict, rarity: dict[str, float]) -> tuple[str, float]:
    """(what the sentence is of that shares most words with the question, their share of its words' rarity)."""
    asked = {*WORDS.findall(row["question"].lower())}
    whole = sum(rarity.get(word, 0.0) for word in asked) or 1.0
    starts = [found.span() for found in BEFORE.finditer(row["context"])]
    ends = [start for start, _ in starts[1:]] + [len(row["context"])]
    found = [(row["context"][a:b], asked & {*WORDS.findall(row["context"][b:end].lower())})
             for (a, b), end in zip(starts, ends, strict=True)]  # fmt: skip
    shares = [(sum(rarity.get(word, 0.0) for word in words) / whole, text) for text, words in found]
    share, text = max(shares, default=(0.0, ""))
    return text, share


def most(labels: list[str]) -> str:
    return Counter(labels).most_common(1)[0][0]


TASKS = {"classify": told, "tag": tagged, "answer": answered}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("train")
    parser.add_argument("dev")
    parser.add_argument("format", nargs="?")
    parser.add_argument("--task", choices=TASKS, default="classify")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--held-out", type=int)
    args = parser.parse_args()
    train = [*itertools.islice(rows.read(args.train, args.task, form=args.format), args.rows)]
    known = {tag for row in train for tag in row.get("tags", ())}
    told = (row for row in rows.read(args.dev, args.task, form=args.format) if {*row.get("tags", ())} <= known)
    dev = [*itertools.islice(told, args.held_out)]
    found = ", ".join(f"{name} {share:.1%}" for name, share in TASKS[args.task](train, dev).items())
    print(f"{len(train):,} rows, {len(dev):,} held out: {found}")


if __name__ == "__main__":
    main()
