"""Claims of papers at a small scale: python tests/benchmarks/science.py EXPERIMENT [--seeds N] [--json FILE] …

An experiment is a list of arms, each a pre-training run that differs in one thing: the same text, steps and network.
Every arm runs once for each seed, which draws the split of the text, the weights and all masks. Held-out rows and their
masks follow from the seed and the vocabulary alone, so the arms of a seed answer the same questions and their
differences can be paired. Printed: the held-out figures of each seed, their mean and standard deviation, the difference
to the first arm, seed by seed, with its standard error, and the seconds of training. Such small models on so little
text say something about the direction of an effect, nothing about its size in print.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import config as configs
from minibert import corpus, families, pretraining, training


class Arm(NamedTuple):
    """One run: config fields and options of `pretraining.pretrain`."""

    label: str
    family: str
    fields: dict[str, Any]
    options: dict[str, Any]


class Experiment(NamedTuple):
    """claim: what is asked; columns: figures of report.json, as "terms.masked_lm"; options: those of every arm.

    held_out: further held-out rows of the same text, by name, as options that differ from the arm's: every arm answers
    them all, and their figures are "on.NAME.terms.masked_lm".
    """

    claim: str
    columns: tuple[str, ...]
    options: dict[str, Any]
    arms: list[Arm]
    held_out: Mapping[str, dict[str, Any]] = MappingProxyType({})


# masking: with 0.7 of the text held out a run goes some 15 times over the rest, so that fixed masks are seen again
EXPERIMENTS = {
    "masking": Experiment(
        "masks drawn anew each time against masks drawn once (arXiv 1907.11692, section 4.1, table 1)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        {"steps": 2000, "held_out": 0.7},
        [
            Arm("dynamic", "roberta", {}, {"masking": "dynamic", "duplicates": 1}),
            Arm("static, 10 copies", "roberta", {}, {"masking": "static", "duplicates": 10}),
            Arm("static, 1 copy", "roberta", {}, {"masking": "static", "duplicates": 1}),
        ],
    ),
    "pairs": Experiment(
        "telling swapped segments apart against telling random ones apart (arXiv 1909.11942, section 4.6, table 5)",
        (
            "on.in order or swapped.terms.masked_lm",
            "on.in order or swapped.accuracies.sentence_order",
            "on.next or random.accuracies.sentence_order",
        ),
        {"steps": 6000, "batch_size": 32, "duplicates": 20, "short_rate": 0.0, "held_out": 0.3, "units": "pieces"},
        [
            Arm("swapped", "albert", {}, {"format": "sentence-order"}),
            Arm("random", "albert", {}, {"format": "next-sentence"}),
        ],
        {"in order or swapped": {"format": "sentence-order"}, "next or random": {"format": "next-sentence"}},
    ),
}


def outcome(arm: Arm, options: dict[str, Any], seed: int, held_out: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The report of one run, with its figures "on" the further held-out rows, and the seconds of its training."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        given = {**options, **arm.options, "seed": seed}
        run = pretraining.pretrain(arm.family, out=Path(folder, "run"), fields=arm.fields or None, **given)
        last = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        further = {"on": {name: measured(run, changes) for name, changes in held_out.items()}} if held_out else {}
        return {**json.loads((run / "report.json").read_bytes()), **further, "seconds": json.loads(last)["seconds"]}


def measured(run: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Held-out figures of a run's model on the rows that its options make of the held-out text, with these changes."""
    model, record = minibert.load(run), json.loads((run / "run.json").read_bytes())
    options = configs.from_fields(pretraining.Options, {**record["options"], **changes})
    texts = corpus.split(corpus.default_documents(), options.held_out, options.seed)[1]
    ids = [[model.tokenizer.ids(sentence) for sentence in document] for document in texts]
    rows = pretraining.Data(families.family(model.family), model.tokenizer, options, texts, ids).held_out()
    return training.evaluation(model, rows, seed=options.seed)


def figure(report: dict[str, Any], column: str) -> float | None:
    """The entry at a dotted path; None where a run has no such term."""
    value: Any = report
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def table(arms: list[Arm], reports: dict[str, list[dict[str, Any]]], column: str) -> Iterator[str]:
    """The lines of a Markdown table."""
    seeds = range(len(reports[arms[0].label]))
    heads = [column, *(f"seed {seed}" for seed in seeds), "mean", "std", f"less {arms[0].label}", "seconds"]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    first = [figure(report, column) for report in reports[arms[0].label]]
    for arm in arms:
        found = [figure(report, column) for report in reports[arm.label]]
        paired = [a - b for a, b in zip(found, first, strict=True) if None not in (a, b)]
        known = [value for value in found if value is not None]
        cells = [*("–" if value is None else f"{value:.4f}" for value in found), *spread(known)]
        difference = "" if arm is arms[0] else " ± ".join(spread(paired, len(paired) ** 0.5))
        seconds = statistics.mean(report["seconds"] for report in reports[arm.label])
        yield "| " + " | ".join([arm.label, *cells, difference, f"{seconds:.0f}"]) + " |"


def spread(values: list[float], divisor: float = 1.0) -> tuple[str, str]:
    """(mean, standard deviation / divisor), as text."""
    mean = f"{statistics.mean(values):.4f}" if values else "–"
    return mean, f"{statistics.stdev(values) / divisor:.4f}" if len(values) > 1 else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (default 3)")
    parser.add_argument("--steps", type=int, help="instead of the experiment's own")
    parser.add_argument("--threads", type=int, default=1, help="cores of a run (default 1); no figure depends on them")
    parser.add_argument("--column", action="append", help="figure of report.json instead of the experiment's own")
    parser.add_argument("--json", type=Path, help="also write every report to this file")
    given = parser.parse_args()
    experiment = EXPERIMENTS[given.experiment]
    options = {**experiment.options, "threads": given.threads}
    if given.steps:
        options["steps"] = given.steps
    reports: dict[str, list[dict[str, Any]]] = {arm.label: [] for arm in experiment.arms}
    for seed in range(given.seeds):
        for arm in experiment.arms:
            print(f"\n{arm.label}, seed {seed}", file=sys.stderr)
            reports[arm.label].append(outcome(arm, options, seed, experiment.held_out))
    if given.json:
        given.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{given.experiment}: {experiment.claim}\n{options}")
    for column in given.column or experiment.columns:
        print("\n" + "\n".join(table(experiment.arms, reports, column)))


if __name__ == "__main__":
    main()
