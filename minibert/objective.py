"""L = Σ weight·term: the loss of any network with any terms, and its backward. A term is a head that reads an output.

    terms = bert.terms(config)                            {"masked_lm": Term(…), "next_sentence": Term(…)}
    loss, c = objective.loss(bert, params, config, batch)
    gradient = objective.loss_backward(c)                 a tree like params

A network is a family's module. One whose loss terms over one `encode` cannot say (ELECTRA samples between two networks)
has a `loss`, `loss_backward`, `labels`, `heads`, `needs`, `counts` and `right` of its own, which are then taken here.
"""

import functools
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import kernels, layers, ops, tree
from minibert.config import require

Array = np.ndarray
Tree = dict[str, Any]


class Term(NamedTuple):
    """One term of a loss.

    head: a module of `heads`; part: where its parameters stand in the tree, None where it has none; reads: the output
    of the network that it is given; sizes: for its `shapes`; constants: for its `loss`; table: the path of the matrix,
    or tree of such, that makes its logits, in the network or in its own part; weight: its factor; dropout: (published
    module, rate) of what is dropped of the output before it; optional: a batch without any of its labels does not ask
    it; prefix: what stands in a batch before the names of its labels; inputs: {argument of its `loss` and `predict`:
    the input of the network that it is, None where the batch has none}.
    """

    head: ModuleType
    part: str | None = None
    reads: str = "last_hidden_state"
    sizes: dict[str, Any] = {}  # noqa: RUF012 (never written to)
    constants: dict[str, Any] = {}  # noqa: RUF012
    table: str | None = None
    weight: float = 1.0
    dropout: tuple[str, float] | None = None
    optional: bool = False
    prefix: str = ""
    inputs: dict[str, str] = {}  # noqa: RUF012


# ---- What the terms say ----------------------------------------------------------------------------------------------
def shapes(network: ModuleType, config: Any) -> Tree:
    """The shape of every parameter: the network's, then its heads'."""
    if hasattr(network, "loss"):
        return network.shapes(config)
    heads = {term.part: term.head.shapes(**term.sizes) for term in network.terms(config).values() if term.part}
    return {**network.shapes(config), **heads}


def heads(network: ModuleType, config: Any) -> dict[str, ModuleType]:
    """The head of each term that has one."""
    if hasattr(network, "loss"):
        return network.heads(config)
    return {name: term.head for name, term in network.terms(config).items()}


def labels(network: ModuleType, config: Any) -> dict[str, str]:
    """The specs of what the loss takes beside the network's inputs."""
    if hasattr(network, "loss"):
        return network.labels(config)
    found = {}
    for term in network.terms(config).values():
        for name, spec in asking(term).items():
            spec = f"?{spec.removeprefix('?')}" if term.optional else spec
            found[name] = min(spec, found.get(name, spec))  # "(" comes before "?": what one term needs is needed
    return found


def asking(term: Term) -> dict[str, str]:
    """The specs of a term's labels, by their names in a batch."""
    head = term.head
    own = head.labels(**term.sizes) if hasattr(head, "labels") else head.LABELS
    return {f"{term.prefix}{name}": spec for name, spec in own.items()}


def spelled(network: ModuleType, batch: Tree) -> Tree:
    """The batch under the network's own names, whatever spelling it came in."""
    spellings = getattr(network, "SPELLINGS", {})
    return {spellings.get(name, name): value for name, value in batch.items()}


def asked(network: ModuleType, config: Any, batch: Tree) -> dict[str, Term]:
    """The terms that a batch asks for: all but optional ones of which it has no label. InputError where it has only
    some of a term's labels, or asks for nothing.
    """
    terms = network.terms(config)
    due = {name: [key for key, spec in asking(term).items() if spec[0] != "?"] for name, term in terms.items()}
    found = {name: term for name, term in terms.items()
             if not term.optional or any(key in batch for key in due[name] or asking(term))}  # fmt: skip
    for name, term in found.items():
        lacking = [key for key in due[name] if term.optional and key not in batch] or _lacking(term, batch)
        require(not lacking, f"the batch lacks {', '.join(map(repr, lacking))}, which {name} needs")
    known = "; ".join(f"{name}: {', '.join(keys)}" for name, keys in due.items())
    require(bool(found), f"the batch has labels of no term; there are {known}")
    return found


