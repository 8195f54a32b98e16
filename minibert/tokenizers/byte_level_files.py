"""The files of a published byte-level BPE tokenizer: vocab.json and merges.txt, tokenizer.json, two of settings.

GPT-2's release calls the first two encoder.json and vocab.bpe.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minibert.checkpoint import strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import layout, published
from minibert.tokenizers.layout import Layout

SPECIALS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}  # RoBERTa's
GPT2 = dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>")
ROLES = tuple(SPECIALS | GPT2)
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
VERSION = "#version: 0.2"
_ID = re.compile("[0-9]{1,9}")
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
    """The arguments of `ByteLevelBPE` that a directory, its tokenizer.json (preferred) or its vocab.json stands for.

    Where settings don't name special tokens, the vocabulary shows whose it is: RoBERTa's, or GPT-2's if it has neither
    <s> nor </s>.
    """
    path = published.found(path, *(vocab for vocab, _ in PAIRS))
    settings, source = published.settings(path)
    if settings.get("errors", "replace") != "replace":
        raise InputError(f"{source}: errors is {shown(settings['errors'])}; only 'replace' is supported")
    case = published.flags(settings, ("add_prefix_space", "trim_offsets", "do_lower_case"), source)
    named = published.specials(settings, dict.fromkeys(ROLES, ""), source)
    named = {role: token for role, token in named.items() if token}
    pair = next((pair for pair in PAIRS if path.name.endswith(pair)), None)
    if pair is None:
        found = _whole(published.read(path), path, named, case)
    else:
        stem = path.name.removesuffix(pair[0]).removesuffix(pair[1])
        found = _two(*(path.parent / f"{stem}{name}" for name in pair), settings, source, named, case)
    for name in ("add_bos_token", "add_eos_token"):
        if settings.get(name) and not found["around"].ends:
            raise InputError(f"{source}: {name} is {shown(settings[name])}; only false is supported")
    return found


def write(
    directory: str | os.PathLike,
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, Added]],
    lowercase: bool,
    add_prefix_space: bool,
    around: Layout,
    check: Callable[[Path], object],
) -> None:
    """The five files, together or not at all; added: id -> (token, how it is kept whole); check: as in `published`."""
    entries = {i: published.token(token, **asdict(how)) for i, (token, how) in sorted(added.items())}
    ids = dict(vocabulary) | {token: i for i, (token, _) in added.items()}
    content = published.tokenizer(
        entries,
        normalizer=_LOWERCASE if lowercase else None,
        pre_tokenizer=layout.BYTE_LEVEL | {"add_prefix_space": add_prefix_space},
        post_processor=layout.written(around, ids),
        decoder=layout.BYTE_LEVEL,
        model={
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
    )
    # what these classes can be
    roberta = layout.is_roberta(around) and around.first_blank == add_prefix_space and not lowercase
    gpt2 = not (around.tokens or around.trimmed or lowercase or {"cls", "sep"} & specials.keys())
    kind = "RobertaTokenizer" if roberta else "GPT2Tokenizer" if gpt2 and GPT2.keys() <= specials.keys() else None
    settings = {
        "tokenizer_class": kind or "PreTrainedTokenizerFast",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": around.trimmed,
        "do_lower_case": lowercase,
        "errors": "replace",
        **{f"{role}_token": token for role, token in specials.items()},
        "added_tokens_decoder": {str(i): entry for i, entry in entries.items()},
    }
    lines = [VERSION, *(f"{left} {right}" for left, right in merges)]
    files = {
        "vocab.json": strictjson.dumps(dict(vocabulary)),
        "merges.txt": "".join(f"{line}\n" for line in lines).encode("utf-8"),
    }
    published.write(directory, files, content, settings, check)


# Reading


def _two(
    vocab: Path, merges: Path, settings: dict[str, Any], source: Path, named: dict[str, str], case: dict[str, bool]
) -> dict[str, Any]:
    """The arguments in a vocab.json and a merges.txt, with the settings beside them, as in `arguments`."""
    vocabulary = published.by_id(published.read(vocab), vocab)
    added = _settings_kept(settings, vocabulary, source)
    gpt2 = str(settings.get("tokenizer_class")).startswith("GPT2")
    roles = _roles(named, {*vocabulary, *added}, gpt2)
    gpt2 = gpt2 or ("eos" in roles and not {"cls", "sep"} & roles.keys())
    for role in () if gpt2 else ("cls", "sep"):
        if role not in roles:
            lacks = f"no {SPECIALS[role]} and no {GPT2['eos']} among the pieces"
            raise InputError(f"{vocab}: {lacks}, no {role}_token in settings beside it")
    prefix = case.get("add_prefix_space", False)
    roberta = () if gpt2 else (roles["cls"], roles["sep"], case.get("trim_offsets", True), prefix)
    return {
        "vocabulary": vocabulary,
        "merges": _merges(_merge_lines(merges), str(merges)),
        "specials": roles,
        "added": added,
        "lowercase": case.get("do_lower_case", False),
        "add_prefix_space": prefix,
        "around": Layout() if gpt2 else layout.roberta(*roberta),
    }


def _whole(content: dict, path: Path, named: dict[str, str], case: dict[str, bool]) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `named` holds the roles that settings name, `case` what else they say."""
    model, splitter = (published.value(content, key, dict, path) for key in ("model", "pre_tokenizer"))
    published.same({"type": "BPE"} | model, {"type": "BPE"}, f"{path}: model")  # RoBERTa's own file names no type
    for key in _CHANGING:
        if model.get(key):
            raise InputError(f"{path}: model: {key} is {shown(model[key])}; only null is supported")
    lowercase = content.get("normalizer") == _LOWERCASE
    if not lowercase:
        published.same(content, {"normalizer": None}, f"{path}")
    published.same(published.value(content, "decoder", dict, path), {"type": "ByteLevel"}, f"{path}: decoder")
    vocabulary = published.by_id(published.value(model, "vocab", dict, path), path)
    added = _kept(content, vocabulary, path)
    ids = {token: i for i, token in enumerate(dict.fromkeys([*vocabulary, *added]))}
    found, ends = layout.read(content.get("post_processor"), f"{path}: post_processor")
    for token, i in ends.items():
        if ids.get(token) != i:
            says = f"{path}: post_processor gives {shown(token)} the id {shown(i)}"
            raise InputError(f"{says}, the vocabulary {ids.get(token)}")
    prefix, _ = layout.byte_level(splitter, f"{path}: pre_tokenizer")
    says = {"add_prefix_space": prefix, "do_lower_case": lowercase, "trim_offsets": found.trimmed}
    published.agree(says, case, path)
    return {
        "vocabulary": vocabulary,
        "merges": _merges(published.value(model, "merges", list, path), f"{path}"),
        "specials": _roles(named | found.ends, ids.keys()),
        "added": added,
        "lowercase": lowercase,
        "add_prefix_space": prefix,
        "around": found,
    }


