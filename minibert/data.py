"""Instances on disk: made of text shard by shard and served row by row, so that neither text nor rows are held.

A shard is consecutive documents, as many as SHARD characters have room for, tokenised, made into rows and (static
masking) masked together, as the releases' input files are: a random partner comes from the same shard. Shard g draws
from `training.draws(seed, part, g)`, so no bit depends on how many processes make the shards; as NumPy pads seeds with
zeros, shard 0 draws what `draws(seed, part)` does. Each is a directory that appears whole or not at all:

    train-00000/rows.npy       a record a row, of the instances' fields: serving a row is one read
    train-00000/counts.npy     (V,) how often each token stands in the shard's text
    train-00000/sha256.json    digests of both
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import batches, families, ranks, reading, training
from minibert.checkpoint import atomic, strictjson
from minibert.config import require
from minibert.corpus import Part
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.progress import over

Texts = Sequence[Sequence[str]]

# More than twice the text that Python ships, which stays one shard. With BERT's eight masked passes a process takes
# some 250 bytes a character while it makes one.
SHARD = 4_000_000
ROWS, COUNTS, DIGESTS = "rows.npy", "counts.npy", "sha256.json"
BLOCK = 8192  # rows written at a time
TOKENS = 1 << 28  # that the rows of a shard may have room for: some 16 bytes each, 4 GB, while they are made


@dataclass(frozen=True)
class Recipe:
    """How a family makes instances of text: its functions, in this order,

        study(tokenizer, options, counted)             what `corrupt` must know of the training text, which is never
                                                       held: counted(f) is the sum of the Counters that
                                                       f(tokenizer, options, texts) finds in its shards
        mark(tokenizer, options, texts, documents)     what `rows` must know of a shard's text
        rows(documents, rng, vocabulary, options, marked)       unmasked instances of a shard's tokenised documents
        corrupt(rows, rng, vocabulary, options, studied)        a batch of them, from any shards, with its targets

    of which `study`, `mark` and `corrupt` may be missing. A family with STUDIED_ROWS has the former's for its rows,
    too: marked["studied"], and of held-out text marked["apart"], True once: it holds out some of what was studied, not
    text. options: the family's Data; studied: what `study` has made of
    the whole training part. passes: over the text of each language, where documents have one (`corpus.Document`): rows
    are then made language by language, so that whatever is drawn for a row is of its own. handed(tokenizer, options,
    part), where there is one, gives what files hold beside the text: the first shard's marked["handed"].
    """

    family: str
    tokenizer: Any
    options: Any
    seed: int = 0
    studied: Any = None
    passes: Mapping[str, int] | None = None

    @property
    def module(self) -> ModuleType:
        return families.family(self.family)

    @property
    def masking(self) -> str:
        """Whether rows are masked once, "static", or whenever they are served, "dynamic"; "no" where nothing is."""
        return getattr(self.options, "masking", "static" if hasattr(self.module, "corrupt") else "no")

    @functools.cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What the rules know of the tokenizer; None where no text is read."""
        return None if self.tokenizer is None else Vocabulary.of(self.tokenizer)

    @property
    def tokens(self) -> int:
        """How many tokens the vocabulary has."""
        return 0 if self.tokenizer is None else len(self.tokenizer)

    def _read(self, texts: Texts) -> tuple[list, np.ndarray]:
        """(documents as `rows` takes them, how often each token stands in them)."""
        if self.tokenizer is None:  # utterances, not sentences
            return list(texts), np.zeros(0, np.int64)
        ids = [[self.tokenizer.ids(sentence) for sentence in spoken(self.module, document)] for document in texts]
        flat = itertools.chain.from_iterable(itertools.chain.from_iterable(ids))
        return ids, np.bincount(np.fromiter(flat, np.int64), minlength=self.tokens)

    def instances(self, texts: Texts, part: str, shard: int = 0) -> tuple[training.Batch, np.ndarray]:
        """(the rows of a shard, how often each token stands in it); part: "train", or "held_out": one masked pass."""
        held_out, rng = part == "held_out", training.draws(self.seed, part, shard)
        ids, counts = self._read(texts)
        groups: dict[str, list[int]] = {}
        for number, document in enumerate(texts):
            groups.setdefault(getattr(document, "language", ""), []).append(number)
        made, handed = [], getattr(self.module, "handed", None)
        beside = {"handed": handed(self.tokenizer, self.options, part) if shard == 0 else []} if handed else {}
        known = {"studied": self.studied} if hasattr(self.module, "STUDIED_ROWS") else {}
        known |= {"apart": shard == 0} if known and held_out else {}
        for language, numbers in groups.items():
            passes = 1 if held_out else (self.passes or {}).get(language, self.options.duplicates)
            own = [texts[number] for number in numbers], [ids[number] for number in numbers]
            given = dataclasses.replace(self.options, duplicates=passes)
            with _of_language(language, allowed=held_out and len(groups) > 1):
                made.append(self._rows(*own, rng, given, {**beside, **known}))
            beside = {"handed": []} if handed else {}
            known |= {"apart": False} if "apart" in known else {}
        require(bool(made), "no language has enough text for a row: give more text, or shorter rows (seq_length)")
        rows = {name: np.concatenate([each[name] for each in made]) for name in made[0]} if made[1:] else made[0]
        return self.corrupted(rows, rng) if held_out or self.masking != "dynamic" else rows, counts

    def _rows(
        self, texts: Texts, ids: list, rng: np.random.Generator, options: Any, beside: dict[str, list]
    ) -> training.Batch:
        """The rows of tokenised documents, in one language or in none that is known; beside: more that `rows` reads."""
        tokens = sum(len(sentence) for document in ids for sentence in document)
        room = options.duplicates * max(tokens, len(ids) * options.seq_length)
        require(room <= TOKENS, f"the rows of {len(ids):,} documents would hold {room:,} tokens, {TOKENS:,} at most: "
                f"lower seq_length, {options.seq_length}, or duplicates, {options.duplicates}")
        marked = self.module.mark(self.tokenizer, options, texts, ids) if hasattr(self.module, "mark") else None
        marked = {**(marked or {}), **beside} if beside else marked
        return self.module.rows(ids, rng, self.vocabulary, options, marked)

    def corrupted(self, rows: training.Batch, rng: np.random.Generator) -> training.Batch:
        """These rows with freshly drawn masks and their targets."""
        if not hasattr(self.module, "corrupt"):
            return rows
        return self.module.corrupt(rows, rng, self.vocabulary, self.options, self.studied)


