"""Several mistakes in one block, where neither one nor two explain it: found one after the other.

Each of them, made too, brings the block's tensor nearer to the candidate's: most of its entries, for another of them may
spoil some rows altogether. So those are sought that lower the middle error most, on top of them the next, the nearest
first, until rounding explains the tensor. What comes near and not there has no name.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import numpy as np

from minibert.mistakes.cover import Cover
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.trials import TRIED, Combined, Trial, Trials
from minibert.mistakes.words import Found
from minibert.progress import over

GAIN = 1.5  # times: how much nearer each further mistake comes, at least
WIDEST = 4  # of those that come nearer so many are gone on with
MOST = 6000  # runs
FEWEST = 32  # entries: several mistakes give any few numbers


def nearing(cover: Cover, trials: list[Trial], key: int, most: int) -> tuple[list[Trial], int]:
    """Runs of several mutants that explain a tensor, on top of what was found before, and how many of at most so many
    runs are left. trials: of each mutant alone.
    """
    runs, evidence, base = cover.runs, cover.evidence, cover.right.found
    acting = [trial.found[-1] for trial in cover.acting(trials, key)]
    known = {id(found) for found in acting}
    others = [t.found[-1] for t in trials if t.listed and id(t.found[-1]) not in known and not cover.spoils(t)]
    middle, number = _middle(evidence, key), count()
    queue: list[tuple[float, int, Combined]] = [(middle(cover.right), next(number), ())]
    seen: set[str] = set()
    try:
        while queue and evidence.sizes[key] >= FEWEST:
            error, _, chosen = heappop(queue)
            runs.base = (*base, *chosen)  # of which what does not change is computed once
            for some in (acting, others)[: 1 + bool(chosen)]:  # others act on what the chosen ones have moved
                some = [found for found in some if found.id not in {one.id for one in chosen}]
                most -= len(some)
                if most < 0 or runs.late():
                    return [], max(most, 0)
                tried = [runs.trial((*runs.base, found), evidence) for found in over(some, TRIED)]
                tried = [trial for trial in tried if trial is not None]
                if there := [trial for trial in tried if cover.explained(trial)[key]]:
                    return there, most
                nearer = sorted(((middle(trial), trial) for trial in tried), key=lambda item: item[0])
                nearer = [(after, trial) for after, trial in nearer if after <= error / GAIN and f"{after:.6g}" not in seen]
                seen |= {f"{after:.6g}" for after, _ in nearer}
                for after, trial in nearer[:WIDEST]:
                    heappush(queue, (after, next(number), trial.found[len(base) :]))
                if nearer:
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
