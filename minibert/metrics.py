"""How good predictions are: the measures of GLUE, SQuAD, entities, translation and summaries, in NumPy alone.

Every measure takes what is right first, then what was predicted, row by row, and gives one number:

    accuracy f1 matthews                two lists of classes: numbers or strings
    pearson spearman                    two lists of numbers
    exact_match span_f1                 lists of right answers, none where there is none; texts ("" is no answer)
    entity_f1                           two lists of sentences' tags: B-PER I-PER O …
    bleu rouge_1 rouge_2 rouge_l        texts, or lists of several right ones; texts

1 is perfect, of `bleu` 100, as everybody prints it. Where a measure is a ratio whose denominator is 0 (nothing was
predicted, nothing was there, all values are one) it is 0. InputError: no rows, lists of different lengths, values of
another type.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from minibert.config import listed, require, shown
from minibert.errors import InputError

Array = np.ndarray
AVERAGES = ("binary", "macro", "micro")
ORDERS = 4  # the longest n-grams of BLEU


# ---- Classes ---------------------------------------------------------------------------------------------------------
def accuracy(labels: Sequence, predictions: Sequence) -> float:
    """The share of rows that are right. As scikit-learn's `accuracy_score`."""
    right, guess = _classes(labels, predictions)
    return float((right == guess).mean())


def f1(labels: Sequence, predictions: Sequence, average: str = "binary", positive: Hashable = 1) -> float:
    """F1 = 2 tp / (2 tp + fp + fn): of the class `positive` ("binary"), the mean over all classes that are right or
    predicted somewhere ("macro"), or of their counts together ("micro", which with one class a row is the accuracy).

    0 for a class that never is right. As scikit-learn's `f1_score`. InputError: "binary" of more than two classes, or
    of two that are not the positive one.
    """
    require(average in AVERAGES, f"average {shown(average)}: one of {', '.join(AVERAGES)}")
    right, guess = _classes(labels, predictions)
    names, places = np.unique(np.concatenate([right, guess]), return_inverse=True)
    a, b = places[: len(right)], places[len(right) :]
    if average == "binary":
        known = names.tolist()
        require(len(known) < 2 or (len(known) == 2 and positive in known),
                f"binary F1 of the class {shown(positive)}, and the classes are {shown(known)}: "
                "say which is the positive one, or average macro or micro")  # fmt: skip
        chosen = names == positive if positive in known else np.zeros(len(names), bool)
    else:
        chosen = np.ones(len(names), bool)
    hits = np.bincount(a[a == b], minlength=len(names))[chosen]
    sums = (np.bincount(a, minlength=len(names)) + np.bincount(b, minlength=len(names)))[chosen]
    if average == "macro":
        return float(np.mean(2 * hits / sums))  # a class that is there has a sum
    return _ratio(2 * hits.sum(), sums.sum())


def matthews(labels: Sequence, predictions: Sequence) -> float:
    """Matthews' correlation of classes, of any number of them (Gorodkin 2004, R_K): with n rows, c of them right, tₖ of
    class k and pₖ predicted as k

        (c n - Σ tₖ pₖ) / √((n² - Σ pₖ²) (n² - Σ tₖ²))

    As scikit-learn's `matthews_corrcoef`.
    """
    right, guess = _classes(labels, predictions)
    names, places = np.unique(np.concatenate([right, guess]), return_inverse=True)
    n = len(right)
    t, p = (np.bincount(side, minlength=len(names)).astype(float) for side in (places[:n], places[n:]))
    spread = (n * n - p @ p) * (n * n - t @ t)
    return _ratio(float((right == guess).sum()) * n - t @ p, math.sqrt(spread))


def _classes(labels: Sequence, predictions: Sequence) -> tuple[Array, Array]:
    """Both lists as arrays of classes, whose kinds agree."""
    right, guess = (_array(side, "Uiufb", "numbers or strings") for side in _rows(labels, predictions))
    same = (right.dtype.kind == "U") == (guess.dtype.kind == "U")
    require(same, f"a label is {shown(right[0].item())}, a prediction {shown(guess[0].item())}: expected the same type")
    return right, guess


