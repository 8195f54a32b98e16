"""What the axes of a case's tensors are, a letter each, and in which orders others store them.

    B batch   T tokens   H heads   K size of a head   Q S tokens that ask, that are asked
    N tokens without padding   M slots of targets   G targets with weight
    o p out (heads, size of a head)   i j in   s query, key, value   V D rows and columns of a table

Adjacent axes may lie in one, and do in most files: (B, T, H, K) as (B, T, D), (B·T, D) or as it stands. So an order of
letters says how the numbers lie in memory, and every shape is tried that such a merging gives.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert import families
from minibert.config import require
from minibert.golden.unmoved import parameter

# the first of each is the case's own order
ROWS = ("BTHK", "TBHK", "BHTK", "HBTK", "BHKT")
PACKED = ("NHK", "HNK", "HKN")
SCORES = ("BXQS", "XBQS", "BQXS")
OUT_IN = ("opij", "ijop", "oijp")  # the last: (in, size) of each head
IN_OUT = ("ijop", "opij", "oijp")
TABLE = ("VD", "DV")
VECTOR = ("HK",)
QKV_ROWS = ("BTsHK", "BTHsK", "BTHKs", "sBTHK", "sBHTK", "BsHTK", "BHTsK", "TBsHK", "TBHsK", "sTBHK",
            "BsHKT", "BHsKT")  # fmt: skip
QKV_OUT_IN = ("sopij", "ospij", "opsij", "ijsop", "ijosp", "ijops", "sijop", "soijp")
QKV_IN_OUT = ("ijsop", "ijosp", "ijops", "sopij", "ospij", "opsij", "sijop", "soijp")
QKV_VECTOR = ("sHK", "HsK", "HKs")
STRANGERS = {a + b for a, b in itertools.product("ops", "ij")} | {a + b for a, b in itertools.product("TNMG", "HK")}
PLAIN = "abcdefgh"  # axes of which nothing is known
QKV_PACKED = ("NsHK", "NHsK", "NHKs", "sNHK")
WORDS = {
    "B": "batch", "T": "tokens", "HK": "hidden", "H": "heads", "K": "head size", "N": "tokens without padding",
    "op": "out", "o": "heads", "p": "head size", "ij": "in", "i": "heads", "j": "head size", "s": "q,k,v",
    "X": "heads", "Q": "tokens", "S": "tokens", "M": "targets", "G": "targets", "V": "rows", "D": "columns",
    "BT": "batch x tokens",
}  # fmt: skip


class Reading(NamedTuple):
    """One way to read a given shape. order: the letters as they lie; base: in the case's order; sizes: by letter."""

    order: str
    base: str
    sizes: dict[str, int]

    def taken(self, array: np.ndarray) -> np.ndarray:
        """The array with an axis for each letter of the base."""
        apart = array.reshape([self.sizes[letter] for letter in self.order])
        return apart.transpose([self.order.index(letter) for letter in self.base])

    @property
    def own(self) -> bool:
        """Whether the numbers lie as in the case."""
        return self.order == self.base

    @property
    def facts(self) -> set[str]:
        """What it says of the whole dump, such as "I<O": of a kernel, that what comes in lies before what goes out, or
        "Y<Z": that it lies as in the case, "Z<Y" if not. Of one with a single row or column nothing can be said.
        """
        long = [letter for letter in self.order if self.sizes[letter] > 1]
        sides = [[letter for letter in long if letter in side] for side in ("op", "ij")]
        kernel = set()
        if all(sides):
            out_in, case_s = (one.index(sides[0][-1]) < one.index(sides[1][0]) for one in (self.order, self.base))
            kernel = {"O<I" if out_in else "I<O", "Y<Z" if out_in == case_s else "Z<Y"}
        told = self.order.replace("o", "H").replace("p", "K").replace("i", "").replace("j", "")
        pairs = {(a, b) for n, a in enumerate(told) for b in told[n + 1 :]}
        return kernel | {f"{a}<{b}" for a, b in pairs if f"{a}{b}" not in ("HK", "VD", "DV")}


