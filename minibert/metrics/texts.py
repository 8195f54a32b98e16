"""Measures of translations and summaries."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from minibert.metrics import lists

ORDERS = 4  # the longest n-grams of BLEU


def bleu(references: Sequence, predictions: Sequence[str]) -> float:
    """BLEU of a corpus, 0 to 100 (Papineni et al. 2002; as sacrebleu's `corpus_bleu` by default: tokenizer 13a, case
    counts, exponential smoothing). With mₙ of tₙ n-grams of the predictions in their references, each as often as in
    one of them, c words predicted and r in the references, of each row the one nearest in length (the shorter of two):

        100 · min(1, exp(1 - r/c)) · exp(¼ Σₙ log pₙ),   n = 1 … 4,   pₙ = mₙ/tₙ, and 1/(2ᵏ tₙ) for the k-th mₙ = 0

    0 where no word is right, and where no prediction has four words.
    """
    hits, sums, said, due = [0] * ORDERS, [0] * ORDERS, 0, 0
    for right, guess in lists.texts(references, predictions, least=1):
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
    total, rows = 0.0, lists.texts(references, predictions, least=1)
    for right, guess in rows:
        words = _WORDS.findall(guess.lower())
        counts = (counted(_WORDS.findall(text.lower()), words) for text in right)
        total += max(lists.ratio(2 * common, a + b) for common, a, b in counts)
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


def _ngrams(words: list[str], n: int) -> Counter:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))
