"""A square grid of vectors in another size: y_rc = sum_ij k_ri k_cj w_ij, k by cubic convolution with a = -3/4.

weight (n n, D), row by row -> (rows columns, D). Cell r of m has its centre at t = (r + 1/2) n/m - 1/2 of the n; of the
cells floor t - 1 ... floor t + 2, those beyond the border being the border's, cell i counts with f(|t - i|). Keys 1981,
eq. 4; SPEC OP-RESIZE.
"""

from .scalars import constant
from .slopes import zeros


def resized(weight, *, rows, columns):
    n = round(len(weight) ** 0.5)
    down, across = (kernel(n, m, weight[0][0]) for m in (rows, columns))
    return [[sum(a * b * weight[i * n + j][d] for i, a in row for j, b in column) for d in range(len(weight[0]))]
            for row in down for column in across]  # fmt: skip


def kernel(n, m, like):
    """Of each of m cells its four (cell, share)."""
    one, a = constant("1", like), constant("-0.75", like)

    def share(x):
        return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x <= 1 else a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    found = []
    for r in range(m):
        t, first = ((2 * r + 1) * one * n / m - 1) / 2, ((2 * r + 1) * n - m) // (2 * m)
        found.append([(min(max(i, 0), n - 1), share(abs(t - i))) for i in range(first - 1, first + 3)])
    return found


def resized_backward(dy, weight, *, rows, columns):
    """It is linear, so dw_ij = sum over the cells (r, c) that read it of k_ri k_cj dy_rc."""
    n, dweight = round(len(weight) ** 0.5), zeros(weight)
    down, across = (kernel(n, m, weight[0][0]) for m in (rows, columns))
    for r, row in enumerate(down):
        for c, column in enumerate(across):
            for i, a in row:
                for j, b in column:
                    own = dweight[i * n + j]
                    dweight[i * n + j] = [g + a * b * s for g, s in zip(own, dy[r * columns + c], strict=True)]
    return {"weight": dweight}
