"""Measures of translations and summaries."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
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
    return _mean(lambda right, guess: _overlap(right, guess, 1), references, predictions)


def rouge_2(references: Sequence, predictions: Sequence[str]) -> float:
    """F1 of the pairs of neighbouring words in common; otherwise as `rouge_1`."""
    return _mean(lambda right, guess: _overlap(right, guess, 2), references, predictions)


def rouge_l(references: Sequence, predictions: Sequence[str]) -> float:
    """F1 of the longest common subsequence: 2 · LCS / (words of both); otherwise as `rouge_1`. The whole text is one
    sequence.
    """
    return _mean(_ordered, references, predictions)


def rouge_lsum(references: Sequence, predictions: Sequence[str]) -> float:
    """`rouge_l` of texts with a sentence a line, as summaries are judged: of each sentence of the reference the words
    count that are in its longest common subsequence with any sentence of the prediction, each word at most as often as
    both texts have it. As rouge-score's `rougeLsum`. O(words of the one · words of the other).
    """
    return _mean(_ordered_by_lines, references, predictions)


def _mean(counted: Callable[[str, str], tuple[int, int, int]], references: Any, predictions: Any) -> float:
    """The mean over rows of 2 common / (right + predicted), of the best reference of each."""
    rows = lists.texts(references, predictions, least=1)
    counts = ([counted(text, guess) for text in right] for right, guess in rows)
    return sum(max(lists.ratio(2 * common, a + b) for common, a, b in of) for of in counts) / len(rows)


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def _overlap(right: str, guess: str, n: int) -> tuple[int, int, int]:
    a, b = _ngrams(_words(right), n), _ngrams(_words(guess), n)
    return (a & b).total(), a.total(), b.total()


def _ordered(right: str, guess: str) -> tuple[int, int, int]:
    a, b = _words(right), _words(guess)
    return _subsequence(a, b), len(a), len(b)


def _ordered_by_lines(right: str, guess: str) -> tuple[int, int, int]:
    a, b = ([_words(line) for line in text.split("\n")] for text in (right, guess))
    left = Counter(chain.from_iterable(a)) & Counter(chain.from_iterable(b))
    common = 0
    for sentence in a:
        for i in sorted(set().union(*(_places(sentence, other) for other in b))):
            common += left[sentence[i]] > 0
            left[sentence[i]] -= 1
    return common, sum(map(len, a)), sum(map(len, b))


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


def _places(a: list[str], b: list[str]) -> list[int]:
    """The places in a of one of the longest common subsequences: that which rouge-score takes of several."""
    table = [[0] * (len(b) + 1)]
    for word in a:
        above, row = table[-1], [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        table.append(row)
    found, i, j = [], len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            found, i, j = [*found, i - 1], i - 1, j - 1
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return found


def _ngrams(words: list[str], n: int) -> Counter:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))
