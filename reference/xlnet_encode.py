"""XLNet's content states h and query states g of one row: two streams over the same weights, scores of three terms.

ids, segments (None: none), hidden (perm_mask, 1 = i may not see j), seen (mask of the row), places of the queries,
memory (a list a layer, of states that stand before the row), backward: distances the other way. -> (h, g).
Yang et al. 2019 (1906.08237), sections 2.3-2.5, appendix A.2, and the released code; SPEC XLN-ATT.
"""

from .embedding import embedding
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .linear import linear
from .lists import dot, each
from .numbers import constant, cos, exp, log, sin, sqrt
from .softmax import softmax


def distance(d, width, far, backward, like):
    """[sin | cos] of a distance, as far as `far` goes where it is above 0."""
    d = max(-far, min(d, far)) if far > 0 else d
    d = -d if backward else d
    angles = [d * exp(-log(constant("10000", like)) * 2 * i / width) for i in range(width // 2)]
    return [sin(a) for a in angles] + [cos(a) for a in angles]


def xlnet_attention(x, at, source, p, heads, see, differ, distances):
    """What states x at these places find in source, where these are counted: see, differ (i, j) -> bit, d -> R_d."""
    size = len(source[0]) // heads

    def part(row, head):
        return row[head * size:(head + 1) * size]

    def vector(row, head, name):
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
                score = dot(vector(row, head, "content"), part(key, head))
                score += dot(vector(row, head, "place"), part(r[i - j], head))
                if differ is not None:
                    score += dot(vector(row, head, "segment"), p["segments"]["weight"][int(differ(i, j))][head])
                scores.append(score / root if see(i, j) else None)
            some = [s for s in scores if s is not None]
            weights = iter(softmax(some)) if some else iter([1 / constant(str(len(k)), source[0][0])] * len(k))
            weights = [next(weights) if s is not None or not some else 0 for s in scores]
            found += [dot(weights, column) for column in zip(*(part(value, head) for value in v), strict=True)]
        rows.append(found)
    return linear(rows, **p["output"])


def xlnet_encode(p, config, ids, segments, hidden, seen, places, memory, backward):
    before, heads, eps = len(memory[0]) if memory else 0, config["n_head"], config["layer_norm_eps"]
    far, width = config["clamp_len"], config["d_model"]
    types = None if segments is None else [0] * before + segments

    def see(content):
        def bit(i, j):
            if j < before or (content and i == j):
                return True
            return bool(seen[j - before]) and not hidden[i - before][j - before]
        return bit

    def through(x, at, layer, source, content):
        differ = None if types is None else lambda i, j: types[i] != types[j]
        found = xlnet_attention(x, at, source, layer["attention"], heads, see(content), differ,
                                lambda d: distance(d, width, far, backward, source[0][0]))
        a = layer_norm(each(0, lambda a, b: a + b, x, found), **layer["attention"]["norm"], eps=eps)
        fed = feed_forward(a, layer["feed_forward"], config["ff_activation"])
        return layer_norm(each(0, lambda a, b: a + b, a, fed), **layer["feed_forward"]["norm"], eps=eps)

    h = embedding(**p["embeddings"]["word"], ids=ids)
    g = [list(p["embeddings"]["query"]["weight"]) for _ in places]
    for n, layer in enumerate(p["encoder"]):
        source = (memory[n] if memory else []) + h
        g = through(g, [before + i for i in places], layer, source, False) if places else []
        h = through(h, [before + i for i in range(len(ids))], layer, source, True)
    return h, g
