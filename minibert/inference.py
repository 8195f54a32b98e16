"""Using a model on text: sentence vectors, masked words, replaced tokens, and what comes after a text."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from minibert import batches, generation, kernels, objective, signatures, tree
from minibert.config import listed, one_of, shown, whole
from minibert.errors import InputError
from minibert.model import Model

# How the states h (B, T, D) of tokens, w (B, T, 1) of them 1 and of padding behind them 0, become a vector
POOLINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": lambda h, w: (h * w).sum(1) / w.sum(1),
    "cls": lambda h, w: h[:, 0],
    "max": lambda h, w: np.where(w > 0, h, -np.inf).max(1).astype(h.dtype),
    "mean_sqrt_len": lambda h, w: (h * w).sum(1) / np.sqrt(w.sum(1)),
    "weightedmean": lambda h, w: POOLINGS["mean"](h, w * np.arange(1, 1 + h.shape[1], dtype=h.dtype)[:, None]),
    "lasttoken": lambda h, w: h[np.arange(len(h)), w.sum((1, 2)).astype(int) - 1],
    "pooler": lambda h, w: h,
}
READ = {"pooler": "pooler_output"}  # the output that is pooled, where it isn't the last hidden state


class NoToken(InputError):
    """A text without a token; `place`: which of the texts it is, from 0."""

    def __init__(self, message: str, place: int):
        super().__init__(message)
        self.place = place


def _tokenizer(model: Model) -> Any:
    if not isinstance(model, Model):
        raise InputError(f"model {shown(model)}: expected what `minibert.load` returns")
    if model.tokenizer is None:
        raise InputError("this directory has no vocabulary (vocab.txt or tokenizer.json), so it cannot read text")
    return model.tokenizer


def poolings(given: Any) -> tuple[str, ...]:
    """The names of POOLINGS that are given: one, or several, each once."""
    names = (given,) if isinstance(given, str) else tuple(listed("pooling", given))
    for name in names:
        one_of("pooling", name, POOLINGS)
    if not names or len(set(names)) < len(names):
        raise InputError(f"pooling {shown(given)}: expected one or several of {', '.join(POOLINGS)}")
    return names


def own_pooling(module: Any) -> tuple[str, ...]:
    """How a family's vectors of texts are pooled, where nothing else is said."""
    return getattr(module, "POOLING", ("mean",))


