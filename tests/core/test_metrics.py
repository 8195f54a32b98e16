"""Measures: by hand on small rows, against well-kept libraries on 1,000 random inputs, and what is refused."""

import random

import numpy as np
import pytest

from minibert import metrics
from minibert.errors import InputError

INPUTS = 1000
CLOSE = 1e-12


def close(got, due):
    assert got == pytest.approx(due, rel=CLOSE, abs=CLOSE)


# ---- By hand ---------------------------------------------------------------------------------------------------------
def test_classes_by_hand():
    right, guess = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]  # tp 2, fp 1, fn 1, tn 1
    close(metrics.accuracy(right, guess), 3 / 5)
    close(metrics.f1(right, guess), 2 / 3)
    close(metrics.f1(right, guess, positive=0), 1 / 2)
    close(metrics.f1(right, guess, "macro"), (2 / 3 + 1 / 2) / 2)
    close(metrics.f1(right, guess, "micro"), 3 / 5)
    close(metrics.matthews(right, guess), (2 * 1 - 1 * 1) / 6)  # √(3 · 3 · 2 · 2)
    close(metrics.f1(["yes", "no"], ["yes", "yes"], positive="yes"), 2 / 3)
    assert metrics.matthews([1, 1], [1, 0]) == metrics.f1([0, 0], [0, 0]) == 0


def test_numbers_by_hand():
    close(metrics.pearson([1, 2, 3], [1, 2, 2]), 1 / np.sqrt(2 * 2 / 3))
    close(metrics.spearman([1, 2, 3, 4], [1, 4, 9, 16]), 1)
    close(metrics.spearman([1, 2, 3], [5, 0, 0]), -1.5 / np.sqrt(2 * 1.5))  # ranks 3, 1.5, 1.5
    close(metrics.pearson([1e300, -1e300, 0], [2, -2, 0]), 1)
    assert metrics.pearson([0.1, 0.1, 0.1], [1, 2, 3]) == metrics.spearman([1], [1]) == 0


def test_answers_by_hand():
    assert metrics.normalised("The  quick, brown (fox's) an  a-theme") == "quick brown foxs atheme"
    right, guess = [["in 1066", "1066"], [], ["the cat sat"], []], ["1066.", "", "A cat", "x"]
    close(metrics.exact_match(right, guess), 2 / 4)
    close(metrics.span_f1(right, guess), (1 + 1 + 2 / 3 + 0) / 4)
    # above 0.5 there is no answer: rows 0, 2 say theirs, 3 says nothing, which is right
    score, threshold = metrics.best_threshold(right, guess, [0.1, 0.9, 0.5, 0.8])
    close(score, (1 + 1 + 2 / 3 + 1) / 4)
    assert threshold == 0.5
    assert metrics.best_threshold([[], ["a b"]], ["x", "c"], [2.0, 3.0]) == (0.5, np.nextafter(2.0, 0))
    assert metrics.best_threshold([["b"], []], ["b", "x"], [1, 1], "exact")[0] == 0.5  # of equals all or none


def test_entities_by_hand():
    assert metrics.entities(["B-A", "I-A", "O", "I-A", "I-B", "S-B", "E-A"]) == [
        ("A", 0, 1), ("A", 3, 3), ("B", 4, 4), ("B", 5, 5), ("A", 6, 6),
    ]  # fmt: skip
    assert metrics.entities(["B", "I", "O", "B", "B"]) == [("_", 0, 1), ("_", 3, 3), ("_", 4, 4)]
    right, guess = [["B-A", "I-A", "O"], ["B-B"]], [["B-A", "O", "O"], ["S-B"]]
    close(metrics.entity_f1(right, guess), 1 / 2)
    assert metrics.entity_f1([["O"]], [["O"]]) == 0


def test_translations_by_hand():
    assert metrics.tokens_13a('Hello, &quot;you&quot; (3.14-x)!') == ["Hello", ",", '"', "you", '"', "(", "3.14", "-",
                                                                      "x", ")", "!"]  # fmt: skip
    words = "a b c d e"
    close(metrics.bleu([words], [words]), 100)
    close(metrics.bleu([words], ["a b c d"]), 100 * np.exp(1 - 5 / 4))
    close(metrics.bleu([["a b c d", "x"]], ["a b x d"]), 100 * (1 * 1 / 3 * 1 / 4 * 1 / 4) ** 0.25)
    assert metrics.bleu([words], ["x y z w"]) == metrics.bleu([words], ["a b c"]) == metrics.bleu([words], [""]) == 0


