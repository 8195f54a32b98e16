"""Laws of heads of tasks: they hold for the engine on every shipped case, and each can be broken."""

import numpy as np
import pytest

from minibert import laws
from minibert.golden import cases
from minibert.laws.core import TASKS
from tests.core.test_laws import of_case

CASES = sorted(name for name in cases.recipes() if name.startswith("tasks/"))
HEADLESS = {"tasks/recommend", "tasks/recommend-hidden"}  # items are words of the family's masked LM: no head is added
ALSO = ("batch_permutation", "padding_invariance")  # of rows of several texts, too
SILENT = {
    "classes_in_another_order": {"answer", "choose", "regress", "similar", "similar-contrastive", "similar-tensor",
                                 "tag-crf", "caption"},
    "texts_in_another_order": {case.partition("/")[2] for case in CASES} - {"choose", "similar", "similar-contrastive"},
    "what_is_asked_counts_alone": {"answer", "choose", "regress", "several", "similar", "similar-contrastive",
                                   "similar-tensor", "tag-crf", "caption"},
    "batch_permutation": set(), "padding_invariance": {"answer", "choose", "similar", "similar-contrastive",
                                                       "similar-tensor", "caption"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_engine_obeys_the_laws_of_heads(case):
    run, *question = of_case(case)
    known = laws.of(question[-1])
    of_heads = {} if case in HEADLESS else TASKS
    assert TASKS.keys() & known.keys() == of_heads.keys()
    for name in (*of_heads, *ALSO):
        found = known[name](run, *question)
        silent = case.partition("/")[2] in SILENT[name]
        assert (found.holds is None) == silent, found.text
        assert silent or found.holds, found.text


def test_a_broken_head_breaks_them():
    """A loss that knows the numbers of its classes or texts, and one that is divided by every token."""
    for law, case in (("classes_in_another_order", "tag"), ("classes_in_another_order", "several"),
                      ("texts_in_another_order", "choose"), ("what_is_asked_counts_alone", "tag")):  # fmt: skip
        run, *question = of_case(f"tasks/{case}")

        def wrong(weights, inputs, run=run, law=law):
            found = dict(run(weights, inputs))
            labels = inputs["labels"]
            factor = 1 + 1e-3 * float(labels.reshape(-1) @ np.arange(labels.size) % 7)
            factor = float((labels >= 0).mean()) if law == "what_is_asked_counts_alone" else factor
            return {key: value * factor if key.startswith("forward/loss") else value for key, value in found.items()}

        assert laws.of(question[-1])[law](wrong, *question).holds is False
