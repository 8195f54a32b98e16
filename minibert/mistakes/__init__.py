"""The catalogue of known mistakes, executable: each entry a switch that turns the right computation into the wrong one.

    CATALOGUE["A04"].right                                what should stand there
    CATALOGUE["A04"].mutants(subject)                     the mistake at each place where it can be made
    diagnose(case, candidate, "float32").lines            what explains somebody's tensors
"""

from minibert.mistakes import (  # noqa: F401  the sections enter their mistakes
    activations,
    attention,
    checkpoints,
    data,
    detection,
    embeddings,
    heads,
    losses,
    norms,
    optimizer,
    sharing,
    spans,
    tokens,
)
from minibert.mistakes.catalogue import CATALOGUE, Mistake, Mutant
from minibert.mistakes.diagnosis import Diagnosis, diagnose

_entered = sorted(CATALOGUE.items(), key=lambda item: ("TEALGHSODC".index(item[0][0]), item[0]))
CATALOGUE.clear()
CATALOGUE.update(_entered)

__all__ = ["CATALOGUE", "Diagnosis", "Mistake", "Mutant", "diagnose"]
