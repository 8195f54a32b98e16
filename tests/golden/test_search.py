"""The search for a mistake, step by step: what each is there for fails without it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from minibert import tree
from minibert.golden import blocks, compare
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose, ending, rounds
from minibert.mistakes.catalogue import FORWARD, GRADIENTS
from minibert.mistakes.cover import Part, grouped
from minibert.mistakes.order import Order
from minibert.mistakes.reach import Reach
from minibert.mistakes.rounds import Later, Memory, Round
from minibert.mistakes.swap import sites
from minibert.mistakes.trials import Trials
from minibert.mistakes.words import Found

NAME = "bert/published"


def found(id, what, where=""):
    """The mutant of an entry with these words, at this place."""
    subject = cases.read(NAME).subject()
    every = (m for whole in CATALOGUE[id].mutants(subject, sites(subject)) for m in (whole, *whole.inside))
    return Found(CATALOGUE[id], next(m for m in every if (m.what, m.where) == (what, where)))


def tensors(*mistakes, of=FORWARD):
    """What a port with these mistakes hands out in float32: its forward pass, or its parameters' gradients."""
    case = cases.read(NAME)
    subject = case.subject()
    for one in mistakes:
        subject = one.mutant.change(subject)
    steps = (1,) if of not in (FORWARD, GRADIENTS) else ()
    got = {key: a.astype(np.float32) for key, a in observe(subject, steps).items() if key in case.entries}
    keys = [key for key in got if key.startswith(f"{of}/")]
    return {key: got[key] for key in keys if of == FORWARD or key.endswith(("weight", "bias"))}


def runs_of(candidate):
    case = cases.read(NAME)
    return Trials(case, case.subject(), candidate, "float32", compare.compare(case, candidate, "float32"), None)


def round_of(runs, memory, before=(), kind=Round):
    """A round on the forward pass, or on gradients alone."""
    evidence = runs.forward if kind is Round else runs.evidence
    wrong = runs.trial((), evidence).residuals > compare.SUSPECT
    runs.base = tuple(one for part in before for one in part.found)
    chosen = [one for one in runs.mutants if one.mutant.section in (FORWARD, GRADIENTS)]
    return kind(runs, evidence, memory.reach.order, memory, [*before], wrong, chosen, False, 0)


def memory_of(runs, evidence):
    return Memory(Reach(runs, evidence, Order(runs)))


@pytest.fixture
def forced(monkeypatch):
    """The arguments of each forced run."""
    made, real = [], blocks.Forced
    monkeypatch.setattr(blocks, "Forced", lambda *args, **how: (made.append(args), real(*args, **how))[1])
    return made


def said(monkeypatch, candidate, *each):
    """The names where the rounds find these, with what gives the same, one a round."""
    waiting = iter(each)

    def parts(_):
        one, *tied = next(waiting, None) or [None]
        return [Part((one,), tuple((other,) for other in tied))] if one else []

    monkeypatch.setattr(rounds.Round, "parts", parts)
    return [str(one) for one in diagnose(cases.read(NAME), candidate, "float32").names]


def test_a_part_without_which_nothing_more_is_wrong_is_dropped(monkeypatch):
    """One was found before another that explains the same, and all the rest."""
    first, other = (found("A06", "not scaled", f"layer {i}") for i in range(2))
    candidate = {key: a for key, a in tensors(first).items() if "layer.0" in key}
    assert said(monkeypatch, candidate, [other], [first]) == [str(first)]


def test_a_part_within_which_something_stays_wrong_is_dropped(monkeypatch):
    block = found("L21", "the residual is added after the norm", "layer 0")
    assert said(monkeypatch, tensors(found("A06", "not scaled", "layer 0")), [block]) == []


def test_a_part_that_follows_from_what_gives_the_same_as_another_is_dropped(monkeypatch):
    first, other = (found("A06", "not scaled", f"layer {i}") for i in range(2))
    both = found("A06", "not scaled")
    candidate = {key: a for key, a in tensors(both).items() if key in ("forward/bert.pooler", "forward/loss")}
    assert said(monkeypatch, candidate, [first, both], [other]) == [str(both)]


