"""What only rounding moves: parameters whose true gradient is 0, alone (BERT's key bias) or as a part of a fused one
(the middle third of GPT-2's c_attn.bias). An optimizer that divides by its size turns that rounding into steps.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.checkpoint.names import from_published, to_published

Tensors = Mapping[str, np.ndarray]

GRADIENTS = "gradients"
FAR = 10  # times what moves most
NO_GRADIENT = 1e-13  # of the whole gradient's largest entry
# of optimizer states, as they are used
SLOTS = ("adam_m", "exp_avg", "momentum_buffer", "adam_v", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col")


def parameter(key: str) -> str | None:
    """The parameter that `key` is the state of: NAME of "steps/10/adam_m.NAME" and of "steps/10/NAME"."""
    section, _, rest = key.partition("/")
    if section != "steps":
        return None
    name = rest.partition("/")[2]
    slot, _, owner = name.partition(".")
    return owner if slot in SLOTS else name


def masks(gradients: Tensors, family: str | None = None, config: Any = None) -> dict[str, np.ndarray]:
    """The entries of each tensor, by name, that only rounding moves, where there are any. gradients: the true ones, by
    published name; family, config: whose fused tensors are looked at part by part.
    """
    bar = NO_GRADIENT * max((float(np.abs(g).max(initial=0)) for g in gradients.values()), default=0.0)

    def still(g: np.ndarray) -> np.ndarray:
        return np.full(g.shape, np.abs(g).max(initial=0) <= bar)

    found = {name: still(g) for name, g in gradients.items()}
    if family is not None:
        rows = families.family(family).names(config)
        found |= to_published(tree.map(still, from_published(dict(gradients), rows)), rows)
    return {name: mask for name, mask in found.items() if mask.any()}


def settled(key: str, array: np.ndarray, truth: Callable[[str], np.ndarray], unmoved: Tensors) -> np.ndarray:
    """The array with the truth of the key where only rounding moves a part of it; as it is where all or nothing, and
    where it is no number.
    """
    mask = _mask(key, unmoved)
    if mask is None or mask.all() or mask.shape != np.shape(array):
        return array
    return np.where(mask & (np.isfinite(array) | (key in unmoved)), truth(key), array)


def reached(
    key: str, array: np.ndarray, entries: Iterable[str], truth: Callable[[str], np.ndarray], unmoved: Tensors
) -> bool:
    """Whether rounding may have brought what only rounding moves there: no farther than FAR times what moves another
    parameter, or another state of its kind, most. entries: the case's keys; truth: key -> its tensor.
    """
    kind, held = _kind(key), {*entries}

    def moved(other: str, array: np.ndarray) -> float:
        begun = 0.0 if kind[1] else truth(f"weights/{parameter(other)}")
        return float(np.abs(array - begun).max(initial=0))

    alike = (other for other in held if other.startswith("steps/") and _kind(other) == kind)
    most = max(moved(other, truth(other)) for other in alike if kind[1] or f"weights/{parameter(other)}" in held)
    return moved(key, np.where(_mask(key, unmoved), array, truth(key))) <= FAR * most


def _kind(key: str) -> tuple[str, str]:
    """The step of a key, and which optimizer state it is, "" a parameter."""
    _, step, name = key.split("/", 2)
    slot = name.partition(".")[0]
    return step, slot if slot in SLOTS else ""


def still(key: str, unmoved: Tensors) -> bool:
    """Whether the key is the gradient of what only rounding moves: 0, and else what an order of summation leaves."""
    section, _, name = key.partition("/")
    return section == GRADIENTS and name in unmoved and bool(unmoved[name].all())


def partly(key: str, unmoved: Tensors) -> bool:
    """Whether only rounding moves a part of the key's tensor, and more than rounding the rest."""
    mask = _mask(key, unmoved)
    return mask is not None and not mask.all()


def _mask(key: str, unmoved: Tensors) -> np.ndarray | None:
    """Of the parameter that the key is the state of, or of an output by its whole key (see `padding`)."""
    return unmoved.get(key, unmoved.get(parameter(key) or ""))
