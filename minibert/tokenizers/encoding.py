"""What a tokenizer returns, whatever its pieces are: the encoding, its truncation and its padding."""

from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text or pair as tokens, special tokens included.

    attention_mask: 0 at padding. offsets: (start, end) in characters of the text or, with type 1, of the pair;
    (0, 0) for tokens that stand in neither.
    """

    ids: list[int]
    tokens: list[str]
    type_ids: list[int]
    attention_mask: list[int]
    offsets: list[Span]

    def __len__(self) -> int:
        return len(self.ids)

    def padded(self, length: int, pad_id: int, pad_token: str) -> "Encoding":
        """At least `length` tokens long: padding at the end, type 0, mask 0."""
        n = length - len(self)
        return Encoding(
            self.ids + [pad_id] * n,
            self.tokens + [pad_token] * n,
            self.type_ids + [0] * n,
            self.attention_mask + [0] * n,
            self.offsets + [(0, 0)] * n,
        )


def truncated_lengths(lengths: list[int], room: int) -> list[int]:
    """Longest first: the lengths after tokens were taken from the longer sequence until the sum is at most `room`.

    When both must shrink to an odd sum, the longer keeps one more; of equals the second does.
    """
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    if first > second:
        return truncated_lengths([second, first], room)[::-1]
    short = min(first, room // 2)
    return [short, min(second, room - short)]
