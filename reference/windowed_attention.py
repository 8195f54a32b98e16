"""Self-attention within windows of a grid, which is rolled before and back behind: softmax(q k / sqrt K + bias) v.

x (b, Y X, D), p {query, key, value, output, relative_positions {weight ((2M - 1)^2, h)}}; height Y, size M, width K.
The bias of query i for key j is the table's row (r_i - r_j + M - 1)(2 M - 1) + c_i - c_j + M - 1, r and c their places
in the window. After a roll the last window has up to three regions either way: from one to another -100 is added. keep,
rate: of what comes out (b W, M M, D); path, path_rate: of whole rows. Liu et al. 2021 (2103.14030), eq. 4, figure 4;
SPEC SWIN-ATT, SWIN-SHIFT.
"""

from .dropout import dropout as dropped
from .lists import broadcast, shape
from .regions import regions
from .self_attention import self_attention
from .unwindowed import unwindowed
from .windows import windows


def windowed_attention(x, p, *, height, size, shift, width, keep=None, rate=0, path=None, path_rate=0):
    across, table, heads = len(x[0]) // height, p["relative_positions"]["weight"], len(p["query"]["weight"]) // width
    cells = [(r, c) for r in range(size) for c in range(size)]

    def row(i, j):
        return table[(i[0] - j[0] + size - 1) * (2 * size - 1) + i[1] - j[1] + size - 1]

    own = [[[row(i, j)[head] for j in cells] for i in cells] for head in range(heads)]
    biases = [[[[a + far for a, far in zip(*rows, strict=True)] for rows in zip(matrix, apart, strict=True)]
               for matrix in own] for apart in regions(height, across, size, shift)]  # fmt: skip
    plain = {name: part for name, part in p.items() if name not in ("relative_positions", "norm", "adapter")}
    y = self_attention(windows(x, height=height, size=size, shift=shift), plain, heads, biases * len(x))
    y = y if keep is None else dropped(y, keep=keep, rate=rate)
    y = unwindowed(y, height=height, width=across, size=size, shift=shift)
    return y if path is None else dropped(y, keep=broadcast(path, shape(y)), rate=path_rate)
