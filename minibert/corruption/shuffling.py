"""Words out of order: short runs of tokens that stand in a row shuffled (StructBERT)."""

import numpy as np

Array = np.ndarray


def shuffled(
    ids: Array, candidates: Array, rng: np.random.Generator, rate: float = 0.05, length: int = 3
) -> tuple[Array, Array]:
    """(ids (B, T) with runs of `length` tokens shuffled, groups (B, T) int32: the run's number in its row, else -1).

    StructBERT's words (Wang et al., arXiv 1908.04577, section 2.2). candidates (B, T) bool: the tokens that may
    be shuffled, neither special nor masked. Runs are of candidates side by side and never overlap; each next one is
    drawn uniformly among those that are left, until about `rate` of the candidates are in one (n·rate/length runs,
    rounded up or down at random, so that the share comes out), or no run is left. The order is uniform over all
    length! of them, the old one included.

    What the paper leaves open, and is chosen so: the share counts tokens; a run is of pieces, and holds no separator.
    """
    rows, width = ids.shape
    count = np.floor(rate * candidates.sum(1) / length + rng.random(rows)).astype(np.int64)
    groups, out, every = np.full(ids.shape, -1, np.int32), ids.copy(), np.arange(rows)
    if width < length:
        return out, groups
    free = candidates.copy()
    for number in range(int(count.max(initial=0))):
        whole = np.lib.stride_tricks.sliding_window_view(free, length, 1).all(-1)
        chance = np.where(whole, rng.random(whole.shape), -1.0)
        start = chance.argmax(1)
        row = every[(number < count) & whole.any(1)]
        at = start[row, None] + np.arange(length)
        groups[row[:, None], at], free[row[:, None], at] = number, False
        order = rng.random(at.shape).argsort(1)
        out[row[:, None], at] = np.take_along_axis(ids[row[:, None], at], order, 1)
    return out, groups


def slots(rate: float, width: int, length: int = 3) -> int:
    """The most tokens of a row that `shuffled` takes."""
    return length * int(rate * width / length + 1)
