"""What a family's model is made of, for laws: parts of its tree, where they are called, and its inputs by their specs.

Attention is a sub-tree with query, key, value and output; what feeds forward one with in and out; a word table is
called "word", what makes logits "decoder". Which published module is which, the family's `names` and `activations` say.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minibert import families, generation, objective, signatures, tree
from minibert.checkpoint.names import from_published, to_published
from minibert.config import from_fields

Tensors = Mapping[str, np.ndarray]


class Head(NamedTuple):
    """A term's logits: the published module that gives them, with the number of the call where terms with labels of
    their own share it, that which its decoder reads, and how many classes there are ("vocab_size" is the vocabulary's);
    token: one for each token of a row; labels: those that mark what is not asked, if any; ahead: how many places behind
    a logit its label stands.
    """

    term: str
    logits: str
    entered: str | None
    classes: str
    token: bool
    labels: str | None
    ahead: int


class Parts:
    """A family's model with these weights, by published name; config: published fields, those that are given."""

    def __init__(self, family: str, config: Mapping[str, Any], weights: Tensors):
        self.module = families.family(family)
        known = self.module.Config.__dataclass_fields__
        self.config = from_fields(self.module.Config, {name: config[name] for name in config if name in known})
        self.rows = [row for row in self.module.names(self.config) if row[1] in weights]
        self.others = {name: array for name, array in weights.items() if name not in {row[1] for row in self.rows}}
        self.p = tree.flatten(from_published(dict(weights), self.rows)) if self.rows else {}
        self.shapes = {name: weights[name].shape for _, name, _ in self.rows}
        self.published = {path: name for path, name, _ in self.rows}
        self.fused = {name for name, uses in Counter(self.published.values()).items() if uses > 1}
        self.joined: dict[str, list[str]] = {}  # published module -> the parts of ours that it gives side by side
        self.table = []
        for name, path, kind, place in self.module.activations(self.config):
            name = plain(name)
            if kind == "joined":
                parts = self.joined.setdefault(name, [])
                parts.append(path.rpartition(".")[2])
                name = f"{name}:{parts[-1]}"
            self.table.append((name, path, place))
        self.aliases = self.module.aliases(self.config)
        self.spellings = getattr(self.module, "SPELLINGS", {})
        self.known = {name for name, *_ in self.table}

    # Weights and gradients
    def flat(self, p: Tensors) -> dict[str, np.ndarray]:
        """These parameters, by path, under published names, second names too, and whatever else was given."""
        own = to_published(tree.unflatten(dict(p)), self.rows)
        again = {alias: own[name] for alias, name in self.aliases.items() if alias in self.others and name in own}
        return {**self.others, **again, **own}

    def by_path(self, answer: Tensors) -> dict[str, np.ndarray]:
        """An answer with the parameters' gradients as "gradients/PATH"; those of another shape are left out. What a
        module gives side by side is taken apart: "forward/MODULE:query".
        """
        keys = {name: f"gradients/{name}" for name in self.shapes}
        fits = [name for name, key in keys.items() if key in answer and answer[key].shape == self.shapes[name]]
        flat = {name: answer[keys[name]] for name in fits}
        paths = tree.flatten(from_published(flat, self.rows)) if flat else {}
        others = self.apart({key: value for key, value in answer.items() if key not in keys.values()})
        return {**others, **{f"gradients/{path}": value for path, value in paths.items()}}

    def apart(self, answer: Tensors) -> dict[str, np.ndarray]:
        """An answer with each part of a joined output by itself."""
        found = {}
        for key, value in answer.items():
            names = self.joined.get(plain(key.partition("/")[2]), [])
            if names and value.ndim and value.shape[-1] % len(names) == 0:
                shares = np.split(value, len(names), -1)
                found |= {f"{key}:{name}": share for name, share in zip(names, shares, strict=True)}
            else:
                found[key] = value
        return found

    def golden(self, key: str) -> bool:
        """Whether a golden case may have this key: what an implementation gives besides is passed over."""
        name = plain(key.partition("/")[2])
        known = name in self.known or name in self.joined or name in self.published.values()
        return known or re.fullmatch(r"loss(\..+)?", name) is not None

    # Parts of the tree
    def parts(self, *names: str) -> list[str]:
        """Paths of the sub-trees that have these parts, all with weights."""
        owners = dict.fromkeys(path.rpartition(f".{names[0]}.")[0] for path in self.p if f".{names[0]}." in path)
        return [path for path in owners if all(f"{path}.{name}.weight" in self.p for name in names)]

    @property
    def attentions(self) -> list[str]:
        return self.parts("query", "key", "value", "output")

    @property
    def feed_forwards(self) -> list[str]:
        return self.parts("in", "out")

    @property
    def embeddings(self) -> list[str]:
        """Paths of the embeddings that end in a norm, or that enter a stream which every sub-layer norms."""
        found = dict.fromkeys(path[: path.find("embeddings") + 10] for path in self.p if "embeddings." in path)
        return [own for own in found if self.first_norm(own)]

    def first_norm(self, embeddings: str) -> str | None:
        """The path of the norm that reads what embeddings give: their own, or in a pre-norm network the first."""
        if f"{embeddings}.norm.weight" in self.p:
            return f"{embeddings}.norm"
        begun = (path.removesuffix(".weight") for path in self.p if path.endswith(".0.attention.norm.weight"))
        return next((path for path in begun if not self.normed(path.removesuffix(".norm"))), None)

    def tables(self, embeddings: str) -> list[str]:
        """Paths of all that is added in one of them: its tables, also such as stacks share, and a bias if there is one.
        """
        shared = "embeddings." if embeddings.endswith("_embeddings") else f"{embeddings}."
        return [path for path in self.p if path.startswith((f"{embeddings}.", shared)) and ".norm." not in path]

    def scaled(self, embeddings: str) -> list[str]:
        """Those of `tables` that, all times a constant, make the norm's input that much larger: where a fusion reads
        the tables of words, letters and pixels, it alone.
        """
        read = {"word", "pinyin", "glyph"} if f"{embeddings}.fusion.weight" in self.p else set()
        tables = self.tables(embeddings)
        if f"{embeddings}.norm.weight" not in self.p:  # which a mask token would stand behind
            tables += [path for path in self.p if path == "mask_token.weight"]
        return [path for path in tables if path.removeprefix(f"{embeddings}.").partition(".")[0] not in read]

    @property
    def streams(self) -> set[str]:
        """Published names of what a pre-norm network adds up without a norm: its embeddings and layers."""
        raw = [own for own in self.embeddings if f"{own}.norm.weight" not in self.p]
        raw += [own.rpartition(".")[0] for own in self.attentions if not self.normed(own)]
        raw += [f"{own}.add" for own in (*self.attentions, *self.feed_forwards) if not self.normed(own)]
        return {name for name, path, _ in self.table if path.replace("encode.", "", 1) in raw}

    @property
    def word_tables(self) -> list[str]:
        return [path for path in self.p if f".{path}".endswith(".word.weight")]

    @property
    def token_tables(self) -> list[str]:
        """Paths of all that has a row a token, and of decoders: words, images of them, biases."""
        images = [path for path in self.p if path.endswith(".glyph.image.weight")]
        return [*self.word_tables, *images, *self.decoders]

    @property
    def positions(self) -> list[str]:
        """Paths of the tables of relative positions, a column a head."""
        return [path for path in self.p if path.endswith("_positions.weight")]

    @property
    def decoders(self) -> list[str]:
        """Paths of the decoders' biases, and of matrices of their own."""
        return [path for path in self.p if re.search(r"(^|\.)decoder\.(\d+\.)?(weight|bias)$", path)]

    @property
    def heads_field(self) -> str:
        """The config field that says how many heads there are, of all layers, or of those of each stage."""
        own = families.field(self.module, "num_attention_heads")
        return own if own in self.config.__dataclass_fields__ else "num_heads"

    def heads_of(self, attention: str) -> int | None:
        """How many heads an attention has; None where the config does not say."""
        if (named := f"{attention.rpartition('.')[2]}_heads") in self.config.__dataclass_fields__:  # "entity_attention"
            return getattr(self.config, named)
        networks, stack = getattr(self.module, "towers", lambda _: {})(self.config), attention.partition(".")[0]
        of_all = getattr(networks.get(stack, self.config), self.heads_field, None)
        if isinstance(of_all, tuple):  # of each stage
            of_all = of_all[int(attention.split(".")[1])]
        return getattr(self.config, f"{stack}_attention_heads", of_all)  # where each stack has its own

    # Published modules
    def modules(self, part: str) -> set[str]:
        """Published names of the modules whose parameters stand in this part of the tree, in all its networks; of a
        part that is called by itself, though its parameters are a piece of a published tensor, the name of the call.
        """
        own = {self.published[path] for path in (f"{part}.weight", f"{part}.bias") if path in self.published}
        if own & self.fused:
            return {name for name, path, _ in self.table if path == f"encode.{part}"}
        again = {alias for alias, name in self.aliases.items() if name in own}
        named = {name if name in self.known else name.rpartition(".")[0] for name in own | again}  # or a bare parameter
        if named.isdisjoint(self.known):  # or something within a module that golden cases name
            named = {name for name, path, _ in self.table if path == f"encode.{part}"} or named
        called = {name for name in self.known for one in own if name.startswith(f"{one}.")}  # or a call named after one
        named = called or named
        last = part.rpartition(".")[2]
        return {f"{name}:{last}" if last in self.joined.get(name, ()) else name for name in named}

    def beside(self, own: str, part: str, *others: str) -> set[str]:
        """Published names of what is computed where this part of a sub-tree is called, by ends of paths: ":scores"."""
        owners = self.modules(f"{own}.{part}")
        called = {path.rpartition(".")[0] for name, path, _ in self.table if name in owners}
        inside = [path for _, path, _ in self.table if path.replace("encode.", "", 1).startswith(f"{own}.")]
        called = called or {path[: path.find(own.rpartition(".")[2])] + own.rpartition(".")[2] for path in inside}
        return {name for name, path, _ in self.table
                if path.endswith(others) and any(path.startswith(f"{call}.") for call in called)}  # fmt: skip

    def normed(self, own: str) -> bool:
        """Whether a sub-tree ends in its norm, as in BERT; it begins with it where the network has one at its end."""
        stack = own.partition(".")[0]
        last = {"norm.weight", f"{stack}.norm.weight", f"{stack}_norm.weight"}
        return f"{own}.norm.weight" in self.p and last.isdisjoint(self.p)

    def ends(self, own: str) -> set[str]:
        """Published names of what a sub-layer gives to its residual, behind its last projection."""
        ways = (f"{own}.add.", f"{own}.add_norm.dropout")
        return {name for name, path, _ in self.table if path.replace("encode.", "", 1).startswith(ways)}

    def inside(self, part: str) -> set[str]:
        """Published names of this part, ":scores", of every attention."""
        return {name for name, path, _ in self.table if path.endswith(part)}

    @property
    def depth(self) -> int:
        """How many layers stand behind each other."""
        numbers = (re.search(r"layer (\d+)$", place) for *_, place in self.table)
        return max((1 + int(number[1]) for number in numbers if number), default=0)

    # Heads, inputs
    @cached_property
    def heads(self) -> list[Head]:
        """Of each term that tells classes apart."""
        found = []
        for term, head in objective.heads(self.module, self.config).items():
            specs = [signatures.parse(spec) for spec in head.LABELS.values()]
            classes = next(filter(None, (self._classes(s.bound) for s in specs)), None)
            token = any(s.dims == ("B", "T") and s.bound for s in specs)
            numbered = [(name, path) for name, path, *_ in self.module.activations(self.config)]
            table = numbered if self._prefix(term) else [(name, path) for name, path, _ in self.table]
            rows = [row for row in table if re.search(rf"(^|\.){term}\.head(\.|$)", row[1])]
            if classes and rows:
                network = [name for name, path in numbered if path.startswith("encode.")]
                *before, (logits, _) = rows
                entered = [name for name, _ in before] or network  # the head's own, else the network's last
                marked = [f"{self._prefix(term)}{name}" for name, spec in head.LABELS.items()
                          if signatures.parse(spec).ignored is not None]
                about = (marked or [None])[0], getattr(head, "AHEAD", 0)
                found.append(Head(term, logits, entered[-1] if entered else None, classes, token, *about))
        return found

    def floor(self, head: Head) -> float:
        """What a head adds to every probability."""
        terms = self.module.terms(self.config)
        return terms[head.term].constants.get("floor", 0.0) if isinstance(terms, dict) else 0.0

    def _prefix(self, term: str) -> str:
        """What stands in a batch before the names of a term's labels."""
        terms = self.module.terms(self.config)  # of a family with a loss of its own their names alone
        return terms[term].prefix if isinstance(terms, dict) else ""

    def _classes(self, bound: str | None) -> str | None:
        """How many classes labels below this bound tell apart: a number, or "vocab_size"."""
        if bound is None or bound.isdigit() or bound == "vocab_size":
            return bound
        size = getattr(self.config, bound, None)
        return None if size is None or bound.startswith("max") else str(size)

    @property
    def of_tokens(self) -> list[Head]:
        """The heads that tell the tokens of the vocabulary apart."""
        return [head for head in self.heads if head.classes == "vocab_size"]

    def classifier(self, head: Head) -> list[str]:
        """Paths of the parameters that make a head's logits, one row a class; none where a logit is of two classes."""
        term = self.module.terms(self.config)
        part = term[head.term].part if isinstance(term, dict) else None
        held = [path for path in self.p if part and path.startswith(f"{part}.")]
        return [path for path in held if head.classes.isdigit() and len(self.p[path]) == int(head.classes)]

    @cached_property
    def specs(self) -> dict[str, signatures.Spec]:
        """Of inputs and labels, under all their spellings."""
        inputs = self.module.inputs(self.config)
        given = {**inputs, **objective.labels(self.module, self.config), **inputs}
        again = {other: given[name] for other, name in self.spellings.items() if name in given}
        return {name: signatures.parse(spec) for name, spec in {**given, **again}.items()}

    def inputs(self, inputs: Iterable[str], dims: tuple[str, ...] = (), **like: Any) -> list[str]:
        """The names among these of arrays with such a spec: dims, kind, bound."""
        wanted = [name for name in inputs if name in self.specs and (not dims or self.specs[name].dims == dims)]
        return [name for name in wanted if all(getattr(self.specs[name], key) == value for key, value in like.items())]

    @property
    def written(self) -> str:
        """The letter of the tokens that are read from left to right: of a decoder with a source "S"."""
        inputs = self.module.inputs(self.config)
        decoded = generation.WRITTEN in inputs
        return signatures.parse(inputs[generation.WRITTEN]).dims[1] if decoded else "T"

    def keys(self, name: str) -> tuple[str, bool]:
        """(the letter of what an attention attends to, whether it is from left to right); name: of its ":probs"."""
        path = next(path for known, path, _ in self.table if known == name)
        source = self.written != "T" and (".cross_attention" in path or path.startswith("encode.encoder"))
        return ("T", False) if source else (self.written, getattr(self.module, "CAUSAL", False))

    @property
    def longest(self) -> float:
        """How many tokens a row may have."""
        _, most = self.module.lengths(self.config)["T"]
        return math.inf if most is None else most


def plain(name: str) -> str:
    """A tensor's name without the number of the call where a module is called again."""
    return re.sub(r"@\d+$", "", name)
