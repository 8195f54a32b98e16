"""A value that a mutant leaves open is found from somebody's tensors, said, and held to the same bar as a mistake."""

import math
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import tree
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose, solving
from minibert.mistakes.catalogue import UNLISTED
from minibert.mistakes.swap import sites

EVERY = {**CATALOGUE, **UNLISTED}
ASKED = 1 if os.environ.get("MINIBERT_EVERY_MUTANT") else 4  # every so many of the values below


# ---- One unknown -----------------------------------------------------------------------------------------------------
def solved(curve, truth, likely, unit=1e-6, **fields):
    """The value solved for where curve(value) is the tensor, and how often it was computed."""
    runs = []

    def run(value):
        runs.append(value)
        return {"y": curve(value)}

    free = solving.Free(lambda value: value, likely, **fields)
    mutant = SimpleNamespace(free=free)
    found = solving.solved(mutant, run, {"y": curve(truth)}, {"y": unit})
    return found, len(runs)


X = np.linspace(0.1, 2, 12)


@pytest.mark.parametrize(
    ("curve", "truth", "likely"),
    [
        (lambda v: v * X, 0.37, (1.0,)),  # linear: one step
        (lambda v: 1 / np.sqrt(1e-4 * X + v), 3e-5, (1e-12, 1e-6, 1e-5, 1e-3)),  # an eps
        (lambda v: np.exp(-v * X), 3.5, (1.0, 10.0)),
        (lambda v: np.log(X + v), 4096.0, (8.0, 64.0)),
        (lambda v: np.tanh(X * v), 8**-0.5, (1.0, 0.1)),
    ],
)
def test_the_value_is_found_in_a_few_runs(curve, truth, likely):
    found, runs = solved(curve, truth, likely)
    assert found == pytest.approx(truth, rel=1e-9)
    assert runs < 40


def test_a_value_that_people_write_is_preferred_where_it_explains_as_much():
    """Of a tensor known to a thousandth, 0.31 is as good as 0.30997; of one known to a millionth, it is not."""
    assert solved(lambda v: v * X, 0.30997, (1.0,), unit=1e-4)[0] == 0.31
    assert solved(lambda v: v * X, 0.30997, (1.0,))[0] == pytest.approx(0.30997, rel=1e-6)


def test_nothing_is_found_where_no_value_explains():
    truth, curve = np.sin(9 * X), lambda v: v * X
    mutant = SimpleNamespace(free=solving.Free(lambda value: value, (1.0, 2.0)))
    runs = []
    found = solving.solved(mutant, lambda v: (runs.append(v), {"y": curve(v)})[1], {"y": truth}, {"y": 1e-6})
    assert found is None
    assert len(runs) < 12


def test_one_number_is_explained_by_a_value_that_people_write_alone():
    """Any one loss has a factor that explains it: 0.1 does by no chance, 0.3183 would by any."""
    assert solved(lambda v: v * X[:1], 0.1, (1.0,))[0] == 0.1
    assert solved(lambda v: v * X[:1], 0.3183, (1.0,))[0] is None
    assert solved(lambda v: v * X, 0.3183, (1.0,))[0] == pytest.approx(0.3183)


def test_whole_numbers_and_bounds():
    assert solved(lambda v: np.log(X + v), 37.0, (8.0,), whole=True)[0] == 37
    assert solved(lambda v: np.log(X + v), 37.5, (8.0,), whole=True)[0] is None
    assert solved(lambda v: v * X, 3.0, (0.5,), most=1.0)[0] is None
    assert solved(lambda v: v * X, 1.0, (0.5,), due=1.0)[0] is None  # what is due is no mistake


def test_what_cannot_be_run_is_no_value():
    mutant = SimpleNamespace(free=solving.Free(lambda value: value, (1.0,)))
    for run in (lambda v: None, lambda v: {"y": None}, lambda v: {"y": X[:2]}, lambda v: {"y": X * math.nan}):
        assert solving.solved(mutant, run, {"y": X}, {"y": 1.0}) is None
    assert solving.solved(SimpleNamespace(free=None), lambda v: {"y": X}, {"y": X}, {"y": 1.0}) is None


def test_what_is_due_has_no_mutant_and_may_be_asked_for_all_the_same():
    """ELECTRA's weight of a loss: a configuration that changes nothing is none."""
    subject = cases.read("electra/joint").subject()
    at = sites(subject)
    free = [mutant.free for mutant in CATALOGUE["S06"].mutants(subject, at) if mutant.free is not None]
    assert free
    assert [one.of(one.due) for one in free] == [None] * len(free)
    one = SimpleNamespace(free=solving.Free(lambda v: None if v == 1 else v, (2.0,), 1.0))
    run = lambda v: {"y": v * X}  # noqa: E731
    assert solving.solved(one, run, {"y": 0.37 * X}, {"y": 1e-6}) == pytest.approx(0.37, rel=1e-9)


def test_a_factor_of_0_leaves_something_out_and_is_no_other_factor():
    assert solved(lambda v: 1 + v * X, 0.0, (0.5, 2.0), least=-1e4)[0] is None
    assert solved(lambda v: 1 + v * X, 1e-3, (0.5, 2.0), least=-1e4)[0] == 1e-3
    assert solved(lambda v: 1 + v * X, 0.0, (0.5, 2.0, 0.0), least=-1e4)[0] == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (1e-12, "1e-12"), (0.1, "0.1"), (8**-0.5, "1/√8"), (0.05, "0.05"), (3e-3, "3e-3"), (1e4, "1e+04"),
     (0.3099712, "0.31"), (0.0, "0"), (-2.0, "-2"), (37.0, "37"), (1000.0, "1000"), (65536.0, "65536")],
)  # fmt: skip
def test_values_are_written_as_people_write_them(value, text):
    assert solving.shown(value) == text


