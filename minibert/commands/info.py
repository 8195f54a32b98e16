"""`minibert info`: what a directory holds, and what a training step of its model would."""

import argparse
import json
import sys
from dataclasses import fields
from typing import Any

import minibert
from minibert import batches, memory, objective, quantization, tasks, tree
from minibert.config import whole
from minibert.errors import printable, shortened
from minibert.options import ending
from minibert.progress import filled


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending("info runs/bert", "info runs/bert --memory --batch-size 32 --length 128")
    command = commands.add_parser("info", help="what a directory holds", epilog=examples)
    command.set_defaults(run=_info)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--memory", action="store_true", help="what a training step holds, by place")
    command.add_argument("--batch-size", type=int, default=8, metavar="ROWS", help="rows of that step; default 8")
    command.add_argument("--length", type=int, metavar="TOKENS", help="tokens of a row; default 128, or what fits")


def _info(args: argparse.Namespace) -> None:
    with quantization.opened(args.directory) as model:
        if args.memory:
            _memory(model, args.batch_size, args.length, args.json)
        else:
            _held(args, model)


def _held(args: argparse.Namespace, model: minibert.Model) -> None:
    flat = model.state_dict()
    heads = objective.needs(model.network, model.config)
    parts: dict[str, int] = {}
    for path, array in tree.items(model.params):
        part = path.split(".")[0]
        parts[part] = parts.get(part, 0) + array.size
    facts = {
        "family": model.family,
        "parameters": sum(array.size for array in flat.values()),
        "tensors": len(flat),
        "dtype": str(next(iter(flat.values())).dtype),
        "parts": parts,
        "heads": [head for head in heads if head in model.params],
        "absent": [head for head in heads if head not in model.params],
        "tied": _tied(model),
        "left": list(model.left),
        "eight_bits": quantization.matrices(args.directory),
        "tasks": {task.name: list(tasks.class_names(task)) for task in model.uses},
        "vocabulary": None if model.tokenizer is None else len(model.tokenizer),
        "config": {field.name: getattr(model.config, field.name) for field in fields(model.config)},
    }
    if args.json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{facts['family']}, {facts['parameters']:,} parameters in {facts['tensors']} tensors of {facts['dtype']}")
    for part, count in parts.items():
        print(f"  {part:<24}{count:>14,}")
    tied = [f"{name} (its table is that of the words)" for name in facts["tied"]]
    print(f"heads: {', '.join([*facts['heads'], *tied]) or 'none'}; absent: {', '.join(facts['absent']) or 'none'}")
    if facts["eight_bits"]:
        print(f"in eight bits: {facts['eight_bits']} matrices")
    for task, classes in facts["tasks"].items():
        named = f", {len(classes)} classes: {', '.join(map(printable, classes))}" if classes else ""
        print(filled(shortened(f"task: {task}{named}", 480), sys.stdout))
    if facts["left"]:
        print(f"left, as not known here: {shortened(', '.join(map(printable, facts['left'])), 480)}")
    print(f"vocabulary: {facts['vocabulary'] or 'none'}{' tokens' if facts['vocabulary'] else ''}")
    for name, value in facts["config"].items():
        print(f"  {name:<32}{value}")


def _tied(model: minibert.Model) -> list[str]:
    """The terms of the loss whose heads have no parameters of their own."""
    terms = model.network.terms(model.config)
    return [] if hasattr(model.network, "loss") else [name for name, term in terms.items() if term.part is None]


def _memory(model: minibert.Model, rows: int, length: int | None, as_json: bool) -> None:
    """The arrays between forward and backward; with them the gradient, the parameters and two moments are held."""
    longest, ragged = batches.longest(model.network, model.config), bool(model.network.lengths(model.config))
    whole("--batch-size", rows, 1, memory.MOST)
    if ragged:
        length = min(128, longest or 128) if length is None else length
        length = whole("--length", length, min(4, longest or 4), longest)
    held = memory.activations(model, rows, length)
    again = memory.activations(model, rows, length, keep="inputs")
    size = sum(array.nbytes for array in tree.leaves(model.params))
    totals = {"activations": sum(h.bytes for h in held), "recomputing_layers": sum(h.bytes for h in again),
              "parameters": size, "gradient": size, "two_moments": 2 * size}  # fmt: skip
    if as_json:
        print(json.dumps({"rows": rows, "length": length, **totals, "held": [h._asdict() for h in held]}, indent=2))
        return
    over = f"{rows} x {length} tokens" if ragged else f"{rows} rows"
    print(f"a step over {over}, {tree.leaves(model.params)[0].dtype}: what the backward finds")
    for place, arrays, amount in held:
        if amount > totals["activations"] / 1000:
            print(f"  {place:<55}{arrays:>6}{amount / 2**20:>12,.2f} MiB")
    for name, amount in totals.items():
        print(f"{name.replace('_', ' '):<57}{'':>6}{amount / 2**20:>12,.2f} MiB")
