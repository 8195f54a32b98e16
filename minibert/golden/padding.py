"""Rows that nobody owes: what stands at positions without a token, which no other position, head or loss reads.

Whether somebody reads them is what the truth's gradients say: they are exactly 0 there. Where a case holds none, the
first position counts as read, since poolers read it, and so do rows of the batch without any token.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert.golden import axes

Masks = dict[str, np.ndarray]


def unread(case: Any) -> Masks:
    """By the key of an output, the entries that nobody reads; outputs without such entries are left out."""
    present = axes.mask(case)
    if present is None or present.all():
        return {}
    absent = ~present & present.any(1, keepdims=True)
    found = {}
    common = _common(case, absent)
    for key, entry in case.entries.items():
        section, _, name = key.partition("/")
        if section == "gradients" and entry.role == "activation_gradient" and name.endswith("probs"):
            keys = absent & common  # what a key that nobody sees would be worth is a matter of its value
            if (entry.shape[0], *entry.shape[3:]) == keys.shape and keys.any():
                found[key] = np.broadcast_to(keys[:, None, None, :], entry.shape)
            continue
        if section != "forward" or entry.role == "loss":
            continue
        rows = absent & _silent(case, name, absent.shape, common)
        if len(entry.shape) == 3 and entry.shape[:2] == rows.shape:
            mask = rows[:, :, None]
        elif len(entry.shape) == 4 and (entry.shape[0], *entry.shape[2:]) == (*rows.shape, rows.shape[1]):
            mask = rows[:, None, :, None]
            if not name.endswith("probs"):  # scores of what is masked are read by nobody either
                mask = mask | absent[:, None, None, :]
        elif len(entry.shape) == 4 and (entry.shape[0], entry.shape[3]) == rows.shape and not name.endswith("probs"):
            mask = absent[:, None, None, :]  # scores of a source's padding
        else:
            continue
        if mask.any():
            found[key] = np.broadcast_to(mask, entry.shape)
    return found


def _silent(case: Any, name: str, rows: tuple[int, int], common: np.ndarray) -> np.ndarray:
    """(B, T): where an output's gradient is 0, or what all outputs with a gradient say where it has none."""
    held = case.entries.get(f"gradients/{name}")
    if held is None or held.role != "activation_gradient":
        return common
    gradient = np.abs(case.tensor(held.key))
    if gradient.ndim == 3 and gradient.shape[:2] == rows:
        return gradient.max(2) == 0
    square = gradient.ndim == 4 and (gradient.shape[0], gradient.shape[2]) == rows
    return gradient.max((1, 3)) == 0 if square else common


def _common(case: Any, absent: np.ndarray) -> np.ndarray:
    """(B, T): where every gradient of an output is 0; everywhere but at the first token if the case has none."""
    silent, known = np.ones(absent.shape, bool), False
    for entry in case.entries.values():
        if entry.role == "activation_gradient" and len(entry.shape) == 3 and entry.shape[:2] == absent.shape:
            silent &= np.abs(case.tensor(entry.key)).max(2) == 0
            known = True
    silent[:, 0] &= known
    return silent


def uncomputed(values: np.ndarray) -> bool:
    """Whether what stands at padding was not computed: no number, or the same again and again."""
    finite = values[np.isfinite(values)]
    return not finite.size or bool((finite == finite.flat[0]).all())


def skipped(masks: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray]) -> Masks:
    """The masks of the tensors whose padding was not computed, while the rest was."""
    held = {key: np.asarray(tensors[key]) for key in masks if key in tensors}
    return {key: masks[key] for key, a in held.items() if uncomputed(a[masks[key]]) and not uncomputed(a[~masks[key]])}
