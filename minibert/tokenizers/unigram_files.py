"""The files of a published ALBERT or T5 tokenizer: spiece.model, tokenizer.json and the two files of settings beside
them.

T5's pieces begin with <pad> </s> <unk>. Its sentinels, <extra_id_99> to <extra_id_0>, are the last ids: of a
tokenizer.json pieces, or added tokens; a spiece.model has none, and the settings say how many follow, 100 unless they
do. Nothing is done to a text but what the spiece.model says.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, published, sentencepiece_model, settings
from minibert.tokenizers.added import Added
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.normalization import META, Charsmap, Fast, Released
from minibert.tokenizers.sentencepiece_model import BYTE, CONTROL, LARGEST_SCORE, NORMAL, UNKNOWN, USER_DEFINED, Model

SPECIALS = {"pad": "<pad>", "unk": "<unk>", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
T5 = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
XLNET = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "cls": "<cls>", "sep": "<sep>", "pad": "<pad>", "mask": "<mask>"}
ROLES = {*SPECIALS, *T5, *XLNET}
CLASSES = ("AlbertTokenizer", "T5Tokenizer", "MT5Tokenizer", "XLNetTokenizer")
EXTRA_IDS = 100
MODELS = ("spiece.model", "sentencepiece.bpe.model", "sentencepiece.model")  # the first is ALBERT's
_QUOTES = [{"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in ("``", "''")]
_ACCENTS = [{"type": "NFKD"}, {"type": "StripAccents"}]
_LOWERCASE = {"type": "Lowercase"}
_COLLAPSE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
_SPLIT = {"type": "WhitespaceSplit"}


def arguments(path: str | os.PathLike, prepared: bool) -> dict[str, Any]:
    """The arguments of `Unigram` that a directory, its tokenizer.json (preferred) or its spiece.model stands for."""
    path = published.found(path, *MODELS)
    whole = path.suffix == ".json"
    said, source = settings.read(path, CLASSES, whole)
    if whole:
        content = published.whole(path)
        items = published.value(published.model(content, "Unigram", path), "vocab", list, path)
        usual = _usual(said, [item[0] for item in items[:3] if isinstance(item, list) and item])
    else:
        model = sentencepiece_model.read(path)
        usual = _usual(said, model.pieces[:3]) if not model.bpe else _there(model)
    specials = settings.specials(said, usual, source)
    case = settings.flags(said, ("do_lower_case", "keep_accents"), source)
    if whole:
        found = _whole(content, path, (said, source), specials)
        actual = {"do_lower_case": found["normal"].lowercase, "keep_accents": not found["normal"].strip_accents}
        settings.agree(actual, case, path)
        return found
    symbols = [piece for piece, kind in zip(model.pieces, model.types, strict=True) if kind == USER_DEFINED]
    with published.named(path):
        charsmap = Charsmap(model.charsmap)
    normal = Released(
        charsmap,
        model.add_dummy_prefix,
        model.remove_extra_whitespaces,
        symbols,
        prepared and usual is not T5 and not model.bpe,
        case.get("do_lower_case", True),
        case.get("keep_accents", False),
    )
    kept = {token: Added(lstrip=role == "mask") for role, token in specials.items()}
    added = settings.added(said, source, specials, model.pieces)
    if usual is T5:
        added = dict.fromkeys(sentinels(_extra_ids(said, source)), Added()) | added
    added |= {token: how for token, how in kept.items() if token not in added}
    return {"model": model, "normal": normal, "specials": specials, "added": added}


def _usual(said: Mapping[str, Any], first: list[str]) -> Mapping[str, str]:
    """The roles and their tokens, where settings don't name others: T5's of its classes and, where no class is said, of
    vocabularies that begin as its does; XLNet's of its class.
    """
    name = said.get("tokenizer_class")
    if "XLNet" in str(name):
        return XLNET
    t5 = first == list(T5.values()) if name is None else "T5" in str(name)
    return T5 if t5 else SPECIALS


def _there(model: Model) -> Mapping[str, str]:
    """The usual tokens that a model of byte-pair encoding has, under whatever name what is unknown."""
    usual = {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}
    return {role: token for role, token in usual.items() if token in model.pieces} | {
        "unk": model.pieces[model.types.index(UNKNOWN)] if UNKNOWN in model.types else "<unk>"
    }


def check_roles(specials: Mapping[str, str]) -> None:
    """InputError for a role that there isn't, for none of what is unknown, and for what is no token."""
    if not {"unk"} <= specials.keys() <= ROLES or not all(isinstance(token, str) for token in specials.values()):
        raise InputError(f"special tokens: unk, and any of {', '.join(sorted(ROLES))}, are due, not {shown(specials)}")


