"""AMBERT tuned by its own classification loss: python tests/benchmarks/grained.py RUN … [--steps N] [--seeds N]

RUN: directories of `minibert pretrain ambert`, one for each seed, or one for all. Which module of the standard library
is a docstring from, learnt by the fine tokens' classifier alone (BERT's way); by those of both grains and of both
together (arXiv 2008.11869, eq. 2) without and with the distance between the grains' predictions. Printed, held out,
mean ± deviation over the seeds and the paired difference from the first arm ± its standard error: how many rows the
fine tokens, the coarse ones and both together have right, on how many the grains say the same, and how far apart their
predictions are.
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import batches, objective, training
from minibert.families import ambert
from minibert.rows import docstrings

BATCH, RATE = 16, 6e-4
NAMES = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}
FINE = ("input_ids", "input_mask", "segment_ids")
ARMS = {"fine tokens alone": None, "both grains, λ = 0": 0.0, "both grains, λ = 1": 1.0, "both grains, λ = 10": 10.0}


def rows(model: Any, texts: list[dict[str, str]], classes: list[str]) -> training.Batch:
    """Both grains of the texts, and their classes."""
    most = model.config.max_position_embeddings
    read = ambert.both(model, [model.tokenizer.encode(row["text"], max_length=most) for row in texts])
    labels = np.array([classes.index(row["label"]) for row in texts])
    return {**{NAMES.get(name, name): a for name, a in read.items()}, "class_labels": labels}


def tuned(model: Any, train: training.Batch, seed: int, steps: int) -> None:
    """Trains it."""
    plan = training.Plan(steps, BATCH, learning_rate=RATE, warmup=steps // 10, seed=seed, checkpoint_every=steps)

    def batch(step: int) -> list[training.Batch]:
        chosen = training.order(step, BATCH, batches.count(train), seed)
        return [batches.taken(model.network, model.config, train, chosen)]

    with tempfile.TemporaryDirectory() as folder:
        training.fit(model, plan, Path(folder), batch)


def by_both(run: Path, agreement: float, parts: list[training.Batch], seed: int, steps: int) -> dict:
    """Figures of the paper's loss."""
    held, classes = minibert.load(run), int(parts[0]["class_labels"].max()) + 1
    config = dataclasses.replace(held.config, num_classes=classes, agreement=agreement)
    model = minibert.create("ambert", seed, **dataclasses.asdict(config))
    model.params |= {part: own for part, own in held.params.items() if part != "classifier"}
    tuned(model, parts[0], seed, steps)
    said: dict[str, list[np.ndarray]] = {name: [] for name in ("fine", "coarse", "both")}
    for first in range(0, batches.count(parts[1]), 64):
        part = batches.taken(model.network, model.config, parts[1], np.arange(first, min(first + 64, len(due(parts)))))
        asked = {name: a for name, a in part.items() if name != "class_labels"}
        s = model.encode(**objective.spelled(model.module, asked))["first_states"]
        width = s.shape[1] // 2
        for name, states in {"fine": s[:, :width], "coarse": s[:, width:], "both": s}.items():
            head = model.params["classifier"][name]
            z = np.exp((states @ head["weight"].T + head["bias"]).astype(float))
            said[name].append(z / z.sum(1, keepdims=True))
    y = {name: np.concatenate(found) for name, found in said.items()}
    right = {f"{name} right": float((p.argmax(1) == due(parts)).mean()) for name, p in y.items()}
    same = float((y["fine"].argmax(1) == y["coarse"].argmax(1)).mean())
    return {**right, "grains agree": same, "distance": float(np.linalg.norm(y["fine"] - y["coarse"], axis=1).mean())}


def by_fine(run: Path, parts: list[training.Batch], seed: int, steps: int) -> dict:
    """Figures of a classifier over the first fine token."""
    model = minibert.load(run).with_task("classify", seed, classes=int(parts[0]["class_labels"].max()) + 1)
    own = [{**{name: part[name] for name in FINE}, "labels": part["class_labels"]} for part in parts]
    tuned(model, own[0], seed, steps)
    found = training.evaluation(model, own[1], seed=seed)["accuracies"]
    return {"fine right": next(iter(found.values()))}


def due(parts: list[training.Batch]) -> np.ndarray:
    """The held-out classes."""
    return parts[1]["class_labels"]


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Markdown; differences are from the first arm's fine tokens."""
    columns, first = [*found["both grains, λ = 1"][0]], [one["fine right"] for one in found["fine tokens alone"]]
    lines = ["| | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for arm, seeds in found.items():
        cells = []
        for column in columns:
            values = [one[column] for one in seeds if column in one]
            cell = f"{statistics.mean(values):.3f} ± {_deviation(values):.3f}" if values else ""
            if values and column.endswith("right") and arm != "fine tokens alone":
                apart = [a - b for a, b in zip(values, first, strict=True)]
                cell += f" ({statistics.mean(apart):+.3f} ± {_deviation(apart) / math.sqrt(len(apart)):.3f})"
            cells.append(cell)
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    texts, found = docstrings.rows("classify"), {arm: [] for arm in ARMS}
    classes = sorted({row["label"] for row in texts["train"]})
    for seed in range(given.seeds):
        run = given.runs[seed % len(given.runs)]
        model = minibert.load(run)
        parts = [rows(model, texts[part], classes) for part in ("train", "dev")]
        for arm, agreement in ARMS.items():
            own = (parts, seed, given.steps)
            one = by_fine(run, *own) if agreement is None else by_both(run, agreement, *own)
            found[arm].append(one)
            print(f"seed {seed}, {arm}: {one}", file=sys.stderr, flush=True)
            if given.json:
                given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")
    print("\n".join(table(found)))
    share = np.bincount(due(parts)).max() / len(due(parts))
    print(f"{len(due(parts))} rows held out; the most frequent class: {share:.3f}")


if __name__ == "__main__":
    main()
