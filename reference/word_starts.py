"""Where words start among the pieces of a text, given the words of its segmentation: 1 or 0 for each piece.

A "##" piece continues. At each piece the longest word of two or more Chinese characters (U+4E00 to U+9FFF) that the
next pieces spell, a character each, makes one word of them. Cui et al. 2019 (1906.08101), section 3.1; SPEC WWM-SEG.
"""


def word_starts(pieces, words):
    starts = [int(not piece.startswith("##")) for piece in pieces]
    i = 0
    while i < len(pieces):
        lengths = [n for n in range(2, len(pieces) - i + 1) if _is_word(pieces[i : i + n], words)]
        n = max(lengths, default=1)
        starts[i + 1 : i + n] = [0] * (n - 1)
        i += n
    return starts


def _is_word(pieces, words):
    return "".join(pieces) in words and all(len(piece) == 1 and "一" <= piece <= "鿿" for piece in pieces)
