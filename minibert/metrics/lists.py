"""The lists that measures are given, looked at."""

from typing import Any

import numpy as np

from minibert.config import listed, require, shown
from minibert.errors import InputError

Array = np.ndarray


def ratio(above: float, below: float) -> float:
    """above / below, 0 where there is nothing below."""
    return float(above / below) if below else 0.0


def array(side: list, kinds: str, expected: str) -> Array:
    """A list of numbers, or of strings, as an array of one of these kinds."""
    try:
        found = np.asarray(side)
    except (ValueError, OverflowError):  # lists of different lengths
        found = np.empty(0, object)
    fits = found.ndim == 1 and found.dtype.kind in kinds
    mixed = found.dtype.kind == "U" and not all(isinstance(value, str) for value in side)  # 1 would become "1"
    require(fits and not mixed, f"{shown(side[:3])}{' …' if len(side) > 3 else ''}: expected {expected}")
    return found


def rows(labels: Any, predictions: Any) -> tuple[list, list]:
    """Both lists, of as many rows, at least one."""
    right, guess = listed("labels", labels), listed("predictions", predictions)
    require(len(right) == len(guess), f"there are {len(right)} labels and {len(guess)} predictions: expected as many")
    require(bool(right), "there are no rows to judge")
    return right, guess


def texts(references: Any, predictions: Any, least: int = 0) -> list[tuple[list[str], str]]:
    """(right ones, at least so many, prediction) of each row."""
    found = []
    for number, (right, guess) in enumerate(zip(*rows(references, predictions), strict=True)):
        several = [right] if isinstance(right, str) else listed(f"the right texts of row {number}", right)
        require(len(several) >= least, f"row {number} has no reference")
        for text in (*several, guess):
            if not isinstance(text, str):
                raise InputError(f"row {number} has {shown(text)}: expected a text")
        found.append((several, guess))
    return found