# ---- Numbers ---------------------------------------------------------------------------------------------------------
def pearson(labels: Sequence, predictions: Sequence) -> float:
    """r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² Σ (y - ȳ)²). As SciPy's `pearsonr`, but 0 where that is NaN: where all
    values of a side are equal, as of a single row.
    """
    x, y = (_centred(side) for side in _numbers(labels, predictions))
    return float(np.clip(x @ y, -1, 1))


def spearman(labels: Sequence, predictions: Sequence) -> float:
    """Pearson's r of the ranks; equal values have the mean of their ranks. As SciPy's `spearmanr`, but 0 for NaN."""
    x, y = (_centred(_ranks(side)) for side in _numbers(labels, predictions))
    return float(np.clip(x @ y, -1, 1))


def _numbers(labels: Sequence, predictions: Sequence) -> list[Array]:
    """Both lists as finite float64."""
    both = [_array(side, "iuf", "numbers").astype(np.float64) for side in _rows(labels, predictions)]
    for side in both:
        require(bool(np.isfinite(side).all()), "the values hold NaN or infinity: expected finite ones")
    return both


def _centred(x: Array) -> Array:
    """x - x̄, of length 1; zeros where all are equal."""
    if (x == x[0]).all():
        return np.zeros_like(x)
    x = x / np.abs(x).max()  # no square overflows
    x = x - x.mean()
    x = x / np.abs(x).max()
    return x / np.linalg.norm(x)


def _ranks(x: Array) -> Array:
    """1 for the least; equal values share the mean of theirs."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


# ---- Answers ---------------------------------------------------------------------------------------------------------
def exact_match(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """The share of predictions that are, normalised, one of the row's answers. Source: SQuAD's evaluate-v2.0.py."""
    return _mean(_exact, answers, predictions)


def span_f1(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """The mean of F1 = 2 c / (a + b) over rows, of the best answer of each: a and b words, normalised, of which c are
    common. Where either has none F1 is 1 if both have none, else 0. Source: SQuAD's evaluate-v2.0.py.
    """
    return _mean(_words_f1, answers, predictions)


def best_threshold(
    answers: Sequence[Sequence[str]], predictions: Sequence[str], no_answer: Sequence[float], measure: str = "f1"
) -> tuple[float, float]:
    """(the best score, threshold) where a row is said to have no answer if its number in `no_answer` is above the
    threshold, and its prediction else; measure: "f1" or "exact".

    Source: `find_best_thresh` of SQuAD's evaluate-v2.0.py. Where answering nothing is best the script's threshold is 0,
    here one below all numbers; rows with the same number go together. O(rows · log rows).
    """
    require(measure in ("f1", "exact"), f"measure {shown(measure)}: f1 or exact")
    score = _words_f1 if measure == "f1" else _exact
    rows = _answers(answers, predictions)
    numbers = _numbers(no_answer, list(range(len(rows))))[0]
    silent = sum(score(right, "") for right, _ in rows)
    gains = np.array([score(right, guess) - score(right, "") for right, guess in rows])
    order = np.argsort(numbers, kind="stable")
    numbers, sums = numbers[order], silent + np.cumsum(gains[order])
    last = np.append(numbers[1:] != numbers[:-1], True)  # of equal ones
    best = int(np.argmax(np.where(last, sums, -np.inf)))
    if sums[best] <= silent:
        return silent / len(rows), float(np.nextafter(numbers[0], -np.inf))
    return float(sums[best]) / len(rows), float(numbers[best])


def normalised(text: str) -> str:
    """SQuAD's normalisation: lower case, without ASCII punctuation, without a, an, the, one space between words."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _exact(answers: list[str], prediction: str) -> float:
    return float(normalised(prediction) in map(normalised, answers or [""]))


def _words_f1(answers: list[str], prediction: str) -> float:
    return max(_common(normalised(right).split(), normalised(prediction).split()) for right in answers or [""])


def _common(right: list[str], guess: list[str]) -> float:
    if not right or not guess:
        return float(right == guess)
    return 2 * (Counter(right) & Counter(guess)).total() / (len(right) + len(guess))


