"""Vectors of texts, made as the model's directory says (Reimers & Gurevych 2019, arXiv 1908.10084).

    modules.json                     what follows what: the network, its pooling, then Dense, LayerNorm and Normalize in
                                     any order, each with the folder where it says more
    sentence_bert_config.json        beside the network's config.json: max_seq_length, do_lower_case
    1_WeightedLayerPooling/config.json, model.safetensors    layer_start, num_hidden_layers: what is pooled is a mean
                                     of these layers' states, where the network's config.json has output_hidden_states
    1_Pooling/config.json            pooling_mode, or pooling_mode_mean_tokens, …: of several the vectors are joined
    2_Dense/config.json, model.safetensors       in_features, out_features, bias, activation_function
    2_LayerNorm/config.json, model.safetensors   dimension
    config_sentence_transformers.json            prompts, default_prompt_name: what stands before every text

Read strictly: a setting that would change a vector and is not here is refused by name. A directory without modules.json
pools the mean, as the published program does, or as its family makes vectors of sentences (`POOLING`).
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, inference, ops, reading
from minibert.checkpoint import atomic, directory, safetensors, strictjson
from minibert.config import listed, nearest, require, shown, whole
from minibert.errors import InputError
from minibert.model import Model, load

Array = np.ndarray
PROMPTS, OWN = "config_sentence_transformers.json", "config.json"
READERS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_albert_config.json",
           "sentence_distilbert_config.json", "sentence_camembert_config.json", "sentence_xlm-roberta_config.json",
           "sentence_xlnet_config.json")  # fmt: skip
WIDEST, DEEPEST = 1 << 20, 1 << 10  # numbers of a vector; layers
# The last part of a module's type: networks under their older names, too
NETWORKS = ("Transformer", "BERT", "RoBERTa", "ALBERT")
OTHERS = ("WeightedLayerPooling", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
NORM_EPS = 1e-5  # of a LayerNorm, which does not say it
MODES = {  # as config.json says them, in the order in which several are joined -> `inference.POOLINGS`
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len", "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # fmt: skip
ACTIVATIONS = {"Identity": None, "Tanh": ops.tanh, "ReLU": ops.relu, "GELU": ops.gelu, "Sigmoid": ops.sigmoid}
# Settings with the values for which nothing is to do, () for any; null is always one.
ANY: tuple = ()
NETWORK = {"transformer_task": ("feature-extraction",), "module_output_name": ("token_embeddings",),
           "tokenizer_name_or_path": ANY, "modality_config": ANY,
           **dict.fromkeys(("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args",
                            "processor_kwargs"), ({}, {"trust_remote_code": True}))}  # fmt: skip
VECTOR = ("sentence_embedding",)
BETWEEN = {"module_input_name": VECTOR, "module_output_name": VECTOR, "use_residual": (False,)}


class Settings(NamedTuple):
    """How a directory makes vectors. network: the folder of the model; others: those of what follows; layers: the
    weights of the hidden states that are pooled, none: the last ones; pooling: see `inference.POOLINGS`; after: what is
    done to the pooled vectors (N, D), in order; max_length: tokens of a text, None: what the model takes; lower: texts
    are made lower-case; prompt: what stands before each.
    """

    network: Path
    others: tuple[Path, ...] = ()
    layers: tuple[float, ...] = ()
    pooling: tuple[str, ...] = ("mean",)
    after: tuple[Callable[[Array], Array], ...] = ()
    max_length: int | None = None
    lower: bool = False
    prompt: str = ""


def embed(
    directory: Any, texts: Iterable[str], pooling: str | Iterable[str] | None = None, normalize: bool | None = None
) -> Array:
    """A vector for each text, float32 (N, D), made as the directory says, or as it is told.

    pooling: one of `inference.POOLINGS`, or several, whose vectors are joined; normalize: scaled to length 1, or not.
    InputError, one line, for a directory that cannot be used or is not read, and for texts that are no list.
    """
    return Embedder(directory, pooling, normalize)(texts)


class Embedder:
    """A model and how it makes vectors of texts: `embed` of a directory that is read once.

    max_length: tokens kept of a text. model: that of the directory, where it is at hand. settings: what was read.
    """

    def __init__(
        self, folder: Any, pooling: str | Iterable[str] | None = None, normalize: bool | None = None,
        max_length: int | None = None, model: Model | None = None,
    ):  # fmt: skip
        settings = read(folder)
        if pooling is not None:
            settings = settings._replace(pooling=inference.poolings(pooling))
        if not isinstance(normalize, bool | None):
            raise InputError(f"normalize {shown(normalize)}: expected True, False or None")
        if normalize is not None:
            kept = tuple(step for step in settings.after if step is not inference.normalized)
            settings = settings._replace(after=(*kept, inference.normalized) if normalize else kept)
        self.model: Model = load(settings.network) if model is None else model
        if pooling is None and not settings.others:
            settings = settings._replace(pooling=inference.own_pooling(self.model.module))
        longest = batches.longest(self.model.module, self.model.config)
        if max_length is not None:
            settings = settings._replace(max_length=whole("max_length", max_length, 2, longest))
        elif settings.max_length is not None and longest is not None:
            settings = settings._replace(max_length=min(settings.max_length, longest))
        self.settings = settings

    def __call__(
        self, texts: Iterable[str], batch_size: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> Array:
        """The vectors of the texts, float32 (N, D); batch_size, progress: as `inference.sentence_vectors` has them."""
        s = self.settings
        said = listed("texts", texts)
        if s.lower or s.prompt:
            said = [self._said(text) for text in said]
        vectors = inference.sentence_vectors(
            self.model, said, s.pooling, False, s.max_length, batch_size, progress, s.layers
        )
        for step in s.after:
            vectors = step(vectors)
        return vectors.astype(np.float32, copy=False)

    def _said(self, text: Any) -> Any:
        """The text as the network reads it: special tokens in it keep their case."""
        if not isinstance(text, str):
            return text  # refused by the tokenizer
        text, tokenizer = self.settings.prompt + text, self.model.tokenizer
        if not self.settings.lower or tokenizer is None:
            return text
        ids = (getattr(tokenizer, f"{role}_id", None) for role in ("cls", "sep", "mask", "unk", "pad", "bos", "eos"))
        specials = "|".join(re.escape(tokenizer.tokens[i]) for i in ids if i is not None)
        parts = re.split(f"({specials})", text) if specials else [text]
        return "".join(part if i % 2 else "".join(map(str.lower, part)) for i, part in enumerate(parts))


# ---- What a directory says -------------------------------------------------------------------------------------------
def read(folder: Any) -> Settings:
    """How the directory makes vectors; InputError for a setting that is not here."""
    folder = directory.found(folder)
    modules = _modules(folder)
    if not modules:
        return _network(Settings(folder))
    (_, network), *others = modules
    places = tuple(place for _, place in others)
    settings = _network(Settings(network, places, pooling=(), prompt=_prompt(folder)))
    for kind, place in others:
        where = f"{folder / directory.MODULES}: {kind} stands"
        if kind == "WeightedLayerPooling":
            require(not settings.pooling, f"{where} behind the pooling; not implemented")
            settings = settings._replace(layers=_layers(place, network))
        elif kind == "Pooling":
            require(not settings.pooling, f"{folder / directory.MODULES}: two modules pool")
            settings = settings._replace(pooling=_pooling(place, settings.prompt))
        elif kind != "Dropout":
            require(bool(settings.pooling), f"{where} before the pooling; not implemented")
            settings = settings._replace(after=(*settings.after, AFTER[kind](place)))
    require(bool(settings.pooling), f"{folder / directory.MODULES} names no pooling")
    return settings


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of every module, in order; none where the directory does not say."""
    found = []
    for i, (said, place) in enumerate(directory.modules(folder)):
        own, _, kind = str(said).rpartition(".")
        known = OTHERS if i else NETWORKS
        here = own.split(".")[0] == "sentence_transformers" and kind in known
        module = f"{folder / directory.MODULES}: module {i}"
        require(here, f"{module} is {shown(said)}; implemented there: {', '.join(known)}")
        found.append((kind, place))
    return found


