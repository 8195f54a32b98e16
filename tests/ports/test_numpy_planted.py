"""Backwards written by hand in plain NumPy: `minibert check` names what is wrong in them."""

import os
from random import Random

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import checking
from tests.ports.numpy_planted import PLANTED, Fault, candidate

# .ci/run asks all of them, two seconds each; the README's command draws one
EVERY = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))
ASKED = [*PLANTED] if EVERY else Random(1).sample([*PLANTED], 1)


def said(planted, folder):
    np.savez(folder / "candidate.npz", **candidate(planted))
    return checking.report_of(
        cases.folder() / "bert" / planted.case, folder / "candidate.npz", dtype="float32"
    ).diagnosis


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ASKED)
def test_it_is_named(name, tmp_path):
    diagnosis = said(PLANTED[name], tmp_path)
    assert {*diagnosis.ids} == {*PLANTED[name].ids.split()}, diagnosis.lines[:3]
    assert diagnosis.kind == ("mistake" if len(diagnosis.ids) == 1 else "tie" if diagnosis.ids else "explained")


@pytest.mark.parametrize("case", ["published", *(("dropout", "untied") if EVERY else ())])
def test_without_one_nothing_is_found(case, tmp_path):
    assert said(Fault(case, "full"), tmp_path) is None
