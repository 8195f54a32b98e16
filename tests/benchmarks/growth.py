"""How the cost of a training step grows: python tests/benchmarks/growth.py [--repeats N] [--plot FILE]

A forward and backward pass of a small BERT, one size doubled again and again while the others stay. Printed beside
each time: by which power of that size it has grown since the last, and the power by which its multiply-adds have. With
--plot (needs matplotlib) also as a figure.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert

START = {"rows": 4, "length": 128, "width": 256, "vocabulary": 8192}
SIZES = {
    "length": [64, 128, 256, 512, 1024],
    "rows": [1, 2, 4, 8, 16],
    "width": [64, 128, 256, 512, 1024],
    "vocabulary": [2048, 4096, 8192, 16384, 32768],
}


def seconds(rows: int, length: int, width: int, vocabulary: int, repeats: int) -> float:
    """The best of `repeats` passes of two layers with heads of 64 and one position in eight predicted."""
    model = minibert.create(
        "bert", vocab_size=vocabulary, hidden_size=width, num_hidden_layers=2, num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width, max_position_embeddings=length,
    )  # fmt: skip
    batch = model.module.example(np.random.default_rng(0), model.config, rows, length, length // 8)
    del batch["dropout"]
    batch["input_mask"][:] = 1
    best = float("inf")
    for _ in range(repeats + 1):
        began = time.perf_counter()
        model.loss_backward(model.loss(batch)[1])
        best = min(best, time.perf_counter() - began)
    return best


def products(rows: int, length: int, width: int, vocabulary: int) -> float:
    """Multiply-adds of that pass, forward and twice that backward."""
    tokens = rows * length
    layers = 2 * (12 * tokens * width**2 + 2 * tokens * length * width)
    return 3 * (layers + tokens / 8 * (width * vocabulary + width**2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    curves = {}
    for name, values in SIZES.items():
        print(f"\n{name:<12}{'seconds':>10}{'power':>8}{'of its products':>17}")
        curve = curves[name] = []
        for value in values:
            sizes = {**START, name: value}
            curve.append((value, seconds(**sizes, repeats=args.repeats), products(**sizes)))
            grown = ["", ""] if len(curve) < 2 else [f"{np.log2(curve[-1][i] / curve[-2][i]):.2f}" for i in (1, 2)]
            print(f"{value:<12}{curve[-1][1]:>10.4f}{grown[0]:>8}{grown[1]:>17}", flush=True)
    if args.plot:
        plotted(curves, args.plot)


def plotted(curves: dict[str, list], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(curves), figsize=(14, 3.5))
    for panel, (name, curve) in zip(panels, curves.items(), strict=True):
        x, took, work = map(np.array, zip(*curve, strict=True))
        panel.loglog(x, took, "o-", label="measured")
        panel.loglog(x, work * took[-1] / work[-1], "--", label="its products, scaled")
        panel.set(xlabel=name, ylabel="seconds a pass")
        panel.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
