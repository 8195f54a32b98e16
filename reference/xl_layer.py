"""A layer of Transformer-XL: x and what stood before it are attended to, then fed forward, with a norm behind each.

x (b, t, D), mem (b, m, D) or none; p {attention {query, key, value, output, position, content, norm}, feed_forward {in,
out, norm}}; places and bias as in relative_attention. pre: the norms stand at the inputs, of the memory too; keep,
rate: of the residuals, as in add. Dai et al. 2019 (1901.02860), section 3.3, the equations at its end; SPEC TXL-LAYER.
"""

from .add import add
from .add_norm import add_norm
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .relative_attention import relative_attention


def xl_layer(x, p, mem, places, width, bias, eps, pre=False, keep=None, rate=0):
    own, feed, keep = p["attention"], p["feed_forward"], keep or {"attention": None, "feed_forward": None}
    source = x if mem is None else [a + b for a, b in zip(mem, x, strict=True)]
    source = layer_norm(source, **own["norm"], eps=eps) if pre else source
    newest = [row[-len(x[0]):] for row in source]
    f = relative_attention(newest, source, own, places, width, bias)
    if pre:
        a = add(x, f, own, keep["attention"], rate)
        fed = feed_forward(layer_norm(a, **feed["norm"], eps=eps), feed, "relu")
        return add(a, fed, feed, keep["feed_forward"], rate)
    a = add_norm(x, f, own, eps, keep["attention"], rate)
    return add_norm(a, feed_forward(a, feed, "relu"), feed, eps, keep["feed_forward"], rate)
