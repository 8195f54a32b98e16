"""A caption: x_t = LN(E[word before] + P_t), decoder layers over the words before and all states h, z_t = x_t E^T; the
mean of -log softmax(z_t)[label_t] over the places whose label is not -100. Word 0 ends a caption, and stands before it.

h (B, T, D), p {embeddings: {word, position, norm}, decoder: [layers]}, labels {labels: (B, S)}, parts: heads, seen
(B, T) bits or None -> scalar. Vaswani et al. 2017 (1706.03762), section 3.1; SPEC TASK-CAP.
"""

from .cross_entropy import cross_entropy
from .decoder_layer import decoder_layer
from .layer_norm import layer_norm
from .linear import linear
from .shifted_right import shifted_right

HIDDEN = -(10**30)


def captioning(h, p, labels, *, eps, parts, seen=None):
    asked, tables = labels["labels"], p["embeddings"]
    length = len(asked[0])
    added = [[[a + b for a, b in zip(tables["word"]["weight"][word], tables["position"]["weight"][t], strict=True)]
              for t, word in enumerate(row)] for row in shifted_right(asked, 0, 0)]  # fmt: skip
    x = layer_norm(added, **tables["norm"], eps=eps)
    before = [[[[0 if s <= t else HIDDEN for s in range(length)] for t in range(length)]]] * len(x)
    there = [[[[0 if bit else HIDDEN for bit in row]]] for row in seen] if seen else None
    for layer in p["decoder"]:
        x = decoder_layer(x, h, layer, parts, before, there, "gelu", eps)
    return cross_entropy(linear(x, tables["word"]["weight"]), labels=asked, ignore=-100)
