"""Claims of papers at a small scale: python tests/benchmarks/science.py EXPERIMENT [--seeds N] [--json FILE] …

An experiment is a list of arms, each a pre-training run that differs in one thing: the same text, steps and network.
Every arm runs once for each seed, which draws the split of the text, the weights and all masks. Held-out rows and their
masks follow from the seed and the vocabulary alone, so the arms of a seed answer the same questions and their
differences can be paired. Printed: the held-out figures of each seed, their mean and standard deviation, the difference
to the first arm, seed by seed, with its standard error, and the seconds of training. Such small models on so little
text say something about the direction of an effect, nothing about its size in print.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import batches, corpus, data, inference, pretraining, tokenizers, training
from minibert.corruption import courses, spans, translation
from minibert.families import electra, ernie2, roberta, t5


class Arm(NamedTuple):
    """One run: config fields and options of `pretraining.pretrain`; around: what holds while it is trained and asked,
    for what no option says.
    """

    label: str
    family: str
    fields: dict[str, Any]
    options: dict[str, Any]
    around: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


class Experiment(NamedTuple):
    """claim: what is asked; columns: figures of report.json, as "terms.masked_lm"; options: those of every arm.

    held_out: further held-out rows of the same text, by name, as options that differ from the arm's: every arm answers
    them all, and their figures are "on.NAME.terms.masked_lm". probe: also "probe.accuracy", "probe.majority" (`probe`).
    tuned: so many further updates, for "tuned.terms.next_token" (`tuned`).
    """

    claim: str
    columns: tuple[str, ...]
    options: dict[str, Any]
    arms: list[Arm]
    held_out: Mapping[str, dict[str, Any]] = MappingProxyType({})
    probe: bool = False
    tuned: int = 0


def products(config: electra.Config, tokens: int, slots: int) -> int:
    """Multiply-adds of the matrix products for one row in training: a backward is two forwards, the sampling one more.

    What a step of one model costs beside a step of another, whatever else the machine does meanwhile.
    """
    if config.role == "joint":
        both = electra.towers(config)
        return products(both["discriminator"], tokens, slots) + products(both["generator"], tokens, slots) * 4 // 3
    d, f, e = config.hidden_size, config.intermediate_size, config.embedding_size
    layer = tokens * (4 * d * d + 2 * d * f) + 2 * tokens * tokens * d
    project = tokens * e * d if e != d else 0
    head = tokens * (d * d + d) if config.role == "discriminator" else slots * (d * e + e * config.vocab_size)
    return 3 * (config.num_hidden_layers * layer + project + head)


def _equal_compute(steps: int, tokens: int = 64, slots: int = 9) -> int:
    """Steps of the masked-token arm that cost as much as `steps` of ELECTRA's at the quick size."""
    sizes = {**electra.QUICK, "vocab_size": 4000}
    joint, alone = (products(electra.Config(**sizes, role=role), tokens, slots) for role in ("joint", "generator"))
    return round(steps * joint / alone)


# half as wide as `pretrain` has them by default
SMALL = {
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 256},
    "bart": {"d_model": 64, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256},
}
SIZES = t5.Config(**{**t5.QUICK, **SMALL["t5"], "vocab_size": 1000})  # BART's, too, of what is counted


def _written(rate: float = 0.15, mean: float = 3.0, objective: str = "random-spans", steps: int = 400) -> Arm:
    """T5 with this objective, and as many steps as cost what `steps` of spans of 15 % with mean length 3 do."""
    _, short = spans.lengths(64, 0.15, 3.0)
    wrote = spans.lengths(64, rate, mean)[1]
    read, wrote = {"random-spans": (64, wrote), "prefix-lm": (32, 32)}.get(objective, (64, 64))
    own, due = (_products_of_t5(SIZES, *lengths) for lengths in ((read, wrote), (64, short)))
    label = objective if objective != "random-spans" else f"spans, {rate:.0%}, mean {mean:g}"
    options = {"objective": objective, "rate": rate, "mean_span": mean, "steps": round(steps * due / own)}
    return Arm(label, "t5", SMALL["t5"], options)


