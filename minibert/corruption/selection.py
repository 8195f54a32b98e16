"""Selection: which units a row loses, as groups (B, T) int32: -1 where not chosen, else the run's number in its row."""

from collections.abc import Sequence

import numpy as np


def selection(
    units: np.ndarray,
    budget: np.ndarray,
    rng: np.random.Generator,
    lengths: Sequence[float] | None = None,
    count: np.ndarray | None = None,
) -> np.ndarray:
    """Units taken whole, in random order, each unless it would exceed what is left of the row's budget.

    units (B, T) as from `units`; budget (B,) positions at most; count (B,) units at most. With whole words a row may
    stay below its budget, and even empty, when no remaining word fits; with single pieces it is an exact uniform draw
    without replacement.

    lengths: probabilities of runs of 1, 2, … consecutive units (n-grams; needs units numbered 0, 1, …). As in
    ALBERT's release each unit in random order is the start of a run of drawn length, which ends with the row's last
    unit, is shortened while it exceeds what is left, and is passed over where it would overlap another.
    """
    rows, width = units.shape
    groups = np.full((rows, width), -1, np.int32)
    row, _ = inside = np.nonzero(units >= 0)
    if not row.size:
        return groups
    flat = row * width + units[inside]
    size = np.bincount(flat, minlength=rows * width).reshape(rows, width)  # of unit u in column u, 0: no such unit
    order = np.argsort(np.where(size > 0, rng.random((rows, width)), 2.0), axis=-1)
    longest = 1 if lengths is None else len(lengths)
    drawn = np.ones((rows, width), np.int64) if lengths is None else runs(lengths, (rows, width), rng)
    sums = np.pad(np.cumsum(size, axis=-1), ((0, 0), (1, longest)), mode="edge")  # positions before unit u
    sums[:, 0] = 0
    left = np.array(budget)
    units_left = np.full(rows, width) if count is None else np.array(count)
    behind = width - np.argmax(size[:, ::-1] > 0, axis=-1)  # the last unit's number + 1
    taken = np.zeros((rows, width + longest), bool)
    begun = np.zeros((rows, width), bool)
    every = np.arange(rows)
    for unit in order.T[: size.astype(bool).sum(axis=-1).max()]:  # every row's next unit
        if not (left * units_left).any():
            break
        run = np.minimum(np.minimum(drawn[every, unit], units_left), behind - unit)
        for n in range(longest, 0, -1):
            run -= (run == n) & (sums[every, unit + n] - sums[every, unit] > left)
        covered = [taken[every, unit + n] & (n < run) for n in range(longest)]
        fits = (size[every, unit] > 0) & (run > 0) & ~np.any(covered, axis=0)
        begun[every, unit] |= fits
        for n in range(longest):
            taken[every, unit + n] |= fits & (n < run)
        used = np.where(fits, sums[every, unit + run] - sums[every, unit], 0)
        left, units_left = left - used, units_left - np.where(fits, run, 0)
    number = np.cumsum(begun, axis=-1) - 1
    groups[inside] = np.where(taken[:, :width] & (size > 0), number, -1).reshape(-1)[flat]
    return groups


def runs(lengths: Sequence[float], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Lengths 1, 2, … drawn with the given probabilities, which need not add up to 1."""
    limits = np.cumsum(lengths) / np.sum(lengths)
    return 1 + np.searchsorted(limits[:-1], rng.random(shape), side="right")


def spans(
    candidates: np.ndarray, starts: np.ndarray, budget: np.ndarray, rng: np.random.Generator, lengths: Sequence[float]
) -> np.ndarray:
    """SpanBERT's spans of whole words (arXiv 1907.10529, section 3.1; the release's data/masking.py).

    candidates, starts (B, T) bool; budget (B,) positions, met exactly (as far as there are candidates); lengths:
    probabilities of 1, 2, … words. Until the budget is met: an anchor, uniform over the candidates not yet chosen; the
    span goes from the start of its word over the drawn number of words, up to the end of the stretch of candidates,
    absorbing what is chosen already; the last word is cut where the budget ends. Overlapping and adjacent spans are
    one. (The release redraws length and anchor while the anchor is taken: the same law.) Each round goes over the rows
    as a whole, about budget / 4 rounds: rows are no longer than a table of positions, 512.
    """
    rows, width = candidates.shape
    at, every = np.arange(width), np.arange(rows)
    before = np.pad(candidates, ((0, 0), (1, 0)))[:, :-1]
    begins = candidates & (starts | ~before)
    word = np.cumsum(begins, axis=1) - 1
    first = np.full((rows, width + len(lengths) + 1), width)  # position of word w, `width` behind the last
    row, column = np.nonzero(begins)
    first[row, word[row, column]] = column
    gap = np.minimum.accumulate(np.where(candidates, width, at)[:, ::-1], axis=1)[:, ::-1]  # the stretch's end
    chosen = np.zeros((rows, width), bool)
    left = np.minimum(budget, candidates.sum(axis=1))
    while left.any():
        n = runs(lengths, (rows,), rng)
        free = candidates & ~chosen
        rank = np.cumsum(free, axis=1)
        # The k-th free position; rows without one are done, and get an anchor that does nothing.
        k = (rng.random(rows) * rank[:, -1]).astype(np.int64)
        anchor = np.argmax(rank > k[:, None], axis=1)
        begin = word[every, anchor]
        start, stop = first[every, begin], np.minimum(first[every, begin + n], gap[every, anchor])
        new = rank - free - (rank - free)[every, np.minimum(start, width - 1)][:, None]  # free ones in [start, i)
        chosen |= (at >= start[:, None]) & (at < stop[:, None]) & (new < left[:, None])
        left = np.minimum(budget, candidates.sum(axis=1)) - chosen.sum(axis=1)
    return stretches(chosen)


def stretches(chosen: np.ndarray) -> np.ndarray:
    """Groups (B, T): maximal stretches of chosen positions, numbered from 0 in each row."""
    before = np.pad(chosen, ((0, 0), (1, 0)))[:, :-1]
    return np.where(chosen, np.cumsum(chosen & ~before, axis=1) - 1, -1).astype(np.int32)


def with_replacement(
    candidates: np.ndarray, count: np.ndarray, slots: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """ELECTRA's draw: positions (B, slots) int32, uniform and with duplicates, and weights (B, slots) float32.

    count (B,): the slots in use, of weight 1; the others, and all of a row without candidates, have position 0, weight
    0.
    """
    order = np.argsort(~candidates, axis=1, kind="stable")  # candidates first
    total = candidates.sum(axis=1, keepdims=True)
    rank = (rng.random((len(candidates), slots)) * total).astype(np.int64)
    return _slots(order, rank, np.where(total[:, 0] > 0, count, 0))


def without_replacement(
    candidates: np.ndarray, count: np.ndarray, slots: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same with distinct positions: what `with_replacement` seems to have been meant to be."""
    order = np.argsort(np.where(candidates, rng.random(candidates.shape), 2.0), axis=1)
    rank = np.broadcast_to(np.arange(slots) % candidates.shape[1], (len(candidates), slots))
    return _slots(order, rank, np.minimum(count, candidates.sum(axis=1)))


def _slots(order: np.ndarray, rank: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used = np.arange(rank.shape[1]) < count[:, None]
    positions = np.where(used, np.take_along_axis(order, rank, axis=1), 0)
    return positions.astype(np.int32), used.astype(np.float32)
