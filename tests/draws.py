"""What tests of blocks share: draws that are the same whichever tests ran before, and when two arrays are the same."""

import numpy as np
import pytest

from minibert import tree

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
