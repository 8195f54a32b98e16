"""Each planted mistake shows, shows first where it says, and leaves no trace in the port afterwards."""

import functools
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a port in torch: install minibert[oracle]")

from . import planted, probe  # noqa: E402  torch first, so that a run without it skips
from . import torch_from_spec as port  # noqa: E402

EVERY = planted.PLANTED | planted.PAIRS
UNTOUCHED = 1e-12  # float64 rounding: a fault may compute a right tensor in another order


@functools.cache
def truth(key: str) -> dict[str, np.ndarray]:
    """The right port on the case of the first mistake with this case."""
    ws, batch, config, o = planted.case(key)
    return port.run(ws, batch, config, optimizer=o)


def case_of(name: str) -> str:
    """The first mistake that has the same case."""
    return next(other for other in EVERY if EVERY[other].needs == EVERY[name].needs)


def errors(candidate: dict, right: dict) -> dict[str, float]:
    """max|a - b| over max|b|, or over a thousandth of the largest of its kind if that is more; NaN is infinite.

    Kinds are the gradients, the first and the second moments, the parameters; a forward tensor stands alone. A tensor
    that the candidate lacks has no error.
    """
    largest: Counter = Counter()

    def kind(name: str) -> str:
        moment = next((m for m in ("adam_m", "adam_v") if m in name), "")
        return name if name.startswith("forward/") else name.split("/")[0] + moment

    for name, b in right.items():
        largest[kind(name)] = max(largest[kind(name)], float(np.abs(b).max()))
    out = {}
    for name, b in right.items():
        if name in candidate:
            scale = max(float(np.abs(b).max()), 1e-3 * largest[kind(name)], 1e-300)
            error = float(np.abs(candidate[name] - b).max()) / scale
            out[name] = error if np.isfinite(error) else np.inf
    return out


@pytest.mark.parametrize("name", EVERY)
def test_shows_first_where_it_says(name):
    """Some tensor changes by more than 1e-6, and none before `first` changes at all."""
    ws, batch, config, o = planted.case(name)
    o = o if "steps/" in EVERY[name].first else None
    found = errors(planted.candidate(name, ws, batch, config, optimizer=o), truth(case_of(name)))
    moved = [n for n, e in found.items() if e > UNTOUCHED]
    if EVERY[name].unobservable:
        assert not moved, f"{moved[0]} shows it"
    else:
        assert max(found.values()) > 1e-6
        assert moved[0] == EVERY[name].first


def test_the_port_is_itself_again():
    """After all of it, the functions are those of the file."""
    with planted.planted("scale_of_width"):
        assert port.scale is not planted.right.scale
    assert all(getattr(port, n) is f for n, f in vars(planted.right).items())
    ws, batch, config, o = planted.case("scale_of_width")
    again = port.run(ws, batch, config, optimizer=o)
    assert all(np.array_equal(x, again[n]) for n, x in truth("segments_all_zero").items())


def test_inputs_are_not_written_to():
    """An edit makes new arrays: the next mistake gets the same weights and batch."""
    ws, batch, config, _ = planted.case("scale_of_width")
    for fault in EVERY.values():
        fault.weights(ws, config)
        fault.inputs(batch)
    assert all(np.array_equal(x, ws[n]) for n, x in probe.weights(probe.CONFIG, seed=1).items())
    assert all(np.array_equal(x, batch[n]) for n, x in probe.inputs(probe.CONFIG, seed=2).items() if n != "dropout")


def test_there_are_enough():
    """At least 70 mistakes, at least 10 of them without a name."""
    ids = [fault.mistake for fault in planted.PLANTED.values()]
    assert len(ids) >= 70
    assert ids.count(None) >= 10
