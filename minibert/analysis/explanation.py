"""A text on its way through a model, stop by stop, and the gradient of the loss on its way back.

Every stop is a call of an op in one run (`trace`): what it gave, and what came back for it, d loss / d that. The loss
is that of the family's own terms as far as one text has their labels: a token that is hidden and asked for, each next
token, or a text to be written; "yes, these belong together" where it decides about sentences. Where it has none, there
is no way back.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert import inference, objective, signatures, tasks, trace, tree
from minibert.config import require, whole
from minibert.heads import target_token
from minibert.model import Model
from minibert.pairs import PAIRS

Array = np.ndarray
REARRANGED = ("split_heads", "merge_heads", "dropout")  # which change no number of a text that is read in evaluation
HIDDEN = ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")


@dataclass(frozen=True)
class Stop:
    """path: of the call in the run; op: its name; formula: the beginning of its docstring; names: of the rows of
    `value`, (rows, columns); back: the gradient of the loss by it, None without one; weights, scores_back: (H, T, S)
    of attention, its weights and the gradient of its scores; asked: the names of their columns.
    """

    path: str
    op: str
    formula: str
    names: list[str]
    value: Array
    back: Array | None
    weights: Array | None = None
    scores_back: Array | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where in the model it is: "embeddings", "encoder.0", "masked_lm"."""
        parts = self.path.removeprefix("encode.").split(".")
        return ".".join(parts[:2] if len(parts) > 1 and parts[1].isdecimal() else parts[:1])


@dataclass(frozen=True)
class Walk:
    """tokens: those read, the hidden one as it is hidden; hidden: (place, the token that is asked for), or None;
    stops: in the order of the run; terms: of the loss, none where there is no way back; loss: their weighted sum, or
    None; gradients: the norm of d loss / d each parameter; guesses: the likeliest tokens for what is hidden.
    """

    tokens: list[str]
    hidden: tuple[int, str] | None
    stops: list[Stop]
    terms: dict[str, float]
    loss: float | None
    gradients: dict[str, float]
    guesses: list[inference.Guess]


def walked(model: Model, text: str, hide: int | None = None, target: str | None = None) -> Walk:
    """The walk of a text through the model, in evaluation.

    hide: the place of the token that a masked head is asked for; the last of the text's own unless given. target: of an
    encoder with a decoder, what is to be written; the text itself unless given. Raises InputError as
    `inference.encoded` does, for a place without a token, a target where none is written, and a text of another kind
    than the family's inputs ask for.
    """
    encoding, inputs = inference.encoded(model, text)
    hidden, batch = _asked(model, encoding, inputs, hide, target)
    with trace.recording() as record:
        if batch is None:
            _, cache = model.module.encode(model.params, model.config, inputs)
            cache, terms, loss, gradients = {"encode": cache}, {}, None, {}
        else:
            value, cache = model.loss(batch)
            flat = tree.flatten(model.loss_backward(cache))
            gradients = {path: float(np.linalg.norm(g)) for path, g in flat.items()}
            terms, loss = {name: float(term) for name, term in cache["terms"].items()}, float(value)
    read = batch or inputs
    tokens = _tokens(model, read["input_ids"][0])
    written = _tokens(model, read["decoder_input_ids"][0]) if "decoder_input_ids" in read else None
    stops = [stop for path, event in record.named(cache).items() if event.op in PAIRS and event.op not in REARRANGED
             for stop in _stops(path, event, tokens, written)]  # fmt: skip
    require(bool(stops), f"{model.family}: nothing of it runs over a text")
    return Walk(tokens, hidden, stops, terms, loss, gradients, _guesses(model, read, hidden))