class Slots(NamedTuple):
    """The batch's rows B, 0 where there are none, and tokens T; flat positions b·T + t of what is no padding, of all
    target slots (B, M), and of those with weight.
    """

    batch: int
    tokens: int
    packed: np.ndarray
    positions: np.ndarray
    targets: np.ndarray

    def rows(self, letter: str) -> np.ndarray:
        """The flat positions that an axis with this letter runs over."""
        return {"N": self.packed, "M": self.positions, "G": self.targets}[letter]


def mask(case: Any) -> np.ndarray | None:
    """(B, T), true where there is a token; None where the case has no such input."""
    for key in ("inputs/input_mask", "inputs/attention_mask"):
        if key in case.entries and "inputs/input_ids" in case.entries:
            held = case.tensor(key)
            if held.ndim == 2 and held.shape == case.entries["inputs/input_ids"].shape:
                return held != 0
    return None


def slots(case: Any) -> Slots:
    """Those of a case."""
    names = ("inputs/input_ids", "inputs/masked_lm_positions", "inputs/masked_lm_weights")
    ids, *targets = (case.entries[name].shape if name in case.entries else () for name in names)
    none, present = np.zeros(0, np.int64), mask(case)
    batch, tokens = ids if len(ids) == 2 else (0, 0)
    packed = none if present is None else np.flatnonzero(present)
    if not batch or () in targets:
        return Slots(batch, tokens, packed, none, none)
    right = targets[0] == targets[1] == (batch, *targets[0][1:]) and len(targets[0]) == 2
    positions, weights = (case.tensor(name) for name in names[1:])
    right = right and positions.dtype.kind == "i" and ((positions >= 0) & (positions < tokens)).all()
    require(right, f"case {case.name}: {names[1]} and {names[2]} are not positions in rows {ids} with a weight each")
    flat = (positions + np.arange(batch)[:, None] * tokens).reshape(-1)
    return Slots(batch, tokens, packed, flat, flat[weights.reshape(-1) != 0])