def _network(settings: Settings) -> Settings:
    """With what stands beside the network: how long a text may be, and its case."""
    folder = settings.network
    path = next((folder / name for name in READERS if reading.present(folder / name)), None)
    said = {} if path is None else _object(path) or {}
    most, lower = said.pop("max_seq_length", None), said.pop("do_lower_case", None)
    if path is not None:
        _passed(said, NETWORK, path)
        require(lower is None or isinstance(lower, bool), f"{path}: do_lower_case is {shown(lower)}, not true or false")
    if most is None:  # the tokenizer's own: so says the published program where nothing else does
        path = folder / "tokenizer_config.json"
        most = (_object(path) or {}).get("model_max_length")
        most = int(most) if isinstance(most, int | float) and 2 <= most < 2**31 else None
    if most is not None:
        most = whole(f"{path}: max_seq_length", most, 2)
    return settings._replace(max_length=most, lower=bool(lower))


def _pooling(folder: Path, prompt: str) -> tuple[str, ...]:
    path, said = _stated(folder, "how the vectors are pooled")
    older = [ours for key, ours in MODES.items() if said.get(key) is True]
    modes = said.pop("pooling_mode", None)
    modes = older or ["mean"] if modes is None else [modes] if isinstance(modes, str) else modes
    newer = {"mean_sqrt_len_tokens": "mean_sqrt_len"}
    modes = [newer.get(str(mode), mode) for mode in modes] if isinstance(modes, list) else []
    for mode in modes:
        require(mode in MODES.values(), f"{path}: pooling {shown(mode)}; implemented: {', '.join(MODES.values())}")
    require(bool(modes), f"{path}: no pooling is named")
    sizes = dict.fromkeys(("word_embedding_dimension", "embedding_dimension"), ANY)
    told = {key: (True, False) if key in MODES else (False,) for key in said if key.startswith("pooling_mode_")}
    _passed(said, {**sizes, **told, "include_prompt": (True,) if prompt else (True, False)}, path)
    return tuple(modes)


