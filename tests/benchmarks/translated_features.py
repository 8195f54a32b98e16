"""Is what CoVe adds to its word vectors worth something to a task? One table.

    python tests/benchmarks/translated_features.py ROWS RUN [--task classify] [--seeds N] [--steps N] [--rows N]
        [--tokens N]

ROWS: as for `frozen_features.py`; RUN: of `minibert pretrain cove`. Three models answer by a head over frozen features:
the word vectors x of the run alone, [x; CoVe(w)] as in the paper (McCann et al. 2017, arXiv 1708.00107, section 4),
and [x; H] of an encoder with new weights over the same x, which tells how much any recurrence over them is worth.
Accuracy, mean and deviation over seeds of the head and of the new weights; by how much it is above x alone, seed by
seed, and the standard error.
"""

import argparse
import tempfile
from pathlib import Path

import frozen_features
import numpy as np

import minibert
from minibert.config import to_fields


def words_alone(model, out):
    """x, as a model of word vectors."""
    config, table = model.config, model.params["embeddings"]["word"]["weight"]
    own = {"pad_token_id": config.pad_token_id, "vocab_size": len(table), "vector_size": table.shape[1]}
    made = minibert.create("word2vec", sg=True, **own)
    made.params["embeddings"]["word"]["weight"][...] = table
    made.tokenizer = model.tokenizer
    made.save(out)
    return out


def new_encoder(model, seed, out):
    """The same vectors under an encoder as it is created."""
    made = minibert.create("cove", seed=seed, **to_fields(model.config))
    made.params["embeddings"]["word"]["weight"][...] = model.params["embeddings"]["word"]["weight"]
    made.tokenizer = model.tokenizer
    made.save(out)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, metavar="ROWS")
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--task", choices=frozen_features.TASKS, default="classify")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", dest="count", type=int, default=4000)
    parser.add_argument("--tokens", type=int, default=128, help="read at most so many of a row; default 128")
    args = parser.parse_args()
    model, first = minibert.load(args.run), None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        given = frozen_features.files(args.rows, args.count, place)[args.task]
        x = words_alone(model, folder / "x")
        new = [new_encoder(model, seed, folder / f"new-{seed}") for seed in range(args.seeds)]
        arms = {"x": [x] * args.seeds, "[x; CoVe]": [args.run] * args.seeds, "[x; new encoder]": new}
        for name, models in arms.items():
            found = [
                frozen_features.measured(args.task, one, "frozen", given, seed, args.steps, folder / f"{name}-{seed}",
                                         args.tokens)
                for seed, one in enumerate(models)
            ]  # fmt: skip
            scores, constant = zip(*found, strict=True)
            first = first or scores
            apart = np.subtract(scores, first)
            error = frozen_features.spread(apart) / len(apart) ** 0.5
            beside = "" if first is scores else f", above x by {np.mean(apart):+.3f} ± {error:.3f}"
            print(f"{name:<18}{np.mean(scores):.3f} ± {frozen_features.spread(scores):.3f}{beside} "
                  f"(a constant answer {constant[0]:.3f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
