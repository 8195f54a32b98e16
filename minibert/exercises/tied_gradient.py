"""The gradient of a tied table: it is read at the beginning, and scores the words at the end.

    dE = Σ over tokens: dx_t added to row ids_t   +   dzᵀ h

ids (T,), dx (T, D), the gradient of what was read, dz (M, V), of the scores z = h Eᵀ, h (M, D), words V -> dE (V, D).
A token that stands twice adds to its row twice.
"""

import numpy as np

ORDER, CLAUSE = 18, "BERT-MLM-3"


def tied_gradient(ids, dx, dz, h, words):
    gradient = dz.T @ h
    np.add.at(gradient, ids, dx)
    return gradient


def calls(rng):
    yield {
        "ids": np.array([1]),
        "dx": np.array([[1.0, 2.0]]),
        "dz": np.array([[0.0, 0.5, 1.0]]),
        "h": np.array([[1.0, 0.0]]),
        "words": 3,
    }
    yield {
        "ids": np.array([0, 2, 0]),
        "dx": np.array([[1.0], [2.0], [4.0]]),
        "dz": np.zeros((1, 3)),
        "h": np.ones((1, 1)),
        "words": 3,
    }
    yield {
        "ids": np.array([4, 0, 4, 4, 1]),
        "dx": rng.standard_normal((5, 3)),
        "dz": rng.standard_normal((2, 6)),
        "h": rng.standard_normal((2, 3)),
        "words": 6,
    }


def _read(ids, dx, words):
    gradient = np.zeros((words, dx.shape[1]))
    np.add.at(gradient, ids, dx)
    return gradient


def _buffered(ids, dx, dz, h, words):
    gradient = dz.T @ h
    gradient[ids] += dx
    return gradient


def _averaged(ids, dx, dz, h, words):
    counts = np.maximum(np.bincount(ids, minlength=words), 1)[:, None]
    return dz.T @ h + _read(ids, dx, words) / counts


def _overwritten(ids, dx, dz, h, words):
    gradient = dz.T @ h
    gradient[ids] = dx
    return gradient


def _replaced(ids, dx, dz, h, words):
    gradient = dz.T @ h
    for i in np.unique(ids):
        gradient[i] = dx[ids == i].sum(0)
    return gradient


WRONG = {
    "O08: what comes from the scores is missing": lambda ids, dx, dz, h, words: _read(ids, dx, words),
    "O08: what comes from the tokens that were read is missing": lambda ids, dx, dz, h, words: dz.T @ h,
    "E11: of a token that stands twice only the last counts: E[ids] += dx adds once": _buffered,
    "E11: rows that were read are overwritten, not added to": _overwritten,
    "E25: the gradients of a token that stands several times are averaged": _averaged,
    "E11: the sum of what was read overwrites what comes from the scores in its row": _replaced,
    "both uses are averaged, not added": lambda ids, dx, dz, h, words: tied_gradient(ids, dx, dz, h, words) / 2,
    "divided by the number of tokens": lambda ids, dx, dz, h, words: dz.T @ h + _read(ids, dx, words) / len(ids),
    "the scores' part is averaged over the targets": lambda ids, dx, dz, h, words: (
        dz.T @ h / len(h) + _read(ids, dx, words)
    ),
    "the scores' part is subtracted": lambda ids, dx, dz, h, words: _read(ids, dx, words) - dz.T @ h,
    "the first row's gradient is left out, as if 0 were padding": lambda ids, dx, dz, h, words: (
        tied_gradient(ids, dx, dz, h, words) * (np.arange(words) > 0)[:, None]
    ),
    "what was read of token 0 is left out, as if it were padding": lambda ids, dx, dz, h, words: (
        dz.T @ h + _read(ids, dx, words) * (np.arange(words) > 0)[:, None]
    ),
    "what was read is taken away": lambda ids, dx, dz, h, words: dz.T @ h - _read(ids, dx, words),
    "it is transposed: (D, V)": lambda ids, dx, dz, h, words: tied_gradient(ids, dx, dz, h, words).T,
    "what comes from the scores is kept in the rows that were read alone": lambda ids, dx, dz, h, words: (
        dz.T @ h * np.isin(np.arange(words), ids)[:, None] + _read(ids, dx, words)
    ),
}
