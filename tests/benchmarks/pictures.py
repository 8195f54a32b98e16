"""ViT and Swin on scikit-learn's digits, beside the majority class and a logistic regression on the pixels.

    python tests/benchmarks/pictures.py [--seeds N] [--steps N] [--drawn]

Each seed holds out another fifth of the 1,797 pictures of 8·8 pixels, and begins from other weights; nothing is tuned
on what is held out. The regression is scikit-learn's, on pixels in [0, 1], C = 1. --drawn: minibert's own digits.
"""

import argparse
import collections
import json
import tempfile
from pathlib import Path

import numpy as np

from minibert import finetuning, pictures

SIZES = {"image_size": 8, "num_channels": 1, "initializer_range": 0.1}
NETWORKS = {
    "vit": {**SIZES, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
            "patch_size": 2},
    "swin": {**SIZES, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "window_size": 2, "mlp_ratio": 2.0,
             "patch_size": 2, "drop_path_rate": 0.0},
}  # fmt: skip
STEPS = {"vit": 800, "swin": 800}
OPTIONS = {"batch_size": 32, "accumulate": 1, "optimizer": "adamw", "learning_rate": 2e-3, "schedule": "linear",
           "weight_decay": 0.05, "threads": 1}  # fmt: skip


def split(held, seed):
    """((pixels, classes) to learn from, held out)."""
    classes = np.array([int(label) for label in held.labels])
    order = np.random.default_rng(seed).permutation(len(classes))
    apart = order[: len(order) // 5]
    return tuple((held.pixels[rows], classes[rows]) for rows in (order[len(apart) :], apart))


def accuracy(family, learnt, apart, seed, steps):
    """The share of held-out pictures that `minibert finetune classify FAMILY --train FILE --dev FILE` tells rightly."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, (pixels, labels) in (("train", learnt), ("dev", apart)):
            files[name] = Path(folder) / f"{name}.npz"
            np.savez(files[name], images=pixels, labels=labels)
        out = finetuning.finetune("classify", family, **files, out=Path(folder) / "run", fields=NETWORKS[family],
                                  steps=steps, seed=seed, checkpoint_every=steps, **OPTIONS)  # fmt: skip
        return json.loads((out / "report.json").read_bytes())["measures"]["accuracy"]


def regression(learnt, apart):
    from sklearn.linear_model import LogisticRegression

    flat = [part[0].reshape(len(part[0]), -1) for part in (learnt, apart)]
    fitted = LogisticRegression(max_iter=2000).fit(flat[0], learnt[1])
    return float(fitted.score(flat[1], apart[1]))


def majority(learnt, apart):
    most = collections.Counter(learnt[1].tolist()).most_common(1)[0][0]
    return float((apart[1] == most).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--drawn", action="store_true")
    args = parser.parse_args()
    held, found = pictures.made("drawn" if args.drawn else "digits"), collections.defaultdict(list)
    for seed in range(args.seeds):
        learnt, apart = split(held, seed)
        found["majority class"].append(majority(learnt, apart))
        found["logistic regression"].append(regression(learnt, apart))
        for family in NETWORKS:
            found[family].append(accuracy(family, learnt, apart, seed, args.steps or STEPS[family]))
        print({name: [f"{share:.1%}" for share in shares] for name, shares in found.items()}, flush=True)
    print(f"| | {' | '.join(f'seed {seed}' for seed in range(args.seeds))} | mean |")
    for name, shares in found.items():
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} | {np.mean(shares):.1%} |")


if __name__ == "__main__":
    main()
