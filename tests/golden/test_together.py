"""Several mistakes at once, of which one hides from the other what tells its name."""

import re

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import compare
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose, nearing, search
from minibert.mistakes.evidence import Evidence
from minibert.mistakes.order import Order
from minibert.mistakes.reach import Reach
from minibert.mistakes.rounds import Memory, Round
from minibert.mistakes.swap import sites
from minibert.mistakes.trials import Trials
from minibert.mistakes.words import Found

NAME = "bert/published"
OUTPUT = "forward/bert.encoder.layer.1.output"


def found(name, id, what, where=""):
    subject = cases.read(name).subject()
    mutants = [m for made in CATALOGUE[id].mutants(subject, sites(subject)) for m in (made, *made.inside)]
    return Found(CATALOGUE[id], next(m for m in mutants if (m.what, m.where) == (what, where)))


def handed_out(name, *mistakes, keys=lambda key: True):
    """What a port with these mistakes hands out in float32."""
    case = cases.read(name)
    subject = case.subject()
    for one in mistakes:
        subject = one.mutant.change(subject)
    got = observe(subject, ())
    return {key: a.astype(np.float32) for key, a in got.items() if key in case.entries and keys(key)}


def only(monkeypatch, name, *ids):
    """The mutants of these entries, which are all that there is."""
    subject = cases.read(name).subject()
    at = sites(subject)
    some = [Found(CATALOGUE[id], mutant) for id in ids for mutant in CATALOGUE[id].mutants(subject, at)]
    monkeypatch.setattr(Trials, "mutants", some)


def said(name, candidate):
    return diagnose(cases.read(name), candidate, "float32")


def runs_of(name, candidate):
    case = cases.read(name)
    return Trials(case, case.subject(), candidate, "float32", compare.compare(case, candidate, "float32"), None)


def of_outputs(key):
    """The last hidden state, logits and parameters' gradients."""
    return key in (OUTPUT, "forward/cls.predictions") or (key.startswith("gradients/") and key.endswith("weight"))


@pytest.mark.parametrize("wide", [True, False])
def test_what_is_found_in_one_place_is_sought_in_all(wide, monkeypatch):
    """In the head alone the first can be told; the layers have it, too, and no mask."""
    both = found(NAME, "C19", "1 + γ"), found(NAME, "A12", "no mask")
    candidate = handed_out(NAME, *both, keys=of_outputs)
    only(monkeypatch, NAME, "C19", "A12")
    monkeypatch.setattr(search, "MOST_PAIRS", 0)
    monkeypatch.setattr(nearing, "MOST", 0)
    if not wide:
        monkeypatch.setattr(search._Search, "_widened", lambda self, evidence, acting: False)
    got = said(NAME, candidate)
    assert (got.unexplained is None) == wide
    assert [(one.id, one.mutant.where) for one in got.names] == (
        [("C19", ""), ("A12", "")] if wide else [("C19", "mlm")]
    )


@pytest.mark.parametrize("wide", [True, False])
def test_so_is_it_of_gradients_alone(wide, monkeypatch):
    """The discriminator's tensors tell its activation; in the generator another loss hides it."""
    name = "electra/published"
    both = found(name, "G04", "tanh is hard-coded"), found(name, "S23", "targets but each text's first alone count")
    candidate = handed_out(name, *both, keys=lambda key: re.match(r"gradients/.*(weight|bias)$", key))
    only(monkeypatch, name, "G04", "S23")
    monkeypatch.setattr(search, "MOST_PAIRS", 0)
    if not wide:
        monkeypatch.setattr(search._Search, "_widened", lambda self, evidence, acting: False)
    got = said(name, candidate)
    assert (got.unexplained is None) == wide, got.lines
    assert [one.id for one in got.names] == (["G04", "S23"] if wide else []), got.lines


def test_what_is_acceptable_is_no_mistake_beside_one(monkeypatch):
    both = found(NAME, "G04", "ReLU is hard-coded"), found(NAME, "E10", "the padding row's rule")
    only(monkeypatch, NAME, "G04", "E10")
    got = said(NAME, handed_out(NAME, *both))
    assert got.lines[0] == "the mistake is G04: ReLU is hard-coded; acceptable beside it: E10: the padding row's rule"
    assert [one.id for one in got.names] == ["G04", "E10"]


def test_rows_without_a_gradient_say_which_were_looked_up():
    both = found(NAME, "E03", "positions start at 1"), found(NAME, "L04", "the variance divides by n - 1")
    runs = runs_of(NAME, handed_out(NAME, *both, keys=of_outputs))
    evidence = runs.forward
    memory = Memory(Reach(runs, evidence, Order(runs)))
    this = Round(runs, evidence, memory.reach.order, memory, [], runs.trial((), evidence).residuals > compare.SUSPECT,
                 runs.mutants, False, 0)  # fmt: skip
    acting = [one for one in runs.mutants if one.id in ("E03", "E19", "L04")]
    sure = this._by_rows([(one,) for one in acting])
    assert [one.mutant.what for one in acting if id(one) in sure] == ["positions start at 1"]  # the padding id is 0


