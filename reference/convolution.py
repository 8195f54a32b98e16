"""Convolution over time: y[t] = bias + sum_j weight[..., j] x[t + j] over windows of k tokens, x (b, t, i).

weight (o, i, k), bias (o) or none -> (b, t - k + 1, o), windows within the text; same: (b, t, o), with zeros beyond
the ends, (k - 1) // 2 of them in front. mask (b, t): a token at 0 is read as zeros.
Kim 2014 (1408.5882), eq. 1 and 2; torch.nn.Conv1d; SPEC OP-CONV.
"""

from .lists import dot
from .slopes import zeros


def convolution(x, weight, bias=None, *, same=False, mask=None):
    width, bias = len(weight[0][0]), [0] * len(weight) if bias is None else bias
    before = (width - 1) // 2 if same else 0
    behind = width - 1 - before if same else 0

    def windows(tokens, there):
        nothing = [0] * len(weight[0])
        read = [token if bit else nothing for token, bit in zip(tokens, there, strict=True)]
        read = [nothing] * before + read + [nothing] * behind
        return [[*zip(*read[t : t + width], strict=True)] for t in range(len(read) - width + 1)]

    def at(window, w, b):
        return sum((dot(kernel, entries) for kernel, entries in zip(w, window, strict=True)), b)

    mask = [[1] * len(tokens) for tokens in x] if mask is None else mask
    rows = [windows(tokens, there) for tokens, there in zip(x, mask, strict=True)]
    return [[[at(window, w, b) for w, b in zip(weight, bias, strict=True)] for window in row] for row in rows]


def convolution_backward(dy, x, weight, bias=None, *, same=False, mask=None):
    """From y[t]_o = bias_o + sum_j sum_i weight_oij x[t + j - before]_i over the tokens that are there:

        dx[u]_i = sum over j with t = u - j + before in place, and over o, of dy[t]_o weight_oij
        dweight_oij = sum over rows and t of dy[t]_o x[t + j - before]_i,  dbias_o = sum of dy[t]_o

    A token that is not there is read as 0: its x gets 0.
    """
    width = len(weight[0][0])
    before = (width - 1) // 2 if same else 0
    dx, dweight, dbias = zeros(x), zeros(weight), [0] * len(weight)
    for b, rows in enumerate(dy):
        for t, slope in enumerate(rows):
            for o, d in enumerate(slope):
                dbias[o] += d
                for j in range(width):
                    u = t + j - before
                    if 0 <= u < len(x[b]) and (mask is None or mask[b][u]):
                        for i in range(len(weight[0])):
                            dx[b][u][i] += d * weight[o][i][j]
                            dweight[o][i][j] += d * x[b][u][i]
    return {"x": dx, "weight": dweight, **({} if bias is None else {"bias": dbias})}
