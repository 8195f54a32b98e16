"""What tests share: cases that are drawn where there are many; numbers that are the same whichever tests ran before;
when two arrays are the same.
"""

import os
from random import Random

import numpy as np
import pytest

from minibert import tree

EVERY = bool(os.environ.get("MINIBERT_EVERY_FAMILY"))
NOT_DRAWN = pytest.mark.skipif(not EVERY, reason="others were drawn: set MINIBERT_EVERY_FAMILY, as CI does")


def some(cases, most):
    """Parameters of a test: so many of the cases, other ones with each that comes; the others wait for `.ci/run`."""
    drawn = Random(len(cases)).sample(range(len(cases)), min(most, len(cases)))
    whole = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=() if i in drawn else NOT_DRAWN) for i, case in enumerate(whole)]


RNG = np.random.default_rng(0)
STATE = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def the_same_draws():
    """Whichever tests ran before; of a file that imports it, of every test there."""
    RNG.bit_generator.state = STATE


def drawn(shapes):
    """Normal arrays of a tree of shapes."""
    return tree.map(lambda shape: 0.5 * RNG.standard_normal(shape), shapes)


def same(got, due, bar=1e-12):
    assert np.shape(got) == np.shape(due)
    assert np.abs(got - due).max() <= bar * np.abs(due).max()