@pytest.mark.parametrize("seen", [True, False])
def test_what_changes_less_than_another_is_far_off_is_one_of_a_pair(seen, monkeypatch):
    """The table lacks the decoder's part, and, by less, its padding row is not still."""
    both = (found(NAME, "E10", "the padding row's rule"),
            found(NAME, "H01", "the table lacks the decoder's gradient"))  # fmt: skip
    candidate = handed_out(NAME, *both, keys=lambda key: key.startswith("gradients/") and key.endswith("weight"))
    only(monkeypatch, NAME, "E10", "H01")
    if not seen:
        monkeypatch.setattr(Evidence, "differ", lambda self, one, other: np.zeros(len(self.keys), bool))
    got = said(NAME, candidate)
    assert (got.kind, got.ids) == (("pair", ["E10", "H01"]) if seen else ("unknown", []))


def test_a_gradient_of_0_is_no_name_while_what_is_before_it_is_wrong(monkeypatch):
    """Without token types there is none for their table, and nobody has forgotten it."""
    both = found(NAME, "L20", "the attention has no residual"), found(NAME, "E01", "no token types added")
    candidate = handed_out(NAME, *both, keys=lambda key: key.startswith("gradients/") and key.endswith("weight"))
    only(monkeypatch, NAME, "E30")
    assert said(NAME, candidate).ids == []


def test_what_is_frozen_in_one_place_is_not_what_is_lost_everywhere():
    """The other layer's gradients, which would tell, were not handed out."""
    wrong = found(NAME, "O38", "linear weight and bias frozen", "layer 1 attention value")
    own = re.compile(r"gradients/.*layer\.1\.attention\.self\..*(weight|bias)")
    candidate = handed_out(NAME, wrong, keys=own.fullmatch)
    assert {"A36", "O38"} <= {*said(NAME, candidate).ids}


def test_a_third_that_is_wrong_did_not_fall_the_other_way_in_rounding(monkeypatch):
    name = "gpt2/published"
    both = (found(name, "D33", "the loss's log-softmax in float16, step by step"),
            found(name, "O52", "dW of the attention value from what the attention value gave", "layer 1"))  # fmt: skip
    candidate = handed_out(name, *both, keys=re.compile("gradients/.*(weight|bias)").fullmatch)
    only(monkeypatch, name, "D33", "O52")
    assert said(name, candidate).ids == ["D33", "O52"]


def test_what_cannot_be_forced_explains_nothing_that_it_leaves_as_it_is():
    """These positions are the right ones in the first batch; as rows they don't fit into a forced run."""
    name, key = "gpt2/published", "gradients/transformer.h.1.attn"
    candidate = handed_out(name)
    candidate[key] = 2 * candidate[key]
    runs = runs_of(name, candidate)
    one = next(one for one in runs.mutants if one.id == "E04" and "not the padding id" in one.mutant.what
               and not any(word in one.mutant.what for word in ("RoBERTa", "mask")))  # fmt: skip
    right, trial = (runs.trial(some, runs.evidence) for some in ((), (one,)))
    assert runs._forced((one,), runs.evidence, runs.subject) is None
    assert (right.residuals > compare.SUSPECT).sum() == 2
    assert np.allclose(right.residuals, trial.residuals)


def test_a_head_that_reads_another_layer_is_not_a_layer_left_out():
    name = "electra/discriminator"
    one = found(name, "H30", "the rtd head reads the last layer but one")
    candidate = handed_out(name, one, keys=lambda key: key.startswith("forward/"))
    assert said(name, candidate).ids == ["H30"]


def test_no_eps_is_an_eps_and_why_a_default_of_the_configuration():
    name = "bert/probe"
    one = found(name, "L01", "eps 1e-12 or less, where 1e-3 is due")
    got = said(name, handed_out(name, one, keys=lambda key: key.startswith("forward/")))
    assert [str(one) for one in got.names] == ["L01: eps 1e-12 or less, where 1e-3 is due"]
    assert {one.id for one in got.mistakes if one.behind} == {"C09"}


def test_one_more_is_divided_by():
    name = "bert/release"
    one = found(name, "S05", "denominator plus 1")
    got = said(name, handed_out(name, one, keys=lambda key: key.startswith("forward/")))
    assert got.kind == "tie"
    assert {"S03", "S05"} <= {*got.ids}  # of 9 slots one is empty
