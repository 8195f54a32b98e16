"""Instances on disk: made of text shard by shard and served row by row, so that neither text nor rows are held.

A shard is consecutive documents, as many as SHARD characters have room for, tokenised, made into rows and (static
masking) masked together, as the releases' input files are: a random partner comes from the same shard. Shard g draws
from `training.draws(seed, part, g)`, so no bit depends on how many processes make the shards; as NumPy pads seeds with
zeros, shard 0 draws what `draws(seed, part)` does. Each is a directory that appears whole or not at all:

    train-00000/rows.npy       a record a row, of the instances' fields: serving a row is one read
    train-00000/counts.npy     (V,) how often each token stands in the shard's text
    train-00000/sha256.json    digests of both
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import families, training
from minibert.checkpoint import atomic
from minibert.corpus import Part
from minibert.corruption.masking import Vocabulary
from minibert.processes import mapped

Texts = Sequence[Sequence[str]]

# More than twice the text that Python ships, which stays one shard. With BERT's eight masked passes a process takes
# some 250 bytes a character while it makes one.
SHARD = 4_000_000
ROWS, COUNTS, DIGESTS = "rows.npy", "counts.npy", "sha256.json"
BLOCK = 8192  # rows written at a time


@dataclass(frozen=True)
class Recipe:
    """How a family makes instances of text. learnt: what its `learnt` has made of the whole training part."""

    family: str
    tokenizer: Any
    options: Any  # pretraining.Options
    learnt: Any = None

    @property
    def module(self) -> ModuleType:
        return families.family(self.family)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """What the rules know of the tokenizer."""
        known = self.tokenizer
        roles = (known.cls_id, known.sep_id, known.mask_id, known.pad_id)
        return Vocabulary(len(known), *roles, known.continues, tuple(sorted(known.special_ids)))

    def instances(self, texts: Texts, part: str, shard: int = 0) -> tuple[training.Batch, np.ndarray]:
        """(the rows of a shard, how often each token stands in it); part: "train", or "held_out": one masked pass."""
        held_out = part == "held_out"
        options = dataclasses.replace(self.options, duplicates=1) if held_out else self.options
        rng = training.draws(options.seed, part, shard)
        ids = [[self.tokenizer.ids(sentence) for sentence in document] for document in texts]
        flat = itertools.chain.from_iterable(itertools.chain.from_iterable(ids))
        counts = np.bincount(np.fromiter(flat, np.int64), minlength=len(self.tokenizer))
        prepared = getattr(self.module, "prepared", lambda *_: None)(self.tokenizer, options, texts, ids)
        rows = self.module.sequences(ids, rng, self.vocabulary, options, prepared)
        return self.masked(rows, rng) if held_out or options.masking == "static" else rows, counts

    def masked(self, rows: training.Batch, rng: np.random.Generator) -> training.Batch:
        """These rows with freshly drawn masks and their targets."""
        return self.module.corrupted(rows, rng, self.vocabulary, self.options, self.learnt)


def learnt(family: str, tokenizer: Any, options: Any, texts: Part, processes: int = 1) -> Any:
    """What the family's rules need of the whole training part, from counts of its shards; None for most."""

    def counted(count: Callable[[Any, Any, Texts], Counter]) -> Counter:
        total: Counter = Counter()
        shard = functools.partial(count, tokenizer, options)
        for found in mapped(shard, (documents for _, documents in _shards(texts)), processes):
            total.update(found)
        return total

    return getattr(families.family(family), "learnt", lambda *_: None)(tokenizer, options, counted)


def _shards(texts: Part, wanted: Callable[[int], bool] = lambda number: True) -> Iterator[tuple[int, Texts]]:
    """(number, documents) of those shards that are wanted."""
    numbered = zip(_numbers(texts.lengths), texts, strict=True)
    for number, group in itertools.groupby(numbered, key=lambda pair: pair[0]):
        if wanted(number):
            yield number, [document for _, document in group]