def sentinels(count: int) -> list[str]:
    """T5's, in the order of their ids."""
    return [f"<extra_id_{i}>" for i in reversed(range(count))]


def _extra_ids(said: Mapping[str, Any], source: Path) -> int:
    count = published.value({"extra_ids": EXTRA_IDS} | dict(said), "extra_ids", int, source)
    most = encoding.MOST_ADDED
    if not 0 <= count <= most:
        raise InputError(f"{source}: extra_ids is {count}; it is a number of 0 .. {most}")
    return count


def write(
    directory: str | os.PathLike,
    model: Model,
    normal: Released | Fast,
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, Added]],
    around: Layout,
    check: Callable[[Path], object],
) -> None:
    """The files, together or not at all; added: id -> (token, how it is kept whole); check: as in `published`.

    What follows SentencePiece has no tokenizer.json: read from one it would follow the other program, to other ids.
    """
    if isinstance(normal, Released):
        accents, content = normal.keep_accents, None
        model = replace(model, add_dummy_prefix=normal.dummy_prefix, remove_extra_whitespaces=normal.collapse)
    else:
        accents, content = not normal.strip_accents, _tokenizer(model, normal, added, around)
        model = replace(model, add_dummy_prefix=normal.prepend != "never", remove_extra_whitespaces=True)
    model = replace(model, charsmap=normal.charsmap.data)
    extra = [token for token, _ in added.values() if token in {*sentinels(len(added))}]
    own = {} if "cls" in specials else {"extra_ids": len(extra), "additional_special_tokens": extra[::-1]}
    kind = CLASSES[1] if "cls" not in specials else CLASSES[3] if specials["cls"] == XLNET["cls"] else CLASSES[0]
    said = {
        "tokenizer_class": kind,
        **own,
        "do_lower_case": normal.lowercase,
        "keep_accents": accents,
        **{f"{role}_token": token for role, token in specials.items()},
        "added_tokens_decoder": {str(i): entry for i, entry in published.entries_of(added).items()},
    }
    published.write(directory, {MODELS[0]: sentencepiece_model.encoded(model)}, content, said, check)


def _tokenizer(
    model: Model, normal: Fast, added: Mapping[int, tuple[str, Added]], around: Layout
) -> dict[str, Any]:
    """The content of tokenizer.json."""
    charsmap = base64.b64encode(normal.charsmap.data).decode("ascii")
    steps = [
        *(_QUOTES if normal.quotes else []),
        *(_ACCENTS if normal.strip_accents else []),
        *([_LOWERCASE] if normal.lowercase else []),
        *([{"type": "Precompiled", "precompiled_charsmap": charsmap}] if charsmap else []),
        *([_COLLAPSE] if normal.collapse else []),
    ]
    metaspace = _metaspace(normal.prepend)
    splitters = [_SPLIT, metaspace] if normal.split else [metaspace]
    ids = {piece: i for i, piece in enumerate(model.pieces)} | {token: i for i, (token, _) in added.items()}
    return published.tokenizer(
        added,
        normalizer={"type": "Sequence", "normalizers": steps},
        pre_tokenizer={"type": "Sequence", "pretokenizers": splitters} if normal.split else metaspace,
        post_processor=layout.template(around, ids),
        decoder=metaspace,
        model={
            "type": "Unigram",
            "unk_id": model.types.index(UNKNOWN),
            "vocab": [list(item) for item in zip(model.pieces, model.scores, strict=True)],
            "byte_fallback": model.byte_fallback,
        },
    )


def _metaspace(prepend: str) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": META, "prepend_scheme": prepend, "split": True}


