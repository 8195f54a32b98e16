"""Byte-level BPE of one word (Radford et al. 2019; Sennrich et al., arXiv:1508.07909)."""


def byte_level_bpe(word: str, *, merges: list[tuple[str, str]]) -> list[str]:
    """Its pieces: the bytes of its UTF-8; of its pairs the first in `merges` is merged wherever it is, and so on."""
    table = characters()
    pieces = [table[byte] for byte in word.encode("utf-8")]
    while True:
        pairs = {(pieces[i], pieces[i + 1]) for i in range(len(pieces) - 1)}
        ranks = [merges.index(pair) for pair in pairs if pair in merges]
        if not ranks:
            return pieces
        pieces = joined(pieces, *merges[min(ranks)])


def characters() -> list[str]:
    """What stands for each byte: itself where it is visible, else the next character from U+0100 on."""
    table, after = [], 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            table.append(chr(byte))
        else:
            table.append(chr(after))
            after += 1
    return table


def joined(pieces: list[str], left: str, right: str) -> list[str]:
    """Each occurrence of the pair, from the left, made one piece."""
    out, i = [], 0
    while i < len(pieces):
        size = 2 if pieces[i:i + 2] == [left, right] else 1
        out.append("".join(pieces[i:i + size]))
        i += size
    return out
