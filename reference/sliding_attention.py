"""Longformer's attention: a window about each token, and global tokens, which see all and are seen by all.

x (b, t, D), p {query, key, value, output, global {query, key, value}}; width K of one head; window w on either side;
dilation d of all heads, or one each; there, everywhere (b, t): bits; who sees whom: `sliding_keys`. dropout {"window"
(b, h, t, 2 w + 1), "global" (b, h, t)}: factors. Beltagy et al. 2020 (2004.05150), section 3.1; SPEC LON-ATT.
"""

from .linear import linear
from .lists import dot
from .scalars import constant, sqrt
from .sliding_keys import sliding_keys
from .softmax import softmax


def sliding_attention(x, p, width, window, there, everywhere, dilation=(1,), dropout=None):
    def projected(rows, part):
        return [linear(rows, **part[name]) for name in ("query", "key", "value")]

    def taken(query, keys, values, factors):
        scale = 1 / sqrt(constant("1", query[0]) * width)
        shares = softmax([scale * dot(query, key) for key in keys]) if keys else []
        mixed = [share * factor for share, factor in zip(shares, factors, strict=True)]
        return [sum((m * value[n] for m, value in zip(mixed, values, strict=True)), start=0 * query[0])
                for n in range(width)]  # fmt: skip

    def row(b, rows):
        own, far, context = projected(rows, p), projected(rows, p["global"]), []
        for i in range(len(rows)):
            parts, sees_all = [], there[b][i] and everywhere[b][i]
            for h in range(len(own[0][0]) // width):
                cut = slice(h * width, (h + 1) * width)
                q, k, v = ([one[cut] for one in part] for part in (far if sees_all else own))
                seen = sliding_keys(i, there[b], everywhere[b], window, dilation[h % len(dilation)])
                kept = dropout and (dropout["global"][b][h] if sees_all else dropout["window"][b][h][i])
                places, factors = [j for j, _ in seen], [kept[slot] if kept else 1 for _, slot in seen]
                parts += taken(q[i], [k[j] for j in places], [v[j] for j in places], factors)
            context.append(parts)
        return linear(context, **p["output"])

    return [row(b, rows) for b, rows in enumerate(x)]