# ---- In a case -------------------------------------------------------------------------------------------------------
def candidate_of(case, mutant):
    subject = mutant.change(case.subject())
    subject = replace(subject, params=tree.map(lambda a: a.astype(np.float32), subject.params))
    tensors = observe(subject, tuple(case.facts["steps"]))
    tensors = mutant.after(tensors) if mutant.after else tensors
    return {k: a for k, a in tensors.items() if k in case.entries and np.shape(a) == case.entries[k].shape}


def asked(name, id, words, value, where="", keep=lambda key: True):
    """(what was found, the mutant planted): of the entry's mutants that say these words, with a value."""
    case = cases.read(name)
    made = EVERY[id].mutants(case.subject(), sites(case.subject()))
    free = next(m.free for m in made if m.free and words in m.what and m.where == where)
    planted = free.of(value)
    given = {key: array for key, array in candidate_of(case, planted).items() if keep(key)}
    with np.errstate(all="ignore"):
        return diagnose(case, given, "float32"), planted


LISTED = [
    ("bert/published", "S24", "next_sentence counts", 0.7, "", "next_sentence counts 0.7, where 1 is due"),
    ("bert/published", "L01", "eps", 3e-6, "", "eps 3e-6, where 1e-12 is due"),
    ("bert/published", "E08", "eps", 1e-4, "encoder", "eps 1e-4, where 1e-12 is due"),
    ("gpt2/published", "L01", "eps", 2e-3, "", "eps 2e-3, where 1e-5 is due"),
    ("bert/published", "A15", "lowered", 3.5, "", "masked scores lowered by 3.5, which leaves them in sight"),
    ("bert/published", "H18", "rows of zeros", 37.0, "", "37 rows of zeros behind the vocabulary"),
    ("gpt2/published", "H18", "rows of zeros", 1000.0, "", "1000 rows of zeros behind the vocabulary"),
    ("bert/published", "S14", "of each label", 0.15, "", "0.15 of each label spread over all classes"),
    ("bert/published", "O03", "eps", 3e-5, "", "eps 3e-5, where 1e-6 is due"),
    ("bert/published", "E23", "position", 3.0, "", "position rows times 3"),
    ("bert/published", "O56", "decay", 0.03, "", "weight decay 0.03, where 0.01 is due"),
    ("bert/published", "O57", "warm-up", 6.0, "", "warm-up steps 6, where 4 is due"),
    ("bert/published", "O43", "beta2", 0.97, "", "beta2 0.97, where 0.999 is due"),
    ("bert/published", "O56", "peak", 3e-3, "", "peak rate 3e-3, where 1e-3 is due"),
    ("bert/dropout", "D24", "not 1/(1", 1.7, "", "kept values times 1.7, not 1/(1 - rate)"),
]


@pytest.mark.parametrize(("name", "id", "words", "value", "where", "said"), LISTED[::ASKED])
def test_an_entry_s_value_is_said(name, id, words, value, where, said):
    result, _ = asked(name, id, words, value, where)
    assert (id, said) in {(found.id, found.mutant.what) for found in result.mistakes}, result.lines
    assert not any(found.mutant.free for found in result.mistakes)


UNNAMED = [
    ("bert/published", "another scale of the scores", "scores", 0.31, "", "scores times 0.31, where 1/√4 is due"),
    ("bert/published", "another scale of the scores", "scores", 7**-0.5, "layer 1", "scores times 1/√7, where 1/√4"),
    ("bert/published", "keys of zeros that are seen", "keys", 11.0, "", "11 keys of zeros"),
    ("bert/published", "another denominator", "divided", 17.0, "", "divided by 17,"),
]


@pytest.mark.parametrize(("name", "id", "words", "value", "where", "said"), UNNAMED[::ASKED])
def test_what_explains_exactly_and_has_no_entry_is_the_headline(name, id, words, value, where, said):
    result, _ = asked(name, id, words, value, where)
    assert (result.kind, result.ids) == ("explained", []), result.lines
    assert result.lines[0].startswith(f"what explains it exactly: {said}")
    assert result.lines[0].endswith(where)


@pytest.mark.skipif(ASKED > 1, reason="tries all there is: set MINIBERT_EVERY_MUTANT, as CI does")
def test_a_loss_alone_has_no_value_that_nobody_writes():
    """Every wrong loss is the right one times something."""
    alone = lambda key: key == "forward/loss.masked_lm"  # noqa: E731
    result, _ = asked("bert/published", "another denominator", "divided", 17.313, keep=alone)
    assert result.kind == "unknown", result.lines


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["bert/published", "bert/dropout", "gpt2/published", "electra/joint"])
def test_every_open_value_moves_its_mutant_and_nothing_else(name):
    """So that what was made at one value can be solved for: the same places, the same section, another computation."""
    case = cases.read(name)
    subject, at = case.subject(), sites(case.subject())
    made = [(id, m) for id, entry in EVERY.items() if entry.mutants and entry.concerns(subject.family)
            for m in entry.mutants(subject, at) if m.free and not m.where]  # fmt: skip
    assert len(made) >= 10
    for id, mutant in made:
        one, other = (mutant.free.of(value) for value in mutant.free.likely[:2])
        assert (one.where, one.section, one.sites) == (mutant.where, mutant.section, mutant.sites), id
        assert one.what != other.what, id
        assert mutant.what == one.what, id
