"""Using a model on text: sentence vectors, masked words, replaced tokens."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, objective, signatures, tree
from minibert.config import listed, one_of, shown, whole
from minibert.errors import InputError
from minibert.model import Model

POOLINGS = ("mean", "cls", "pooler")


def _tokenizer(model: Model) -> Any:
    if not isinstance(model, Model):
        raise InputError(f"model {shown(model)}: expected what `minibert.load` returns")
    if model.tokenizer is None:
        raise InputError("this directory has no vocabulary (vocab.txt or tokenizer.json), so it cannot read text")
    return model.tokenizer


def sentence_vectors(
    model: Model,
    texts: Iterable[str],
    pooling: str = "mean",
    normalize: bool = False,
    max_length: int | None = None,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """One vector a text, (N, D), in the order given.

    pooling: "mean" of the last hidden states over the tokens that are not padding, specials included (Reimers &
    Gurevych 2019, arXiv 1908.10084, section 3), "cls" the first of them, "pooler" the family's pooler output.
    normalize: scaled to length 1. max_length: tokens kept of a text, at most what the position table holds.
    progress: called with (texts done, texts in all). Texts are read in order of length, the longest first, so that
    batches hold little padding and the memory of one serves the next; which texts share a batch changes a vector by
    rounding alone.
    """
    tokenizer = _tokenizer(model)
    one_of("pooling", pooling, POOLINGS)
    if pooling == "pooler" and "pooler" not in model.params:
        raise InputError("pooling 'pooler' needs the head 'pooler', which these parameters do not have")
    if pooling == "cls" and tokenizer.cls_id is None:
        raise InputError("pooling 'cls' takes a text's first token, which this vocabulary puts none for: take 'mean'")
    if not isinstance(normalize, bool):
        raise InputError(f"normalize {shown(normalize)}: expected True or False")
    texts, batch_size = listed("texts", texts), whole("batch_size", batch_size, 1)
    longest = batches.longest(model.module, model.config)
    if max_length is not None:
        max_length = whole("max_length", max_length, 2, longest)
    encodings = [tokenizer.encode(text, max_length=max_length or longest) for text in texts]
    if not all(encoding.ids for encoding in encodings):
        raise InputError("an empty text has no token to make a vector of, as none is put around it: leave it out")
    order = sorted(range(len(encodings)), key=lambda i: -len(encodings[i].ids))
    wanted, known = "pooler_output" if pooling == "pooler" else "last_hidden_state", model.module.outputs(model.config)
    if wanted not in known or not hasattr(model.module, "read"):
        raise InputError(f"{model.family} has no states of the tokens of a text to make a vector of")
    width = getattr(model.config, signatures.parse(known[wanted]).dims[-1])
    vectors = np.zeros((len(encodings), width), tree.leaves(model.params)[0].dtype)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = model.module.read([encodings[i] for i in rows], tokenizer.pad_id)
        out = model.encode(outputs=[wanted], **inputs)[wanted]
        if pooling == "mean":
            (mask, _), *_ = model.module.lengths(model.config).values()
            weights = inputs[mask].astype(out.dtype)[:, :, None]
            out = (out * weights).sum(1) / weights.sum(1)
        elif pooling == "cls":
            out = out[:, 0]
        vectors[rows] = out
        if progress:
            progress(min(start + batch_size, len(order)), len(order))
    if normalize:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(lengths == 0, 1, lengths)
    return vectors


def _encoding(model: Model, text: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The text's tokens, which have to fit the model whole, and the inputs that they are."""
    encoding, longest = _tokenizer(model).encode(text), batches.longest(model.module, model.config)
    if not encoding.ids:
        raise InputError("the text is empty: it has no token, as none is put around it")
    if len(encoding.ids) > longest:
        raise InputError(f"the text has {len(encoding.ids)} tokens, this model takes {longest}; shorten it")
    return encoding, model.module.read([encoding], model.tokenizer.pad_id)


class Guess(NamedTuple):
    """A token for a masked position, with its id and probability."""

    token: str
    id: int
    probability: float


def masked_words(model: Model, text: str, top: int = 5) -> list[list[Guess]]:
    """For each [MASK] of the text, in order, the `top` most probable tokens."""
    tokenizer, top = _tokenizer(model), whole("top", top, 1)
    if "masked_lm" not in model.module.terms(model.config) and not hasattr(model.module, "predict"):
        raise InputError(f"{model.family} has no head that fills masks")
    if tokenizer.mask_id is None:
        raise InputError("this vocabulary has no mask token, so no text has a place to fill")
    encoding, inputs = _encoding(model, text)
    places = [i for i, token in enumerate(encoding.ids) if token == tokenizer.mask_id]
    if not places:
        raise InputError(f"no {tokenizer.tokens[tokenizer.mask_id]} in {text[:60]!r}; write it where a word is missing")
    logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", (0, np.array(places)))
    logits = logits[:, : len(tokenizer)].astype(np.float64)  # rows beyond the vocabulary are padding of the table
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    return [
        [Guess(tokenizer.tokens[i], int(i), float(row[i])) for i in np.argsort(-row, kind="stable")[:top]]
        for row in probabilities
    ]


class Suspicion(NamedTuple):
    """A token of a text, with its id, its characters [start, end) there, and the probability that it was replaced."""

    token: str
    id: int
    start: int
    end: int
    probability: float


def replaced_tokens(model: Model, text: str) -> list[Suspicion]:
    """Every token of the text but the special ones around it, in order, as an ELECTRA discriminator sees it."""
    _tokenizer(model)
    if "replaced_token" not in model.module.terms(model.config) and not hasattr(model.module, "predict"):
        raise InputError(f"{model.family} has no head that tells replaced tokens; ELECTRA's discriminator has one")
    encoding, inputs = _encoding(model, text)
    logits = objective.predict(model.module, model.params, model.config, inputs, "replaced_token")[0].astype(np.float64)
    probabilities = np.exp(-np.logaddexp(0, -logits))
    rows = list(zip(encoding.tokens, encoding.ids, encoding.offsets, probabilities, strict=True))
    return [Suspicion(token, int(i), *span, float(p)) for token, i, span, p in rows[1:-1]]
