"""What families learn for as many multiplications: python tests/benchmarks/equal_compute.py [FAMILY …] [--steps N]
[--seeds N] [--out DIR]

Each family is pre-trained as `minibert pretrain FAMILY` does, for as many steps as cost what N steps of the first one
do (GPT-2 unless others are named): multiplications of linear layers and attention are counted in one forward pass of a
batch as long as its rows; a backward pass costs two more. Printed: steps, held-out loss of the first term in nats, and
by how much it is below the best guess without context, for each seed, then its mean and standard deviation. Losses of
different questions compare by that alone. DIR keeps the models, FAMILY-SEED each; called
again, the command goes on with them.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from minibert import batches, create, families, lengths, pretraining
from tests.benchmarks.pretraining import trained

FAMILIES = ("gpt2", "gpt", "megatron_bert", "grover", "unilm", "mass")


def multiplications(name: str) -> int:
    """Of the forward pass of one step, as the family is trained by default."""
    module = families.family(name)
    settings, own = pretraining.options_of(module, dict(module.DEFAULTS))
    fields = module.fields(own, dict(module.QUICK))
    model = create(name, **{**fields, "vocab_size": own.vocab_size})
    dims = {"B": settings.batch_size, "T": own.seq_length, "S": own.seq_length, "M": getattr(own, "slots", 1)}
    batch = batches.example(module, model.config, np.random.default_rng(0), dims)
    batch.pop("dropout", None)
    return lengths.multiplications(lambda: model.loss(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=FAMILIES, metavar="FAMILY")
    parser.add_argument("--steps", type=int, default=1700, metavar="N", help="of the first; default 1700")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="of each, from 0; default 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the models here, or go on with them")
    args = parser.parse_args()
    first = multiplications(args.families[0])
    print(f"{'family':<16}{'steps':>7}{'10^9 a step':>13}{'held out':>10}{'below':>8}", flush=True)
    for name in args.families:
        cost = multiplications(name)
        steps = max(1, round(args.steps * first / cost))
        found = []
        for seed in range(args.seeds):
            kept = args.out and args.out / f"{name}-{seed}"
            (_, loss, guess), *_ = trained(name, steps, seed=seed, out=kept)[0]
            found.append(guess - loss)
            print(f"{name:<16}{steps:>7}{3 * cost / 1e9:>13.2f}{loss:>10.3f}{guess - loss:>8.3f}", flush=True)
        if args.seeds > 1:
            print(f"{name:<16}below by {statistics.mean(found):.3f} ± {statistics.stdev(found):.3f}", flush=True)


if __name__ == "__main__":
    main()
