"""Answers to questions: a span of the context, or none.

A question may take half of a row; a context that is longer than the room it leaves is cut into windows that overlap by
a third of that. An answer's score is
x_start + y_end, over spans of at most LONGEST tokens that lie in the context; that of no answer is the same of the
first token of a window, the least of all (Devlin et al. 2018, section 4.3). An answer stands in the context as it is
written there, by the offsets of its tokens.
"""

from typing import Any

import numpy as np

from minibert import metrics
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray
LONGEST = 30  # tokens of an answer; BERT's release, max_answer_length
QUESTION = 64  # tokens of a question, as far as they are half of a row at most; BERT's release, max_query_length
EVERY = {"threshold": -1e30}  # settings with which the best answer is always said
BEST = 20  # starts and ends that are looked at; BERT's release, n_best_size


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """Nothing."""
    return {}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The question with each window of the context. about: the token with which the window begins, and each of its
    tokens' characters in the context.
    """
    items = [item for item, _ in tokenizer.layout.pair]
    both = most - sum(isinstance(item, str) for item in items)
    require(both > 1, f"{most} tokens leave no room for a question and its context")
    asked, spans = (held[: min(QUESTION, both // 2)] for held in tokenizer.spans(row["question"]))
    ids, places = tokenizer.spans(row["context"])
    room = both - len(asked)
    before = items[: items.index(1)]
    first = sum(len(asked) if item == 0 else 1 for item in before)
    step, found = max(1, room - room // 3), []
    for begin in range(0, max(1, len(ids)), step):
        window = slice(begin, begin + room)
        made = tokenizer.laid_out([(asked, spans), (ids[window], places[window])])
        found.append(Piece([made], {"first": first, "places": places[window]}))
        if begin + room >= len(ids):
            break
    return found


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The tokens of the first answer, where the window has all of them; else the first token of the row."""
    first, places = piece.about["first"], piece.about["places"]
    for answer in row["answers"][:1]:
        begin = answer["answer_start"]
        end = begin + len(answer["text"])
        inside = [i for i, (a, b) in enumerate(places) if b > begin and a < end and b > a]
        if inside and places[inside[0]][0] <= begin and places[inside[-1]][1] >= end:
            return {"start_positions": first + inside[0], "end_positions": first + inside[-1]}
    return {"start_positions": 0, "end_positions": 0}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """answer: the text, "" for none; start, end: its characters; score: by how much it is above no answer, which it has
    to be by the task's threshold.
    """
    return judged(task, _best(row, pieces, found))


def judged(task: Task, best: Row) -> Row:
    """The best answer, if its score is above the threshold of the task, else none."""
    silent = not best["answer"] or best["score"] < task.settings.threshold
    return {"answer": "", "start": 0, "end": 0, "score": best["score"]} if silent else best


def _best(row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """The best answer, as `said`, whatever its score."""
    best, nothing = (-np.inf, 0, 0), np.inf
    for piece, out in zip(pieces, found, strict=True):
        first, places = piece.about["first"], piece.about["places"]
        x, y = (out[name].astype(np.float64) for name in ("start_logits", "end_logits"))
        nothing = min(nothing, x[0] + y[0])
        starts, ends = (np.argsort(-z[first : first + len(places)], kind="stable")[:BEST] for z in (x, y))
        for start in starts.tolist():
            for end in ends.tolist():
                if start <= end < start + LONGEST and x[first + start] + y[first + end] > best[0]:
                    best = x[first + start] + y[first + end], places[start][0], places[end][1]
    context, (score, start, end) = row["context"], best if best[2] else (0.0, 0, 0)
    while start < end and context[start].isspace():
        start += 1
    return {"answer": context[start:end], "start": start, "end": end, "score": float(score - nothing)}


def tuned(rows: list[Row], said: list[Row]) -> dict[str, float]:
    """{"threshold": that with which what is said of rows, each its best answer, has the best F1}; {} where all of them
    have an answer, or none.
    """
    right = [[answer["text"] for answer in row["answers"]] for row in rows]
    if all(right) or not any(right):
        return {}
    given = [one["answer"] for one in said], [-one["score"] for one in said]
    return {"threshold": -metrics.best_threshold(right, *given)[1]}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """F1 of the words, and the share of exact ones, with SQuAD's normalisation."""
    right = [[answer["text"] for answer in row["answers"]] for row in rows]
    guess = [one["answer"] for one in said]
    return {"f1": metrics.span_f1(right, guess), "exact_match": metrics.exact_match(right, guess)}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """That there is none."""
    return [{"answer": ""}] * len(rows)
