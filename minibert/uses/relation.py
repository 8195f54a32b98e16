"""Relations between two marked parts of a text: "@ Ann @ was born in # Ulm #", whichever of them stands first."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import tasks, uses
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row, classification

Array = np.ndarray
MARKS = {"head": "@", "tail": "#"}


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The relations that the rows have, in the order of their names."""
    labels = sorted({row["label"] for row in rows})
    require(len(labels) > 1, f"every row has the label {labels[0]!r}: there is nothing to tell apart")
    return {"labels": labels}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The text with its marks, as much of it as there is room for around both. about: the tokens of the two marks that
    open a part.
    """
    text, opened = marked(row)
    ids, spans = tokenizer.spans(text)
    places = {name: _token(spans, at) for name, at in opened.items()}
    items = [item for item, _ in tokenizer.layout.single]
    room = most - sum(isinstance(item, str) for item in items)
    first, last = min(places.values()), max(places.values())
    require(last - first < room, f"head and tail stand {last - first:,} tokens from each other, and {room} are read")
    begin = 0 if last < room else min(first, max(last - room + 1, (first + last - room) // 2))
    made = tokenizer.laid_out([(ids[begin : begin + room], spans[begin : begin + room])])
    before = items.index(0) - begin
    return [Piece([made], {name: before + place for name, place in places.items()})]


def marked(row: Row) -> tuple[str, dict[str, int]]:
    """(the text with its marks, where in it those stand that open a part); a part within another opens behind it."""
    edges = []
    for name, mark in MARKS.items():
        start, end = row[name]
        edges += [(start, 1, -end, mark, name), (end, 0, -start, mark, "")]
    found, opened, done = "", {}, 0
    for at, _, _, mark, name in sorted(edges):
        found, done = found + row["text"][done:at], at
        if name:
            opened[name] = len(found) + 1
        found += f" {mark} "
    return found + row["text"][done:], opened


def _token(spans: list[tuple[int, int]], at: int) -> int:
    """The token that this character is in, or the first behind it where it is in none."""
    return next((i for i, (_, end) in enumerate(spans) if end > at), len(spans) - 1)


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The relation."""
    return {"labels": uses.spoken(tasks.class_names(task), row["label"], "label")}


def inputs(pieces: list[Piece], arrays: dict[str, Array]) -> dict[str, Array]:
    """The places of the marks."""
    return {f"{name}_positions": np.array([piece.about[name] for piece in pieces]) for name in MARKS}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """label: the relation; score: its probability; scores: of all."""
    return classification.likeliest(tasks.class_names(task), found[0]["logits"].astype(np.float64))


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """Those of classes."""
    sides = ([row["label"] for row in side] for side in (rows, said))
    return classification.of_classes(tasks.class_names(task), *sides)


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent relation."""
    counts = Counter(row["label"] for row in learnt)
    return [{"label": min(counts, key=lambda label: (-counts[label], label))}] * len(rows)
