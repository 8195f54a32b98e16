"""Tags of words: each is asked at its first piece (Devlin et al. 2018, section 5.3)."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import metrics, tasks, uses
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The tags that the rows have, in the order of their names."""
    labels = sorted({tag for row in rows for tag in row["tags"]})
    require(len(labels) > 1, f"every word has the tag {labels[0]!r}: there is nothing to tell apart")
    return {"labels": labels}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The words with blanks between them, in as many pieces as it takes: one begins with the word that the one before
    has no room for. about["words"]: the token of each word's first piece, by the word's number.
    """
    text, begins = " ".join(row["tokens"]), []
    for word in row["tokens"]:
        begins.append(begins[-1][1] + 1 if begins else 0)
        begins[-1] = (begins[-1], begins[-1] + len(word))
    ids, spans = tokenizer.spans(text)
    owners, word = [], 0
    for start, end in spans:  # a piece may have the blank before it
        while word + 1 < len(begins) and max(start, end - 1) >= begins[word + 1][0]:
            word += 1
        owners.append(word)
    room = most - sum(isinstance(item, str) for item, _ in tokenizer.layout.single)
    before = next((i for i, (item, _) in enumerate(tokenizer.layout.single) if item == 0), 0)
    found, first = [], 0
    while first < len(ids) or not found:
        last = min(len(ids), first + room)
        if last < len(ids):
            whole = next((i for i in range(last, first, -1) if owners[i] != owners[i - 1]), last)
            last = max(whole, first + 1)
        made = tokenizer.laid_out([(ids[first:last], spans[first:last])])
        places: dict[int, int] = {}
        for i in range(first, last):
            if not i or owners[i] != owners[i - 1]:
                places[owners[i]] = before + i - first
        found.append(Piece([made], {"words": places}))
        first = last
    return found


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The tag of each word at its first piece, nothing elsewhere."""
    names, tags = tasks.class_names(task), [uses.IGNORED] * len(piece.encodings[0])
    for word, place in piece.about["words"].items():
        tags[place] = uses.spoken(names, row["tags"][word], "tags")
    return {"labels": tags}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """tags: one for each word. A word without a piece goes on with what stands before it (I-… behind B-…); where
    nothing does it is O, or of tags without that as the first word with a piece.
    """
    names = tasks.class_names(task)
    tags: list[str | None] = [None] * len(row["tokens"])
    for piece, out in zip(pieces, found, strict=True):
        for word, place in piece.about["words"].items():
            chosen = out["classes"][place] if "classes" in out else out["logits"][place].argmax()
            tags[word] = names[int(chosen)]
    beside = "O" if "O" in names else next((tag for tag in tags if tag), names[0])
    for word, tag in enumerate(tags):
        goes_on = f"I-{beside[2:]}" if beside.startswith("B-") else beside
        tags[word] = beside = tag or (goes_on if goes_on in names else beside)
    return {"tags": tags}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """F1 of entities, where the tags are those of such (B-…, I-…), and the accuracy over all words."""
    right, guess = [row["tags"] for row in rows], [one["tags"] for one in said]
    flat = [[tag for tags in side for tag in tags] for side in (right, guess)]
    entities = {"entity_f1": metrics.entity_f1(right, guess)} if any("-" in name for name in _inside(task)) else {}
    return {**entities, "accuracy": metrics.accuracy(*flat)}


def _inside(task: Task) -> list[str]:
    """The tags that begin as those of entities do."""
    return [name for name in tasks.class_names(task) if name.startswith(("B-", "I-"))]


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent tag of every word."""
    counts = Counter(tag for row in learnt for tag in row["tags"])
    best = min(counts, key=lambda tag: (-counts[tag], tag))
    return [{"tags": [best] * len(row["tokens"])} for row in rows]
