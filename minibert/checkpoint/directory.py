"""Published directories: config.json, model.safetensors (or shards and their index), the tokenizer's files, and
generation_config.json, the settings of `generate`.

What a family's module says about its files, in the tables at its end:

    MODEL_TYPE       the "model_type" in its config.json
    PREFIX           how the encoder's names begin in published models with heads; bare encoders go without
    VARIANTS         config fields of minibert's own, written only where they differ from their defaults
    TOKENIZER        a key of tokenizers.KINDS, where the files don't say which kind they are; None: it reads no text
    architectures(config)  published class -> the parts that it has, of those that a file may lack as a whole
    names(config)    rows (path in the tree, published name, bijection) of every parameter
    aliases(config)  second published name -> the name whose tensor it repeats
    unused(config)   optional: published names whose tensors no equation reads
    ZERO             optional: names of tensors that ports add and that are 0, unless a field says that there are others
    DROPPED          optional: more keys like those of DROPPED below
    SAID             optional: {config field: what its published value is here, as a function of it and all fields;
                     ...: it says nothing}
    inferred(names, architectures)  optional: config fields that follow from the names in the file of the weights, of
                     those in ZERO where the tensor is not 0
    towers(config)   optional: {name: config} of the networks that are published one by one. Such a model is a directory
                     with config.json and the tokenizer, and a published directory for each network; its tensors carry
                     "name." in front, and those that networks share are aliases of one another
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import adapters, families, generation, narrowed, objective, reading, tasks, tokenizers, tree
from minibert.checkpoint import atomic, foreign, safetensors, strictjson, task_fields
from minibert.checkpoint.names import Naming, from_published, published_shapes, to_published
from minibert.checkpoint.safetensors import Stored
from minibert.config import from_fields, parameter_dtype, require, shown, to_fields
from minibert.errors import InputError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADDED = "added.safetensors"  # what stands in the tree and no published model has, by path (`adapters`)
EIGHT = ("quantized.json", "quantized.safetensors")  # in the place of the weights (`quantization`)
GENERATION, SNAPSHOTS, MODULES = "generation_config.json", "snapshots", "modules.json"
MOST_MODULES = 32
LONGEST_NAME = 256  # bytes of the name of a snapshot
OWNED = (CONFIG, GENERATION, WEIGHTS, INDEX, ADDED, *EIGHT, *tokenizers.FILES)

# Keys of published configs that carry no mathematics: with the values for which that is so, () for any. What is in no
# table is refused by name, unless it says null.
ANY: tuple = ()
# where the file comes from, how it is stored and run, and code and weights beside it that nobody runs or reads here
STORAGE = """_name_or_path name_or_path architectures model_type minibert_family minibert_tasks transformers_version
    tokenizer_class
    _commit_hash dtype torch_dtype use_cache gradient_checkpointing output_attentions output_hidden_states output_past
    return_dict use_return_dict torchscript tf_legacy_loss attn_implementation _attn_implementation
    _attn_implementation_autoset _attn_implementation_internal _experts_implementation chunk_size_feed_forward
    use_bfloat16 xla_device transformers.js_config unsloth_version unsloth_fixed auto_map custom_pipelines adapters
    sentence_transformers"""
# of heads that are not loaded, and ids that are not read
TASKS = """id2label label2id num_labels _num_labels problem_type classifier_dropout classifier_dropout_prob num_choices
    seq_classif_dropout qa_dropout finetuning_task task_specific_params sbert_ce_default_activation_function prefix
    bos_token_id eos_token_id eos_token_ids sep_token_id cls_token_id mask_token_id unk_token_id
    decoder_start_token_id"""
SUMMARY = "type use_proj activation proj_to_labels first_dropout last_dropout"  # of heads over a vector of the text
# repeat a size that the tensors have, too
SIZES = "n_ctx emb_size pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head"
# settings of `generate` stood here before they had a file of their own (see `_stated`)
GENERATE = (*generation.NAMES, *generation.NEUTRAL, *generation.HARMLESS)
DROPPED = {
    **dict.fromkeys(GENERATE, ANY),
    **dict.fromkeys(f"{STORAGE} {TASKS} {SIZES}".split(), ANY),
    **{f"summary_{name}": ANY for name in SUMMARY.split()},
    **dict.fromkeys(("is_decoder", "add_cross_attention", "is_encoder_decoder", "tie_encoder_decoder"), (False, None)),
    "cross_attention_hidden_size": (None,),
    "directionality": ("bidi",),
    "pooler_type": ("first_token_transform",),
    "position_embedding_type": ("absolute", None),
    "tie_word_embeddings": (True,),
    "pruned_heads": ({}, None),  # what else it says, `narrowed` reads
    "layers_to_keep": ([], None),  # ALBERT's xxlarge
    "ln_type": ("postln",),  # Chinese ALBERTs
    **{"cell": ({},), "structure": ([],), "pre_trained": ("",), "training": ("",)},  # TinyBERT's
}
# names of transformers for what another name says as well; 0.7978845608 in gelu_fast is sqrt(2/pi) within 1e-11
ACTIVATIONS = {"gelu_python": "gelu", "gelu_fast": "gelu_new", "gelu_accurate": "gelu_new",
               "gelu_python_tanh": "gelu_new"}  # fmt: skip


WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}


class Held(NamedTuple):
    """What a published directory holds: the arguments of a `Model`. generation: what generation_config.json says, else
    config.json; left: the names of the tensors that are of heads nobody here knows; uses: the tasks of its heads;
    beside: the texts of the family's own files (BESIDE), by name.
    """

    family: str
    config: Any
    params: Any
    tokenizer: Any = None
    generation: dict[str, Any] | None = None
    left: tuple[str, ...] = ()
    uses: tuple[tasks.Task, ...] = ()
    beside: Mapping[str, str] = MappingProxyType({})

    @property
    def network(self) -> Any:
        """The family's file, with the tasks where there are any."""
        module = families.family(self.family)
        return tasks.network(module, self.uses) if self.uses else module


