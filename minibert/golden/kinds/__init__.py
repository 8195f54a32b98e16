"""One file, one kind of case, found by its name.

    LEVELS                        "model" (L1 to L7), "tokens" (L0), or None: it has no levels
    WHOLE                         a family's whole computation, which `Case.subject` rebuilds
    made(recipe)                  a Made: what a case of this kind is given, and what it computes
    evaluate(case, weights)       the evaluation of a case that was read; weights: a published directory or None
    verify(case)                  instead of `evaluate`, for cases that are text: what differs, a line each
    widened(case, key, stored)    optional: a candidate's tensor, brought to the case's shape where that is a result
    places(pair, sites)           of what is no whole family: the sites, among those of one, whose mistakes fall on it
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from minibert.config import nearest, shown
from minibert.errors import InputError

Tensors = dict[str, np.ndarray]
Floors = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Made:
    """A case before it is computed. facts: fields of case.json that the kind decides; given: weights and inputs by key;
    evaluate: see `noise.Evaluation`; outputs: forward names whose role is "output"; text: the contents of text.json.

    certificate: truth -> errors against 50 digits, by key; held: truth -> what of it is written; raised: (truth,
    floors) -> floors, with what the evaluations happened not to show; settled: truth -> `evaluate`, with the truth
    where only rounding moves a part of a tensor.
    """

    facts: dict[str, Any]
    given: Tensors = field(default_factory=dict)
    evaluate: Callable[..., Tensors] | None = None
    outputs: tuple[str, ...] = ()
    text: Any = None
    certificate: Callable[[Tensors], dict[str, float]] = lambda truth: {}
    held: Callable[[Tensors], Tensors] = lambda truth: truth
    raised: Callable[[Tensors, Floors], Floors] = lambda truth, floors: floors
    settled: Callable[[Tensors], Callable[..., Tensors]] | None = None


@cache
def names() -> list[str]:
    """The kinds there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def kind(name: str) -> ModuleType:
    """The kind's module; InputError for an unknown name."""
    if name not in names():
        raise InputError(f"no kind of case {shown(name)}{nearest(name, names())}; there are: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")


def of(case: Any) -> ModuleType:
    """The kind of a case."""
    return kind(case.facts["kind"])
