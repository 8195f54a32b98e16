"""Activations that are another function than any mutant has: read off the candidate's own numbers.

Where a candidate has what goes into an activation and what comes out, the two are points. Where what comes out differs
from what is due by something that follows the point smoothly, it is a function of that entry alone, whatever function:
then points that lie close together differ little, and those of anything else as much as points that lie far apart.
"""

from functools import partial

import numpy as np

from minibert import layers, ops
from minibert.mistakes.catalogue import CATALOGUE, GRADIENTS, STEPS, Mutant, in_places
from minibert.mistakes.cover import Cover
from minibert.mistakes.swap import Replacement, Site, swapped
from minibert.mistakes.unloaded import supplied
from minibert.mistakes.words import Found

Array = np.ndarray
FEWEST = 24  # steps from point to point
STEEP = 3  # times: how much steeper close points may follow one another than points that lie apart
NAMES = {"activation": ("G15", ""), "pooler": ("H24", ".tanh")}  # whose tensor it is: the entry, the activation in it
OPS = {"activation": layers.activation, "tanh": ops.tanh}
AT = (-2.0, -1.0, 0.0, 1.0, 2.0)  # of which inputs the values are said


def curves(cover: Cover) -> list[Found]:
    """What of the model computes another function in the place of an activation, beside what was found before; of each
    kind all places at once; [] where nothing does.
    """
    run = cover.runs.like(cover.right.found)
    sites = {site.path: site for site in cover.runs.sites}
    asked: dict[str, list[Site]] = {}
    points: dict[str, dict[Site, tuple[Array, Array]]] = {}
    for whole, given, unit, wrong in supplied(cover, NAMES) if run else ():
        id, within = NAMES[whole.name]
        site = sites.get(whole.path + within)
        if site is None or site.key not in run.calls or {site.key, whole.key}.intersection(run.swaps):
            continue
        asked.setdefault(id, []).append(site)
        (x, *_), constants = run.calls[site.key][0]
        due = OPS[site.name](x, **constants)[0]
        if wrong and np.size(x) == given.size and _follows(np.ravel(x), given.ravel() - np.ravel(due), unit):
            points.setdefault(id, {})[site] = np.ravel(x), given.ravel()
    return [_found(id, asked[id], held) for id, held in points.items()]


def _follows(x: Array, more: Array, unit: float) -> bool:
    """Whether what is more than due, known within `unit`, is a function of x."""
    order = np.argsort(x)
    gaps, steps = np.diff(x[order]), np.maximum(np.abs(np.diff(more[order])) - 2 * unit, 0.0)
    apart = gaps > 0
    if apart.sum() < FEWEST or (steps[~apart] > 0).any():
        return False
    near, slopes = gaps[apart] <= np.median(gaps[apart]), steps[apart] / gaps[apart]
    return bool(slopes[near].max() <= STEEP * slopes[~near].max(initial=0.0))


def _found(id: str, asked: list[Site], held: dict[Site, tuple[Array, Array]]) -> Found:
    where = next((where for where, some in in_places(asked) if {*some} == {*held}), None)
    where = ", ".join(site.words for site in held) if where is None else where
    x, y = (np.concatenate(each) for each in zip(*held.values(), strict=True))
    order = np.argsort(x)
    x, y = x[order], y[order]
    said = ", ".join(f"{np.round(np.interp(at, x, y), 3) + 0.0:g} at {at:g}" for at in AT if x[0] <= at <= x[-1])
    at = {site.key: _curve(*points) for site, points in held.items()}
    what = "another function of each entry" + (f": {said}" if said else "")
    silent = f"({GRADIENTS}|{STEPS})/.*"  # its slope is known only nearly
    mutant = Mutant(what, partial(swapped, at=at), where, sites=tuple(site.path for site in held), silent=silent)
    return Found(CATALOGUE[id], mutant)


def _curve(x: Array, y: Array) -> Replacement:
    """The function through these points, straight between them."""
    order = np.argsort(x)
    x, y = x[order], y[order]

    def forward(z: Array, **_: object) -> tuple[Array, Array]:
        return np.interp(z, x, y).astype(z.dtype), np.interp(z, x, np.gradient(y, np.arange(len(x))))

    return Replacement(forward, lambda dy, slope: dy * slope, faithful=False)
