"""Where in its model a tensor or a call stands, as the rows of its family's `activations` say.

A place is "embeddings", "layer 3" or "head"; where there are several stacks or networks their name stands before it:
"decoder layer 3", "generator head".
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from minibert import families

Row = tuple[str, str, str, str]


def kind(place: str) -> str:
    """ "embeddings", "layer" or "head"; "" of no place."""
    return re.sub(r".*\b(embeddings|layer|head)( \d+)?$", r"\1", place)


def tower(place: str) -> str:
    """The name before the place: "generator" of "generator layer 3", "" where there is one stack."""
    return re.sub(r" ?(embeddings|layer|head)( \d+)?$", "", place)


class Places:
    """The places of one model: of tensors by their published names, of calls by their paths in the cache."""

    def __init__(self, rows: Iterable[Row]):
        self.modules: dict[str, str] = {}
        names, paths, below = defaultdict(list), defaultdict(list), defaultdict(set)
        for name, path, _, place in rows:
            self.modules[name] = place
            parts = path.partition(":")[0].split(".")
            names[place].append(re.sub(r"@\d+$", "", name).split("."))
            paths[place].append(parts)
            for n in range(1, len(parts) + 1):
                below[".".join(parts[:n])].add(place)
        self.towers = {tower(place) for place in names}
        self.names = {place: _common(held) for place, held in names.items()}  # how all names in a place begin
        self.paths = {place: _common(held) for place, held in paths.items()}
        self.below = {path: next(iter(held)) for path, held in below.items() if len(held) == 1}

    def of_tensor(self, name: str) -> str:
        """The place of a module's output or of a parameter; "" where the family says none."""
        return self.modules.get(next(filter(self.modules.__contains__, _owners(name)), ""), "")

    def ends(self, keys: Iterable[str]) -> list[str]:
        """Of the keys of outputs, the last of each group that is a layer or a part of one."""
        named = {key: key.removeprefix("forward/") for key in keys if key.startswith("forward/")}
        inside = {key: name for key, name in named.items() if kind(self.of_tensor(name)) == "layer"}
        return [*{self.group(name): key for key, name in inside.items()}.values()]

    def depth(self) -> int:
        """How many layers the deepest stack has."""
        stacks = Counter(tower(place) for place in self.names if kind(place) == "layer")
        return max(stacks.values(), default=0)

    def of_call(self, path: str) -> str:
        """The place of a call: that of the modules beside it; "" where they stand in several."""
        return self.below.get(next(filter(self.below.__contains__, _owners(path)), ""), "")

    def group(self, name: str) -> str:
        """The part of a model that a tensor belongs to: its layer's name, "bert.encoder.layer.3", in a module that is
        called again that of each call; else how its name begins, "cls.predictions". A layer that takes its parts from
        several modules has their names, each up to its last number.
        """
        place = self.of_tensor(name)
        if kind(place) == "layer":
            begin = self.names[place] if re.search(r"\.\d+$", self.names[place]) else _numbered(name)
            return begin + "".join(re.findall(r"@\d+$", name))
        network = next((f"{one}." for one in self.towers if one and name.startswith(f"{one}.")), "")
        return network + ".".join(name.removeprefix(network).split(".")[:2])


@cache
def places(family: str, config: Any) -> Places:
    """The places of a family's model."""
    return Places(families.family(family).activations(config))


def of_case(case: Any) -> Places:
    """The places of a case's tensors; what is no whole family has none."""
    return places(case.facts["family"], case.config()) if case.whole else Places(())


def _numbered(name: str) -> str:
    return (re.match(r".*\.\d+\b", name) or [name])[0]


def _owners(name: str) -> Iterable[str]:
    """The name, then what it is a part of, the nearest first."""
    parts = name.split(".")
    return (".".join(parts[:n]) for n in range(len(parts), 0, -1))


def _common(names: Sequence[Sequence[str]]) -> str:
    """How all of these dotted names begin."""
    alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return ".".join(parts[0] for parts in alike)
