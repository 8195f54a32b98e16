"""SpanBERT's boundary head: y = t E^T + b, t two layers of LN(act(W u + b)) of u = [left; right; place embedding].

left, right (..., D) the states beside a span, places (...) a token's place in it, table (v, D) -> (..., v);
p {position: {weight}, first, second: {dense, norm}, decoder: {bias}}. Joshi et al. 2019 (1907.10529), section 3.2;
facebookresearch/SpanBERT models/pair_bert.py; SPEC SPAN-SBO.
"""

from .activation import activation as activate
from .embedding import embedding
from .layer_norm import layer_norm
from .linear import linear
from .lists import each


def sbo_head(left, right, p, table, places, activation, eps):
    u = each(1, lambda *parts: [x for part in parts for x in part], left, right, embedding(**p["position"], ids=places))
    for name in ("first", "second"):
        u = layer_norm(activate(linear(u, **p[name]["dense"]), activation), **p[name]["norm"], eps=eps)
    return linear(u, table, p["decoder"]["bias"])