def load(
    directory: Any, family: str | None = None, dtype: Any = None, params: Any = None, names: Iterable[str] = ()
) -> Held:  # fmt: skip
    """What a published directory holds; the family and the dtype are its own unless given; params, names: in the place
    of its weights, which it then need not have, and how the tensors in their file were called.

    16-bit floats come exactly widened to float32. Heads that the file lacks are absent from the parameters; tensors of
    heads that nobody here knows are left, unread, and named in `left`. What stands under the encoder's own names, or
    belongs to a known head, has to be what the config says: one InputError line names every tensor that is missing,
    unexpected or mis-shaped. Of a hub's cache (models--ORG--NAME) it is the snapshot that refs/main names, of a
    sentence-transformers directory the network, which may have a folder of its own in it.
    """
    folder = found(directory)
    if not reading.present(atomic.place(folder / CONFIG)):
        folder = next((place for _, place in modules(folder)), folder)
    if not reading.present(atomic.place(folder / CONFIG)):
        said = foreign.without_config(folder)
        require(not said, said)
    with atomic.unchanged(folder, OWNED):
        return _loaded(folder, family, dtype, params, {*names})


def found(directory: Any) -> Path:
    """The folder with the model: the directory itself, or the snapshot of a hub's cache."""
    named = isinstance(directory, str | os.PathLike)
    is_folder = named and os.path.isdir(directory)
    hint = ": name the directory that it is in" if named and os.path.isfile(directory) else ""
    require(is_folder, f"{directory if named else shown(directory)} is not a directory with a model{hint}")
    folder = Path(directory)
    if reading.present(folder / CONFIG) or not (folder / SNAPSHOTS).is_dir():
        return folder
    if reading.present(main := folder / "refs" / "main"):
        revisions = [reading.text(main, LONGEST_NAME).strip()]
    else:
        revisions = reading.names(folder / SNAPSHOTS)
    several = f"{folder} has no refs/main and {len(revisions)} snapshots: name one, {folder / SNAPSHOTS / 'REVISION'}"
    require(len(revisions) == 1, several)
    plain = re.fullmatch(r"(?!\.)[\w.-]+", revisions[0], re.ASCII) is not None
    there = plain and (folder / SNAPSHOTS / revisions[0]).is_dir()
    require(there, f"{folder} has no snapshot {shown(revisions[0])}, which refs/main names: download it again")
    return folder / SNAPSHOTS / revisions[0]