def _asked(
    model: Model, encoding: Any, inputs: dict[str, Array], hide: int | None, target: str | None
) -> tuple[tuple[int, str] | None, dict[str, Array] | None]:
    """((place, token) of what is hidden, the batch with labels); no batch where one text does not say them."""
    specs = {name: signatures.parse(spec) for name, spec in objective.labels(model.network, model.config).items()}
    written = "decoder_input_ids" in model.module.inputs(model.config)
    require(target is None or written, f"{model.family} writes no text for another: there is no target")
    batch, hidden = dict(inputs), None
    if specs.keys() >= {*HIDDEN} and model.tokenizer.mask_id is not None:
        place = _place(model, encoding, hide)
        hidden = place, encoding.tokens[place]
        ids = np.array(inputs["input_ids"])
        ids[0, place] = model.tokenizer.mask_id
        batch |= {"input_ids": ids, "masked_lm_positions": np.array([[place]]),
                  "masked_lm_ids": inputs["input_ids"][:, [place]], "masked_lm_weights": np.ones((1, 1))}  # fmt: skip
    elif "labels" in specs and len(specs["labels"].dims) == 2 and not _decides(model):
        asked = model.tokenizer.encode(target).ids if target is not None else encoding.ids
        require(bool(asked), "the target is empty: it has no token")
        batch["labels"] = np.array([asked])
        if written:
            start, pad = model.config.decoder_start_token_id, model.config.pad_token_id
            batch["decoder_input_ids"] = target_token.shifted(batch["labels"], start, pad)
    batch |= {name: np.zeros(1, np.int64) for name, spec in specs.items() if spec.dims == ("B",) and not spec.optional}
    lacking = [name for name, spec in specs.items() if not spec.optional and name not in batch]
    asks = any(name in batch for name in specs)
    return (hidden, batch) if asks and not lacking else (None, None)


def _decides(model: Model) -> bool:
    """Whether its labels are classes, which a text does not say, not tokens."""
    return any(task.head.READS != tasks.OWN for task in model.uses)


def _place(model: Model, encoding: Any, hide: int | None) -> int:
    own = [i for i, id in enumerate(encoding.ids) if id not in model.tokenizer.special_ids]
    require(bool(own), "the text has no token of its own that could be hidden")
    if hide is None:
        return own[-1]
    place = whole("hide", hide, 0, len(encoding.ids) - 1)
    require(place in own, f"hide {place}: {encoding.tokens[place]!r} is no token of the text; there are {own}")
    return place


def _tokens(model: Model, ids: Array) -> list[str]:
    known = model.tokenizer.tokens
    return [known[i] if i < len(known) else f"#{i}" for i in ids.tolist()]


def _stops(path: str, event: trace.Event, tokens: list[str], written: list[str] | None) -> Iterator[Stop]:
    value = event.output
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return
    given = PAIRS[event.op].forward
    formula = inspect.getdoc(given).split("\n\n")[0].replace("\n", " ")
    side = written if written is not None and ("decoder" in path or "target" in path) else tokens
    back = event.cotangent if isinstance(event.cotangent, np.ndarray) else None
    rows, columns = -1, value.shape[-1]
    if value.ndim == 4:  # (1, H, T, K): heads side by side
        merged = [None if a is None else np.moveaxis(a[0], 0, 1).reshape(a.shape[2], -1) for a in (value, back)]
    else:
        merged = [None if a is None else np.reshape(a, (rows, columns)) for a in (value, back)]
    count = len(merged[0])
    names = side if count == len(side) else [""] if count == 1 else [str(i) for i in range(count)]
    more: dict[str, Any] = {}
    if event.op == "attention":
        weights, scores = event.part("probs"), event.part("scores")
        asked = tokens if weights[0].shape[-1] == len(tokens) else side
        more = {"weights": weights[0][0], "asked": asked}
        more["scores_back"] = None if scores[1] is None else scores[1][0]
    yield Stop(path, event.op, formula, names, *merged, **more)


def _guesses(model: Model, batch: dict[str, Array], hidden: tuple[int, str] | None) -> list[inference.Guess]:
    """The ten likeliest tokens in the place of what is hidden."""
    if hidden is None:
        return []
    inputs = {name: batch[name] for name in model.module.inputs(model.config) if name in batch}
    at = 0, np.array([hidden[0]])
    logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", at)
    return inference.likeliest(logits, model.tokenizer, 10)[0]
