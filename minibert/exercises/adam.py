"""Adam with decoupled weight decay (AdamW): one step of one parameter.

    p ← (1 - lr·decay) p,   m ← β1 m + (1 - β1) g,   v ← β2 v + (1 - β2) g²
    p ← p - lr · (m / (1 - β1^t)) / (√(v / (1 - β2^t)) + ε)

p, g, m, v (...) as they are before step t = 1, 2, …; β1 = beta1, β2 = beta2, ε = eps -> (p, m, v) behind it.
"""

import numpy as np

from minibert import tree

ORDER, CLAUSE, CASE = 13, "OPT-ADAMW-1", "bert/adamw"


def adam(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    step = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return (1 - lr * decay) * p - lr * step, m, v


def calls(rng):
    rates = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 0.01, "decay": 0.0}
    zero = np.zeros(2)
    yield {"p": np.array([1.0, 2.0]), "g": np.array([0.5, -1.0]), "m": zero, "v": zero, "t": 1, **rates}
    yield {"p": np.array([1.0, 2.0]), "g": np.array([0.5, -1.0]), "m": zero, "v": zero, "t": 1, **rates, "decay": 0.5}
    yield {
        **{name: rng.standard_normal((2, 3)) for name in "pgm"},
        "v": rng.random((2, 3)),
        "t": 7,
        **rates,
        "decay": 0.1,
    }


def _as(change=None, step=None, moments=None):
    """The right step but for what is given: change(p, step, lr, decay), step(m, v, t, …), moments(m, v, g, …)."""

    def answer(p, g, m, v, t, lr, beta1, beta2, eps, decay):
        if moments is None:
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        else:
            m, v = moments(m, v, g, beta1, beta2)
        if step is None:
            s = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        else:
            s = step(m, v, t, beta1, beta2, eps)
        return (1 - lr * decay) * p - lr * s if change is None else change(p, s, lr, decay), m, v

    return answer


def _l2(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    return adam(p, g + decay * p, m, v, t, lr, beta1, beta2, eps, 0)


def _corrected(**given):
    p, m, v = adam(**given)
    return p, m / (1 - given["beta1"] ** given["t"]), v / (1 - given["beta2"] ** given["t"])


WRONG = {
    "O01: no correction of the moments: that is BERT's own Adam": _as(
        step=lambda m, v, t, b1, b2, eps: m / (np.sqrt(v) + eps)
    ),
    "m alone is corrected": _as(step=lambda m, v, t, b1, b2, eps: m / (1 - b1**t) / (np.sqrt(v) + eps)),
    "v alone is corrected": _as(step=lambda m, v, t, b1, b2, eps: m / (np.sqrt(v / (1 - b2**t)) + eps)),
    "O02: ε is added under the root": _as(
        step=lambda m, v, t, b1, b2, eps: m / (1 - b1**t) / np.sqrt(v / (1 - b2**t) + eps)
    ),
    "O02: ε is added before the correction": _as(
        step=lambda m, v, t, b1, b2, eps: m / (1 - b1**t) / ((np.sqrt(v) + eps) / np.sqrt(1 - b2**t))
    ),
    "ε is left out": _as(step=lambda m, v, t, b1, b2, eps: m / (1 - b1**t) / np.sqrt(v / (1 - b2**t))),
    "the root is missing": _as(step=lambda m, v, t, b1, b2, eps: m / (1 - b1**t) / (v / (1 - b2**t) + eps)),
    "the correction is that of the step behind, t + 1: t is 1 in the first step already": _as(
        step=lambda m, v, t, b1, b2, eps: m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
    ),
    "β·t stands for β^t": _as(
        step=lambda m, v, t, b1, b2, eps: m / (1 - b1 * t) / (np.sqrt(np.abs(v / (1 - b2 * t))) + eps)
    ),
    "β1 and β2 are in each other's place": lambda **a: adam(**{**a, "beta1": a["beta2"], "beta2": a["beta1"]}),
    "O07: the decay is added to the gradient (L2), not taken from p": _l2,
    "the decay lacks its factor lr": _as(change=lambda p, s, lr, decay: (1 - decay) * p - lr * s),
    "the decay is left out": _as(change=lambda p, s, lr, decay: p - lr * s),
    "p decays behind the step, not before it": _as(change=lambda p, s, lr, decay: (1 - lr * decay) * (p - lr * s)),
    "the step is added: it goes uphill": _as(change=lambda p, s, lr, decay: (1 - lr * decay) * p + lr * s),
    "the step lacks its factor lr": _as(change=lambda p, s, lr, decay: (1 - lr * decay) * p - s),
    "m is without (1 - β1) before g": _as(moments=lambda m, v, g, b1, b2: (b1 * m + g, b2 * v + (1 - b2) * g**2)),
    "v is without (1 - β2) before g²": _as(moments=lambda m, v, g, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + g**2)),
    "v takes g, not g²": _as(moments=lambda m, v, g, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * np.abs(g))),
    "β and 1 - β are in each other's place": _as(
        moments=lambda m, v, g, b1, b2: ((1 - b1) * m + b1 * g, (1 - b2) * v + b2 * g**2)
    ),
    "the step is made of the moments before this gradient": lambda p, g, m, v, t, lr, beta1, beta2, eps, decay: (
        (1 - lr * decay) * p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps),
        beta1 * m + (1 - beta1) * g,
        beta2 * v + (1 - beta2) * g**2,
    ),
    "the step takes g itself, not m": lambda p, g, m, v, t, lr, beta1, beta2, eps, decay: (
        (1 - lr * decay) * p - lr * g / (np.sqrt((beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)) + eps),
        beta1 * m + (1 - beta1) * g,
        beta2 * v + (1 - beta2) * g**2,
    ),
    "the corrected moments are returned: the next step corrects them again": _corrected,
    "β1 and β2 are in each other's place in the moments alone": _as(
        moments=lambda m, v, g, b1, b2: (b2 * m + (1 - b2) * g, b1 * v + (1 - b1) * g**2)
    ),
    "the second correction is taken for both": _as(
        step=lambda m, v, t, b1, b2, eps: m / (1 - b2**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    ),
    "m and v are returned in each other's place": lambda **given: tuple(adam(**given)[i] for i in (0, 2, 1)),
    "the decay is added: it makes p larger": _as(change=lambda p, s, lr, decay: (1 + lr * decay) * p - lr * s),
}


def parts(answer):
    """The optimizer of the golden steps."""

    def update(params, grads, state, lr, decay):
        state["step"] += 1
        fixed = {"t": state["step"], "lr": lr, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
        slots = [tree.flatten(held) for held in (params, grads, state["exp_avg"], state["exp_avg_sq"])]
        for path, array in slots[0].items():
            p, g, m, v = (slot[path] for slot in slots)
            new = answer(p=p.copy(), g=g.copy(), m=m.copy(), v=v.copy(), decay=decay[path], **fixed)
            for held, value in zip((array, m, v), new, strict=True):
                held[...] = value

    return {"update": update}
