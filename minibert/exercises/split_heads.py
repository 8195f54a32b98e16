"""Split heads: each token's row of H·K numbers becomes H rows, one a head, and heads come before tokens.

    y[b, h, t, k] = x[b, t, h·K + k]

x (B, T, H·K), heads H -> (B, H, T, K).
"""

import numpy as np

ORDER, CLAUSE, CASE = 8, "BERT-ATT-2", "bert/published"


def split_heads(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def calls(rng):
    yield {"x": np.arange(8.0).reshape(1, 2, 4), "heads": 2}
    yield {"x": np.arange(16.0).reshape(1, 4, 4), "heads": 4}
    yield {"x": rng.standard_normal((2, 3, 8)), "heads": 4}


WRONG = {
    "A01: reshaped to (B, H, T, K) at once: tokens and heads are mixed": lambda x, heads: x.reshape(
        len(x), heads, x.shape[1], -1
    ),
    "tokens still come before heads: the swap is missing": lambda x, heads: x.reshape(*x.shape[:2], heads, -1),
    "heads lie side by side in each column: h + k·H is read for h·K + k": lambda x, heads: x.reshape(
        *x.shape[:2], -1, heads
    ).transpose(0, 3, 1, 2),
    "heads and the width of one are in each other's place": lambda x, heads: x.reshape(
        *x.shape[:2], -1, heads
    ).swapaxes(1, 2),
    "K comes before T: (B, H, K, T)": lambda x, heads: x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 3, 1),
    "heads come before the batch: (H, B, T, K)": lambda x, heads: x.reshape(*x.shape[:2], heads, -1).transpose(
        2, 0, 1, 3
    ),
    "A03: heads and batch are one axis: (B·H, T, K)": lambda x, heads: split_heads(x, heads).reshape(
        -1, x.shape[1], x.shape[2] // heads
    ),
    "all axes are turned round: .T": lambda x, heads: x.reshape(*x.shape[:2], heads, -1).T,
}


def put(answer):
    """Before each attention."""
    return {"split_heads": lambda f, args, constants: (answer(x=args[0], heads=constants["heads"]), {})}