def modules(folder: Path) -> list[tuple[Any, Path]]:
    """(type, folder) of what a modules.json names, in order: the network, then what is done to its states; none where
    there is no such file.
    """
    path, found = folder / MODULES, []
    if not reading.present(path):
        return found
    said = strictjson.as_written(reading.contents(path), str(path))
    fits = isinstance(said, list) and 0 < len(said) <= MOST_MODULES
    require(fits, f"{path} is no list of 1 to {MOST_MODULES} modules")
    for i, module in enumerate(said):
        require(isinstance(module, dict), f"{path}: module {i} is {shown(module)}, not a JSON object")
        place = module.get("path")
        plain = isinstance(place, str) and re.fullmatch(r"((?!\.)[\w.-]+)?", place, re.ASCII) is not None
        require(plain, f"{path}: module {i} has path {shown(place)}, no plain name of a folder")
        found.append((module.get("type"), folder / place if place else folder))
    return found


def _loaded(folder: Path, family: str | None, dtype: Any, params: Any, names: set[str]) -> Held:
    fields = _fields(folder / CONFIG)
    stated = fields.get("minibert_family") or _by_class(fields) or fields.get("model_type")
    name = family if family is not None else stated
    require(isinstance(name, str), f"{folder / CONFIG} names no family ('model_type'); pass one")
    gone = fields.pop(narrowed.FIELD, None) or {}
    try:
        module = families.family(name)
        known = mathematical(fields, module)
        zero = getattr(module, "ZERO", ())
        stored = names if params is not None else _stored(folder, zero)
        if hasattr(module, "inferred") and (stored or (params is None and foreign.weights(folder))):
            stated = fields.get("architectures")
            known = {**module.inferred(stored, stated if isinstance(stated, list) else []), **known}
        config = from_fields(module.Config, known)
        uses = task_fields.published(fields, module, config, lambda: names if params is not None else _stored(folder))
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    network = tasks.network(module, uses) if uses else module
    kind, left = None if dtype is None else parameter_dtype(dtype), ()
    if params is None:
        params, left = _parameters(folder, network, config, kind, gone)
        params = _with_added(folder / ADDED, params, network, config)
    tokenizer = tokenizers.load(folder, module.TOKENIZER) if module.TOKENIZER else None
    if tokenizer is not None:
        sizes = f"{folder}: the vocabulary has {len(tokenizer)} tokens, the model's table {config.vocab_size}"
        require(len(tokenizer) <= config.vocab_size, f"{sizes} rows: they don't belong together")
    said = folder / GENERATION
    there = os.path.lexists(atomic.place(said))  # a link to nothing is no absent file
    settings = _fields(said) if there else _stated(fields, module, config)
    named = families.named(module)
    return Held(named, config, params, tokenizer, settings, left, uses, _beside(folder, module))  # judged when asked


def _beside(folder: Path, module: ModuleType) -> dict[str, str]:
    """The family's own files that are there."""
    places = {name: atomic.place(folder / name) for name in getattr(module, "BESIDE", ())}
    return {name: reading.text(place) for name, place in places.items() if reading.present(place)}


