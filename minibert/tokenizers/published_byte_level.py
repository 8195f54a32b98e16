"""The files of a published byte-level BPE tokenizer: vocab.json and merges.txt, tokenizer.json, two files of settings.

Reading is strict: a setting that would change a single id and that `ByteLevelBPE` doesn't have is an InputError.
"""

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minibert.checkpoint import atomic, strictjson
from minibert.errors import InputError
from minibert.tokenizers import layout, published
from minibert.tokenizers.layout import Layout

SPECIALS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
FILES = ("vocab.json", "merges.txt", "tokenizer.json")
VERSION = "#version: 0.2"
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
_LOWERCASE = {"type": "Lowercase"}
_CHANGING = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")  # none of them is known


@dataclass(frozen=True)
class Added:
    """How a token is kept whole in text: lstrip, rstrip: it takes the blanks before or after it along; normalized: it
    is looked for after those that aren't; special: `decode` may skip it."""

    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


def arguments(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of `ByteLevelBPE` that a directory, its tokenizer.json (preferred) or its vocab.json stands for."""
    path = Path(path)
    if path.is_dir():
        atomic.settle(path)
        path = path / "tokenizer.json" if (path / "tokenizer.json").exists() else path / "vocab.json"
    settings: dict[str, Any] = {}
    for name in published.SETTINGS:
        if (path.parent / name).exists():
            settings |= published._json(path.parent / name)
    source = path.parent / published.SETTINGS[1]
    if settings.get("errors", "replace") != "replace":
        raise InputError(f"{source}: errors is {settings['errors']!r}; only 'replace' is supported")
    case = {
        name: published._value(settings, name, bool, source)
        for name in ("add_prefix_space", "trim_offsets", "do_lower_case")
        if settings.get(name) is not None
    }
    named = {role: published._content(settings.get(f"{role}_token"), "") for role in SPECIALS}
    named = {role: token for role, token in named.items() if token}
    if not path.name.endswith(("vocab.json", "merges.txt")):
        return _whole(published._json(path), path, named, case, source)
    stem = path.name.removesuffix("vocab.json").removesuffix("merges.txt")
    vocab, merges = path.parent / f"{stem}vocab.json", path.parent / f"{stem}merges.txt"
    vocabulary = published._by_id(published._json(vocab), vocab)
    added = _settings_kept(settings, vocabulary, source)
    roles = _roles(named, {*vocabulary, *added})
    for role in ("cls", "sep"):
        if role not in roles:
            raise InputError(f"{vocab}: no {SPECIALS[role]} among the pieces, no {role}_token in settings beside it")
    prefix = case.get("add_prefix_space", False)
    return {
        "vocabulary": vocabulary,
        "merges": _merges(_merge_lines(merges), str(merges)),
        "specials": roles,
        "added": added,
        "lowercase": case.get("do_lower_case", False),
        "add_prefix_space": prefix,
        "around": layout.roberta(roles["cls"], roles["sep"], case.get("trim_offsets", True), prefix),
    }


def write(
    directory: str | os.PathLike,
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, Added]],
    lowercase: bool,
    add_prefix_space: bool,
    around: Layout,
) -> None:
    """The five files, together or not at all; added: id -> (token, how it is kept whole)."""
    entries = {i: {"content": token, "single_word": False} | asdict(how) for i, (token, how) in sorted(added.items())}
    names = {f"{role}_token": token for role, token in specials.items()}
    ids = dict(vocabulary) | {token: i for i, (token, _) in added.items()}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i} | entry for i, entry in entries.items()],
        "normalizer": _LOWERCASE if lowercase else None,
        "pre_tokenizer": _BYTE_LEVEL | {"add_prefix_space": add_prefix_space},
        "post_processor": _post(around, ids),
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(vocabulary),
            "merges": [list(pair) for pair in merges],
        },
    }
    roberta = _is_roberta(around) and around.first_blank == add_prefix_space and not lowercase  # what that class can be
    settings = {
        "tokenizer_class": "RobertaTokenizer" if roberta else "PreTrainedTokenizerFast",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": around.trimmed,
        "do_lower_case": lowercase,
        "errors": "replace",
        **names,
        "added_tokens_decoder": {str(i): entry for i, entry in entries.items()},
    }
    with atomic.directory(directory) as folder:
        lines = [VERSION, *(f"{left} {right}" for left, right in merges)]
        (folder / "vocab.json").write_bytes(strictjson.dumps(dict(vocabulary)))
        (folder / "merges.txt").write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
        (folder / "tokenizer.json").write_bytes(strictjson.dumps(content))
        (folder / "tokenizer_config.json").write_bytes(strictjson.dumps(settings))
        (folder / "special_tokens_map.json").write_bytes(strictjson.dumps(names))


# Reading


def _whole(content: dict, path: Path, named: dict[str, str], case: dict[str, bool], source: Path) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `named` holds the roles that settings name, `case` what else they say."""
    model, splitter = (published._value(content, key, dict, path) for key in ("model", "pre_tokenizer"))
    published._same({"type": "BPE"} | model, {"type": "BPE"}, f"{path}: model")  # RoBERTa's own file names no type
    for key in _CHANGING:
        if model.get(key):
            raise InputError(f"{path}: model: {key} is {str(model[key])[:60]!r}; only null is supported")
    lowercase = content.get("normalizer") == _LOWERCASE
    if not lowercase:
        published._same(content, {"normalizer": None}, f"{path}")
    published._same(published._value(content, "decoder", dict, path), {"type": "ByteLevel"}, f"{path}: decoder")
    vocabulary = published._by_id(published._value(model, "vocab", dict, path), path)
    added = _kept(published._value(content, "added_tokens", list, path), vocabulary, path)
    ids = {token: i for i, token in enumerate(dict.fromkeys([*vocabulary, *added]))}
    found, ends = _layout(content.get("post_processor"), f"{path}: post_processor")
    for token, i in ends.items():
        if ids.get(token) != i:
            raise InputError(f"{path}: post_processor gives {token!r} the id {i}, the vocabulary {ids.get(token)}")
    first, last = found.single[0][0], found.single[-1][0]
    stated = {role: token for role, token in (("cls", first), ("sep", last)) if isinstance(token, str)}
    prefix, _ = _byte_level(splitter, f"{path}: pre_tokenizer")
    says = {"add_prefix_space": prefix, "do_lower_case": lowercase, "trim_offsets": found.trimmed}
    for name, actual in says.items():
        if case.get(name, actual) != actual:
            raise InputError(f"{path}: {name} is {actual}, but {source} says {case[name]}")
    return {
        "vocabulary": vocabulary,
        "merges": _merges(published._value(model, "merges", list, path), f"{path}"),
        "specials": _roles(named, ids.keys()) | stated,
        "added": added,
        "lowercase": lowercase,
        "add_prefix_space": prefix,
        "around": found,
    }


def _kept(tokens: list[dict[str, Any]], vocabulary: list[str], path: Path) -> dict[str, Added]:
    """Added token -> how it is kept whole, in the order of ids: the vocabulary's, or those that follow it."""
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    kept = {}
    for token in sorted(published._added({"added_tokens": tokens}, path), key=lambda token: token["id"]):
        text = token["content"]
        if text in kept:
            raise InputError(f"{path}: added token {text!r} stands twice")
        if token["id"] != ids.setdefault(text, len(ids)):
            raise InputError(f"{path}: added token {text!r} has id {token['id']}, {ids[text]} was to be expected")
        kept[text] = _how(token, path)
    return kept


def _how(token: Mapping[str, Any], path: Path) -> Added:
    if token.get("single_word"):
        raise InputError(f"{path}: added token {token.get('content')!r}: single_word is not supported")
    flags = {name: token.get(name, getattr(Added, name)) for name in Added.__dataclass_fields__}
    for name, flag in flags.items():
        if type(flag) is not bool:
            said = str(flag)[:60]
            raise InputError(f"{path}: added token {token.get('content')!r}: {name} is {said!r}, not true or false")
    return Added(**flags)


def _settings_kept(settings: dict[str, Any], vocabulary: list[str], source: Path) -> dict[str, Added]:
    """The same from the settings beside a vocab.json: `added_tokens_decoder`, or a special token given at length."""
    given = settings.get("added_tokens_decoder", {})
    if not isinstance(given, dict) or not all(i.isdecimal() and isinstance(t, dict) for i, t in given.items()):
        raise InputError(f"{source}: added_tokens_decoder is not an object of ids and tokens")
    kept = _kept([{"id": int(i)} | token for i, token in given.items()], vocabulary, source)
    for role in SPECIALS:
        token = settings.get(f"{role}_token")
        if isinstance(token, dict) and isinstance(token.get("content"), str):
            kept.setdefault(token["content"], _how(token | {"special": True}, source))
    return kept


def _roles(named: dict[str, str], present: Set[str]) -> dict[str, str]:
    """Role -> token: as named, or the usual one where there is such a token."""
    return {role: named.get(role, usual) for role, usual in SPECIALS.items() if role in named or usual in present}


def _merges(items: list[Any], where: str) -> list[tuple[str, str]]:
    """Each item "left right" or [left, right]."""
    pairs = []
    for rank, item in enumerate(items):
        pair = item.split(" ") if isinstance(item, str) else item
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(piece, str) and piece for piece in pair)):
            raise InputError(f"{where}: merge {rank} is {str(item)[:60]!r}, not two pieces")
        pairs.append((pair[0], pair[1]))
    return pairs


