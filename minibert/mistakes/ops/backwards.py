"""Mistakes of backwards written by hand: of linear layers, residuals, the pooler, and whole passes.

Those of norms, activations, softmax and attention are made from the tables of `slopes`.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers, objective, ops, tree
from minibert.checkpoint.names import to_published
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import GRADIENTS, Mutant, apart, entry, everywhere, swap
from minibert.mistakes.ops.data import with_dropout
from minibert.mistakes.ops.heads import trained
from minibert.mistakes.ops.narrow import with_single
from minibert.mistakes.ops.norms import ADDED
from minibert.mistakes.ops.optimizer import handed_out, times_on_its_way
from minibert.mistakes.ops.slopes import by_text, halves, lending, placed, texts_of
from minibert.mistakes.swap import Replacement, Site, graded, swapped
from minibert.pairs import PAIRS, observing
from minibert.trace import located

Array = np.ndarray
Cache = dict[str, Any]


# ---- Linear layers and norms -----------------------------------------------------------------------------------------
def learnt(name: str, leaves: tuple[str, ...], edit: Callable[[str, Array, Array, Cache], Array]) -> Callable:
    """A linear layer or norm whose parameters get edit(leaf, gradient, dy, cache)."""

    def made(subject: Subject, site: Site) -> Replacement:
        texts = texts_of(subject)

        def edited(g: tuple, dy: Array, c: Cache) -> tuple:
            each = by_text(dy, texts)
            own = {leaf: edit(leaf, g[1][leaf], each, c).astype(dy.dtype) for leaf in leaves if leaf in g[1]}
            return g[0], {**g[1], **own}

        return graded(getattr(ops, name), edited)

    return made


def _share(rows: Callable[[Array], float]) -> Callable:
    return lambda leaf, g, dy, c: g / dy.dtype.type(max(1, rows(dy)))


def _of_some(choose: Callable[[Array], Array]) -> Callable:
    """The gradient that some rows have: choose(dy) -> dy of these, 0 elsewhere."""

    def edit(leaf: str, g: Array, dy: Array, c: Cache) -> Array:
        if leaf == "bias":
            return choose(dy).reshape(-1, dy.shape[-1]).sum(0)
        x = c["xhat" if "xhat" in c else "x"].reshape(-1, c["xhat" if "xhat" in c else "x"].shape[-1])
        rows = choose(dy).reshape(-1, dy.shape[-1])
        return (rows * x).sum(0) if "xhat" in c else rows.T @ x

    return edit


def _kept(index: Any) -> Callable[[Array], Array]:
    """dy where `index` says, 0 elsewhere."""

    def choose(dy: Array) -> Array:
        held = np.zeros_like(dy)
        at = index(dy)
        held[at] = dy[at]
        return held

    return choose


def _first_row(dy: Array) -> tuple[int, ...]:
    return (0,) * (dy.ndim - 1)


BOTH = ("weight", "bias")
OF = ((("weights'", ("weight",))), (("biases'", ("bias",))), (("weights' and biases'", BOTH)))


KINDS = {"linear": "of linear layers", "layer_norm": "of norms"}


def _on_leaves(what: str, edit: Callable, of: Any = OF) -> list[Callable]:
    return [placed(f"{whose} {what}, {kind}", name, learnt(name, leaves, edit))
            for name, kind in KINDS.items() for whose, leaves in of]  # fmt: skip


def _together(what: str, leaves: tuple[str, ...], edit: Callable) -> list[Callable]:
    """Of linear layers and norms at once."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        chosen = [site for site in at if site.name in KINDS]
        if {site.name for site in chosen} != {*KINDS}:
            return []
        pairs = {site.key: learnt(site.name, leaves, edit)(subject, site) for site in chosen}
        paths = tuple(site.path for site in chosen)
        return [Mutant(what, partial(swapped, at=pairs), section=GRADIENTS, sites=paths)]

    return [maker]


def _rows(dy: Array) -> int:
    return dy.size // dy.shape[-1]


