"""Mistakes in mapping a checkpoint's tensors."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.golden import places
from minibert.golden.compare import SLOTS
from minibert.golden.subject import Subject, Tensors
from minibert.mistakes.catalogue import (
    Mutant,
    config,
    entry,
    everywhere,
    field,
    in_places,
    lent,
    only,
    rounded,
    swap,
    unlisted,
    weights,
    whole,
)
from minibert.mistakes.ops.attention import without_bias
from minibert.mistakes.ops.heads import bias_times, transposed
from minibert.mistakes.ops.narrow import with_single
from minibert.mistakes.swap import Replacement, Site, local

SECTION = {"C": "Checkpoint mapping"}

Array = np.ndarray
LINEAR = r".*(query|key|value|attention\.output|in|out|dense|pooler|map)\.weight"


def _turned(path: str, a: Array) -> Array:
    return np.ascontiguousarray(a.T) if a.shape[0] == a.shape[-1] else a


def _raw(path: str, a: Array) -> Array:
    """The bytes of a column-major array read as row-major."""
    return np.ascontiguousarray(a.T).reshape(a.shape) if a.ndim == 2 else a


def _owners(subject: Subject, pattern: str, fits: Callable[[Array], bool] = lambda a: True) -> list[Site]:
    """What has tensors of a pattern that fit, in its place of the model."""
    towers, held = places.places(subject.family, subject.config).towers, {}
    for path, a in tree.items(subject.params):
        if re.fullmatch(pattern, path) and fits(a):
            held.setdefault(path.rpartition(".")[0], []).append(path)
    found = []
    for owner, paths in held.items():
        inner, number = local(owner, towers), re.search(r"\.(\d+)\.", owner)
        tower = owner.removesuffix(inner)
        words = re.sub(r"(en|de)coder\.(\d+)\.", r"layer.\2.", owner).replace(".", " ").replace("_", " ")
        place = f"{tower.replace('.', ' ')}layer {number[1]}" if number else ""
        site = Site(f"{tower}encode.{inner}", "", (), 0, tuple(paths), tower.removesuffix("."), place, words)
        found.append(site)
    return found


def _each(what: str, edit: Callable, pattern: str, fits: Callable[[Array], bool] = lambda a: True) -> Callable:
    """The tensors of a pattern that fit, everywhere and in each place."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        return [
            mutant
            for where, held in in_places(_owners(subject, pattern, fits))
            for mutant in weights(what, edit, "|".join(re.escape(path) for one in held for path in one.params), where)(
                subject, at
            )
        ]

    return maker


