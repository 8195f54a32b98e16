"""ViT and Swin on scikit-learn's digits, beside the majority class and a logistic regression on the pixels.

    python tests/benchmarks/pictures.py [--seeds N] [--steps N] [--drawn]

Each seed holds out another fifth of the 1,797 pictures of 8·8 pixels, and begins from other weights; nothing is tuned
on what is held out. The regression is scikit-learn's, on pixels in [0, 1], C = 1. --drawn: minibert's own digits.
"""

import argparse
import collections
import tempfile
from pathlib import Path

import numpy as np

import minibert
from minibert import pictures, training

SIZES = {"image_size": 8, "num_channels": 1, "initializer_range": 0.1}
NETWORKS = {
    "vit": {**SIZES, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
            "patch_size": 2, "encoder_stride": 2},
    "swin": {**SIZES, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4, "mlp_ratio": 2.0,
             "patch_size": 1, "encoder_stride": 2, "drop_path_rate": 0.1},
}  # fmt: skip
STEPS = {"vit": 800, "swin": 500}


def split(held, seed):
    """((pixels, classes) to learn from, held out)."""
    classes = np.array([int(label) for label in held.labels])
    order = np.random.default_rng(seed).permutation(len(classes))
    apart = order[: len(order) // 5]
    return tuple((held.pixels[rows], classes[rows]) for rows in (order[len(apart) :], apart))


def accuracy(family, learnt, apart, seed, steps):
    """The share of held-out pictures that are told rightly."""
    model = minibert.create(family, seed, tasks={"classify": {"classes": 10}}, **NETWORKS[family])
    plan = training.Plan(steps, 32, optimizer="adamw", learning_rate=2e-3, warmup=steps // 10, schedule="linear",
                         weight_decay=0.05, seed=seed, checkpoint_every=steps)  # fmt: skip

    def batches(step):
        rows = training.order(step, plan.batch_size, len(learnt[0]), seed)
        chosen = {"pixel_values": learnt[0][rows], "labels": learnt[1][rows]}
        return training.micro_batches(model, chosen, plan, step, dropout=True)

    with tempfile.TemporaryDirectory() as folder, training.sharing(1, 1):
        training.fit(model, plan, Path(folder), batches)
    return float((model.predict({"pixel_values": apart[0]})["logits"].argmax(1) == apart[1]).mean())


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