def _with_added(path: Path, params: Any, network: ModuleType, config: Any) -> Any:
    """The parameters with what the file has besides, if it is what may stand there, in the parameters' own dtype."""
    if not reading.present(atomic.place(path)):
        return params
    flat, kind = tree.flatten(params), tree.leaves(params)[0].dtype
    own, shapes = safetensors.read(atomic.place(path)), tree.flatten(objective.shapes(network, config))
    adapters.require_fitting(own, shapes, f"{path}")
    return tree.unflatten({**flat, **{name: array.astype(kind) for name, array in own.items()}})


def save(model: Held, directory: Any) -> None:
    """Write the published layout, all of it or nothing, the parameters in their own dtype; what stands in the tree and
    no published model has (`adapters`), in a file beside it, ADDED.

    Files that aren't part of the layout stay; a vocabulary that the directory has and the model hasn't goes.
    """
    module, config = model.network, model.config
    shapes, heads = tree.flatten(objective.shapes(module, config)), families.heads(module, config)
    fewer = {narrowed.FIELD: gone} if (gone := narrowed.said(tree.flatten(model.params), shapes, heads)) else {}
    added = {path: array for path, array in tree.items(model.params) if adapters.learns(path)}
    flat = to_published(model.params, module.names(config))
    named = {path for path, _, _ in module.names(config)}
    for path, _ in tree.items(model.params):
        known = path in named or path in added
        require(known, f"parameter {path!r} has no published name: refusing to save a model without it")
    for name, array in {**flat, **added}.items():
        require(array.dtype.itemsize <= 8, f"tensor {name!r} is {array.dtype}, which no file holds; convert to float64")
        _require_finite(name, array, "refusing to save")
    said = None if model.generation is None else _text(GENERATION, model.generation)
    parts, aliases = _towers(module, config), module.aliases(config)
    owned = (*OWNED, *(f"{part}/{file}" for part in parts for file in OWNED), *getattr(module, "BESIDE", ()))
    with atomic.directory(directory, owned) as folder:
        _write(folder, model, config, {} if parts else flat, model.params.keys(), fewer)
        if said is not None:
            atomic.write_text(folder / GENERATION, said)
        if added:
            safetensors.write(folder / ADDED, added)
        for name, text in model.beside.items():
            (folder / name).parent.mkdir(exist_ok=True)
            atomic.write_text(folder / name, text)
        for part, of_part in parts.items():
            (folder / part).mkdir()
            sources = {name: f"{part}.{name}" for _, name, _ in module.names(of_part)}
            sources = {name: aliases.get(source, source) for name, source in sources.items()}
            tensors = {name: flat[source] for name, source in sources.items() if source in flat}
            _write(folder / part, model, of_part, tensors, model.params[part].keys(), {})


def _write(
    folder: Path, model: Held, config: Any, tensors: dict[str, np.ndarray], held: Iterable[str], said: dict[str, Any]
) -> None:
    """One published directory: the config with what is `said` besides, the tokenizer and, where there are tensors, the
    weights.
    """
    module, fields = model.network, to_fields(config)
    default = {field: getattr(module.Config, field) for field in module.VARIANTS}
    fields = {key: value for key, value in fields.items() if key not in default or value != default[key]}
    fields |= task_fields.fields(model.uses, module, config) | said
    origin = {"model_type": module.MODEL_TYPE}
    if model.family != module.MODEL_TYPE:
        origin["minibert_family"] = model.family
    if tensors:
        known = module.architectures(config)
        heads = families.optional(module, config) & set(held)
        origin = {"architectures": [_architecture(known, heads)], **origin}
        origin["dtype"] = np.result_type(*tensors.values()).name
        safetensors.write(folder / WEIGHTS, tensors, {"format": "pt"})
    atomic.write_text(folder / CONFIG, _text(CONFIG, origin | fields))
    if model.tokenizer is not None:
        model.tokenizer.save(folder)


def _text(name: str, fields: Any) -> str:
    try:
        return json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot hold what it is to say: {error}") from None


def _towers(module: ModuleType, config: Any) -> dict[str, Any]:
    return module.towers(config) if hasattr(module, "towers") else {}


