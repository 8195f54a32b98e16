"""A model: a family, its configuration, parameters and tokenizer, with every input checked at this door."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from minibert import config as configs
from minibert import families, objective, signatures, tree
from minibert.checkpoint.names import to_published
from minibert.config import nearest, shown
from minibert.errors import InputError

Tree = Any


class Model:
    """What `minibert.create` and `minibert.load` return.

    family: its name; config: its frozen Config; params: the tree of parameters; tokenizer: or None.
    """

    def __init__(self, family: str, config: Any, params: Tree, tokenizer: Any = None):
        self.family, self.config, self.params, self.tokenizer = family, config, params, tokenizer

    @property
    def module(self) -> ModuleType:
        """The family's file."""
        return families.family(self.family)

    def encode(self, input_ids: Any = None, *, outputs: Iterable[str] | None = None, **inputs: Any) -> dict[str, Any]:
        """The family's OUTPUTS for its INPUTS, in evaluation (no dropout); no mask means all ones.

        outputs: the names wanted, all by default; what nobody asks for is neither computed nor kept. Raises InputError
        for unknown or missing inputs, wrong shapes, ids out of range, rows longer than the position table.
        """
        module = self.module
        given = {"input_ids": input_ids, **inputs}
        arrays = self._checked({k: v for k, v in given.items() if v is not None}, module.INPUTS, ("input_ids",))
        wanted = list(module.OUTPUTS if outputs is None else outputs)
        for name in wanted:
            if name not in module.OUTPUTS:
                raise InputError(f"unknown output {name!r}; there are: {', '.join(module.OUTPUTS)}")
        keep = "caches" if "attentions" in wanted else "outputs" if "hidden_states" in wanted else "last"
        out = module.encode(self.params, self.config, arrays, keep=keep)[0]
        return {name: tree.map(np.array, out[name]) for name in wanted if name in out}  # the caller's own memory

    def loss(
        self, batch: dict[str, Any], denominators: dict[str, float] | None = None, keep: str = "caches"
    ) -> tuple[np.ndarray, Tree]:
        """(loss, cache) of a batch; cache["terms"] holds each term, the plain mean over its targets.

        denominators: what each term's sum is divided by instead, so that micro-batches add up to the large batch.
        keep: "inputs" recomputes layers in the backward instead of keeping their caches (see `layers.stack`).
        Raises InputError as `encode` does, for missing labels, and for a head the parameters lack.
        """
        module = self.module
        for head in objective.needs(module, self.config):
            if head not in self.params:
                raise InputError(f"loss needs the head {head!r}, which these parameters do not have")
        for term in denominators or {}:
            if term not in (terms := module.terms(self.config)):
                raise InputError(f"unknown term {term!r} in denominators; there are: {', '.join(terms)}")
        given = {"denominators": denominators, "keep": keep}
        loss, cache = objective.loss(module, self.params, self.config, self.checked(batch), **given)
        return np.asarray(loss), cache  # a sum of 0-d arrays is a scalar in NumPy

    def checked(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch as the family's own `loss` takes it: every array checked, under the family's spelling."""
        module = self.module
        arrays = {name: value for name, value in batch.items() if name != "dropout"}
        labels = objective.labels(module, self.config)
        arrays = self._checked(arrays, {**module.INPUTS, **labels}, ("input_ids", *labels))
        return {**arrays, "dropout": self._checked_dropout(batch.get("dropout"), arrays["input_ids"].shape)}

    def loss_backward(self, cache: Tree) -> Tree:
        """d loss / d every parameter: a tree like `params`."""
        return objective.loss_backward(cache)

    def _checked(self, given: dict[str, Any], specs: dict[str, str], required: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays under the family's own names, each as its Spec says."""
        spellings = getattr(self.module, "SPELLINGS", {})
        arrays: dict[str, Any] = {}
        for name, value in given.items():
            own = spellings.get(name, name)
            if own not in specs:
                raise InputError(f"unknown input {name!r}{nearest(name, [*specs, *spellings])}")
            if own in arrays:
                raise InputError(f"{name!r} and another spelling of it are both given; give one")
            arrays[own] = value
        for name in required:
            if name not in arrays:
                raise InputError(f"the batch lacks {name!r}, which {self.family} needs")
        sizes = configs.to_fields(self.config)
        checked = {}
        for name, text in specs.items():
            if name in arrays:
                spec, value = signatures.parse(text), _array(name, arrays[name])
                if value.ndim == len(spec.dims) + 1 and value.shape[-1] == 1:
                    value = value[..., 0]  # (B, 1) labels, as BERT's files hold them
                checked[name] = signatures.check(name, value, spec, sizes)
        if checked["input_ids"].size == 0:  # (B, M) targets may be: no target gives loss 0
            raise InputError(f"input_ids: empty, shape {checked['input_ids'].shape}")
        return checked

    def _checked_dropout(self, masks: dict[str, Any] | None, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        if not masks:
            return {}
        if not isinstance(masks, dict):
            raise InputError("dropout: expected a dict of keep-masks, named by the published dropout modules")
        places = self.module.dropout_places(self.config, *shape)
        arrays = {name: _array(f"dropout mask {name!r}", keep) for name, keep in masks.items()}
        for name, keep in arrays.items():
            if name not in places:
                raise InputError(f"unknown dropout mask {name!r}{nearest(name, places)}")
            if keep.shape != places[name][0]:
                raise InputError(f"dropout mask {name!r}: expected shape {places[name][0]}, got {keep.shape}")
            if keep.dtype != bool and not np.isin(keep, (0, 1)).all():
                raise InputError(f"dropout mask {name!r}: expected 0 and 1 (1 = keep), the rate comes from the config")
        return arrays

    def state_dict(self, tree: Tree = None) -> dict[str, np.ndarray]:
        """The flat dict under published names, each unique tensor once, of `params` or of any tree with its keys."""
        return to_published(self.params if tree is None else tree, self.module.names(self.config))

    def save(self, path: Any) -> None:
        """Writes the published layout: config.json, model.safetensors, vocabulary."""
        from minibert.checkpoint import directory

        directory.save(self, path)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise InputError(f"{name}: not an array: the rows differ in length; pad them") from None


def create(family: str, seed: int = 0, dtype: Any = "float32", **fields: Any) -> Model:
    """A new model; `fields` are config fields under their published names, unknown ones refused.

    It has the parts that its loss needs. Weights are drawn from a normal of standard deviation `initializer_range`,
    truncated at two of it (so really 0.8796 of it: google-research/bert, `create_initializer`); biases are 0, norms 1
    and 0.
    """
    module = families.family(family)
    config = configs.from_fields(module.Config, fields)
    kind = parameter_dtype(dtype)
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise InputError(f"seed {shown(seed)}: expected a whole number, 0 or more") from None
    flat = {
        path: _initial(path, shape, config.initializer_range, rng).astype(kind)
        for path, shape in tree.items(objective.trained(module, config))
    }
    return Model(module.__name__.rpartition(".")[2], config, tree.unflatten(flat))


def parameter_dtype(dtype: Any) -> np.dtype:
    """The dtype of that name, if parameters may have it."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if kind is None or kind.kind != "f" or kind.itemsize < 4:
        raise InputError(f"dtype {shown(dtype)}: parameters are float32, float64 or longdouble")
    return kind


def _initial(path: str, shape: tuple[int, ...], std: float, rng: np.random.Generator) -> np.ndarray:
    *_, parent, leaf = path.split(".")
    if leaf == "bias":
        return np.zeros(shape)
    if parent == "norm":
        return np.ones(shape)
    values = rng.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return values * std