@contextlib.contextmanager
def _of_language(language: str, allowed: bool) -> Iterator[None]:
    """An InputError inside says which language it is about; a little held-out text may give no row of one (allowed)."""
    try:
        yield
    except InputError as error:
        if not allowed:
            raise InputError(f"{language}: {error}" if language else f"{error}") from None


def spoken(module: ModuleType, document: Sequence[str]) -> Iterator[str]:
    """The sentences of a document as the family's tokenizer reads them: all but the first behind its GLUE, if it has
    one, so that their pieces together are those of the whole text.
    """
    glue = getattr(module, "GLUE", "")
    return (glue + sentence if i else sentence for i, sentence in enumerate(document))


def studied(module: ModuleType, tokenizer: Any, options: Any, texts: Part, processes: int = 1) -> Any:
    """What the family's rules need of the whole training part, from counts of its shards; None for most."""

    def counted(count: Callable[[Any, Any, Texts], Counter]) -> Counter:
        total: Counter = Counter()
        shard = functools.partial(count, tokenizer, options)
        for found in ranks.group().mapped(shard, (documents for _, documents in _shards(texts)), processes):
            total.update(found)
        return total

    return module.study(tokenizer, options, counted) if hasattr(module, "study") else None


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
        for place in places:
            same = _records(place).dtype == self._kind
            require(same, f"{place / ROWS} has other fields than {places[0] / ROWS}: remove {place.parent}")

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

    @functools.cache  # noqa: B019 (as long as the run)
    def where(self, name: str, value: int) -> np.ndarray:
        """The numbers of the rows whose field of that name begins with this value."""
        first = np.concatenate([_records(place)[name][:, 0] for place in self.places])
        return np.flatnonzero(first == value)

    def fields(self) -> Iterator[np.ndarray]:
        """Every field of every shard, by name: what identifies them."""
        for records in map(_records, self.places):
            yield from (np.ascontiguousarray(records[name]) for name in sorted(records.dtype.names))

    def counts(self) -> np.ndarray:
        """(V,) how often each token stands in the text."""
        return sum(_counted(place, self.recipe.tokens) for place in self.places)


def _records(place: Path) -> np.ndarray:
    """A shard's rows, mapped."""
    with reading.opened(place / ROWS) as file:
        count, kind = _head(file, place / ROWS)
        return np.memmap(file, kind, "r", file.tell(), (count,))