def _answers(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> list[tuple[list[str], str]]:
    """(the answers that are something once normalised, prediction) of each row."""
    return [([text for text in right if normalised(text)], guess) for right, guess in _texts(answers, predictions)]


def _mean(score: Callable[[list[str], str], float], answers: Any, predictions: Any) -> float:
    rows = _answers(answers, predictions)
    return sum(score(right, guess) for right, guess in rows) / len(rows)


# ---- Entities --------------------------------------------------------------------------------------------------------
def entity_f1(tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> float:
    """F1 of whole entities: right are those with the right type, beginning and end; over all sentences together. As the
    default mode of seqeval's `f1_score`, which is conlleval's reading (see `entities`).
    """
    found, guessed, common = 0, 0, 0
    for number, (right, guess) in enumerate(zip(*_rows(tags, predictions), strict=True)):
        sides = listed(f"the tags of sentence {number}", right), listed(f"the predictions of sentence {number}", guess)
        agree = len(sides[0]) == len(sides[1])
        require(agree, f"sentence {number} has {len(sides[0])} tags and {len(sides[1])} predictions")
        here, there = set(entities(sides[0])), set(entities(sides[1]))
        found, guessed, common = found + len(here), guessed + len(there), common + len(here & there)
    return _ratio(2 * common, found + guessed)


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first, last) of each entity of a sentence, whose tags are O, B-TYPE, I-TYPE, E-TYPE or S-TYPE, or these
    letters alone, which is the type "_".

    conlleval's reading, which takes IOB1, IOB2 and IOBES: an entity begins at B or S, at I or E behind O, E or S, and
    where the type changes; it ends behind E and S, before B, S and O, and where the type changes.
    """
    found, first, before, kind = [], 0, "O", "_"
    for place, tag in enumerate([*tags, "O"]):
        fits = isinstance(tag, str) and (tag in ("O", "B", "I", "E", "S") or tag[:2] in ("B-", "I-", "E-", "S-"))
        require(fits, f"tag {shown(tag)}: of entities there are O, B-TYPE, I-TYPE, E-TYPE and S-TYPE; "
                "other tags are judged by their accuracy")  # fmt: skip
        here, its = tag[0], tag[2:] or "_"
        changes = kind != its
        if before in "ES" or (before in "BI" and here in "BSO") or (before != "O" and changes):
            found.append((kind, first, place - 1))
        if here in "BS" or (here in "IE" and before in "ESO") or (here != "O" and changes):
            first = place
        before, kind = here, its
    return found


# ---- Translations ----------------------------------------------------------------------------------------------------
def bleu(references: Sequence, predictions: Sequence[str]) -> float:
    """BLEU of a corpus, 0 to 100 (Papineni et al. 2002; as sacrebleu's `corpus_bleu` by default: tokenizer 13a, case
    counts, exponential smoothing). With mₙ of tₙ n-grams of the predictions in their references, each as often as in
    one of them, c words predicted and r in the references, of each row the one nearest in length (the shorter of two):

        100 · min(1, exp(1 - r/c)) · exp(¼ Σₙ log pₙ),   n = 1 … 4,   pₙ = mₙ/tₙ, and 1/(2ᵏ tₙ) for the k-th mₙ = 0

    0 where no word is right, and where no prediction has four words.
    """
    hits, sums, said, due = [0] * ORDERS, [0] * ORDERS, 0, 0
    for right, guess in _texts(references, predictions, least=1):
        words, others = tokens_13a(guess), [tokens_13a(text) for text in right]
        said += len(words)
        due += min((len(other) for other in others), key=lambda n: (abs(n - len(words)), n))
        for n in range(ORDERS):
            own, known = _ngrams(words, n + 1), Counter()
            for other in others:
                known |= _ngrams(other, n + 1)
            hits[n] += (own & known).total()
            sums[n] += own.total()
    if not any(hits) or not all(sums):
        return 0.0
    logs, halves = 0.0, 1
    for hit, of in zip(hits, sums, strict=True):
        halves *= 1 if hit else 2
        logs += math.log(hit / of if hit else 1 / (halves * of))
    return 100 * math.exp(min(0.0, 1 - due / said) + logs / ORDERS)


def tokens_13a(text: str) -> list[str]:
    """Words as mteval-v13a.pl has them: punctuation by itself, full stops and commas but for those within numbers.
    Source: sacrebleu's tokenizer_13a.py.
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, meant in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, meant)
    text = f" {text} "
    for pattern, put in _13A:
        text = pattern.sub(put, text)
    return text.split()


