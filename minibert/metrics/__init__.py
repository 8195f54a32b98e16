"""How good predictions are: the measures of GLUE, SQuAD, entities, translation and summaries, in NumPy alone.

Every measure takes what is right first, then what was predicted, row by row, and gives one number:

    accuracy f1 matthews                two lists of classes: numbers or strings
    pearson spearman                    two lists of numbers
    exact_match span_f1                 lists of right answers, none where there is none; texts ("" is no answer)
    entity_f1                           two lists of sentences' tags: B-PER I-PER O …
    bleu rouge_1 rouge_2 rouge_l(sum)   texts, or lists of several right ones; texts
    hit_rate ndcg reciprocal_rank       the place of the right item in each row; rows of scores, as many in each

1 is perfect, of `bleu` 100, as everybody prints it. Where a measure is a ratio whose denominator is 0 (nothing was
predicted, nothing was there, all values are one) it is 0. InputError: no rows, lists of different lengths, values of
another type.
"""

from minibert.metrics.answers import best_threshold, exact_match, normalised, span_f1
from minibert.metrics.classes import accuracy, f1, matthews
from minibert.metrics.entities import entities, entity_f1
from minibert.metrics.numbers import pearson, spearman
from minibert.metrics.ranks import hit_rate, ndcg, ranks, reciprocal_rank
from minibert.metrics.texts import bleu, rouge_1, rouge_2, rouge_l, rouge_lsum, tokens_13a

__all__ = [
    "accuracy", "best_threshold", "bleu", "entities", "entity_f1", "exact_match", "f1", "hit_rate", "matthews", "ndcg",
    "normalised", "pearson", "ranks", "reciprocal_rank", "rouge_1", "rouge_2", "rouge_l", "rouge_lsum", "span_f1",
    "spearman", "tokens_13a",
]  # fmt: skip

# which of them, or of what `uses` makes of them, are shares of rows, words or entities, to be said in percent
SHARES = frozenset({"accuracy", "f1", "exact_match", "entity_f1", "hit_rate"})