def _noised(noise: str, share: float = 1.0, steps: int = 140, **options: Any) -> Arm:
    """BART with these noises, and as many steps as cost what `steps` of unchanged texts do; share: of a text's tokens
    that are left to read.
    """
    own, due = (_products_of_t5(SIZES, round(64 * part), 64) for part in (share, 1.0))
    return Arm(noise, "bart", SMALL["bart"], {"noise": noise, "steps": round(steps * due / own), **options})


def _products_of_t5(config: t5.Config, read: int, written: int) -> int:
    """Multiply-adds of the matrix products for a row of so many tokens, in training."""
    d, inner, f = config.d_model, config.num_heads * config.d_kv, config.d_ff
    encoder = read * (4 * d * inner + 2 * d * f) + 2 * read * read * inner
    decoder = written * (6 * d * inner + 2 * d * f) + 2 * read * d * inner + 2 * written * (written + read) * inner
    head = written * d * config.vocab_size
    return 3 * (config.num_layers * encoder + t5.depth(config, "decoder") * decoder + head)


def _structured(label: str, family: str, steps: int = 1200, slots: int = 5, **options: Any) -> Arm:
    """A network of BERT's quick size with this family's tasks, and as many steps as cost what `steps` of BERT's do;
    slots: the tokens that a row of 32 asks for.
    """
    d, f, tokens, vocabulary, e = 64, 256, 32, 1000, 32

    def cost(slots: int, entities: bool) -> int:
        layer = tokens * (4 * d * d + 2 * d * f) + 2 * tokens * tokens * d
        mixed = tokens * 2 * e * f if entities else 0
        own = tokens * (4 * e * e - e * f + d * e) + 2 * tokens * tokens * e if entities else 0  # the last gives no e'
        return 2 * (layer + mixed) + own + slots * (d * d + d * vocabulary)

    ratio = cost(5, False) / cost(slots, family == "ernie_thu")
    return Arm(label, family, {}, {**options, "steps": round(steps * ratio)})


def _without_positions() -> contextlib.AbstractContextManager:
    """Every token of a row stands at RoBERTa's first position: one vector more, and nothing that tells places apart."""
    return mock.patch.object(roberta, "positions", lambda ids, pad: np.where(ids != pad, pad + 1, pad))


def _distance_alone() -> contextlib.AbstractContextManager:
    """Every update of ERNIE 2.0 has rows of sentence distance."""
    turn = courses.Turn("distance", "task_type_ids", ernie2.TASKS.index("distance"), "distance")
    return mock.patch.object(ernie2, "turn", return_value=turn)


# of the small ablations: rows of 32 tokens, a thousand pieces, one pass or so over the text
SHORT = {"vocab_size": 1000, "seq_length": 32, "batch_size": 16, "accumulate": 1, "duplicates": 1, "steps": 600}

