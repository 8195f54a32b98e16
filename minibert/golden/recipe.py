"""What a case is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER

Array = np.ndarray
Batch = dict[str, Any]

STEPS = (1, 2, 10)
DIMS = {"B": 3, "T": 9}  # of a batch; letters that a family does not have say nothing to it


@dataclass(frozen=True)
class CaseRecipe:
    """What a case is made of. kind: one of `kinds`; pair: the op or block alone; config: fields other than those of
    `cases.sizes`, or an op's constants.

    dropout: masks are drawn; dims: of a batch; edits: (batch, draws) -> None, what is changed in each batch; settled:
    (model, first batch, draws) -> None, what is changed in the probe weights; std: theirs, by the depth unless given.
    states: everything after each step, else
    the numbers, and the parameters after the last one; insides: also what is inside a layer, and gradients of
    activations. inputs: those of the family that a block depends on, None for all. arrays: an op's arguments that are
    given, the others are drawn; slope: its gradient is the derivative. source, texts: a published directory, and what
    is read with it. runs: ways of choosing tokens, by name, of the kind "generation"; fills: of an encoder that writes
    by filling masks, the ids "mask" and "end". text: makes the text.json of a case without tensors.
    """

    title: str
    family: str | None = None
    kind: str = "family"
    pair: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dtype: str = "float64"
    optimizer: Mapping[str, Any] = field(default_factory=lambda: OPTIMIZER)
    steps: tuple[int, ...] = STEPS
    states: bool = True
    insides: bool = True
    dropout: bool = False
    dims: Mapping[str, int] = field(default_factory=lambda: DIMS)
    edits: tuple[Callable[[Batch, Draws], None], ...] = ()
    settled: Callable[[Any, Batch, Draws], None] | None = None
    std: float | None = None
    inputs: tuple[str, ...] | None = None
    variants: tuple[str, ...] = ()
    arrays: Mapping[str, Array] = field(default_factory=dict)
    slope: bool = True
    source: Any = None
    texts: tuple[str, ...] = ()
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fills: Mapping[str, int] = field(default_factory=dict)
    text: Callable[[], dict[str, Any]] | None = None
