"""Masking: of the chosen tokens 80 % become [MASK], 10 % another token, 10 % stay.

    chance < 0.8: mask_id;   chance < 0.9: other;   else: the token itself

ids (T,), chosen (T,), 1 = chosen, chances (T,) from [0, 1), others (T,), what stands for a replaced token, mask_id
-> (the new ids (T,), labels (T,): the token that stood there where it is chosen, else -100). DATA-11
draws a second number for the last two; here one number decides all, with the same shares.
"""

import numpy as np

ORDER, CLAUSE = 16, "DATA-11"


def mask_tokens(ids, chosen, chances, others, mask_id):
    replaced = np.where(chances < 0.8, mask_id, np.where(chances < 0.9, others, ids))
    return np.where(chosen == 1, replaced, ids), np.where(chosen == 1, ids, -100)


def calls(rng):
    yield {
        "ids": np.array([5, 6, 7, 8]),
        "chosen": np.array([1, 1, 1, 0]),
        "chances": np.array([0.1, 0.85, 0.95, 0.2]),
        "others": np.array([20, 21, 22, 23]),
        "mask_id": 4,
    }
    yield {
        "ids": np.arange(10, 16),
        "chosen": np.array([0, 1, 1, 1, 1, 0]),
        "chances": np.array([0.5, 0.8, 0.9, 0.79, 0.899, 0.95]),
        "others": np.arange(30, 36),
        "mask_id": 4,
    }
    drawn = rng.random(40)
    yield {
        "ids": rng.integers(5, 50, 40),
        "chosen": (rng.random(40) < 0.5).astype(int),
        "chances": drawn,
        "others": rng.integers(5, 50, 40),
        "mask_id": 4,
    }


def _by(replaced, labels=None):
    def answer(ids, chosen, chances, others, mask_id):
        new = np.where(chosen == 1, replaced(ids, chances, others, mask_id), ids)
        right = np.where(chosen == 1, ids, -100)
        return new, right if labels is None else labels(ids, chosen, new)

    return answer


def _right(ids, chances, others, mask_id):
    return np.where(chances < 0.8, mask_id, np.where(chances < 0.9, others, ids))


WRONG = {
    "all chosen tokens become [MASK]": _by(lambda ids, chances, others, mask_id: mask_id),
    "those that are not [MASK] all become another token": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.8, mask_id, others)
    ),
    "those that are not [MASK] all stay": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.8, mask_id, ids)
    ),
    "another token and the token itself are in each other's place": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.8, mask_id, np.where(chances < 0.9, ids, others))
    ),
    "D02: what became [MASK] is then replaced: chance < 0.9 holds for it, too": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.9, others, ids)
    ),
    "D01: 0.8 + 0.1·0.2: the second share is taken of the rest": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.8, mask_id, np.where(chances < 0.82, others, ids))
    ),
    "half of all go to each of the other two: the bounds are 0.1 and 0.2": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.1, others, np.where(chances < 0.2, ids, mask_id))
    ),
    "the bounds belong to the smaller side: ≤ where < is due": _by(
        lambda ids, chances, others, mask_id: np.where(chances <= 0.8, mask_id, np.where(chances <= 0.9, others, ids))
    ),
    "tokens that are not chosen are replaced as well": lambda ids, chosen, chances, others, mask_id: (
        _right(ids, chances, others, mask_id),
        np.where(chosen == 1, ids, -100),
    ),
    "labels are those of all tokens": _by(_right, lambda ids, chosen, new: ids.copy()),
    "labels are -100 where the token stays: it is asked for as well": _by(
        _right, lambda ids, chosen, new: np.where((chosen == 1) & (new != ids), ids, -100)
    ),
    "labels are asked for where a [MASK] stands alone": lambda ids, chosen, chances, others, mask_id: (
        (new := mask_tokens(ids, chosen, chances, others, mask_id)[0]),
        np.where(new == mask_id, ids, -100),
    ),
    "labels hold what stands there now, not what stood there": _by(
        _right, lambda ids, chosen, new: np.where(chosen == 1, new, -100)
    ),
    "labels are 0 where nothing is asked: -100 is due": _by(
        _right, lambda ids, chosen, new: np.where(chosen == 1, ids, 0)
    ),
    "labels are -1 where nothing is asked: -100 is due": _by(
        _right, lambda ids, chosen, new: np.where(chosen == 1, ids, -1)
    ),
    "labels are asked for where nothing is chosen, and the other way round": _by(
        _right, lambda ids, chosen, new: np.where(chosen == 1, -100, ids)
    ),
    "the labels come first: the new ids do": lambda **given: mask_tokens(**given)[::-1],
    "[MASK] and another token are in each other's place": _by(
        lambda ids, chances, others, mask_id: np.where(chances < 0.8, others, np.where(chances < 0.9, mask_id, ids))
    ),
    "chances are turned round: > 0.8 where < 0.8 is due": _by(
        lambda ids, chances, others, mask_id: np.where(chances > 0.8, mask_id, np.where(chances < 0.9, others, ids))
    ),
}