DROPPED = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def _batch(rows: int, rate: float, total: int = 9600) -> Arm:
    """RoBERTa with batches of so many rows, and as many updates as read the same number of rows."""
    options = {"batch_size": rows, "steps": total // rows, "learning_rate": rate}
    return Arm(f"{rows} rows, rate {rate:g}", "roberta", {}, options)


def _generated(label: str, size: float, sharing: str = "embeddings", objective: str = "joint") -> Arm:
    """ELECTRA with a generator of this share of its width."""
    return Arm(label, "electra", {"generator_size": size, "sharing": sharing, "objective": objective}, {})


# masking: with 0.7 of the text held out a run goes some 15 times over the rest, so that fixed masks are seen again
EXPERIMENTS = {
    "masking": Experiment(
        "masks drawn anew each time against masks drawn once (arXiv 1907.11692, section 4.1, table 1)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        {"steps": 2000, "held_out": 0.7},
        [
            Arm("dynamic", "roberta", {}, {"masking": "dynamic", "duplicates": 1}),
            Arm("static, 10 copies", "roberta", {}, {"masking": "static", "duplicates": 10}),
            Arm("static, 1 copy", "roberta", {}, {"masking": "static", "duplicates": 1}),
        ],
    ),
    "pairs": Experiment(
        "telling swapped segments apart against telling random ones apart (arXiv 1909.11942, section 4.6, table 5)",
        (
            "on.in order or swapped.terms.masked_lm",
            "on.in order or swapped.accuracies.sentence_order",
            "on.next or random.accuracies.sentence_order",
        ),
        {"steps": 6000, "batch_size": 32, "duplicates": 20, "short_rate": 0.0, "held_out": 0.3, "units": "pieces"},
        [
            Arm("swapped", "albert", {}, {"format": "sentence-order"}),
            Arm("random", "albert", {}, {"format": "next-sentence"}),
        ],
        {"in order or swapped": {"format": "sentence-order"}, "next or random": {"format": "next-sentence"}},
    ),
    # the same text, rows, masks and encoder; the masked-token arm takes more steps, as it has no second network. Their
    # losses answer different questions; what both can be asked is what their frozen encoders know.
    "replaced": Experiment(
        "replaced against masked tokens at equal compute, for encoders of one size (arXiv 2003.10555, figure 2)",
        ("probe.accuracy", "probe.majority", "accuracies.replaced_token"),
        {"held_out": 0.3},
        [
            Arm("replaced tokens", "electra", {"temperature": 1.0}, {"steps": 6000}),
            Arm("replaced tokens, sampled at 5", "electra", {}, {"steps": 6000}),
            Arm("masked tokens", "electra", {"role": "generator"}, {"steps": _equal_compute(6000)}),
            Arm("untrained", "electra", {}, {"steps": 1, "learning_rate": 0.0}),
        ],
        probe=True,
    ),
    # their own losses answer different questions, so every arm then learns one task, on the same rows: to write a
    # sentence of which capitals and punctuation were taken away
    "objectives": Experiment(
        "T5's objectives at equal compute, by what they are worth to another task (arXiv 1910.10683, tables 4 to 7)",
        ("tuned.terms.next_token", "tuned.accuracies.next_token"),
        {"vocab_size": 1000, "accumulate": 1},
        [
            _written(),
            _written(objective="prefix-lm"), _written(objective="bert-style"), _written(objective="deshuffling"),
            _written(rate=0.1), _written(rate=0.25), _written(rate=0.5), _written(mean=2.0), _written(mean=5.0),
            Arm("untrained", "t5", {}, {"steps": 1, "learning_rate": 0.0}),
        ],
        tuned=100,
    ),
    # as above: each noise asks for something else. The shares that are left to read were measured on rows of 62 tokens
    "noises": Experiment(
        "BART's noises at equal compute, by what they are worth to another task (arXiv 1910.13461, table 1)",
        ("tuned.terms.next_token", "tuned.accuracies.next_token"),
        {"vocab_size": 1000, "accumulate": 1},
        [
            _noised("permutation+infilling", 0.8),
            _noised("masking"), _noised("deletion", 0.7), _noised("infilling", 0.8), _noised("permutation"),
            _noised("rotation"), _noised("sentence-masking", 0.55),
            _noised("permutation+masking+deletion+infilling+rotation", 0.55),
            Arm("untrained", "bart", {}, {"steps": 1, "learning_rate": 0.0}),
        ],
        tuned=100,
    ),
    # their own losses answer different questions; what all can be asked is what their frozen encoders know
    "structure": Experiment(
        "word structure, sentence structure, phrases and entities against plain masking, at equal compute",
        ("probe.accuracy", "probe.majority", "terms.masked_lm"),
        {"held_out": 0.3, "vocab_size": 1000, "seq_length": 32, "duplicates": 2, "masking": "dynamic",
         "accumulate": 1},
        [
            _structured("masked tokens, next sentence", "bert"),
            _structured("sentence structure", "structbert", shuffle_rate=0.0),
            _structured("sentence and word structure", "structbert", slots=7),
            _structured("phrases", "ernie", units="phrases"),
            _structured("entities", "ernie_thu"),
            Arm("untrained", "bert", {}, {"steps": 1, "learning_rate": 0.0}),
        ],
        probe=True,
    ),
    "courses": Experiment(
        "continual multi-task learning against joint (arXiv 1907.12412, section 4.6, table 7)",
        ("terms.masked_lm", *(f"accuracies.{task}" for task in ("capitalised", "elsewhere", "reordering", "distance"))),
        {"steps": 1500, "vocab_size": 1000, "seq_length": 32, "accumulate": 1},
        [Arm(course, "ernie2", {}, {"course": course}) for course in ("continual", "joint")],
    ),
    "distance": Experiment(
        "sentence distance, where nothing else is asked (arXiv 1907.12412, section 4.2)",
        ("accuracies.distance", "majority.distance", "lower_bound.distance", "terms.distance"),
        {"steps": 3000, "vocab_size": 1000, "seq_length": 32, "batch_size": 32, "accumulate": 1, "duplicates": 5},
        [Arm(f"rate {rate:g}", "ernie2", {}, {"learning_rate": rate}, _distance_alone) for rate in (7e-4, 2e-3)],
    ),
    "positions": Experiment(
        "position embeddings on and off (arXiv 1706.03762, section 3.5)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        SHORT,
        [Arm("learnt", "roberta", {}, {}), Arm("none", "roberta", {}, {}, _without_positions)],
    ),
    "dropout": Experiment(
        "dropout on, off, and removed in the middle (arXiv 1909.11942, section 4.8)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        SHORT,
        [
            Arm("none", "roberta", {}, {}),
            Arm("0.1", "roberta", DROPPED, {}),
            Arm("0.1, from the middle on none", "roberta", DROPPED, {"dropout_steps": 300}),
        ],
    ),
    "warmup": Experiment(
        "warm-up on and off, at two rates (arXiv 2002.04745, section 3)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        SHORT,
        [
            Arm(f"{said}, rate {rate:g}", "roberta", {}, {"warmup": share, "learning_rate": rate})
            for rate in (2e-3, 1e-2) for said, share in (("a tenth of the steps", 0.1), ("none", 0.0))
        ],
    ),
    # their own losses answer different questions, so all are asked on rows of two kinds, without NSP's loss
    "formats": Experiment(
        "how rows are made of text, with and without NSP (arXiv 1907.11692, section 4.2, table 2)",
        ("on.segment-pair.terms.masked_lm", "on.full-sentences.terms.masked_lm", "probe.accuracy"),
        {**SHORT, "seq_length": 64, "batch_size": 8, "held_out": 0.3},
        [Arm(name, "roberta", {}, {"format": name}) for name in roberta.FORMATS],
        {name: {"format": name} for name in ("segment-pair", "full-sentences")},
        probe=True,
    ),
    "batch": Experiment(
        "batch size at equal tokens (arXiv 1907.11692, section 4.3, table 3)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        SHORT,
        [_batch(16, 2e-3), _batch(4, 1e-3), _batch(64, 2e-3), _batch(64, 4e-3)],
    ),
    "widths": Experiment(
        "ALBERT's embedding width, with what is shared between layers (arXiv 1909.11942, tables 3 and 4)",
        ("terms.masked_lm", "accuracies.masked_lm"),
        SHORT,
        [
            Arm(f"width {width}, shared: {sharing}", "albert", {"embedding_size": width, "sharing": sharing}, {})
            for sharing, widths in (("all", (8, 64)), ("none", (8, 64)), ("attention", (64,)), ("ffn", (64,)))
            for width in widths
        ],
    ),
    # replaced tokens are as hard to find as the generator is good; what frozen encoders know compares the arms
    "generators": Experiment(
        "ELECTRA's generator size, what it shares, and three trainings (arXiv 2003.10555, section 3.2, figure 3)",
        ("probe.accuracy", "accuracies.replaced_token", "terms.masked_lm"),
        {**SHORT, "held_out": 0.3},
        [
            _generated("a quarter", 0.25), _generated("half", 0.5), _generated("whole", 1.0),
            _generated("whole, nothing shared", 1.0, "none"), _generated("whole, all shared", 1.0, "all"),
            _generated("whole, nothing shared, two-stage", 1.0, "none", "two-stage"),
            _generated("whole, nothing shared, adversarial", 1.0, "none", "adversarial"),
            Arm("untrained", "electra", {"generator_size": 0.25}, {"steps": 1, "learning_rate": 0.0}),
        ],
        probe=True,
    ),
}  # fmt: skip


def outcome(
    experiment: Experiment, arm: Arm, options: dict[str, Any], seed: int, vocabularies: Path
) -> dict[str, Any]:  # fmt: skip
    """The report of one run, its figures "on" the further held-out rows, its probe, and its seconds of training.

    vocabularies: a folder that keeps those learnt, one for each family and seed, as its arms have the same text.
    """
    kept = vocabularies / f"{arm.family}-{seed}"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), arm.around():
        given = {**options, **arm.options, "seed": seed, "vocabulary": kept if kept.exists() else None}
        run = pretraining.pretrain(arm.family, out=Path(folder, "run"), fields=arm.fields or None, **given)
        if not kept.exists():
            shutil.copytree(run, kept, ignore=lambda _, names: {*names} - {*tokenizers.FILES})
        last = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        further = {"on": {name: measured(run, changes) for name, changes in experiment.held_out.items()}}
        further |= {"probe": probe(run)} if experiment.probe else {}
        further |= {"tuned": tuned(run, experiment.tuned)} if experiment.tuned else {}
        return {**json.loads((run / "report.json").read_bytes()), **further, "seconds": json.loads(last)["seconds"]}


