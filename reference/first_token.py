"""The first token that is there, or the first one where none is: x (b, t, d), seen (b, t) or none -> (b, d).

SPEC OP-TOKEN.
"""


def first_token(x, *, seen=None):
    seen = [[1] * len(row) for row in x] if seen is None else seen
    there = ([t for t, bit in enumerate(bits) if bit] for bits in seen)
    return [row[places[0] if places else 0] for row, places in zip(x, there, strict=True)]
