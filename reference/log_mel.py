"""Log-mel features of sound, frame by frame: Kaldi's filter banks without dither.

samples (N,) in [-1, 1], rate samples a second -> (T, bins) logarithms of what each triangular filter lets through of
the power spectrum. Davis, Mermelstein 1980, "Comparison of parametric representations for monosyllabic word recognition";
Kaldi, `feature-window.cc`, `mel-computations.cc`; SPEC AUDIO-MEL.
"""

from .numbers import constant, cos, exp, log, pi, sin


def mel(f):
    return 1127 * log(1 + f / 700)


def log_mel(samples, rate, bins, lowest, highest):
    like = samples[0]
    one = constant("1", like)
    size, step = round(0.025 * rate), round(0.010 * rate)
    points = 1
    while points < size:
        points *= 2
    whole = [[samples[t * step + n] for n in range(size)] for t in range(1 + (len(samples) - size) // step)]
    bounds = mel(lowest * one), mel(highest * one)
    edges = [bounds[0] + (bounds[1] - bounds[0]) * j / (bins + 1) for j in range(bins + 2)]
    return [_frame(frame, edges, points, rate, one) for frame in whole]


def _frame(x, edges, points, rate, one):
    mean = sum(x) / len(x)
    x = [a - mean for a in x]
    emphasis = constant("0.97", one)
    y = [a - emphasis * (x[n - 1] if n else x[0]) for n, a in enumerate(x)]
    power = constant("0.85", one)
    raised = [(one - cos(2 * pi(one) * n / (len(y) - 1))) / 2 for n in range(len(y))]
    y = [a * (exp(power * log(w)) if w > 0 else 0 * one) for a, w in zip(y, raised, strict=True)]
    spectrum = []
    for k in range(points // 2):
        turns = [2 * pi(one) * (k * n % points) / points for n in range(len(y))]
        real = sum(a * cos(turn) for a, turn in zip(y, turns, strict=True))
        imaginary = sum(a * sin(turn) for a, turn in zip(y, turns, strict=True))
        spectrum.append((mel(k * rate * one / points), real * real + imaginary * imaginary))
    found = []
    for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
        rising = [(m - low) / (centre - low) * p for m, p in spectrum if low < m <= centre]
        falling = [(high - m) / (high - centre) * p for m, p in spectrum if centre < m < high]
        found.append(log(max(sum(rising) + sum(falling), one / 2**23)))
    return found
