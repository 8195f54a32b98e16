"""What no known mistake explains gets no name by chance, and what is right in 16 bits no fault by one floor."""

import numpy as np
import pytest

from minibert.golden import case as cases
from minibert.golden import compare
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, diagnose, nearing, search, trials
from minibert.mistakes.evidence import Evidence


def test_nan_explains_no_number():
    """A mutant that gives NaN leaves all of it unexplained; where the candidate has NaN, too, it may spread further."""
    case = cases.read("bert/published")
    keys = [key for key in case.entries if key.startswith("forward/")][:4]
    held = {key: case.tensor(key) for key in keys}
    evidence = Evidence(case, held, "float32", keys)
    nothing = np.full(len(evidence.values), np.nan)
    assert np.isinf(evidence.residuals(nothing)).all()
    assert evidence.loses(nothing)
    assert not evidence.loses(evidence.values)
    lost = {key: np.where(np.arange(a.size).reshape(a.shape) < 2, np.nan, a) for key, a in held.items()}
    there = Evidence(case, lost, "float32", keys)
    some = there.values.copy()
    some[there.starts[2] + 2] = np.nan
    assert not there.residuals(some).any()
    assert not there.loses(some)
    some[there.starts[0] + 2] = np.nan
    assert np.isinf(there.residuals(some)[0])


def test_one_number_of_16_bits_names_nothing():
    """The loss of a known mistake alone: a name in float32, none in bfloat16, where some mutant is always that near."""
    case = cases.read("bert/published")
    mutant = CATALOGUE["S01"].mutants(case.subject())[0]
    losses = ("forward/loss.masked_lm", "forward/loss")
    got = observe(mutant.change(case.subject()), ())
    alone = {key: got[key] for key in losses}
    assert "S01" in diagnose(case, alone, "float32").ids
    assert diagnose(case, alone, "bfloat16").kind == "unknown"


def test_two_norms_of_16_bits_solve_for_no_value():
    case = cases.read("gpt2/published")
    subject = case.subject()
    steps = tuple(case.facts["steps"])
    eps = next(m for m in CATALOGUE["O03"].mutants(subject) if m.free).free.of(0.03)
    got, odd = observe(subject, steps), observe(eps.change(subject), steps)
    last = f"steps/{steps[-1]}"
    norms = {key: odd[key] for key in (f"{last}/loss", f"{last}/gradient_norm")}
    floors = {key: compare.error(odd[key], case.tensor(key), case.entries[key].scale) for key in norms}
    assert any(value > 4 * compare.floor(case.entries[key], "bfloat16") for key, value in floors.items())
    kept = {key: got[key] for key in case.entries if key in got and key.startswith("steps/")}
    assert diagnose(case, kept | norms, "bfloat16").kind == "unknown"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_grown_rounding_of_16_bits_is_right(dtype):
    """Five floors in a tensor whose own block is right; not where anything is worse, nor where the block is wrong."""
    case = cases.read("bert/published")
    first, second = "forward/bert.encoder.layer.0.output", "forward/bert.pooler"

    def moved(key, floors):
        truth = np.asarray(case.tensor(key), np.float64)
        unit = compare.floor(case.entries[key], dtype) * case.entries[key].scale
        return truth + floors * unit * (truth == truth.max())

    def statuses(tensors, alone):
        rows = compare.compare(case, tensors, dtype, None, alone)
        return {row.key: row.status for row in rows if row.key in tensors}

    grown = moved(first, 5)
    due = "suspect" if dtype == "float32" else "right"
    assert statuses({first: grown}, {first: grown}) == {first: due}
    assert statuses({first: grown}, {first: case.tensor(first)}) == {first: "suspect"}
    assert statuses({first: grown}, {}) == {first: "suspect"}
    worse = statuses({first: grown, second: moved(second, 100)}, {first: grown, second: case.tensor(second)})
    assert worse == {first: "suspect", second: "wrong"}
    source = {first: grown, second: moved(second, 3.5)}
    assert statuses(source, {first: grown, second: case.tensor(second)})[first] == "suspect"  # a block is off, too
    row = next(r for r in compare.compare(case, {first: grown}, dtype, None, {first: grown}) if r.key == first)
    assert row.verdict.startswith("rounding explains it") == (due == "right")


def test_a_later_step_of_16_bits_has_grown_where_the_first_is_right():
    """Forty floors in the tenth step's norm; not where the first step, by itself, is wrong, or can't be judged."""
    case = cases.read("gpt2/published")
    first, last = "steps/1/gradient_norm", "steps/10/gradient_norm"
    unit = compare.floor(case.entries[last], "bfloat16") * case.entries[last].scale
    given = {first: case.tensor(first), last: np.asarray(case.tensor(last), np.float64) + 40 * unit}

    def status(alone):
        return next(row.status for row in compare.compare(case, given, "bfloat16", None, alone) if row.key == last)

    assert status({first: case.tensor(first)}) == "right"
    assert status({first: 2 * case.tensor(first)}) == "suspect"
    assert status({}) == "suspect"


def test_a_name_explains_all_that_is_wrong_in_what_it_replaces(monkeypatch):
    """What follows layer 0 fits that layer's being left out, but what layer 0 gave fits nothing."""
    monkeypatch.setattr(search, "MOST_PAIRS", 0)
    monkeypatch.setattr(nearing, "MOST", 0)
    monkeypatch.setattr(trials, "CATALOGUE", {id: one for id, one in CATALOGUE.items() if id[0] in "LC"})
    case = cases.read("bert/published")
    out = next(m for m in CATALOGUE["L18"].mutants(case.subject()) if m.where == "layer 0")
    got = observe(out.change(case.subject()), ())
    keys = ["forward/bert.embeddings", *(f"forward/bert.encoder.layer.{i}.output" for i in (0, 1))]
    held = {key: got[key] for key in keys}
    assert "L18" in diagnose(case, {key: held[key] for key in (keys[0], keys[2])}, "float32").ids
    held[keys[1]] = 1.3 * case.tensor(keys[1])
    result = diagnose(case, held, "float32")
    assert (result.kind, result.ids) == ("unknown", [])


def test_steps_tell_a_tie_of_gradients_apart():
    """Gradients twice as large: in the dump alone, or in what the optimizer is given, which its norm shows."""
    case = cases.read("bert/published")
    for mutant in (one for one in CATALOGUE["O28"].mutants(case.subject()) if one.after):
        got = mutant.after(observe(mutant.change(case.subject()), (1, 2, 10)))
        result = diagnose(case, {key: got[key] for key in case.entries if key in got}, "float32")
        assert (result.kind, result.unexplained) == ("mistake", None)
        assert [found.mutant.what for found in result.mistakes] == [mutant.what]
