"""What comes before a task, or beside it: python tests/benchmarks/stages.py TABLE MODEL --data DIR [--seeds N]
[--steps N] [--rows N] [--held-out N] [--svg FILE] [--json FILE]

    curves     which module a docstring is from, learnt by a network with new weights; by one that has read the training
               rows' docstrings alone; by MODEL; by MODEL after it has read them: the held-out measure over the updates
    two-stage  which kind of thing a definition of WordNet means, from few rows: MODEL tuned for it at once, for as many
               updates or for twice as many, and after as many of another task
    several    classify, regress, tag and relate over one network, each update one task's rows, against a network for
               each; with projected attention of each task's own

Of the others DIR has the rows, which `examples/recipes/wordnet.py` and `brown.py` write; some are drawn once. A seed,
of three, draws new weights and the order of the rows; all arms answer the same held-out rows, so that their differences
are paired.
"""

import argparse
import contextlib
import io
import json
import math
import random
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import finetuning, pretraining, tasks, training, uses
from minibert.analysis import pictures
from minibert.progress import doing
from minibert.rows import docstrings
from tests.benchmarks.tasks import created, parts
from tests.benchmarks.transfer import first, less, spread

RATE, BATCH = 0.0384 / 64, 16
Figures = dict[str, list[Any]]


def files(args: argparse.Namespace, folder: Path, name: str, count: int = 0) -> dict[str, Path]:
    """{"train", "dev": file} with so many rows of a recipe's files, the same for every seed."""
    paths, lines = {part: args.data / f"{name}.{part}.jsonl" for part in ("train", "dev")}, []
    for path in paths.values():
        known = path.read_text(encoding="utf-8").splitlines(keepends=True)
        lines.append([line for line in known if name != "relations" or _near(json.loads(line))])
        random.Random(0).shuffle(lines[-1])  # they stand sorted
    some = parts(*lines, count or args.rows, args.held_out)
    return {part: first(path, folder, own) for (part, path), own in zip(paths.items(), some, strict=True)}


def _near(row: dict[str, Any]) -> bool:
    """Whether a model that reads few tokens reads both parts."""
    return abs(row["head"][0] - row["tail"][0]) < 100


@contextlib.contextmanager
def silently() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


# ---- Learning curves -------------------------------------------------------------------------------------------------
COLOURS = ("#5b6474", "#0891b2", "#2563eb", "#d94628")


def curve(
    model: Path, folder: Path, given: dict[str, list[dict[str, Any]]], args: argparse.Namespace, seed: int
) -> list[float]:  # fmt: skip
    """The share of the held-out rows that is right after every `args.every` updates, before the first, too."""
    learnt, held = ([("", row) for row in given[name]] for name in ("train", "dev"))
    settings = uses.of(tasks.made("classify", {})).settings("classify", [row for _, row in learnt])
    own = minibert.load(model).with_task("classify", seed=seed, **settings)
    batch, judged = (uses.batch(own, *uses.labelled(own, some, args.tokens)) for some in (learnt, held))
    plan = training.Plan(steps=args.steps, batch_size=BATCH, learning_rate=RATE, warmup=args.steps // 10, seed=seed,
                         checkpoint_every=args.steps)  # fmt: skip
    found = [_right(own, judged)]

    def seen(optimizer: Any) -> Any:
        new, update = optimizer

        def step(params: Any, grads: Any, state: Any, **kept: Any) -> None:
            update(params, grads, state, **kept)
            if (state["step"] + 1) % args.every == 0:
                found.append(_right(own, judged))

        return new, step

    def chosen(step: int) -> list[training.Batch]:
        some = training.order(step, BATCH, len(learnt), seed)
        return training.micro_batches(own, {name: array[some] for name, array in batch.items()}, plan, step, True)

    training.fit(own, plan, folder, chosen, around=seen)
    return found


def _right(model: Any, judged: training.Batch) -> float:
    return training.evaluation(model, judged)["accuracies"]["classify"]


def curves(args: argparse.Namespace, folder: Path) -> Figures:
    """{what came before: the curve of each seed}."""
    given, found, text = docstrings.rows("classify"), {}, folder / "domain.txt"
    given["dev"] = given["dev"][::3]  # which stand by module; some, as each curve asks them nine times
    documents = (re.sub(r"(?<=[.!?]) ", "\n", row["text"]) for row in given["train"])  # a sentence a line
    text.write_text("\n\n".join(documents), encoding="utf-8")
    for seed in range(args.seeds):
        new = created(args.model, folder, seed)

        def reading(start: Path, seed: int = seed) -> Path:
            read = {"steps": args.domain, "learning_rate": 1e-3, "duplicates": 1, "seed": seed, "threads": 1}
            return pretraining.pretrain("bert", [text], folder / f"{start.name}-{seed}-read", start=start, **read)

        arms = {"nothing": lambda new=new: new, "domain": lambda new=new: reading(new), "general": lambda: args.model,
                "general, then domain": lambda: reading(args.model)}  # fmt: skip
        for name, made in arms.items():
            with silently():
                values = curve(made(), folder / f"{seed}-{name}", given, args, seed)
            found.setdefault(name, []).append(values)
            print(f"seed {seed}, {name}: {values[0]:.3f} to {values[-1]:.3f}", flush=True)
    return found


