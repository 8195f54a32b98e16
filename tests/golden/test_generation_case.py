"""The golden case of what GPT-2 writes on: right by transformers, and mistakes of going on show in it."""

import dataclasses

import numpy as np
import pytest

from minibert.families import gpt2
from minibert.golden import case as files
from minibert.golden import cases, checking
from minibert.golden.kinds import generation as kind
from minibert.mistakes import going

FLOAT64 = np.dtype(np.float64)


@pytest.fixture(scope="module")
def case():
    return files.read(files.folder() / "gpt2" / "generation")


def differing(case, other=None):
    found = kind.evaluate(case, going=other)(FLOAT64, ())
    return {
        key.partition("/")[2]
        for key, value in found.items()
        if value.shape != case.tensor(key).shape or np.abs(value - case.tensor(key)).max() > 1e-9
    }


def test_it_is_computed_again(case):
    assert differing(case) == set()


def one_later(p, config, ids, state):
    """The position of a token after the cache is one too large."""
    logits, after = gpt2.step(p, config, ids, {**state, "position": state["position"] + 1})
    return logits, {**after, "position": after["position"] - 1}


def by_column(p, config, inputs):
    """Positions count the padding in front."""
    positions = np.broadcast_to(np.arange(inputs["input_ids"].shape[1]), inputs["input_ids"].shape)
    return gpt2.start(p, config, {**inputs, "position_ids": positions})


def all_seen(p, config, inputs):
    """Padding in front is attended to."""
    return gpt2.start(p, config, {"input_ids": inputs["input_ids"]})


@pytest.mark.parametrize("other", [(gpt2.start, one_later), (by_column, gpt2.step), (all_seen, gpt2.step)],
                         ids=["one later", "by column", "all seen"])  # fmt: skip
def test_a_mistake_of_going_on_shows_in_every_run(case, other):
    assert {name.partition(".")[0] for name in differing(case, other)} >= {"logits", *case.text()["runs"]}


def test_beams_that_leave_their_states_where_they_are_show(case):
    """Whoever takes another beam's place needs its keys and values."""
    shown = differing(case, going.unmoved(gpt2, 5))
    assert shown == {"beams.scores", "patient", "patient.scores", "eager", "eager.scores"}


def test_every_setting_of_every_run_shows_in_its_ids(case):
    """A candidate without it is seen."""
    runs = case.text()["runs"]
    for name, settings in runs.items():
        for left_out in settings.keys() - {"max_new_tokens", "do_sample"}:
            other = {key: value for key, value in settings.items() if key != left_out}
            recipe = dataclasses.replace(cases.recipes()["gpt2/generation"], runs={name: other})
            found = kind.made(recipe).evaluate(FLOAT64, ())[f"forward/{name}"]
            assert not np.array_equal(found, case.tensor(f"forward/{name}")), (name, left_out)


def test_rows_that_end_early_are_filled(case, tmp_path):
    """How long the longest row became is a result: a candidate's may be shorter, and wrong."""
    sampled = case.tensor("forward/sampled")
    assert (sampled[:, -1] == 11).all()
    for ids, code in ((sampled[:, :-1], 0), (sampled[:, :-3], 1)):
        np.savez(tmp_path / "theirs.npz", **{"forward/sampled": ids})
        found = checking.report_of(case.path, tmp_path / "theirs.npz", dtype="float64", seconds=0)  # no name is sought
        assert found.code == code
