"""A candidate's tensors, and how far a mutant's lie from them.

A residual is max over a tensor of |candidate - mutant| / (scale · noise floor).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minibert.golden import case as cases
from minibert.golden import compare
from minibert.golden.case import Case
from minibert.golden.unmoved import settled
from minibert.mistakes.catalogue import GRADIENTS

LEAST = 1e-3  # floors: less is the order in which numbers are summed
LITTLE = 1000  # floors by which a number must be off, for what rounds to explain it
ALIKE = 2  # times: how much farther off a number may lie that is rounded in other steps
STEP = 4  # times: how much farther than rounding moves any number one may lie that fell the other way, by a whole step
SEVERAL = 4  # wrong entries of which most come out by no chance


class Evidence:
    """A candidate's tensors in causal order, and how far others lie from them."""

    def __init__(self, case: Case, candidate: Mapping[str, Any], dtype: str, keys: Iterable[str]):
        self.truth, self.unmoved = case.tensor, case.unmoved
        self.keys: list[str] = []
        floors = []
        for key in keys:
            entry, array = case.entries[key], np.asarray(candidate[key])
            floor = compare.floor(entry, dtype)
            if array.size and array.shape == entry.shape and floor:
                self.keys.append(key)
                floors.append(floor)
        self.shapes = [case.entries[key].shape for key in self.keys]
        given = ((key, np.asarray(candidate[key], np.float64)) for key in self.keys)
        held = [settled(key, array, case.tensor, case.unmoved) for key, array in given]
        arrays = [_number(array).reshape(-1) for array in held]
        self.sizes = np.array([a.size for a in arrays], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])[:-1].astype(np.int64)
        self.values = np.concatenate(arrays) if arrays else np.zeros(0)
        self.floors = np.array(floors)
        self.scales = np.array([case.entries[key].scale for key in self.keys])
        groups = [cases.scaled_with(key) for key in self.keys]
        number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        self.groups = np.array([number[group] if group else -1 for group in groups], np.int64)

    def only(self, chosen: list[int]) -> "Evidence":
        """The tensors of these numbers alone."""
        part = object.__new__(Evidence)
        part.truth, part.unmoved = self.truth, self.unmoved
        part.keys, part.shapes = ([held[i] for i in chosen] for held in (self.keys, self.shapes))
        part.sizes = self.sizes[chosen]
        part.starts = np.concatenate([[0], np.cumsum(part.sizes)])[:-1].astype(np.int64)
        ends = self.starts + self.sizes
        part.values = np.concatenate([np.zeros(0), *(self.values[self.starts[i] : ends[i]] for i in chosen)])
        part.floors, part.scales, part.groups = (held[chosen] for held in (self.floors, self.scales, self.groups))
        return part

    def tensors(self) -> dict[str, np.ndarray]:
        """The candidate's tensors by key."""
        parts = np.split(self.values, self.starts[1:])
        return {key: a.reshape(shape) for key, a, shape in zip(self.keys, parts, self.shapes, strict=False)}

    def flat(self, tensors: Mapping[str, Any], silent: Callable[[str], Any] | None = None) -> np.ndarray:
        """The tensors in one row, NaN for what is not finite, +inf for a key absent, of another shape, or silent."""
        parts, without = [], []
        for i, (key, shape) in enumerate(zip(self.keys, self.shapes, strict=True)):
            array = None if silent and silent(key) else self.shaped(key, shape, tensors.get(key))
            without += [i] if array is None else []
            parts.append(np.zeros(self.sizes[i]) if array is None else np.asarray(array, np.float64).reshape(-1))
        flat = _number(np.concatenate(parts)) if parts else np.zeros(0)
        for i in without:
            flat[self.starts[i] : self.starts[i] + self.sizes[i]] = np.inf
        return flat

    def shaped(self, key: str, shape: tuple[int, ...], array: Any) -> Any:
        """The array in the case's shape; of one that differs by row where the case has one for all, the oddest row."""
        if array is None or np.shape(array) == shape:
            return array if array is None else settled(key, array, self.truth, self.unmoved)
        if not shape or shape[0] != 1 or np.size(array) % max(1, int(np.prod(shape))):
            return None
        rows, truth = np.reshape(array, (-1, *shape[1:])), self.truth(key)
        if key.startswith(f"{GRADIENTS}/"):
            return rows.sum(0, keepdims=True)
        return rows[np.abs(rows - truth).reshape(len(rows), -1).max(1).argmax()][None]

    def residuals(self, flat: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Per key |candidate - flat| over the noise floor; NaN where `flat` says nothing.

        spread: per key, the mutant's own rounding error, where that is known to be larger.
        """
        return self.distances(self.values, flat, spread)

    def distances(self, a: np.ndarray, b: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Per key |a - b| over the noise floor at b's scale."""
        if not len(self.keys):
            return np.zeros(0)
        difference = np.abs(a - b)
        unknown, lost = np.isnan(b), np.isnan(a)
        difference[lost & unknown] = 0
        if unknown.any() and lost.any():
            # where NaN begins must agree; how far it spreads in what is NaN is a matter of what multiplies it by 0
            later = int(self.starts.searchsorted(int(unknown.argmax()), "right"))
            start = self.starts[later] if later < len(self.starts) else len(b)
            within = np.repeat(np.logical_or.reduceat(lost, self.starts), self.sizes)
            difference[start:][(within & (unknown | lost))[start:]] = 0
        difference[np.isnan(difference)] = np.inf
        worst = np.maximum.reduceat(difference, self.starts)
        unit = self.unit(b, a)
        if spread is not None:
            unit = np.maximum(unit, spread)
        found = worst / unit
        found[np.isposinf(b[self.starts])] = np.nan
        return found

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Per key whether two runs give other numbers."""
        some = np.abs(one - other) > np.repeat(LEAST * self.floors * self.scales, self.sizes)
        return np.logical_or.reduceat(some, self.starts) if len(self.keys) else np.zeros(0, bool)

    def nothing(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """By key of a table's gradient, which of its rows are 0: those that nobody looked up."""
        parts = zip(self.keys, self.shapes, self.starts, self.sizes, strict=True)
        return {key: ~flat[start : start + size].reshape(shape).any(1) for key, shape, start, size in parts
                if key.startswith(f"{GRADIENTS}/") and len(shape) == 2}  # fmt: skip

    def spreads(self, flat: np.ndarray) -> np.ndarray:
        """Per key the root mean square of candidate - flat over the noise floor; NaN where `flat` says nothing."""
        square = np.square(self.values - flat)
        square[np.isnan(self.values) & np.isnan(flat)] = 0
        square[np.isnan(square)] = np.inf
        mean = np.add.reduceat(square, self.starts) / self.sizes
        mean[np.isposinf(flat[self.starts])] = np.nan
        return np.sqrt(mean) / (np.maximum(self.scales, np.finfo(float).tiny) * self.floors)

    def mostly(self, flat: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The residuals of a mutant that rounds, against what the right model gives: of a tensor the largest of most
        entries that were wrong, where they come out; NaN for a few numbers behind entries that fall the other way.
        """
        found, before = self.residuals(flat), self.residuals(right)
        unit = np.repeat(self.unit(flat, self.values), self.sizes)
        after, due = (np.abs(self.values - a) / unit for a in (flat, right))
        fallen, few = False, np.add.reduceat(due > compare.EXPLAINED, self.starts) < SEVERAL
        bounded = (found > compare.EXPLAINED) & (found <= STEP * worst(before))
        for i in np.flatnonzero(bounded):
            own = slice(self.starts[i], self.starts[i] + self.sizes[i])
            if found[i] > STEP * (np.abs(flat[own] - right[own]) / unit[own]).max():
                continue  # what falls the other way moves no farther than what rounds
            wrong = due[own] > compare.EXPLAINED
            out, spoilt = after[own] <= compare.EXPLAINED, after[own][~wrong] > compare.EXPLAINED
            if wrong.sum() >= SEVERAL and 2 * (wrong & out).sum() >= wrong.sum() and 2 * spoilt.sum() <= wrong.sum():
                found[i], fallen = after[own][out].max(), True
        told = (found <= compare.EXPLAINED) & (before > compare.EXPLAINED) & ~few
        if not told.any():  # a number that is a little off is explained by one rounding or another
            found = np.where((self.sizes < SEVERAL) & (before < LITTLE), np.fmax(found, before), found)
        if fallen:
            found[few & bounded & (found > compare.EXPLAINED)] = np.nan
        return self._rounded_back(found, told, flat, right)

    def _rounded_back(self, found: np.ndarray, told: np.ndarray, flat: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The residuals; where a mutant that rounds explains what came out, gradients lie no farther from the right
        ones than where it puts them: nobody knows in which steps another rounds on the way back.
        """
        forward = np.array([key.startswith("forward/") for key in self.keys])
        if (told & forward).any():
            gradients = np.array([key.startswith("gradients/") for key in self.keys])
            for i in np.flatnonzero(gradients & (found > compare.EXPLAINED) & (self.sizes >= SEVERAL)):
                own = slice(self.starts[i], self.starts[i] + self.sizes[i])
                put, lies = (np.abs(a[own] - right[own]) for a in (flat, self.values))
                if lies.max() <= ALIKE * put.max() and np.square(lies).mean() <= ALIKE**2 * np.square(put).mean():
                    found[i] = compare.EXPLAINED
        return found

    def largest(self, a: np.ndarray) -> np.ndarray:
        """Per key the largest finite number."""
        return np.maximum.reduceat(np.nan_to_num(np.abs(a), nan=0.0, posinf=0.0), self.starts)

    def loses(self, b: np.ndarray) -> bool:
        """Whether `b` is NaN in a tensor that the candidate has finite."""
        if not self.keys:
            return False
        without = np.logical_or.reduceat(np.isnan(self.values), self.starts)
        return bool((np.logical_or.reduceat(np.isnan(b), self.starts) & ~without).any())

    def unit(self, b: np.ndarray, beside: np.ndarray) -> np.ndarray:
        """Per key scale · floor, the scale of b by the rule of `case.scale`, at least a tenth of the right one, at most
        the right one and twice that of what it is held against: what is larger explains nothing by being large.
        """
        largest, most = self.largest(b), np.maximum(2 * self.largest(beside), self.scales)
        largest = np.where(most > 0, np.minimum(largest, most), largest)  # zeros have no scale
        group = np.zeros(self.groups.max(initial=0) + 1)
        inside = self.groups >= 0
        np.maximum.at(group, self.groups[inside], largest[inside])
        scale = np.where(inside, np.maximum(largest, 1e-3 * group[self.groups]), largest)
        return np.maximum(scale, 0.1 * self.scales) * self.floors


def _number(array: np.ndarray) -> np.ndarray:
    """NaN for what is not finite."""
    return np.where(np.isfinite(array), array, np.nan)


def worst(residuals: np.ndarray) -> float:
    """The largest of them, 0 where nothing is known."""
    return float(np.nanmax(residuals, initial=0.0))
