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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from minibert import pretraining


class Arm(NamedTuple):
    """One run: config fields and options of `pretraining.pretrain`."""

    label: str
    family: str
    fields: dict[str, Any]
    options: dict[str, Any]


class Experiment(NamedTuple):
    """claim: what is asked; columns: figures of report.json, as "terms.masked_lm"; options: those of every arm."""

    claim: str
    columns: tuple[str, ...]
    options: dict[str, Any]
    arms: list[Arm]


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
}


def outcome(arm: Arm, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """The report of one run, and the seconds of its training."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        given = {**options, **arm.options, "seed": seed}
        run = pretraining.pretrain(arm.family, out=Path(folder, "run"), fields=arm.fields or None, **given)
        last = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        return {**json.loads((run / "report.json").read_bytes()), "seconds": json.loads(last)["seconds"]}


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
            reports[arm.label].append(outcome(arm, options, seed))
    if given.json:
        given.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{given.experiment}: {experiment.claim}\n{options}")
    for column in given.column or experiment.columns:
        print("\n" + "\n".join(table(experiment.arms, reports, column)))


if __name__ == "__main__":
    main()