def test_gradients_tell_a_tie_of_the_forward_pass_apart(monkeypatch):
    none, zero = (found("C15", what, "layer 0 attention query") for what in ("no bias", "a bias of 0"))
    candidate = {**tensors(zero), **tensors(zero, of=GRADIENTS)}
    assert said(monkeypatch, candidate, [none, zero]) == [str(zero)]


def test_steps_tell_a_tie_of_gradients_apart(monkeypatch):
    one, other = (found("A37", what) for what in ("P dP, the sum lost", "P (1 - P) dP"))
    candidate = {**tensors(other, of=GRADIENTS), **tensors(other, of="steps/1")}
    assert said(monkeypatch, candidate, [one, other]) == [str(other)]


def test_a_run_on_top_of_what_was_found_is_part_of_a_run_of_that():
    """And gives what it gives by itself. The run of another base goes."""
    one, other = (found("A06", "not scaled", f"layer {i}") for i in range(2))
    more = found("L24", "no γ", "masked lm head")
    runs = runs_of(tensors(one))
    alone = runs.trial((one, more), runs.evidence).residuals
    for base in (one, other):
        runs.base = (base,)
        like = runs._like((base, more))
        assert like.swaps
        assert runs.like((base,)) is like
        assert len(runs.kept) == 2  # with that of the right model
    runs.base = (one,)
    np.testing.assert_array_equal(runs.trial((one, more), runs.evidence).residuals, alone)


def test_a_run_shares_another_s_calls_but_those_that_it_gives_no_tensor():
    case = cases.read(NAME)
    subject, at = case.subject(), blocks.calls(case.subject())
    rng = np.random.default_rng(0)
    every = {key: a * (1 + 0.1 * rng.normal(size=a.shape)) for key, a in {**tensors(), **tensors(of=GRADIENTS)}.items()}
    like = blocks.Forced(subject, every, at, kept=True)
    for lost in ("self.value", "layer.1.output", "embeddings"):
        some = {key: a for key, a in every.items() if not key.endswith(lost)}
        assert len(some) < len(every)
        alone, shared = (blocks.Forced(subject, some, at, like=other).computed for other in (None, like))
        for key, array in alone.items():
            np.testing.assert_array_equal(shared[key], array, err_msg=f"{lost}: {key}")


def test_what_was_tried_on_less_is_not_tried_again_where_the_rest_changes_nothing_of_it(forced):
    one = found("A06", "not scaled", "layer 0")
    runs = runs_of(tensors(one))
    memory = memory_of(runs, runs.forward)
    some = [f for f in runs.mutants if f.mutant.where in ("layer 1", "layer 0") and f.id.startswith("A")]
    assert {f.mutant.where for f in some} == {"layer 0", "layer 1"}
    counted = []
    for before in ((), (Part((one,)),)):
        this = round_of(runs, memory, before)
        runs.like(this.base)
        forced.clear()
        this._tried(some)
        counted.append(len(forced))
    assert counted[0] == len(some)
    assert 0 < counted[1] < 0.7 * len(some)  # 98 of 189


def test_of_gradients_alone_few_mutants_are_likely(forced):
    """Those of a layer above whose right gradients they would change are not, nor those of the forward pass."""
    mistake = found("A37", "P (1 - P) dP", "layer 0")
    candidate = tensors(mistake, of=GRADIENTS)
    assert [str(one) for one in diagnose(cases.read(NAME), candidate, "float32").names] == [str(mistake)]
    assert len(forced) < 1000  # of 2992, and as many at one place


@pytest.mark.parametrize(
    ("mistake", "right"),
    [(("A37", "P (1 - P) dP"), True), (("A06", "not scaled"), False), (("L24", "no γ", "masked lm head"), False)],
)
def test_gradients_alone_say_whether_the_forward_pass_is_right(mistake, right):
    runs = runs_of(tensors(found(*mistake), of=GRADIENTS))
    before = runs.trial((), runs.evidence).residuals
    assert memory_of(runs, runs.evidence).reach.forward_is_right(before <= compare.EXPLAINED) is right


def test_where_the_forward_pass_is_right_backwards_are_tried_first():
    runs = runs_of(tensors(found("A37", "P (1 - P) dP"), of=GRADIENTS))
    groups = round_of(runs, memory_of(runs, runs.evidence), kind=Later)._groups()
    assert [{f.mutant.section for f in some} for some in groups] == [{GRADIENTS}, {GRADIENTS}, {FORWARD}]


