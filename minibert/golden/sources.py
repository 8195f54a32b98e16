"""Which of a candidate's tensors is which of the case's, by name: wrappers before it, other separators, layers stacked
in one tensor, query, key and value in one where the case has three, or in three where it has one.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minibert import families
from minibert.checkpoint.numpy_files import Stored
from minibert.config import require, shown
from minibert.golden.axes import Axes
from minibert.golden.unmoved import SLOTS

SECTION = re.compile(r"(forward|gradients|inputs|weights|steps(/\d+)?)")
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # anywhere in a name
OUTER = ("model", "net", "network", "self", "params", "variables")  # before a whole name
LEAVES = {"kernel": "weight", "gamma": "weight", "scale": "weight", "embedding": "weight", "output_weights": "weight",
          "beta": "bias", "output_bias": "bias"}  # fmt: skip
STARS = ("*", "{}", "N", "n", "i", "all", "stack")  # in the place of a layer's number
SPELLINGS = (("query", "key", "value"), ("q", "k", "v"), ("Q", "K", "V"))
NESTED = 3  # parts before a whole name that are looked through for one that others have, too
LONGEST = 300  # letters of a name that is not taken as it is
NEAR_END = 9  # parts of a name, with the signs between them, among which query, key and value are looked for
FUSED = re.compile(r"qkv|query_key_value|in_proj|c_attn|kqv", re.IGNORECASE)
Names = Mapping[str, tuple[str, bool]]  # theirs -> (ours, transposed)


class Piece(NamedTuple):
    """Tensors of a candidate that make tensors of the case. names: theirs, three that are joined or one; keys: ours,
    three that lie in one or one; stored: the one, or the three with an axis of 3 in front; how: what the names took,
    in words; transposed: by the user's map.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    stored: Stored
    how: str = ""
    transposed: bool = False


def sources(stored: Iterable[str], case: Any, names: Names) -> dict[str, tuple[str, bool]]:
    """Case key -> (name, transposed). What no map names: equal keys, and names without a section as forward ones."""
    spellings = _spellings(case)
    found: dict[str, tuple[str, bool]] = {}
    for name in stored:
        key, transposed = _key(name, case, names, spellings)
        if key is not None:
            other = found.get(key, ("",))[0]
            require(key not in found, f"tensors {shown(other)} and {shown(name)} are both {shown(key)}")
            found[key] = (name, transposed)
    return found


def _key(name: str, case: Any, names: Names, spellings: Mapping[str, str]) -> tuple[str | None, bool]:
    """(case key or None, transposed) of one name."""
    prefix, rest = apart(name)
    mapped, transposed = names.get(name) or names.get(rest) or (name if prefix else rest, False)
    for key in (mapped, f"{prefix}/{mapped}", f"forward/{mapped}", spellings.get(mapped, "")):
        if key in case.entries:
            return key, transposed
    return None, False


def apart(name: str) -> tuple[str, str]:
    """(section or "", the rest of the name)."""
    section = SECTION.match(name)
    return (section[0], name[section.end() + 1 :]) if section else ("", name)


def _spellings(case: Any) -> dict[str, str]:
    """Other spelling of an input's key -> the key."""
    if case.facts["family"] is None:
        return {}
    pairs = getattr(families.family(case.facts["family"]), "SPELLINGS", {})
    both = {**pairs, **{own: other for other, own in pairs.items()}}
    keys = (key for key in case.entries if key.startswith("inputs/"))
    return {key.replace(last, both[last]): key for key in keys if (last := key.rpartition("/")[2]) in both}


# ---- Names that are not the case's -----------------------------------------------------------------------------------
def pieces(stored: Mapping[str, Stored], case: Any, names: Names) -> tuple[list[Piece], list[str], list[str]]:
    """(what the names say, names that match nothing, what was refused and why)."""
    exact = sources(stored, case, names)
    found = [Piece((name,), (key,), stored[name], "", turned) for key, (name, turned) in exact.items()]
    taken = {name for name, _ in exact.values()}
    rest = {name: stored[name] for name in stored if name not in taken}
    unknown, more = [], []
    finder = _Finder(case, rest, names)
    for name in rest:
        got = None
        if len(name) <= LONGEST:
            got = finder.plain(name) or finder.stacked(name) or finder.fused(name) or finder.joined(name)
        more += got if got is not None else []
        unknown += [name] if got is None else []
    clash = Counter(key for piece in [*found, *more] for key in piece.keys)
    refused = []
    for piece in more:
        twice = [key for key in piece.keys if clash[key] > 1]
        if twice:
            refused.append(f"{shown(piece.names[0])} is not the only one that can be {shown(twice[0])}")
        else:
            found.append(piece)
    return found, unknown, refused


