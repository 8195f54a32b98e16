"""The last token that is there, or the last one where none is: x (b, t, d), seen (b, t) or none -> (b, d).

SPEC OP-TOKEN.
"""

from .first_token import first_token


def last_token(x, *, seen=None):
    return first_token([row[::-1] for row in x], seen=None if seen is None else [row[::-1] for row in seen])
