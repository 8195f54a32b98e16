"""ERNIE 1.0: Enhanced Representation through Knowledge Integration (Baidu).

Sun, Wang, Li, Feng, Chen, Zhang, Tian, Zhu, Tian, Wu, 2019, arXiv 1904.09223. Released code: PaddlePaddle/ERNIE
(`model/ernie.py`, `batching.py`, `reader/pretraining.py`).

BERT except (1), (5) and the data; no vectors of entities (those are another ERNIE's, of Tsinghua).

    embeddings   h⁰ = Drop(LN(E_word[x] + E_position[t] + E_type[s] (+ E_task[k]))), the last where `use_task_id`  (1')
    feed-forward act = ReLU, in (8) too                                                                            (5')
    pairs        (10) with label 1 = real, 0 = fake: the other way round than BERT's

Data, stage after stage (`--units`, each a run that goes on from the one before, `--from`): single pieces; whole
phrases; whole entities, the rest by word. `--format dialogue` has rows [CLS] Q [SEP] R [SEP] Q [SEP], whose segments
are the roles; in half of them a query or the response is from elsewhere (fake). `--conversations FILE` has batches of
them take turns with those of the text, the roles in rows 2 and 3 of the table of types.

What paper and release have otherwise, or leave open, and what is done here:
- a unit is chosen whole with probability 0.15, on its own (the release's one draw a unit), not until a budget is met;
  each of its tokens is then masked, random (any but id 0) or kept by a draw of its own: 80/10/10 falls by token.
- the release draws for each file whether it masks words or characters; a run here has one kind of units.
- phrases and entities are handed in (a file, one a line); without it those that the text shows (`corruption.phrases`):
  the paper's segmenter and its annotations were not released.
- false pairs are BERT's, with labels turned; the release joins halves of samples that follow one another in a buffer.
- the table of types serves as the paper's table of roles; QRR and QQR are other segment_ids; it was not released.
- the mask adds (m - 1)·1000 in the release, later 10000; here ports' smallest number (`mask_constant`).
- ports' defaults (GELU, 512 positions, eps 1e-12) are BERT's; published files say relu, 513, 1e-5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import corpus, layers, options
from minibert.config import among, number, require, size
from minibert.corruption import courses, dialogue, masking, phrases, replacement, segmentation, selection
from minibert.corruption import sequences as makers
from minibert.corruption import units as unit
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """ERNIE 1.0 as released: BERT's fields with other defaults, and those of the table of tasks."""

    vocab_size: int = 18000
    hidden_act: str = among("relu", layers.ACTIVATIONS)
    max_position_embeddings: int = size(513)
    layer_norm_eps: float = number(1e-5, 0, 1)
    task_type_vocab_size: int = size(3)
    use_task_id: bool = False


PRESETS = bert.PRESETS
PROBE = {**bert.PROBE, "use_task_id": True, "task_type_vocab_size": 4}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """BERT's, with the table of tasks where there is one."""
    made = bert.shapes(config)
    if not config.use_task_id:
        return made
    table = {"weight": (config.task_type_vocab_size, config.hidden_size)}
    return {**made, "embeddings": {**made["embeddings"], "task_type": table}}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's; with a table of tasks each row is of one of them, in turn, the last token of another."""
    batch = bert.example(rng, config, dims)
    batch["dropout"] = {_published(name): keep for name, keep in batch["dropout"].items()}
    if config.use_task_id:
        tasks = np.repeat(np.arange(len(batch["input_ids"]))[:, None], batch["input_ids"].shape[1], 1)
        tasks[0, -1] += 1
        batch["task_type_ids"] = tasks % config.task_type_vocab_size
    return batch


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """BERT's, under the names of the published dropout modules."""
    return {_published(name): place for name, place in bert.dropouts(config, dims).items()}


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = "ernie.encoder.layer."


