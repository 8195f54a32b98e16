"""The last, the largest and the mean of the tokens that are there, beside each other: x (b, t, d), seen (b, t) or none
-> (b, 3d).

Howard and Ruder 2018 (1801.06146), section 3.3; SPEC OP-CONCAT.
"""

from .last_token import last_token
from .max_over_time import max_over_time
from .mean_over_time import mean_over_time


def concat_pooling(x, *, seen=None):
    three = last_token(x, seen=seen), max_over_time(x, mask=seen), mean_over_time(x, weights=seen)
    return [last + most + mean for last, most, mean in zip(*three, strict=True)]
