"""How the cost of a training step grows: python tests/benchmarks/growth.py [--repeats N] [--json FILE] [--plot FILE]

A forward and backward pass of a small BERT, one size doubled again and again while the others stay. Printed for each
size: seconds, the bytes that the pass holds between its forward and its backward, and at its peak; and beside each the
power of the size by which it has grown since the last, with the powers by which the algorithm's matrix products and the
numbers that it writes have. Time and held bytes may grow no faster than these say (`worse`); exit status 1 where they
do. With --plot (needs matplotlib) also as a figure.
"""

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import buffers

START = {"rows": 4, "length": 128, "width": 256, "vocabulary": 8192}
SIZES = {
    "length": [64, 128, 256, 512, 1024],
    "rows": [1, 2, 4, 8, 16],
    "width": [64, 128, 256, 512, 1024],
    "vocabulary": [2048, 4096, 8192, 16384, 32768],
}
LAYERS, HEAD, TARGETS = 2, 64, 8  # layers, width of a head, and one position in so many is predicted
DEGREES = {"length": 2, "rows": 1, "width": 1, "vocabulary": 1}  # of the bytes held: attention is length × length
NOISE = 0.2  # by which the power of seconds may be too large
TRIFLES = 0.01  # by which a step of the bytes held may be: Python's own objects


class Cost(NamedTuple):
    """seconds: the best of some passes; held, peak: bytes; products, numbers: what the algorithm asks for."""

    seconds: float
    held: int
    peak: int
    products: float
    numbers: float