def normalized(vectors: np.ndarray) -> np.ndarray:
    """The vectors (N, D) scaled to length 1; one of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def sentence_vectors(
    model: Model,
    texts: Iterable[str],
    pooling: str | Iterable[str] = "mean",
    normalize: bool = False,
    max_length: int | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    layers: Iterable[float] = (),
) -> np.ndarray:
    """One vector a text, (N, D), in the order given.

    pooling: "mean" of the last hidden states over the tokens that are not padding, specials included (Reimers &
    Gurevych 2019, arXiv 1908.10084, section 3), "max" the largest in each place, "cls" the first token's, "lasttoken"
    the last one's, "mean_sqrt_len" the sum divided by the root of their number, "weightedmean" the mean with weights
    1, 2, 3, … from the first on (Muennighoff 2022, arXiv 2202.08904, section 4.1), "pooler" the family's pooler output;
    of several, joined, so that D is that many times the model's width. What else the model's directory says of its
    vectors is for `minibert.embed`. normalize: scaled to length 1. max_length: tokens kept of a text, at most what the
    position table holds. batch_size: texts of a batch, at most; batches are of like length (`batches.alike`) and
    computed beside each other, a thread each; which texts share one changes a vector by rounding alone.
    progress: called with (texts done, texts in all). layers: weights of the states of the embeddings and of each layer,
    whose weighted mean is pooled; without any the last states are.
    """
    tokenizer = _tokenizer(model)
    names = poolings(pooling)
    if "pooler" in names and "pooler" not in model.params and own_pooling(model.module) != names:
        raise InputError("pooling 'pooler' needs the head 'pooler', which these parameters do not have")
    if "cls" in names and tokenizer.cls_id is None:
        raise InputError("pooling 'cls' takes a text's first token, which this vocabulary puts none for: take 'mean'")
    if not isinstance(normalize, bool):
        raise InputError(f"normalize {shown(normalize)}: expected True or False")
    texts, batch_size = listed("texts", texts), whole("batch_size", batch_size, 1)
    longest = batches.longest(model.module, model.config)
    if max_length is not None:
        max_length = whole("max_length", max_length, 2, longest)
    encodings = [tokenizer.encode(text, max_length=max_length or longest) for text in texts]
    bare = next((i for i, encoding in enumerate(encodings) if not encoding.ids), None)
    if bare is not None:
        raise NoToken("an empty text has no token to make a vector of, as none is put around it: leave it out", bare)
    states = getattr(model.module, "STATES", "last_hidden_state")
    wanted, known = [READ.get(name, states) for name in names], model.module.outputs(model.config)
    if not {*wanted} <= {*known} or not hasattr(model.module, "read"):
        raise InputError(f"{model.family} has no states of the tokens of a text to make a vector of")
    dims = [signatures.parse(known[output]).dims for output in wanted]
    if any(own[1] not in model.module.lengths(model.config) for own in dims if len(own) == 3):
        way = f": take {shown(*own_pooling(model.module))}" if "pooler_output" in known else ""
        raise InputError(f"{model.family} gives no state of each token to pool{way}")
    width = sum(int(own[-1]) if own[-1].isdigit() else getattr(model.config, own[-1]) for own in dims)
    vectors = np.zeros((len(encodings), width), tree.leaves(model.params)[0].dtype)
    layers, read = tuple(layers), dict.fromkeys((*wanted, "hidden_states") if layers else wanted)

    def read_and_pooled(rows: list[int]) -> int:
        inputs = model.module.read([encodings[i] for i in rows], tokenizer.pad_id)
        out = model.encode(outputs=read, **inputs)
        if layers:
            out["last_hidden_state"] = _blended(out["hidden_states"], layers)
        (mask, _), *_ = model.module.lengths(model.config).values()
        there = inputs[mask] if inputs[mask].ndim == 2 else inputs[mask].any(1)  # of who sees whom: what anybody sees
        weights = there.astype(vectors.dtype)[:, :, None]
        pooled = [POOLINGS[name](out[output], weights) for name, output in zip(names, wanted, strict=True)]
        vectors[rows] = np.concatenate(pooled, axis=1)
        return len(rows)

    done = 0
    for count in kernels.beside(read_and_pooled, batches.alike([len(e.ids) for e in encodings], batch_size)):
        done += count
        if progress:
            progress(done, len(encodings))
    return normalized(vectors) if normalize else vectors


def _blended(states: list[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    """Σ wᵢ hᵢ / Σ wᵢ."""
    if len(states) != len(weights):
        raise InputError(f"{len(weights)} weights of layers' states, of which the model has {len(states)}")
    total = sum(h * h.dtype.type(w) for h, w in zip(states, weights, strict=True) if w)
    return total / total.dtype.type(sum(weights))


def encoded(model: Model, text: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The text's tokens, which have to fit the model whole, and the inputs that they are."""
    encoding, longest = _tokenizer(model).encode(text), batches.longest(model.module, model.config)
    if not encoding.ids:
        raise InputError("the text is empty: it has no token, as none is put around it")
    if longest is not None and len(encoding.ids) > longest:
        raise InputError(f"the text has {len(encoding.ids)} tokens, this model takes {longest}; shorten it")
    return encoding, model.checked_inputs(model.module.read([encoding], model.tokenizer.pad_id))


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
    encoding, inputs = encoded(model, text)
    places = [i for i, token in enumerate(encoding.ids) if token == tokenizer.mask_id]
    if not places:
        raise InputError(f"no {tokenizer.tokens[tokenizer.mask_id]} in {text[:60]!r}; write it where a word is missing")
    logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", (0, np.array(places)))
    return likeliest(logits, tokenizer, top)


def likeliest(logits: np.ndarray, tokenizer: Any, top: int) -> list[list[Guess]]:
    """The `top` most probable tokens by each row of logits (N, V), without rows of a table beyond the vocabulary."""
    logits = logits[:, : len(tokenizer)].astype(np.float64)
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
    encoding, inputs = encoded(model, text)
    logits = objective.predict(model.module, model.params, model.config, inputs, "replaced_token")[0].astype(np.float64)
    probabilities = np.exp(-np.logaddexp(0, -logits))
    rows = list(zip(encoding.tokens, encoding.ids, encoding.offsets, probabilities, strict=True))
    return [Suspicion(token, int(i), *span, float(p)) for token, i, span, p in rows[1:-1]]


class Continuation(NamedTuple):
    """What was written after a text (of a model that reads a source: for it): its text, the ids of its tokens, the end
    too if it was met, and its score (`generation.Written`).
    """

    prompt: str
    text: str
    ids: list[int]
    score: float


