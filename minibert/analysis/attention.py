"""What every head attends to: the weights that `ops.attention` used in one run over a text, whatever the family.

    A = softmax(Q Kᵀ / √K + bias), its rows sum to 1: row t is how much token t takes from each token s             (1)

(Vaswani et al. 2017, arXiv 1706.03762, section 3.2.1.) They are read off the run (`trace`), under the path of their
call in the network: "encoder.0", "decoder.1.cross_attention"; a layer that is used twice has two.
"""

from typing import NamedTuple

import numpy as np

from minibert import generation, inference, trace
from minibert.config import require
from minibert.heads import target_token
from minibert.model import Model

Array = np.ndarray


class Map(NamedTuple):
    """(1) of one layer: its path, the weights (H, T, S) of its heads, and the tokens that ask and that are asked."""

    name: str
    weights: Array
    asking: list[str]
    asked: list[str]


def maps(model: Model, text: str, target: str | None = None) -> list[Map]:
    """The maps of a text, in the order of the run, in evaluation.

    target: of an encoder with a decoder, what it reads there; what it writes for the text itself unless given. Raises
    InputError for a text without tokens or longer than the model takes, a target where nothing reads one, and a model
    without attention or without a vocabulary.
    """
    encoding, inputs = inference.encoded(model, text)
    tokens = {generation.PROMPT: encoding.ids}
    if generation.WRITTEN in model.module.inputs(model.config):
        inputs[generation.WRITTEN] = _written(model, inputs, target)
        tokens[generation.WRITTEN] = inputs[generation.WRITTEN][0].tolist()
    else:
        require(target is None, f"{model.family} reads one text: there is no target")
    with trace.recording() as record:
        out, cache = model.module.encode(model.params, model.config, inputs)
    calls = {path: event.part("probs")[0][0] for path, event in record.named(cache).items() if event.op == "attention"}
    if hasattr(model.module, "maps"):  # its calls are of pieces of the text
        calls = model.module.maps(model.config, inputs, out)
    require(bool(calls), f"{model.family} has no attention")
    named = {side: _tokens(model, ids) for side, ids in tokens.items()}
    return [_map(path, weights, named) for path, weights in calls.items()]


def _written(model: Model, inputs: dict[str, Array], target: str | None) -> Array:
    """The ids (1, S) that the decoder reads: its start and the target's but the last, or what it writes itself."""
    if target is None:
        return model.generate(**inputs)
    ids = model.tokenizer.encode(target).ids
    require(bool(ids), "the target is empty: it has no token")
    return target_token.shifted(np.array([ids]), model.config.decoder_start_token_id, model.config.pad_token_id)


def _tokens(model: Model, ids: list[int]) -> list[str]:
    known = model.tokenizer.tokens
    return [known[i] if i < len(known) else f"#{i}" for i in ids]


def _map(path: str, weights: Array, tokens: dict[str, list[str]]) -> Map:
    """The map of a call. An encoder's tokens are those of the text, a decoder's those that it reads, and in cross
    attention it asks the encoder's; a memory before the text has no tokens.
    """
    text = tokens[generation.PROMPT]
    asking = tokens.get(generation.WRITTEN, text) if path.startswith("decoder") else text
    asked = text if "cross_attention" in path else asking
    before = [f"memory {i}" for i in range(weights.shape[-1] - len(asked))]
    return Map(_shortened(path), weights, asking, [*before, *asked])


def _shortened(path: str) -> str:
    """The path of a layer's one attention is the layer's: "encoder.0.attention.attention" is "encoder.0"."""
    parts = path.split(".")
    while parts[-1] in ("attention", "scores"):
        parts.pop()
    return ".".join(parts)
