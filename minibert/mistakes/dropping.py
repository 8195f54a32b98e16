"""Dropout that runs where a case has none: its masks are random, so no mutant has them; they are read off.

What a candidate has of a tensor behind dropout is 0 in some entries, and in the others what is due times one factor,
1/(1 - rate), where the rate is about the share of zeros. Behind a residual it cannot be told any more.
"""

from functools import partial
from typing import Any

import numpy as np

from minibert import ops
from minibert.mistakes.catalogue import CATALOGUE, Mutant
from minibert.mistakes.cover import Cover
from minibert.mistakes.swap import Replacement, Site, swapped
from minibert.mistakes.trials import EXPLAINED
from minibert.mistakes.words import Found
from minibert.pairs import BLOCKS, PAIRS

Array = np.ndarray
FEWEST = 3  # zeros
SIGMAS = 5  # deviations by which their share may miss the rate


def dropping(cover: Cover) -> list[Found]:
    """That dropout runs, where the first wrong tensor tells it; [] else."""
    runs, evidence = cover.runs, cover.evidence
    first = int(np.argmax(cover.wrong))
    key, run = evidence.keys[first], runs.like(cover.right.found)
    site = next((s for s in runs.sites if (held := runs.calls.held.get(s.key, {}).get("")) and held.parts == 1
                 and f"forward/{held.name}" == key), None)  # fmt: skip
    trained = any(batch.get("dropout") for batch in runs.subject.batches)
    if trained or not run or site is None or site.key in run.swaps or key not in runs.given:
        return []
    given, due = np.asarray(runs.given[key], np.float64), np.asarray(run.computed[key], np.float64)
    unit = EXPLAINED * evidence.scales[first] * evidence.floors[first]
    factor = _factor(given, due, unit) if given.shape == due.shape else None
    if factor is None:
        return []
    zeros = int((given == 0).sum())
    what = f"dropout runs: {zeros} of {given.size} entries are 0, the others times {factor:.4g}"
    at = {site.key: _masked(site, factor * (given != 0))}
    return [Found(CATALOGUE["D11"], Mutant(what, partial(swapped, at=at), site.words, sites=(site.path,)))]


def _factor(given: Array, due: Array, unit: float) -> float | None:
    """What is kept is multiplied by this; None where no dropout gives these numbers."""
    kept, telling = given != 0, np.abs(due) > unit
    zeros, many = int((~kept & telling).sum()), int(telling.sum())
    if not FEWEST <= zeros < many:
        return None
    factor = float((given * due)[kept].sum() / np.square(due)[kept].sum())
    if factor <= 1 or np.abs(given - factor * due)[kept].max() > factor * unit:
        return None
    rate = 1 - 1 / factor
    return factor if abs(zeros - many * rate) <= SIGMAS * np.sqrt(many * rate * (1 - rate)) else None


def _masked(site: Site, mask: Array) -> Replacement:
    """A call whose value is multiplied by this, where it has that shape."""
    whole = site.name in BLOCKS
    f, backward = (half.__wrapped__ for half in BLOCKS[site.name]) if whole else (
        getattr(ops, site.name), PAIRS[site.name].backward)  # fmt: skip

    def masked(a: Array) -> Array:
        return a * mask.astype(a.dtype) if a.shape == mask.shape else a

    def forward(*args: Any, **given: Any) -> tuple[Array, Any]:
        y, c = f(*args, **given)
        return masked(y), c

    return Replacement(forward, lambda dy, c: backward(masked(dy), c))