def _turned(leaf: str, g: Array, dy: Array, c: Cache) -> Array:
    return g.T if g.shape[0] == g.shape[-1] else g


def _passed_turned() -> Callable[[Subject, Site], Replacement | None]:
    """dx through the weight that is not transposed, where it is square."""
    made = graded(ops.linear, lambda g, dy, c: (dy @ c["weight"].T, g[1]))
    return lambda subject, site: made if _square(subject, site) else None


def _square(subject: Subject, site: Site) -> bool:
    shapes = [tree.get(subject.params, path).shape for path in site.params]
    return any(len(shape) == 2 and shape[0] == shape[1] for shape in shapes)


def _weight_turned(subject: Subject, site: Site) -> Replacement | None:
    return learnt("linear", ("weight",), _turned)(subject, site) if _square(subject, site) else None


def _past() -> Callable[[Subject, Site], Replacement | None]:
    """dx = dy of a square matrix."""
    made = graded(ops.linear, lambda g, dy, c: (dy, g[1]))
    return lambda subject, site: made if _square(subject, site) else None


# ---- Into queries, keys and values -----------------------------------------------------------------------------------
QKV = r".*\.(query|key|value)"


def _joined(query: float, key: float, value: float) -> Callable[[Subject, Site], Replacement]:
    """What the three send back, times these."""
    times = {"query": query, "key": key, "value": value}

    def made(subject: Subject, site: Site) -> Replacement:
        factor = times[site.local.rpartition(".")[2]]
        return graded(ops.linear, lambda g, dy, c: (g[0] * dy.dtype.type(factor), g[1]))

    return made