def reached(values: list[float], due: float, every: int) -> int | None:
    """Updates until a curve is at `due`; None: never."""
    return next((i * every for i, value in enumerate(values) if value >= due), None)


def curves_said(found: Figures, args: argparse.Namespace) -> Iterator[str]:
    base = next(iter(found.values()))
    yield "| before the task | right at the end | less the first | updates until the first's end |\n|---|---|---|---|"
    for name, several in found.items():
        ends = [values[-1] for values in several]
        steps = [reached(values, other[-1], args.every) for values, other in zip(several, base, strict=True)]
        said = ", ".join("never" if step is None else str(step) for step in steps)
        yield f"| {name} | {spread(ends)} | {less(ends, [values[-1] for values in base])} | {said} |"


WIDE, HIGH, LEFT, TOP = 460, 260, 44, 30


def picture(found: Figures, every: int) -> str:
    """A line an arm, the mean over the seeds, and each seed's in faint behind it."""
    values = [value for several in found.values() for own in several for value in own]
    step = 0.1 if max(values) > 0.3 else 0.05
    count, last = math.ceil(max(values) / step - 1e-9), (len(next(iter(found.values()))[0]) - 1) * every
    most = count * step

    def line(own: list[float], colour: str, style: str) -> str:
        points = " ".join(f"{LEFT + i * every / last * WIDE:.1f},{TOP + (1 - value / most) * HIGH:.1f}"
                          for i, value in enumerate(own))  # fmt: skip
        return f'<polyline points="{points}" fill="none" stroke="{colour}" {style}/>'

    parts = [f'<text class="title" x="{LEFT}" y="{TOP - 12}">share of held-out rows that is right, over updates</text>',
             f'<rect x="{LEFT}" y="{TOP}" width="{WIDE}" height="{HIGH}"/>']  # fmt: skip
    for i in range(count + 1):
        down = TOP + HIGH * (1 - i / count)
        parts.append(f'<text x="{LEFT - 5}" y="{down + 3:.1f}" text-anchor="end">{step * i:.2f}</text>')
    for i in range(5):
        across = LEFT + WIDE * i / 4
        parts.append(f'<text x="{across:.1f}" y="{TOP + HIGH + 14}" text-anchor="middle">{last * i // 4}</text>')
    for i, ((name, several), colour) in enumerate(zip(found.items(), COLOURS, strict=False)):
        parts += [line(own, colour, 'stroke-width="1" opacity="0.25"') for own in several]
        parts.append(line([statistics.mean(at) for at in zip(*several, strict=True)], colour, 'stroke-width="2"'))
        x, y = LEFT + 8, TOP + 16 + 14 * i
        parts.append(f'<polyline points="{x},{y - 3} {x + 18},{y - 3}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{pictures.text(name)}</text>')
    label = f"learning curves after {', '.join(found)}"
    return pictures.svg("".join(parts), LEFT + WIDE + 20, TOP + HIGH + 24, label, alone=True)


# ---- One task behind another -----------------------------------------------------------------------------------------
OTHERS = {"relate": "relations", "tag": "tags"}  # what is learnt before, and its rows


def two_stage(args: argparse.Namespace, folder: Path) -> Figures:
    """{arm: the report of each seed}."""
    found: Figures = {}
    given = {"seq_length": args.tokens, "batch_size": BATCH, "accumulate": 1, "learning_rate": RATE, "threads": 1}
    target = files(args, folder, "kinds")
    before = {name: files(args, folder, file, 16 * args.steps) for name, file in OTHERS.items()}
    for seed in range(args.seeds):

        def tuned(task: str, start: Path, steps: int, name: str, seed: int = seed, **own: Any) -> Path:
            out = folder / f"{seed}-{name}"
            with silently():
                return finetuning.finetune(task, start, out=out, steps=steps, seed=seed, **{**given, **own})

        arms = {"at once": lambda: (args.model, args.steps), "at once, twice the updates": lambda:
                (args.model, 2 * args.steps), "after the modules of docstrings":
                lambda: (tuned("classify", args.model, args.steps, "modules"), args.steps)}  # fmt: skip
        for name, file in OTHERS.items():
            arms[f"after {file}"] = lambda name=name, file=file: (
                tuned(name, args.model, args.steps, file, **before[name]), args.steps)  # fmt: skip
        for name, made in arms.items():
            start, steps = made()
            out = tuned("classify", start, steps, f"{name} end".replace(" ", "-"), **target)
            found.setdefault(name, []).append(json.loads((out / "report.json").read_bytes()))
            print(f"seed {seed}, {name}: {found[name][-1]['measures']}", flush=True)
    return found