def continued(
    model: Model, texts: Iterable[str], batch_size: int = 8, first: int = 0,
    show: Callable[[str], object] | None = None, **settings: Any,
) -> Iterator[Continuation]:  # fmt: skip
    """What `model.generate` writes after each text, in the order given; settings: its own.

    A text without tokens begins with bos_token_id. batch_size: texts that are read and answered together; which ones
    are changes an answer by rounding alone. first: the number of the first text among those of one seed. show: called
    with more and more of the text as it is written, never with a part of a character, and with beams at the end; for
    one text at a time.
    """
    tokenizer, batch_size = _tokenizer(model), whole("batch_size", batch_size, 1)
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise InputError(f"texts {shown(texts)}: expected several")
    number, behind = whole("first", first), len(getattr(model.writer, "behind", ()))
    for part in _parts(texts, 1 if show else batch_size):
        encodings = [tokenizer.encode(text) for text in part]
        read = [encoding.ids[: len(encoding.ids) - behind] for encoding in encodings]
        for rows in _together(model, [len(ids) for ids in read], settings):
            decoded, grown = [_decoded(model, read[i]) for i in rows], _growing(show or str)
            progress = _decoding(decoded[0], grown) if show else None
            inputs = _inputs(model, [encodings[i] for i in rows], [read[i] for i in rows])
            written = model.written(**inputs, first=number, progress=progress, **settings)
            number += len(rows)
            begin = written.ids.shape[1] - int(written.lengths.max())
            for n, i in enumerate(rows):
                ids = written.ids[n, begin : begin + int(written.lengths[n])].tolist()
                text = decoded[n](ids)
                grown(text, last=True)
                yield Continuation(part[i], text, ids, float(written.scores[n]))


def _parts(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """So many at a time, or fewer where the next one cannot be read: then they are answered before that is said."""
    part: list[str] = []
    try:
        for text in texts:
            part.append(text)
            if len(part) == size:
                yield part
                part = []
    except InputError:
        if part:
            yield part
        raise
    if part:
        yield part


def _decoding(decoded: Callable[[list[int]], str], grown: Callable[[str], object]) -> generation.Progress:
    """What is told of each token of one row, and tells of the text so far."""
    ids: list[int] = []

    def progress(new: np.ndarray) -> None:
        ids.extend(new.tolist())
        grown(decoded(ids))

    return progress


def _growing(show: Callable[[str], object]) -> Callable[..., None]:
    """What is told of a text as it grows, and shows what is new: a character not before its last byte has come."""
    so_far = ""

    def grown(text: str, last: bool = False) -> None:
        nonlocal so_far
        whole = text if last else text.removesuffix("\ufffd")  # stands for bytes that may still be completed
        if whole.startswith(so_far):
            show(whole[len(so_far) :])
            so_far = whole

    return grown


def _together(model: Model, lengths: list[int], settings: dict[str, Any]) -> list[list[int]]:
    """Which texts, of so many tokens, are read together: neighbours. By itself is one without tokens, and one that may
    not become as long as the others; all where a row's own length counts, to which padding would add, or nothing marks
    padding. A source is read whole: what is written behind it takes none of its places.
    """
    specs, said = model.writer.inputs(model.config), {**generation.stated(model.generation, model.config), **settings}
    letter = signatures.parse(specs[generation.PROMPT]).dims[1]
    _, most = model.writer.lengths(model.config).get(letter, (None, None))
    new, sourced = said.get("max_new_tokens"), generation.WRITTEN in specs
    new = 1 if sourced else new if isinstance(new, int) else generation.DEFAULT_NEW  # what is none is refused later
    counted = any(said.get(name) for name in ("max_length", "min_length")) or not generation.padded(specs)
    counted = counted and not sourced
    fits = [length > 0 and (most is None or length + new - 1 <= most) and not counted for length in lengths]
    grouped = groupby(range(len(lengths)), key=lambda i: fits[i] or -i - 1)
    return [list(group) for _, group in grouped]


def _inputs(model: Model, encodings: list[Any], read: list[list[int]]) -> dict[str, np.ndarray]:
    """The inputs of `generate`: of one with a source the texts as its `encode` reads them, else the ids to go on from,
    padded on the left.
    """
    specs = model.writer.inputs(model.config)
    if generation.WRITTEN in specs:
        return model.module.read(encodings, model.tokenizer.pad_id)
    lengths = np.array([len(ids) for ids in read])
    if not lengths.all():
        return {}
    mask = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(read)
    return {generation.PROMPT: ids, generation.MASK: mask} if generation.padded(specs) else {generation.PROMPT: ids}


def _decoded(model: Model, read: list[int]) -> Callable[[list[int]], str]:
    """The text of the ids that have any, behind those that were read: rows of the table beyond the vocabulary are
    padding. What is written for a source may tell by special tokens which of its gaps it fills: those that have no
    other role are shown.
    """
    tokenizer, sourced = model.tokenizer, generation.WRITTEN in model.writer.inputs(model.config)
    ends = {getattr(tokenizer, f"{role}_id") for role in ("pad", "bos", "eos", "cls", "sep", "mask", "unk")}
    skipped = ends if sourced else tokenizer.special_ids

    def text(ids: list[int]) -> str:
        return tokenizer.decode([i for i in ids if i < len(tokenizer) and i not in skipped], skip_special_tokens=False)

    before = [] if sourced else read
    begun = text(before)

    def decoded(ids: list[int]) -> str:
        whole = text([*before, *ids])
        return whole[len(begun) :] if whole.startswith(begun) else text(ids)

    return decoded
