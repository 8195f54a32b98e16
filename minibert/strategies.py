"""Hypothesis strategies drawn from signatures: arguments for any pair, ours or yours. Needs the package hypothesis.

    @given(strategies.arguments("(...,d),(d)->(...,d)", names=("x", "scale")))
    def test_mine(drawn):
        gradcheck.require(mine, mine_backward, *drawn)

Arrays come in every memory order: what assumes C order is found out.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minibert import signatures
from minibert.pairs import Pair

latest: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None
"""What `arguments` drew last: when a test has failed, the example that hypothesis shrank it to (`pytest
--minibert-failures`)."""


def _swapped(a: np.ndarray) -> np.ndarray:
    return a.swapaxes(0, -1).copy().swapaxes(0, -1)


def _gaps(a: np.ndarray) -> np.ndarray:
    return np.stack([a, a], -1)[..., 0]


def _backwards(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy())


def _broadcast(a: np.ndarray) -> np.ndarray:
    """The first part along the first axis in the place of all: one place in memory (stride 0)."""
    return np.broadcast_to(a[:1], a.shape)


# How an array may lie in memory; the values are the same in all but "broadcast".
ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "swapped axes": _swapped,
    "gaps": _gaps,
    "backwards": _backwards,
    "broadcast": _broadcast,
}


@st.composite
def sizes(draw: st.DrawFn, letters: Sequence[str], largest: int = 5) -> dict[str, Any]:
    """A size for each letter, 2 to `largest` once each in any order, further letters 2; up to two loop dimensions."""
    once = range(2, largest + 1)
    drawn = draw(st.permutations([*once, *[2] * (len(letters) - len(once))]))
    loops = draw(st.lists(st.integers(2, 3), max_size=2))
    return {**dict(zip(letters, drawn, strict=False)), "...": tuple(loops)}


@st.composite
def arguments(
    draw: st.DrawFn, signature: str, names: Sequence[str], largest: int = 5, **declared: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(differentiable arguments by name, data and constants) for a signature; read-only arrays in any `ORDERS`.

    Reals are float64. declared: data signatures as text, constants as anything else, as in `pairs.pair`.
    """
    specs, _ = signatures.parse_signature(signature)
    data = {name: signatures.parse(text) for name, text in declared.items() if isinstance(text, str)}
    constants = {name: value for name, value in declared.items() if not isinstance(value, str)}
    letters = sorted({dim for spec in [*specs, *data.values()] for dim in spec.dims if not dim.isdigit()} - {"..."})
    dims = draw(sizes(letters, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def array(spec: signatures.Spec) -> np.ndarray:
        value = np.asarray(signatures.draw(spec, dims, rng))
        kept = spec.kind == "int" or value.ndim < 2  # ids keep both ends of their range, a vector its entries
        order = draw(st.sampled_from([name for name in ORDERS if not (kept and name == "broadcast")]))
        value = ORDERS[order](value).view() if value.ndim else value
        value.flags.writeable = False
        return value

    global latest
    args = {name: array(spec) for name, spec in zip(names, specs, strict=True)}
    latest = args, {**{name: array(spec) for name, spec in data.items()}, **constants}
    return latest


def of_pair(pair: Pair, largest: int = 4) -> st.SearchStrategy:
    """`arguments` of a declared op."""
    names = list(inspect.signature(pair.forward).parameters)[: len(pair.arguments)]
    return arguments(pair.signature, names, largest, **pair.declared)
