"""What is inside models of three seeds: python tests/benchmarks/looking.py TABLE RUN [RUN …] [--seeds N] [--data DIR]
[--json FILE]

    heads      a classifier's attention heads leave, the least important first: by gradient, by leaving out, at random,
               and the most important first; what is right then, and the time a row takes
    surface    between the start and the end of fine-tuning: how deep and how wide the basin is, and what is right of
               held-out rows; pre-trained and new weights, two rates each
    layers     what a linear classifier reads off each layer: parts of speech, kinds of meaning, the document of a
               sentence; of each RUN, and of its network with new weights
    mixes      the share of each layer in a mix that learns with a head: tags, kinds

RUN: directories of `minibert pretrain`, one a seed, or one for all seeds of what is drawn afterwards. The tasks of
heads and surface are docstrings of the standard library, told apart by module; layers and mixes need --data, a folder
of `examples/recipes/brown.py` and `wordnet.py`.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import corpus, finetuning, tree, uses
from minibert.adapters import mix
from minibert.analysis import probing, pruning, surface
from minibert.rows import docstrings, halves
from tests.benchmarks.tasks import created

TOKENS, STEPS, RATE = 48, 200, 6e-4
Figures = dict[str, dict[str, float]]  # {row of the table: {column: figure}}


def tuned(task: str, model: Path, out: Path, **options: Any) -> Any:
    """The model of a run that says nothing."""
    given = {"batch_size": 16, "accumulate": 1, "seq_length": TOKENS, "threads": 1, "steps": STEPS, **options}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return minibert.load(finetuning.finetune(task, model, out=out, **given))


@functools.cache
def modules(folder: Path) -> tuple[dict[str, list[dict[str, str]]], dict[str, Path]]:
    """Docstrings and their modules, to learn from and to be asked, and files of them."""
    rows = docstrings.rows("classify")
    files = {part: folder / f"modules.{part}.jsonl" for part in rows}
    for part, path in files.items():
        path.write_text("\n".join(map(json.dumps, rows[part])), encoding="utf-8")
    return rows, files


def right(model: Any, placed: list) -> float:
    """The share of rows that are right."""
    (task,) = model.uses
    said = uses.answered(model, task, placed, TOKENS)
    return float(np.mean([row["label"] == own["label"] for (_, row), own in zip(placed, said, strict=True)]))


def loss(model: Any, batches: list) -> float:
    """The mean over batches of rows."""
    sizes = [len(next(iter(batch.values()))) for batch in batches]
    return float(np.average([model.loss(batch)[0] for batch in batches], weights=sizes))


# ---- Heads -----------------------------------------------------------------------------------------------------------
def heads(run: Path, seed: int, folder: Path, data: Path | None) -> Figures:
    """{how heads go: {so many are left: what is right}}, how alike both importances are, and the time of a row."""
    rows, files = modules(folder)
    model = tuned("classify", run, folder / f"{seed}", learning_rate=RATE, seed=seed, **files)
    telling, asked = halves([("", row) for row in rows["dev"]])
    scores = {"by gradient": pruning.importance(model, uses.batched(model, telling, TOKENS, 16)),
              "by leaving out": pruning.left_out(model, uses.batched(model, telling, TOKENS, 16))}  # fmt: skip
    orders = {name: pruning.order(held) for name, held in scores.items()}
    orders["at random"] = random.Random(seed).sample(orders["by gradient"], len(orders["by gradient"]))
    orders["the most important first"] = orders["by gradient"][::-1]
    total = sum(pruning.heads(model).values())
    kept = [total, total * 3 // 4, total // 2, total * 3 // 8, total // 4]
    found: Figures = {}
    for name, order in orders.items():
        shrunk = {left: one for left, one in pruning.shrinking(model, order) if left in kept}
        found[name] = {f"{left} heads": right(one, asked) for left, one in shrunk.items()}
    ranks = [np.argsort(np.argsort(np.concatenate([*held.values()]))) for held in scores.values()]
    inputs = next(uses.batched(model, asked[:64], TOKENS, 64))
    found["milliseconds a row"] = {f"{left} heads": milliseconds(one, inputs) for left, one in shrunk.items()}
    found["parameters"] = {f"{n} heads": sum(a.size for a in tree.leaves(one.params)) for n, one in shrunk.items()}
    found["rank correlation of both"] = {f"{total} heads": float(np.corrcoef(*ranks)[0, 1])}
    return found


def milliseconds(model: Any, batch: dict[str, Any], times: int = 15) -> float:
    """Processor time of a forward of a row, the fastest of so many."""
    took = []
    for _ in range(times):
        began = time.process_time()
        model.loss(batch)
        took.append(time.process_time() - began)
    return 1000 * min(took) / len(next(iter(batch.values())))


# ---- Surfaces --------------------------------------------------------------------------------------------------------
PLACES = np.linspace(-1, 3, 17)
ASIDE = (0.5, 1.0)  # of the norm of each row of the end, along drawn directions


def surfaces(run: Path, seed: int, folder: Path, data: Path | None) -> Figures:
    """{where from and at which rate: the basin's figures}"""
    rows, files = modules(folder)
    counts = {"train": 160, "dev": 400}
    placed = {part: [("", row) for row in random.Random(seed).sample(rows[part], n)] for part, n in counts.items()}
    found: Figures = {}
    for name, begin in {"pre-trained": run, "new weights": created(run, folder, seed)}.items():
        for rate in (RATE, 2e-3):
            out = folder / f"{seed}-{name}-{rate}"
            start = tuned("classify", begin, Path(f"{out}-0"), steps=1, learning_rate=1e-12, seed=seed, **files)
            end = tuned("classify", begin, out, learning_rate=rate, seed=seed, **files)
            batches = {part: [*uses.batched(end, held, TOKENS, 32)] for part, held in placed.items()}
            found[f"{name}, rate {rate:g}"] = {**basin(start, end, batches["train"]),
                                               "held-out loss": loss(end, batches["dev"]),
                                               "right": right(end, placed["dev"])}  # fmt: skip
    return found


def basin(start: Any, end: Any, batches: list) -> dict[str, float]:
    """|θ₁ - θ₀| / |θ₀|; the training loss at the end, and by how much it is below the start's; along the line for which
    share of the way it is at most half of that above the end's, and the same in |θ₀|; how much it rises along three
    drawn directions.
    """

    def at(params: Any) -> float:
        return loss(minibert.Model(end.family, end.config, params, end.tokenizer, uses=end.uses), batches)

    delta = surface.difference(end.params, start.params)
    sizes = [float(np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in tree.leaves(t))))
             for t in (delta, start.params)]  # fmt: skip
    line = surface.line(at, start.params, end.params, [0.0, 1.0, *PLACES])
    first, last, walked = line[0], line[1], line[2:]
    low = walked <= last + (first - last) / 2
    middle = int(np.argmin(np.abs(PLACES - 1)))
    ends = [middle]
    for step in (-1, 1):
        place = middle
        while 0 <= place + step < len(PLACES) and low[place + step]:
            place += step
        ends.append(place)
    width = float(PLACES[max(ends)] - PLACES[min(ends)])
    rises = []
    for n in range(3):
        drawn = surface.drawn(end.params, np.random.default_rng(n))
        rises.append([at(tree.map(lambda t, d, share=share: t + t.dtype.type(share) * d, end.params, drawn))
                      for share in ASIDE])  # fmt: skip
    sides = {f"rise aside, {share:g}": float(rise - last) for share, rise in zip(ASIDE, np.mean(rises, 0), strict=True)}
    return {"way": sizes[0] / sizes[1], "training loss": last, "depth": first - last, "width": width,
            "width of the start": width * sizes[0] / sizes[1], **sides}  # fmt: skip


