"""Measures of answers in a text, which may be none."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert.config import require, shown
from minibert.metrics import lists, numbers


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
    silence = numbers.finite(no_answer, list(range(len(rows))))[0]
    nothing = sum(score(right, "") for right, _ in rows)
    gains = np.array([score(right, guess) - score(right, "") for right, guess in rows])
    order = np.argsort(silence, kind="stable")
    silence, sums = silence[order], nothing + np.cumsum(gains[order])
    last = np.append(silence[1:] != silence[:-1], True)  # of equal ones
    best = int(np.argmax(np.where(last, sums, -np.inf)))
    if sums[best] <= nothing:
        return nothing / len(rows), float(np.nextafter(silence[0], -np.inf))
    return float(sums[best]) / len(rows), float(silence[best])


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
    return [([text for text in right if normalised(text)], guess) for right, guess in lists.texts(answers, predictions)]


def _mean(score: Callable[[list[str], str], float], answers: Any, predictions: Any) -> float:
    rows = _answers(answers, predictions)
    return sum(score(right, guess) for right, guess in rows) / len(rows)
