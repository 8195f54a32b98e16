"""The settings beside a published tokenizer: tokenizer_config.json, special_tokens_map.json, added_tokens.json.

Every key is one of four. What changes ids and is known here is read. What would change ids and isn't known is refused
by name, unless it says what is done anyway (REFUSED), and so is the class of another algorithm. What is known to change
no id is in HARMLESS, with the reason. Any other key is passed over: the class is a known one then, a class of the
published program takes the arguments that it has and ignores all others, and tools write new ones every year.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import atomic, strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, published
from minibert.tokenizers.added import Added
from minibert.tokenizers.published import ADDED, CONFIG, MAP

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # in the order in which the published program adds them
FLAGS = tuple(field.name for field in fields(Added))
ANY_CLASS = ("PreTrainedTokenizer", "TokenizersBackend")  # which say nothing, as "Fast" at the end of a name
# Of these a tokenizer.json is not all there is: they cut words, or change the text, by code of their own.
OWN_CODE = frozenset(f"{name}Tokenizer" for name in (
    "BertJapanese", "Bertweet", "Phobert", "RoFormer", "Herbert", "KoBert", "KoBERT", "Kobert", "Cpm", "CpmAnt",
    "RoCBert", "Bartpho", "Tapas", "Canine", "ByT5", "XLM", "Flaubert", "FSMT", "CTRL", "BioGpt", "Esm", "Jumanpp",
    "MeCab", "Mecab", "Sudachi", "ElectraSudachipy", "BertSudachipy", "GPTNeoXJapanese", "ProphetNet",
))  # fmt: skip
# key: the values that are done anyway; null is always one
REFUSED: dict[str, tuple] = {
    "auto_map": (),
    "word_tokenizer_type": ("basic",),
    "subword_tokenizer_type": ("wordpiece", "character"),
    "do_word_tokenize": (True,),
    "do_subword_tokenize": (True,),
    "mecab_kwargs": (),
    "sudachi_kwargs": (),
    "jumanpp_kwargs": (),
    "spm_file": (),
    "normalization": (False,),
    "wordpieces_prefix": ("##",),
    "suffix_indicator": ("##",),
    "split_special_tokens": (False,),
    "add_special_tokens": (True,),
    "truncation_side": ("right",),
    "pad_token_type_id": (0,),
    "init_inputs": ([],),
    "remove_space": (True,),
    "sp_model_kwargs": ({},),
}
SLOW = {"do_basic_tokenize": (True,), "never_split": ([],)}  # of the program that reads a vocab.txt alone
# reason: the keys
HARMLESS = {
    "how ids become text again": ("clean_up_tokenization_spaces", "errors", "spaces_between_special_tokens"),
    "for who calls: how long, how wide, which arrays": (
        "model_max_length", "max_length", "max_len", "padding_side", "pad_to_multiple_of", "stride",
        "truncation_strategy", "model_input_names", "return_tensors", "verbose",
    ),
    "where it came from, which program wrote it": (
        "name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file", "full_tokenizer_file",
        "transformers_version", "processor_class", "backend", "is_local", "local_files_only", "from_slow", "use_fast",
        "device_map", "cache_dir", "trust_remote_code",
    ),
    "of conversations": ("chat_template", "response_schema", "response_template", "use_default_system_prompt"),
}  # fmt: skip


def read(path: Path, classes: Collection[str], whole: bool) -> tuple[dict[str, Any], Path]:
    """What the settings beside the file say, and the file to be named with it; classes: that read such files; whole:
    whether it is a tokenizer.json.

    As published, special_tokens_map.json and added_tokens.json count where there is no `added_tokens_decoder`, and the
    first counts more than tokenizer_config.json. The class may stand in config.json.
    """
    folder = path.parent
    said, source = _object(folder / CONFIG), folder / CONFIG
    if "added_tokens_decoder" not in said:
        said |= _object(folder / MAP)
        ids = _object(folder / ADDED)
        if ids:
            said["added_tokens"] = ids
    model = _model(folder)
    name = said.get("tokenizer_class", model.get("tokenizer_class"))
    known = {*classes, *ANY_CLASS}
    if name is not None and not _read_here(str(name).removesuffix("Fast"), known, whole):
        others = ", ".join(sorted(known))
        raise InputError(f"{source}: tokenizer_class {shown(name)} is not one that reads such files here; {others} are")
    said |= {} if name is None else {"tokenizer_class": name}
    maps = (table["auto_map"] for table in (said, model) if isinstance(table.get("auto_map"), dict))
    said = {key: given for key, given in said.items() if key != "auto_map" or not isinstance(given, dict)}
    if any(table.get("AutoTokenizer") for table in maps):
        raise InputError(f"{source}: auto_map names a tokenizer that is code of its own, which is not run here")
    for key, done in (REFUSED if whole else REFUSED | SLOW).items():
        if said.get(key) is not None and not any(type(said[key]) is type(v) and said[key] == v for v in done):
            only = f"; only {shown(done[0])} is" if done else ""
            raise InputError(f"{source}: {key} {shown(said[key])} is not supported{only}")
    return said, source


def flags(said: Mapping[str, Any], names: Iterable[str], source: Path) -> dict[str, bool]:
    """Those of the settings that are said."""
    return {name: published.value(said, name, bool, source) for name in names if said.get(name) is not None}


def specials(said: Mapping[str, Any], usual: Mapping[str, str], source: Path) -> dict[str, str]:
    """Role -> special token; settings give it as it is, or as an object with more about it."""
    given = {role: said.get(f"{role}_token") for role in usual}
    return {
        role: token if given[role] is None else _content(given[role], f"{source}: {role}_token")
        for role, token in usual.items()
    }


def agree(actual: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    """InputError where a file is otherwise than the settings beside it say."""
    for name, wanted in said.items():
        if actual[name] != wanted:
            raise InputError(f"{path}: {name} is {actual[name]}, but {path.parent / CONFIG} says {wanted}")


# Added tokens


def added(
    said: Mapping[str, Any],
    source: Path,
    specials: Mapping[str, str],
    pieces: Sequence[str],
    entries: list[Any] | None = None,
    counted: int | None = None,
) -> dict[str, Added]:
    """Added token -> how it is kept whole, in the order of ids: the pieces', or those that follow them.

    entries: those of a tokenizer.json; specials: role -> token, which are kept anyway; counted: how many pieces the
    published program counts, where some ids have none. An id that leaves some out is, as there, the next one.
    """
    kept = _numbered(entries or [], pieces, source)
    beside = _numbered(_entries(said, source, specials), pieces, source)
    for token, how in beside.items():
        if "added_tokens" not in said and _found(kept.get(token, how)) != _found(how):
            said = f"the added token {shown(token)} is said to be found otherwise than {published.WHOLE} says"
            raise InputError(f"{source}: {said}: correct one of them")
    kept = kept | {token: how for token, how in beside.items() if token not in kept}
    for token, how in _named(said, source, specials.keys()):
        kept.setdefault(token, how)
    known = set(pieces)
    if counted not in (None, len(pieces)) and not known.issuperset(kept):
        raise InputError(f"{source}: some ids before the added tokens have no piece; then none may follow")
    return kept


def described(token: Mapping[str, Any], where: str) -> Added:
    """How a token is kept whole that a file describes; what it doesn't say is as the published program has it."""
    special = token.get("special", False)
    given = {name: token.get(name, name == "normalized" and special is False) for name in FLAGS} | {"special": special}
    for name, flag in given.items():
        if type(flag) is not bool:
            text = shown(token.get("content"))
            raise InputError(f"{where}: added token {text}: {name} is {shown(flag)}, not true or false")
    return Added(**given)


