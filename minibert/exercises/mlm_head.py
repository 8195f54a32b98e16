"""The masked head: from the state of a masked token to a score for every word of the vocabulary.

    z = LN(gelu(h Wᵀ + b)) Eᵀ + β

E is the table of word embeddings itself; gelu and layer_norm are those of the exercises before. h (M, D), weight W
(D, D), bias b (D), gamma and shift, of the norm, (D), table E (V, D), output β (V), eps -> (M, V).
"""

import numpy as np

from minibert.exercises.gelu import gelu
from minibert.exercises.layer_norm import layer_norm

ORDER, CLAUSE, CASE = 10, "BERT-MLM-1", "bert/published"


def mlm_head(h, weight, bias, gamma, shift, table, output, eps):
    return layer_norm(gelu(h @ weight.T + bias), gamma, shift, eps) @ table.T + output


def calls(rng):
    for rows, width, words in ((1, 2, 3), (3, 4, 5)):
        yield {
            "h": rng.standard_normal((rows, width)),
            "weight": rng.standard_normal((width, width)),
            "bias": rng.standard_normal(width),
            "gamma": rng.standard_normal(width),
            "shift": rng.standard_normal(width),
            "table": rng.standard_normal((words, width)),
            "output": rng.standard_normal(words),
            "eps": 0.1,
        }


def _as(f):
    """f(h, W, b, norm, E, β), norm a function of what is normed."""

    def answer(h, weight, bias, gamma, shift, table, output, eps):
        return f(h, weight, bias, lambda x: layer_norm(x, gamma, shift, eps), table, output)

    return answer


WRONG = {
    "H02: the transform is missing: dense layer, GELU and norm": _as(lambda h, w, b, norm, e, out: h @ e.T + out),
    "G09: GELU is missing": _as(lambda h, w, b, norm, e, out: norm(h @ w.T + b) @ e.T + out),
    "L17: the norm is missing": _as(lambda h, w, b, norm, e, out: gelu(h @ w.T + b) @ e.T + out),
    "H25: the norm comes before GELU": _as(lambda h, w, b, norm, e, out: gelu(norm(h @ w.T + b)) @ e.T + out),
    "H25: the norm comes before the dense layer": _as(
        lambda h, w, b, norm, e, out: gelu(norm(h) @ w.T + b) @ e.T + out
    ),
    "H03: the output's bias β is missing": _as(lambda h, w, b, norm, e, out: norm(gelu(h @ w.T + b)) @ e.T),
    "H04: the output's bias β is added twice": _as(
        lambda h, w, b, norm, e, out: norm(gelu(h @ w.T + b)) @ e.T + 2 * out
    ),
    "C15: the dense layer's bias b is missing": _as(lambda h, w, b, norm, e, out: norm(gelu(h @ w.T)) @ e.T + out),
    "C01: W is not transposed": _as(lambda h, w, b, norm, e, out: norm(gelu(h @ w + b)) @ e.T + out),
    "the dense layer is missing": _as(lambda h, w, b, norm, e, out: norm(gelu(h)) @ e.T + out),
    "the state is added again: the head has no residual": _as(
        lambda h, w, b, norm, e, out: norm(h + gelu(h @ w.T + b)) @ e.T + out
    ),
    "tanh stands for GELU: that is the pooler": _as(
        lambda h, w, b, norm, e, out: norm(np.tanh(h @ w.T + b)) @ e.T + out
    ),
    "ReLU stands for GELU": _as(lambda h, w, b, norm, e, out: norm(np.maximum(h @ w.T + b, 0)) @ e.T + out),
    "γ and the shift of the norm are in each other's place": lambda h, weight, bias, gamma, shift, table, output, eps: (
        mlm_head(h, weight, bias, shift, gamma, table, output, eps)
    ),
    "a softmax behind the scores: the loss takes the scores themselves": lambda **given: (
        np.exp(z := mlm_head(**given)) / np.exp(z).sum(-1, keepdims=True)
    ),
    "ε is added behind the norm's root": lambda h, weight, bias, gamma, shift, table, output, eps: (
        ((z := gelu(h @ weight.T + bias)) - z.mean(-1, keepdims=True))
        / (z.std(-1, keepdims=True) + eps)
        * gamma
        @ table.T
        + shift @ table.T
        + output
    ),
    "ε is not the one that is given: 1e-5": lambda **given: mlm_head(**{**given, "eps": 1e-5}),
    "the state itself is normed: the dense layer and GELU are missing": _as(
        lambda h, w, b, norm, e, out: norm(h) @ e.T + out
    ),
}


def put(answer):
    """Behind the encoder."""

    def forward(f, args, constants):
        z, c = f(*args, **constants)
        h, p, table = (*args, *(constants[name] for name in ("x", "p", "table") if name in constants))[:3]
        if constants.get("act", "gelu") != "gelu":
            return z, c
        own = {
            "weight": p["dense"]["weight"],
            "bias": p["dense"]["bias"],
            "gamma": p["norm"]["weight"],
            "shift": p["norm"]["bias"],
            "table": table,
            "output": p["decoder"]["bias"],
            "eps": constants["eps"],
        }
        return answer(h=h, **own), c

    return {"mlm_head": forward}
