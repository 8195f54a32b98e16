"""What `encode` puts around the pieces, how it says where they stand, and how a tokenizer.json says that."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers.characters import WHITE_SPACE

MOST_ITEMS = 64  # of a template; published ones have six
Template = tuple[tuple[str | int, int], ...]  # (a token, or which text: 0 or 1; its type)

SPACE = "\u0120"  # Ġ, which stands for the byte of a space
_BLANKS = SPACE + WHITE_SPACE
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@dataclass(frozen=True)
class Layout:
    """single, pair: what one text and two become, in order. trimmed: offsets leave out the blanks at a piece's ends,
    but with first_blank not a single one at the beginning of the text, as that may have been added."""

    single: Template = ((0, 0),)
    pair: Template = ((0, 0), (1, 1))
    trimmed: bool = False
    first_blank: bool = False

    @property
    def tokens(self) -> list[str]:
        """The special tokens in it."""
        return [item for item, _ in self.single + self.pair if isinstance(item, str)]

    @property
    def ends(self) -> dict[str, str]:
        """The tokens of the roles cls and sep: what stands first and last, where that is a token; of two behind a text
        the last is XLNet's cls.
        """
        ends = {"cls": self.single[0][0], "sep": self.single[-1][0]}
        if [type(item) for item, _ in self.single] == [int, str, str]:
            ends = {"cls": self.single[2][0], "sep": self.single[1][0]}
        return {role: token for role, token in ends.items() if isinstance(token, str)}

    def span(self, piece: str, start: int, end: int) -> tuple[int, int]:
        """The offsets of a piece, or of the text that an added token covers, which stands from start to end."""
        if not self.trimmed:
            return start, end
        leading = len(piece) - len(piece.lstrip(_BLANKS))
        trailing = len(piece) - len(piece.rstrip(_BLANKS))
        if self.first_blank and leading == 1 and start == 0:
            leading = 0
        first = min(start + leading, end)
        return first, max(end - trailing, first) if end >= trailing else end


def roberta(cls: str, sep: str, trimmed: bool = True, first_blank: bool = False) -> Layout:
    """<s> A </s> and <s> A </s></s> B </s>, all of type 0."""
    pair = (cls, 0, sep, sep, 1, sep)
    return Layout(tuple((item, 0) for item in pair[:3]), tuple((item, 0) for item in pair), trimmed, first_blank)


def bert(cls: str, sep: str) -> Layout:
    """[CLS] A [SEP] and [CLS] A [SEP] B [SEP], B and what follows of type 1, offsets untrimmed."""
    single = ((cls, 0), (0, 0), (sep, 0))
    return Layout(single, (*single, (1, 1), (sep, 1)))


def xlnet(cls: str, sep: str) -> Layout:
    """A <sep> <cls> and A <sep> B <sep> <cls>, B and its <sep> of type 1, <cls> of type 2, offsets untrimmed."""
    first, last = ((0, 0), (sep, 0)), (cls, 2)
    return Layout((*first, last), (*first, (1, 1), (sep, 1), last))


def t5(eos: str) -> Layout:
    """A </s> and A </s> B </s>, all of type 0."""
    return Layout(((0, 0), (eos, 0)), ((0, 0), (eos, 0), (1, 0), (eos, 0)))


def is_roberta(given: Layout) -> bool:
    """Whether it is RoBERTa's with some tokens."""
    return len(given.ends) == 2 and given == roberta(**given.ends, trimmed=given.trimmed, first_blank=given.first_blank)


def written(given: Layout, ids: Mapping[str, int]) -> dict[str, Any]:
    """The post_processor that stands for a layout."""
    blanks = {"add_prefix_space": given.first_blank, "trim_offsets": given.trimmed}
    if is_roberta(given):
        cls, sep = ([token, ids[token]] for token in given.ends.values())
        return {"type": "RobertaProcessing", "sep": sep, "cls": cls} | blanks
    if given == Layout(trimmed=given.trimmed, first_blank=given.first_blank):
        return BYTE_LEVEL | blanks
    return {"type": "Sequence", "processors": [BYTE_LEVEL | blanks, template(given, ids)]}


def template(given: Layout, ids: Mapping[str, int]) -> dict[str, Any]:
    """The post_processor that stands for what is put around the pieces."""
    single, pair = (
        [
            {"SpecialToken": {"id": item, "type_id": kind}}
            if isinstance(item, str)
            else {"Sequence": {"id": "AB"[item], "type_id": kind}}
            for item, kind in items
        ]
        for items in (given.single, given.pair)
    )
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in given.tokens}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def read(post: Any, where: str) -> tuple[Layout, dict[str, Any]]:
    """The layout that a post_processor stands for, and the ids it gives to special tokens."""
    try:
        return _parsed(post)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
        most = f"of at most {MOST_ITEMS} items"
        raise InputError(f"{where} is not a layout that is known, {most}: {shown(post)}") from None


def byte_level(content: Any, where: str) -> tuple[bool, bool]:
    """(add_prefix_space, trim_offsets) of a ByteLevel splitter or processor."""
    flags = [content.get(name, True) for name in ("add_prefix_space", "trim_offsets", "use_regex")]
    if content.get("type") != "ByteLevel" or not all(type(flag) is bool for flag in flags) or not flags[2]:
        raise InputError(f"{where} is not ByteLevel with GPT-2's pattern: {shown(content)}")
    return flags[0], flags[1]


def _parsed(post: dict[str, Any] | None) -> tuple[Layout, dict[str, Any]]:
    kind = None if post is None else post["type"]
    if kind is None:
        return Layout(), {}
    if kind == "ByteLevel":
        first_blank, trimmed = byte_level(post, "it")
        return Layout(trimmed=trimmed, first_blank=first_blank), {}
    if kind in ("RobertaProcessing", "BertProcessing"):
        ends = {role: (str(post[role][0]), post[role][1]) for role in ("cls", "sep")}
        tokens = ends["cls"][0], ends["sep"][0]
        if kind == "BertProcessing":
            return bert(*tokens), dict(ends.values())
        flags = post["trim_offsets"], post["add_prefix_space"]
        if any(type(flag) is not bool for flag in flags):
            raise ValueError
        return roberta(*tokens, *flags), dict(ends.values())
    if kind == "TemplateProcessing":
        found = Layout(_items(post["single"], [0]), _items(post["pair"], [0, 1]))
        ids = {token: post["special_tokens"][token]["ids"] for token in found.tokens}
        return found, {token: i for token, (i,) in ids.items()}  # a token that stands for several is not known
    blanks, around = post["processors"]  # a Sequence of what trims and what surrounds
    (trimming, _), (surrounding, ids) = _parsed(blanks), _parsed(around)
    if kind != "Sequence" or trimming.tokens or surrounding.trimmed:
        raise ValueError
    return replace(surrounding, trimmed=trimming.trimmed, first_blank=trimming.first_blank), ids


def _items(items: list[dict[str, Any]], texts: list[int]) -> Template:
    found = []
    if len(items) > MOST_ITEMS:
        raise ValueError
    for item in items:
        ((kind, content),) = item.items()
        if type(content["type_id"]) is not int or not 0 <= content["type_id"] < 1 << 31:
            raise ValueError
        name = {"A": 0, "B": 1}[content["id"]] if kind == "Sequence" else str(content["id"])
        found.append((name, content["type_id"]))
    if sorted(name for name, _ in found if isinstance(name, int)) != texts:
        raise ValueError
    return tuple(found)
