"""Longformer's attention: i sees j with |i - j| <= w d and d dividing i - j, and global tokens; global tokens see all.

x (b, t, D), p {query, key, value, output, global {query, key, value}}; width K of one head; window w on either side;
dilation d of all heads, or one each; there, everywhere (b, t): bits. dropout {"window" (b, h, t, 2 w + 1), "global"
(b, h, t)}: factors of probabilities. Beltagy et al. 2020 (2004.05150), section 3.1; SPEC LON-ATT.
"""

from .linear import linear
from .lists import dot
from .numbers import constant, sqrt
from .softmax import softmax


def sliding_attention(x, p, width, window, there, everywhere, dilation=(1,), dropout=None):
    def projected(rows, part):
        return [linear(rows, **part[name]) for name in ("query", "key", "value")]

    def taken(query, keys, values, seen, factors):
        """sum_j f_j softmax_j(q . k_j / sqrt(K)) v_j over the places seen; 0 where there is none."""
        scale = 1 / sqrt(constant("1", query[0]) * width)
        shares = softmax([scale * dot(query, keys[j]) for j in seen]) if seen else []
        return [sum((s * factors(j) * values[j][n] for s, j in zip(shares, seen, strict=True)), start=0 * query[0])
                for n in range(width)]  # fmt: skip

    def row(b, rows):
        length, heads = len(rows), len(p["query"]["weight"]) // width
        seen = [j for j in range(length) if there[b][j]]
        held = [j for j in seen if everywhere[b][j]]
        own, far, context = projected(rows, p), projected(rows, p["global"]), []
        for i in range(length):
            parts = []
            for h in range(heads):
                d, cut = dilation[h % len(dilation)], slice(h * width, (h + 1) * width)
                q, k, v = ([one[cut] for one in part] for part in (far if i in held else own))
                near = [j for j in seen if j in held or (abs(i - j) <= window * d and (i - j) % d == 0)]
                kept = dropout and dropout["global" if i in held else "window"][b][h]

                def factor(j, i=i, d=d, kept=kept):
                    if not kept:
                        return 1
                    slot = j - i + window if j in held else (j - i) // d + window
                    return kept[(j - i) % length] if i in held else kept[i][slot % (2 * window + 1)]

                asked = (seen if i in held else near) if i in seen else []
                parts += taken(q[i], k, v, asked, factor)
            context.append(parts)
        return linear(context, **p["output"])

    return [row(b, rows) for b, rows in enumerate(x)]
