"""How often gradcheck overlooks a wrong backward, at every pair: `python tests/misses.py`, some minutes.

The mistakes: every entry of the catalogue that replaces a backward, one entry of a gradient times 2.001, two entries
exchanged, one row lost. `check` has to catch all of them, `directional`, which draws random directions, all but 0.1 %;
the catalogue's also in whole models. Exit code 1 where that does not hold. tests/core/test_gradcheck.py has a part.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import families, gradcheck, layers, objective, tree
from minibert.golden import case
from minibert.golden.subject import Subject
from minibert.mistakes import CATALOGUE
from minibert.mistakes.catalogue import Mutant
from minibert.mistakes.swap import Replacement, Swaps, sites
from minibert.pairs import observing

GOLDEN = ("bert/published", "bert/dropout", "albert/published", "electra/published", "spanbert/published")
ALLOWED = 0.001  # of the directions
Flat = dict[str, np.ndarray]


def cases(seed: int) -> list[gradcheck.Example]:
    """Those of `gradcheck`, and the activation that a configuration names, which entries of the catalogue replace."""
    pair = layers.activation, layers.activation_backward
    x = np.random.default_rng(seed).standard_normal((3, 4))
    named = [gradcheck.Example("activation", *pair, {"x": x}, {"name": name}) for name in ("gelu", "gelu_new")]
    return [*gradcheck.examples(seed), *named]


def replacing(subject: Subject) -> Iterator[tuple[str, Mutant]]:
    """(mistake, mutant) of the catalogue, everywhere at once, where a backward is not its forward's derivative."""
    at = sites(subject)
    for id, entry in CATALOGUE.items():
        for mutant in entry.mutants(subject, at) if entry.mutants else ():
            if not mutant.where and any(not pair.faithful for _, pair in replaced(mutant, subject)):
                yield f"{id} {mutant.what}", mutant


def replaced(mutant: Mutant, subject: Subject) -> list[tuple[str, Replacement]]:
    """(op or block, what stands in its place) of a mutant."""
    around = mutant.change(subject).around
    return [(key[-1][0], pair) for swaps in around if isinstance(swaps, Swaps) for key, pair in swaps.at.items()]


def replaced_backwards() -> list[tuple[str, str, Replacement]]:
    """(op or block, mistake, pair) of each entry that replaces a backward."""
    found: dict[tuple[str, str], Replacement] = {}
    for subject in (case.read(name).subject() for name in GOLDEN):
        for what, mutant in replacing(subject):
            for op, pair in replaced(mutant, subject):
                found.setdefault((op, what), pair)
    return [(op, what, pair) for (op, what), pair in found.items()]


def mistakes(right: Flat) -> Iterator[tuple[str, Flat]]:
    """One entry times 2.001, two neighbours exchanged, one row (the last axis) lost; not where that changes nothing."""
    for path, gradient in right.items():
        flat, width = gradient.reshape(-1), gradient.shape[-1] if gradient.ndim else 1
        edits = [("one entry x 2.001", [i], 2.001 * flat[i]) for i in range(flat.size)]
        edits += [("two entries exchanged", [i, i + 1], flat[[i + 1, i]]) for i in range(flat.size - 1)]
        edits += [("one row lost", range(i, i + width), 0.0) for i in range(0, flat.size, width)]
        for what, places, values in edits:
            wrong = flat.copy()
            wrong[list(places)] = values
            if np.abs(wrong - flat).max() > 1e-12:  # the key bias: its gradient is rounding
                yield what, {**right, path: wrong.reshape(gradient.shape)}


def of_catalogue(c: gradcheck.Example, pair: gradcheck.Evaluated, entries: list) -> Iterator[tuple[str, Flat]]:
    """The mistakes of the catalogue that these arguments show: the value is right, the gradient is not."""
    for _, what, wrong in (e for e in entries if e[0] == c.name):
        try:
            y, cache = wrong.forward(**c.args, **c.constants)
            got = gradcheck.gradients(c.forward, wrong.backward(pair.dy, cache), c.args)
        except ValueError:  # it is made for the shapes of one model
            continue
        alike = all(a.shape == pair.got[""][path].shape for path, a in got.items())
        if alike and np.array_equal(y, pair.y) and max(gradcheck.errors(got, pair.got[""]).values()) > 1e-9:
            yield what, got


def overlooked(claimed: Flat, truth: Flat) -> bool:
    return max(gradcheck.errors(claimed, truth).values()) <= gradcheck.DIFFERENCE_BAR


