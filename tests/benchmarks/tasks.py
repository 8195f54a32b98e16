"""What fine-tuning comes to, over seeds: python tests/benchmarks/tasks.py TABLE MODEL [--data DIR] [--seeds N]
[--steps N] [--rows N] [--held-out N] [--tokens N] [--json FILE]

    classify   which module of the standard library a docstring is from; needs no data
    tag        parts of speech, `examples/recipes/brown.py`
    answer     headwords, choose definitions, similar likeness: `examples/recipes/wordnet.py`

DIR is the recipe's OUT. Rows of the table: MODEL's weights, and those of the same network as it is created, each tuned
alike; of similar the three ways to compare two texts, and MODEL's cosines before any step. A seed draws the order of
the rows, what is dropped and what is new. Printed for each are the held-out measures of every seed, their mean and
standard deviation, beside what a constant answer gets.
"""

import argparse
import contextlib
import io
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import config as configs
from minibert import finetuning


class Table(NamedTuple):
    """The task, the name of its rows among the recipe's, () of the default rows."""

    task: str
    file: str = ""


TABLES = {"classify": Table("classify"), "tag": Table("tag", "tags"), "answer": Table("answer", "headwords"),
          "choose": Table("choose", "choices"), "similar": Table("similar", "likeness")}  # fmt: skip
NOTHING = {"learning_rate": 1e-12, "steps": 1}  # a run that leaves the weights as they are


def arms(table: str, model: Path, fresh: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """{label: (the directory that is tuned, its options)}."""
    if table == "similar":
        ways = {f"{by}, tuned": (model, {"by": by}) for by in ("cosine", "contrastive", "tensor")}
        return {"cosine, as it is": (model, {"by": "cosine", **NOTHING}), **ways}
    return {"pre-trained": (model, {}), "new weights": (fresh, {})}


def created(model: Path, folder: Path, seed: int) -> Path:
    """A directory with the same network and vocabulary, and weights as they are created."""
    held = minibert.load(model)
    fresh = minibert.create(held.family, seed=seed, **configs.to_fields(held.config))
    fresh.tokenizer = held.tokenizer
    fresh.save(folder / f"new-{seed}")
    return folder / f"new-{seed}"


def classes(line: str) -> list[str]:
    """The tags or the label of a row, where they are classes."""
    row = json.loads(line)
    return row.get("tags") or [label for label in [row.get("label")] if isinstance(label, str)]


def parts(train: list[str], dev: list[str], count: int, held_out: int) -> tuple[list[str], list[str]]:
    """The first rows of two files, all of them for 0; of those held out only rows whose classes the others have."""
    train = train[: count or None]
    known = {name for line in train for name in classes(line)}
    told = (line for line in dev if {*classes(line)} <= known)
    return train, [*itertools.islice(told, held_out or None)]


def measured(table: str, model: Path, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """{label: the report of each seed}."""
    task, found = TABLES[table], {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given: dict[str, Any] = {"steps": args.steps, "seq_length": args.tokens, "batch_size": args.batch}
        if task.file:
            paths = {name: args.data / f"{task.file}.{name}.jsonl" for name in ("train", "dev")}
            lines = (path.read_text(encoding="utf-8").splitlines(keepends=True) for path in paths.values())
            given |= {name: folder / path.name for name, path in paths.items()}
            for name, some in zip(paths, parts(*lines, args.rows, args.held_out), strict=True):
                given[name].write_text("".join(some), encoding="utf-8")
        for seed in range(args.seeds):
            for label, (directory, options) in arms(table, model, created(model, folder, seed)).items():
                out = folder / f"{seed}-{len(found)}-{label}"
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    finetuning.finetune(task.task, directory, out=out, seed=seed, **{**given, **options})
                found.setdefault(label, []).append(json.loads((out / "report.json").read_bytes()))
                first = next(iter(found[label][-1]["measures"]))
                print(f"seed {seed}, {label}: {first} {found[label][-1]['measures'][first]:.3f}", flush=True)
    return found


def row(label: str, reports: list[dict[str, Any]]) -> str:
    """A line of the table: the first two measures, mean ± deviation over the seeds."""
    names = [*reports[0]["measures"]][:2]
    sides = ([report["measures"][name] for report in reports] for name in names)
    said = [f"{name} {statistics.mean(side):.3f} ± {statistics.stdev(side) if len(side) > 1 else 0:.3f}"
            for name, side in zip(names, sides, strict=True)]  # fmt: skip
    first = names[0]
    return f"{label:<20}{'; '.join(said)}; constant {reports[0]['constant'][first]:.3f}; {reports[0]['rows']:,} rows"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    for name, default in (("seeds", 3), ("steps", 0), ("rows", 0), ("held-out", 0), ("tokens", 128), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measured(args.table, args.model, args)
    for label, reports in found.items():
        print(row(label, reports))
    if args.json:
        args.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
