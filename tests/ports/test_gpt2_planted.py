"""Mistakes planted in transformers' GPT-2: `minibert check` names each, or a set that holds it; never a wrong one."""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="mistakes are planted in transformers: install minibert[oracle]")
pytest.importorskip("transformers", reason="mistakes are planted in transformers: install minibert[oracle]")
pytest.importorskip("safetensors", reason="the adapter needs it: install minibert[oracle]")

from minibert.golden import case as cases  # noqa: E402
from minibert.golden import checking  # noqa: E402
from minibert.mistakes import diagnose  # noqa: E402
from tests.ports.gpt2_planted import PLANTED, WRITTEN, Fault, candidate, written  # noqa: E402

# All of them take two minutes: every eighth and the pairs, and all with MINIBERT_NAMING=all
EVERY = os.environ.get("MINIBERT_NAMING") == "all"
ASKED = [name for i, name in enumerate(PLANTED) if EVERY or i % 8 == 0 or "_and_" in name]


def said(fault, folder):
    """The diagnosis of what transformers computes with this mistake."""
    np.savez(folder / "candidate.npz", **candidate(fault))
    return checking.report_of(cases.folder() / "gpt2" / fault.case, folder / "candidate.npz", dtype="float32").diagnosis


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ASKED)
def test_it_is_named(name, tmp_path):
    wanted, diagnosis = PLANTED[name].ids.split(), said(PLANTED[name], tmp_path)
    assert diagnosis is not None, "nothing shows"
    assert diagnosis.ids == wanted, diagnosis.lines[:3]
    several = ("pair", "several") if "_and_" in name else ("tie",)
    kinds = ("explained", "unknown") if not wanted else ("mistake",) if len(wanted) == 1 else several
    assert diagnosis.kind in kinds


@pytest.mark.parametrize("case", ["published", "probe"])
def test_without_one_nothing_is_found(case, tmp_path):
    assert said(Fault("", case=case, steps=case == "published"), tmp_path) is None


@pytest.mark.parametrize("name", WRITTEN)
def test_what_goes_wrong_from_token_to_token_is_named(name):
    case = cases.read("gpt2/generation")
    assert diagnose(case, written(name), "float32").ids == WRITTEN[name].split()