class _Finder:
    """Finds what a name means that the case does not have. known: (section, name) -> key; layers: (section, name
    without its number) -> number -> key; triples: (section, layer, leaf) -> keys of query, key and value; whole: the
    same -> keys of what holds all three; bases: what the names of outputs begin with; outer: parts that stand before
    whole names; done: names that were joined with others before them; cleaned: what `_cleaned` gave, by name.
    """

    def __init__(self, case: Any, stored: Mapping[str, Stored], names: Names):
        self.stored, self.names = stored, names
        self.axes = Axes(case)
        self.known = {apart(key): key for key in case.entries}
        self.bases = {name.partition(".")[0] for section, name in self.known if section == "forward" and "." in name}
        self.layers: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        self.triples: dict[tuple[str, str, str], list[tuple[str, ...]]] = defaultdict(list)
        self.whole: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for (section, name), key in self.known.items():
            numbers = [part for part in name.split(".") if part.isdigit()]
            if len(numbers) == 1 and "@" not in name:
                self.layers[section, _numberless(name)][int(numbers[0])] = key
            three = [re.sub(r"\bquery\b", other, name) for other in SPELLINGS[0]]
            if three[1] != name and all((section, one) in self.known for one in three[1:]):
                keys = tuple(self.known[section, one] for one in three)
                self.triples[section, _layer(name), _leaf(name)].append(keys)
            if name in self.axes.joined or _slotless(name) in self.axes.joined:
                self.whole[section, _layer(name), _leaf(name)].append(key)
        self.done: set[str] = set()
        self.cleaned: dict[str, list[tuple[str, str, str]]] = {}
        self.outer: set[tuple[str, ...]] = {(part,) for part in OUTER}
        self.outer |= self._outer()

    def _outer(self) -> set[tuple[str, ...]]:
        """What stands before most of the names that begin with it, the rest of which are the case's."""
        begun: Counter[tuple[str, ...]] = Counter()
        whole: Counter[tuple[str, ...]] = Counter()
        for name in (name for name in self.stored if len(name) <= LONGEST):
            for section, spelled in self._spelled(name):
                _, parts = _slotted(_unwrapped(spelled))
                for n in range(1, min(NESTED, len(parts) - 1) + 1):
                    begun[*parts[:n]] += 1
                    whole[*parts[:n]] += (section, ".".join(parts[n:])) in self.known
        return {parts for parts, count in whole.items() if count > 1 and 2 * count >= begun[parts]}

    def plain(self, name: str) -> list[Piece] | None:
        """Wrappers, separators or leaves are otherwise; what has to be added is a guess, which the shape bears out."""
        shape = self.stored[name].shape
        for section, other, how in self._cleaned(name):
            key, table = (self.known.get((section, spelled)) for spelled in (other, f"{other}.weight"))
            fits = bool(key) and bool(self.axes.readings((key,), shape))
            if table and not fits and self.axes.readings((table,), shape):
                told = f"{how}, with .weight behind it" if how else "with .weight behind it"
                return [Piece((name,), (table,), self.stored[name], told)]
            if key and (fits or "before it" not in how):
                return [Piece((name,), (key,), self.stored[name], how)]
        return None

    def stacked(self, name: str) -> list[Piece] | None:
        """The layers lie in one tensor; without a star for their number that is a guess, which the shape bears out."""
        for section, other, how in self._cleaned(name):
            parts = [part for part in other.split(".") if part not in STARS]
            held = self.layers.get((section, ".".join(parts)), {})
            axis = next((n for n in (0, 1) if self.stored[name].shape[n : n + 1] == (len(held),)), None)
            if held and axis is not None:
                whole = self.stored[name]._replace(load=cache(self.stored[name].load))
                told = f"layer stack {self.stored[name].shape} in one tensor" + (f", {how}" if how else "")
                pieces = [Piece((name,), (held[n],), _slice(whole, axis, i), told) for i, n in enumerate(sorted(held))]
                if len(parts) < len(other.split(".")) or self.axes.readings(pieces[0].keys, pieces[0].stored.shape):
                    return pieces
        return None

    def fused(self, name: str) -> list[Piece] | None:
        """Query, key and value lie in one tensor, and the case has three."""
        for section, other, how in self._cleaned(name):
            if not FUSED.search(other):
                continue
            leaf, told = _leaf(other), "query, key and value in one tensor" + (f", {how}" if how else "")
            three = self.triples.get((section, _layer(other), leaf), [])
            if len(three) == 1 and self.axes.readings(three[0], self.stored[name].shape):
                return [Piece((name,), three[0], self.stored[name], told)]
            stacks = [keys for (where, layer, end), keys in self.triples.items() if (where, end) == (section, leaf)]
            if not _layer(other) and stacks and self.stored[name].shape[:1] == (len(stacks),):
                told = f"layer stack {self.stored[name].shape} in one tensor, {told}"
                whole = self.stored[name]._replace(load=cache(self.stored[name].load))
                return [Piece((name,), keys[0], _slice(whole, 0, i), told) for i, keys in enumerate(stacks)]
        return None

    def joined(self, name: str) -> list[Piece] | None:
        """Query, key and value are three, and the case has them in one."""
        if name in self.done:
            return []
        three = self._three(name)
        for section, other, how in self._cleaned(name) if three else ():
            keys = self.whole.get((section, _layer(other), _leaf(other)), [])
            if len(keys) == 1:
                self.done |= {*three}
                told = "query, key and value are three tensors" + (f", {how}" if how else "")
                return [Piece(three, (keys[0],), _together([self.stored[one] for one in three]), told)]
        return None

    def _three(self, name: str) -> tuple[str, ...] | None:
        """The three names, of which this is one, that differ as query, key and value do."""
        parts = re.split(r"([./])", name)
        for n, part in [*enumerate(parts)][-NEAR_END:]:
            for each_of, one in ((three, one) for three in SPELLINGS for one in three if one in part):
                whole = [*parts[:n], part.replace(one, "\0", 1), *parts[n + 1 :]]
                three = tuple("".join(whole).replace("\0", each) for each in each_of)
                if all(each in self.stored for each in three):
                    return three if len({self.stored[each].shape for each in three}) == 1 else None
        return None

    def _cleaned(self, name: str) -> list[tuple[str, str, str]]:
        """(section, name, what was left out) of every way to spell it as the case does."""
        if name not in self.cleaned:
            ways = [way for section, spelled in self._spelled(name) for way in self._without(section, spelled)]
            self.cleaned[name] = ways
        return self.cleaned[name]

    def _spelled(self, name: str) -> list[tuple[str, str]]:
        """(section, name) with the case's separators."""
        section, rest = apart(name)
        mapped = self.names.get(name) or self.names.get(rest)
        if mapped:
            own, rest = apart(mapped[0])
            section = own or section
        else:
            section, rest = apart(_separated(name))
        plain = rest.replace("/", ".").removesuffix(":0")
        numbered = re.sub(r"([A-Za-z])_(\d+)(?=\.|$)", r"\1.\2", plain)  # layer_0
        return [(section or "forward", spelled) for spelled in dict.fromkeys((plain, numbered))]

    def _without(self, section: str, plain: str) -> list[tuple[str, str, str]]:
        """The same of one spelling, without wrappers and with what begins all of the case's names."""
        out = [part for part in dict.fromkeys(plain.split(".")) if part in WRAPPERS]
        slot, parts = _slotted(_unwrapped(plain))
        found = []
        while parts and len(out) <= 2 * NESTED:
            lost = f"without {', '.join(f'{part}.' for part in out)}" if out else ""
            found.append((section, ".".join([*slot, *parts]), lost))
            for base in self.bases:
                added = f"with {base}. before it"
                found.append((section, ".".join([*slot, base, *parts]), f"{lost}, {added}" if lost else added))
            cut = next((n for n in range(1, NESTED + 1) if (*parts[:n],) in self.outer), None)
            if cut is None:
                break
            out, parts = [*out, ".".join(parts[:cut])], parts[cut:]
        return found