def _exchanged_norms(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Weight and bias in each other's place: of every norm, and in each place."""
    return [_exchanged([one.params[0].rpartition(".")[0] for one in held], where, at)
            for where, held in in_places(_owners(subject, r".*norm\.bias"))]  # fmt: skip


def _exchanged(norms: list[str], where: str, at: list[Site]) -> Mutant:
    turned = (("weight", "bias"), ("bias", "weight"))
    other = {f"{norm}.{one}": f"{norm}.{two}" for norm in norms for one, two in turned}

    def change(s: Subject) -> Subject:
        flat = tree.flatten(s.params)
        return replace(s, params=tree.unflatten({path: flat[other.get(path, path)] for path in flat}))

    users = tuple(site.path for site in at if set(other).intersection(site.params))
    return Mutant("gamma and beta change places", change, where, sites=users)


def _unnamed_norm(path: str, a: Array) -> Array:
    return np.ones_like(a) if path.endswith("weight") else np.zeros_like(a)


def _half(path: str, a: Array) -> Array:
    return a.astype(np.float16).astype(a.dtype)


def _bfloat(path: str, a: Array) -> Array:
    """Rounded to bfloat16, halves to even."""
    bits = a.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(a.dtype)


def _int8(axis: int | None, path: str, a: Array, least: int = 2) -> Array:
    """Rounded to 255 steps between plus and minus the largest, what has at least so many axes."""
    if a.ndim < least:
        return a
    step = np.maximum(np.abs(a).max(axis, keepdims=True) / 127, 1e-30)
    return (np.rint(a / step) * step).astype(a.dtype)


POSITIONS = r"embeddings\.position\.weight"
# fields without which weights still fit
LOST = ("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "pad_token_id")


def _lost(fields: tuple[str, ...], what: str) -> Any:
    def maker(subject: Subject, at: Any) -> list[Mutant]:
        own = {name: families.field(families.family(subject.family), name) for name in fields}
        default = {name: getattr(type(subject.config), ours) for name, ours in own.items()
                   if hasattr(subject.config, ours)}  # fmt: skip
        if (default.get("pad_token_id") or 0) >= field(subject, "vocab_size"):
            del default["pad_token_id"]
        return config(what, **default)(subject, at)

    return maker


def _default(name: str) -> Any:
    return _lost((name,), f"{name} at its default")


_dropout = _lost(("hidden_dropout_prob", "attention_probs_dropout_prob"), "the dropout rates at their defaults")
_every = _lost(LOST, "everything but the sizes at its default")


def _defaults(subject: Subject, at: Any) -> list[Mutant]:
    return _dropout(subject, at) + _every(subject, at)


def _square(subject: Subject, site: Any) -> Replacement | None:
    shapes = {tree.get(subject.params, path).shape for path in site.params if path.endswith("weight")}
    return transposed() if all(shape[0] == shape[1] for shape in shapes) else None


def _biased(replacement: Replacement) -> Any:
    """The replacement where a linear layer has a bias."""
    return lambda subject, site: replacement if any(path.endswith("bias") for path in site.params) else None


def _one_layer(which: int, part: str = "") -> Any:
    """One layer's weights in all of a stack: loaded into each, or one layer that is run again, which then has all their
    gradients. part: a pattern of paths within a layer, "" all.
    """
    text = f"{('first', 'last')[which]} layer" + (f"'s {part.replace('_', ' ')}" if part else "")

    def own(layer: Any, of: Any) -> Any:
        held, other = tree.flatten(layer), tree.flatten(of)
        return tree.unflatten({p: np.copy(other[p]) if re.match(part, p) else a for p, a in held.items()})

    def copied(params: Any) -> Any:
        if isinstance(params, list) and len({tuple(a.shape for a in tree.leaves(layer)) for layer in params}) == 1:
            return [own(layer, params[which]) for layer in params]
        return {name: copied(part) for name, part in params.items()} if isinstance(params, dict) else params

    def change(s: Subject) -> Subject:
        return replace(s, params=copied(s.params))

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        flat, other = (tree.flatten(params) for params in (subject.params, copied(subject.params)))
        if flat.keys() != other.keys() or all(np.array_equal(flat[path], other[path]) for path in flat):
            return []
        named = {f"gradients/{name}": path for path, name, _ in families.family(subject.family).names(subject.config)}

        def summed(tensors: Tensors) -> Tensors:
            found: dict[str, list] = {}
            for key in tensors.keys() & named.keys():
                if part and not re.search(rf"\.\d+\.{part}", named[key]):
                    continue
                found.setdefault(re.sub(r"\.\d+\.", ".*.", named[key]), []).append((_numbered(named[key]), key))
            kept = dict(tensors)
            for keys in found.values():
                (_, key), *others = sorted(keys, reverse=which < 0)
                kept[key] = sum((kept.pop(other) for _, other in others), kept[key])
            return kept

        moved = {path for path, a in flat.items() if not np.array_equal(a, other[path])}
        users = tuple(site.path for site in at if moved.intersection(site.params))
        return [
            Mutant(f"the {text} loaded into each" if part else f"the {text}'s loaded into each", change, sites=users),
            Mutant(f"the {text} run again", change, sites=users, after=summed, silent=r"steps/.*"),
        ]

    return maker


def _reordered(what: str, order: Any) -> Any:
    """The layers of each stack loaded in another order: order(stack); no mutant where no layer is another then."""

    def moved(params: Any) -> Any:
        if isinstance(params, list):
            return order(params)
        return {name: moved(part) for name, part in params.items()} if isinstance(params, dict) else params

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        flat, other = (tree.flatten(params) for params in (subject.params, moved(subject.params)))
        if {p: a.shape for p, a in flat.items()} != {p: a.shape for p, a in other.items()}:
            return []
        changed = {path for path, a in flat.items() if not np.array_equal(a, other[path])}
        users = tuple(site.path for site in at if changed.intersection(site.params))
        return [Mutant(what, lambda s: replace(s, params=moved(s.params)), sites=users)] if changed else []

    return maker


def _parts_turned(parts: str, held: list) -> list:
    """The layers with the last first in what matches alone."""
    flat = [tree.flatten(layer) for layer in held]
    return [tree.unflatten({path: other.get(path, a) if re.search(parts, path) else a for path, a in own.items()})
            for own, other in zip(flat, flat[::-1], strict=True)]  # fmt: skip


def _two_exchanged(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Any two layers of a stack in each other's place; those of a long one next to each other alone."""
    longest = max(map(len, _stacks(subject.params)), default=0)
    if longest < 3:  # the last first
        return []
    last = longest - 1 if longest <= 12 else 1

    def exchange(i: int, j: int) -> Any:
        order = {i: j, j: i}
        return lambda held: [held[order.get(k, k)] for k in range(len(held))] if j < len(held) else held

    return [mutant for apart in range(1, last + 1) for i in range(longest - apart)
            for mutant in _reordered(f"layers {i} and {i + apart} in each other's place",
                                     exchange(i, i + apart))(subject, at)]  # fmt: skip


def _next_too(subject: Subject, at: list[Site]) -> list[Mutant]:
    """A layer's weights in the next one, too; of two layers that is one's in all."""
    longest = max(map(len, _stacks(subject.params)), default=0)

    def lend(i: int) -> Any:
        return lambda held: [held[i if k == i + 1 else k] for k in range(len(held))]

    return [mutant for i in range(longest - 1 if longest > 2 else 0)
            for mutant in _reordered(f"layer {i}'s in layer {i + 1}, too", lend(i))(subject, at)]  # fmt: skip


def _part_of_another(subject: Subject, at: list[Site]) -> list[Mutant]:
    """A part of one layer in the next, or of the next in it: weight and bias of a linear map or norm, or one."""
    towers = places.places(subject.family, subject.config).towers
    flat, roles = tree.flatten(subject.params), {}
    for owner in dict.fromkeys(path.rpartition(".")[0] for path in flat):
        if re.search(r"\.\d+\.", owner):
            roles.setdefault(re.sub(r"\.\d+\.", ".*.", owner), []).append(owner)

    def taken(one: str, other: str, leaves: tuple[str, ...]) -> list[Mutant]:
        what = f"{' and '.join(leaves)} of {local(one, towers)}".replace("encoder.", "layer ").replace(".", " ")
        lender = {f"{other}.{leaf}": f"{one}.{leaf}" for leaf in leaves if f"{other}.{leaf}" in flat}
        return lent(subject, at, what.replace("_", " "), lender)

    pairs = [pair for held in roles.values() for one, other in pairwise(held) for pair in ((one, other), (other, one))]
    return [mutant for pair in pairs for leaves in (("weight", "bias"), ("weight",), ("bias",))
            for mutant in taken(*pair, leaves)]  # fmt: skip


def _part_of_its_own(subject: Subject, at: list[Site]) -> list[Mutant]:
    """A linear map's weight and bias, or its bias alone, in another's of the same layer, or of none: in all layers, and
    in each. Projections among themselves are A39's, norms L07's.
    """
    towers, flat = places.places(subject.family, subject.config).towers, tree.flatten(subject.params)
    held: dict[str, dict[str, None]] = {}  # by stack, "" where there is none: the maps of a layer
    for owner in dict.fromkeys(path.rpartition(".")[0] for path in flat if path.endswith(".bias")):
        number = re.fullmatch(r"(.*)\.\d+\.(.*)", owner)
        if "norm" not in owner:
            held.setdefault(number[1] if number else "", {})[number[2] if number else owner] = None
    found = []
    for stack, parts in held.items():
        layers = [f"{path}." for path in _numbers(flat, stack)] if stack else [""]
        for (to, of), leaves in product(permutations(parts, 2), (("weight", "bias"), ("bias",))):
            if {to.rpartition(".")[2], of.rpartition(".")[2]} <= {"query", "key", "value"}:
                continue
            uses = [{f"{layer}{to}.{leaf}": f"{layer}{of}.{leaf}" for leaf in leaves} for layer in layers]
            uses = [one for one in uses if one.keys() | {*one.values()} <= flat.keys()]
            what = f"{' and '.join(leaves)} of the {local(of, towers)}".replace(".", " ").replace("_", " ")
            every = {path: use for one in uses for path, use in one.items()}
            alone = [mutant for one in uses for mutant in lent(subject, at, what, one)] if len(uses) > 1 else []
            found += [replace(mutant, inside=tuple(alone))
                      for mutant in lent(subject, at, what, every, "every layer" if stack else "")]  # fmt: skip
    return found


def _numbers(flat: Any, stack: str) -> list[str]:
    """The numbered parts of a stack, by their paths."""
    numbered = (re.match(rf"{re.escape(stack)}\.\d+(?=\.)", path) for path in flat)
    return [*dict.fromkeys(found[0] for found in numbered if found)]


def _stacks(params: Any) -> list[list]:
    """The lists of layers in a tree."""
    if isinstance(params, list):
        return [params]
    return [stack for part in params.values() for stack in _stacks(part)] if isinstance(params, dict) else []


def _run_backwards(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The layers of each stack run from the last to the first, each under its own name."""
    found = _reordered("run from the last to the first", lambda held: held[::-1])(subject, at)
    if not found:
        return []
    module = families.family(subject.family)
    tables = [{name: path for path, name, *_ in module.names(subject.config)},
              {name: path for name, path, *_ in module.activations(subject.config)}]  # fmt: skip
    other: dict[str, str] = {}
    for table in tables:
        counts: dict[str, int] = {}
        for path in table.values():
            if found_number := re.search(r"\.(\d+)\.", path):
                before = path[: found_number.start()]
                counts[before] = max(counts.get(before, 0), int(found_number[1]) + 1)
        named = {path: name for name, path in table.items()}

        def turned(path: str, counts: dict[str, int] = counts) -> str:
            number = re.search(r"\.(\d+)\.", path)
            if number is None:
                return path
            before = path[: number.start()]
            return f"{before}.{counts[before] - 1 - int(number[1])}.{path[number.end() :]}"

        other |= {name: named.get(turned(path), name) for name, path in table.items()}

    def renamed(key: str) -> str:
        """A key of the layer that was run in this one's place."""
        *section, name = key.split("/", 2 if key.startswith("steps/") else 1)
        slot, _, owner = name.partition(".")
        named = f"{slot}.{other[owner]}" if slot in SLOTS and owner in other else other.get(name, name)
        return "/".join((*section, named))

    return [replace(found[0], after=lambda tensors: {renamed(key): array for key, array in tensors.items()},
                    renames=True)]


def _numbered(path: str) -> int:
    """The number of the layer in a path, -1 without one."""
    number = re.search(r"\.(\d+)\.", path)
    return int(number[1]) if number else -1


entry(
    "C01", "kernel not transposed (or embeddings transposed)", "TF/Paddle/JAX [in,out], torch [out,in]",
    "src Paddle guide; semantic-router#2249", "output", "NAME-2", cause_of=("H07",),
    mutants=[
        _each("square kernels not transposed", _turned, LINEAR, lambda a: a.ndim == 2 and a.shape[0] == a.shape[1]),
        swap("square kernels not transposed, gradients transposed back", "linear", _square,
             r".*\.(query|key|value|attention\.output|map|dense)"),
    ],
)  # fmt: skip
entry(
    "C02", "gamma/beta vs weight/bias", "rename; never by substring in user names",
    "HF#11809, #29554, #35615; huggingface/candle#1888", "output", "NAME-3",
    mutants=[
        with_single(_each("norms not found, left at 1 and 0", _unnamed_norm, r".*norm\.(weight|bias)")),
        with_single(_each("norms' weights not found, left at 1", _unnamed_norm, r".*norm\.weight")),
        with_single(_each("norms' biases not found, left at 0", _unnamed_norm, r".*norm\.bias")),
        _exchanged_norms,
    ],
)  # fmt: skip
_random = (
    "what stands in the tensors instead is random, so no mutant has it; where a full dump has more tokens than a "
    "kernel has columns, it is found from what the kernel gives"
)
entry(
    "C03", "adam_m/adam_v/global_step loaded as weights", "skip",
    "HF#8242, #9657", "loading", "NAME-4", families=("bert", "albert"),
    reason="a case brings weights, no training checkpoint; what a reader would take for a weight is not in it",
)  # fmt: skip
entry(
    "C04", "conversion drops pooler, heads or transform", "report unused and missing",
    "ERNIE-Pytorch#11; HF#1072, #5791; kpe/bert-for-tf2#82", "loading", "NAME-4",
    reason=_random + "; a part left out altogether is H02, H03, H08",
)  # fmt: skip
entry(
    "C05", "prefix 'bert.' mismatch", "normalise the prefix",
    "candle#1888", "loading", "NAME-4",
    reason=_random + " (the word table, unless the reader fails as it should)",
)  # fmt: skip
entry(
    "C06", "Fortran-order / strided array written raw", "make contiguous",
    "safetensors#825; ml-explore/mlx#369", "output", "NAME-5", cause_of=("C01",),
    mutants=[_each("column-major bytes read as row-major", _raw, r".*\.weight", lambda a: a.ndim == 2)],
)  # fmt: skip
entry(
    "C07", "shared tensors dropped, reader finds one name", "alias list",
    "src safetensors docs torch_shared_tensors", "loading", "NAME-3", cause_of=("H03",),
    mutants=[weights("the shared output bias not found, left at 0", lambda path, a: np.zeros_like(a),
                     r"mlm\.decoder\.bias")],
    reason="for a decoder matrix: " + _random + " (a decoder that is a copy of the table is H01)",
)  # fmt: skip
entry(
    "C08", "weights silently not loaded (outputs random, attention uniform)", "fail on missing keys",
    "HF#5710, #634", "loading", "NAME-4",
    reason=_random,
)  # fmt: skip
entry(
    "C09", "config fields lost (max positions 4096, type vocab)", "convert the config too",
    "KH#2850", "output", "BERT-CFG-1", when="above all RoBERTa", cause_of=("G02", "G04", "G10", "L01"),
    mutants=[_defaults, *(_default(name) for name in LOST)],
)  # fmt: skip
entry(
    "C10", "dtype downcast on load", "assert dtype",
    "KH#2124", "output", "NUM-1",
    mutants=[
        *(rounded(with_single(_each(f"{which} rounded to {name}", edit, paths), most=4))  # users of a tied table
          for name, edit in (("float16", _half), ("bfloat16", _bfloat))
          for which, paths in (("weights", r".*"), ("matrices and γ", r".*\.weight"))),
        *(everywhere(_each(f"matrices rounded to int8, each {of}by its largest", partial(_int8, axis), r".*\.weight",
                           lambda a: a.ndim > 1)) for of, axis in (("", None), ("row ", -1))),
        weights("weights rounded to int8, each by its largest", partial(_int8, None, least=1), r".*"),
    ],
)  # fmt: skip
entry(
    "C11", "position table's two first rows kept or cut wrongly", "RoBERTa table has 2 extra rows",
    "KH#2124; llama.cpp#8658", "output", "BERT-EMB-2",
    when="where positions are a table; all but RoBERTa's kin the other way round",
    mutants=[
        weights("the first two rows cut", lambda path, a: np.concatenate([a[2:], 0 * a[:2]]), POSITIONS),
        weights("the first two rows cut, the last two repeated",
                lambda path, a: np.concatenate([a[2:], a[-2:]]), POSITIONS),
        weights("two rows before the first", lambda path, a: np.concatenate([0 * a[:2], a[:-2]]), POSITIONS),
    ],
)  # fmt: skip
entry(
    "C12", "misnamed variable", "exact list of names",
    "tensorflow_ernie#1", "loading", "ERN-NAME-1", families=("ernie",),
    reason="what a file lacks, or has under another name, `minibert.load` names; a weight left at random is C05",
)  # fmt: skip
entry(
    "C13", "norm without bias breaks loader", "optional",
    "candle#3993", "loading", families=("modernbert",),
)  # fmt: skip
entry(
    "C15", "a linear layer's bias left out, or not found", "added; read with the weight",
    "own knowledge", "output", "OP-LIN-1", families=("bert", "transformer", "bart"), cause_of=("H06",),
    when="the keys' alone is A29, the output's H03, the pooler's H06",
    mutants=[only("bert transformer bart", maker) for maker in (
        swap("no bias", "linear", _biased(without_bias()), r"(?!.*(key|decoder|pooler\.dense)$).*"),
        whole(swap("queries, keys and values have no bias", "linear", _biased(without_bias()),
                   r".*\.(query|key|value)")),
        whole(swap("no linear layer of the encoder has a bias", "linear", _biased(without_bias()),
                   r"encode\.(en|de)coder\..*")),
        _each("a bias of 0", lambda path, a: np.zeros_like(a), r"(?!.*(norm|decoder)\.).*\.bias"),
    )],
)  # fmt: skip
entry(
    "C16", "a layer's weights in all layers, or in the next", "each layer's own",
    "own knowledge", "output", "NAME-3",
    mutants=[_one_layer(0), _one_layer(-1), _one_layer(0, "attention"), _one_layer(0, "feed_forward"), _next_too,
             _part_of_another],
)  # fmt: skip
entry(
    "C17", "layers loaded in another order", "as they are numbered",
    "own knowledge", "output", "NAME-3",
    mutants=[
        _reordered("the last first", lambda held: held[::-1]),
        *(_reordered(f"the last first, of {what} alone", partial(_parts_turned, parts))
          for what, parts in (("norms", r"norm\."), ("attentions", "attention"), ("feed-forwards", "feed_forward"))),
        _run_backwards,
        _two_exchanged,
        _reordered("each the next one's, the last the first one's", lambda held: [*held[1:], held[0]]),
        _reordered("each the one's before it, the first the last one's", lambda held: [held[-1], *held[:-1]]),
    ],
)  # fmt: skip
entry(
    "C18", "a bias added twice, or taken away", "added once",
    "own knowledge", "output", "OP-LIN-1", families=("bert", "transformer", "bart", "gpt2"),
    when="of the output's, twice is H04",
    mutants=[made(swap(what, "linear", _biased(bias_times(by)), r"(?!.*decoder$).*"))
             for what, by in (("twice", 2), ("taken away", -1))
             for made in (partial(only, "bert transformer bart"), lambda maker: only("gpt2", everywhere(maker)))]
    + [only("bert transformer bart", swap("the output's taken away", "linear", _biased(bias_times(-1)), r".*decoder"))],
)  # fmt: skip
entry(
    "C19", "norms' weights taken for γ - 1", "γ as it is stored",
    "own knowledge", "output", "OP-LN-1",
    mutants=[everywhere(_each(what, lambda path, a, by=by: a + by, r".*norm\.weight"))
             for what, by in (("1 + γ", 1), ("γ - 1", -1))],
)  # fmt: skip
entry(
    "C20", "one linear map's weights in another's place", "each map's own",
    "own knowledge (a name copied with the line)", "output", "NAME-3",
    when="of projections A39, of norms L07, of another layer C16",
    mutants=[_part_of_its_own],
)  # fmt: skip
unlisted(
    "biases not found",
    weights("biases left at 0", lambda path, a: np.zeros_like(a), r".*\.bias"),
    weights("biases of linear layers left at 0", lambda path, a: np.zeros_like(a), r"(?!.*norm).*\.bias"),
)
