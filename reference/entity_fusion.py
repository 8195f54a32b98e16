"""The fusion of tokens' states a (B, T, D) and entities' b (B, T, E): act of the sum of their maps, and back to both.

p {feed_forward {in, out, norm}, entity_feed_forward {in}, in all layers but the last {out, norm} too} -> states of
tokens, and of entities, None where nobody reads them. Zhang et al. 2019 (1905.07129), section 3.3; SPEC THU-FUS.
"""

from .activation import activation
from .layer_norm import layer_norm
from .linear import linear
from .lists import each


def entity_fusion(a, b, p, act, eps):
    own, theirs = p["feed_forward"], p["entity_feed_forward"]
    h = each(0, lambda u, v: u + v, linear(a, **own["in"]), linear(b, **theirs["in"]))
    h = activation(h, act)
    e = residual(b, linear(h, **theirs["out"]), theirs, eps) if "out" in theirs else None
    return residual(a, linear(h, **own["out"]), own, eps), e


def residual(x, f, p, eps):
    return layer_norm(each(0, lambda u, v: u + v, x, f), **p["norm"], eps=eps)