def inputs(config: Config) -> dict[str, str]:
    """BERT's, and the task of each token where there is a table of them; 0 unless given."""
    own = {"task_type_ids": "?(B,T)<task_type_vocab_size"} if config.use_task_id else {}
    return {**bert.inputs(config), **own}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1')-(7): outputs by name, and the cache; as `bert.encode`."""
    c: Tree = {}
    h, c["embeddings"] = _embedded(p["embeddings"], config, inputs)  # (1')
    given = {"mask": inputs.get("attention_mask"), "dropout": inputs.get("dropout") or {}}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given, prefix=LAYERS, keep=keep)  # (2)-(6)
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])  # (7)
    return out, c


def _embedded(p: Tree, config: Config, inputs: dict[str, Array]) -> tuple[Array, Tree]:
    """(1')"""
    ids, length, most = inputs["input_ids"], inputs["input_ids"].shape[1], config.max_position_embeddings
    require(length <= most, f"input_ids: {length} tokens a row, but max_position_embeddings is {most}; truncate")
    numbers = {"token_type": "token_type_ids", **({"task_type": "task_type_ids"} if config.use_task_id else {})}
    given = {table: inputs.get(name) for table, name in numbers.items()}
    tables = {"word": ids, "position": inputs.get("position_ids", np.arange(length))}
    tables |= {table: np.zeros_like(ids) if own is None else own for table, own in given.items()}
    frozen = {} if config.pad_row_gradient else {"word": config.pad_token_id}
    drop = {"keep": (inputs.get("dropout") or {}).get("ernie.embeddings.dropout"), "rate": config.hidden_dropout_prob}
    return layers.embeddings(p, ids=tables, frozen=frozen, eps=config.layer_norm_eps, **drop)


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(11): BERT's, over this network."""
    return bert.terms(config)


# ---- Data ------------------------------------------------------------------------------------------------------------
UNITS = ("pieces", "phrases", "entities")  # the stages, in the paper's order
RANDOM_FROM = 1  # random tokens are any ids from here on


@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    units: str = option("pieces", "mask these together, the rest by word; a stage each, see --from", among=UNITS)
    format: str = option("pairs", "make rows of two segments, or of query, response, query: a line is a turn",
                         among=("pairs", "dialogue"))  # fmt: skip
    conversations: str = option("", "have batches of dialogue from this file, a line a turn, a blank line between two, "
                                "take turns with those of the text", file=True)  # fmt: skip
    phrases: str = option("", "read the phrases from this file, one a line; else from the text", file=True)
    entities: str = option("", "read the entities from this file, one a line; else from the text", file=True)


