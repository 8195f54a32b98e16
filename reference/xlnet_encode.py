"""XLNet's content states h and query states g of one row: two streams over the same weights.

ids, segments (None: none), hidden (perm_mask, 1 = i may not see j), seen (mask of the row), places of the queries,
memory (a list a layer, of states that stand before the row), backward: distances the other way. -> (h, g).
Yang et al. 2019 (1906.08237), sections 2.3-2.5, appendix A.2, and the released code; SPEC XLN-ATT."""

from .embedding import embedding
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .lists import each
from .xlnet_attention import xlnet_attention
from .xlnet_distance import xlnet_distance


def xlnet_encode(p, config, ids, segments, hidden, seen, places, memory, backward):
    before, heads, eps = len(memory[0]) if memory else 0, config["n_head"], config["layer_norm_eps"]
    far, width = config["clamp_len"], config["d_model"]
    types = None if segments is None else [0] * before + segments

    def see(content):
        def bit(i, j):
            own = j < before or (content and i == j)
            return own or bool(seen[j - before] and not hidden[i - before][j - before])
        return bit

    def through(x, at, layer, source, content):
        differ = None if types is None else lambda i, j: types[i] != types[j]
        found = xlnet_attention(x, at, source, layer["attention"], heads, see(content), differ,
                                lambda d: xlnet_distance(d, width, far, backward, source[0][0]))
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
