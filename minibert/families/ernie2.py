"""ERNIE 2.0: A Continual Pre-training Framework for Language Understanding (Baidu).

Sun, Wang, Li, Feng, Tian, Wu, Wang, 2019, arXiv 1907.12412. Released code: PaddlePaddle/ERNIE (`model/ernie.py`), the
network and fine-tuning; neither the tasks' data nor their heads.

ERNIE 1.0 with its table of tasks, and in the place of pairs (10) seven tasks, each with its number k in E_task:

    0 masking        (8), (9): whole pieces, phrases or entities, as ERNIE 1.0
    1 capitalised    was the word written with a capital? of each token, z = h W₁ᵀ + b₁                            (15)
    2 elsewhere      does the token stand in other passages about this one, too? of each token                    (16)
    3 reordering     1 … m segments of a passage in which of Σ n! orders? z = r W₃ᵀ + b₃ of the pooled state       (17)
    4 distance       0 = neighbours, 1 = of one document, 2 = of two                                              (18)
    5 discourse      by which relation do two sentences go together? of pairs handed in                           (19)
    6 relevance      0 = strong, 1 = weak, 2 = none: a title to a query, of pairs handed in                       (20)
    objective        L = Σ of the means of those tasks that a batch asks: of single steps, one                    (21)

Continual multi-task learning: when task k arrives, training goes on with tasks 1 … k together (`corruption.courses`);
`--course` has the alternatives that the paper compares.

What the paper leaves open, and what is done here:
- a step is of one task, and its rows have that task's number; the release sums what a group of tasks asks of a batch.
- segments are cut where words start, their number drawn from 1 … m first; a [SEP] behind each shows how many.
- the release's MLM head begins with a norm bias of 1, apparently a slip; here it is 0, as in ports.
- names of the heads' tensors: `cls.TASK_fc`, after the release's custom. Fine-tuning may use any task's number.
- (16) asks the paper's "other segments of the document" of four about the passage (`--reach`). In a whole document of
  any length the answer is that length: among modules' docstrings what a token is tells less than always saying yes.
- of a file of pairs every tenth is held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert import rows as files
from minibert.config import require, size
from minibert.corruption import courses, masking, replacement, structure
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, ernie, inherited
from minibert.heads import classification, tagging
from minibert.objective import Term
from minibert.options import option

KIN = "ernie"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

WORDS, TEXTS = ("capitalised", "elsewhere"), ("reordering", "distance", "discourse", "relevance")
TASKS = ("masked_lm", *WORDS, *TEXTS)  # a task's number is its place
RELEVANCE = ("strong", "weak", "none")


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(ernie.Config):
    """ERNIE 2.0-base: the fields of 1.0, those of its English release, and the sizes of the heads."""

    vocab_size: int = 30522
    max_position_embeddings: int = size(512)
    type_vocab_size: int = size(4)
    task_type_vocab_size: int = size(len(TASKS))  # 16 in the release, 3 by default in ports
    use_task_id: bool = True
    max_segments: int = size(3, 6)  # m of (17)
    discourse_classes: int = size(2, 1 << 10)


PROBE = {**ernie.PROBE, "use_task_id": False, "max_segments": 2, "discourse_classes": 4}


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """ERNIE's, asked everything at once."""
    batch = ernie.example(rng, config, dims)
    del batch["next_sentence_labels"]
    dims = {**bert.DIMS, **(dims or {}), "T": batch["input_ids"].shape[1]}
    for term in [*terms(config).values()][1:]:
        drawn = term.head.draw(rng, dims, {"T": batch["input_mask"].sum(1)}, **term.sizes)
        batch |= {f"{term.prefix}{field}": value for field, value in drawn.items()}
    return batch


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(21): those of a batch's labels."""
    width, one = config.hidden_size, "single_label_classification"
    found = {"masked_lm": bert.terms(config)["masked_lm"]._replace(optional=True)}
    for task in WORDS:  # (15), (16)
        sizes = {"width": width, "classes": 2}
        found[task] = Term(tagging, task, sizes=sizes, optional=True, prefix=f"{task}_")
    many = (structure.classes(config.max_segments), 3, config.discourse_classes, len(RELEVANCE))
    for task, classes in zip(TEXTS, many, strict=True):  # (17)-(20)
        sizes, own = {"width": width, "classes": classes, "problem_type": one}, {"problem_type": one}
        found[task] = Term(classification, task, "pooler_output", sizes, own, optional=True, prefix=f"{task}_")
    return found


