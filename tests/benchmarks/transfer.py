"""What each way to transfer comes to, over seeds: python tests/benchmarks/transfer.py TASK MODEL [--train FILE]
[--dev FILE] [--rows N] [--held-out N] [--seeds N] [--steps N] [--ways WAY …] [--other TASK --other-train FILE]
[--svg FILE] [--json FILE]

TASK: classify learns from the standard library's docstrings unless a file is given; any other needs one, of which the
first `--rows` are learnt and the first `--held-out` of DEV asked, 0: all. For every way and seed MODEL is tuned alike,
but for the rate: ways that train a few parameters alone get ten times that of others. Printed for each way: the
held-out measure, mean and deviation over the seeds; the paired difference from the first way and its standard error;
the share of the parameters that learn; of `mix`, the mean share of each layer, which --svg draws. Beside the ways of
`minibert.transfer`:

    untrained        the network as it is created, tuned as a whole
    two-stage        MODEL tuned for OTHER first, then for TASK
    halved           the top half of the layers left out by `shallow`, without a teacher; and with one, `distil`
    quantised        what "full" gives, in eight bits: per tensor, per channel
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import finetuning, quantization, tasks, transfer, tree, uses
from minibert.adapters import mix
from minibert.analysis import pictures
from minibert.rows import docstrings
from tests.benchmarks.tasks import created, parts

WAYS = ("full", "frozen", "adapter", "lora", "pals", "layers:0", "layers:1", "layers:2", "mix", "gradual", "sequential",
        "discriminative", "ensemble", "self-distil", "untrained", "halved", "distil", "two-stage")  # fmt: skip
FEW = ("frozen", "adapter", "lora", "layers", "mix")  # ways that get ten times the rate


def learning(directory: Path, way: str, task: str) -> float:
    """The share of the parameters that ever learn."""
    held, way = minibert.load(directory), way.partition("+distil")[0]
    own = held if held.tasks == (task,) else held.with_task(task)
    new = frozenset(path for path, _ in tree.items(own.params) if path.partition(".")[0] in (task, tasks.SUMMARY))
    moved = transfer.begun(way, own, new)
    rates = moved.rates(100, 10, lambda step: 1.0)
    sizes = {path: a.size for path, a in tree.items(moved.learner.params)}
    some = [path for path in sizes if rates is None or any(rates(path, step) is not None for step in range(100))]
    return sum(sizes[path] for path in some) / sum(sizes.values())


def tuned(task: str, model: Path, out: Path, seed: int, way: str, given: dict[str, Any]) -> dict[str, Any]:
    """The report of a run that says nothing, and its seconds."""
    began = time.perf_counter()
    rate = 0.0384 / 64 * (10 if way.partition(":")[0] in FEW else 1)
    schedule = "slanted_triangular" if "gradual" in way or "discriminative" in way else "bert"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        options = {"learning_rate": rate, "schedule": schedule, **given, "transfer": way, "seed": seed}
        finetuning.finetune(task, model, out=out, **options)
    return {**json.loads((out / "report.json").read_bytes()), "seconds": time.perf_counter() - began}


def in_eight_bits(task: str, directory: Path, given: dict[str, Any]) -> dict[str, float]:
    """{how: the first measure of the held-out rows}, and the share of the bytes that are left."""
    model = minibert.load(directory)
    (own,), use = model.uses, uses.of(model.uses[0])
    apart = docstrings.rows(task)["dev"] if "dev" not in given else [*finetuning.rows.read(given["dev"], task)]
    found = {}
    for name, per_channel in (("per tensor", False), ("per channel", True)):
        small = quantization.weights(model, per_channel)
        with quantization.running(model, small):
            said = [*uses.answered(model, own, [("", row) for row in apart], given.get("seq_length", 128))]
        first = next(iter(use.measures(own, apart, said).items()))
        before, after = quantization.size(model, small)
        found |= {f"{name}, {first[0]}": first[1], f"{name}, bytes": after / before}
    return found


def runs(args: argparse.Namespace, folder: Path, given: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{way: the report of each seed}."""
    found: dict[str, list[dict[str, Any]]] = {}
    half = max(1, minibert.load(args.model).config.num_hidden_layers // 2)
    for seed in range(args.seeds):
        full = folder / f"{seed}-full"
        for way in args.ways:
            begin, said = args.model, way
            if way == "untrained":
                begin, said = created(args.model, folder, seed), "full"
            elif way == "halved":
                said = f"shallow:{half}"
            elif way == "distil":
                said = f"shallow:{half}+distil:{full}"
            elif way == "two-stage":
                if args.other is None:
                    continue
                begin, said = folder / f"{seed}-other", "full"
                tuned(args.other, args.model, begin, seed, "full", {**given, "train": args.other_train, "dev": None})
            out = folder / f"{seed}-{way.replace(':', '-')}"
            report = tuned(args.task, begin, out, seed, said, given)
            report["learning"] = learning(begin, said, args.task)
            if way == "mix":
                report["shares"] = mix.shares(minibert.load(out).params).tolist()
            found.setdefault(way, []).append(report)
            name, value = next(iter(report["measures"].items()))
            print(f"seed {seed}, {way}: {name} {value:.3f}, {report['seconds']:.0f} s", flush=True)
        if full.exists():
            found.setdefault("quantised", []).append(in_eight_bits(args.task, full, given))
    return found


def first(path: Path, folder: Path, rows: list[str]) -> Path:
    """A file of these rows in the folder, called as the one at the path."""
    (folder / path.name).write_text("".join(rows), encoding="utf-8")
    return folder / path.name


def spread(values: list[float]) -> str:
    """Mean ± deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def less(values: list[float], base: list[float]) -> str:
    """Mean ± standard error of the differences, seed by seed."""
    apart = [a - b for a, b in zip(values, base, strict=True)]
    error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0
    return f"{statistics.mean(apart):+.3f} ± {error:.3f}"


def shares(reports: list[dict[str, Any]]) -> list[float]:
    """The mean share of each layer."""
    return [statistics.mean(k) for k in zip(*(report["shares"] for report in reports), strict=True)]


def row(way: str, reports: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    """A line of the table; base: the reports of the way it is compared with."""
    if way == "quantised":
        return "\n".join(f"{way} {name:<28}{statistics.mean(r[name] for r in reports):.3f}" for name in reports[0])
    name = next(iter(reports[0]["measures"]))
    values, others = ([report["measures"][name] for report in side] for side in (reports, base))
    line = f"{way:<16}{name} {spread(values)}; {less(values, others)}; {reports[0]['learning']:.2%} learn"
    if "shares" in reports[0]:
        line += "; layers " + " ".join(f"{share:.2f}" for share in shares(reports))
    return line


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("task")
    parser.add_argument("model", type=Path)
    for name in ("train", "dev", "other-train", "svg", "json"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--other")
    parser.add_argument("--ways", nargs="+", default=WAYS)
    for name, default in (("seeds", 3), ("steps", 150), ("tokens", 48), ("batch", 16), ("rows", 0), ("held-out", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    given = {"steps": args.steps, "seq_length": args.tokens, "batch_size": args.batch, "accumulate": 1}
    files = {name: getattr(args, name) for name in ("train", "dev") if getattr(args, name)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if len(files) == 2:
            lines = (path.read_text(encoding="utf-8").splitlines(keepends=True) for path in files.values())
            some = parts(*lines, args.rows, args.held_out)
            files = {name: first(path, folder, own) for (name, path), own in zip(files.items(), some, strict=True)}
        found = runs(args, folder, {**given, **files})
    for way, reports in found.items():
        print(row(way, reports, next(iter(found.values()))))
    constants = next(iter(found.values()))[0]["constant"]
    print(f"constant answer: {next(iter(constants.values())):.3f}")
    if args.svg and "mix" in found:
        title = f"{args.task}: share of each layer's states in the mix, mean of {args.seeds} seeds"
        args.svg.write_text(pictures.bars(title, mix.called(shares(found["mix"]))), encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
