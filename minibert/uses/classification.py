"""Classes of texts, and of pairs of texts; values."""

from collections import Counter
from typing import Any

import numpy as np

from minibert import metrics, tasks, uses
from minibert.config import require
from minibert.tasks import Task
from minibert.uses import Piece, Row

Array = np.ndarray
SEVERAL = "multi_label_classification"


def settings(name: str, rows: list[Row]) -> dict[str, Any]:
    """The classes that the rows have, in the order of their names; of values there is one. Where labels are lists
    several may hold.
    """
    if "problem_type" in tasks.defaults(name):
        return {}
    several = [isinstance(row["label"], list) for row in rows]
    require(all(several) or not any(several), "of some rows the label is a list, of others it is none: give lists")
    if any(several):
        labels = sorted({label for row in rows for label in row["label"]})
        require(bool(labels), "the labels of all rows are empty lists: there is no class")
        return {"labels": labels, "problem_type": SEVERAL}
    labels = sorted({row["label"] for row in rows})
    require(len(labels) > 1, f"every row has the label {labels[0]!r}: there is nothing to tell apart")
    return {"labels": labels}


def pieces(tokenizer: Any, row: Row, most: int) -> list[Piece]:
    """The text, or the text and its pair, cut."""
    return [Piece([tokenizer.encode(row["text"], row.get("pair"), max_length=most)], {})]


def target(task: Task, row: Row, piece: Piece) -> dict[str, Any]:
    """The class, bits of the classes that hold, or the value."""
    kind, label, names = task.settings.problem_type, row["label"], tasks.class_names(task)
    if kind == "regression":
        return {"labels": float(label)}
    listed = "a list" if isinstance(label, list) else "no list"
    require(isinstance(label, list) == (kind == SEVERAL), f"label: {listed}, unlike those of the training rows")
    if kind == SEVERAL:
        held = [uses.spoken(names, one, "label") for one in label]
        return {"labels": np.isin(np.arange(len(names)), held)}
    return {"labels": uses.spoken(names, label, "label")}


def said(task: Task, row: Row, pieces: list[Piece], found: list[dict[str, Array]]) -> Row:
    """label: the class, or the value, of several a list; score: its probability, or the value; scores: of all."""
    z, names, kind = found[0]["logits"].astype(np.float64), tasks.class_names(task), task.settings.problem_type
    if kind == "regression":
        if len(z) == 1:
            return {"label": float(z[0]), "score": float(z[0])}
        return {"label": z.tolist(), "scores": dict(zip(names, z.tolist(), strict=True))}
    if kind == SEVERAL:
        shares = 1 / (1 + np.exp(-z))
        held = [name for name, share in zip(names, shares, strict=True) if share > 0.5]
        return {"label": held, "score": float(shares.max()), "scores": dict(zip(names, shares.tolist(), strict=True))}
    return likeliest(names, z)


def likeliest(names: tuple[str, ...], z: Array) -> Row:
    """label: the class with the largest logit; score, scores: the softmax."""
    shares = np.exp(z - z.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    scores = dict(zip(names, shares.tolist(), strict=True))
    return {"label": names[best], "score": float(shares[best]), "scores": scores}


def measures(task: Task, rows: list[Row], said: list[Row]) -> dict[str, float]:
    """Of classes accuracy, F1 (of the class 1 where they are 0 and 1, as GLUE has it, else macro), Matthews'
    coefficient; of several that may hold F1 over all of them and the share of rows of which all is right; of values
    both correlations.
    """
    right, guess = [row["label"] for row in rows], [one["label"] for one in said]
    if task.settings.problem_type == "regression":
        error = float(np.mean(np.square(np.subtract(right, guess))))
        return {"pearson": metrics.pearson(right, guess), "spearman": metrics.spearman(right, guess), "error": error}
    if task.settings.problem_type == SEVERAL:
        names = tasks.class_names(task)
        bits, others = ([int(name in held) for held in side for name in names] for side in (right, guess))
        whole = [int({*held} == {*other}) for held, other in zip(right, guess, strict=True)]
        return {"f1": metrics.f1(bits, others), "accuracy": metrics.accuracy(whole, [1] * len(whole))}
    return of_classes(tasks.class_names(task), right, guess)


def of_classes(names: tuple[str, ...], right: list[str], guess: list[str]) -> dict[str, float]:
    """The measures of one class a row."""
    own = ("binary", "1") if names == ("0", "1") else ("macro",)
    found = {"accuracy": metrics.accuracy(right, guess), "f1": metrics.f1(right, guess, *own)}
    return {**found, "matthews": metrics.matthews(right, guess)}


def constant(task: Task, learnt: list[Row], rows: list[Row]) -> list[Row]:
    """The most frequent class, or list of those that hold, or the mean."""
    if task.settings.problem_type == "regression":
        return [{"label": float(np.mean([row["label"] for row in learnt]))}] * len(rows)
    if task.settings.problem_type == SEVERAL:
        held = Counter(tuple(sorted({*row["label"]})) for row in learnt)
        return [{"label": [*min(held, key=lambda labels: (-held[labels], labels))]}] * len(rows)
    counts = Counter(row["label"] for row in learnt)
    return [{"label": min(counts, key=lambda label: (-counts[label], label))}] * len(rows)