class Axes:
    """Those of all tensors of a case.

    heads: how many there may be; vocabulary: how many tokens there are, 0 where that is not known; turned, tables,
    joined: the published names of kernels that lie (in, out), of tables, and of tensors that hold query, key and value.
    """

    def __init__(self, case: Any):
        self.case, self.slots = case, slots(case)
        self.turned: set[str] = set()
        self.tables: set[str] = set()
        self.joined: set[str] = set()
        self.vocabulary = 0
        scores = [entry.shape for key, entry in case.entries.items() if key.endswith(".scores")]
        found = [shape[1] for shape in scores if len(shape) == 4]
        if case.facts["family"] is not None and case.facts["kind"] in ("family", "pipeline", "block"):
            module, config = families.family(case.facts["family"]), case.config()
            found.append(getattr(config, families.field(module, "num_attention_heads"), 0))
            self.vocabulary = getattr(config, families.field(module, "vocab_size"), 0)
            self._named(module.names(config), module.activations(config))
        if case.facts["kind"] == "block":  # whose names begin behind those of its family
            for held in (self.turned, self.tables, self.joined):
                held |= {name[i + 1 :] for name in held for i, letter in enumerate(name) if letter == "."}
        self.heads = [n for n in dict.fromkeys(found) if n]

    def _named(self, parameters: list, activations: list) -> None:
        for path, name, bijection in parameters:
            if "transpose" in bijection:
                self.turned.add(name)
            if path.split(".")[-2] == "query" and "split" in bijection:
                self.joined |= {name, name.removesuffix("weight") + "bias"}
        for name, path, kind, _ in activations:
            if ".tables." in path:
                self.tables.add(f"{name.partition('@')[0]}.weight")
            if kind == "joined":
                self.joined.add(name)

    def readings(self, keys: tuple[str, ...], shape: tuple[int, ...]) -> list[Reading]:
        """Every way to read a given shape as this tensor, or as these three side by side, the case's own first."""
        entry = self.case.entries[keys[0]]
        found: dict[tuple, Reading] = {}
        for sizes, orders in self._orders(keys[0], entry, len(keys) == 3):
            for order in orders:
                if all(letter in sizes for letter in order) and _merged(shape, order, sizes):
                    base = ("s" if len(keys) == 3 else "") + orders[0].replace("s", "" if len(keys) == 3 else "s")
                    found.setdefault((order, *(sizes[letter] for letter in order)), Reading(order, base, sizes))
        if not found and len(keys) == 1 and len(entry.shape) <= len(PLAIN) and _fits(shape, entry.shape):
            plain = PLAIN[: len(entry.shape)]
            return [Reading(plain, plain, dict(zip(plain, entry.shape, strict=True)))]
        whole = [reading for reading in found.values() if not {*"NMG"} & {*reading.order}]
        tailed = len(keys) == 1 and len(shape) == len(entry.shape) > 2 and shape[1:] == entry.shape[1:]
        if tailed and shape != entry.shape:  # of other rows; that its tokens are as many as targets says nothing
            return whole
        same = len(keys) == 1 and shape == entry.shape and whole  # what has the case's shape lacks no rows
        return list({_strides(reading): reading for reading in (same or [*found.values()])[::-1]}.values())[::-1]

    def padded(self, key: str, shape: tuple[int, ...]) -> dict[int, tuple[str, int]]:
        """axis -> (what it holds, how many more of it than the case has) where a shape is this tensor's but for padding
        behind its tokens or its vocabulary; {} where it is not.
        """
        entry = self.case.entries[key]
        batch, tokens = self.slots.batch, self.slots.tokens
        due = entry.shape
        if len(shape) != len(due) or not due:
            return {}
        computed = key.startswith("forward/") or entry.role in ("activation_gradient", "input")
        rows = {2: (1,), 3: (1,), 4: (2, 3)}.get(len(due), ()) if computed and due[0] in (1, batch) else ()
        words = (2,) if computed and len(due) == 3 else () if computed else (0,)
        kinds = {axis: "tokens" for axis in rows if due[axis] == tokens}
        kinds |= {axis: "vocabulary" for axis in words if due[axis] == self.vocabulary}
        other = {axis: size for axis, size in enumerate(shape) if size != due[axis]}
        right = all(axis in kinds and size > due[axis] for axis, size in other.items())
        return {axis: (kinds[axis], size) for axis, size in other.items()} if right else {}

    def alike(self, key: str) -> tuple:
        """What the readings of a tensor depend on: two of which this is the same have the same."""
        entry, (section, _, name) = self.case.entries[key], key.partition("/")
        own = parameter(key) or name
        sets = tuple(own in held for held in (self.joined, self.tables, self.turned))
        return entry.shape, np.dtype(entry.dtype).kind, entry.role, section == "forward", *sets

    def orders(self, key: str) -> list[Reading]:
        """Every order in which this tensor's numbers may lie, whatever the shape."""
        found = [Reading(order, orders[0], sizes) for sizes, orders in self._orders(key, self.case.entries[key], False)
                 if not {*"NMG"} & {*orders[0]} for order in orders]  # fmt: skip
        return [one for one in found if len(one.order) == len(one.base)]

    def _orders(self, key: str, entry: Any, fused: bool) -> Iterator[tuple[dict[str, int], tuple[str, ...]]]:
        """(size of each letter, the orders) that a tensor may have, one for each number of heads and choice of rows."""
        shape, rows = entry.shape, (self.slots.batch, self.slots.tokens)
        section, _, name = key.partition("/")
        learnt = entry.role in ("gradient", "weight", "state")
        own = parameter(key) or name
        whole = fused or own in self.joined
        if np.dtype(entry.dtype).kind != "f" or entry.role in ("input", "loss"):
            pass
        elif section == "forward" or not learnt:
            yield from self._of_rows(shape, rows, 3 if own in self.joined else 1, whole)
        elif len(shape) == 2 and own in self.tables:
            yield {"V": shape[0], "D": shape[1]}, TABLE
        elif len(shape) == 2:
            out, into = shape[::-1] if own in self.turned else shape
            orders = IN_OUT if own in self.turned else OUT_IN
            if whole:
                orders = QKV_IN_OUT if own in self.turned else QKV_OUT_IN
            out //= 3 if own in self.joined else 1
            for o, p in self._split(out):
                for i, j in self._split(into):
                    yield {"o": o, "p": p, "i": i, "j": j, "s": 3}, orders
        elif len(shape) == 1:
            for h, k in self._split(shape[0] // (3 if own in self.joined else 1)):
                yield {"H": h, "K": k, "s": 3}, QKV_VECTOR if whole else VECTOR

    def _of_rows(
        self, shape: tuple[int, ...], rows: tuple[int, int], parts: int, whole: bool
    ) -> Iterator[tuple[dict[str, int], tuple[str, ...]]]:
        if 0 in rows or len(shape) < 3:
            return
        if len(shape) == 4 and (shape[0], *shape[2:]) == (rows[0], rows[1], rows[1]):
            yield dict(zip("BXQS", shape, strict=True)), SCORES
        if len(shape) != 3 or shape[:2] not in (rows, (1, rows[1])):
            return
        shared = shape[:2] != rows
        for h, k in self._split(shape[2] // parts):
            sizes = {"B": rows[0], "T": rows[1], "H": h, "K": k, "s": 3}
            if shared:
                yield sizes, ("THK",)
            yield sizes, QKV_ROWS if whole else ROWS
            for letter, lies in (("N", "N"), ("M", "BM"), ("G", "G"))[: 1 if shared else 3]:
                count = len(self.slots.rows(letter))
                if count and (letter != "N" or count < rows[0] * rows[1]):
                    orders = tuple(order.replace("N", lies) for order in (QKV_PACKED if whole else PACKED))
                    yield {**sizes, letter: count // (rows[0] if letter == "M" else 1)}, orders

    def _split(self, size: int) -> list[tuple[int, int]]:
        return [(h, size // h) for h in self.heads if size % h == 0] or [(1, size)]


def _merged(shape: tuple[int, ...], order: str, sizes: Mapping[str, int]) -> bool:
    """Whether the shape is that of an order, some of its adjacent axes merged: all into one, or such as belong
    together, not what goes in with what goes out, nor tokens with parts of a head.
    """
    lengths = [sizes[letter] for letter in order]
    if not _fits(shape, lengths):
        return False
    ends, given = np.cumprod([1, *lengths], dtype=np.float64), _ends(shape)
    pairs = zip(order, order[1:], ends[1:], strict=False)
    return len(given) <= 2 or all(end in given for a, b, end in pairs if {a + b, b + a} & STRANGERS)


def _fits(shape: tuple[int, ...], sizes: Sequence[int]) -> bool:
    """Whether merging adjacent axes of these sizes gives the shape, but for axes of length 1."""
    return math.prod(shape) == math.prod(sizes) and _ends(shape) <= _ends(sizes)


def _ends(sizes: Any) -> set[int]:
    return {int(end) for end in np.cumprod([1, *sizes], dtype=np.float64)}


def _strides(reading: Reading) -> tuple:
    """What two readings that give the same array have in common: how the case's axes lie, apart from those of length 1
    and merged ones.
    """
    step, steps = 1, {}
    for letter in reversed(reading.order):
        steps[letter] = step
        step *= reading.sizes[letter]
    held = [(reading.sizes[letter], steps[letter]) for letter in reading.base if reading.sizes[letter] > 1]
    merged: list[tuple[int, int]] = []
    for size, step in held:
        if merged and merged[-1][1] == step * size:
            merged[-1] = (merged[-1][0] * size, step)
        else:
            merged.append((size, step))
    kind = next((letter for letter in "NMG" if letter in reading.order), "B" if "B" in reading.base else "")
    return (kind, *merged)


def told(reading: Reading, shape: tuple[int, ...]) -> str:
    """The axes of a given shape, or if that is () all, in words: "(in, heads, head size)"."""
    names, letters = [], list(reading.order)
    shape = shape or tuple(reading.sizes[letter] for letter in reading.order)
    for length in shape:
        taken, size = "", 1
        while letters and size < length:
            size *= reading.sizes[letters[0]]
            taken += letters.pop(0)
        if length > 1:
            names.append(_words(taken))
    return f"({', '.join(names)})"


def _words(letters: str) -> str:
    pairs = ("HK", "op", "ij", "BT")
    for pair in pairs:
        letters = letters.replace(pair, f"<{pair}>")
    parts = letters.replace("<", " ").replace(">", " ").split()
    parts = [one for part in parts for one in ([part] if part in pairs else part)]
    return " x ".join(WORDS.get(part, part) for part in parts)
