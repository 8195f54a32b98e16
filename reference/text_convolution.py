"""TextCNN: for each convolution p of ps, max over windows of relu(W x + b), beside each other: x (b, t, d) -> (b, o).

Windows with a token that is not there (seen (b, t) 0) do not count; where none counts it is 0. Kim 2014 (1408.5882),
section 2; SPEC OP-CONV.
"""

from .convolution import convolution
from .max_over_time import max_over_time
from .relu import relu


def text_convolution(x, ps, *, seen=None):
    parts = []
    for p in ps:
        width, h = len(p["weight"][0][0]), relu(convolution(x, **p, mask=seen))
        there = seen and [[all(row[t : t + width]) for t in range(len(row) - width + 1)] for row in seen]
        parts.append(max_over_time(h, mask=there))
    return [[a for part in row for a in part] for row in zip(*parts, strict=True)]
