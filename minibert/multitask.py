"""Several tasks over one network: each step learns one of them, drawn by how many rows it has.

    p_i = N_i^a / Σ_j N_j^a,  a = 1 proportional, 0.5 square root, or annealed from 1 to 0.2                        (1)
    a_e = 1 - 0.8 e/(E - 1) in epoch e of E                                                                         (2)

(1), (2): Stickland and Murray 2019, arXiv 1902.02671, section 4.1; (2) with one epoch is 1. A step is one task's rows
and one task's loss (Liu et al. 2019, arXiv 1901.11504, algorithm 1); what belongs to the others, their heads and
`adapters.pals`, keeps its bits, its moments and its count of steps.

    parts = {"classify": batch, "tag": batch}      rows of each task, as `uses.batch` makes them
    course = multitask.course(model, parts, plan, sampling="annealed", epochs=5)
    training.fit(model, plan, run, course.batches, course.rates)
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, objective, training
from minibert.adapters import pals
from minibert.config import one_of, require

SAMPLINGS = {"proportional": 1.0, "root": 0.5, "annealed": None}


def shares(sizes: list[int], exponent: float) -> np.ndarray:
    """(1): the probability of each task, of so many rows."""
    raised = np.asarray(sizes, np.float64) ** exponent
    return raised / raised.sum()


def annealed(epoch: int, epochs: int) -> float:
    """(2), of epoch 0, 1, …."""
    return 1 - 0.8 * epoch / (epochs - 1) if epochs > 1 else 1.0


class Course(NamedTuple):
    """A run over several tasks, a function of its plan and seed. parts: {task: its rows}; exponents: that of (1) in
    each epoch, which are equal shares of the steps.
    """

    model: Any
    parts: dict[str, training.Batch]
    plan: training.Plan
    exponents: tuple[float, ...]

    def shares(self, step: int) -> np.ndarray:
        """(1) of a step."""
        epoch = min(step * len(self.exponents) // self.plan.steps, len(self.exponents) - 1)
        return shares([batches.count(part) for part in self.parts.values()], self.exponents[epoch])

    def task(self, step: int) -> str:
        """Whose turn it is."""
        return _drawn(self.plan.seed, step, tuple(self.shares(step)), tuple(self.parts))

    def batches(self, step: int, dropout: bool = True) -> list[training.Batch]:
        """The micro-batches of a step: rows of its task, under the names of its labels."""
        name = self.task(step)
        part, plan = self.parts[name], self.plan
        rows = training.order(step, plan.batch_size, batches.count(part), plan.seed)
        own = {key: array[rows] for key, array in part.items()}
        known, several = self.model.network.inputs(self.model.config), len(self.model.uses) > 1
        chosen = {key if key in known or not several else f"{name}_{key}": array for key, array in own.items()}
        if pals.PART in known:
            chosen[pals.PART] = np.full(len(rows), self._number(name))
        return training.micro_batches(self.model, chosen, plan, step, dropout)

    def rates(self, path: str, step: int) -> float | None:
        """The plan's rate; None for what belongs to another task than the step's."""
        name, whose = self.task(step), path.split(".")
        other = whose[0] in self.model.tasks and whose[0] != name
        other = other or (whose[0] == pals.PART and int(whose[1]) != self._number(name))
        return None if other else training.scheduled(self.plan)(step)

    def _number(self, name: str) -> int:
        return self.model.tasks.index(name)


@functools.lru_cache(maxsize=1 << 16)
def _drawn(seed: int, step: int, chances: tuple[float, ...], names: tuple[str, ...]) -> str:
    return names[int(training.draws(seed, "sampling", step).choice(len(names), p=chances))]


def course(
    model: Any, parts: Mapping[str, training.Batch], plan: training.Plan, sampling: str = "annealed", epochs: int = 1
) -> Course:  # fmt: skip
    """The run of a model with these tasks' heads. InputError for other tasks than those, and rows without labels."""
    one_of("sampling", sampling, SAMPLINGS)
    require({*parts} == {*model.tasks}, f"rows of {', '.join(parts)}, and heads of {', '.join(model.tasks)}")
    terms = model.network.terms(model.config)
    for name, part in parts.items():
        due = [key.removeprefix(terms[name].prefix) for key in objective.asking(terms[name])]
        require(all(key in part for key in due), f"the rows of {name} lack {', '.join(due)}")
    fixed = SAMPLINGS[sampling]
    exponents = tuple(annealed(e, epochs) if fixed is None else fixed for e in range(epochs))
    return Course(model, dict(parts), plan, exponents)
