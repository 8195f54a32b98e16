"""The files of a published WordPiece tokenizer: vocab.txt, tokenizer.json and the two files of settings beside them."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, published, settings
from minibert.tokenizers.added import Added
from minibert.tokenizers.characters import WHITE_SPACE
from minibert.tokenizers.layout import Layout
from minibert.tokenizers.recipe import BERT_NORMALIZER, BERT_SPLITTER, CHARACTERS, Recipe, replaced

SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# Classes of the published program that read a vocab.txt as BERT's does; each also with "Fast" at its end.
CLASSES = tuple(f"{name}Tokenizer" for name in (
    "Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert", "Retribert", "RetriBert", "Realm",
    "Lxmert", "LayoutLM", "DPRContextEncoder", "DPRQuestionEncoder", "DPRReader", "Nezha", "Ernie",
))  # fmt: skip
JAPANESE = "BertJapaneseTokenizer"
_FLAGS = {"lowercase": "lowercase", "strip_accents": "strip_accents", "handle_chinese_chars": "split_cjk"}
_CASE = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_cjk"}
_IN_TWO = [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}]  # BERT's own, step by step
_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}


def arguments(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of `WordPiece` that a directory, its tokenizer.json (preferred) or its vocab.txt stands for."""
    path = published.found(path, "vocab.txt")
    whole = path.suffix == ".json"
    said, source = settings.read(path, CLASSES if whole else (*CLASSES, JAPANESE), whole)
    case = {_CASE[theirs]: flag for theirs, flag in settings.flags(said, _CASE, source).items()}
    specials = settings.specials(said, SPECIALS, source)
    if whole:
        return _whole(published.whole(path), path, (said, source), specials, case)
    lines = [line.rstrip(WHITE_SPACE) for line in published.lines(path)]
    last = {line: i for i, line in enumerate(lines)}  # as published: of a piece that stands twice the last id
    lines = [line if last[line] == i else "" for i, line in enumerate(lines)]
    counted = len(last)  # there several blank lines are one piece
    added = settings.added(said, source, specials, lines, counted=counted)
    while lines and not lines[-1] and added.keys() <= {*lines}:  # no id follows those of blank lines at the end
        lines.pop()
    return {"vocabulary": lines, "specials": specials, "added": added} | _japanese(said, source, case)