def needs(network: ModuleType, config: Any, batch: Tree | None = None) -> tuple[str, ...]:
    """The top-level parts of the tree that the loss, of this batch where one is given, cannot do without and that a
    published directory may lack.
    """
    if hasattr(network, "loss"):
        return network.needs(config)
    terms = (network.terms(config) if batch is None else asked(network, config, batch)).values()
    optional, behind = getattr(network, "OPTIONAL", {}), getattr(network, "behind", lambda config: {})(config)
    read = [part for part, output in optional.items()
            if any(output in (term.reads, behind.get(term.reads)) for term in terms)]  # fmt: skip
    return (*read, *(term.part for term in terms if term.part))


def trained(network: ModuleType, config: Any) -> Tree:
    """The shapes without what the loss does not need: what `create` makes."""
    spare = getattr(network, "OPTIONAL", {}).keys() - {*needs(network, config)}
    return {part: held for part, held in shapes(network, config).items() if part not in spare}


def counts(network: ModuleType, config: Any, batch: Tree) -> dict[str, float]:
    """How many targets a batch has for each term: what its sum is divided by."""
    batch = spelled(network, batch)
    if hasattr(network, "loss"):
        return network.counts(config, batch)
    return {name: term.head.count(_labels(term, batch)) for name, term in asked(network, config, batch).items()}


def _labels(term: Term, batch: Tree) -> Tree:
    return {name.removeprefix(term.prefix): batch[name] for name in asking(term) if name in batch}


def _lacking(term: Term, inputs: Tree) -> list[str]:
    """Of the inputs that the head has besides the network's, those it needs and that are not there."""
    own = getattr(term.head, "INPUTS", {})
    return [name for name in term.inputs.values() if own.get(name, "?")[0] != "?" and name not in inputs]


def _read(term: Term, inputs: Tree) -> Tree:
    """The inputs that its head reads, too."""
    return {argument: inputs.get(name) for argument, name in term.inputs.items()}