# ---- config.json -----------------------------------------------------------------------------------------------------
def _fields(path: Path) -> dict[str, Any]:
    fields = strictjson.as_written(reading.contents(atomic.place(path)), str(path))
    require(isinstance(fields, dict), f"{path} is not a JSON object")
    return fields


def _by_class(fields: dict[str, Any]) -> str | None:
    """The family that the published class names, where `model_type` says nothing, as in the first files of all, or what
    several families say.
    """
    classes = fields.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ""
    named = re.match(r"([A-Za-z0-9]+?)(?=Model|For[A-Z]|LMHead|DoubleHeads)", first)
    found = families.ALIASES.get(named[1].lower(), named[1].lower()) if named else ""
    stated = fields.get("model_type") or None
    known = found in families.names() and stated in (None, families.family(found).MODEL_TYPE)
    return found if known else None


def mathematical(fields: dict[str, Any], module: ModuleType) -> dict[str, Any]:
    """The fields without those that carry no mathematics; one that does, with a value not implemented, is refused."""
    known, dropped = module.Config.__dataclass_fields__, {**DROPPED, **getattr(module, "DROPPED", {})}
    act = families.field(module, "hidden_act")
    said = {act: lambda value, _: ACTIVATIONS.get(value, value) if isinstance(value, str) else value}
    said |= getattr(module, "SAID", {})
    kept = {}
    for key, value in fields.items():
        if key in known:
            kept[key] = said[key](value, fields) if key in said else value
        elif key in dropped:
            allowed = " or ".join(json.dumps(other) for other in dropped[key])
            harmless = dropped[key] == ANY or value in dropped[key]
            require(harmless, f"config field {key!r} is {shown(value)}; implemented: {allowed}")
        elif value is not None:
            kept[key] = value
    return {key: value for key, value in kept.items() if value is not ...}


def _stated(fields: dict[str, Any], module: ModuleType, config: Any) -> dict[str, Any] | None:
    """The settings of `generate` in a config.json, of a family that has it; None where the config itself has all."""
    if not hasattr(module, "step"):
        return None
    own = to_fields(config)
    said = {name: fields[name] for name in (*generation.NAMES, *generation.NEUTRAL) if fields.get(name) is not None}
    said = {name: value for name, value in said.items() if name not in own or isinstance(value, list)}
    return {name: value for name, value in own.items() if name in generation.NAMES} | said if said else None


def _architecture(known: dict[str, tuple[str, ...]], heads: set[str]) -> str:
    """The published class with these heads: the one that has them all and the fewest others."""
    spare = {name: len(set(held) - heads) for name, held in known.items() if heads <= set(held)}
    return min(spare, key=spare.__getitem__)