def write(
    directory: str | os.PathLike,
    vocabulary: Sequence[str],
    lowercase: bool,
    strip_accents: bool | None,
    split_cjk: bool,
    max_word_chars: int,
    specials: Mapping[str, str],
    added: Mapping[int, tuple[str, Added]],
    around: Layout,
    recipe: Recipe | None,
    cleanup: bool,
    check: Callable[[Path], object],
) -> None:
    """The four files, together or not at all; added: id -> (token, how it is kept whole); check: as in `published`."""
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    known = ids | {token: i for i, (token, _) in added.items()}
    flags = {"handle_chinese_chars": split_cjk, "strip_accents": strip_accents, "lowercase": lowercase}
    steps = recipe or Recipe((BERT_NORMALIZER | flags,), BERT_SPLITTER)
    content = published.tokenizer(
        added,
        normalizer=published.several("normalizers", steps.normalizers),
        pre_tokenizer=steps.splitter,
        post_processor=(layout.written if around.trimmed or around.first_blank else layout.template)(around, known),
        decoder=_DECODER | {"cleanup": cleanup},
        model={
            "type": "WordPiece",
            "unk_token": specials["unk"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": max_word_chars,
            "vocab": ids,
        },
    )
    case = {"do_lower_case": lowercase, "strip_accents": strip_accents, "tokenize_chinese_chars": split_cjk}
    roles = {f"{role}_token": token for role, token in specials.items()}
    plain = around == layout.bert(specials["cls"], specials["sep"]) and recipe is None
    said = {"tokenizer_class": CLASSES[0] if plain else "PreTrainedTokenizerFast"} | (case if plain else {}) | roles
    said["added_tokens_decoder"] = {str(i): entry for i, entry in published.entries_of(added).items()}
    lines = "".join(f"{piece}\n" for piece in vocabulary).encode("utf-8")
    published.write(directory, {"vocab.txt": lines}, content, said, check)


def _japanese(said: dict[str, Any], source: Path, case: dict[str, bool]) -> dict[str, Any]:
    """The arguments that say how to normalise and split; of a Japanese BERT's class, whose words may be basic ones, a
    recipe: composed, ideographs together, words whole or as single characters.

    A blank that NFKC makes of a character (of ﷺ, ゛) separates no words there, and is no piece. Other than in the
    published program, which asks Python, unassigned characters are not removed, and no sigma becomes a final one.
    """
    characters = said.get("subword_tokenizer_type") == "character"
    if said.get("tokenizer_class") != JAPANESE:
        if characters:
            raise InputError(f"{source}: subword_tokenizer_type 'character' is supported of {JAPANESE} alone")
        return case
    lowercase = case.get("lowercase", False)
    clean = BERT_NORMALIZER | {"handle_chinese_chars": False, "lowercase": False}
    steps = [clean, {"type": "NFC"}]
    steps += [clean | {"clean_text": False, "lowercase": True}] if lowercase else []
    steps += [replaced(" ", "\n"), {"type": "NFKC"}, replaced(" ", "\ufffd")] if characters else []
    return {"recipe": Recipe(tuple(steps), CHARACTERS if characters else BERT_SPLITTER), "lowercase": lowercase}


def _whole(
    content: dict[str, Any],
    path: Path,
    beside: tuple[dict[str, Any], Path],
    specials: dict[str, str],
    case: dict[str, bool],
) -> dict[str, Any]:
    """The arguments in a tokenizer.json; `beside`: what settings say and where, `specials` and `case`: of it the roles
    and the flags."""
    value = published.value
    model = published.model(content, "WordPiece", path)
    published.same(model, {"continuing_subword_prefix": "##"}, f"{path}: model")
    pieces = value(model, "vocab", dict, path)
    vocabulary = published.by_id(pieces, path)
    entries = published.entries(content, path)
    unknown = {"unk": value(model, "unk_token", str, path)}
    added = settings.added(*beside, specials | unknown, vocabulary, entries, len(pieces))
    _, ids = encoding.with_added(vocabulary, added)
    around = published.around(content, ids, path)
    with published.named(path):
        recipe = _recipe(content, path)
    if recipe is None:
        [normalizer] = _normalizers(content, path)
        flags = {ours: normalizer[theirs] for theirs, ours in _FLAGS.items()}
        strips = flags["lowercase"] if flags["strip_accents"] is None else flags["strip_accents"]
        settings.agree(flags | {"strip_accents": strips}, case, path)
    else:
        flags = {"recipe": recipe, "lowercase": recipe.lowercase}
        settings.agree(flags, {name: flag for name, flag in case.items() if name in flags}, path)
    decoder = published.decoder(content, path) or _DECODER
    published.same(decoder, _DECODER | {"cleanup": decoder.get("cleanup")}, f"{path}: decoder")
    return {
        "vocabulary": vocabulary,
        **flags,
        "max_word_chars": value(model, "max_input_chars_per_word", int, path),
        "specials": specials | unknown | around.ends,
        "added": added,
        "around": around,
        "cleanup": value(decoder, "cleanup", bool, path),
    }


def _normalizers(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Each normalizer; the first files of BERT's did not say `strip_accents`."""
    steps = published.sequence(content.get("normalizer"), "normalizers", path)
    return [{"strip_accents": None} | step if step.get("type") == "BertNormalizer" else step for step in steps]


def _recipe(content: dict[str, Any], path: Path) -> Recipe | None:
    """The normalizers and the splitter; None where they are BERT's, whatever its flags."""
    steps = _normalizers(content, path)
    splitters = published.sequence(content.get("pre_tokenizer"), "pretokenizers", path)
    splitters = [BERT_SPLITTER] if splitters == _IN_TWO else splitters
    if len(splitters) != 1:
        raise InputError(f"the pre_tokenizer {shown(content.get('pre_tokenizer'))} is not one that splits into words")
    recipe = Recipe(tuple(steps), splitters[0])
    bert = len(steps) == 1 and steps[0].get("clean_text") is True and splitters == [BERT_SPLITTER]
    return None if bert else recipe
