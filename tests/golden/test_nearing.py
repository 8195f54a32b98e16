"""Several mistakes in one block: found one after the other, where neither one nor two explain it."""

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose, nearing
from minibert.mistakes.swap import sites
from minibert.mistakes.trials import Trials
from minibert.mistakes.words import Found

NAME = "bert/published"
THREE = {  # what a port does at once in each layer's attention, of which no two explain it
    "A01": ("reshaped without exchange of axes", "every layer's attention split value"),
    "A06": ("not scaled", ""),
    "C15": ("no bias", "every layer's attention value"),
}
AT = "forward/bert.encoder.layer.0.attention.output.dense"


@pytest.fixture
def three(monkeypatch):
    """The case and what a port with these mistakes hands out, where the catalogue has these entries and some others."""
    case = cases.read(NAME)
    subject = case.subject()
    at = sites(subject)
    ids = (*THREE, "A30", "E14", "G01", "L03")
    some = [Found(CATALOGUE[id], mutant) for id in ids for mutant in CATALOGUE[id].mutants(subject, at)]
    monkeypatch.setattr(Trials, "mutants", some)
    for one in some:
        if THREE.get(one.id) == (one.mutant.what, one.mutant.where):
            subject = one.mutant.change(subject)
    got = observe(subject, ())
    return case, {key: a for key, a in got.items() if key.endswith(("embeddings", "attention.output.dense", "output"))}


def test_three_mistakes_in_one_block_are_named(three):
    said = diagnose(*three, "float64")
    assert said.unexplained is None
    assert {one.id for one in said.names} == {*THREE}


def test_without_it_they_are_not(three, monkeypatch):
    monkeypatch.setattr(nearing, "nearing", lambda cover, acting, others, key, most: ([], most))
    assert diagnose(*three, "float64").unexplained == AT


def test_what_comes_near_and_not_there_has_no_name(three):
    """One more thing is done that no entry is about."""
    case, wrong = three
    odd = {**wrong, AT: wrong[AT] * (1 + 0.01 * np.random.default_rng(0).standard_normal(wrong[AT].shape))}
    said = diagnose(case, odd, "float64")
    assert said.unexplained == AT
    assert all(one.mutant.where.startswith("layer 1") for one in said.names)


def test_where_runs_are_short_nothing_is_tried(three, monkeypatch):
    whole = nearing.nearing
    monkeypatch.setattr(nearing, "nearing", lambda *args: whole(*args[:-1], 10))
    assert diagnose(*three, "float64").unexplained == AT