FEWEST = 20  # conversations, so that two are held out
ROLES = 2  # the first row of the table of types that is a role's, where conversations are handed in


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make."""
    if not data.conversations:
        return bert.fields(data, given)
    types = given.get("type_vocab_size", ROLES + 2)
    require(types >= ROLES + 2, f"config field 'type_vocab_size' is {types}; two types and two roles need {ROLES + 2}")
    return {**bert.fields(data, given), "type_vocab_size": types}


def handed(tokenizer: Any, data: Data, part: str) -> list:
    """The conversations of a file, tokenised; part: "train", or "held_out", every tenth."""
    if not data.conversations:
        return []
    found = [*corpus.Files([data.conversations], "sentences")]
    require(len(found) >= FEWEST, f"{data.conversations}: {len(found)} conversations, every tenth of which is held "
            f"out: give {FEWEST} or more, a blank line between two")  # fmt: skip
    return [[tokenizer.ids(turn) for turn in document] for n, document in enumerate(found)
            if (n % 10 == 9) == (part == "held_out")]  # fmt: skip


def turn(data: Any, step: int, steps: int) -> courses.Turn | None:
    """Text and dialogue, one after the other."""
    if not data.conversations:
        return None
    return courses.Turn("dialogue", "segment_ids", ROLES) if step % 2 else courses.Turn("text", "segment_ids", 0)


def study(tokenizer: Any, data: Data, counted: Callable) -> frozenset:
    """The phrases or entities of a stage, as tuples of ids: handed in, or those that the training text shows."""
    if data.units == "pieces":
        return frozenset()
    file = data.phrases if data.units == "phrases" else data.entities
    if file:
        known = phrases.spelt(segmentation.lines(file), tokenizer)
        require(bool(known), f"{file} has none of the {data.units} that this vocabulary can spell")
        return known
    found = phrases.collocations(counted(_words)) if data.units == "phrases" else phrases.names(counted(_names))
    return phrases.spelt(found, tokenizer)


def _words(tokenizer: Any, data: Data, texts: list) -> Any:
    return phrases.words(texts)


def _names(tokenizer: Any, data: Data, texts: list) -> Any:
    return phrases.capitalised(texts)


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Rows in the format asked for, 1 = real, 0 = fake; nothing masked yet."""
    if data.format == "dialogue":
        return dialogue.turns(documents, rng, vocabulary, data.seq_length, data.duplicates)
    made = makers.pairs(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)
    made = {**made, "next_sentence_labels": 1 - made["next_sentence_labels"]}
    if not (given := (marked or {}).get("handed")):
        return made
    talk = dialogue.turns(given, rng, vocabulary, data.seq_length, data.duplicates)
    talk["segment_ids"] = talk["segment_ids"] + ROLES * talk["input_mask"]
    return {name: np.concatenate([made[name], talk[name]]) for name in made}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows freshly masked, by the units of the stage."""
    ids, slots = rows["input_ids"], most_targets(data)
    groups = chosen(units_of(ids, rows["input_mask"], vocabulary, data, studied), rng, data.rate, slots)
    there, now = groups >= 0, ids.copy()
    exclude = range(RANDOM_FROM)
    now[there] = replacement.replacement(ids[there], rng, vocabulary, exclude=exclude)
    return {**rows, "input_ids": now, **masking.targets(ids, there, slots)}


def most_targets(data: Data) -> int:
    """The targets that a row has room for: as units are drawn one by one, twice the share that is due."""
    return data.max_predictions or min(data.seq_length, 2 * data.slots)


def units_of(ids: Array, present: Array, vocabulary: Vocabulary, data: Data, known: frozenset | None) -> Array:
    """(B, T) which positions fall together: pieces, or phrases or entities over words; -1 outside."""
    candidates = masking.candidates(ids, present, vocabulary)
    if data.units == "pieces":
        return unit.units(candidates, candidates)
    words = unit.units(candidates, unit.word_starts(ids, vocabulary))
    return unit.entities(words, segmentation.entities(ids, known or (), vocabulary.continues))


def chosen(units: Array, rng: np.random.Generator, rate: float, slots: int) -> Array:
    """Groups (B, T) as of `selection`: each unit with this probability, whole, while there is room for it."""
    first = np.zeros((len(units), units.shape[1]), bool)
    row, at = np.nonzero(units >= 0)
    first[row, units[row, at]] = True  # a mark for each unit, at its number
    count = ((rng.random(first.shape) < rate) & first).sum(1)  # so many, and any of them: each on its own
    return selection.selection(units, np.full(len(units), slots), rng, count=count)


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "ernie"
PREFIX = "ernie."


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {name.replace("Bert", "Ernie"): parts for name, parts in bert.architectures(config).items()}


def _published(name: str) -> str:
    """BERT's published name as ERNIE's."""
    return f"{PREFIX}{name.removeprefix(bert.PREFIX)}" if name.startswith(bert.PREFIX) else name


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: BERT's table, renamed, and that of tasks."""
    rows = [(path, _published(name), bijection) for path, name, bijection in bert.names(config)]
    task = ("embeddings.task_type.weight", "ernie.embeddings.task_type_embeddings.weight", "identity")
    return rows[:3] + [task] * config.use_task_id + rows[3:]


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """BERT's table, renamed, and the look-up of tasks."""
    rows = [(_published(name), *row) for name, *row in bert.activations(config)]
    task = ("ernie.embeddings.task_type_embeddings", "encode.embeddings.tables.task_type", "", "embeddings")
    return rows[:3] + [task] * config.use_task_id + rows[3:]


def aliases(config: Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {_published(alias): _published(name) for alias, name in bert.aliases(config).items()}
