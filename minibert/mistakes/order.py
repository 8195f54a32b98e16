"""Where the calls of the right computation stand: the order in which they end, and what of the case each makes."""

from collections.abc import Iterable

from minibert.golden.subject import term_paths
from minibert.mistakes.catalogue import Mutant
from minibert.mistakes.trials import Trials
from minibert.pairs import PAIRS


class Order:
    """The calls of one right computation, by their paths.

    number: in the order in which they end; start: the number of the first call within; made: a tensor's published name
    -> the path of the call that makes it, with the part of it behind a colon; ops: those that are no blocks; wide:
    blocks within which there are tensors of the case.
    """

    def __init__(self, runs: Trials):
        sites, held = runs.sites, runs.calls.held
        self.number = {site.path: i for i, site in enumerate(sites)}
        self.start = {site.path: site.start for site in sites}
        self.where = {site.path: site.place for site in sites}
        self.made = {name: path for name, path, *_ in runs.module.activations(runs.subject.config)}
        called = {one.name for names in held.values() for one in names.values()}
        losses = term_paths(runs.module.terms(runs.subject.config), self.number)
        self._all = self.made | {name: path for name, path in losses.items() if name in called}
        self.ops = {site.path for site in sites if site.name in PAIRS}
        around = {key[:n] for key in held for n in range(1, len(key))}
        self.wide = {site.path for site in sites if site.key in around}

    def of(self, key: str) -> int:
        """The number of the call that makes a key's tensor in the forward pass; after all of them for the loss."""
        path = self._all.get(key.partition("/")[2], "").partition(":")[0]
        return self.number.get(path, len(self.number))

    def unseen(self, keys: Iterable[str]) -> set[str]:
        """The calls of which these keys have a part, and not what they give."""
        made = [self._all.get(key.partition("/")[2], "").partition(":") for key in keys]
        return {path for path, colon, _ in made if colon} - {path for path, colon, _ in made if not colon}

    def place_of(self, key: str) -> str:
        """The place of the call that makes a key's tensor; "" where that is none of them."""
        return self.where.get(self._all.get(key.partition("/")[2], "").partition(":")[0], "")

    def around(self, mutants: Iterable[Mutant], number: int) -> list[str]:
        """The paths of the calls that mutants replace and within which this one stands, or which it is."""
        paths = {path for mutant in mutants for path in mutant.sites}
        return [path for path in paths if self.start[path] <= number <= self.number[path]]

    def beside(self, one: str, other: str) -> bool:
        """Whether two keys' tensors, no losses, are made in the same layer, or in the embeddings, or in the heads."""
        places = [self.place_of(key) for key in (one, other) if "/loss" not in key]
        return len(places) == 2 and places[0] == places[1] != ""

    def place(self, mutant: Mutant) -> str:
        """The place, as "layer 3", of all calls that it replaces; "" where there are several, or none."""
        found = {self.where[path] for path in mutant.sites if path in self.where}
        return found.pop() if len(found) == 1 else ""

    def reads_alike(self, mutant: Mutant) -> bool:
        """Whether it changes known calls, of which each gives another value wherever it is given one: not so a block
        within which the candidate's tensors stand.
        """
        return bool(mutant.sites) and self.wide.isdisjoint(mutant.sites)
