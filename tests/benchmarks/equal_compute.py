"""What families learn for as many multiplications: python tests/benchmarks/equal_compute.py [FAMILY …] [--steps N]
[--seeds N] [--scale X] [--parameters] [--perplexity] [--out DIR]

Each family is pre-trained as `minibert pretrain FAMILY` does, for as many steps as cost what N steps of the first one
do (GPT-2 unless others are named): multiplications of linear layers, attention, recurrences and convolutions are
counted in one forward pass of a batch as long as its rows; a backward pass costs two more. Printed: parameters, steps,
held-out loss of the first term in nats, and by how much it is below the best guess without context, for each seed, then
its mean and standard deviation. Losses of different questions compare by that alone. DIR keeps the models, FAMILY-SEED
each; called again, the command goes on with them.

--scale: all widths are X times those. --parameters: the widths of all but the first are scaled until they have as many
parameters, within 2 %. --perplexity, of language models over the same pieces: all answer the first family's held-out
rows, nothing carried from row to row; printed are the perplexities of a piece and of a word (what blanks separate),
that of the pieces' own frequencies, and of families that carry a state, what they have where they may carry it.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import batches, corpus, create, data, families, lengths, pretraining, training, tree
from tests.benchmarks.pretraining import trained

FAMILIES = ("gpt2", "gpt", "megatron_bert", "grover", "unilm", "mass")
WIDTHS = ("emb_sz", "intermediate_size")  # that grow with a family's own WIDTH
NEAR = 0.02


def made(name: str, fields: dict[str, Any]) -> tuple[minibert.Model, Any, Any]:
    """(the family's model of its default sizes but for these fields, options of the run, of the data)."""
    module = families.family(name)
    settings, own = pretraining.options_of(module, dict(module.DEFAULTS))
    known = module.fields(own, {**module.QUICK, **fields})
    return create(name, **{**known, "vocab_size": own.vocab_size}), settings, own


def multiplications(name: str, fields: dict[str, Any]) -> int:
    """Of the forward pass of one step, as the family is trained by default."""
    model, settings, own = made(name, fields)
    dims = {"B": settings.batch_size, "T": own.seq_length, "S": own.seq_length, "M": getattr(own, "slots", 1)}
    batch = batches.example(model.module, model.config, np.random.default_rng(0), dims)
    batch.pop("dropout", None)
    return lengths.multiplications(lambda: model.loss(batch))


def parameters(name: str, fields: dict[str, Any]) -> int:
    return sum(leaf.size for leaf in tree.leaves(made(name, fields)[0].params))


def scaled(name: str, scale: float) -> dict[str, int]:
    """The fields of QUICK's widths times this, in their proportions; of heads a whole number of columns each."""
    module = families.family(name)
    usual = {field: module.QUICK[field] for field in (module.WIDTH, *WIDTHS) if field in module.QUICK}
    heads = next((module.QUICK[field] for field in ("n_head", "num_attention_heads") if field in module.QUICK), 1)
    width = heads * max(1, round(scale * usual[module.WIDTH] / heads))
    return {field: max(1, round(width * usual[field] / usual[module.WIDTH])) for field in usual}


def widths(name: str, count: int) -> dict[str, int]:
    """The widths with which the family has so many parameters, within NEAR."""
    least, most = 0.0, 1.0
    while parameters(name, scaled(name, most)) < count:
        most *= 2
    for _ in range(12):
        middle = (least + most) / 2
        least, most = (middle, most) if parameters(name, scaled(name, middle)) < count else (least, middle)
    near = [scaled(name, scale) for scale in (least, most)]
    apart, found = min(((abs(parameters(name, own) / count - 1), own) for own in near), key=lambda pair: pair[0])
    if apart > NEAR:
        raise SystemExit(f"{name}: no width has {count:,} parameters within {NEAR:.0%}, the nearest is {apart:.1%} off")
    return found


# ---- Perplexity ------------------------------------------------------------------------------------------------------
def rows_of(place: Path) -> tuple[training.Batch, float, float]:
    """(the held-out rows of a run, in the order of the text; pieces a word; nats of the pieces' frequencies)."""
    model, record = minibert.load(place), json.loads((place / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, record["options"])
    files = record["request"].get("corpus_files")
    documents = corpus.Files([*map(Path, files)]) if files else corpus.default_documents()
    texts = list(corpus.split(documents, options.held_out, options.seed)[1])
    held, counts = data.Recipe(model.family, model.tokenizer, own, options.seed).instances(texts, "held_out")
    words = len(model.tokenizer.decode(held["input_ids"].reshape(-1).tolist()).split())
    return held, held["input_ids"].size / words, corpus.unigram_entropy(counts, counts).entropy


def pieces(place: Path) -> list[str]:
    tokenizer = minibert.load(place).tokenizer
    return ["" if i in tokenizer.special_ids else token for i, token in enumerate(tokenizer.tokens)]


def answered(place: Path, rows: training.Batch) -> tuple[float, float | None]:
    """Nats a piece of these rows: each by itself; and one after the other, where the family carries a state."""
    model = minibert.load(place)
    alone = training.evaluation(model, rows)["terms"]["next_token"]
    carried = training.stream_evaluation(model, rows) if pretraining.carries(model.module) else None
    return alone, carried and carried["terms"]["next_token"]


def perplexities(folder: Path, names: list[str], seeds: int) -> None:
    """A table of all runs, FAMILY-SEED in the folder, and the differences to the first, paired by seeds."""
    found: dict[str, list[float]] = {}
    print(f"\n{'perplexity of':<16}{'seed':>5}{'a piece':>10}{'a word':>12}{'a piece, carried':>18}")
    for seed in range(seeds):
        rows, share, unigram = rows_of(folder / f"{names[0]}-{seed}")
        print(f"{'frequencies':<16}{seed:>5}{math.exp(unigram):>10.1f}{math.exp(unigram * share):>12.0f}")
        known = pieces(folder / f"{names[0]}-{seed}")
        for name in names:
            if pieces(folder / f"{name}-{seed}") != known:
                raise SystemExit(f"{name} has other pieces than {names[0]}: their perplexities cannot be compared")
            alone, carried = answered(folder / f"{name}-{seed}", rows)
            found.setdefault(name, []).append(alone)
            found.setdefault(f"{name}, carried", []).append(alone if carried is None else carried)
            beside = "" if carried is None else f"{math.exp(carried):>18.1f}"
            print(f"{name:<16}{seed:>5}{math.exp(alone):>10.1f}{math.exp(alone * share):>12.0f}{beside}", flush=True)
    if seeds > 1:
        for name, several in found.items():
            apart = [one - first for one, first in zip(several, found[names[0]], strict=True)]
            error = statistics.stdev(apart) / seeds**0.5
            print(f"{name:<24}{statistics.mean(several):.3f} ± {statistics.stdev(several):.3f} nats a piece, less "
                  f"{names[0]} {statistics.mean(apart):+.3f} ± {error:.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=FAMILIES, metavar="FAMILY")
    parser.add_argument("--steps", type=int, default=1700, metavar="N", help="of the first; default 1700")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="of each, from 0; default 1")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="of all widths; default 1")
    parser.add_argument("--parameters", action="store_true", help="widths with which all have as many as the first")
    parser.add_argument("--perplexity", action="store_true", help="of the same held-out text, by pieces and words")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the models here, or go on with them")
    args = parser.parse_args()
    names = [*args.families]
    sizes = {name: {} if args.scale == 1 else scaled(name, args.scale) for name in names}
    if args.parameters:
        count = parameters(names[0], sizes[names[0]])
        sizes |= {name: widths(name, count) for name in names[1:]}
    costs = {name: multiplications(name, fields) for name, fields in sizes.items()}
    print(f"{'family':<16}{'parameters':>12}{'steps':>7}{'10^9 a step':>13}{'held out':>10}{'below':>8}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = args.out or Path(place)
        for name, cost in costs.items():
            steps, found = max(1, round(args.steps * costs[names[0]] / cost)), []
            for seed in range(args.seeds):
                kept = folder / f"{name}-{seed}"
                (_, loss, guess), *_ = trained(name, steps, seed=seed, out=kept, fields=sizes[name] or None)[0]
                found.append(guess - loss)
                print(f"{name:<16}{parameters(name, sizes[name]):>12,}{steps:>7}{3 * cost / 1e9:>13.2f}{loss:>10.3f}"
                      f"{guess - loss:>8.3f}", flush=True)  # fmt: skip
            if args.seeds > 1:
                print(f"{name:<16}below by {statistics.mean(found):.3f} ± {statistics.stdev(found):.3f}", flush=True)
        if args.perplexity:
            perplexities(folder, names, args.seeds)


if __name__ == "__main__":
    main()
