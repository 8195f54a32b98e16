"""A decoder of LSTMs that attends to a memory and reads what it has given: z (b, s, e), memory (b, t, m) -> (b, s, d).

s_t = LSTMs([z_t; h_{t-1}]), a = softmax over what is there (seen) of memory . (W_1 s_t + b_1), h_t = tanh(W_2 [sum of
a memory; s_t] + b_2), h_0 = 0. p: layers, attention, combine. McCann et al. 2017 (1708.00107), section 3; SPEC CV-DEC.
"""

from .linear import linear
from .lists import dot
from .lstm import lstm
from .scalars import exp, tanh


def attentional_decoder(z, memory, p, *, seen=None):
    written = []
    for b, words in enumerate(z):
        nothing = 0 * words[0][0]
        fed = [nothing] * len(p["combine"]["bias"])
        there = [source for t, source in enumerate(memory[b]) if seen is None or seen[b][t]]
        states = [[[fed], [fed]] for _ in p["layers"]]
        written.append([])
        for word in words:
            s = word + fed
            for i, layer in enumerate(p["layers"]):
                h, c = lstm([[s]], states[i], **layer)
                states[i], s = [[h[0][0]], [c[0][0]]], h[0][0]
            query = linear([s], **p["attention"])[0]
            scores = [dot(source, query) for source in there]
            shares = [exp(score - max(scores)) for score in scores]
            found = [sum(a * source[m] for a, source in zip(shares, there, strict=True)) / sum(shares)
                     for m in range(len(query))]  # fmt: skip
            fed = [tanh(u) for u in linear([found + s], **p["combine"])[0]]
            written[-1].append(fed)
    return written
