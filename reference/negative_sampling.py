"""One pair's loss: -log s(h.u_w) - (k/n) sum of log s(-h.u_m) over the n words m drawn, but for w itself.

h (d), word and drawn ids, table (v, d), k -> scalar. Mikolov et al. 2013 (1310.4546), equation 4; SPEC W2V-NS.
"""

from .lists import dot
from .scalars import exp, log
from .sigmoid import sigmoid
from .slopes import zeros


def negative_sampling(h, word, drawn, table, k):
    against = sum(minus_log_sigmoid(-dot(h, table[m])) for m in drawn if m != word)
    return minus_log_sigmoid(dot(h, table[word])) + k * against / len(drawn)


def minus_log_sigmoid(z):
    return max(-z, 0 * z) + log(1 + exp(-abs(z)))


def negative_sampling_backward(dy, h, word, drawn, table, k):
    """d -log s(z) / dz = s(z) - 1 = -s(-z). With z = h·u of the word, -h·u of those drawn: dh = dy sum of slope u, du =
    dy slope h, of a word that is drawn twice the sum.
    """
    dh, dtable = [0 * a for a in h], zeros(table)
    pulls = [(word, 1, 1)] + [(m, -1, k / len(drawn)) for m in drawn if m != word]
    for m, sign, weight in pulls:
        slope = -dy * weight * sign * sigmoid(-sign * dot(h, table[m]))
        dh = [a + slope * b for a, b in zip(dh, table[m], strict=True)]
        dtable[m] = [a + slope * b for a, b in zip(dtable[m], h, strict=True)]
    return {"h": dh, "table": dtable}