# ---- Weights ---------------------------------------------------------------------------------------------------------
def _parameters(
    folder: Path, module: ModuleType, config: Any, kind: np.dtype | None, gone: Any
) -> tuple[Any, tuple[str, ...]]:  # fmt: skip
    """(the tree of the directory's weights, checked by name, shape, dtype and for being finite; the names left)."""
    rows, due = module.names(config), objective.shapes(module, config)
    if gone:
        try:
            due = tree.unflatten(narrowed.due(gone, tree.flatten(due), families.heads(module, config)))
        except InputError as error:
            raise InputError(f"{folder / CONFIG}: {error}") from None
    shapes = published_shapes(due, rows)
    aliases, unused = module.aliases(config), set(getattr(module, "unused", lambda config: ())(config))
    published = module.architectures(config)
    whole = max(published, key=lambda name: len(published[name]), default="AutoModelForPreTraining")
    source, given = _read(folder, _towers(module, config), whole)
    if source == folder:
        _require_agreement(folder, module, config)
    try:
        held = _renamed(given, {*shapes, *aliases, *unused}, module.PREFIX)
        optional = families.optional(module, config)
        unknown = [name for name in held if name not in {*shapes, *aliases, *unused}]
        own = _roots(rows, optional, module.PREFIX)
        left = tuple(name for name in unknown if _unwrapped(name).split(".")[0] not in own)
        repeats = {alias: (name, held.pop(alias)) for alias, name in aliases.items() if alias in held}
        for name, repeat in repeats.values():
            held.setdefault(name, repeat)
        for name in getattr(module, "ZERO", ()):
            empty = name in shapes or name not in held or not held[name].load().any()
            require(empty, f"tensor {name!r} is not 0, and no equation here adds it")
        held = {name: stored for name, stored in held.items() if name not in unused or name in shapes}
        _require_complete(held, left, shapes, _optional(rows, optional, held), config)
        held = {name: stored for name, stored in held.items() if name in shapes}
        tensors = {}
        for name, stored in held.items():  # of the shapes that the config says: only now are they read
            readable = stored.dtype.kind == "f" or stored.kind in safetensors.UNREAD  # `load` refuses those
            require(readable, f"tensor {name!r} is {stored.dtype}; parameters are floating-point")
            with np.errstate(over="ignore"):  # said by name in the next line
                tensors[name] = stored.load().astype(kind or stored.dtype, copy=False)
            _require_finite(name, tensors[name], f"as {tensors[name].dtype}")
        for alias, (name, repeat) in repeats.items():
            other = held.get(name, repeat)
            same = alias in unused or other is repeat or _equal(other, repeat)
            require(same, f"tensor {alias!r} differs from {name!r}, which it has to repeat")
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return from_published(tensors, rows), left


def _read(folder: Path, parts: Iterable[str], published: str) -> tuple[Path, dict[str, Stored]]:
    """The file of the weights, or the folder where they lie in directories for the `parts`, and its tensors, unread.

    published: the class that converts another framework's file, for the error line.
    """
    for name, reader in ((WEIGHTS, safetensors.stored), (INDEX, safetensors.stored_shards)):
        if reading.present(place := atomic.place(folder / name)):
            return folder / name, reader(place)
    if parts and all((folder / part).is_dir() or atomic.place(folder / part).is_dir() for part in parts):
        tensors = {}
        for part in parts:
            linked = (folder / part).is_symlink()
            require(not linked, f"{folder / part} is a link to a folder: put the folder itself in its place")
            tensors |= {f"{part}.{name}": held for name, held in _read(folder / part, (), published)[1].items()}
        return folder, tensors
    eight = "in eight bits, for predict, embed and other commands that answer; give the model that it was made of"
    require(not reading.present(atomic.place(folder / EIGHT[0])), f"{folder} holds a model {eight}")
    advice = foreign.without_weights(folder, published)
    advice = advice or (f" and no directories {' and '.join(parts)}" if parts else "")
    raise InputError(f"{folder} has no {WEIGHTS}{advice}")


def _require_agreement(folder: Path, module: ModuleType, config: Any) -> None:
    """A network's own directory must not describe another one than the whole: it would compute other numbers alone."""
    for part, of_part in _towers(module, config).items():
        path = folder / part / CONFIG
        fields = _fields(path) if reading.present(atomic.place(path)) else {}
        for name, due in to_fields(of_part).items():
            agree = name in module.VARIANTS or fields.get(name, due) == due
            where = f"but {folder / CONFIG} makes it {due!r}: correct one of them"
            require(agree, f"{path}: {name!r} is {shown(fields.get(name))}, {where}")


def _stored(folder: Path, zero: Iterable[str] = ()) -> set[str]:
    """The names of the tensors that the folder's own weights hold, without those of `zero` that are 0; empty without
    any.
    """
    weights, index = atomic.place(folder / WEIGHTS), atomic.place(folder / INDEX)
    if reading.present(weights):
        names = [*safetensors.header(weights).entries]
    else:
        names = [*safetensors.placed(index)] if reading.present(index) else []
    found = {_unwrapped(name): name for name in names}
    if there := found.keys() & {*zero}:
        held = safetensors.stored(weights) if reading.present(weights) else safetensors.stored_shards(index)
        found = {name: own for name, own in found.items() if name not in there or held[own].load().any()}
    return {*found}


