"""What can be told without any order of words: python tests/benchmarks/bag_of_words.py TRAIN DEV [FORMAT]

The share of a classify file that a constant answer gets, and that of logistic regression (scikit-learn) over words and
pairs of neighbours, weighted by their rarity: what a fine-tuned network is to be compared with.
"""

import sys
from collections import Counter

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from minibert import metrics, rows


def told(train: list[dict], dev: list[dict]) -> tuple[float, float]:
    """(accuracy of the most frequent class, of the regression) on the held-out rows."""
    sides = [([" ".join((row["text"], row.get("pair", ""))) for row in part], [row["label"] for row in part])
             for part in (train, dev)]  # fmt: skip
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=50_000, sublinear_tf=True)
    regression = LogisticRegression(C=10, max_iter=200).fit(words.fit_transform(sides[0][0]), sides[0][1])
    guess = regression.predict(words.transform(sides[1][0])).tolist()
    most = Counter(sides[0][1]).most_common(1)[0][0]
    return metrics.accuracy(sides[1][1], [most] * len(dev)), metrics.accuracy(sides[1][1], guess)


def main() -> None:
    """The command."""
    form = sys.argv[3] if len(sys.argv) > 3 else None
    train, dev = (list(rows.read(path, "classify", form=form)) for path in sys.argv[1:3])
    constant, regression = told(train, dev)
    sizes = f"{len(train):,} rows, {len(dev):,} held out"
    print(f"{sizes}: most frequent class {constant:.1%}, bag of words {regression:.1%}")


if __name__ == "__main__":
    main()
