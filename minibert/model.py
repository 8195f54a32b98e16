"""A model: a family, its configuration, parameters and tokenizer, with every input checked at this door."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from minibert import (
    adapters,
    encoder_decoder,
    families,
    filling,
    generation,
    narrowed,
    objective,
    signatures,
    states,
    tree,
)
from minibert import config as configs
from minibert import tasks as tasking
from minibert.checkpoint import directory as directories
from minibert.checkpoint.names import to_published
from minibert.config import listed, nearest, one_of, parameter_dtype, real, require, shown, whole
from minibert.errors import InputError

Tree = Any


SIZES = {"num_hidden_layers": "{:,} layers", "hidden_size": "width {:,}", "num_attention_heads": "{:,} heads",
         "vocab_size": "{:,} tokens"}  # fmt: skip


class Model:
    """What `minibert.create` and `minibert.load` return.

    family: its name; config: its frozen Config; params: the tree of parameters; tokenizer: or None; generation: what
    generation_config.json says, by published names, or None without that file; left: the names of the tensors that
    `load` left in the file, of heads that nobody here knows; uses: the `tasks.Task`s of its heads, none of a model
    with those of its pre-training; beside: the texts of files that the family has of its own (BESIDE), by name; aims:
    what is put over its network while it is taught (`teaching`), None: nothing.
    """

    def __init__(
        self, family: str, config: Any, params: Tree, tokenizer: Any = None, generation: dict[str, Any] | None = None,
        left: Iterable[str] = (), uses: Iterable[tasking.Task] = (), beside: Mapping[str, str] | None = None,
    ):  # fmt: skip
        self.family, self.config, self.params, self.tokenizer = family, config, params, tokenizer
        self.generation, self.left, self.uses, self._like = generation, tuple(left), tuple(uses), None
        self.aims: Callable[[Any], Any] | None = None
        self.beside = dict(beside or {})
        self._sound: tuple | None = None  # what `_dtype` has found to fit
        if not isinstance(config, self.module.Config):
            raise InputError(f"config {shown(config)}: expected the Config of {family}")

    def __repr__(self) -> str:
        """The family, its sizes, how many parameters there are, and their dtype, in one line."""
        sizes = {name: getattr(self.config, families.field(self.module, name), None) for name in SIZES}
        leaves = [leaf for leaf in tree.leaves(self.params) if isinstance(leaf, np.ndarray)]
        held = [text.format(sizes[name]) for name, text in SIZES.items() if sizes[name] is not None]
        held += [f"{sum(leaf.size for leaf in leaves):,} parameters"]
        return f"<minibert {', '.join([self.family, *held, *sorted({str(leaf.dtype) for leaf in leaves})])}>"

    @property
    def module(self) -> ModuleType:
        """The family's file, over parameters that it does not know of with what these do (`adapters.over`)."""
        return adapters.over(families.family(self.family), self.params)

    @property
    def network(self) -> Any:
        """What is trained: the family's file, of a model with tasks with their heads (`tasks.Network`)."""
        found = tasking.network(self.module, self.uses) if self.uses else self.module
        return self.aims(found) if self.aims else found

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks that it has heads for, in order."""
        return tuple(task.name for task in self.uses)

    def with_task(self, name: str, seed: int = 0, **settings: Any) -> "Model":
        """A model with a new head for a task, one of `tasks.names()`, over a copy of this one's network.

        Heads of pre-training go, those of other tasks stay; of a family with two networks the one that is published
        for use stays. settings: of the task (`classes`, `labels`, `problem_type`, `dropout`). What the network lacks
        for it, as a pooler, is new, too; seed: of what is drawn. Raises InputError for unknown tasks and settings, a
        task that the model has, and tasks that do not go together.
        """
        dtype = self._dtype()
        require(name not in self.tasks, f"the model has a head for {name!r}")
        uses = tasking.together((*self.uses, tasking.made(name, settings)))
        if any(task.head.READS == tasking.OWN for task in uses):
            tasking.network(self.module, uses)  # whether the family has what it takes
            copied = tree.map(np.array, self.params)
            held = self.family, self.config, copied, self.tokenizer, self.generation
            return Model(*held, uses=uses, beside=self.beside)
        config, params = tasking.used(self.module, self.config, self.params)
        params |= {part: held for part, held in self.params.items() if part in (*self.tasks, tasking.SUMMARY)}
        network, held = tasking.network(self.module, uses), tree.flatten(params)
        found = _drawn(network, config, dtype, np.random.default_rng(whole("seed", seed)), held)
        spare = {path: np.array(held[path]) for path in held if path.partition(".")[0] in network.OPTIONAL}
        params = tree.unflatten({**spare, **found})
        return Model(self.family, config, params, self.tokenizer, uses=uses, beside=self.beside)

    def predict(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """What the heads of the tasks say of the inputs in a batch, in evaluation; labels in it are not looked at.

        logits (B, C) of classify, regress and choose, whose inputs are (B, C, T), (B, T, C) of tag; start_logits and
        end_logits (B, T) of answer; of a model with several tasks behind the task's name, as classify_logits, but for
        tasks whose own inputs the batch lacks. Raises
        InputError as `encode` does, and for a model without tasks.
        """
        network, dtype = self.network, self._dtype()
        own = any(task.head.READS == tasking.OWN for task in self.uses)
        require(bool(self.uses) and not own, "the model has no head of a task: with_task makes one")
        require(isinstance(batch, Mapping), f"batch {shown(batch)}: expected a dict of arrays by name")
        unread = {"dropout", *objective.labels(network, self.config)}
        specs = network.inputs(self.config)
        arrays, _ = self._checked({name: value for name, value in batch.items() if name not in unread}, specs)
        with np.errstate(over="ignore", invalid="ignore"):  # refused by name below
            found = objective.answers(network, self.params, self.config, arrays)
        for name, array in found.items():
            require(bool(np.isfinite(array).all()), f"{name} are not finite: {_beyond(dtype)}")
        return found

    def encode(self, *positional: Any, outputs: Iterable[str] | None = None, **inputs: Any) -> dict[str, Any]:
        """The family's `outputs` for its `inputs`, in evaluation (no dropout); no mask means all ones.

        positional: inputs in the family's order. outputs: the names wanted, all by default; what nobody asks for is
        neither computed nor kept. Raises InputError for unknown or missing inputs, wrong shapes, ids out of range,
        rows longer than the position table, and where a result is beyond the precision of the parameters.
        """
        module, dtype = self.module, self._dtype()
        specs, known = module.inputs(self.config), module.outputs(self.config)
        require(len(positional) <= len(specs), f"{len(positional)} inputs given; there are: {', '.join(specs)}")
        first = dict(zip(specs, positional, strict=False))
        for name in inputs:
            require(name not in first, f"input {name!r} is given twice, by its place and by its name")
        given = {name: value for name, value in {**first, **inputs}.items() if value is not None}
        arrays, _ = self._checked(given, specs)
        wanted = [one_of("output", name, known) for name in (known if outputs is None else listed("outputs", outputs))]
        maps = any(name.endswith("attentions") for name in wanted)
        keep = "caches" if maps else "outputs" if "hidden_states" in wanted else "last"
        params = self.params
        if {*wanted} == {encoder_decoder.MEMORY}:
            params = {part: held for part, held in params.items() if part != "decoder"}
        with np.errstate(over="ignore", invalid="ignore"):  # refused by name below
            out = module.encode(params, self.config, arrays, keep=keep)[0]
        out = {name: tree.map(np.array, out[name]) for name in wanted if name in out}  # the caller's own memory
        for path, array in tree.items(out):
            require(bool(np.isfinite(array).all()), f"{path} is not finite: {_beyond(dtype)}")
        return out

    def loss(
        self, batch: dict[str, Any], denominators: dict[str, float] | None = None, keep: str = "caches"
    ) -> tuple[np.ndarray, Tree]:
        """(loss, cache) of a batch; cache["terms"] holds each term, the plain mean over its targets.

        denominators: what each term's sum is divided by instead, so that micro-batches add up to the large batch.
        keep: "inputs" recomputes layers in the backward instead of keeping their caches, "rebuilt" makes their inputs
        of their outputs, too, where layers are reversible (see `layers.stack`).
        Raises InputError as `encode` does, for missing labels, and for a head the parameters lack.
        """
        network, dtype = self.network, self._dtype()
        one_of("keep", keep, ("caches", "inputs", "rebuilt", "outputs", "last"))
        arrays = self.checked(batch)
        for head in objective.needs(network, self.config, arrays):
            if head not in self.params:
                raise InputError(f"loss needs the head {head!r}, which these parameters do not have")
        given = None if denominators is None else self._denominators(denominators, arrays, dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # refused by name below
            loss, cache = objective.loss(network, self.params, self.config, arrays, denominators=given, keep=keep)
        for term, value in {**cache["terms"], "the loss": loss}.items():
            require(bool(np.isfinite(value)), f"{term} is not finite: {_beyond(dtype)}")
        return np.asarray(loss), cache  # a sum of 0-d arrays is a scalar in NumPy

    def fits(self) -> None:
        """InputError unless the parameters are those of the family and its config, whole and of one precision."""
        self._dtype()

    def checked_inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs of `encode` as the family's own takes them, every array checked."""
        return self._checked(given, self.module.inputs(self.config))[0]

    def checked(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch as the family's own `loss` takes it: every array checked, under the family's spelling."""
        network = self.network
        if not isinstance(batch, Mapping):
            raise InputError(f"batch {shown(batch)}: expected a dict of arrays by name")
        arrays = {name: value for name, value in batch.items() if name != "dropout"}
        specs = {**network.inputs(self.config), **objective.labels(network, self.config)}
        arrays, dims = self._checked(arrays, specs)
        dropped = {"dropout": self._checked_dropout(batch.get("dropout"), dims)} if "dropout" in batch else {}
        return {**arrays, **dropped}  # none at all: not in training

    def loss_backward(self, cache: Tree) -> Tree:
        """d loss / d every parameter: a tree like `params`. InputError unless `loss` gave the cache."""
        terms = cache.get("terms") if isinstance(cache, dict) else None
        fits = isinstance(terms, dict) and len(terms) > 0 and terms.keys() <= {*self.network.terms(self.config)}
        if not fits:
            raise InputError(f"cache {shown(cache)}: expected what this model's `loss` returned beside the loss")
        return objective.loss_backward(cache)

    # ---- From token to token -----------------------------------------------------------------------------------------
    def start(self, **inputs: Any) -> Tree:
        """The state that has read these inputs of `encode`; without any of a decoder, one that has read nothing yet.

        Of a decoder that is the prompt, or a part of it; padding, if any, in front. Of an encoder with a decoder it is
        the source. Of an encoder with a masked head and a vocabulary with a mask it is as of a decoder (`filling`). A
        state is a tree of arrays with rows in front, {} where nothing is read, and is never written to:
        `tree.map(lambda a: a[rows], state)` is that of these rows. Raises InputError as `encode` does, and for a
        model that does not go on from token to token.
        """
        module = self._going_on()
        specs, given = module.inputs(self.config), {name: value for name, value in inputs.items() if value is not None}
        arrays = self._checked(given, specs)[0] if given or generation.WRITTEN in specs else {}
        with np.errstate(over="ignore", invalid="ignore"):  # refused by `step`
            return module.start(self.params, self.config, arrays)

    def step(self, ids: Any, state: Tree) -> tuple[np.ndarray, Tree]:
        """(logits (N, V) of what follows, the state that has read the ids, too): ids (N,), or (N, n) read in order.

        Raises InputError for ids out of range, a state of other rows or another model (`states`), a head that the
        parameters lack, and logits beyond their precision.
        """
        module, given = self._going_on(heads=True), signatures.array("ids", ids)
        specs = module.inputs(self.config)
        spec = signatures.parse(specs[generation.rows_of(specs)])
        given = given[:, None] if given.ndim == 1 else given
        given = signatures.check("ids", given, spec._replace(dims=("N", "n")), configs.to_fields(self.config))
        require(given.size > 0, f"ids: empty, shape {given.shape}")
        states.check(state, len(given), self._states())
        return self._stepped(given, state)

    def _states(self) -> states.Like:
        """What states of this model look like, found once."""
        key = self.config, tree.leaves(self.params)[0].dtype
        if self._like is None or self._like[0] != key:
            with np.errstate(over="ignore", invalid="ignore"):
                self._like = key, states.found(self.writer, self.params, self.config)
        return self._like[1]

    def generate(self, input_ids: Any = None, attention_mask: Any = None, **settings: Any) -> np.ndarray:
        """Rows of ids, as `generate` of transformers returns them: the prompt (B, T), of an encoder with a decoder the
        start id, with what was written; behind its end a row is filled with pad_token_id, else the end id.

        attention_mask: 1 = token; prompts of unequal length are padded on the left. settings: max_new_tokens (20),
        max_length, min_new_tokens, min_length, num_beams (1), do_sample (False), temperature (1.0), top_k (0), top_p
        (1.0), length_penalty (1.0), early_stopping (False, True, "never"), no_repeat_ngram_size (0),
        repetition_penalty (1.0), eos_token_id (one or several, None: no end), pad_token_id, bos_token_id (what a row
        begins with that is given no ids), decoder_start_token_id, forced_bos_token_id, forced_eos_token_id,
        suppress_tokens (ids that are never written); what is not given is as generation_config.json says, without that
        file as the config says; max_new_tokens wins over a max_length from the same place. seed (0), or uniforms
        (steps, B) from [0, 1): what is drawn with do_sample; first (0): the number of the first row among those of the
        seed. progress: called with the ids (B,) of each step as they are written, not with beams. How each token is
        chosen: `minibert.generation`.
        An encoder with a masked head goes on from a prompt [CLS] … without a [SEP] behind it, by what it puts in a
        [MASK] there (`minibert.filling`), until that is the [SEP]; no other special token is written, and a row without
        ids begins with [CLS], unless settings say otherwise.
        Raises InputError as `encode` does, for a head that the parameters lack, for settings that are unknown, out of
        range or not implemented, and where the caller's max_new_tokens or max_length lets a row become longer than the
        position table (else it ends there).
        """
        return self.written(input_ids, attention_mask, **settings).ids

    def written(
        self, input_ids: Any = None, attention_mask: Any = None, *, seed: int = 0, first: int = 0,
        uniforms: Any = None, progress: generation.Progress | None = None, **settings: Any,
    ) -> generation.Written:  # fmt: skip
        """What `generate` returns, and the score of each row (`generation.Written`)."""
        module = self._going_on(heads=True)
        specs = module.inputs(self.config)
        if module is not self.module:
            stated = generation.stated(self.generation, self.config)
            settings = {**{k: v for k, v in module.settings.items() if stated.get(k) is None}, **settings}
        given = {generation.PROMPT: input_ids, generation.MASK: attention_mask}
        spelled = {*specs, *getattr(module, "SPELLINGS", {})}
        given |= {name: settings.pop(name) for name in [*settings] if name in spelled}
        given = {name: value for name, value in given.items() if value is not None}
        arrays = self._checked(given, specs)[0] if given or generation.WRITTEN in specs else {}
        with np.errstate(over="ignore", invalid="ignore"):  # refused by name in `_stepped`
            begun = generation.begun(module, self.params, self.config, arrays, settings, self.generation)
            return generation.written(self._stepped, begun, seed, first, uniforms, progress)

    @property
    def writer(self) -> Any:
        """What goes on from token to token: the family's file, or the encoder that fills masks (`filling.Filling`).
        InputError where neither does.
        """
        if all(hasattr(self.module, name) for name in ("start", "step")):
            return self.module
        return filling.filling(self.module, self.config, self.tokenizer)

    def _going_on(self, heads: bool = False) -> Any:
        """`writer`, with the heads for it where they are asked for."""
        self._dtype()
        writer = self.writer
        for head in objective.needs(self.module, self.config) if heads and writer is self.module else ():
            if head not in self.params:
                raise InputError(f"what follows needs the head {head!r}, which these parameters do not have")
        return writer

    def _stepped(self, ids: np.ndarray, state: Tree) -> tuple[np.ndarray, Tree]:
        with np.errstate(over="ignore", invalid="ignore"):
            logits, state = self.writer.step(self.params, self.config, ids, state)
        require(bool(np.isfinite(logits).all()), f"the logits are not finite: {_beyond(logits.dtype)}")
        return logits, state

    def _checked(self, given: dict[str, Any], texts: dict[str, str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(the arrays under the family's own names, each as its Spec says; the size of each letter in the Specs)."""
        specs = {name: signatures.parse(text) for name, text in texts.items()}
        spellings = getattr(self.module, "SPELLINGS", {})
        arrays: dict[str, Any] = {}
        for name, value in given.items():
            own = spellings.get(name, name)
            if own not in specs:
                raise InputError(f"unknown input {name!r}{nearest(name, [*specs, *spellings])}")
            if own in arrays:
                raise InputError(f"{name!r} and another spelling of it are both given; give one")
            arrays[own] = value
        sizes = configs.to_fields(self.config)
        checked = {}
        for name, spec in specs.items():
            if name not in arrays:
                require(spec.optional, f"the batch lacks {name!r}, which {self.family} needs")
            else:
                _require_no_text(name, arrays[name])
                value = arrays[name] if spec.holds != "array" else signatures.array(name, arrays[name])
                if spec.holds == "array" and value.ndim == len(spec.of(value)) + 1 and value.shape[-1] == 1:
                    value = value[..., 0]  # (B, 1) labels, as BERT's files hold them
                checked[name] = signatures.check(name, value, spec, sizes)
        for name in self.network.inputs(self.config):  # (B, M) targets may be empty: no target gives loss 0
            for path, array in tree.items(checked.get(name, {}), f"{name}."):
                require(array.size > 0, f"{path}: empty, shape {array.shape}")
        return checked, sizes

    def _checked_dropout(self, masks: dict[str, Any] | None, dims: dict[str, Any]) -> dict[str, np.ndarray]:
        if masks is None:
            return {}
        require(isinstance(masks, Mapping), "dropout: expected a dict of keep-masks, named by the published modules")
        places, checked = self.network.dropouts(self.config, dims), {}
        for name, value in masks.items():
            mask = one_of("dropout mask", name, places) and f"dropout mask {name!r}"
            keep, due = signatures.array(mask, value), places[name][0]
            require(keep.shape == due, f"{mask}: expected shape {due}, got {keep.shape}")
            bits = signatures.Spec(tuple(map(str, due)), "bit", None)  # 1 = keep; the rate comes from the config
            checked[name] = signatures.check(mask, keep, bits, {}).astype(bool)
        return checked

    def _denominators(self, given: Any, batch: dict[str, Any], dtype: np.dtype) -> dict[str, float]:
        """The divisors, each of which the dtype can divide by; 0 where the batch has no target of the term."""
        if not isinstance(given, Mapping):
            raise InputError(f"denominators {shown(given)}: expected a dict of numbers by term")
        terms, counts, limits = self.network.terms(self.config), None, np.finfo(dtype)
        for term, value in given.items():
            name = f"denominators[{one_of('term in denominators', term, terms)!r}]"
            counts = counts or objective.counts(self.network, self.config, batch)
            least = float(limits.tiny) if counts.get(term) else 0.0
            real(name, value, least, float(min(limits.max, np.finfo(np.float64).max)))
        return dict(given)

    def _dtype(self) -> np.dtype:
        """The parameters' precision; InputError for parameters that are not the family's, or in another."""
        leaves = [
            (path, type(leaf), getattr(leaf, "shape", None), getattr(leaf, "dtype", None))
            for path, leaf in tree.flatten(self.params).items()
        ]
        if (found := (self.config, self.uses, self.aims, leaves)) != self._sound:
            self._require_sound()
            self._sound = found
        return leaves[0][3]

    def _require_sound(self) -> None:
        held, due = self._fitting("params", self.params)
        spare = families.optional(self.network, self.config)
        for path in due:
            part = path.partition(".")[0]
            whole = path in held or (part not in self.params and part in spare)
            require(whole, f"params lack arrays of {part!r}, which {self.family} needs")
        for path, array in held.items():
            require(array.dtype.kind == "f", f"params: {path!r} is {array.dtype}, expected a floating-point number")
        for kind in {array.dtype for array in held.values()}:
            parameter_dtype(kind)

    def _fitting(self, name: str, given: Tree) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
        """(the leaves of a tree like `params`, the shape of every parameter), both by path, with adapters where the
        tree has them; InputError unless every leaf is an array of a parameter's name and shape.
        """
        if not isinstance(given, dict):
            raise InputError(f"{name} {shown(given)}: expected a tree of arrays like `params`")
        flat, shapes = tree.flatten(given), tree.flatten(objective.shapes(self.network, self.config))
        shapes |= narrowed.stand(flat, shapes, families.heads(self.module, self.config))
        shapes |= adapters.stand(flat, shapes)
        for path, array in flat.items():
            if path not in shapes:
                raise InputError(f"{name}: {self.family} has no parameter {path!r}{nearest(path, shapes)}")
            fits = type(array) is np.ndarray and array.shape == shapes[path]
            found = getattr(array, "shape", type(array).__name__)
            require(fits, f"{name}: {path!r} is {found}, expected an array of shape {shapes[path]}")
        return flat, shapes

    def state_dict(self, tree: Tree = None) -> dict[str, np.ndarray]:
        """The flat dict under published names, each unique tensor once, of `params` or of any tree with its keys."""
        if tree is not None:
            self._fitting("tree", tree)
        return to_published(self.params if tree is None else tree, self.names())

    def names(self) -> list[tuple[str, str, str]]:
        """(path in the tree, published name, bijection) of every parameter (see `checkpoint.names`)."""
        return [*self.network.names(self.config), *adapters.names(self.params)]

    def save(self, path: Any) -> None:
        """Writes the published layout: config.json, generation_config.json, model.safetensors, vocabulary."""
        fits = isinstance(path, str | os.PathLike) and "\0" not in os.fspath(path)
        if not fits:
            raise InputError(f"path {shown(path)}: expected the path of a directory")
        held = self.family, self.config, self.params, self.tokenizer, self.generation
        try:
            directories.save(directories.Held(*held, uses=self.uses, beside=self.beside), path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _require_no_text(name: str, value: Any) -> None:
    first = value[0] if isinstance(value, list | tuple) and value else value
    if isinstance(first, str):
        asked = "model.tokenizer.encode(text).ids are a text's, minibert.embed(directory, texts) gives vectors of texts"
        raise InputError(f"{name} {shown(value)}: expected ids, got text; {asked}")


def _beyond(dtype: np.dtype) -> str:
    wider = "float64" if dtype.itemsize < 8 else "longdouble"
    return f"beyond {dtype}; look for extreme weights, or take dtype={wider!r}"


def load(directory: Any, family: str | None = None, dtype: Any = None) -> Model:
    """The model of a published directory; the family and the dtype are its own unless given.

    16-bit floats come exactly widened to float32. Heads that the file lacks are absent from the parameters; a head
    that nobody here knows, as a classifier's, stays in the file, and `Model.left` names its tensors. A hub's cache
    (models--ORG--NAME) is its main snapshot. Raises InputError, one line, for whatever does not fit, as
    `checkpoint.directory.load` says.
    """
    return Model(*directories.load(directory, family, dtype))


def create(
    family: str, seed: int = 0, dtype: Any = "float32", tasks: Mapping[str, Mapping[str, Any]] | None = None,
    **fields: Any,
) -> Model:  # fmt: skip
    """A new model; `fields` are config fields under their published names, unknown ones refused.

    It has the parts that its loss needs, drawn by the family's `initial` where it has one. Else weights are drawn from
    a normal of standard deviation `initializer_range`, truncated at two of it (so really 0.8796 of it:
    google-research/bert, `create_initializer`); biases are 0, norms 1 and 0. tasks: {name: settings}, as
    {"classify": {"classes": 3}}, for heads of tasks in the place of those of pre-training (see `Model.with_task`).
    """
    module = families.family(family)
    config = configs.from_fields(module.Config, fields)
    kind = parameter_dtype(dtype)
    rng = np.random.default_rng(whole("seed", seed))
    uses = tasking.several(tasks or {})
    if isinstance(module, tasking.Network):  # "bert+classify"
        module, uses = module.module, tasking.together((*module.tasks, *uses))
    if uses and all(task.head.READS != tasking.OWN for task in uses):
        config, _ = tasking.used(module, config, {})
    network = tasking.network(module, uses) if uses else module
    return Model(families.named(module), config, tree.unflatten(_drawn(network, config, kind, rng)), uses=uses)


def _drawn(
    network: Any, config: Any, kind: np.dtype, rng: np.random.Generator, held: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """Every parameter that the loss needs, by path: a copy of what is held of that shape, else a first value."""
    shapes, initial, held = objective.trained(network, config), getattr(network, "initial", _initial), held or {}

    def first(path: str, shape: tuple[int, ...]) -> np.ndarray:
        own = network.first(path, shape, rng) if isinstance(network, tasking.Network) else None
        return initial(path, shape, config, rng) if own is None else own

    try:
        return {path: np.array(held[path] if path in held else first(path, shape), kind)
                for path, shape in tree.items(shapes)}  # fmt: skip
    except MemoryError:
        count = sum(math.prod(shape) for shape in tree.leaves(shapes))
        family = families.named(network)
        raise InputError(f"{family} has {count:,} parameters of these sizes, more than fit into the memory") from None


def _initial(path: str, shape: tuple[int, ...], config: Any, rng: np.random.Generator) -> np.ndarray:
    *_, parent, leaf = path.split(".")
    if leaf.startswith("bias"):
        return np.zeros(shape)
    if parent == "norm":
        return np.ones(shape)
    values = rng.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return values * config.initializer_range
