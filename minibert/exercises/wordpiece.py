"""WordPiece: a word is cut into the longest pieces of the vocabulary, from left to right.

At each place the longest piece that is in the vocabulary is taken; behind the first one pieces begin with ##. A word
that cannot be cut to its end is one [UNK], and so is one of more than 100 characters. word: a text, vocabulary: a set
of pieces -> a list of pieces; [] of an empty word.
"""

ORDER, CLAUSE = 17, "TOK-6"


def wordpiece(word, vocabulary):
    if len(word) > 100:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


KNOWN = frozenset(
    {
        "un",
        "##aff",
        "##able",
        "a",
        "##b",
        "ab",
        "##bc",
        "##c",
        "b",
        "c",
        "play",
        "##ing",
        "##i",
        "##n",
        "##g",
        "u",
        "##na",
        "able",
        "x",
        "##x",
        "aff",
    }
)


def calls(rng):
    for word in ("unaffable", "abc", "playing", "unz", "zun", "abbc", "", "b", "cab", "un##able", "x" * 100, "x" * 101):
        yield {"word": word, "vocabulary": KNOWN}
    yield {"word": "Unable", "vocabulary": KNOWN}
    yield {"word": "é" * 60, "vocabulary": frozenset({"é", "##é"})}
    yield {"word": "y" * 101, "vocabulary": frozenset({"y" * 101})}


def _cut(word, vocabulary, longest=True, mark="##", whole=True, most=100, first=""):
    if len(word) > most:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        prefix = mark if start else first
        ends = range(len(word), start, -1) if longest else range(start + 1, len(word) + 1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None:
            if whole:
                return ["[UNK]"]
            pieces.append("[UNK]")
            start += 1
            continue
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def _from_the_end(word, vocabulary):
    if len(word) > 100:
        return ["[UNK]"]
    pieces, end = [], len(word)
    while end:
        start = next((s for s in range(end) if ("##" if s else "") + word[s:end] in vocabulary), None)
        if start is None:
            return ["[UNK]"]
        pieces.insert(0, ("##" if start else "") + word[start:end])
        end = start
    return pieces


def _skipping(word, vocabulary):
    """A character lost between two pieces."""
    if len(word) > 100:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(prefix + word[start:end])
        start = end + 1
    return pieces


def _begun(word, vocabulary):
    """The pieces found before the first place where there is none, then [UNK]."""
    if len(word) > 100:
        return ["[UNK]"]
    for end in range(len(word), -1, -1):
        pieces = wordpiece(word[:end], vocabulary)
        if pieces != ["[UNK]"]:
            return pieces if end == len(word) else [*pieces, "[UNK]"]
    return ["[UNK]"]


WRONG = {
    "the shortest piece is taken, not the longest": lambda word, vocabulary: _cut(word, vocabulary, longest=False),
    "pieces behind the first are looked up without ##": lambda word, vocabulary: _cut(word, vocabulary, mark=""),
    "the first piece is looked up with ##, too": lambda word, vocabulary: _cut(word, vocabulary, first="##"),
    "a part that is unknown is [UNK] by itself: the whole word is": lambda word, vocabulary: _cut(
        word, vocabulary, whole=False
    ),
    "the pieces before the unknown part stay: the whole word is [UNK]": _begun,
    "an unknown part ends the word: the pieces before it stay alone": lambda word, vocabulary: (
        [piece for piece in _begun(word, vocabulary) if piece != "[UNK]" or len(word) > 100]
    ),
    "it is cut from the end": _from_the_end,
    "long words are cut as well: above 100 characters it is [UNK]": lambda word, vocabulary: _cut(
        word, vocabulary, most=10**9
    ),
    "words of 100 characters are [UNK]: more than 100 are": lambda word, vocabulary: _cut(word, vocabulary, most=99),
    "## is missing from the pieces that are returned": lambda word, vocabulary: [
        piece if i == 0 else piece.removeprefix("##") for i, piece in enumerate(wordpiece(word, vocabulary))
    ],
    "an empty word has no pieces: [], not [UNK]": lambda word, vocabulary: wordpiece(word, vocabulary) or ["[UNK]"],
    "an unknown word is []: it is [UNK]": lambda word, vocabulary: [
        p for p in wordpiece(word, vocabulary) if p != "[UNK]"
    ],
    "an unknown word is returned as it is": lambda word, vocabulary: (
        [word] if wordpiece(word, vocabulary) == ["[UNK]"] else wordpiece(word, vocabulary)
    ),
    "each character is a piece": lambda word, vocabulary: [("##" if i else "") + c for i, c in enumerate(word)],
    "the word is a piece or unknown: it is not cut": lambda word, vocabulary: (
        [word] if word in vocabulary else ["[UNK]"] if word else []
    ),
    "the word is made lower case: that was done before, or is not to be": lambda word, vocabulary: wordpiece(
        word.lower(), vocabulary
    ),
    "a long word of the vocabulary is kept: above 100 characters it is [UNK]": lambda word, vocabulary: (
        [word] if word in vocabulary else wordpiece(word, vocabulary)
    ),
    "a long word is cut off at 100 characters: it is [UNK]": lambda word, vocabulary: wordpiece(word[:100], vocabulary),
    "pieces behind the first may lack ##": lambda word, vocabulary: wordpiece(
        word, vocabulary | {"##" + piece for piece in vocabulary}
    ),
    "the next piece begins one character too late": _skipping,
}