def _merge_lines(path: Path) -> list[str]:
    first, *lines = published._lines(path)
    if first != VERSION:
        raise InputError(f"{path}: the first line is {first[:60]!r}, not {VERSION!r}")
    return lines


def _byte_level(content: Any, where: str) -> tuple[bool, bool]:
    """(add_prefix_space, trim_offsets) of a ByteLevel splitter or processor."""
    flags = [content.get(name, True) for name in ("add_prefix_space", "trim_offsets", "use_regex")]
    if content.get("type") != "ByteLevel" or not all(type(flag) is bool for flag in flags) or not flags[2]:
        raise InputError(f"{where} is not ByteLevel with GPT-2's pattern: {str(content)[:100]}")
    return flags[0], flags[1]


# Layouts in tokenizer.json


def _layout(post: Any, where: str) -> tuple[Layout, dict[str, Any]]:
    """The layout that a post_processor stands for, and the ids it gives to special tokens."""
    try:
        return _parsed(post)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise InputError(f"{where} is not a layout that is known: {str(post)[:100]}") from None


def _parsed(post: dict[str, Any] | None) -> tuple[Layout, dict[str, Any]]:
    kind = None if post is None else post["type"]
    if kind is None:
        return Layout(), {}
    if kind == "ByteLevel":
        first_blank, trimmed = _byte_level(post, "it")
        return Layout(trimmed=trimmed, first_blank=first_blank), {}
    if kind in ("RobertaProcessing", "BertProcessing"):
        ends = {role: (str(post[role][0]), post[role][1]) for role in ("cls", "sep")}
        tokens = ends["cls"][0], ends["sep"][0]
        if kind == "BertProcessing":
            return layout.bert(*tokens), dict(ends.values())
        flags = post["trim_offsets"], post["add_prefix_space"]
        if any(type(flag) is not bool for flag in flags):
            raise ValueError
        return layout.roberta(*tokens, *flags), dict(ends.values())
    if kind == "TemplateProcessing":
        ids = {token: each["ids"][0] for token, each in post["special_tokens"].items() if len(each["ids"]) == 1}
        return Layout(_template(post["single"], [0]), _template(post["pair"], [0, 1])), ids
    blanks, around = post["processors"]  # a Sequence of what trims and what surrounds
    (trimming, _), (template, ids) = _parsed(blanks), _parsed(around)
    if kind != "Sequence" or trimming.tokens or template.trimmed:
        raise ValueError
    return replace(template, trimmed=trimming.trimmed, first_blank=trimming.first_blank), ids