# ---- The loss --------------------------------------------------------------------------------------------------------
def loss(
    network: ModuleType,
    p: Tree,
    config: Any,
    batch: Tree,
    *,
    denominators: dict[str, float] | None = None,
    keep: str = "caches",
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(loss, cache) of a batch of inputs and labels; cache["terms"] has each term unweighted, cache[TERM] its head's.

    denominators: what a term's sum is divided by, for accumulation; the number of its targets unless given. keep: as in
    `layers.stack`. dense: as heads have it.
    """
    if hasattr(network, "loss"):
        value, c = network.loss(p, config, batch, denominators=denominators, keep=keep, dense=dense)
        return value, {**c, "of": network}
    terms, given, masks = asked(network, config, batch), denominators or {}, batch.get("dropout") or {}
    c: Tree = {"of": network, "config": config, "terms": {}}
    parts = {term.part for term in network.terms(config).values()} - {term.part for term in terms.values()}
    c["unasked"] = {part: p[part] for part in parts if part in p}
    out, c["encode"] = network.encode(p, config, batch, keep=keep)
    read = {term.reads for term in terms.values()}
    c["carried"] = {name: out[name] for name in getattr(network, "CARRIED", ()) if name in out}
    c["idle"] = {name: value for name, value in out.items() if isinstance(value, np.ndarray) and name not in read}
    weighted = []
    for name, term in terms.items():
        h, dropped = out[term.reads], {}
        if term.dropout:
            module, rate = term.dropout
            h, dropped["dropout"] = ops.dropout(h, keep=masks.get(module), rate=rate)
        table = tree.get(p, term.table) if term.table else None
        value, own = term.head.loss(
            h, p.get(term.part), _labels(term, batch),
            table=table, total=given.get(name), dense=dense, **term.constants, **_read(term, batch),
        )  # fmt: skip
        c["terms"][name], c[name] = value, {**own, **dropped}
        weighted.append(value * value.dtype.type(term.weight))
    return np.asarray(functools.reduce(np.add, weighted)), c  # sum()'s 0 widens in NumPy 1


def loss_backward(c: Tree) -> Tree:
    """d loss / d every parameter, a tree like p; 0 where an output is computed and nothing reads it."""
    network = c["of"]
    if hasattr(network, "loss"):
        return network.loss_backward(c)
    g, dout, tables, terms = tree.zeros_like(c["unasked"]), {}, [], network.terms(c["config"])
    for name, term in reversed([(name, terms[name]) for name in c["terms"]]):
        value = c["terms"][name]
        dh, own, dtable = term.head.loss_backward(np.full_like(value, term.weight), c[name])
        if term.dropout:
            dh = ops.dropout_backward(dh, c[name]["dropout"])
        dout[term.reads] = tree.add(dout[term.reads], dh) if term.reads in dout else dh
        if term.part:  # two terms may have one part: its gradient is the sum
            g[term.part] = tree.add(g[term.part], own) if term.part in g else own
        if term.table:
            tables.insert(0, (term.table, dtable))
    dout |= {name: np.zeros_like(value) for name, value in c["idle"].items()}
    g |= network.encode_backward(dout, c["encode"])
    for path, dtable in tables:  # one table, several uses: the sum of all
        g = with_added(g, path, dtable)
    return g


def with_added(g: Tree, path: str, gradient: Any) -> Tree:
    """The tree with this gradient, an array or a tree, at the path, added to what is there."""
    first, _, rest = path.partition(".")
    held = g.get(first)
    if not rest:
        return {**g, first: gradient if held is None else tree.map(kernels.add, held, gradient)}
    return {**g, first: with_added(held or {}, rest, gradient)}


def right(c: Tree) -> dict[str, layers.Right]:
    """`layers.Right` of each term's predictions in a loss cache, of those that can be right."""
    network = c["of"]
    if hasattr(network, "loss"):
        return network.right(c)
    terms = network.terms(c["config"])
    found = {name: terms[name].head.right(c[name]) for name in c["terms"]}
    return {name: held for name, held in found.items() if held is not None}


def predict(network: ModuleType, p: Tree, config: Any, inputs: Tree, name: str, at: Any = ...) -> Array:
    """What the head of the term `name` says of the output that it reads, or of its entries `at`: logits."""
    if hasattr(network, "predict"):
        return network.predict(p, config, inputs, name, at)
    term = network.terms(config)[name]
    there = term.part is None or term.part in p
    require(there, f"{name} needs the head {term.part!r}, which these parameters do not have")
    require(hasattr(term.head, "predict"), f"{name} predicts nothing from states alone")
    h = network.encode(p, config, inputs, keep="last")[0][term.reads][at]
    table = tree.get(p, term.table) if term.table else None
    return term.head.predict(h, p.get(term.part), table=table, **term.constants, **_read(term, inputs))


def answers(network: ModuleType, p: Tree, config: Any, inputs: Tree) -> dict[str, Array]:
    """What the head of every term says of the outputs that they read, by published names behind the term's prefix; one
    whose own inputs are not there says nothing.
    """
    out, found = network.encode(p, config, inputs, keep="last")[0], {}
    for term in (term for term in network.terms(config).values() if not _lacking(term, inputs)):
        z = term.head.predict(out[term.reads], p.get(term.part), **term.constants, **_read(term, inputs))
        said = term.head.answers(z) if hasattr(term.head, "answers") else {"logits": z}
        found |= {f"{term.prefix}{name}": array for name, array in said.items()}
    return found