def two_stage_said(found: Figures, args: argparse.Namespace) -> Iterator[str]:
    base = next(iter(found.values()))
    measure = next(iter(base[0]["measures"]))
    yield f"| arm | {measure} | less the first |\n|---|---|---|"
    for name, reports in found.items():
        values, others = ([report["measures"][measure] for report in side] for side in (reports, base))
        yield f"| {name} | {spread(values)} | {less(values, others)} |"
    yield f"constant answer: {base[0]['constant'][measure]:.3f}"


# ---- Tasks beside one another ----------------------------------------------------------------------------------------
FOUR = {"classify": ("kinds", 8), "tag": ("tags", 4), "regress": ("likeness", 2), "relate": ("relations", 1)}
SHARED = {"shared, proportional": ("full", "proportional"), "shared, square root": ("full", "root"),
          "shared, annealed": ("full", "annealed"),
          "shared, projected attention, annealed": ("pals", "annealed")}  # fmt: skip


def several(args: argparse.Namespace, folder: Path) -> Figures:
    """{arm: {task: its report} of each seed}. Of N updates a network of a task's own gets as many as its share of the
    rows, or a quarter.
    """
    found: Figures = {}
    given = {"seq_length": args.tokens, "batch_size": BATCH, "accumulate": 1, "learning_rate": RATE, "threads": 1}
    sizes = {task: args.rows * share // 8 for task, (_, share) in FOUR.items()}
    held = {task: files(args, folder, file, sizes[task]) for task, (file, _) in FOUR.items()}
    every = {part: {task: own[part] for task, own in held.items()} for part in ("train", "dev")}
    for seed in range(args.seeds):

        def tuned(task: str, name: str, seed: int = seed, **own: Any) -> dict[str, Any]:
            out = folder / f"{seed}-{name}".replace(" ", "-")
            with silently():
                finetuning.finetune(task, args.model, out=out, seed=seed, **{**given, **own})
            return json.loads((out / "report.json").read_bytes())

        total = sum(sizes.values())
        alone = {"alone, updates by rows": {task: round(args.steps * size / total) for task, size in sizes.items()},
                 "alone, as many of each": dict.fromkeys(sizes, args.steps // 4)}  # fmt: skip
        for name, steps in alone.items():
            reports = {task: tuned(task, f"{name} {task}", steps=steps[task], **held[task]) for task in FOUR}
            found.setdefault(name, []).append(reports)
        for name, (way, sampling) in SHARED.items():
            own = {**every, "steps": args.steps, "transfer": way, "sampling": sampling}
            found.setdefault(name, []).append(tuned("+".join(FOUR), name, **own)["tasks"])
        for name, own in found.items():
            said = "; ".join(f"{task} {_figure(own[-1], task):.3f}" for task in FOUR)
            print(f"seed {seed}, {name}: {said}", flush=True)
    return found


def _figure(reports: dict[str, Any], task: str) -> float:
    return next(iter(reports[task]["measures"].values()))


def several_said(found: Figures, args: argparse.Namespace) -> Iterator[str]:
    base = next(iter(found.values()))
    measures = [f"{task}, {next(iter(base[0][task]['measures']))}" for task in FOUR]
    yield f"| arm | {' | '.join(measures)} | mean, less the first |\n|---{'|---' * (len(FOUR) + 1)}|"
    for name, reports in found.items():
        values = {task: [_figure(one, task) for one in reports] for task in FOUR}
        means, others = ([statistics.mean(_figure(one, task) for task in FOUR) for one in side]
                         for side in (reports, base))  # fmt: skip
        yield f"| {name} | {' | '.join(spread(own) for own in values.values())} | {less(means, others)} |"
    constants = (next(iter(base[0][task]["constant"].values())) for task in FOUR)
    yield f"| constant answer | {' | '.join(f'{value:.3f}' for value in constants)} | |"


TABLES = {"curves": (curves, curves_said, {"steps": 200, "rows": 0, "tokens": 48}),
          "two-stage": (two_stage, two_stage_said, {"steps": 120, "rows": 1000, "tokens": 64}),
          "several": (several, several_said, {"steps": 200, "rows": 600, "tokens": 64})}  # fmt: skip


def main(given: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the recipes' OUT")
    for name, default in (("seeds", 3), ("held-out", 300), ("every", 25), ("domain", 150)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    for name in ("steps", "rows", "tokens"):
        parser.add_argument(f"--{name}", type=int, metavar="N")
    for name in ("svg", "json"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE")
    args = parser.parse_args(given)
    found, said, defaults = TABLES[args.table]
    for name, value in defaults.items():
        setattr(args, name, getattr(args, name) or value)
    with tempfile.TemporaryDirectory() as temporary, doing(args.table):
        figures = found(args, Path(temporary))
    print("\n".join(said(figures, args)))
    if args.json:
        args.json.write_text(json.dumps(figures), encoding="utf-8")
    if args.svg and args.table == "curves":
        args.svg.write_text(picture(figures, args.every), encoding="utf-8")


if __name__ == "__main__":
    main()