def test_what_spoils_a_right_forward_pass_is_run_no_further(forced):
    """A forward mutant beside right outputs: its gradients are not computed."""
    runs = runs_of({**tensors(), **tensors(found("A37", "P (1 - P) dP"), of=GRADIENTS)})
    this = round_of(runs, memory_of(runs, runs.evidence), kind=Later)
    runs.like()
    forced.clear()
    spoils = found("A06", "not scaled")
    assert this._tried([spoils]) == this._tried([spoils]) == []
    assert [args[4] for args in forced] == [False]  # once


def test_in_16_bits_half_of_a_tensor_is_wrong_beside_what_was_found(monkeypatch):
    """One mistake explains layer 0, and layer 1 is off by less than 64 floors: no rounding either."""
    one, other = (found("A06", "not scaled", f"layer {i}") for i in range(2))
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((one,))])
    answer = diagnose(cases.read(NAME), tensors(one, other), "bfloat16")
    assert answer.unexplained == "forward/bert.encoder.layer.1.attention.self.scores"


def test_of_a_tie_that_16_bits_hide_what_leaves_clearly_less_is_the_name():
    one, other = found("G04", "ReLU is hard-coded"), found("G15", "leaky ReLU, 0.01")
    candidate = {**tensors(one), **tensors(one, of=GRADIENTS)}
    case = cases.read(NAME)
    runs = Trials(case, case.subject(), candidate, "bfloat16", compare.compare(case, candidate, "bfloat16"), None)
    trials = [runs.trial((each,), runs.evidence) for each in (other, one)]
    assert 1 < max(runs.evidence.distances(trials[0].flat, trials[1].flat)) < compare.EXPLAINED
    part = grouped(runs, trials, runs.evidence, 0, np.ones(len(runs.evidence.keys), bool))
    assert (part.found, part.tied) == ((one,), ())


def test_what_a_mistake_does_without_and_the_candidate_has_wrong_is_left(monkeypatch):
    one, key = found("E14", "the sum without its norm"), "forward/bert.embeddings.LayerNorm"
    candidate = tensors(one)
    assert key not in candidate
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((one,))])
    for factor, left in ((None, None), (0, None), (1, None), (2, key)):
        given = {**candidate, **({} if factor is None else {key: factor * cases.read(NAME).tensor(key)})}
        assert diagnose(cases.read(NAME), given, "float32").unexplained == left


def test_no_name_where_what_is_made_straight_of_what_it_explains_is_wrong(monkeypatch):
    """An activation behind the wrong linear map is no activation, and more; a mistake of another layer is one."""
    none, other = found("G09", "no activation", "layer 0"), found("A06", "not scaled", "layer 1")
    key = "forward/bert.encoder.layer.0.output.dense"
    candidate = tensors(none, other)
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((none,)), Part((other,))])
    answer = diagnose(cases.read(NAME), {**candidate, key: np.maximum(candidate[key], 0)}, "float32")
    assert [str(one) for one in answer.names] == [str(other)]
    assert answer.unexplained == key


def test_no_name_where_a_gradient_that_it_moves_stays_wrong(monkeypatch):
    """Turned in the head, all gradients before it are turned: so no sub-layer's is by itself."""
    one = found("L31", "times -1, of the sub-layer", "layer 1 feed forward add norm")
    candidate = {key: -a if "encoder" in key else a for key, a in tensors(of=GRADIENTS).items()}
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((one,))])
    assert diagnose(cases.read(NAME), candidate, "float32").names == []


def test_what_has_no_bias_has_no_gradient_of_it():
    """One name, not a second for the biases that do not learn."""
    case = cases.read("gpt2/published")
    subject = case.subject()
    params = {p: a * (not p.endswith("bias") or "norm" in p) for p, a in tree.items(subject.params)}
    got = observe(replace(subject, params=tree.unflatten(params)), ())
    given = re.compile(r"forward/(transformer\.ln_f|lm_head|loss)|gradients/.*(weight|bias)")
    frozen = re.compile(r".*\.(c_attn|c_proj|c_fc)\.bias")
    keys = [key for key in got if key in case.entries and given.fullmatch(key)]
    candidate = {key: got[key] * (0 if frozen.fullmatch(key) else 1) for key in keys}
    assert diagnose(case, candidate, "float32").ids == ["gpt2-18"]


