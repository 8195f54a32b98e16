"""What states x (t, D) at places `at` find in source (s, D), where places are counted: three terms of scores, XLNet.

see and differ: (i, j) -> bit, who sees whom and whose segments differ (None: no segments); distances: d -> R_d. A row
that sees none is uniform. Yang et al. 2019 (1906.08237), sections 2.4, 2.5 and appendix A.2; SPEC XLN-ATT."""

from .linear import linear
from .lists import dot
from .scalars import constant, sqrt
from .softmax import softmax


def xlnet_attention(x, at, source, p, heads, see, differ, distances):
    size = len(source[0]) // heads

    def part(row, head):
        return row[head * size:(head + 1) * size]

    def shifted(row, head, name):
        return [a + b for a, b in zip(part(row, head), p[name]["weight"][head], strict=True)]

    q, k, v = linear(x, **p["query"]), linear(source, **p["key"]), linear(source, **p["value"])
    r = {d: linear([distances(d)], **p["position"])[0] for d in {i - j for i in at for j in range(len(source))}}
    root = sqrt(constant(str(size), source[0][0]))
    rows = []
    for row, i in zip(q, at, strict=True):
        found = []
        for head in range(heads):
            scores = []
            for j, key in enumerate(k):
                score = dot(shifted(row, head, "content"), part(key, head))
                score += dot(shifted(row, head, "place"), part(r[i - j], head))
                if differ is not None:
                    score += dot(shifted(row, head, "segment"), p["segments"]["weight"][int(differ(i, j))][head])
                scores.append(score / root if see(i, j) else None)
            some = [s for s in scores if s is not None]
            weights = iter(softmax(some)) if some else iter([1 / constant(str(len(k)), source[0][0])] * len(k))
            weights = [next(weights) if s is not None or not some else 0 for s in scores]
            found += [dot(weights, column) for column in zip(*(part(value, head) for value in v), strict=True)]
        rows.append(found)
    return linear(rows, **p["output"])
