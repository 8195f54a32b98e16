"""From sound to frames: log-mel spectrograms, their changes, and each utterance's mean and spread taken away.

    frame      25 ms every 10 ms, whole ones alone, less its mean; y[n] = x[n] - 0.97 x[n-1], the first times 0.03  (1)
    window     w[n] = (½ - ½ cos(2πn/(N - 1)))^0.85, N the samples of a frame                                       (2)
    power      P[k] = |Σ_n w[n] y[n] e^(-2πi kn/M)|², k = 0 … M/2, M the power of two from N on                     (3)
    mel        m(f) = 1127 ln(1 + f/700); filter j is a triangle in m, from the centre of j - 1 to that of j + 1,
               the centres evenly spaced between m(lowest) and m(highest); E[j] = Σ_k filter_j(m(k·rate/M)) P[k]    (4)
    features   ln max(E, ε), ε the spacing of float32 at 1                                                          (5)
    changes    d[t] = Σ_{n=1,2} n (x[t+n] - x[t-n]) / 10, the ends repeated; changes of changes by the same         (6)
    normed     (x - mean)/(spread + 1e-10) over the frames of an utterance, feature by feature                      (7)

These are Kaldi's filter banks (`compute-fbank-feats`, `add-deltas`) without dither, on samples in ±1 as torchaudio
reads them, and what s3prl/s3prl makes of sound for Mockingjay. The spread of (7) is over N, not N - 1 as there.
"""

import numpy as np

from minibert.config import require

Array = np.ndarray

LENGTH, STEP = 0.025, 0.010  # seconds of a frame, and from one to the next
EMPHASIS, POWER = 0.97, 0.85
FLOOR = float(np.finfo(np.float32).eps)
BLOCK = 4096  # frames whose spectra are held at a time


def log_mel(samples: Array, rate: float, bins: int = 80, lowest: float = 20.0, highest: float = 7600.0) -> Array:
    """(1)-(5) of samples (N,) in ±1, so many a second: (T, bins), in float64. InputError where the rate is too low for
    the highest frequency, in Hz, or a bin has no frequency in it.
    """
    size, step = round(LENGTH * rate), round(STEP * rate)
    require(size >= 2 and step >= 1, f"{rate} samples a second are too few for frames of {LENGTH * 1000:g} ms")
    count = max(0, 1 + (len(samples) - size) // step)
    weights = filters(rate, size, bins, lowest, highest)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))) ** POWER  # (2)
    made = np.empty((count, bins))
    for begin in range(0, count, BLOCK):
        at = np.arange(begin, min(count, begin + BLOCK))
        y = np.asarray(samples, np.float64)[at[:, None] * step + np.arange(size)]  # (1)
        y -= y.mean(1, keepdims=True)
        y[:, 1:] -= EMPHASIS * y[:, :-1]
        y[:, 0] *= 1 - EMPHASIS
        power = abs(np.fft.rfft(y * window, points(size))) ** 2  # (3)
        made[at] = np.log(np.maximum(power @ weights.T, FLOOR))  # (4), (5)
    return made


def points(size: int) -> int:
    """M of (3)."""
    return 1 << (size - 1).bit_length()


def mel(hertz: Array | float) -> Array:
    """m of (4)."""
    return 1127 * np.log1p(np.asarray(hertz) / 700)


def filters(rate: float, size: int, bins: int, lowest: float, highest: float) -> Array:
    """The filters of (4) for frames of so many samples: (bins, M/2 + 1)."""
    fits = 0 <= lowest < highest <= rate / 2
    require(fits, f"{rate:,} samples a second hold frequencies from 0 to {rate / 2:,.0f} Hz, not {lowest:g} to "
            f"{highest:g}: give other bounds (lowest, highest), or sound with more samples a second")  # fmt: skip
    edges = np.linspace(mel(lowest), mel(highest), bins + 2)
    at = mel(np.arange(points(size) // 2 + 1) * rate / points(size))
    low, centre, high = (edges[i : i + bins, None] for i in range(3))
    made = np.maximum(0, np.minimum((at - low) / (centre - low), (high - at) / (high - centre)))
    made[:, -1] = 0  # as Kaldi does, which leaves the highest frequency out
    empty = np.flatnonzero(~made.any(1))
    require(not len(empty), f"filter {empty[:1].sum()} of {bins} has no frequency in it: ask for fewer bins")
    return made


def changes(x: Array) -> Array:
    """(6) of frames (T, F): (T, F)."""
    padded = np.pad(x, ((2, 2), (0, 0)), mode="edge")
    length = len(x)
    return sum(n * (padded[2 + n : 2 + n + length] - padded[2 - n : 2 - n + length]) for n in (1, 2)) / 10


def features(
    samples: Array, rate: float, bins: int = 80, deltas: int = 2, lowest: float = 20.0, highest: float = 7600.0
) -> Array:
    """(1)-(7): (T, bins·(1 + deltas)), in float32; deltas: how often changes are taken of what stands before."""
    orders = [log_mel(samples, rate, bins, lowest, highest)]
    if len(orders[0]) == 0:
        return np.zeros((0, bins * (1 + deltas)), np.float32)
    for _ in range(deltas):
        orders.append(changes(orders[-1]))  # (6)
    x = np.concatenate(orders, 1)
    return ((x - x.mean(0)) / (x.std(0) + 1e-10)).astype(np.float32)  # (7)


def stacked(x: Array, count: int) -> Array:
    """So many frames in a row as one, (T, F) -> (T // count, count·F); what is left at the end is dropped."""
    whole = len(x) // count
    return x[: whole * count].reshape(whole, count * x.shape[1])
