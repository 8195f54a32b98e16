"""Set Transformer's pooling: k seeds attend to the tokens of a text, PMA(x) = MAB(S, x), x (b, t, D) -> (b, k, D).

p {seeds: {weight (k, D)}, attention, feed_forward}, the rest as set_attention. Lee et al. 2019 (1810.00825), eq. 11;
SPEC OP-PMA.
"""

from .set_attention import set_attention


def attention_pooling(x, p, **given):
    return set_attention([p["seeds"]["weight"]] * len(x), x, p, **given)