def _kept(content: Mapping[str, Any], vocabulary: list[str], path: Path) -> dict[str, Added]:
    """Added token -> how it is kept whole, in the order of ids: the vocabulary's, or those that follow it."""
    kept = {}
    for token in published.added(content, vocabulary, path):
        if token["content"] in kept:
            raise InputError(f"{path}: added token {shown(token['content'])} stands twice")
        kept[token["content"]] = _how(token, path)
    return kept


def _how(token: Mapping[str, Any], path: Path) -> Added:
    if token.get("single_word"):
        raise InputError(f"{path}: added token {shown(token.get('content'))}: single_word is not supported")
    flags = {name: token.get(name, getattr(Added, name)) for name in Added.__dataclass_fields__}
    for name, flag in flags.items():
        if type(flag) is not bool:
            where = f"{path}: added token {shown(token.get('content'))}"
            raise InputError(f"{where}: {name} is {shown(flag)}, not true or false")
    return Added(**flags)


def _settings_kept(settings: dict[str, Any], vocabulary: list[str], source: Path) -> dict[str, Added]:
    """The same from the settings beside a vocab.json: `added_tokens_decoder`, or a special token given at length."""
    given = settings.get("added_tokens_decoder", {})
    if not isinstance(given, dict) or not all(_ID.fullmatch(i) and isinstance(t, dict) for i, t in given.items()):
        raise InputError(f"{source}: added_tokens_decoder is not an object of ids and tokens")
    kept = _kept({"added_tokens": [{"id": int(i)} | token for i, token in given.items()]}, vocabulary, source)
    for role in ROLES:
        token = settings.get(f"{role}_token")
        if isinstance(token, dict) and isinstance(token.get("content"), str):
            kept.setdefault(token["content"], _how(token | {"special": True}, source))
    return kept


def _roles(named: dict[str, str], present: Set[str], gpt2: bool = False) -> dict[str, str]:
    """Role -> token: as named, or the usual one where there is such a token: RoBERTa's, else GPT-2's.

    bos and eos are not among them where they are cls and sep, as RoBERTa's are.
    """
    usual = {} if gpt2 else {role: token for role, token in SPECIALS.items() if token in present}
    if gpt2 or not {"cls", "sep"} & {*usual, *named}:
        usual = {role: token for role, token in GPT2.items() if token in present} | usual
    roles = usual | named
    same = {end for end, role in (("bos", "cls"), ("eos", "sep")) if roles.get(end) == roles.get(role)}
    return {role: roles[role] for role in ROLES if role in roles and role not in same}


def _merges(items: list[Any], where: str) -> list[tuple[str, str]]:
    """Each item "left right" or [left, right]."""
    pairs = []
    for rank, item in enumerate(items):
        pair = item.split(" ") if isinstance(item, str) else item
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(piece, str) and piece for piece in pair)):
            raise InputError(f"{where}: merge {rank} is {shown(item)}, not two pieces")
        pairs.append((pair[0], pair[1]))
    return pairs


def _merge_lines(path: Path) -> list[str]:
    first, *lines = published.lines(path)
    if first != VERSION:
        raise InputError(f"{path}: the first line is {shown(first)}, not {VERSION!r}")
    return lines