def _separated(name: str) -> str:
    """A name with slashes before and behind its section, where that is written as forward__, forward., ['forward']."""
    if name.startswith("['") and name.endswith("']"):
        return name[2:-2].replace("']['", "/")
    begin = re.match(r"(forward|gradients|inputs|weights|steps(?:__|\.)\d+)(__|\.)", name)
    if begin is None:
        return name
    rest = name[begin.end() :]
    rest = rest.replace("__", ".") if begin[2] == "__" else rest
    return f"{re.sub('__|[.]', '/', begin[1])}/{rest}"


def _unwrapped(plain: str) -> list[str]:
    """The parts of a name without wrappers, its leaf spelled as the case does."""
    parts = [part for part in plain.split(".") if part not in WRAPPERS]
    if len(parts) > 1 and parts[-1] in SLOTS:  # TensorFlow has it behind the variable's name
        parts = [parts[-1], *parts[:-1]]
    return [*parts[:-1], LEAVES.get(parts[-1], parts[-1])] if parts else []


def _slotted(parts: list[str]) -> tuple[list[str], list[str]]:
    """(the slot of an optimizer's state or nothing, the parameter's name)."""
    cut = int(bool(parts) and parts[0] in SLOTS)
    return parts[:cut], parts[cut:]


def _slotless(name: str) -> str:
    return name.partition(".")[2] if name.partition(".")[0] in SLOTS else name


def _numberless(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.isdigit())


def _layer(name: str) -> str:
    """The name up to its first number, "" where there is none."""
    return (re.match(r".*?\.\d+(?=\.|$)", name) or [""])[0]


def _leaf(name: str) -> str:
    """ "weight", "bias", or "" of an output."""
    return next((leaf for leaf in ("weight", "bias") if re.search(rf"[._]{leaf}$", name)), "")


def _slice(stored: Stored, axis: int, i: int) -> Stored:
    shape = (*stored.shape[:axis], *stored.shape[axis + 1 :])
    return Stored(shape, stored.dtype, lambda: np.take(stored.load(), i, axis))


def _together(three: list[Stored]) -> Stored:
    return Stored((3, *three[0].shape), three[0].dtype, lambda: np.stack([one.load() for one in three]))
