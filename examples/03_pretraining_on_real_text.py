"""Pre-training a small BERT on the text that every Python ships, and a plot of its loss.

    python examples/03_pretraining_on_real_text.py [DIR]       a new directory; default: a temporary one

A small vocabulary, one layer and 300 steps, so that it ends soon; `minibert pretrain bert` is the real thing. The
dashed line is what a guess can reach that knows how frequent each token is, and nothing else: the unigram entropy.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from minibert import training
from minibert.pretraining import pretrain


def drawn(losses: np.ndarray, level: float, columns: int = 72, rows: int = 14) -> str:
    """The curve in characters: the mean of each column's steps, and a dashed line at `level`."""
    curve = np.array([part.mean() for part in np.array_split(losses, columns)])
    low, high = min(curve.min(), level), curve.max()
    height = np.round((np.array([*curve, level]) - low) / (high - low) * (rows - 1)).astype(int)
    lines = []
    for row in reversed(range(rows)):
        dash = "-" if row == height[-1] else " "
        dots = "".join("o" if h == row else dash for h in height[:-1])
        lines.append(f"{low + row * (high - low) / (rows - 1):7.2f} |{dots}")
    return "\n".join([*lines, f"{'':8}+{'-' * columns} step {len(losses)}"])


def plotted(losses: np.ndarray, level: float, path: Path) -> bool:
    """The same as a picture, where matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    smooth = np.convolve(losses, np.ones(20) / 20, "valid")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(losses, alpha=0.3, label="each step")
    axes.plot(np.arange(len(smooth)) + 19, smooth, label="mean of 20 steps")
    axes.axhline(level, linestyle="--", color="black", label="unigram entropy of the held-out text")
    axes.set(xlabel="step", ylabel="masked language model loss, nats")
    axes.legend()
    figure.savefig(path)
    return True


with tempfile.TemporaryDirectory() as temporary:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else Path(temporary, "run"))
    few = {"steps": 300, "batch_size": 24, "vocab_size": 500, "seq_length": 48, "duplicates": 1}
    pretrain("bert", out=run, fields={"num_hidden_layers": 1}, **few)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    losses = np.array([entry["terms"]["masked_lm"] for entry in training.read_log(run / "log.jsonl")])
    loss, unigram = report["terms"]["masked_lm"], report["unigram"]["entropy"]
    print(f"\nmasked language model loss, nats; dashed: the unigram entropy {unigram:.2f}\n{drawn(losses, unigram)}")
    if plotted(losses, unigram, run / "loss.png"):
        print(f"the same as a picture: {run / 'loss.png'}")
    print(f"the run: {run if len(sys.argv) > 1 else 'removed now; name a DIR to keep it'}")

print(f"held out: {loss:.3f}, {unigram - loss:.3f} below the unigram entropy {unigram:.3f}")
assert len(losses) == 300
assert losses[-50:].mean() < losses[:50].mean() - 0.5, "the loss has not fallen"
assert loss < unigram - 0.1, "no better than guessing by frequency"