def _by_weights_of(name: str) -> Callable[[Subject, Site], Replacement | None]:
    """dx of all three by the weights of one."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        own = next((path for path in site.params if path.endswith(".weight")), "")
        path = own.rpartition(".")[0].rpartition(".")[0] + f".{name}.weight"
        try:
            weight = tree.get(subject.params, path)
        except (KeyError, TypeError, ValueError):
            return None
        if weight.shape != tree.get(subject.params, own).shape:
            return None
        return graded(ops.linear, lambda g, dy, c: ((dy @ weight.astype(dy.dtype)), g[1]))

    return made


def of_three(maker: Callable) -> Callable:
    """Where queries, keys and values are made: no mutant of one of them alone is about what joins them."""

    def made(subject: Subject, at: list[Site]) -> list[Mutant]:
        return [replace(mutant, inside=tuple(filter(joins, mutant.inside)))
                for mutant in maker(subject, at) if joins(mutant)]  # fmt: skip

    def joins(mutant: Mutant) -> bool:
        return len({path.rpartition(".")[2] for path in mutant.sites}) == 3

    return made


# ---- Another tensor for the input ------------------------------------------------------------------------------------
def _misread(subject: Subject, at: list[Site]) -> list[Mutant]:
    """A linear layer's dW from what another op of the same layer, or head, was given or gave, in all layers; inside it,
    in each.
    """
    chosen = [site for site in at if site.name in ("linear", "layer_norm", "tanh", "activation")]
    roles: dict[tuple[str, str, bool], list[tuple[Site, Site]]] = {}
    tensors = _tensors(subject)
    for site in chosen:
        for lender in chosen:
            near = site.name == "linear" and _near(site, lender)
            for given in (True, False) if near else ():
                own, other = tensors[site.key][0], tensors[lender.key][0 if given else 1]
                if np.shape(own) == np.shape(other) and not np.array_equal(own, other):
                    role = tuple(re.sub(r"\.\d+\.", ".#.", one.local) for one in (site, lender))
                    roles.setdefault((*role, given), []).append((site, lender))
    found = []
    for (*_, given), pairs in roles.items():
        site, lender = pairs[0]
        what = f"dW of {_words(site)} from what {_words(lender)} {'was given' if given else 'gave'}"

        def made(some: list[tuple[Site, Site]], where: str, given: bool = given, what: str = what) -> Mutant:
            change = partial(swapped, at=dict(item for pair in some for item in _reading(*pair, given)))
            return Mutant(what, change, where, GRADIENTS, tuple(site.path for site, _ in some))

        inside = tuple(made([pair], pair[0].place) for pair in pairs) if len(pairs) > 1 else ()
        found.append(replace(made(pairs, ""), inside=inside))
    return found


def _near(site: Site, lender: Site) -> bool:
    if site.tower != lender.tower or site.layer != lender.layer:
        return False
    return site.layer is not None or site.local.rpartition(".")[0] == lender.local.rpartition(".")[0]


def _tensors(subject: Subject) -> dict[Any, tuple[Any, Any]]:
    """(what it was given, what it gave) of each call, by its key."""
    held: dict[Any, tuple[Any, Any]] = {}

    def note(result: tuple, key: Any, name: str, args: tuple, constants: dict) -> None:
        held[key] = args[0] if args else None, result[0]

    module = families.family(subject.family)
    with observing(located(note)):
        objective.loss(module, subject.params, subject.config, subject.batches[0], dense=True)
    return held


def _words(site: Site) -> str:
    return "the " + (site.words.partition(f"layer {site.layer} ")[2] or site.words)


def _reading(site: Site, lender: Site, given: bool) -> list[tuple[Any, Replacement]]:
    held = threading.local()
    f, half = halves(lender.name)

    def kept(*args: Any, **more: Any) -> tuple[Array, Any]:
        y, c = f(*args, **more)
        held.tensor = next(iter((*args, *more.values()))) if given else y
        return y, dict(c)

    def own(*args: Any, **more: Any) -> tuple[Array, Any]:
        return kept(*args, **more) if lender is site else ops.linear(*args, **more)

    def backward(dy: Array, c: Cache) -> tuple:
        dx, g = PAIRS["linear"].backward(dy, c)
        tensor = getattr(held, "tensor", None)
        if np.shape(tensor) != c["x"].shape:
            raise ValueError("a tensor of another shape, or none yet")
        rows = tensor.reshape(-1, tensor.shape[-1])
        return dx, {**g, "weight": dy.reshape(-1, dy.shape[-1]).T @ rows}

    pairs = [(site.key, Replacement(own, backward, faithful=False))]
    if lender is not site:
        pairs.insert(0, (lender.key, Replacement(kept, half)))
    return pairs


# ---- Residuals -------------------------------------------------------------------------------------------------------
def _residual(first: float, second: float) -> list[Callable]:
    def edit(d: tuple, dy: Array, c: Cache) -> tuple:
        return d[0] * dy.dtype.type(first), d[1] * dy.dtype.type(second), *d[2:]

    where = ("the residual" if second == 1 else "the sub-layer" if first == 1 else "both")
    value = first if second == 1 else second
    return [placed(f"times {value:g}, of {where}", name, graded(getattr(layers, name), edit), silent=silent)
            for name, silent in (("add_norm", ""), ("add", ADDED))]  # fmt: skip


def _more(value: float) -> Callable:
    return lambda d, dy, c: (d[0] * dy.dtype.type(value), *d[1:])


def _unnormed(d: tuple, dy: Array, c: Cache) -> tuple:
    """The residual's gradient as it was before the norm's backward."""
    return dy, *d[1:]


def _as_dropped(d: tuple, dy: Array, c: Cache) -> tuple:
    """The residual's gradient behind dropout's backward."""
    return d[1], *d[1:]


# ---- The pooler ------------------------------------------------------------------------------------------------------
def _moved(edit: Callable[[Array, Array], Array]) -> Callable:
    """edit(dx, the first token's gradient) for what the pooler sends back."""
    return graded(layers.pooler, lambda g, dr, c: (edit(g[0], g[0][:, :1]), g[1]))


def _at_last(dx: Array, first: Array) -> Array:
    moved = np.zeros_like(dx)
    moved[:, -1:] = first
    return moved


# ---- Tensors of another layer ----------------------------------------------------------------------------------------
def _stale(name: str, fields: tuple[str, ...], what: str) -> Callable:
    """The backward of an op in a layer has these tensors of the cache of the network's last layer, or of the next."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        stack = [site for site in at if site.name == name and site.layer is not None]
        roles: dict[tuple[str, str], list[Site]] = {}
        for site in stack:
            inside = site.local.partition(f".{site.layer}.")[2]
            roles.setdefault((site.tower, inside), []).append(site)
        found = []
        for role in roles.values():
            last = role[-1]
            for site in role[:-1]:
                keeps, takes = lending(name, fields)
                change = partial(swapped, at={last.key: keeps, site.key: takes})
                found.append(Mutant(f"{what} of the last layer, in the {site.words}", change, site.place,
                                    GRADIENTS, (site.path,)))  # fmt: skip
        return found

    return maker


# ---- Multiplied ------------------------------------------------------------------------------------------------------
def _sent_back(words: str, name: str, f: Callable, value: float) -> Callable:
    """What an op or block sends back to its input multiplied by a number."""

    def edit(g: Any, dy: Array, c: Cache) -> Any:
        return (value * g[0], *g[1:]) if isinstance(g, tuple) else value * g

    what = f"what {words} sends back times {value}"
    return with_single(swap(what, name, graded(f, edit), section=GRADIENTS))


def _learnt_times(words: str, name: str, leaves: tuple[str, ...], value: float) -> Callable:
    edit = lambda leaf, g, dy, c: g * dy.dtype.type(value)  # noqa: E731
    what = f"that of {words} times {value}"
    return with_single(swap(what, name, learnt(name, leaves, edit), section=GRADIENTS))


def _all_times(steps: bool, value: float) -> Callable:
    """Every parameter's gradient multiplied, as by a loss scale that is kept; steps: for the optimizer, too."""
    what = f"every parameter's times {solving.shown(value)}{', in each step' if steps else ''}"
    return handed_out(what, lambda grads, _: {name: value * g for name, g in grads.items()}, steps=steps)


# ---- Micro-batches ---------------------------------------------------------------------------------------------------
def _by_text(subject: Subject) -> list[dict[str, Array]]:
    """The parameters' gradients of each text of the first batch, as a batch of its own."""
    module, batch = families.family(subject.family), subject.batches[0]
    rows = len(next(iter(apart(batch).values())))
    if rows < 2 or any(np.ndim(a) == 0 or len(a) != rows for a in batch.values() if isinstance(a, np.ndarray)):
        raise ValueError("no rows that stand alone")
    found = []
    for i in range(rows):
        own = partial(tree.map, lambda a, i=i: a[i : i + 1] if isinstance(a, np.ndarray) else a)
        one = {name: own(a) for name, a in batch.items()}  # of masks of dropout, too
        _, cache = objective.loss(module, subject.params, subject.config, one, dense=True)
        found.append(tree.flatten(objective.loss_backward(cache)))
    return found


def _accumulated(join: Callable[[list[Array]], Array]) -> Callable:
    def edit(grads: dict[str, Array], subject: Subject) -> dict[str, Array]:
        rows = families.family(subject.family).names(subject.config)
        each = [to_published(tree.unflatten(one), rows) for one in _by_text(subject)]
        made = {f"{GRADIENTS}/{name}": join([one[name] for one in each]) for name in each[0]}
        return {key: made.get(key, a) for key, a in grads.items()}

    return edit


def _over_rows(grads: dict[str, Array], subject: Subject) -> dict[str, Array]:
    rows = len(next(iter(apart(subject.batches[0]).values())))
    return {name: g / g.dtype.type(rows) for name, g in grads.items()}


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "O31", "biases' gradients averaged over the rows", "summed over all rows and positions",
    "own knowledge", "gradient", "OP-LIN-2",
    mutants=[*_together("the mean over rows and positions", ("bias",), _share(_rows)),
             *_on_leaves("averaged over rows and positions", _share(_rows), OF[1:2]),
             *_on_leaves("averaged over the rows of the batch", _share(len), OF[1:2])],
)  # fmt: skip
entry(
    "O47", "weights' gradients averaged over what they are summed over", "dW = Σ dyᵀ x, dγ = Σ dy x̂",
    "own knowledge", "gradient", "OP-LIN-2", when="with those of biases or without; these alone are O31",
    mutants=[*_together("the mean over rows and positions", BOTH, _share(_rows)),
             *_together("the mean over the rows of the batch", BOTH, _share(len)),
             *(handed_out(f"all parameters' divided by the rows of the batch{text}", _over_rows, steps=steps)
               for text, steps in (("", False), (", in each step", True))),
             *_on_leaves("averaged over rows and positions", _share(_rows), OF[::2]),
             *_on_leaves("averaged over the rows of the batch", _share(len), OF[::2])],
)  # fmt: skip
entry(
    "O48", "parameters' gradients of some rows alone", "dW = Σ dyᵀ x, db = Σ dy, over all rows",
    "own knowledge (= where += is due, a loop that ends early)", "gradient", "OP-LIN-2", cause_of=("O38",),
    mutants=[
        made for what, choose in (
            ("the last text's", lambda dy: (slice(-1, None),)), ("the first text's", lambda dy: (slice(0, 1),)),
            ("the first token's of each text", lambda dy: (slice(None), 0) if dy.ndim > 2 else (slice(None),)),
        )
        for made in _on_leaves(what, _of_some(_kept(choose)))
    ] + _on_leaves("the first row's", _of_some(_kept(_first_row)), OF[1:2]),
)  # fmt: skip
entry(
    "O49", "a square matrix turned round, or left out, in the backward", "dx = dy W, dW = dyᵀ x",
    "own knowledge", "gradient", "OP-LIN-2",
    mutants=[
        placed("dx = dy", "linear", _past()), placed("dW transposed", "linear", _weight_turned),
        placed("dx = dy Wᵀ", "linear", _passed_turned()),
        placed("dx = dy Wᵀ, of queries, keys and values", "linear", _passed_turned(), QKV),
        placed("dW transposed, of queries, keys and values", "linear", _weight_turned, QKV),
    ],
)  # fmt: skip
entry(
    "A56", "queries', keys' and values' gradients joined otherwise", "dx = dQ W_q + dK W_k + dV W_v",
    "own knowledge (= where += is due)", "gradient", "BERT-ATT-1", when="of one that is lost it is O37, too",
    mutants=[
        *(of_three(placed(what, "linear", _joined(*times), QKV)) for what, times in (
            ("that of the values alone", (0, 0, 1)), ("that of the keys alone", (0, 1, 0)),
            ("that of the queries alone", (1, 0, 0)), ("their mean", (1 / 3, 1 / 3, 1 / 3)),
            ("without the queries'", (0, 1, 1)), ("without the keys'", (1, 0, 1)), ("without the values'", (1, 1, 0)),
            ("the queries' twice", (2, 1, 1)), ("the keys' twice", (1, 2, 1)), ("the values' twice", (1, 1, 2)),
        )),
        *(of_three(placed(f"all by the weights of the {name}", "linear", _by_weights_of(name), QKV))
          for name in ("query", "key", "value")),
    ],
)  # fmt: skip
entry(
    "O52", "a weight's gradient from another tensor than the layer's input", "dW = dyᵀ x, x what the layer was given",
    "own knowledge (a buffer written to in place, a variable used again)", "gradient", "OP-LIN-2",
    mutants=[_misread],
)  # fmt: skip
entry(
    "L31", "a residual's gradient more than once, or another's", "the sum's gradient goes to both, once",
    "own knowledge", "gradient", "BERT-ENC-1", when="none at all is L22",
    mutants=[
        *(made for both in ((2, 1), (1, 2), (0.5, 1), (1, 0.5), (0.5, 0.5), (2, 2), (-1, 1), (1, -1))
          for made in _residual(*both)),
        *(placed(f"times {value}, behind the sub-layer", name, graded(getattr(layers, name), _more(value)))
          for value in (2, 0.5, -1) for name in ("self_attention", "feed_forward")),
        placed("that of before the norm", "add_norm", graded(layers.add_norm, _unnormed)),
        *(with_dropout(placed("that of behind dropout", name, graded(getattr(layers, name), _as_dropped)))
          for name in ("add_norm", "add")),
    ],
)  # fmt: skip
entry(
    "H31", "the pooled vector's gradient at another place, or not once", "added to the first token's, once",
    "own knowledge", "gradient", "BERT-POOL-1", when="none at all is H27",
    mutants=[
        trained(placed(what, "pooler", _moved(edit))) for what, edit in (
            ("at the last token", _at_last),
            ("at every token", lambda dx, first: np.broadcast_to(first, dx.shape).copy()),
            ("an equal share at every token", lambda dx, first: np.broadcast_to(first, dx.shape) / dx.shape[1]),
            ("twice", lambda dx, first: 2 * dx),
            ("half of it", lambda dx, first: dx / 2),
        )
    ],
)  # fmt: skip
entry(
    "O53", "a gradient multiplied by a number on its way", "as the chain rule has it, once",
    "own knowledge", "gradient", "OPT-ORDER-2",
    when="of a residual it is L31, of the scores A54; averaged O31, O47; none O37",
    mutants=[
        *(_sent_back(*of, value) for value in (2, 0.5, -1) for of in (
            ("a linear map", "linear", ops.linear), ("a norm", "layer_norm", ops.layer_norm),
            ("an activation", "activation", layers.activation))),
        *(_learnt_times(*of, value) for value in (2, 0.5) for of in (
            ("weight and bias", "linear", BOTH), ("γ and β", "layer_norm", BOTH),
            ("γ", "layer_norm", BOTH[:1]), ("β", "layer_norm", BOTH[1:]))),
        *(solving.solvable(partial(_all_times, steps), 1024.0, (65536.0, 128.0, 2.0, 0.5, -1.0), 1.0, least=-1e9)
          for steps in (False, True)),
        *(everywhere(solving.solvable(partial(times_on_its_way, name, where), 0.5, (2.0, -1.0, 0.1), 1.0, least=-1e6))
          for name, where in (("embeddings", ".*"), ("encoder_layer", ".*"), ("pre_norm_layer", ".*"), ("pooler", ".*"),
                              ("mlm_head", ".*"), ("linear", r"encode\.\w+|.*head(\.\w+)?"))),
    ],
)  # fmt: skip
STALE = (
    ("layer_norm", ("xhat",), "x̂"), ("layer_norm", ("rstd",), "1/σ"), ("layer_norm", ("weight",), "γ"),
    ("layer_norm", ("xhat", "rstd"), "x̂ and 1/σ"), ("layer_norm", ("xhat", "rstd", "weight"), "what the norm kept"),
    ("attention", ("q",), "queries"), ("attention", ("k",), "keys"), ("attention", ("v",), "values"),
    ("attention", ("q", "k", "v"), "queries, keys and values"), ("attention", ("probs",), "probabilities"),
    ("attention", ("q", "k", "v", "probs"), "what the attention kept"),
    ("linear", ("x",), "input"), ("linear", ("weight",), "weight"), ("activation", ("cache",), "input"),
)  # fmt: skip
entry(
    "O50", "a backward that reads what another layer left", "each layer's own cache",
    "own knowledge (one buffer for all layers, overwritten by the next)", "gradient", "OPT-ORDER-2",
    mutants=[_stale(*each) for each in STALE],
)  # fmt: skip
entry(
    "O51", "gradients of micro-batches joined otherwise", "the gradient of the whole batch's loss",
    "own knowledge", "gradient", "OPT-ORDER-1", when="in the loss, too, it is S04",
    mutants=[handed_out(f"{what}, a text a micro-batch", _accumulated(join)) for what, join in (
        ("the last alone", lambda each: each[-1]), ("the first alone", lambda each: each[0]),
        ("the sum of their own losses'", sum), ("the mean of their own losses'", lambda each: sum(each) / len(each)),
    )],
)  # fmt: skip
