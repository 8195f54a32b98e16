"""Log-mel features of sound, frame by frame: Kaldi's filter banks without dither. Davis, Mermelstein 1980, "Comparison
of parametric representations for monosyllabic word recognition"; Kaldi, `mel-computations.cc`; SPEC AUDIO-MEL.

samples (N,) in [-1, 1], rate samples a second -> (T, bins) logarithms of what triangular filters let through.
"""

from .scalars import constant, cos, exp, log, pi, sin


def mel(f):
    return 1127 * log(1 + f / 700)


def log_mel(samples, rate, bins, lowest, highest):
    one, size, step = constant("1", samples[0]), round(0.025 * rate), round(0.010 * rate)
    points = next(2**i for i in range(40) if 2**i >= size)
    low, high = mel(lowest * one), mel(highest * one)
    edges = [low + (high - low) * j / (bins + 1) for j in range(bins + 2)]
    return [_filtered(_spectrum(samples[at : at + size], points, one), edges, rate * one / points)
            for at in range(0, len(samples) - size + 1, step)]  # fmt: skip


def _spectrum(x, points, one):
    mean, size = sum(x) / len(x), len(x)
    x = [a - mean for a in x]
    y = [a - constant("0.97", one) * b for a, b in zip(x, [x[0], *x], strict=False)]
    raised = [(one - cos(2 * pi(one) * n / (size - 1))) / 2 for n in range(size)]
    y = [a * (exp(constant("0.85", one) * log(w)) if w > 0 else 0 * one) for a, w in zip(y, raised, strict=True)]
    turns = [[2 * pi(one) * (k * n % points) / points for n in range(size)] for k in range(points // 2)]
    waves = [[sum(a * f(turn) for a, turn in zip(y, row, strict=True)) for f in (cos, sin)] for row in turns]
    return [real * real + imaginary * imaginary for real, imaginary in waves]


def _filtered(power, edges, hertz):
    at = [mel(k * hertz) for k in range(len(power))]
    passed = [sum(max(0, min((m - low) / (centre - low), (high - m) / (high - centre))) * p
                  for m, p in zip(at, power, strict=True))
              for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False)]  # fmt: skip
    return [log(max(e, hertz / hertz / 2**23)) for e in passed]
