"""One step of writing: a token is drawn from the most probable ones.

    z ← z / temperature;   all but the k largest z become -inf;   p = softmax(z)
    the token is the first one with p_1 + … + p_token > u

Where several z are as large as the k-th, all of them stay. logits z (V,), temperature > 0, k (top_k; 0: all stay), u, a
number drawn from [0, 1) -> the token's id, an int.
"""

import numpy as np

from minibert.exercises.softmax import softmax

ORDER, CLAUSE = 20, "GEN-4"


def next_token(logits, temperature, top_k, u):
    z = logits / temperature
    if top_k:
        z = np.where(z >= np.sort(z)[-top_k], z, -np.inf)
    return int(np.searchsorted(np.cumsum(softmax(z)), u, side="right"))


def calls(rng):
    z = np.log(np.array([0.1, 0.4, 0.2, 0.3]))
    for u in (0.05, 0.3, 0.95):
        yield {"logits": z, "temperature": 1.0, "top_k": 0, "u": u}
    for temperature, top_k, u in (
        (0.5, 0, 0.3),
        (0.5, 0, 0.7),
        (2.0, 0, 0.2),
        (1.0, 2, 0.5),
        (1.0, 2, 0.6),
        (1.0, 1, 0.9),
        (0.5, 3, 0.8),
        (2.0, 3, 0.45),
        (1.0, 2, 0.0),
        (0.5, 2, 0.62),
    ):
        yield {"logits": z, "temperature": temperature, "top_k": top_k, "u": u}
    yield {"logits": np.array([0.0, 1.0, 1.0, 1.0]), "temperature": 1.0, "top_k": 2, "u": 0.4}
    yield {"logits": np.array([0.0, 1.0, 1.0, 1.0]), "temperature": 1.0, "top_k": 2, "u": 0.05}
    for u in rng.random(12):
        yield {"logits": rng.standard_normal(8), "temperature": 0.7, "top_k": 5, "u": float(u)}


def _drawn(p, u):
    return int(min(np.searchsorted(np.cumsum(p), u, side="right"), len(p) - 1))


def _kept(z, top_k):
    return np.where(z >= np.sort(z)[-top_k], z, -np.inf) if top_k else z


def _order(p, u):
    best = np.argsort(-p, kind="stable")
    return int(best[_drawn(p[best], u)])


WRONG = {
    "the most probable token is taken: nothing is drawn": lambda logits, temperature, top_k, u: int(logits.argmax()),
    "the temperature is not used": lambda logits, temperature, top_k, u: next_token(logits, 1.0, top_k, u),
    "z is multiplied by the temperature": lambda logits, temperature, top_k, u: next_token(
        logits, 1 / temperature, top_k, u
    ),
    "the shares are divided by the temperature, not the scores": lambda logits, temperature, top_k, u: _drawn(
        softmax(_kept(logits, top_k)) / temperature, u
    ),
    "top_k is not used": lambda logits, temperature, top_k, u: next_token(logits, temperature, 0, u),
    "what is left out is set to 0, not to -inf": lambda logits, temperature, top_k, u: _drawn(
        softmax(np.where(np.isfinite(z := _kept(logits / temperature, top_k)), z, 0)), u
    ),
    "shares of the k largest are not made to sum to 1": lambda logits, temperature, top_k, u: _drawn(
        softmax(logits / temperature) * np.isfinite(_kept(logits, top_k)), u
    ),
    "the k smallest stay": lambda logits, temperature, top_k, u: _drawn(
        softmax(
            np.where(logits <= np.sort(logits)[top_k - 1], logits / temperature, -np.inf)
            if top_k
            else logits / temperature
        ),
        u,
    ),
    "k - 1 stay: those above the k-th": lambda logits, temperature, top_k, u: next_token(
        logits, temperature, max(top_k - 1, 1) if top_k else 0, u
    ),
    "k + 1 stay": lambda logits, temperature, top_k, u: next_token(
        logits, temperature, min(top_k + 1, len(logits)) if top_k else 0, u
    ),
    "the tokens are added up by their shares, the largest first: by their ids is due": (
        lambda logits, temperature, top_k, u: _order(softmax(_kept(logits / temperature, top_k)), u)
    ),
    "of equal scores only k stay: all of them do": lambda logits, temperature, top_k, u: _drawn(
        softmax(
            np.where(
                np.isin(np.arange(len(logits)), np.argsort(-logits, kind="stable")[:top_k]),
                logits / temperature,
                -np.inf,
            )
            if top_k
            else logits / temperature
        ),
        u,
    ),
    "the token before the one that is due": lambda logits, temperature, top_k, u: max(
        next_token(logits, temperature, top_k, u) - 1, 0
    ),
    "the token behind the one that is due": lambda logits, temperature, top_k, u: min(
        next_token(logits, temperature, top_k, u) + 1, len(logits) - 1
    ),
    "1 - u is drawn": lambda logits, temperature, top_k, u: _drawn(softmax(_kept(logits / temperature, top_k)), 1 - u),
    "softmax is missing: the scores are added up": lambda logits, temperature, top_k, u: _drawn(
        np.where(np.isfinite(z := _kept(logits / temperature, top_k)), z, 0), u
    ),
    "≥ u where > u is due: a token of share 0 is drawn at u = 0": lambda logits, temperature, top_k, u: int(
        np.searchsorted(np.cumsum(softmax(_kept(logits / temperature, top_k))), u)
    ),
    "the k-th itself is left out: k - 1 stay, none of one": lambda logits, temperature, top_k, u: int(
        np.argmax(
            np.cumsum(
                softmax(
                    np.where((z := logits / temperature) > np.sort(z)[-top_k or 0], z, -np.inf)
                    if top_k
                    else logits / temperature
                )
            )
            > u
        )
    ),
    "the place among the sorted tokens is returned, not the token": lambda logits, temperature, top_k, u: _drawn(
        np.sort(softmax(_kept(logits / temperature, top_k)))[::-1], u
    ),
    "top_k = 0 keeps one token: all stay": lambda logits, temperature, top_k, u: next_token(
        logits, temperature, max(top_k, 1), u
    ),
    "the first token with a share above u, not with a sum above it": lambda logits, temperature, top_k, u: int(
        np.argmax(softmax(_kept(logits / temperature, top_k)) > u)
    ),
    "equal scores count once among the k": lambda logits, temperature, top_k, u: next_token(
        logits,
        temperature,
        int((logits >= np.unique(logits)[-min(top_k, len(np.unique(logits)))]).sum()) * (top_k > 0),
        u,
    ),
}
