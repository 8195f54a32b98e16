"""Rows that nobody owes: what stands at padding is judged apart, where nobody reads it, and hides nothing else."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from minibert.checkpoint import safetensors
from minibert.golden import answer, checking, compare, levels, padding, report
from minibert.golden import case as cases
from minibert.golden.subject import observe

BERT = "bert/published"


@cache
def golden(name):
    return cases.read(name)


@cache
def computed(name, unscaled=None):
    """Forward and backward; unscaled: without the scale of scores in this layer."""
    calls = iter(range(1000))

    def around(f, args, constants):
        if f.__name__ == "attention" and next(calls) == unscaled:
            constants = {**constants, "scale": 1.0}
        return f(*args, **constants)

    found = observe(replace(golden(name).subject(), around=(lambda: around,)), ())
    return {key: array for key, array in found.items() if key in golden(name).entries}


def changed(name, change, unscaled=None):
    """The outputs with what nobody reads replaced."""
    masks = padding.unread(golden(name))
    return {key: np.where(masks[key], change(array), array) if key in masks else array
            for key, array in computed(name, unscaled).items()}  # fmt: skip


def checked(name, tensors, folder, **options):
    safetensors.write(folder / "c.safetensors", {key: np.asarray(a, np.float32) for key, a in tensors.items()})
    return checking.report_of(name, folder / "c.safetensors", **options)


LEFT = {"zeros": np.zeros_like, "not a number": lambda a: np.full_like(a, np.nan), "something": lambda a: a + 1}


@pytest.mark.parametrize("change", LEFT)
@pytest.mark.parametrize("name", [BERT, "gpt2/published", "roberta/padding", "albert/published"])
def test_what_differs_only_on_padding_is_acceptable(name, change, tmp_path):
    """Losses and gradients are right, the level is reached, and it is said."""
    got = checked(name, changed(name, LEFT[change]), tmp_path)
    assert (got.code, got.first, got.diagnosis) == (0, None, None)
    assert {row.key for row in got.rows if row.status == "padding"} == set(padding.unread(golden(name)))
    assert levels.reached(got.levels).number == 5
    assert answer.headline(got).startswith("acceptable: ")
    assert "differs only on padding, which nobody reads" in "\n".join(report.table(got))
    assert set(report.fields(got)["only_padding"]) == set(padding.unread(golden(name)))


def test_what_is_read_is_owed():
    """The first position, by poolers; a row without any token; targets; and a gradient is owed everywhere, but of the
    probabilities of keys that are padding, which no query sees and whose values nobody owes.
    """
    case = golden("bert/masked-row")
    masks = padding.unread(case)
    present = case.tensor("inputs/input_mask") != 0
    alone = ~present.any(1)
    assert alone.any()
    key = "forward/bert.encoder.layer.1.output"
    rows = masks[key].any(-1)
    assert not (rows & present).any()
    assert not rows[alone].any()
    assert not any(key.startswith(("steps/", "inputs/")) for key in masks)
    of_gradients = {key: mask for key, mask in masks.items() if key.startswith("gradients/")}
    assert of_gradients
    for key, mask in of_gradients.items():
        assert key.endswith(".probs")
        assert not (mask.any((1, 2)) & (present | alone[:, None])).any()
        assert not case.tensor(key.replace("gradients/", "forward/"))[mask & ~alone[:, None, None, None]].any()
    for name in (BERT, "roberta/padding"):  # exactly where the gradient is 0
        for key, mask in padding.unread(golden(name)).items():
            gradient = golden(name).entries.get(key.replace("forward/", "gradients/"))
            if gradient is not None and gradient.role == "activation_gradient" and mask.ndim == 3:
                assert not golden(name).tensor(gradient.key)[mask].any()


def first_of(tensors):
    return compare.first_divergence(compare.compare(golden(BERT), tensors, "float32"))


def test_a_gradient_at_padding_is_a_difference():
    """It is 0 where nobody reads; one that is not says that somebody does."""
    key = "forward/bert.encoder.layer.0.output"
    slope = key.replace("forward/", "gradients/")
    held = computed(BERT)
    wrong = np.where(padding.unread(golden(BERT))[key], 0.5, held[slope])
    assert first_of({**held, slope: wrong}).key == slope


SCORES = "forward/bert.encoder.layer.1.attention.self.scores"


@pytest.mark.parametrize("change", LEFT)
def test_a_mistake_elsewhere_is_seen_through_padding(change):
    """The first divergence is that of the mistake, at a token where padding was never computed."""
    first = first_of(changed(BERT, LEFT[change], unscaled=1))
    assert (first.key, first.status) == (SCORES, "wrong")
    at_padding = padding.unread(golden(BERT))[SCORES][first.index]
    assert change == "something" or not at_padding


def test_a_mistake_is_named_where_only_scores_hold_padding(tmp_path):
    """Rows without padding: of the padding in scores of the next layer nobody knows what it is made of."""
    case, held = golden(BERT), computed(BERT, unscaled=0)
    present = case.tensor("inputs/input_mask") != 0
    dump = {key: a[present] if a.ndim == 3 and a.shape[:2] == present.shape else a for key, a in held.items()}
    got = checked(BERT, dump, tmp_path)
    assert SCORES.replace("layer.1", "layer.0") == got.first.key
    assert SCORES not in {row.key for row in got.own}
    assert (got.diagnosis.kind, got.diagnosis.unexplained) == ("mistake", None), got.diagnosis.lines


def test_a_mistake_elsewhere_is_named_through_padding(tmp_path):
    """What is otherwise on padding does not stand before its name."""
    got = checked(BERT, changed(BERT, LEFT["something"], unscaled=1), tmp_path)
    assert (got.code, got.first.key) == (1, SCORES)
    assert got.diagnosis.kind == "mistake", got.diagnosis.lines
    bad = {row.key for row in got.rows if row.status in compare.BAD}
    assert "forward/bert.encoder.layer.1.output" in bad
    assert "forward/bert.encoder.layer.0.output" not in bad


def test_what_is_wrong_on_padding_and_elsewhere_is_wrong():
    """Nothing of it is taken for padding."""
    key = "forward/bert.encoder.layer.0.output"
    rows = compare.compare(golden(BERT), {key: computed(BERT)[key] + 1}, "float32")
    assert next(row for row in rows if row.key == key).status == "wrong"


def test_a_mistake_is_named_from_rows_without_padding(tmp_path):
    """What was not given is no evidence; what was is."""
    present = golden(BERT).tensor("inputs/input_mask") != 0
    held = {key: array[present] if array.shape[:2] == present.shape and array.ndim == 3 else array
            for key, array in computed(BERT, unscaled=1).items()
            if key.startswith("forward/") and not key.endswith(("scores", "probs"))}  # fmt: skip
    got = checked(BERT, held, tmp_path)
    assert got.first.key == "forward/bert.encoder.layer.1.attention.self.context"
    assert got.diagnosis.kind in ("mistake", "tie"), got.diagnosis.lines
