"""Replaced token detection (ELECTRA): what the discriminator reads, and what it is asked for each token.

    x'_t = sampled_t at a masked place, else x_t;   label_t = 1 where x'_t ≠ x_t, else 0
    L = Σ over tokens that are there: softplus(z_t) - label_t z_t,  divided by their number

ids x (T,), the text itself, masked (T,), 1 = masked, sampled (T,), what the generator drew there, logits z (T,),
mask (T,), 1 = a token, 0 = padding -> (x' (T,), label (T,), L). softplus(z) = log(1 + e^z), without overflow.
"""

import numpy as np

ORDER, CLAUSE = 19, "ELEC-RTD-2"


def replaced_tokens(ids, masked, sampled, logits, mask):
    read = np.where(masked == 1, sampled, ids)
    label = (read != ids).astype(int)
    losses = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))) - label * logits
    return read, label, (mask * losses).sum() / mask.sum()


def calls(rng):
    yield {
        "ids": np.array([5, 6, 7]),
        "masked": np.array([0, 1, 1]),
        "sampled": np.array([0, 6, 9]),
        "logits": np.array([0.0, 1.0, 2.0]),
        "mask": np.ones(3, int),
    }
    yield {
        "ids": np.array([5, 6, 0]),
        "masked": np.array([1, 0, 0]),
        "sampled": np.array([8, 9, 9]),
        "logits": np.array([-1.0, 0.5, 3.0]),
        "mask": np.array([1, 1, 0]),
    }
    yield {
        "ids": np.array([5, 6]),
        "masked": np.array([1, 0]),
        "sampled": np.array([8, 9]),
        "logits": np.array([-1000.0, 1000.0]),
        "mask": np.array([1, 1]),
    }


def _with(read=None, label=None, loss=None):
    def answer(ids, masked, sampled, logits, mask):
        x = np.where(masked == 1, sampled, ids) if read is None else read(ids, masked, sampled)
        y = (x != ids).astype(int) if label is None else label(ids, masked, sampled, x)
        return x, y, _loss(logits, y, mask) if loss is None else loss(logits, y, mask)

    return answer


def _each(logits, label):
    return np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))) - label * logits


def _loss(logits, label, mask):
    return (mask * _each(logits, label)).sum() / mask.sum()


WRONG = {
    "H13: a token that was drawn as it stood counts as replaced": _with(
        label=lambda ids, masked, sampled, x: masked.copy()
    ),
    "the labels are turned round: 1 = replaced": _with(label=lambda ids, masked, sampled, x: (x == ids).astype(int)),
    "D27: the discriminator reads the text itself": _with(
        read=lambda ids, masked, sampled: ids.copy(),
        label=lambda ids, masked, sampled, x: ((masked == 1) & (sampled != ids)).astype(int),
    ),
    "all tokens are replaced, not the masked ones alone": _with(read=lambda ids, masked, sampled: sampled.copy()),
    "tokens that are not masked are replaced": _with(
        read=lambda ids, masked, sampled: np.where(masked == 1, ids, sampled)
    ),
    "labels compare what was sampled with the text, also where nothing is masked": _with(
        label=lambda ids, masked, sampled, x: (sampled != ids).astype(int)
    ),
    "padding counts in the loss": _with(loss=lambda z, y, mask: _each(z, y).mean()),
    "the sum is divided by the length of the row, with its padding": _with(
        loss=lambda z, y, mask: (mask * _each(z, y)).sum() / len(mask)
    ),
    "the sum is not divided": _with(loss=lambda z, y, mask: (mask * _each(z, y)).sum()),
    "e^ overflows in softplus, or the logarithm is of a sigmoid that has become 0": _with(
        loss=lambda z, y, mask: (mask * (np.log1p(np.exp(z)) - y * z)).sum() / mask.sum()
    ),
    "label z is missing": _with(loss=lambda z, y, mask: _loss(z, 0 * y, mask)),
    "the sign of z is turned": _with(loss=lambda z, y, mask: _loss(-z, y, mask)),
    "the loss is asked for at replaced tokens alone": _with(
        loss=lambda z, y, mask: (y * _each(z, y)).sum() / max(y.sum(), 1)
    ),
    "the sign of the loss is turned": _with(loss=lambda z, y, mask: -_loss(z, y, mask)),
    "label z is added: it is to be taken away": _with(
        loss=lambda z, y, mask: (mask * (_each(z, y) + 2 * y * z)).sum() / mask.sum()
    ),
    "ELECTRA's factor 50 is in it: that is the weight beside the generator's loss": _with(
        loss=lambda z, y, mask: 50 * _loss(z, y, mask)
    ),
    "e^-z stands in softplus, where e^z is due": _with(
        loss=lambda z, y, mask: (mask * (_each(z, y) - z)).sum() / mask.sum()
    ),
    "the loss is asked for at masked places alone": lambda ids, masked, sampled, logits, mask: (
        *replaced_tokens(ids, masked, sampled, logits, mask)[:2],
        replaced_tokens(ids, masked, sampled, logits, masked)[2],
    ),
    "divided by the number of masked places": lambda ids, masked, sampled, logits, mask: (
        *replaced_tokens(ids, masked, sampled, logits, mask)[:2],
        replaced_tokens(ids, masked, sampled, logits, mask)[2] * mask.sum() / masked.sum(),
    ),
}