def _layers(folder: Path, network: Path) -> tuple[float, ...]:
    """The weights of the embeddings' and of each layer's states; none where the network does not hand these over, as
    the published program goes on with the last ones then.
    """
    path, said = _stated(folder, "which layers it weights")
    deep, start = (whole(f"{path}: {key}", said.pop(key, default), 0, DEEPEST) for key, default in
                   (("num_hidden_layers", 12), ("layer_start", 4)))  # fmt: skip
    sizes = dict.fromkeys(("word_embedding_dimension", "embedding_dimension"), ANY)
    _passed(said, sizes, path)
    require(start <= deep, f"{path}: layer_start is {start}, of {deep} layers")
    weights = _tensors(folder, {"layer_weights": (deep + 1 - start,)})["layer_weights"]
    require(bool(weights.sum()), f"{folder / directory.WEIGHTS}: the weights of the layers are 0 together")
    if (_object(network / OWN) or {}).get("output_hidden_states") is not True:
        return ()
    return (*[0.0] * start, *map(float, weights))


def _dense(folder: Path) -> Callable[[Array], Array]:
    """x (N, D) -> act(x Wᵀ + b), W (E, D) and b (E,) of the folder's model.safetensors."""
    path, said = _stated(folder, "what the layer is")
    inside, outside, biased = (said.pop(key, default) for key, default in
                               (("in_features", None), ("out_features", None), ("bias", True)))  # fmt: skip
    for name, size in (("in_features", inside), ("out_features", outside)):
        whole(f"{path}: {name}", size, 1, WIDEST)
    named = said.pop("activation_function", "Tanh")
    act = str(named).rpartition(".")[2]
    require(act in ACTIVATIONS, f"{path}: activation_function {shown(named)}; implemented: {', '.join(ACTIVATIONS)}")
    _passed(said, BETWEEN, path)
    layer = _tensors(folder, {"linear.weight": (outside, inside), **({"linear.bias": (outside,)} if biased else {})})
    weight, bias = layer["linear.weight"], layer.get("linear.bias", np.zeros(outside))

    def dense(x: Array) -> Array:
        _require_width(x, inside, f"{path}: in_features")
        y = ops.linear(x, weight.astype(x.dtype), bias.astype(x.dtype))[0]
        return y if ACTIVATIONS[act] is None else ACTIVATIONS[act](y)[0]

    return dense


