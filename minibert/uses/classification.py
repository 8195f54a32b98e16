"""Classes of texts, and of pairs of texts; values."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import metrics, tasks, uses
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The classes that the rows have, in the order of their names; of values there is one."""
    if "problem_type" in tasks.defaults(name):
        return {}
    labels = sorted({row["label"] for row in rows})
    require(len(labels) > 1, f"every row has the label {labels[0]!r}: there is nothing to tell apart")
    return {"labels": labels}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The text, or the text and its pair, cut."""
    return [Piece([tokenizer.encode(row["text"], row.get("pair"), max_length=most)], {})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The class, or the value."""
    if task.settings.problem_type == "regression":
        return {"labels": float(row["label"])}
    return {"labels": uses.spoken(tasks.class_names(task), row["label"], "label")}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """label: the class, or the value; score: its probability, or the value; scores: of all classes."""
    z, names, kind = found[0]["logits"].astype(np.float64), tasks.class_names(task), task.settings.problem_type
    if kind == "regression":
        return {"label": float(z[0]), "score": float(z[0])}
    if kind == "multi_label_classification":
        shares = 1 / (1 + np.exp(-z))
        held = [name for name, share in zip(names, shares, strict=True) if share > 0.5]
        return {"label": held, "score": float(shares.max()), "scores": dict(zip(names, shares.tolist(), strict=True))}
    shares = np.exp(z - z.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    scores = dict(zip(names, shares.tolist(), strict=True))
    return {"label": names[best], "score": float(shares[best]), "scores": scores}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """Of classes accuracy, macro F1, Matthews' coefficient; of values both correlations."""
    right, guess = [row["label"] for row in rows], [one["label"] for one in said]
    if task.settings.problem_type == "regression":
        error = float(np.mean(np.square(np.subtract(right, guess))))
        return {"pearson": metrics.pearson(right, guess), "spearman": metrics.spearman(right, guess), "error": error}
    found = {"accuracy": metrics.accuracy(right, guess), "f1": metrics.f1(right, guess, "macro")}
    return {**found, "matthews": metrics.matthews(right, guess)}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent class, or the mean."""
    if task.settings.problem_type == "regression":
        return [{"label": float(np.mean([row["label"] for row in learnt]))}] * len(rows)
    counts = Counter(row["label"] for row in learnt)
    return [{"label": min(counts, key=lambda label: (-counts[label], label))}] * len(rows)