def measured(run: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Held-out figures of a run's model on the rows that its options make of the held-out text, with these changes;
    of RoBERTa without the loss of next sentences, which not all of them ask for.
    """
    model, record = minibert.load(run), json.loads((run / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, {**record["options"], **changes})
    texts = list(corpus.split(corpus.default_documents(), options.held_out, options.seed)[1])
    rows, _ = data.Recipe(model.family, model.tokenizer, own, options.seed).instances(texts, "held_out")
    if model.family == "roberta":
        left = {part: held for part, held in model.params.items() if part != "nsp"}
        config = dataclasses.replace(model.config, next_sentence=False)
        model = minibert.Model(model.family, config, left, model.tokenizer)
        rows = {name: array for name, array in rows.items() if name != "next_sentence_labels"}
    return training.evaluation(model, rows, seed=options.seed)


def probe(run: Path, fewest: int = 20, most: int = 60, ridge: float = 0.01) -> dict[str, float]:
    """From which held-out document does a sentence come? Told from its mean-pooled vector alone, the encoder frozen.

    Documents of `fewest` sentences or more, at most `most` of each; those at even places fit a ridge regression on the
    documents' indicators (standardised features, penalty ridge·N, fixed beforehand), those at odd places are asked.
    """
    model, record = minibert.load(run), json.loads((run / "run.json").read_bytes())
    options, _ = pretraining.options_of(model.module, record["options"])
    documents = list(corpus.split(corpus.default_documents(), options.held_out, options.seed)[1])
    documents = [document[:most] for document in documents if len(document) >= fewest]
    labels = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    even = np.concatenate([np.arange(len(document)) % 2 == 0 for document in documents])
    x = inference.sentence_vectors(model, [sentence for document in documents for sentence in document])
    x = x.astype(np.float64)
    x = (x - x[even].mean(0)) / (x[even].std(0) + 1e-9)
    target = np.eye(len(documents))[labels[even]] - np.bincount(labels[even]) / even.sum()
    square = x[even].T @ x[even] + ridge * even.sum() * np.eye(x.shape[1])
    scores = x[~even] @ np.linalg.solve(square, x[even].T @ target)
    asked = labels[~even]
    majority = np.bincount(asked).max() / len(asked)
    right = float((scores.argmax(1) == asked).mean())
    return {"accuracy": right, "majority": float(majority), "classes": len(documents), "asked": len(asked)}


def tuned(run: Path, steps: int) -> dict[str, Any]:
    """Held-out figures of a run's model after further updates, by its family's rule, on sentences without capitals and
    punctuation: it writes the sentence as it was. The rows follow from the seed and the vocabulary.
    """
    model, record = minibert.load(run), json.loads((run / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, record["options"])
    texts = corpus.split(corpus.default_documents(), options.held_out, options.seed)
    train, held_out = (restored(model.tokenizer, part, own.seq_length) for part in texts)
    usual, _ = pretraining.options_of(model.module, model.module.DEFAULTS)
    plan = dataclasses.replace(usual, steps=steps, seed=options.seed).plan(1, steps)

    def batch(step: int) -> list[dict[str, Any]]:
        rows = training.order(step, plan.batch_size, batches.count(train), plan.seed)
        parts = np.split(batches.by_length(model.module, model.config, {k: v[rows] for k, v in train.items()}), 2)
        return [batches.taken(model.module, model.config, train, rows[part]) for part in parts]

    training.fit(model, plan, run / "tuned", batch)
    return training.evaluation(model, held_out, seed=options.seed)


def restored(tokenizer: Any, part: Any, length: int) -> dict[str, np.ndarray]:
    """Rows of the sentences that fit: input_ids, attention_mask (N, T), labels (N, T), </s> behind both."""
    end, pairs = tokenizer.eos_id, []
    for sentence in (sentence for document in part for sentence in document):
        both = [[*tokenizer.ids(text), end] for text in (translation.plain(sentence), sentence)]
        if max(map(len, both)) <= length:
            pairs.append(both)
    ids, labels = (np.full((len(pairs), length), fill, np.int32) for fill in (tokenizer.pad_id, -100))
    for row, (source, target) in enumerate(pairs):
        ids[row, : len(source)], labels[row, : len(target)] = source, target
    sizes = np.array([len(source) for source, _ in pairs])
    there = (np.arange(length) < sizes[:, None]).astype(np.int32)
    return {"input_ids": ids, "attention_mask": there, "labels": labels,
            "decoder_attention_mask": (labels != -100).astype(np.int32)}  # fmt: skip


def figure(report: dict[str, Any], column: str) -> float | None:
    """The entry at a dotted path; None where a run has no such term."""
    value: Any = report
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def table(arms: list[Arm], reports: dict[str, list[dict[str, Any]]], column: str, first: int = 0) -> Iterator[str]:
    """The lines of a Markdown table; first: the first seed."""
    seeds = range(first, first + len(reports[arms[0].label]))
    heads = [column, *(f"seed {seed}" for seed in seeds), "mean", "std", f"less {arms[0].label}", "seconds"]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    base = [figure(report, column) for report in reports[arms[0].label]]
    for arm in arms:
        found = [figure(report, column) for report in reports[arm.label]]
        paired = [a - b for a, b in zip(found, base, strict=True) if None not in (a, b)]
        known = [value for value in found if value is not None]
        cells = [*("–" if value is None else f"{value:.4f}" for value in found), *spread(known)]
        difference = "" if arm is arms[0] else " ± ".join(spread(paired, len(paired) ** 0.5))
        seconds = statistics.mean(report["seconds"] for report in reports[arm.label])
        yield "| " + " | ".join([arm.label, *cells, difference, f"{seconds:.0f}"]) + " |"


def spread(values: list[float], divisor: float = 1.0) -> tuple[str, str]:
    """(mean, standard deviation / divisor), as text."""
    mean = f"{statistics.mean(values):.4f}" if values else "–"
    return mean, f"{statistics.stdev(values) / divisor:.4f}" if len(values) > 1 else "–"


def scaled(arm: Arm, factor: float) -> Arm:
    """The arm with its own number of steps, and of those with dropout, where it has them, times the factor."""
    counts = ("steps", "dropout_steps")
    own = {name: max(1, round(value * factor)) for name, value in arm.options.items() if name in counts}
    return arm._replace(options={**arm.options, **own})


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--steps", type=int, help="instead of the first arm's own; the others in proportion")
    parser.add_argument("--threads", type=int, default=1, help="cores of a run (default 1); no figure depends on them")
    parser.add_argument("--column", action="append", help="figure of report.json instead of the experiment's own")
    parser.add_argument("--json", type=Path, help="also write every report to this file, as they come")
    return parser


def main() -> None:
    given = arguments().parse_args()
    experiment = EXPERIMENTS[given.experiment]
    options = {**experiment.options, "threads": given.threads}
    arms = experiment.arms
    if given.steps:
        options["steps"] = given.steps
        usual = arms[0].options.get("steps", experiment.options.get("steps", given.steps))
        arms = [scaled(arm, given.steps / usual) for arm in arms]
    reports: dict[str, list[dict[str, Any]]] = {arm.label: [] for arm in arms}
    once = functools.cache(corpus.default_documents)  # every run reads the same text
    with mock.patch.object(corpus, "default_documents", once), tempfile.TemporaryDirectory() as folder:
        for seed in range(given.first, given.first + given.seeds):
            for arm in arms:
                print(f"\n{arm.label}, seed {seed}", file=sys.stderr)
                reports[arm.label].append(outcome(experiment, arm, options, seed, Path(folder)))
                if given.json:
                    given.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{given.experiment}: {experiment.claim}\n{options}")
    for column in given.column or experiment.columns:
        print("\n" + "\n".join(table(arms, reports, column, given.first)))


if __name__ == "__main__":
    main()