_13A = [(re.compile(pattern), put) for pattern, put in (
    (r"([{-~\[-` -&(-+:-@/])", r" \1 "), (r"([^0-9])([.,])", r"\1 \2 "), (r"([.,])([^0-9])", r" \1 \2"),
    (r"([0-9])(-)", r"\1 \2 "),
)]  # fmt: skip


# ---- Summaries -------------------------------------------------------------------------------------------------------
def rouge_1(references: Sequence, predictions: Sequence[str]) -> float:
    """F1 of the words in common (Lin 2004), each as often as both have it; mean over rows, of the best reference of
    each. As rouge-score's `rouge1` without a stemmer: words are runs of a-z and 0-9 of the text in lower case.
    """
    return _rouge(lambda right, guess: _overlap(right, guess, 1), references, predictions)


def rouge_2(references: Sequence, predictions: Sequence[str]) -> float:
    """F1 of the pairs of neighbouring words in common; otherwise as `rouge_1`."""
    return _rouge(lambda right, guess: _overlap(right, guess, 2), references, predictions)


def rouge_l(references: Sequence, predictions: Sequence[str]) -> float:
    """F1 of the longest common subsequence: 2 · LCS / (words of both); otherwise as `rouge_1`. The whole text is one
    sequence (rouge-score's `rougeL`, not `rougeLsum`).
    """
    return _rouge(lambda right, guess: (_subsequence(right, guess), len(right), len(guess)), references, predictions)


def _rouge(counted: Callable[[list[str], list[str]], tuple[int, int, int]], references: Any, predictions: Any) -> float:
    """The mean of 2 common / (right + predicted) over rows."""
    total, rows = 0.0, _texts(references, predictions, least=1)
    for right, guess in rows:
        words = _WORDS.findall(guess.lower())
        counts = (counted(_WORDS.findall(text.lower()), words) for text in right)
        total += max(_ratio(2 * common, a + b) for common, a, b in counts)
    return total / len(rows)


_WORDS = re.compile("[a-z0-9]+")


def _overlap(right: list[str], guess: list[str], n: int) -> tuple[int, int, int]:
    a, b = _ngrams(right, n), _ngrams(guess, n)
    return (a & b).total(), a.total(), b.total()


def _subsequence(a: list[str], b: list[str]) -> int:
    """The length of the longest common subsequence. A bit of `row` for each word of a, 0 where the table of lengths
    rises; a word of b moves each rise to its first place in a behind the rise before (Crochemore et al. 2001).
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    every = (1 << len(a)) - 1
    row = every
    for word in b:
        there = row & places.get(word, 0)
        row = (row + there | row - there) & every
    return len(a) - row.bit_count()


# ---- Rows ------------------------------------------------------------------------------------------------------------
def _ngrams(words: list[str], n: int) -> Counter:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0


def _array(side: list, kinds: str, expected: str) -> Array:
    """A list of numbers, or of strings, as an array of one of these kinds."""
    try:
        found = np.asarray(side)
    except (ValueError, OverflowError):  # lists of different lengths
        found = np.empty(0, object)
    fits = found.ndim == 1 and found.dtype.kind in kinds
    mixed = found.dtype.kind == "U" and not all(isinstance(value, str) for value in side)  # 1 would become "1"
    require(fits and not mixed, f"{shown(side[:3])}{' …' if len(side) > 3 else ''}: expected {expected}")
    return found


def _rows(labels: Any, predictions: Any) -> tuple[list, list]:
    """Both lists, of as many rows, at least one."""
    right, guess = listed("labels", labels), listed("predictions", predictions)
    require(len(right) == len(guess), f"there are {len(right)} labels and {len(guess)} predictions: expected as many")
    require(bool(right), "there are no rows to judge")
    return right, guess


def _texts(references: Any, predictions: Any, least: int = 0) -> list[tuple[list[str], str]]:
    """(right ones, at least so many, prediction) of each row."""
    rows = []
    for number, (right, guess) in enumerate(zip(*_rows(references, predictions), strict=True)):
        texts = [right] if isinstance(right, str) else listed(f"the right texts of row {number}", right)
        require(len(texts) >= least, f"row {number} has no reference")
        for text in (*texts, guess):
            if not isinstance(text, str):
                raise InputError(f"row {number} has {shown(text)}: expected a text")
        rows.append((texts, guess))
    return rows
