"""Clipping: gradients whose common norm is too large become shorter, all by one factor.

    n = √(Σ over all gradients of Σ g²),   g ← g · max_norm / max(n, max_norm)

gradients: a list of arrays of any shapes, max_norm a number -> the list of the clipped ones.
"""

import numpy as np

from minibert import tree

ORDER, CLAUSE, CASE = 15, "OPT-CLIP-1", "bert/published"


def clip(gradients, max_norm):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * max_norm / max(norm, max_norm) for g in gradients]


def calls(rng):
    yield {"gradients": [np.array([3.0, 4.0])], "max_norm": 1.0}
    yield {"gradients": [np.array([0.3]), np.array([0.4])], "max_norm": 1.0}
    yield {"gradients": [np.array([3.0]), np.array([[4.0, 0.0]])], "max_norm": 2.0}
    yield {"gradients": [rng.standard_normal((2, 3)), rng.standard_normal(4)], "max_norm": 0.5}
    yield {"gradients": [np.zeros(2), np.zeros(1)], "max_norm": 1.0}


def _norm(gradients):
    return np.sqrt(sum((g**2).sum() for g in gradients))


WRONG = {
    "O05: each gradient is clipped by its own norm": lambda gradients, max_norm: [
        clip([g], max_norm)[0] for g in gradients
    ],
    "O26: each number is cut to ± max_norm: that is clipping by value": lambda gradients, max_norm: [
        np.clip(g, -max_norm, max_norm) for g in gradients
    ],
    "O26: short gradients are made longer: they stay as they are": lambda gradients, max_norm: [
        g * max_norm / max(_norm(gradients), 1e-300) for g in gradients
    ],
    "0 / 0 where all gradients are 0, and short ones are made longer": lambda gradients, max_norm: [
        g * max_norm / _norm(gradients) for g in gradients
    ],
    "the root is missing": lambda gradients, max_norm: [
        g * max_norm / max(_norm(gradients) ** 2, max_norm) for g in gradients
    ],
    "the norms of the gradients are added: it is the root of the sum of squares": lambda gradients, max_norm: [
        g * max_norm / max(sum(_norm([g]) for g in gradients), max_norm) for g in gradients
    ],
    "the largest of the gradients' norms is taken": lambda gradients, max_norm: [
        g * max_norm / max(*(_norm([g]) for g in gradients), max_norm) for g in gradients
    ],
    "the norm is the sum of sizes |g|": lambda gradients, max_norm: [
        g * max_norm / max(sum(np.abs(g).sum() for g in gradients), max_norm) for g in gradients
    ],
    "the norm is the largest size |g|": lambda gradients, max_norm: [
        g * max_norm / max(max(np.abs(g).max() for g in gradients), max_norm) for g in gradients
    ],
    "divided by the norm where it is too large: max_norm is missing": lambda gradients, max_norm: [
        g / _norm(gradients) if _norm(gradients) > max_norm else g for g in gradients
    ],
    "O26: nothing is clipped": lambda gradients, max_norm: list(gradients),
    "1e-6 is added to the norm: that is torch's form, not the equation": lambda gradients, max_norm: [
        g * min(1.0, max_norm / (_norm(gradients) + 1e-6)) for g in gradients
    ],
    "the mean of squares stands for their sum": lambda gradients, max_norm: [
        g * max_norm / max(np.sqrt(np.mean(np.concatenate([g.ravel() for g in gradients]) ** 2)), max_norm)
        for g in gradients
    ],
    "max(n, max_norm) became min: short gradients are made longer, long ones stay": lambda gradients, max_norm: [
        g * max_norm / np.float64(min(_norm(gradients), max_norm)) for g in gradients
    ],
    "the mean of each gradient's squares stands for their sum": lambda gradients, max_norm: [
        g * max_norm / max(np.sqrt(sum((g**2).mean() for g in gradients)), max_norm) for g in gradients
    ],
    "the factor is turned over": lambda gradients, max_norm: [
        g * (max(_norm(gradients), max_norm) / max_norm) for g in gradients
    ],
    "each row is clipped by its own norm": lambda gradients, max_norm: [
        g * max_norm / np.maximum(np.sqrt((g**2).sum(-1, keepdims=True)), max_norm) for g in gradients
    ],
}


def parts(answer):
    """Before each of the golden steps."""

    def clipped(gradients, max_norm):
        flat = tree.flatten(gradients)
        new = dict(zip(flat, answer(gradients=list(flat.values()), max_norm=max_norm), strict=True))
        return tree.unflatten(new), _norm(flat.values())

    return {"clip": clipped}
