"""BN(relu(BN([last; max; mean]) W^T + b)), with dropout behind the first norm: x (b, t, d), p {pooled {norm}, dense,
norm} -> (b, o).

Howard and Ruder 2018 (1801.06146), section 3.3; SPEC TASK-POOL-5.
"""

from .batch_norm import batch_norm
from .concat_pooling import concat_pooling
from .dropout import dropout
from .linear import linear
from .relu import relu


def ulmfit_pooling(x, p, *, seen=None, keep=None, rate=0, batch=False):
    h = batch_norm(concat_pooling(x, seen=seen), p["pooled"]["norm"], batch=batch)
    return batch_norm(relu(linear(dropout(h, keep=keep, rate=rate), **p["dense"])), p["norm"], batch=batch)
