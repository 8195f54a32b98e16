"""The files of a published byte-level BPE tokenizer: vocab.json and merges.txt, tokenizer.json, two of settings.

GPT-2's release calls the first two encoder.json and vocab.bpe.
"""

import os
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, published, settings
from minibert.tokenizers.added import Added
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.merges import listed

SPECIALS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}  # RoBERTa's
GPT2 = dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>")
ROLES = tuple(SPECIALS | GPT2)
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
FAIRSEQ = "dict.txt"  # beside the second pair: RoBERTa's release, with ids of its own
VERSION = "#version: 0.2"
# Classes of the published program that read such files as RoBERTa's or GPT-2's does; each also with "Fast" at its end.
CLASSES = ("RobertaTokenizer", "GPT2Tokenizer", "LongformerTokenizer", "BartTokenizer", "LEDTokenizer", "MvpTokenizer",
           "CodeGenTokenizer")  # fmt: skip
_LOWERCASE = {"type": "Lowercase"}
_CHANGING = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")  # none of them is known


def arguments(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of `ByteLevelBPE` that a directory, its tokenizer.json (preferred) or its vocab.json stands for.

    Where settings don't name special tokens, the vocabulary shows whose it is: RoBERTa's, or GPT-2's if it has neither
    <s> nor </s>.
    """
    path = published.found(path, *(vocab for vocab, _ in PAIRS))
    pair = next((pair for pair in PAIRS if path.name.endswith(pair)), None)
    said, source = settings.read(path, CLASSES, pair is None)
    case = settings.flags(said, ("add_prefix_space", "trim_offsets"), source)
    if str(said.get("tokenizer_class")).removesuffix("Fast") in settings.ANY_CLASS:  # the classes of these pay no heed
        case |= settings.flags(said, ("do_lower_case",), source)
    named = settings.specials(said, dict.fromkeys(ROLES, ""), source)
    named = {role: token for role, token in named.items() if token}
    if pair is None:
        found = _whole(published.whole(path), path, (said, source), named, case)
    else:
        renumbered = pair == PAIRS[1] and reading.present(path.parent / FAIRSEQ)
        if renumbered:
            raise InputError(f"{path.parent / FAIRSEQ} numbers the pieces anew: convert it to transformers' files")
        stem = path.name.removesuffix(pair[0]).removesuffix(pair[1])
        found = _two(*(path.parent / f"{stem}{name}" for name in pair), (said, source), named, case)
    for name in ("add_bos_token", "add_eos_token"):
        if said.get(name) and not found["around"].ends:
            raise InputError(f"{source}: {name} is {shown(said[name])}; only false is supported")
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
    ids = dict(vocabulary) | {token: i for i, (token, _) in added.items()}
    content = published.tokenizer(
        added,
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
    said = {
        "tokenizer_class": kind or "PreTrainedTokenizerFast",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": around.trimmed,
        "do_lower_case": lowercase,
        "errors": "replace",
        **{f"{role}_token": token for role, token in specials.items()},
        "added_tokens_decoder": {str(i): entry for i, entry in published.entries_of(added).items()},
    }
    lines = [VERSION, *(f"{left} {right}" for left, right in merges)]
    files = {
        "vocab.json": strictjson.dumps(dict(vocabulary)),
        "merges.txt": "".join(f"{line}\n" for line in lines).encode("utf-8"),
    }
    published.write(directory, files, content, said, check)


# Reading


def _two(
    vocab: Path, merges: Path, beside: tuple[dict[str, Any], Path], named: dict[str, str], case: dict[str, bool]
) -> dict[str, Any]:
    """The arguments in a vocab.json and a merges.txt, with the settings beside them, as in `arguments`."""
    pieces = published.read(vocab)
    vocabulary = published.by_id(pieces, vocab)
    added = settings.added(*beside, SPECIALS | GPT2 | named, vocabulary, counted=len(pieces))
    gpt2 = str(beside[0].get("tokenizer_class")).startswith("GPT2")
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
        "merges": listed(merge_lines(merges), str(merges)),
        "specials": roles,
        "added": added,
        "lowercase": case.get("do_lower_case", False),
        "add_prefix_space": prefix,
        "around": Layout() if gpt2 else layout.roberta(*roberta),
    }


def _whole(
    content: dict, path: Path, beside: tuple[dict[str, Any], Path], named: dict[str, str], case: dict[str, bool]
) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `beside`: what settings say and where, `named` and `case`: of it the roles and
    the flags."""
    model = published.model(content, "BPE", path)
    for key in _CHANGING:
        if model.get(key):
            raise InputError(f"{path}: model: {key} is {shown(model[key])}; only null is supported")
    steps = published.sequence(content.get("normalizer"), "normalizers", path)
    if steps not in ([], [_LOWERCASE]):
        raise InputError(f"{path}: the normalizer {shown(content['normalizer'])} is not Lowercase, the only one known")
    splitters = published.sequence(content.get("pre_tokenizer"), "pretokenizers", path)
    splitter = splitters[0] if len(splitters) == 1 else {"type": shown(content.get("pre_tokenizer"))}
    decoder = published.decoder(content, path) or {"type": "ByteLevel"}  # none changes no id
    published.same(decoder, {"type": "ByteLevel"}, f"{path}: decoder")
    pieces = published.value(model, "vocab", dict, path)
    vocabulary = published.by_id(pieces, path)
    entries = published.entries(content, path)
    added = settings.added(*beside, SPECIALS | GPT2 | named, vocabulary, entries, len(pieces))
    _, ids = encoding.with_added(vocabulary, added)
    found = published.around(content, ids, path)
    prefix, _ = layout.byte_level(splitter, f"{path}: pre_tokenizer")
    says = {"add_prefix_space": prefix, "do_lower_case": bool(steps), "trim_offsets": found.trimmed}
    settings.agree(says, case, path)
    return {
        "vocabulary": vocabulary,
        "merges": listed(published.value(model, "merges", list, path), str(path)),
        "specials": _roles(named | found.ends, ids.keys()),
        "added": added,
        "lowercase": bool(steps),
        "add_prefix_space": prefix,
        "around": found,
    }


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


def merge_lines(path: Path) -> list[str]:
    """The lines of a merges.txt but those of the version, whoever wrote it, and blank ones at the end."""
    lines = [line for line in published.lines(path) if not line.startswith("#version")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