def network(rows: int, length: int, width: int, vocabulary: int) -> tuple[minibert.Model, dict[str, Any]]:
    """The model and a batch without padding or dropout."""
    model = minibert.create(
        "bert", vocab_size=vocabulary, hidden_size=width, num_hidden_layers=LAYERS,
        num_attention_heads=max(1, width // HEAD), intermediate_size=4 * width, max_position_embeddings=length,
    )  # fmt: skip
    batch = model.module.example(
        np.random.default_rng(0), model.config, {"B": rows, "T": length, "M": length // TARGETS}
    )
    del batch["dropout"]
    batch["input_mask"][:] = 1
    batch["masked_lm_weights"][:] = 1
    return model, batch


def seconds(model: minibert.Model, batch: dict[str, Any], repeats: int) -> float:
    """The best of `repeats` passes after one that does not count."""
    best = float("inf")
    for i in range(repeats + 1):
        began = time.perf_counter()
        model.loss_backward(model.loss(batch)[1])
        if i:
            best = min(best, time.perf_counter() - began)
    return best


def memory(model: minibert.Model, batch: dict[str, Any]) -> tuple[int, int]:
    """(bytes held between forward and backward, at the peak of the pass with all gradients), parameters not counted.

    Memory that the engine keeps to use it again is given back before, so that it shows, and again where held is read.
    """
    model.loss_backward(model.loss(batch)[1])  # the scratch that stays for the next pass
    gc.collect()
    buffers.release()
    tracemalloc.start()
    try:
        grads = model.loss_backward(model.loss(batch)[1])
        peak = tracemalloc.get_traced_memory()[1]
        del grads
        cache = model.loss(batch)[1]
        buffers.release()
        held = tracemalloc.get_traced_memory()[0]
        del cache
    finally:
        tracemalloc.stop()
    return held, peak


def products(rows: int, length: int, width: int, vocabulary: int) -> float:
    """Multiply-adds of that pass, forward and twice that backward."""
    tokens, targets = rows * length, rows * (length // TARGETS)
    layers = LAYERS * (12 * tokens * width**2 + 2 * tokens * length * width)
    heads = targets * (width * vocabulary + width**2) + rows * (width**2 + 2 * width)
    return 3 * (layers + heads)


def numbers(rows: int, length: int, width: int, vocabulary: int) -> float:
    """Numbers that the pass writes at least once: each layer's vectors and its attention, the logits, the gradients."""
    tokens, targets = rows * length, rows * (length // TARGETS)
    layers = LAYERS * (tokens * 16 * width + rows * max(1, width // HEAD) * length**2)
    parameters = width * (vocabulary + length) + LAYERS * 12 * width**2
    return 2 * (layers + tokens * width + targets * (vocabulary + 3 * width)) + parameters


def power(curve: list[tuple[int, Cost]], cost: str, first: int, last: int) -> float:
    """p where the cost grows as size^p from one entry of the curve to another."""
    (start, before), (end, after) = curve[first], curve[last]
    return float(np.log(getattr(after, cost) / getattr(before, cost)) / np.log(end / start))


def worse(name: str, curve: list[tuple[int, Cost]]) -> Iterator[str]:
    """A line for each cost that grows faster with size `name` than the algorithm's.

    Time is made of products and numbers, so it cannot grow by a larger power than the larger of theirs; small sizes,
    where calls cost more than work, are left out. Bytes held are a polynomial in each size, so of doubled sizes the
    last step is at most 2^degree times the one before, whatever stays constant.
    """
    middle, last = len(curve) // 2, len(curve) - 1
    allowed = max(power(curve, kind, middle, last) for kind in ("products", "numbers"))
    if (grown := power(curve, "seconds", middle, last)) > allowed + NOISE:
        yield f"seconds: power {grown:.2f} from {curve[middle][0]} to {curve[last][0]}, allowed {allowed:.2f}"
    before, steep = (curve[i][1].held - curve[i - 1][1].held for i in (last - 1, last))
    most = 2 ** DEGREES[name] * before
    if steep > most * (1 + TRIFLES):
        yield f"bytes held: {steep:,} more in the last step, allowed {most:,} after {before:,} in the one before"


def measured(sizes: dict[str, int], repeats: int) -> Cost:
    model, batch = network(**sizes)
    return Cost(seconds(model, batch, repeats), *memory(model, batch), products(**sizes), numbers(**sizes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    curves: dict[str, list[tuple[int, Cost]]] = {}
    faults = 0
    for name, values in SIZES.items():
        print(f"\n{name:<12}{'seconds':>10}{'power':>7}{'MB held':>10}{'power':>7}{'MB peak':>10}{'power':>7}", end="")
        print(f"{'products':>12}{'numbers':>9}")
        curve = curves[name] = []
        for value in values:
            curve.append((value, measured({**START, name: value}, args.repeats)))
            print(row(curve), flush=True)
        found = list(worse(name, curve))
        faults += len(found)
        print(*(f"  worse than the algorithm: {line}" for line in found or ["nothing"]), sep="\n")
    if args.json:
        plain = {name: [{name: value, **cost._asdict()} for value, cost in curve] for name, curve in curves.items()}
        args.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8", newline="\n")
    if args.plot:
        plotted(curves, args.plot)
    return int(faults > 0)


def row(curve: list[tuple[int, Cost]]) -> str:
    """The last size of a curve: its costs, and the powers since the size before."""
    value, cost = curve[-1]
    since = {name: f"{power(curve, name, -2, -1):.2f}" if len(curve) > 1 else "" for name in Cost._fields}
    line = f"{value:<12}{cost.seconds:>10.4f}{since['seconds']:>7}{cost.held / 1e6:>10.2f}{since['held']:>7}"
    return line + f"{cost.peak / 1e6:>10.2f}{since['peak']:>7}{since['products']:>12}{since['numbers']:>9}"


def plotted(curves: dict[str, list[tuple[int, Cost]]], path: Path) -> None:
    """Seconds above, beside the two that they are made of; bytes held below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(curves), figsize=(14, 6.5))
    for (time_, held), (name, curve) in zip(panels.T, curves.items(), strict=True):
        x = [value for value, _ in curve]
        took = [cost.seconds for _, cost in curve]
        time_.loglog(x, took, "o-", label="measured")
        for kind, style in (("products", "--"), ("numbers", ":")):
            asked = np.array([getattr(cost, kind) for _, cost in curve])
            time_.loglog(x, asked * took[-1] / asked[-1], style, label=f"its {kind}, scaled")
        held.loglog(x, [cost.held / 1e6 for _, cost in curve], "o-")
        for panel, unit in ((time_, "seconds a pass"), (held, "MB held")):
            panel.set(xlabel=name, ylabel=unit)
            panel.set_xticks(x, x)
            panel.set_xticks([], minor=True)
        time_.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