def test_summaries_by_hand():
    right, guess = ["the cat sat on the mat"], ["The cat on the mat!"]
    close(metrics.rouge_1(right, guess), 2 * 5 / 11)
    close(metrics.rouge_2(right, guess), 2 * 3 / 9)
    close(metrics.rouge_l(right, guess), 2 * 5 / 11)
    close(metrics.rouge_l(["a b c"], ["c a b"]), 2 * 2 / 6)
    close(metrics.rouge_1([["x", "a"], ["b"]], ["a", ""]), 1 / 2)
    close(metrics.rouge_lsum(right, guess), 2 * 5 / 11)
    close(metrics.rouge_lsum(["a b c\nd e"], ["d e\nb c x"]), 2 * 4 / 10)  # in whichever order the sentences stand
    close(metrics.rouge_lsum(["a b\nb a"], ["a b c"]), 2 * 2 / 7)  # a and b are there once


def test_ranks_by_hand():
    scores = [[5, 3, 9], [1, 1, 0], [0, 2, 1]]
    assert metrics.ranks([2, 0, 0], scores).tolist() == [0, 1, 2]
    close(metrics.hit_rate([2, 0, 0], scores, 2), 2 / 3)
    close(metrics.reciprocal_rank([2, 0, 0], scores), (1 + 1 / 2 + 1 / 3) / 3)
    close(metrics.ndcg([2, 0, 0], scores), (1 + 1 / np.log2(3) + 1 / 2) / 3)
    descending = [list(range(20, 0, -1))]
    assert metrics.ndcg([0], descending) == 1
    assert metrics.ndcg([9], descending) == pytest.approx(0.28906, abs=1e-5)
    assert metrics.ndcg([10], descending) == 0


# ---- What is refused -------------------------------------------------------------------------------------------------
REFUSED = {
    "no rows": (metrics.accuracy, [], []),
    "2 labels and 1 predictions": (metrics.pearson, [1, 2], [1]),
    "expected the same type": (metrics.matthews, ["1"], [1]),
    "expected numbers or strings": (metrics.f1, [[1], [1, 2]], [1, 2]),
    "expected numbers or": (metrics.accuracy, ["1", 1], ["1", "1"]),
    "say which is the positive one": (metrics.f1, [0, 2], [2, 2]),
    "expected numbers": (metrics.spearman, ["a"], [1]),
    "NaN": (metrics.pearson, [1.0, np.nan], [1, 2]),
    "sentence 1 has 1 tags and 2": (metrics.entity_f1, [["O"], ["O"]], [["O"], ["O", "O"]]),
    "judged by their accuracy": (metrics.entity_f1, [["NN"]], [["O"]]),
    "row 0 has no reference": (metrics.bleu, [[]], ["a"]),
    "row 0 has 3: expected a text": (metrics.rouge_1, ["a"], [3]),
    "as many finite scores": (metrics.ndcg, [2], [[1, 2]]), "as many finite": (metrics.ndcg, [0, 0], [[1, 2], [1]]),
    "expected a list": (metrics.span_f1, [3], ["a"]),
}


@pytest.mark.parametrize("said", REFUSED)
def test_one_line_says_what_is_wrong(said):
    measure, right, guess = REFUSED[said]
    with pytest.raises(InputError, match=said):
        measure(right, guess)


def test_the_best_threshold_is_that_of_all_that_can_be_said():
    for seed in range(60):
        rng, rows = drawn(seed)
        texts = ["", "a cat", "cat sat", "dog"]
        right = [rng.choices(texts, k=rng.randrange(3)) for _ in range(rows)]
        guess, numbers = rng.choices(texts, k=rows), [rng.randrange(-4, 4) for _ in range(rows)]
        for name, measure in (("f1", metrics.span_f1), ("exact", metrics.exact_match)):
            def at(threshold, measure=measure, right=right, guess=guess, numbers=numbers):
                said = ["" if number > threshold else text for text, number in zip(guess, numbers, strict=True)]
                return measure(right, said)

            score, threshold = metrics.best_threshold(right, guess, numbers, name)
            close(score, max(at(number) for number in [-np.inf, *numbers]))
            close(at(threshold), score)


# ---- Libraries -------------------------------------------------------------------------------------------------------
def drawn(seed):
    """A generator for each input, and how many rows it has."""
    rng = random.Random(seed)
    return rng, rng.randrange(1, 12)