def measure(directions: int, draws: int, asked: Container[str] | None = None) -> tuple[Counter, Counter, Counter]:
    """(mistakes, those that `check` missed, directions along which `directional` missed one) by (pair, mistake), of the
    pairs that are asked, or all.
    """
    of_the_catalogue = replaced_backwards()
    tried, by_check, by_directional = Counter(), Counter(), Counter()
    for seed in range(draws):
        for c in (c for c in cases(seed) if asked is None or c.name in asked):
            rng = np.random.default_rng([seed, *c.name.encode()])
            pair = gradcheck.evaluated(c.forward, c.backward, c.args, c.constants, rng)
            right, truth = pair.got[""], pair.differences()
            wrong = [*mistakes(right), *of_catalogue(c, pair, of_the_catalogue)]
            for what, got in wrong:
                tried[c.name, what] += 1
                by_check[c.name, what] += overlooked(got, truth)
            for _ in range(directions):
                along = {path: rng.standard_normal(a.shape) for path, a in right.items()}
                slopes = slopes_of(c, pair.dy, along, gradcheck.slopes_along(right, along))
                for what, got in wrong:
                    by_directional[c.name, what] += overlooked(gradcheck.slopes_along(got, along), slopes)
    return tried, by_check, by_directional


def whole_models(directions: int) -> tuple[Counter, Counter]:
    """(directions tried, those along which `directional` missed one) by (case, mistake of the catalogue)."""
    tried, missed = Counter(), Counter()
    for name in GOLDEN:
        subject = case.read(name).subject()
        subject = replace(subject, params=tree.map(lambda a: a.astype(np.float64), subject.params))
        start, right = loss_and_gradient(subject)
        wrong = {}
        for what, mutant in replacing(subject):
            value, got = loss_and_gradient(mutant.change(subject))
            if value == start and not overlooked(got, right):
                wrong[what] = got
        for i in range(directions):
            rng = np.random.default_rng([i, *name.encode()])
            along = {path: rng.standard_normal(a.shape) for path, a in right.items()}
            loss = lambda params, s=subject: float(loss_of(replace(s, params=params))[0])  # noqa: E731
            slopes = gradcheck.slopes(loss, subject.params, along, gradcheck.slopes_along(right, along))
            for what, got in wrong.items():
                tried[name, what] += 1
                missed[name, what] += overlooked(gradcheck.slopes_along(got, along), slopes)
    return tried, missed


def loss_of(subject: Subject) -> tuple[np.ndarray, Any]:
    module = families.family(subject.family)
    return objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)


def loss_and_gradient(subject: Subject) -> tuple[float, Flat]:
    with ExitStack() as stack:
        for factory in subject.around:
            stack.enter_context(observing(factory()))
        loss, cache = loss_of(subject)
        return float(loss), tree.flatten(objective.loss_backward(cache))


def slopes_of(c: gradcheck.Example, dy: np.ndarray, along: Flat, about: Flat) -> Flat:
    """The slopes with which `directional` compares."""
    loss = lambda args: float(np.sum(dy * c.forward(**args, **c.constants)[0]))  # noqa: E731
    return gradcheck.slopes(loss, c.args, along, about)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directions", type=int, default=100, help="for each mistake at a pair")
    parser.add_argument("--whole", type=int, default=20, help="directions for each mistake in a whole model")
    parser.add_argument("--draws", type=int, default=2, help="of the arguments of each pair")
    args = parser.parse_args()
    tried, by_check, by_directional = measure(args.directions, args.draws)
    for (pair, what), count in tried.items():
        missed = by_directional[pair, what] / max(1, count * args.directions)
        print(f"{pair:16} {what:62} {count:5} mistakes, check misses {by_check[pair, what]}, directional {missed:.4%}")
    share = by_directional.total() / (tried.total() * args.directions)
    print(f"all {tried.total()} mistakes: check misses {by_check.total()}, directional {share:.4%} of the directions")
    along, missed = whole_models(args.whole)
    for name, what in along:
        print(f"{name:16} {what:62} {along[name, what]:5} directions, directional misses {missed[name, what]}")
    print(f"whole models: directional misses {missed.total()} of {along.total()}")
    return int(by_check.total() > 0 or share > ALLOWED or missed.total() > ALLOWED * along.total())


if __name__ == "__main__":
    sys.exit(main())
