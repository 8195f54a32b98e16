"""Captions: a row's text about what it shows, in words that the training rows have (`heads.captioning`)."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import metrics, tasks, uses
from minibert.config import require
from minibert.heads.captioning import END
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray
ENDED = "</s>"  # what the end word is called


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The words of the captions, behind the end word, and how many the longest caption has."""
    several = [row["caption"].split() for row in rows]
    words = {word for caption in several for word in caption}
    require(ENDED not in words, f"a caption has the word {ENDED}, which stands for its end")
    return {"labels": [ENDED, *sorted(words)], "longest": max(map(len, several)) + 1}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The text, cut."""
    return [Piece([tokenizer.encode(row["text"], max_length=most)], {})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The words, and the end."""
    words, names = row["caption"].split(), tasks.class_names(task)
    most = task.settings.longest - 1
    require(len(words) <= most, f"caption: {len(words)} words, and the longest of the training rows has {most}")
    return {"labels": [*(uses.spoken(names, word, "caption") for word in words), END]}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """text: the words before the end; score: the log-probability of these and of the end."""
    z, names = found[0]["logits"].astype(np.float64), tasks.class_names(task)
    words = z.argmax(-1).tolist()
    length = words.index(END) if END in words else len(words)
    z = z - z.max(-1, keepdims=True)
    best = -np.log(np.exp(z).sum(-1))[: length + 1]
    return {"text": " ".join(names[word] for word in words[:length]), "score": float(best.sum())}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """The share of captions that are right, word for word; BLEU; ROUGE-L."""
    right, guess = [" ".join(row["caption"].split()) for row in rows], [one["text"] for one in said]
    exact = metrics.accuracy(right, guess)
    return {"exact_match": exact, "bleu": metrics.bleu(right, guess), "rouge_l": metrics.rouge_l(right, guess)}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent caption."""
    counts = Counter(" ".join(row["caption"].split()) for row in learnt)
    return [{"text": min(counts, key=lambda text: (-counts[text], text))}] * len(rows)
