"""SpanBERT's boundary head: y = t E^T + b, t two layers of LN(act(W u + b)) of u = [left; right; place embedding].

left, right (..., D) the states beside a span, places (...) a token's place in it, table (v, D) -> (..., v);
p {position: {weight}, first, second: {dense, norm}, decoder: {bias}}. Joshi et al. 2019 (1907.10529), section 3.2;
facebookresearch/SpanBERT models/pair_bert.py; SPEC SPAN-SBO.
"""

from .activation import activation as activate
from .activation import activation_backward
from .embedding import embedding, embedding_backward
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .lists import each
from .slopes import rows_of


def sbo_head(left, right, p, table, places, activation, eps):
    u = each(1, lambda *parts: [x for part in parts for x in part], left, right, embedding(**p["position"], ids=places))
    for name in ("first", "second"):
        u = layer_norm(activate(linear(u, **p[name]["dense"]), activation), **p[name]["norm"], eps=eps)
    return linear(u, table, p["decoder"]["bias"])


def sbo_head_backward(dy, left, right, p, table, places, activation, eps):
    """Through the decoder and both layers, the second first; then u = [left; right; place] is cut into its parts."""
    places_read = embedding(**p["position"], ids=places)
    u = [each(1, lambda *parts: [x for part in parts for x in part], left, right, places_read)]
    made = []
    for name in ("first", "second"):
        made.append(linear(u[-1], **p[name]["dense"]))
        u.append(layer_norm(activate(made[-1], activation), **p[name]["norm"], eps=eps))
    last = linear_backward(dy, u[2], table, p["decoder"]["bias"])
    slope, of_p = last["x"], {"decoder": {"bias": last["bias"]}}
    for i, name in ((1, "second"), (0, "first")):
        norm = layer_norm_backward(slope, activate(made[i], activation), **p[name]["norm"], eps=eps)
        slope = activation_backward(norm.pop("x"), made[i], activation)["x"]
        dense = linear_backward(slope, u[i], **p[name]["dense"])
        slope, of_p[name] = dense.pop("x"), {"dense": dense, "norm": norm}
    width = len(rows_of(left)[0])
    parts = [each(1, lambda row, a=a: row[a * width:(a + 1) * width], slope) for a in (0, 1)]
    of_p["position"] = embedding_backward(each(1, lambda row: row[2 * width:], slope), **p["position"], ids=places)
    return {"left": parts[0], "right": parts[1], "p": of_p, "table": last["weight"]}