def turn(data: "Data", step: int, steps: int) -> courses.Turn:
    """The task of a step of a run."""
    asked = [task for task in TASKS if task not in ("discourse", "relevance") or getattr(data, task)]
    task = asked[courses.turns(len(asked), steps, data.course)[step]]
    return courses.Turn(task, "task_type_ids", TASKS.index(task), task)


# ---- Data ------------------------------------------------------------------------------------------------------------
DEFAULTS: Tree = {"duplicates": 1, "steps": 5000}  # a pass over the text makes rows for five tasks


@dataclass(frozen=True)
class Data(options.Masked):
    """What the data functions ask for."""

    units: str = option("pieces", "mask these together, the rest by word", among=ernie.UNITS)
    phrases: str = option("", "read the phrases from this file, one a line; else from the text", file=True)
    entities: str = option("", "read the entities from this file, one a line; else from the text", file=True)
    course: str = option("continual", "let tasks arrive one by one and stay, train all at once, or one by one alone",
                           among=courses.COURSES)  # fmt: skip
    reach: int = option(4, "look for a token elsewhere in so many passages about its own; 0: in all of its document",
                        least=0, most=1000)  # fmt: skip
    segments: int = option(3, "cut a passage to be put in order into at most so many segments", least=2, most=6)
    discourse: str = option("", "learn relations from this file of text, pair, label", file=True)
    relevance: str = option("", "learn relevance from this file of text, pair, label: strong, weak, none", file=True)


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make."""
    relations = {"discourse_classes": max(2, len(_named(data)))} if data.discourse else {}
    own = {"use_task_id": True, "max_segments": data.segments, **relations}
    needed = {**own, "task_type_vocab_size": max(len(TASKS), given.get("task_type_vocab_size", len(TASKS)))}
    for name, value in needed.items():
        require(given.get(name, value) == value, f"config field {name!r} is {given.get(name)}; the rows that are made "
                f"need {value}: --set {name}={str(value).lower()}")  # fmt: skip
    return {**bert.fields(data, given), **own}


def _named(data: Data) -> list[str]:
    """The relations of a file, sorted."""
    return sorted({str(row["label"]) for row in files.read(data.discourse, "classify")})


def handed(tokenizer: Any, data: Data, part: str) -> list[structure.Row]:
    """The rows of files of pairs; part: "train", or "held_out", every tenth."""
    found = []
    for task in ("discourse", "relevance"):
        if not (file := getattr(data, task)):
            continue
        known = _named(data) if task == "discourse" else [*RELEVANCE]
        for n, row in enumerate(files.read(file, "classify")):
            label, pair = str(row["label"]), row.get("pair")
            there = pair is not None and label in known
            require(there, f"{file}, row {n + 1}: needs text, pair, and a label among {', '.join(known)}")
            if (n % 10 == 9) == (part == "held_out"):
                parts = [tokenizer.ids(row["text"]), tokenizer.ids(pair)]
                found.append(structure.Row(TASKS.index(task), parts, known.index(label), typed=True))
    return found


def mark(tokenizer: Any, data: Data, texts: list, documents: list) -> Tree:
    """"capitals": for each token whether its word was written with a capital, before anything made it lower-case."""
    return {"capitals": [[_capitals(tokenizer, sentence) for sentence in document] for document in texts]}


def _capitals(tokenizer: Any, text: str) -> list[int]:
    encoding, word, found = tokenizer.encode(text), 0, []
    for id, (start, end) in zip(encoding.ids[1:-1], encoding.offsets[1:-1], strict=True):
        if tokenizer.continues is None or not tokenizer.continues[id]:
            word = int(text[start:end][:1].isupper())
        found.append(word)
    return found


def rows(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Tree | None = None
) -> Tree:
    """Rows of every task, each of one, under the number of its task; nothing masked yet."""
    vocabulary.need("cls", "sep", "mask", "pad")
    given = marked or {}
    capitals = given.get("capitals") or [[[0] * len(s) for s in document] for document in documents]
    made: list[structure.Row] = []
    for _ in range(data.duplicates):
        made += [*_words(documents, capitals, data), *_texts(documents, rng, vocabulary, data)]
        made += given.get("handed", [])
    require(bool(made), "no tokens to make instances of: every document is empty")
    arrays = structure.assembled([made[i] for i in rng.permutation(len(made))], vocabulary, data.seq_length)
    label, tags, task = arrays.pop("label"), arrays.pop("tags"), arrays["task_type_ids"][:, 0]
    for name in TASKS[1:]:
        mine, kept = task == TASKS.index(name), tags if name in WORDS else label
        arrays[f"{name}_labels"] = np.where(mine[:, None] if name in WORDS else mine, kept, structure.IGNORED)
    return arrays


def _words(documents: list, capitals: list, data: Data) -> Iterator[structure.Row]:
    """The rows of tasks 0 to 2: the same passages."""
    room = data.seq_length - 2
    for document, written in zip(documents, capitals, strict=True):
        borders = [*structure.runs(document, room)]
        passages = [structure.joined(document[a:b], room) for a, b in borders]
        for n, ((a, b), passage) in enumerate(zip(borders, passages, strict=True)):
            if passage:
                yield structure.Row(0, [passage])
                yield structure.Row(1, [passage], tags=structure.joined(written[a:b], room))
                about = structure.about(passages, n, data.reach) if data.reach else document
                yield structure.Row(2, [passage], tags=structure.elsewhere(about, passage))


def _texts(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data) -> Iterator:
    """The rows of tasks 3 and 4."""
    room, inside = data.seq_length - 1 - data.segments, vocabulary.continues
    for document in documents:
        for a, b in structure.runs(document, room):
            if passage := structure.joined(document[a:b], room):
                starts = [at for at, id in enumerate(passage) if inside is None or not inside[id]]
                parts, label = structure.reordered(passage, starts, rng, data.segments)
                yield structure.Row(3, parts, label)
    for parts, label in structure.distances(documents, rng, (data.seq_length - 3) // 2):
        yield structure.Row(4, parts, label, typed=True)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows, those of task 0 freshly masked as ERNIE 1.0's."""
    ids, slots = rows["input_ids"], ernie.most_targets(data)
    units = ernie.units_of(ids, rows["input_mask"], vocabulary, data, studied)
    masked = rows["task_type_ids"][:, :1] == 0
    there, now = ernie.chosen(np.where(masked, units, -1), rng, data.rate, slots) >= 0, ids.copy()
    now[there] = replacement.replacement(ids[there], rng, vocabulary, exclude=range(ernie.RANDOM_FROM))
    return {**rows, "input_ids": now, **masking.targets(ids, there, slots)}


# ---- Published names -------------------------------------------------------------------------------------------------
VARIANTS = (*bert.VARIANTS, "max_segments", "discourse_classes")


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    every = ("pooler", "mlm", *TASKS[1:])
    return {"ErnieModel": ("pooler",), "ErnieForMaskedLM": ("mlm",), "ErnieForPreTraining": every}


def names(config: Config) -> list[tuple[str, str, str]]:
    """ERNIE's, without a head of pairs, and those of the tasks."""
    own = [(f"{task}.{leaf}", f"cls.{task}_fc.{leaf}", "identity") for task in TASKS[1:] for leaf in ("weight", "bias")]
    return [row for row in ernie.names(config) if not row[0].startswith("nsp.")] + own


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """As ERNIE's, with the tasks' heads in the place of that of pairs."""
    table = [row for row in ernie.activations(config) if not row[0].startswith("cls.seq")]
    return [*table, *((f"cls.{task}_fc", f"{task}.head", "", "head") for task in TASKS[1:])]


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: a head of pairs, too."""
    return (*bert.unused(config), "cls.seq_relationship.weight", "cls.seq_relationship.bias")
