"""What `encode` puts around the pieces of a byte-level tokenizer, and how it says where they stand."""

from dataclasses import dataclass

from minibert.tokenizers.normalization import WHITE_SPACE

Template = tuple[tuple[str | int, int], ...]  # (a token, or which text: 0 or 1; its type)

SPACE = "\u0120"  # Ġ, which stands for the byte of a space


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

    def span(self, piece: str, start: int, end: int) -> tuple[int, int]:
        """The offsets of a piece, or of the text that an added token covers, which stands from start to end."""
        if not self.trimmed:
            return start, end
        leading = len(piece) - len(piece.lstrip(SPACE + WHITE_SPACE))
        trailing = len(piece) - len(piece.rstrip(SPACE + WHITE_SPACE))
        if self.first_blank and leading == 1 and start == 0:
            leading = 0
        first = min(start + leading, end)
        return first, max(end - trailing, first) if end >= trailing else end


def roberta(cls: str, sep: str, trimmed: bool = True, first_blank: bool = False) -> Layout:
    """<s> A </s> and <s> A </s></s> B </s>, all of type 0."""
    pair = (cls, 0, sep, sep, 1, sep)
    return Layout(tuple((item, 0) for item in pair[:3]), tuple((item, 0) for item in pair), trimmed, first_blank)


def bert(cls: str, sep: str) -> Layout:
    """<s> A </s> and <s> A </s> B </s>, B and what follows of type 1, offsets untrimmed."""
    single = ((cls, 0), (0, 0), (sep, 0))
    return Layout(single, (*single, (1, 1), (sep, 1)))