def test_classes_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.metrics")
    import sklearn

    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        for seed in range(INPUTS):
            rng, rows = drawn(seed)
            kinds = [["a", "b"], [0, 1], [0, 1, 2, 5], ["x", "y", "z"]][seed % 4]
            right, guess = ([*kinds, *(rng.choice(kinds) for _ in range(rows))] for _ in range(2))
            rng.shuffle(guess)
            right, guess = right[: rows + 1], guess[: rows + 1]
            close(metrics.accuracy(right, guess), theirs.accuracy_score(right, guess))
            if len({*right, *guess}) > 1:  # else theirs warns, and is 0 as ours
                close(metrics.matthews(right, guess), theirs.matthews_corrcoef(right, guess))
            average = ("macro", "micro", "binary")[seed % 3 if len(kinds) == 2 else seed % 2]
            due = theirs.f1_score(right, guess, average=average, pos_label=kinds[1], zero_division=0)
            close(metrics.f1(right, guess, average, positive=kinds[1]), due)


def test_ranks_are_scikit_learns():
    theirs = pytest.importorskip("sklearn.metrics")
    import sklearn

    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        for seed in range(INPUTS // 10):  # of 6 rows each, in the mean
            rng, rows = drawn(seed)
            scores = [rng.sample(range(-30, 30), 15) for _ in range(rows)]
            right = [rng.randrange(15) for _ in range(rows)]
            close(metrics.ndcg(right, scores), theirs.ndcg_score(np.eye(15)[right], scores, k=10))
            close(metrics.hit_rate(right, scores, 3), theirs.top_k_accuracy_score(right, scores, k=3, labels=range(15)))
            close(metrics.reciprocal_rank(right, scores),
                  theirs.label_ranking_average_precision_score(np.eye(15)[right], scores))  # fmt: skip


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_numbers_are_scipys():
    theirs = pytest.importorskip("scipy.stats")
    for seed in range(INPUTS):
        rng, rows = drawn(seed)
        right, guess = ([rng.choice([rng.gauss(0, 10.0 ** rng.randrange(-3, 4)), 1.0, 2.5]) for _ in range(rows + 1)]
                        for _ in range(2))  # fmt: skip
        for measure, due in ((metrics.pearson, theirs.pearsonr), (metrics.spearman, theirs.spearmanr)):
            r = due(right, guess).statistic
            close(measure(right, guess), 0.0 if np.isnan(r) else r)


@pytest.mark.filterwarnings("ignore:.* ill-defined")
def test_entities_are_seqevals():
    theirs = pytest.importorskip("seqeval.metrics")
    from seqeval.metrics.sequence_labeling import get_entities

    tags = ["O", "O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("A", "B-x")), "B", "I"]
    for seed in range(INPUTS):
        rng, rows = drawn(seed)
        right = [[rng.choice(tags) for _ in range(rng.randrange(1, 9))] for _ in range(rows)]
        guess = [[tag if rng.random() < 0.7 else rng.choice(tags) for tag in sentence] for sentence in right]
        close(metrics.entity_f1(right, guess), theirs.f1_score(right, guess, zero_division=0))
        assert metrics.entities(right[0]) == get_entities(right[0])


def spoken(rng, words, most=14):
    """A text of these words, with what a tokenizer has to tell apart."""
    return "".join(rng.choice(words) + rng.choice([" "] * 9 + [", ", ".", "-", "  ", "'s ", "&amp;", "\n"])
                   for _ in range(rng.randrange(most)))  # fmt: skip


WORDS = ["the", "cat", "Sat", "on", "3.14", "1,000", "mat", "Ümlaut", "a"]


def test_translations_are_sacrebleus():
    theirs = pytest.importorskip("sacrebleu")
    for seed in range(INPUTS):
        rng, rows = drawn(seed)
        rows = min(rows, 4)
        streams = [[spoken(rng, WORDS) for _ in range(rows)] for _ in range(1 + seed % 3)]
        guess = [text if rng.random() < 0.3 else text[: rng.randrange(40)] + spoken(rng, WORDS, 6)
                 for text in streams[0]]  # fmt: skip
        close(metrics.bleu(list(zip(*streams, strict=True)), guess), theirs.corpus_bleu(guess, streams).score)


def test_summaries_are_rouge_scores():
    theirs = pytest.importorskip("rouge_score.rouge_scorer")
    measures = {"rouge1": metrics.rouge_1, "rouge2": metrics.rouge_2, "rougeL": metrics.rouge_l,
                "rougeLsum": metrics.rouge_lsum}  # fmt: skip
    scorer = theirs.RougeScorer(list(measures), use_stemmer=False)
    for seed in range(INPUTS):
        rng, _ = drawn(seed)
        right, guess = [spoken(rng, WORDS) for _ in range(1 + seed % 2)], spoken(rng, WORDS)
        due = scorer.score_multi(right, guess)
        for name, measure in measures.items():
            close(measure([right], [guess]), due[name].fmeasure)
