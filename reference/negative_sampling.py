"""One pair's loss: -log s(h.u_w) - (k/n) sum of log s(-h.u_m) over the n words m drawn, but for w itself.

h (d), word and drawn ids, table (v, d), k -> scalar. Mikolov et al. 2013 (1310.4546), equation 4; SPEC W2V-NS.
"""

from .lists import dot
from .numbers import exp, log


def negative_sampling(h, word, drawn, table, k):
    against = sum(minus_log_sigmoid(-dot(h, table[m])) for m in drawn if m != word)
    return minus_log_sigmoid(dot(h, table[word])) + k * against / len(drawn)


def minus_log_sigmoid(z):
    return max(-z, 0 * z) + log(1 + exp(-abs(z)))