# ---- Layers ----------------------------------------------------------------------------------------------------------
def first(path: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """So many rows of a file, drawn."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in random.Random(seed).sample(lines, min(count, len(lines)))]


def sentences(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Sentences of the text that Python ships and the document of each: 40 documents of which 30 are drawn each."""
    documents = [(n, each) for n, each in enumerate(corpus.default_documents()) if len(each) >= 30]
    for n, document in random.Random(seed).sample(documents, min(40, len(documents))):
        for text in random.Random(n).sample(document, min(count // 40, len(document))):
            yield {"text": text, "label": f"{n}"}


def layers(run: Path, seed: int, folder: Path, data: Path | None) -> Figures:
    """{layer: {what: the share that the probe gets right}}, with new weights too, and of the most frequent answer."""
    texts = [*sentences(1200, seed)]
    asked = {"part of speech": (probing.words, first(data / "tags.train.jsonl", 300, seed)),
             "kind of meaning": (probing.texts, first(data / "kinds.train.jsonl", 1200, seed)),
             "document": (probing.texts, texts)}  # fmt: skip
    found: Figures = defaultdict(dict)
    for name, directory in {"": run, "new: ": created(run, folder, seed)}.items():
        model = minibert.load(directory)
        for what, (states, rows) in asked.items():
            told, apart = (
                states(model, part, uses.longest(model, TOKENS)) for part in halves([("", row) for row in rows])
            )
            names = {label: i for i, label in enumerate(sorted({*told[1]}))}
            taught, due = np.array([names[label] for label in told[1]]), [names.get(label, -1) for label in apart[1]]
            often = Counter(taught.tolist()).most_common(1)[0][0]
            found["most frequent answer"][what] = float(np.mean(np.array(due) == often))
            for i, (before, after) in enumerate(zip(told[0], apart[0], strict=True)):
                share = probing.accuracy(probing.fitted(before, taught, 1e-2), after, np.array(due))
                found[f"{name}{f'layer {i}' if i else 'embeddings'}"][what] = share
    return dict(found)


def mixes(run: Path, seed: int, folder: Path, data: Path | None) -> Figures:
    """{layer: {task: its share of the mix}}."""
    found: Figures = defaultdict(dict)
    for what, (task, file) in {"part of speech": ("tag", "tags"), "kind of meaning": ("classify", "kinds")}.items():
        given = {"train": folder / f"{seed}-{file}.jsonl"}
        rows = first(data / f"{file}.train.jsonl", 900, seed)
        given["train"].write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        model = tuned(task, run, folder / f"{seed}-{file}", transfer="mix", learning_rate=1e-2, seed=seed, steps=150,
                      seq_length=uses.longest(minibert.load(run), TOKENS),
                      **given)  # fmt: skip
        for i, share in enumerate(mix.shares(model.params).tolist()):
            found[f"layer {i}" if i else "embeddings"][what] = share
    return dict(found)


# ---- Tables ----------------------------------------------------------------------------------------------------------
TABLES = {"heads": heads, "surface": surfaces, "layers": layers, "mixes": mixes}


def shown(reports: list[Figures]) -> Iterator[str]:
    """Markdown: mean ± standard deviation over the seeds, and the paired difference from the first row ± its standard
    error.
    """
    columns = [*dict.fromkeys(column for row in reports[0].values() for column in row)]
    yield f"| {len(reports)} seeds | " + " | ".join(columns) + " |"
    yield "|" + "---|" * (len(columns) + 1)
    base = next(iter(reports[0]))
    for row in reports[0]:
        cells = []
        for column in columns:
            values = [report[row][column] for report in reports if column in report[row]]
            cells.append(spread(values, 1) if values else "")
        yield f"| {row} | " + " | ".join(cells) + " |"
    for row, column in itertools.product([*reports[0]][1:], columns):
        if all(column in report[name] for report in reports for name in (base, row)):
            apart = [report[row][column] - report[base][column] for report in reports]
            yield f"{row} less {base}, {column}: {spread(apart, len(apart) ** 0.5)}"


def spread(values: list[float], divisor: float) -> str:
    """Mean ± deviation over the divisor."""
    deviation = statistics.stdev(values) / divisor if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


def correlations(reports: list[Figures]) -> Iterator[str]:
    """Of a surface's figures with what is right, over all rows: rank correlation."""
    rows = [row for report in reports for row in report.values()]
    ranks = {column: np.argsort(np.argsort([row[column] for row in rows])) for column in rows[0]}
    for column in rows[0]:
        yield f"rank correlation of {column} and right: {np.corrcoef(ranks[column], ranks['right'])[0, 1]:+.2f}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--seeds", type=int, default=3, help="of one RUN; default 3")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    reports, began = [], time.process_time()
    once = functools.cache(corpus.default_documents)
    with mock.patch.object(corpus, "default_documents", once), tempfile.TemporaryDirectory() as temporary:
        for seed, run in enumerate(args.runs if len(args.runs) > 1 else args.runs * args.seeds):
            reports.append(TABLES[args.table](run, seed, Path(temporary), args.data))
            print(f"seed {seed}: {time.process_time() - began:.0f} CPU seconds", file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print("\n".join(shown(reports)))
    if args.table == "surface":
        print("\n".join(correlations(reports)))


if __name__ == "__main__":
    main()