def _whole(
    content: dict[str, Any], path: Path, beside: tuple[dict[str, Any], Path], specials: dict[str, str]
) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `beside`: what settings say and where, `specials`: of it the roles."""
    model = published.model(content, "Unigram", path)
    published.same({"alpha": model.get("alpha"), "nbest_size": model.get("nbest_size")},
                    {"alpha": None, "nbest_size": None}, f"{path}: model")  # fmt: skip
    pieces, scores = _vocabulary(model, path)
    unknown = published.value(model, "unk_id", int, path)
    if not 0 <= unknown < len(pieces):
        raise InputError(f"{path}: unk_id {unknown} is outside 0 .. {len(pieces) - 1}")
    ids = {piece: i for i, piece in enumerate(pieces)}
    if len(ids) < len(pieces):
        raise InputError(f"{path}: {len(pieces) - len(ids)} pieces stand twice in the vocabulary")
    specials = specials | {"unk": pieces[unknown]}
    entries = published.entries(content, path)
    added = settings.added(*beside, specials, pieces, entries)
    _, known = encoding.with_added(pieces, added)
    around = published.around(content, known, path)
    if around.trimmed:
        raise InputError(f"{path}: post_processor trims offsets, which is not supported of these pieces")
    specials |= {role: token for role, token in around.ends.items() if role in specials}
    byte_fallback = bool(model.get("byte_fallback")) and published.value(model, "byte_fallback", bool, path)
    types = [BYTE if byte_fallback and piece in _SPELT else NORMAL for piece in pieces]
    for token, how in added.items():
        if token in ids:
            types[ids[token]] = CONTROL if how.special else USER_DEFINED
    for token in specials.values():
        if token in ids:
            types[ids[token]] = CONTROL
    types[unknown] = UNKNOWN
    normal = _normal(content, path)
    rules = "nmt_nfkc" if normal.charsmap.data else "identity"
    table = Model(pieces, scores, types, normal.charsmap.data, rules, byte_fallback=byte_fallback)
    return {"model": table, "normal": normal, "specials": specials, "added": added, "around": around}


_SPELT = frozenset(f"<0x{byte:02X}>" for byte in range(256))


def _vocabulary(model: dict[str, Any], path: Path) -> tuple[list[str], list[float]]:
    items = published.value(model, "vocab", list, path)
    pieces, scores = [], []
    for i, item in enumerate(items):
        pair = item if isinstance(item, list) and len(item) == 2 else (None, None)
        if not isinstance(pair[0], str) or type(pair[1]) not in (int, float) or not abs(pair[1]) <= LARGEST_SCORE:
            score = f"a piece and its score, at most {LARGEST_SCORE:g} either way"
            raise InputError(f"{path}: item {i} of the vocabulary is {shown(item)}, not {score}")
        pieces.append(pair[0])
        scores.append(float(pair[1]))
    return pieces, scores


def _normal(content: dict[str, Any], path: Path) -> Fast:
    """The normalizers and pre-tokenizers, each known and in the order in which the published converter writes them."""
    options: dict[str, Any] = {}
    steps = published.sequence(content.get("normalizer"), "normalizers", path)
    kinds = [("quotes", _QUOTES), ("strip_accents", _ACCENTS), ("lowercase", [_LOWERCASE])]
    for name, wanted in kinds:
        options[name] = steps[: len(wanted)] == wanted
        steps = steps[len(wanted) :] if options[name] else steps
    charsmap = b""
    if steps and steps[0].get("type") == "Precompiled":
        text = published.value(steps.pop(0), "precompiled_charsmap", str, path)
        try:
            charsmap = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(f"{path}: precompiled_charsmap is not base64") from None
    options["collapse"] = steps[:1] == [_COLLAPSE]
    steps = steps[1:] if options["collapse"] else steps
    if steps:
        raise InputError(f"{path}: the normalizer {shown(steps[0])} is not one of ALBERT's, or not at its place")
    splitters = published.sequence(content.get("pre_tokenizer"), "pretokenizers", path)
    options["split"] = splitters[:1] == [_SPLIT]
    prepend = _scheme(splitters[int(options["split"]) :], f"{path}: pre_tokenizer")
    decoder = published.decoder(content, path)  # none changes no id
    if decoder is not None and _scheme([decoder], f"{path}: decoder") != prepend:
        raise InputError(f"{path}: decoder and pre_tokenizer differ in prepend_scheme")
    with published.named(path):
        return Fast(Charsmap(charsmap), prepend=prepend, **options)


def _scheme(parts: list[Any], where: str) -> str:
    """The prepend_scheme of the one Metaspace that is to stand here."""
    if len(parts) == 1 and isinstance(parts[0], dict):
        part = parts[0]
        scheme = part.get("prepend_scheme", "always")
        if part.get("add_prefix_space") is False and scheme == "always":
            scheme = "never"
        said = {"split": True} | part | {"prepend_scheme": scheme}
        said = {key: value for key, value in said.items() if key not in ("add_prefix_space", "str_rep")}  # older names
        if scheme in ("always", "first", "never") and said == _metaspace(scheme):
            return scheme
    raise InputError(f"{where} is {shown(parts)}; only a Metaspace of {META} that splits is supported")