def _equal(a: Stored, b: Stored) -> bool:
    return a.shape == b.shape and np.array_equal(a.load(), b.load())


def _renamed(given: dict[str, Stored], known: set[str], prefix: str) -> dict[str, Stored]:
    """The tensors under canonical names, those that are not known under their own; without optimizer leftovers and
    buffers of positions and segments.

    gamma and beta are weight and bias as last part of a name only; the encoder's prefix may be absent, and wrappers of
    torch may have put their names between.
    """
    tensors: dict[str, Stored] = {}
    origin: dict[str, str] = {}
    for old, array in given.items():
        last = re.split(r"[./]", old)[-1]
        if last in ("adam_m", "adam_v", "global_step", "position_ids", "token_type_ids"):
            continue
        bare = _unwrapped(old)
        modern = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", bare))
        spellings = (bare, modern, prefix + bare, prefix + modern)
        name = next((spelling for spelling in spellings if spelling in known), old)
        require(name not in tensors, f"tensors {origin.get(name)!r} and {old!r} are both {name!r}")
        tensors[name], origin[name] = array, old
    return tensors


def _unwrapped(name: str) -> str:
    """The name without what DataParallel, FSDP, torch.compile and checkpointing of activations put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) or name


def _roots(rows: Iterable[Naming], heads: Iterable[str], prefix: str) -> set[str]:
    """How the names of all that is not a head begin, with the encoder's prefix and without: what stands there and is
    not known would change what the encoder computes.
    """
    names = [name for path, name, _ in rows if name.startswith(prefix) or path.split(".")[0] not in heads]
    return {prefix.rstrip("."), *(name.removeprefix(prefix).split(".")[0] for name in names)}


def _optional(rows: Iterable[Naming], heads: Iterable[str], tensors: Iterable[str]) -> set[str]:
    """The names of the heads of which the file has nothing."""
    parts = {head: {name for path, name, _ in rows if path.split(".")[0] == head} for head in heads}
    return {name for names in parts.values() if names.isdisjoint(tensors) for name in names}


def _require_complete(
    tensors: dict[str, Stored],
    left: tuple[str, ...],
    shapes: dict[str, tuple[int, ...]],
    optional: set[str],
    config: Any,
) -> None:
    """One line with everything that is missing, unexpected or mis-shaped. What could be left is unexpected where
    something is missing: it may be that, under another name.
    """
    missing = [repr(name) for name in shapes if name not in tensors and name not in optional]
    problems = {
        "missing": missing,
        "unexpected": [shown(name) for name in tensors if name not in shapes and (missing or name not in left)],
        "mis-shaped": [
            f"{name!r} is {array.shape}, {CONFIG} says {shapes[name]}{_culprit(array.shape, shapes[name], config)}"
            for name, array in tensors.items()
            if name in shapes and array.shape != shapes[name]
        ],
    }
    lines = [f"{len(found)} {kind}: {_cut(found)}" for kind, found in problems.items() if found]
    require(not lines, f"the tensors don't fit {CONFIG}: {'; '.join(lines)}")


def _culprit(got: tuple[int, ...], due: tuple[int, ...], config: Any) -> str:
    """' (vocab_size?)' where one axis differs from what such a config field says."""
    axes = [b for a, b in zip(got, due, strict=True) if a != b] if len(got) == len(due) else []
    fields = [field for field, value in to_fields(config).items() if len(axes) == 1 and value == axes[0]]
    return f" ({' or '.join(fields)}?)" if fields else ""


def _cut(items: list[str], most: int = 4) -> str:
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _require_finite(name: str, array: np.ndarray, context: str) -> None:
    wrong = array.size - np.count_nonzero(np.isfinite(array))
    require(not wrong, f"tensor {name!r} has {wrong} of {array.size} entries NaN or infinite ({context})")
