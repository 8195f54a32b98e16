"""Frozen features of static and of deep models: one tagging and one classification task, a table.

    python tests/benchmarks/frozen_features.py ROWS DIR [DIR …] [--seeds N] [--steps N] [--rows N]
        [--way WAY …]

ROWS: a folder of `examples/recipes/brown.py` (tags.train.jsonl, tags.dev.jsonl, genres.…). DIR: models, such as of
`minibert pretrain word2vec`, `elmo` and `bert`; nothing of them learns but the head over them; of models with several
layers also a mix of all (`--transfer mix`), as ELMo is used, or what WAYS say (layers:0: what enters the first layer).
Mean and deviation over the seeds of accuracy, tokens for tags and rows for classes, beside the constant answer's; then
by how much each is above the first, the same seeds in pairs, and the standard error of that.
"""

import argparse
import contextlib
import io
import itertools
import json
import random
import tempfile
from pathlib import Path

import numpy as np

import minibert
from minibert.errors import InputError
from minibert.finetuning import finetune

TASKS = {"tag": "tags", "classify": "genres"}


def labels(row):
    return {*row["tags"]} if "tags" in row else {row["label"]}


def some(path, count, folder, known=None):
    """(so many rows of a file, drawn, as a file in the folder; their labels); known: those that they may have."""
    held = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    held = [row for row in random.Random(0).sample(held, len(held)) if known is None or labels(row) <= known][:count]
    out = Path(folder, path.name)
    out.write_text("\n".join(map(json.dumps, held)), encoding="utf-8")
    return out, set().union(*map(labels, held))


def files(rows, count, folder):
    """{task: (training rows, rows to be held to)}"""
    found = {}
    for task, name in TASKS.items():
        train, known = some(rows / f"{name}.train.jsonl", count, folder)
        found[task] = train, some(rows / f"{name}.dev.jsonl", count // 4, folder, known)[0]
    return found


def measured(task, model, way, files, seed, steps, folder, tokens=128):
    """(accuracy, the constant answer's) of a run."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        given = {"train": files[0], "dev": files[1], "transfer": way, "seed": seed, "steps": steps, "threads": 1}
        run = finetune(task, model, out=folder, learning_rate=0.01, seq_length=tokens, **given)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return report["measures"]["accuracy"], report["constant"]["accuracy"]


def layers(model):
    """How many a model has, its table of words not counted."""
    held = minibert.load(model)
    tokens = held.module.read([held.tokenizer.encode("a")], held.tokenizer.pad_id)
    return len(held.encode(**tokens)["hidden_states"])


def spread(scores):
    """Their standard deviation, of a sample."""
    return np.std(scores, ddof=1) if len(scores) > 1 else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, metavar="ROWS")
    parser.add_argument("models", nargs="+", metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", dest="count", type=int, default=4000)
    parser.add_argument("--way", action="append", help="of `minibert finetune --transfer`; default: frozen, and mix")
    args = parser.parse_args()
    print(f"{'model':<24}{'way':<10}" + "".join(f"{task:>44}" for task in TASKS))
    with tempfile.TemporaryDirectory() as place:
        given = files(args.rows, args.count, place)
        first = {}
        for model, way in itertools.product(args.models, args.way or ("frozen", "mix")):
            if way == "mix" and not args.way and layers(model) < 2:
                continue
            cells = []
            for task in TASKS:
                try:
                    found = [measured(task, model, way, given[task], seed, args.steps,
                                      Path(place, f"{task}-{len(cells)}-{way}-{seed}-{Path(model).name}"))
                             for seed in range(args.seeds)]  # fmt: skip
                except InputError as error:
                    print(f"{model}, {way}, {task}: {error}")
                    cells.append("none")
                    continue
                scores, constant = zip(*found, strict=True)
                cells.append(f"{np.mean(scores):12.3f} ± {spread(scores):.3f} ({constant[0]:.2f})")
                apart = np.subtract(scores, first.setdefault(task, scores))
                cells[-1] += f" {np.mean(apart):+.3f} ± {spread(apart) / len(apart) ** 0.5:.3f}" if apart.any() else ""
            print(f"{Path(model).name:<24}{way:<10}" + "".join(f"{cell:>44}" for cell in cells), flush=True)
    print(f"models: {', '.join(minibert.load(model).family for model in args.models)}; in brackets the constant answer")


if __name__ == "__main__":
    main()