def _found(token: Added) -> tuple[bool, ...]:
    return token.lstrip, token.rstrip, token.single_word, token.normalized


def _numbered(entries: list[Any], pieces: Sequence[str], source: Path) -> dict[str, Added]:
    """The tokens in the order of their ids."""
    if len(entries) > encoding.MOST_ADDED:
        raise InputError(f"{source}: {len(entries)} added tokens; at most {encoding.MOST_ADDED} are supported")
    for entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{source}: an added token is {shown(entry)}, no JSON object")
        for key, kind in (("id", int), ("content", str)):
            published.value(entry, key, kind, source)
    ids = {piece: i for i, piece in enumerate(pieces) if piece}
    following, kept = len(pieces), {}
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        token, i = entry["content"], entry["id"]
        if token in kept:
            raise InputError(f"{source}: added token {shown(token)} stands twice")
        due = ids.get(token, following)
        if i != due and (token in ids or i < following):
            raise InputError(f"{source}: added token {shown(token)} has id {i}, {due} was to be expected")
        following += token not in ids
        kept[token] = described(entry, f"{source}")
    return kept


def _entries(said: Mapping[str, Any], source: Path, specials: Mapping[str, str]) -> list[dict[str, Any]]:
    """The added tokens that the settings give with their ids."""
    decoder, ids = said.get("added_tokens_decoder", {}), said.get("added_tokens", {})
    if not isinstance(decoder, dict) or not all(_ID.fullmatch(i) and isinstance(t, dict) for i, t in decoder.items()):
        raise InputError(f"{source}: added_tokens_decoder is not an object of ids and tokens")
    if not isinstance(ids, dict):
        raise InputError(f"{source}: added_tokens is {shown(ids)}, not an object of tokens and ids")
    special = {*specials.values(), *(token for token, _ in _named(said, source, ()))}
    plain = [{"id": i, "content": token, "special": token in special} for token, i in ids.items()]
    return [{"id": int(i)} | token for i, token in decoder.items()] + plain


_ID = re.compile("[0-9]{1,9}")


def _named(said: Mapping[str, Any], source: Path, roles: Collection[str]) -> Iterator[tuple[str, Added]]:
    """The special tokens that settings name, but those of the `roles` that are named without more about them."""
    names = [key.removesuffix("_token") for key, given in said.items() if key.endswith("_token")]
    key = "extra_special_tokens" if said.get("extra_special_tokens") else "additional_special_tokens"
    extra = said.get(key) or []
    if not isinstance(extra, (list, dict)):
        raise InputError(f"{source}: {key} is {shown(extra)}, neither a list of tokens nor an object")
    for name in dict.fromkeys([*ROLES, *names]):
        given = said.get(f"{name}_token")
        if isinstance(given, dict) or (isinstance(given, str) and name not in roles):
            yield _special(given, f"{source}: {name}_token")
    for given in extra if isinstance(extra, list) else extra.values():
        yield _special(given, f"{source}: {key}")


def _special(given: Any, where: str) -> tuple[str, Added]:
    content = _content(given, where)
    return content, described((given if isinstance(given, dict) else {}) | {"content": content, "special": True}, where)


def _content(given: Any, where: str) -> str:
    text = given.get("content") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise InputError(f"{where} is {shown(given)}, neither a token nor an object with its content")
    return text


# The files


def _object(path: Path) -> dict[str, Any]:
    return published.read(path, strictjson.as_written) if reading.present(atomic.place(path)) else {}


def _model(folder: Path) -> dict[str, Any]:
    """What config.json says; what is wrong with it, its own reader tells."""
    try:
        return _object(folder / "config.json")
    except InputError:
        return {}


def _read_here(name: str, known: Collection[str], whole: bool) -> bool:
    return name in known or (whole and name not in OWN_CODE)
