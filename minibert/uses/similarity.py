"""How alike two texts are: each is read by itself. Labels from the least to the greatest of the training rows become
those from 0 to 1, unless they lie there already.
"""

from typing import Any

import numpy as np

from minibert import metrics
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The least and the greatest label."""
    low, high = min(row["label"] for row in rows), max(row["label"] for row in rows)
    require(low < high, f"every row has the label {low:g}: there is nothing to tell apart")
    return {} if low >= 0 and high <= 1 else {"low": low, "high": high}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """Both texts, cut."""
    return [Piece([tokenizer.encode(row[name], max_length=most) for name in ("text", "pair")], {})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The label, from 0 to 1."""
    low, high = task.settings.low, task.settings.high
    return {"labels": min(1.0, max(0.0, (row["label"] - low) / (high - low)))}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """label: the value, on the scale of the training rows; score: the same."""
    low, high = task.settings.low, task.settings.high
    value = low + (high - low) * float(found[0]["logits"])
    return {"label": value, "score": value}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """Both correlations."""
    right, guess = [row["label"] for row in rows], [one["label"] for one in said]
    return {"pearson": metrics.pearson(right, guess), "spearman": metrics.spearman(right, guess)}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The mean."""
    return [{"label": float(np.mean([row["label"] for row in learnt]))}] * len(rows)