def _template(items: list[dict[str, Any]], texts: list[int]) -> layout.Template:
    template = []
    for item in items:
        ((kind, content),) = item.items()
        if type(content["type_id"]) is not int:
            raise ValueError
        name = {"A": 0, "B": 1}[content["id"]] if kind == "Sequence" else str(content["id"])
        template.append((name, content["type_id"]))
    if sorted(name for name, _ in template if isinstance(name, int)) != texts:
        raise ValueError
    return tuple(template)


def _post(given: Layout, ids: Mapping[str, int]) -> dict[str, Any]:
    """The post_processor that stands for a layout."""
    blanks = {"add_prefix_space": given.first_blank, "trim_offsets": given.trimmed}
    if _is_roberta(given):
        cls, sep = ([token, ids[token]] for token in (given.single[0][0], given.single[-1][0]))
        return {"type": "RobertaProcessing", "sep": sep, "cls": cls} | blanks
    if given == Layout(trimmed=given.trimmed, first_blank=given.first_blank):
        return _BYTE_LEVEL | blanks
    single, pair = (
        [
            {"SpecialToken": {"id": item, "type_id": kind}}
            if isinstance(item, str)
            else {"Sequence": {"id": "AB"[item], "type_id": kind}}
            for item, kind in template
        ]
        for template in (given.single, given.pair)
    )
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in given.tokens}
    template = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}
    return {"type": "Sequence", "processors": [_BYTE_LEVEL | blanks, template]}


def _is_roberta(given: Layout) -> bool:
    ends = given.single[0][0], given.single[-1][0]
    return given == layout.roberta(*ends, given.trimmed, given.first_blank)
