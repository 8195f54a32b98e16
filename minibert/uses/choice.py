"""One of several texts: each is read behind the context."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import metrics
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """Nothing; but all rows have to have as many choices."""
    counts = Counter(len(row["choices"]) for row in rows)
    several = " and ".join(map(str, sorted(counts)))
    require(len(counts) == 1, f"rows have {several} choices: training takes rows with as many in each")
    return {}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The context with each choice, cut."""
    return [Piece([tokenizer.encode(row["context"], choice, max_length=most) for choice in row["choices"]], {})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The number of the right one."""
    return {"labels": row["label"]}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """choice: the number of one; score: its probability; scores: of all."""
    z = found[0]["logits"].astype(np.float64)
    shares = np.exp(z - z.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    return {"choice": best, "score": float(shares[best]), "scores": shares.tolist()}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """The accuracy."""
    return {"accuracy": metrics.accuracy([row["label"] for row in rows], [one["choice"] for one in said])}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The place that is right most often."""
    counts = Counter(row["label"] for row in learnt)
    return [{"choice": min(counts, key=lambda place: (-counts[place], place))}] * len(rows)
