"""Adaptive softmax: log p of every token, of the shortlist in one step, of cluster i that of the cluster and its own.

h (..., D); parts: for each {weight, bias, projection (D, e) or None}; clusters {weight, bias}, the logits of clusters,
which stand behind the shortlist's, "ascending" or "reversed" -> (..., V). One part alone is a softmax over all.
Grave et al. 2016 (1609.04309), section 4; the releases of Transformer-XL, which has both orders; SPEC TXL-SOFT.
"""

from .linear import linear
from .lists import each
from .log_softmax import log_softmax


def adaptive_softmax(h, parts, clusters=None, order="ascending"):
    return each(1, lambda row: of_row(row, parts, clusters, order), h)


def of_row(row, parts, clusters, order):
    def logits(weight, bias, projection):
        narrow = row if projection is None else linear(row, [list(column) for column in zip(*projection, strict=True)])
        return linear(narrow, weight, bias)

    first, *rest = parts
    if not rest:
        return log_softmax(logits(**first))
    weight, bias = first["weight"] + clusters["weight"], first["bias"] + clusters["bias"]
    coarse, shortlist = log_softmax(logits(weight, bias, first["projection"])), len(first["bias"])
    found, of_clusters = coarse[:shortlist], coarse[shortlist:]
    for part, own in zip(rest, of_clusters if order == "ascending" else of_clusters[::-1], strict=True):
        found = found + [own + y for y in log_softmax(logits(**part))]
    return found
