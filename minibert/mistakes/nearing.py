"""Several mistakes in one block, where neither one nor two explain it: found one after the other.

Each of them, made too, brings the block's tensor nearer to the candidate's: most of its entries, for another may spoil
some rows altogether. So those are sought that lower the middle error most, on top of them the next, the nearest first,
until rounding explains the tensor. What comes near and not there has no name.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import numpy as np

from minibert.mistakes.cover import Cover
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.trials import TRIED, Combined, Trial
from minibert.mistakes.words import Found
from minibert.progress import over

GAIN = 1.5  # times: how much nearer each further mistake comes, at least
WIDEST = 4  # of those that come nearer so many are gone on with
MOST = 2500  # runs
FEWEST = 32  # entries: several mistakes give any few numbers


def nearing(
    cover: Cover, acting: list[Found], others: list[Found], key: int, most: int, start: Combined = ()
) -> tuple[list[Trial], int]:
    """Runs of several mutants that explain a tensor, these and more, on top of what was found before, and how many of
    at most so many runs are left. acting: those that change the tensor by themselves; others: that may once another has
    changed it.
    """
    runs, evidence, base = cover.runs, cover.evidence, cover.right.found
    middle, number = _middle(evidence, key), count()
    begun = runs.trial((*base, *start), evidence) if start else cover.right
    queue: list[tuple[float, int, Combined]] = [(middle(begun), next(number), start)]
    seen: set[str] = set()
    try:
        while queue and evidence.sizes[key] >= FEWEST:
            error, _, chosen = heappop(queue)
            runs.base = (*base, *chosen)  # of which what does not change is computed once
            for some in (acting, others)[: 1 + bool(chosen)]:
                some = [found for found in some if found.id not in {one.id for one in chosen}]
                most -= len(some)
                if most < 0 or runs.late():
                    return [], max(most, 0)
                tried = [runs.trial((*runs.base, found), evidence) for found in over(some, TRIED)]
                tried = [trial for trial in tried if trial is not None]
                if there := [trial for trial in tried if cover.explained(trial)[key]]:
                    return there, most
                nearer = {f"{after:.6g}": (after, t) for t in reversed(tried) if (after := middle(t)) <= error / GAIN}
                fresh = sorted((nearer[same] for same in nearer.keys() - seen), key=lambda item: item[0])[:WIDEST]
                seen |= {*nearer}
                for after, trial in fresh:
                    heappush(queue, (after, next(number), trial.found[len(base) :]))
                if fresh:
                    break
        return [], most
    finally:
        runs.base = base


def _middle(evidence: Evidence, key: int) -> Callable[[Trial], float]:
    """How far the middle entry of a tensor lies from the candidate's."""
    at = slice(evidence.starts[key], evidence.starts[key] + evidence.sizes[key])

    def middle(trial: Trial) -> float:
        difference = np.abs(trial.flat[at] - evidence.values[at])
        return float(np.median(np.where(np.isfinite(difference), difference, np.inf)))

    return middle