def test_what_gives_the_same_under_one_name_is_said(monkeypatch):
    one, other = found("C11", "the first two rows cut"), found("C11", "the first two rows cut, the last two repeated")
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((one,), ((other,),))])
    assert f"{one}: as well explained by {other}" in diagnose(cases.read(NAME), tensors(one), "float32").lines


def test_where_rounding_hides_the_place_both_are_said(monkeypatch):
    wide, narrow = found("A06", "not scaled"), found("A06", "not scaled", "layer 0")
    monkeypatch.setattr(rounds.Round, "parts", lambda this: [] if this.before else [Part((wide,), ((narrow,),))])
    assert f"{wide}: as well in layer 0" in diagnose(cases.read(NAME), tensors(wide), "float32").lines


def test_a_run_ends_where_its_first_gradient_is_far(monkeypatch):
    """With gradients alone: most mutants need no whole backward, and what is found is the same."""
    wrong = found("A39", "the weights of key for value, too", "layer 0 attention")
    given, ended = tensors(wrong, of=GRADIENTS), []

    def answer():
        return diagnose(cases.read(NAME), given, "float32").lines[0]

    whole = blocks.Forced.__init__

    def noted(self, *args, **options):
        whole(self, *args, **options)
        ended.append(not self.computed)

    monkeypatch.setattr(blocks.Forced, "__init__", noted)
    shortly = answer()
    assert "A39" in shortly
    assert sum(ended) > len(ended) / 2
    monkeypatch.setattr(ending, "FAR", np.inf)
    ended.clear()
    assert (answer(), sum(ended)) == (shortly, 0)


def test_what_a_run_leaves_as_it_was_does_not_end_it():
    """Nor what it says nothing of; the mutant that explains it runs to its end."""
    wrong = found("A39", "the weights of key for value, too", "layer 0 attention")
    runs = runs_of(tensors(wrong, of=GRADIENTS))
    assert runs.run([(wrong,)], runs.evidence, 1)[0].ratio <= compare.EXPLAINED
    like = runs.like(())
    ends = ending.Endings(like, runs.evidence)
    key, [(_, number, left), *_] = next(iter(ends.at.items()))
    given, far = like.backwards[key][1], tree.map(lambda a: a + 1, like.backwards[key][1])
    assert left > ending.FAR
    assert not ending.Ending(ends)(key, given)
    assert not ending.Ending(ends, lambda key: True)(key, far)
    ended = ending.Ending(ends)
    assert ended(key, far)
    assert ended.number == number


def test_a_backward_that_a_replaced_block_calls_for_some_texts_alone_ends_nothing():
    wrong = found("E32", "of the first text alone, of the positions")
    runs = runs_of(tensors(wrong, of=GRADIENTS))
    assert runs.run([(wrong,)], runs.evidence, 1)[0].ratio <= compare.EXPLAINED


def scaled(number, *mistakes):
    return {key: np.float32(number) * a for key, a in tensors(*mistakes, of=GRADIENTS).items()}


def test_of_what_is_multiplied_by_much_so_is_the_rounding():
    """Of a value that is solved for, and of a gradient at which a run may end."""
    given = scaled(65536)
    runs = runs_of(given)
    right = runs.trial((), runs.evidence)
    some = runs.solved([found("O53", "every parameter's times 1024")], (), runs.evidence, right.residuals)
    assert [str(one) for one in some] == ["O53: every parameter's times 65536"]
    ends = ending.Endings(runs.like(()), runs.evidence)
    first = given[runs.evidence.keys[0]]
    assert ends.residual(0, first + 1e-5 * np.abs(first).max()) < ending.FAR  # 65536 times as much at the right scale


def test_one_number_throughout_has_no_name():
    """A dump of zeros: the first mistake that gives zeros would be its name."""
    blank = {key: np.zeros_like(a) for key, a in tensors().items()}
    said = diagnose(cases.read(NAME), blank, "float32")
    assert (said.kind, said.ids) == ("unknown", [])
    assert "one number throughout" in said.lines[1]
