"""Sinusoids at positions 0 ... length - 1: S(t)_2i = sin(t / 10000^(2i/D)), S(t)_2i+1 = cos of the same; (length, D).

parted: all sines first, then all cosines, and 10000^(i/(D/2 - 1)). like: a number of the type to compute in.
Vaswani et al. 2017 (1706.03762), section 3.5; tensor2tensor's release is parted; SPEC TR-EMB.
"""

from .scalars import constant, cos, exp, log, sin


def sinusoids(length, width, parted, like):
    one, half = constant("1", like), width // 2
    rates = [exp(-log(10000 * one) * i / (half - 1 if parted else half)) for i in range(half)]
    waves = [[(sin(t * rate), cos(t * rate)) for rate in rates] for t in range(length)]
    if parted:
        return [[s for s, _ in row] + [c for _, c in row] for row in waves]
    return [[a for pair in row for a in pair] for row in waves]
