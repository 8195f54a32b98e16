"""The masked loss: how surprised the model is by the words that stood there, in nats.

    L = Σ w_m (log Σ_v e^(z_mv) - z_m[label]) / Σ w_m

A target of weight 0 does not count. The row's maximum is taken out, so that e^ does not overflow. logits z (M, V),
labels (M,), weights w (M,) -> a number; 0 where nothing counts.
"""

import numpy as np

ORDER, CLAUSE, CASE = 11, "OP-CE-1", "bert/published"


def cross_entropy(logits, labels, weights):
    top = logits.max(-1)
    rest = np.log(np.exp(logits - top[:, None]).sum(-1))
    losses = rest + top - logits[np.arange(len(labels)), labels]
    return (weights * losses).sum() / weights.sum() if weights.sum() else 0.0


def calls(rng):
    yield {"logits": np.array([[0.0, 1.0, 3.0]]), "labels": np.array([1]), "weights": np.array([1.0])}
    yield {"logits": np.array([[0.0, 2.0], [1.0, 0.0]]), "labels": np.array([0, 1]), "weights": np.array([1.0, 0.0])}
    yield {"logits": rng.standard_normal((4, 5)), "labels": np.array([0, 4, 2, 2]), "weights": np.array([1.0, 0, 1, 1])}
    yield {"logits": np.array([[1000.0, 0.0]]), "labels": np.array([1]), "weights": np.array([1.0])}
    yield {"logits": rng.standard_normal((2, 3)), "labels": np.array([0, 1]), "weights": np.zeros(2)}
    yield {"logits": np.array([[0.0, 1.0], [2.0, 0.0]]), "labels": np.array([0, 1]), "weights": np.array([0.5, 0.25])}


def _shares(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _picked(logits, labels):
    return logits[np.arange(len(labels)), labels]


def _exact(logits, labels):
    return np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1) - _picked(logits, labels)


def _divided(by):
    """The weighted sum, divided by something else."""

    def answer(logits, labels, weights):
        total = by(weights)
        return (weights * _exact(logits, labels)).sum() / total if total else 0.0

    return answer


def _raw(logits, labels, weights):
    losses = np.log(np.exp(logits).sum(-1)) - _picked(logits, labels)
    return (weights * losses).sum() / weights.sum() if weights.sum() else 0.0


def _crossed(logits, labels, weights):
    losses = (_exact(logits, labels) + _picked(logits, labels))[:, None] - logits[:, labels]
    return (weights * losses).sum() / weights.sum() if weights.sum() else 0.0


WRONG = {
    "divided by the number of targets: those of weight 0 are no targets": _divided(len),
    "the sum is not divided": _divided(lambda w: 1),
    "weights are not used": lambda logits, labels, weights: _exact(logits, labels).mean(),
    "weights are used in the denominator alone": lambda logits, labels, weights: (
        _exact(logits, labels).sum() / weights.sum() if weights.sum() else 0.0
    ),
    "e^ overflows, or a share becomes 0 and its logarithm infinite: take the row's maximum out of log Σ e^": _raw,
    "0 / 0 where nothing counts": lambda logits, labels, weights: (
        np.float64((weights * _exact(logits, labels)).sum()) / np.float64(weights.sum())
    ),
    "logits[:, labels] has every label's column in every row: take logits[np.arange(M), labels]": _crossed,
    "the sign is turned": lambda logits, labels, weights: -cross_entropy(logits, labels, weights),
    "the row's maximum is not added back": lambda logits, labels, weights: (
        (weights * (_exact(logits, labels) - logits.max(-1))).sum() / weights.sum() if weights.sum() else 0.0
    ),
    "log Σ e^ is missing: that is -z[label]": lambda logits, labels, weights: (
        -(weights * _picked(logits, labels)).sum() / weights.sum() if weights.sum() else 0.0
    ),
    "z[label] is missing": lambda logits, labels, weights: (
        (weights * (_exact(logits, labels) + _picked(logits, labels))).sum() / weights.sum() if weights.sum() else 0.0
    ),
    "in bits: the logarithm to the base 2": lambda logits, labels, weights: (
        cross_entropy(logits, labels, weights) / np.log(2)
    ),
    "1e-5 is added to the denominator: that is the release, not the equation": lambda logits, labels, weights: (
        (weights * _exact(logits, labels)).sum() / (weights.sum() + 1e-5)
    ),
    "the sum over words is a mean": lambda logits, labels, weights: (
        cross_entropy(logits, labels, weights) - (np.log(logits.shape[-1]) if weights.sum() else 0)
    ),
    "that is the share of the label, not its surprise": lambda logits, labels, weights: (
        (weights * _shares(logits)[np.arange(len(labels)), labels]).sum() / weights.sum() if weights.sum() else 0.0
    ),
    "one loss for each target: they are to be averaged": lambda logits, labels, weights: (
        _exact(logits, labels) * weights
    ),
    "divided by the number of targets with any weight: by their sum is due": _divided(np.count_nonzero),
    "the label before the one that is due": lambda logits, labels, weights: cross_entropy(logits, labels - 1, weights),
    "that is the perplexity, e^L": lambda logits, labels, weights: (
        np.exp(cross_entropy(logits, labels, weights)) if weights.sum() else 0.0
    ),
    "divided by the number of scores, too: by the weights alone is due": lambda logits, labels, weights: (
        cross_entropy(logits, labels, weights) * weights.sum() / logits.size
    ),
}


def put(answer):
    """At the end of the masked head."""

    def forward(f, args, constants):
        y, c = f(*args, **constants)
        if constants.get("ignore") is not None:
            return y, c
        rows = args[0].reshape(-1, args[0].shape[-1])
        labels, weights, given = constants["labels"].reshape(-1), constants.get("weights"), constants.get("denominator")
        weights = np.ones(len(labels)) if weights is None else weights.reshape(-1)
        share = 1 if given is None else weights.sum() / given
        return np.asarray(answer(logits=rows, labels=labels, weights=weights) * share), c

    return {"cross_entropy": forward}
