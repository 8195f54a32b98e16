"""Which place the next item has: python tests/benchmarks/recommend.py DIR TRAIN.jsonl DEV.jsonl

DIR is what `minibert finetune recommend` made. Of each history of DEV the last item is asked for: its place among all
items, and among it and 100 others as BERT4Rec's release has it (Sun et al. 2019, arXiv 1904.06690, section 4.2): drawn
without replacement by how often they stand in TRAIN, none of them of the history. Printed are hit rates at 1, 5 and 10,
NDCG at 5 and 10, the mean of 1 over the place. Figures of the two kinds can't be compared; those in print are of the
second.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import rows, uses

OTHERS = 100
TOGETHER = 64


def places(model: minibert.Model, train: list[dict], dev: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """(places of each row's last item among all, 0 the first; among the drawn)."""
    (task,) = model.uses
    use, most = uses.of(task), uses.longest(model, 1 << 20)
    names = use.items(model)
    number = {name: i for i, name in enumerate(names)}
    counts = Counter(item for row in train for item in row["items"])
    weights, rng = np.array([counts[name] for name in names], np.float64), np.random.default_rng(0)
    whole, drawn = [], []
    for begin in range(0, len(dev), TOGETHER):
        part = dev[begin : begin + TOGETHER]
        pieces = [uses.cut_up(use.asked, model, task, use.shown(row), most, "")[0] for row in part]
        shares = use.probabilities(model, uses.batch(model, pieces), pieces)
        for row, share in zip(part, shares, strict=True):
            due, free = number[row["items"][-1]], weights.copy()
            free[[number[item] for item in row["items"] if item in number]] = 0
            others = rng.choice(len(names), min(OTHERS, np.count_nonzero(free)), replace=False, p=free / free.sum())
            whole.append((share > share[due]).sum())
            drawn.append((share[others] > share[due]).sum())
    return np.array(whole), np.array(drawn)


def figures(place: np.ndarray) -> dict[str, float]:
    """The measures of these places."""
    gain = 1 / np.log2(place + 2)
    found = {f"hit rate at {n}": (place < n).mean() for n in (1, 5, 10)}
    found |= {f"NDCG at {n}": np.where(place < n, gain, 0).mean() for n in (5, 10)}
    return {name: float(value) for name, value in {**found, "reciprocal rank": (1 / (place + 1)).mean()}.items()}


def main() -> None:
    """The command."""
    directory, *paths = sys.argv[1:]
    train, dev = (list(rows.read(path, "recommend")) for path in paths)
    for name, place in zip(("all items", f"{OTHERS} drawn"), places(minibert.load(directory), train, dev), strict=True):
        said = ", ".join(f"{what} {value:.3f}" for what, value in figures(place).items())
        print(f"{name}, {len(dev):,} rows: {said}")


if __name__ == "__main__":
    main()