def _counted(place: Path, tokens: int) -> np.ndarray:
    """(V,) how often each token stands in a shard's text."""
    with reading.opened(place / COUNTS) as file:
        count, kind = _head(file, place / COUNTS)
        require(count == tokens and kind == np.dtype(np.int64), f"{place / COUNTS} does not count {tokens} tokens")
        return np.frombuffer(file.read(count * kind.itemsize), kind)


def _head(file: Any, path: Path) -> tuple[int, np.dtype]:
    """(how many records follow, their dtype) of an .npy file of numbers, one after the other; nothing is unpickled."""
    try:
        require(np.lib.format.read_magic(file) == (1, 0), "of another version")
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        fields = [kind[name].base for name in kind.names] if kind.names else [kind]
        require(len(shape) == 1 and all(field.kind in "biuf" for field in fields), "other values than numbers")
        require(shape[0] >= 0 and file.tell() + shape[0] * kind.itemsize == os.fstat(file.fileno()).st_size,
                "another length than it says")
    except Exception as error:  # NumPy's reader raises whatever a header makes it
        raise InputError(f"{path} is not as it was written ({error}): remove {path.parent}") from None
    return shape[0], kind


def made(recipe: Recipe, texts: Part, part: str, folder: Path, processes: int = 1) -> Rows:
    """A part's rows in the folder: shards that are missing or damaged are made, by so many processes of each rank."""
    group = ranks.group()
    places = [folder / f"{part}-{number:05d}" for number in range(_numbers(texts.lengths)[-1] + 1)]
    missing = group.once(lambda: _missing(recipe, folder, places))
    if missing:
        write = functools.partial(_written, recipe, part, places)
        shards = group.mapped(write, _shards(texts, missing.__contains__), processes)
        named = f"{part.replace('_', '-')} text: shard"
        for _ in over(shards, named, len(missing), kept=len(missing) > 1):
            pass
    return Rows(recipe, places)


def _missing(recipe: Recipe, folder: Path, places: Sequence[Path]) -> set[int]:
    """The numbers of the shards that have to be made; what is damaged is removed."""
    training.require_plain(folder)
    missing = {number for number, place in enumerate(places) if not (_intact(place) and _fitting(recipe, place))}
    for number in missing:
        training.discard(places[number])
    return missing


def remove(folder: Path) -> None:
    """Removes the shards, whole and begun; and the folder, if nobody else has put anything there."""
    for name in reading.names(folder) if reading.present(folder) else ():
        if re.fullmatch(r"\.?(train|held_out)-[0-9]{5,}(\.[0-9]+-[0-9]+\.new)?", name):
            training.discard(folder / name)
    with contextlib.suppress(OSError):
        folder.rmdir()


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
    count = batches.count(rows)
    kind = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in rows.items()])
    head = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(out, head)
    for begin in range(0, count, BLOCK):
        records = np.empty(min(BLOCK, count - begin), kind)
        for name, array in rows.items():
            records[name] = array[begin : begin + BLOCK]
        out.write(records.tobytes())


def _intact(place: Path) -> bool:
    """Whether the shard is there itself, as it was written."""
    try:
        training.require_plain(place)
        known = strictjson.loads(reading.contents(place / DIGESTS), DIGESTS)
        return known == {name: _sha256(place / name) for name in (ROWS, COUNTS)}
    except (OSError, InputError):
        return False


def _fitting(recipe: Recipe, place: Path) -> bool:
    """Whether a shard, whoever wrote it, is made of rows of the recipe's length and counts of its tokens."""
    try:
        kind = _records(place).dtype
        _counted(place, recipe.tokens)
    except InputError:
        return False
    defaults = recipe.module.Config()
    specs, ragged = batches.specs(recipe.module, defaults), [*recipe.module.lengths(defaults)][:1]

    def fits(name: str) -> bool:
        shape = kind[name].shape
        dims = specs[name].of(np.broadcast_to(0, (1, *shape)))[1:]  # rows may be of several texts
        due = [size == recipe.options.seq_length for dim, size in zip(dims, shape, strict=False) if dim in ragged]
        return len(shape) == len(dims) and all(due) and (specs[name].kind in ("real", "nonnegative")
                                                         or kind[name].base.kind in "iu")  # fmt: skip

    named = [name for name in kind.names or () if name in specs]
    return bool(named) and all(map(fits, named))


def _sha256(path: Path) -> str:
    with reading.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