def _numbers(lengths: np.ndarray) -> list[int]:
    """The shard of each document: as few shards as there can be, about equally long, so that none is a short rest."""
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    return np.unique(before * -(-total // SHARD) // total, return_inverse=True)[1].tolist()


# ---- Files -----------------------------------------------------------------------------------------------------------
class Rows:
    """The rows of some shards, end to end, read when they are asked for: no file stays open or mapped."""

    def __init__(self, recipe: Recipe, places: Sequence[Path]) -> None:
        self.recipe, self.places = recipe, places
        self._ends = np.cumsum([len(_records(place)) for place in places])
        self._kind = _records(places[0]).dtype

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, rows: np.ndarray) -> training.Batch:
        """These rows, copied."""
        shards = np.searchsorted(self._ends, rows, side="right")
        found = np.empty(len(rows), self._kind)
        for shard in np.unique(shards).tolist():
            mine, records = shards == shard, _records(self.places[shard])
            found[mine] = records[rows[mine] - (self._ends[shard] - len(records))]
        return {name: np.ascontiguousarray(found[name]) for name in found.dtype.names}

    def fields(self) -> Iterator[np.ndarray]:
        """Every field of every shard, by name: what identifies them."""
        for records in map(_records, self.places):
            yield from (np.ascontiguousarray(records[name]) for name in sorted(records.dtype.names))

    def counts(self) -> np.ndarray:
        """(V,) how often each token stands in the text."""
        return sum(np.load(place / COUNTS) for place in self.places)


def _records(place: Path) -> np.ndarray:
    return np.load(place / ROWS, mmap_mode="r")


def made(recipe: Recipe, texts: Part, part: str, folder: Path, processes: int = 1) -> Rows:
    """A part's rows in the folder: shards that are missing or damaged are made, by so many processes."""
    places = [folder / f"{part}-{number:05d}" for number in range(_numbers(texts.lengths)[-1] + 1)]
    missing = {number for number, place in enumerate(places) if not _intact(place)}
    for number in missing:
        shutil.rmtree(places[number], ignore_errors=True)
    if missing:
        write = functools.partial(_written, recipe, part, places)
        for _ in _said(mapped(write, _shards(texts, missing.__contains__), processes), part, len(missing)):
            pass
    return Rows(recipe, places)


def _written(recipe: Recipe, part: str, places: Sequence[Path], shard: tuple[int, Texts]) -> None:
    number, texts = shard
    rows, counts = recipe.instances(texts, part, number)
    with atomic.directory(places[number]) as folder:
        with open(folder / ROWS, "wb") as out:
            _write(out, rows)
        np.save(folder / COUNTS, counts)
        digests = json.dumps({name: _sha256(folder / name) for name in (ROWS, COUNTS)})
        (folder / DIGESTS).write_text(digests, encoding="utf-8")


def _write(out: Any, rows: training.Batch) -> None:
    """Arrays of as many rows, as an .npy file of records."""
    count = len(rows["input_ids"])
    kind = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in rows.items()])
    head = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(out, head)
    for begin in range(0, count, BLOCK):
        records = np.empty(min(BLOCK, count - begin), kind)
        for name, array in rows.items():
            records[name] = array[begin : begin + BLOCK]
        out.write(records.tobytes())


def _intact(place: Path) -> bool:
    try:
        known = json.loads((place / DIGESTS).read_bytes())
        return known == {name: _sha256(place / name) for name in (ROWS, COUNTS)}
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _said(done: Iterable, part: str, count: int, every: float = 5.0) -> Iterator[None]:
    """Says how many shards are done: one line that renews itself on a terminal, else a line now and then."""
    last, terminal = time.perf_counter(), sys.stderr.isatty()
    for number, _ in enumerate(done, 1):
        now = time.perf_counter()
        if count > 1 and (terminal or now - last >= every):
            last = now
            line = f"{part.replace('_', ' ')} text: {number} of {count} shards"
            end = "" if terminal and number < count else "\n"
            print(f"\r{line}" if terminal else line, end=end, file=sys.stderr, flush=True)
        yield
