"""Mistakes in ops that no family has yet, made in the op's own case: each is a pair unless that is the mistake."""

import os
from random import Random

import numpy as np
import pytest

from minibert import gradcheck
from minibert.golden import case as cases
from minibert.golden.kinds import op
from minibert.mistakes import CATALOGUE, matrix
from minibert.mistakes.swap import Swaps

EVERY_MUTANT = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))  # else one of each case
CASES = ["bilinear-square", "convolution", "crf_loss", "lstm", "max_over_time-negative", "mean_over_time", "scalar_mix"]


def replacements(name):
    """[(id, what, Replacement)] of a case's mutants."""
    case = cases.read(f"ops/{name}")
    tried, key = matrix.Runs(case), ((case.facts["pair"], 0),)
    found = []
    for id, mistake in CATALOGUE.items():
        for mutant in mistake.mutants(tried.subject, tried.sites) if mistake.mutants else []:
            swaps = [factory for factory in mutant.change(tried.subject).around if isinstance(factory, Swaps)]
            found += [(id, mutant.what, held.at[key]) for held in swaps if key in held.at]
    return case, found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_replacement_is_a_pair_unless_its_backward_is_the_mistake(name):
    case, found = replacements(name)
    assert len(found) >= 2
    given = {key: case.tensor(key) for key in case.entries if key.startswith("inputs/")}
    arguments = op._arguments(case.facts["pair"], given, case.facts["config"], np.float64)
    for id, what, pair in found if EVERY_MUTANT else Random(name).sample(found, 1):
        error = max(gradcheck.check(pair.forward, pair.backward, *arguments).values())
        assert (error < gradcheck.DIFFERENCE_BAR) if pair.faithful else (error > 1e-3), (id, what, error)


def test_an_op_that_no_model_has_stands_by_itself():
    """Its one site; an op that models have keeps theirs."""
    alone = [site for site in matrix.Runs(cases.read("ops/lstm")).sites if site.name == "lstm"]
    assert [(site.path, site.key) for site in alone] == [("lstm", (("lstm", 0),))]
    assert all(site.path != "linear" for site in matrix.Runs(cases.read("ops/linear")).sites)
