"""In which order tasks are learnt, step by step (ERNIE 2.0: Sun et al., arXiv 1907.12412, sections 3.2 and 4.3).

    continual     tasks arrive one by one, a stage each, and those that are there stay: of its N steps a task gives
                  N // (tasks + 1) to each later stage and has the rest when it arrives: the paper's proportions
    joint         all from the beginning
    sequential    one by one, the earlier no more
"""

import functools
from typing import NamedTuple

COURSES = ("continual", "joint", "sequential")


class Turn(NamedTuple):
    """What a step of a run reads: the rows whose field begins with a value; term: the one that they ask, None: all;
    name: of such rows.
    """

    name: str
    field: str
    value: int
    term: str | None = None


def allotted(tasks: int, steps: int, course: str = "continual") -> list[list[int]]:
    """The steps of each task in each stage, (stages, tasks), of so many steps in all."""
    totals = [steps // tasks + (j < steps % tasks) for j in range(tasks)]
    if course == "joint":
        return [totals]
    later = [total // (tasks + 1) if course == "continual" else 0 for total in totals]
    return [
        [0 if j > k else later[j] if j < k else totals[j] - later[j] * (tasks - 1 - j) for j in range(tasks)]
        for k in range(tasks)
    ]


@functools.lru_cache(maxsize=8)
def turns(tasks: int, steps: int, course: str = "continual") -> list[int]:
    """The task of each step: within a stage its tasks take turns, as evenly as their numbers of steps allow."""
    found = []
    for counts in allotted(tasks, steps, course):
        places = [((n + 0.5) / count, j) for j, count in enumerate(counts) for n in range(count)]
        found += [j for _, j in sorted(places)]
    return found