def _layer_norm(folder: Path) -> Callable[[Array], Array]:
    """x (N, D) -> γ(x - μ)/√(σ² + ε) + β, γ and β (D,) of the folder's model.safetensors."""
    path, said = _stated(folder, "how wide the norm is")
    width = whole(f"{path}: dimension", said.pop("dimension", None), 1, WIDEST)
    _passed(said, {}, path)
    held = _tensors(folder, {"norm.weight": (width,), "norm.bias": (width,)})

    def layer_norm(x: Array) -> Array:
        _require_width(x, width, f"{path}: dimension")
        weight, bias = (held[name].astype(x.dtype) for name in ("norm.weight", "norm.bias"))
        return ops.layer_norm(x, weight, bias, eps=NORM_EPS)[0]

    return layer_norm


def _normalize(folder: Path) -> Callable[[Array], Array]:
    _passed(_object(folder / OWN) or {}, BETWEEN, folder / OWN)
    return inference.normalized


AFTER = {"Dense": _dense, "LayerNorm": _layer_norm, "Normalize": _normalize}


def _stated(folder: Path, what: str) -> tuple[Path, dict[str, Any]]:
    """The config.json of a module that has to have one, and what it says."""
    said = _object(folder / OWN)
    require(said is not None, f"cannot read {folder / OWN}: it has to say {what}")
    return folder / OWN, said


def _tensors(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """The tensors of a module's model.safetensors, which are these and no others."""
    weights = atomic.place(folder / directory.WEIGHTS)
    require(reading.present(weights), f"{folder} has no {directory.WEIGHTS}; other weights are not read")
    held = safetensors.stored(weights)
    for name in {**shapes, **held}:
        fits = name in shapes and name in held and held[name].shape == shapes[name] and held[name].dtype.kind == "f"
        found = f"{held[name].kind} {held[name].shape}" if name in held else "missing"
        require(fits, f"{weights}: tensor {shown(name)} is {found}; due: {shapes.get(name, 'none')} of floats")
    arrays = {name: held[name].load() for name in shapes}
    for name, array in arrays.items():
        require(bool(np.isfinite(array).all()), f"{weights}: tensor {name!r} is not finite")
    return arrays


def _require_width(x: Array, due: int, what: str) -> None:
    require(x.shape[1] == due, f"{what} is {due}, but the vectors have {x.shape[1]} numbers: pool as it says")


def _prompt(folder: Path) -> str:
    """What stands before every text."""
    path = folder / PROMPTS
    said = _object(path) or {}
    name, prompts = said.get("default_prompt_name"), said.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    require(isinstance(prompt, str), f"{path}: default_prompt_name {shown(name)} names no prompt")
    return prompt


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file; None where there is none."""
    place = atomic.place(path)
    if not reading.present(place):
        return None
    said = strictjson.as_written(reading.contents(place), str(path))
    require(isinstance(said, dict), f"{path} is not a JSON object")
    return said


def _passed(said: dict[str, Any], harmless: dict[str, tuple], path: Path) -> None:
    """InputError for a setting that may change a vector, and is not implemented."""
    for key, value in said.items():
        known = key in harmless and (harmless[key] == ANY or value in harmless[key])
        about = f"{path}: {shown(key)} is {shown(value)}, which is not implemented{nearest(key, harmless)}"
        require(value is None or known, about)
