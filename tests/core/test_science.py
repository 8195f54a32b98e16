"""The table of an experiment, from reports made up here."""

import importlib.util
import re
from pathlib import Path

import pytest

from minibert import families, pretraining

FILE = Path(__file__).parents[1] / "benchmarks" / "science.py"
spec = importlib.util.spec_from_file_location("science", FILE)
science = importlib.util.module_from_spec(spec)
spec.loader.exec_module(science)


def test_a_table_pairs_the_arms_by_seed():
    arms = [science.Arm(label, "roberta", {}, {}) for label in ("one", "other")]
    figures = {"one": (1.0, 2.0), "other": (1.5, 2.7)}
    reports = {k: [{"terms": {"masked_lm": x}, "seconds": 3.0} for x in xs] for k, xs in figures.items()}
    *_, one, other = science.table(arms, reports, "terms.masked_lm")
    assert one == "| one | 1.0000 | 2.0000 | 1.5000 | 0.7071 |  | 3 |"
    assert other == "| other | 1.5000 | 2.7000 | 2.1000 | 0.8485 | 0.6000 ± 0.1000 | 3 |"


def test_a_run_without_the_term_has_a_dash():
    arms = [science.Arm("one", "roberta", {}, {})]
    assert list(science.table(arms, {"one": [{"seconds": 1.0}]}, "terms.masked_lm"))[-1] == "| one | – | – | – |  | 1 |"


@pytest.mark.parametrize("name", science.EXPERIMENTS)
def test_the_arms_are_runs_that_there_are(name):
    experiment = science.EXPERIMENTS[name]
    assert len({arm.label for arm in experiment.arms}) == len(experiment.arms)
    for arm in experiment.arms:
        assert not arm.fields.keys() - families.family(arm.family).Config.__dataclass_fields__
        options = {**experiment.options, **arm.options}
        module = families.family(arm.family)
        known = {k: v for k, v in options.items() if k in pretraining.known(module)}
        assert options.keys() - known.keys() <= {"preset", "vocabulary", "config"}
        pretraining.options_of(module, known)


def test_the_page_has_every_experiment_with_a_command_that_there_is():
    """python tests/benchmarks/science.py NAME …, as it stands in reference/SCIENCE.md."""
    page = (FILE.parents[2] / "reference" / "SCIENCE.md").read_text(encoding="utf-8")
    commands = re.findall(r"`python\s+tests/benchmarks/science\.py\s+([^`]+)`", page)
    given = [science.arguments().parse_args(command.split()) for command in commands]
    assert {one.experiment for one in given} == science.EXPERIMENTS.keys()
    with pytest.raises(SystemExit):
        science.arguments().parse_args(["noise"])


def test_other_steps_scale_an_arm_and_where_its_dropout_ends():
    arm = science.Arm("one", "roberta", {}, {"dropout_steps": 300, "warmup": 0.1})
    assert science.scaled(arm, 0.5).options == {"dropout_steps": 150, "warmup": 0.1}
