"""Mistakes in ops that no family has yet, made in the op's own case: each is a pair unless that is the mistake."""

import os
from functools import cache
from random import Random

import numpy as np
import pytest

from minibert import gradcheck
from minibert.golden import case as cases
from minibert.golden import kills
from minibert.golden.kinds import op
from minibert.mistakes import CATALOGUE, matrix
from minibert.mistakes.swap import Swaps

EVERY_MUTANT = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))  # else one of each case
CASES = ["bilinear-square", "convolution", "crf_loss", "lstm", "max_over_time-negative", "mean_over_time",
         "relative_shift", "scalar_mix"]


@cache
def alone():
    """How an op's case is asked for its mistakes; the op stands by itself, whichever it is."""
    return matrix.Runs(cases.read("ops/lstm"))


def replacements(case):
    """[(id, what, Replacement)] of the mutants of all entries that the case catches."""
    key = ((case.facts["pair"], 0),)
    (site,) = [site for site in alone().sites if site.key == (("lstm", 0),)]
    at, found = [type(site)(case.facts["pair"], case.facts["pair"], key)], []
    for id in kills.of(case):
        for mutant in CATALOGUE[id].mutants(alone().subject, at):
            swaps = [factory for factory in mutant.change(alone().subject).around if isinstance(factory, Swaps)]
            found += [(id, mutant.what, held.at[key]) for held in swaps]
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_replacement_is_a_pair_unless_its_backward_is_the_mistake(name):
    case = cases.read(f"ops/{name}")
    given = {key: case.tensor(key) for key in case.entries if key.startswith("inputs/")}
    arguments = op._arguments(case.facts["pair"], given, case.facts["config"], np.float64)
    found = replacements(case)
    assert len(found) >= 2
    for id, what, pair in found if EVERY_MUTANT else Random(name).sample(found, 1):
        error = max(gradcheck.check(pair.forward, pair.backward, *arguments).values())
        assert (error < gradcheck.DIFFERENCE_BAR) if pair.faithful else (error > 1e-3), (id, what, error)


def test_an_op_that_no_model_has_stands_by_itself():
    """At one site, beside those of the model in whose place it stands, which has others."""
    sites = [site.path for site in alone().sites if site.name == "lstm"]
    assert sites == ["lstm"]
    assert len(alone().sites) > 20
