"""The catalogue of known mistakes, executable: each entry a switch that turns the right computation into the wrong one.

    CATALOGUE["A04"].right                                what should stand there
    CATALOGUE["A04"].mutants(subject)                     the mistake at each place where it can be made
    diagnose(case, candidate, "float32").lines            what explains somebody's tensors

Entries stand in `ops/`, what can go wrong in any family, and in `families/NAME.py`, a family's own; files are found by
listing. An id is a letter and a number (A04), a newer family's own its name and a number (gpt2-01). It never changes
and is never used again.
"""

import pkgutil
from importlib import import_module

from minibert.mistakes import families, ops
from minibert.mistakes.catalogue import CATALOGUE, Mistake, Mutant
from minibert.mistakes.search import diagnose
from minibert.mistakes.words import Diagnosis, Found

MODULES = [
    import_module(f"{package.__name__}.{module.name}")
    for package in (ops, families)
    for module in pkgutil.iter_modules(package.__path__)
]  # they enter their mistakes
_entered = sorted(CATALOGUE.items())
CATALOGUE.clear()
CATALOGUE.update(_entered)

__all__ = ["CATALOGUE", "Diagnosis", "Found", "Mistake", "Mutant", "diagnose"]
