"""Text before a unigram model: ALBERT's preparation, SentencePiece's rules, and the fast tokenizer's reading of both.

Two published programs normalise for one `spiece.model`, and they differ. `Released` is the first, `Fast` the second:
1. google-research/albert (tokenization.py) with google/sentencepiece (src/normalizer.cc), the "slow" tokenizer. Blanks
   are what Python calls blanks; NFKD and lower case are Python's; what has a combining class is dropped; the rules
   apply to the longest match; a sentence is one string, \u2581 for each blank, blanks collapsed.
2. Hugging Face `tokenizers` with the normalizers that its ALBERT converter writes. NFKD is Unicode 9.0's, lower case
   character by character Unicode 17.0's; all marks (category M) are dropped; the rules apply to grapheme clusters
   below six bytes, then to characters, and the shortest match replaces the whole cluster; words are split at
   Unicode's White_Space.

Rules (`Charsmap`) are a double-array trie over UTF-8 bytes (Aoe, IEEE Trans. Softw. Eng. 15(9), 1989; in the form of
s-yata/darts-clone) and the replacements, NUL-terminated. Both normalisers yield words, each beginning with \u2581 (but
perhaps the first), and for each character the span of the given text it stands for.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import regex

from minibert.errors import InputError
from minibert.tokenizers import characters
from minibert.tokenizers.cache import Cache
from minibert.tokenizers.characters import WHITE_SPACE
from minibert.tokenizers.encoding import Span
from minibert.tokenizers.prefixes import Finder

META = "\u2581"
# Published maps have 250 kB, 264,228 nodes, 12 bytes at most in what is replaced, 33 in what replaces it.
_MAX_BYTES, _MAX_NODES, _MAX_KEY, _MAX_TEXT = 1 << 22, 1 << 20, 64, 1 << 6
_WINDOW = 1024  # units at the end of a trie that is being built where room is looked for
_WORD = re.compile(f"{META}[^{META}]*|[^{META}]+")
_BLACK = re.compile(f"[^{WHITE_SPACE}]+")
_UNQUOTED = re.compile("``|''|.", re.DOTALL)
# Flags are said by themselves: for each of many in a row \X would look back to the first.
_CLUSTER = regex.compile(r"[\U0001F1E6-\U0001F1FF]{1,2}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*+|\X")
_CLUSTER_BYTES = 5  # longer ones are looked up character by character
_ACROSS = regex.compile(r" [\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]|\p{GCB=Prepend} ")  # a space in a cluster

# Category M in Unicode 9.0, less what `characters.MARK` has, and what NFKD has decomposed only since.
_OTHER_MARK = characters.code_points("""
    488-489 8D4-8E1 903 93B 93E-940 949-94C 94E-94F 982-983 9BE-9C0 9C7-9C8 9CB-9CC 9D7 A03 A3E-A40 A83 ABE-AC0 AC9
    ACB-ACC B02-B03 B3E B40 B47-B48 B4B-B4C B57 BBE-BBF BC1-BC2 BC6-BC8 BCA-BCC BD7 C01-C03 C41-C44 C82-C83 CBE
    CC0-CC4 CC7-CC8 CCA-CCB CD5-CD6 D02-D03 D3E-D40 D46-D48 D4A-D4C D57 D82-D83 DCF-DD1 DD8-DDF DF2-DF3 F3E-F3F F7F
    102B-102C 1031 1038 103B-103C 1056-1057 1062-1064 1067-106D 1083-1084 1087-108C 108F 109A-109C 17B6 17BE-17C5
    17C7-17C8 1885-1886 1923-1926 1929-192B 1930-1931 1933-1938 1A19-1A1A 1A55 1A57 1A61 1A63-1A64 1A6D-1A72 1ABE
    1B04 1B35 1B3B 1B3D-1B41 1B43-1B44 1B82 1BA1 1BA6-1BA7 1BAA 1BE7 1BEA-1BEC 1BEE 1BF2-1BF3 1C24-1C2B 1C34-1C35
    1CE1 1CF2-1CF3 1DFB 20DD-20E0 20E2-20E4 302E-302F A670-A672 A823-A824 A827 A880-A881 A8B4-A8C3 A8C5 A952-A953
    A983 A9B4-A9B5 A9BA-A9BB A9BD-A9C0 AA2F-AA30 AA33-AA34 AA4D AA7B AA7D AAEB AAEE-AAEF AAF5 ABE3-ABE4 ABE6-ABE7
    ABE9-ABEA ABEC 11000 11002 11082 110B0-110B2 110B7-110B8 1112C 11182 111B3-111B5 111BF-111C0 1122C-1122E
    11232-11233 11235 1123E 112E0-112E2 11302-11303 1133E-1133F 11341-11344 11347-11348 1134B-1134D 11357 11362-11363
    11435-11446 114B0-114B2 114B9 114BB-114BE 114C1 115AF-115B1 115B8-115BB 115BE 11630-11632 1163B-1163C 1163E 116AC
    116AE-116AF 116B6 11720-11721 11726 11C2F-11C36 11C38-11C3F 11C92-11CA7 11CA9-11CB6 16F51-16F7E 1D165-1D166
    1D16D-1D172 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E94A
""")
LATER = characters.code_points("""
    32FF A7F1-A7F4 AB69 105C9 105E4 10781-10785 10787-107B0 107B2-107BA 11383 11385 1138E 11391 113C5 113C7-113C8
    11938 16121-16128 16D68-16D6A 1CCD6-1CCF9 1E030-1E06D 1F16C 1FBF0-1FBF9
""")


class Charsmap:
    """Replacement rules, read from (and kept as) the bytes that a `spiece.model` holds; b"" has none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.rules: dict[str, str] = _rules(data) if data else {}
        self._longest: dict[str, int] = {}
        for key in self.rules:
            self._longest[key[0]] = max(len(key), self._longest.get(key[0], 0))
        self.local = not any(" " in key for key in self.rules)  # no rule reaches over a space
        self.ascii = {key[0] for key in self.rules if key.isascii()}  # that a rule for ASCII begins with

    def longest(self, text: str, at: int) -> tuple[str, int] | None:
        """(replacement, length) of the longest rule that matches here."""
        for n in range(self._longest.get(text[at], 0), 0, -1):
            found = self.rules.get(text[at : at + n])
            if found is not None and at + n <= len(text):
                return found, n
        return None

    def shortest(self, text: str) -> str | None:
        """The replacement of the shortest rule that the text begins with."""
        for n in range(1, min(self._longest.get(text[0], 0), len(text)) + 1):
            found = self.rules.get(text[:n])
            if found is not None:
                return found
        return None


def _rules(data: bytes) -> dict[str, str]:
    """The rules in a precompiled map: its size in bytes (uint32), the units of the trie (uint32 each), the texts.

    A unit: bits 0-7 label, 8 whether a value hangs on it, 9 whether the offset counts in 256s, 10-30 offset; a value
    has bit 31 set. The child of node i by byte c is unit i ^ offset ^ c, its label c; the value is at i ^ offset.
    """
    if len(data) > _MAX_BYTES:
        raise InputError(f"precompiled_charsmap: {len(data)} bytes; it may have {_MAX_BYTES}")
    size = int.from_bytes(data[:4], "little")
    if len(data) < 8 or size % 4 or not 4 <= size <= len(data) - 4:
        raise InputError(f"precompiled_charsmap: a trie of {size} bytes in a map of {len(data)} is no map")
    units = np.frombuffer(data, "<u4", size // 4, offset=4).astype(np.int64)
    texts = data[4 + size :]
    labels = units & 0x800000FF
    by_base = np.flatnonzero((labels > 0) & (labels < 256))
    by_base = by_base[np.argsort(by_base ^ labels[by_base], kind="stable")]  # children of one node side by side
    of_base = by_base ^ labels[by_base]
    rules: dict[str, str] = {}
    nodes, keys, visited = np.zeros(1, np.int64), [b""], 0
    while len(nodes):
        unit = units[nodes]
        base = nodes ^ ((unit >> 10 & 0x1FFFFF) << np.where(unit >> 9 & 1, 8, 0))
        for i in np.flatnonzero(unit >> 8 & 1).tolist():
            if base[i] >= len(units) or len(rules) == _MAX_NODES:
                raise InputError("precompiled_charsmap: a value lies outside the trie")
            key, value = keys[i], int(units[base[i]] & 0x7FFFFFFF)
            end = texts.find(b"\0", value, value + _MAX_TEXT)
            if not key or value >= len(texts) or end < 0:
                where = f"a replacement lies outside the texts, or has {_MAX_TEXT} bytes or more"
                raise InputError(f"precompiled_charsmap: {where}")
            try:
                rules[key.decode("utf-8")] = texts[value:end].decode("utf-8")
            except UnicodeDecodeError:
                raise InputError("precompiled_charsmap: a rule is not UTF-8") from None
        counts = np.searchsorted(of_base, base, "right") - np.searchsorted(of_base, base)
        parents = np.repeat(np.arange(len(nodes)), counts)
        starts = np.searchsorted(of_base, base) - np.cumsum(counts) + counts
        nodes = by_base[np.repeat(starts, counts) + np.arange(len(parents))]
        visited += len(nodes)
        if visited > _MAX_NODES or len(keys[0]) == _MAX_KEY:  # nodes may be shared, so that a trie could be endless
            raise InputError(f"precompiled_charsmap: more than {_MAX_NODES} nodes or a key of over {_MAX_KEY} bytes")
        keys = [keys[i] + bytes([byte]) for i, byte in zip(parents.tolist(), labels[nodes].tolist(), strict=True)]
    return rules


def compiled(rules: Mapping[str, str]) -> bytes:
    """The bytes of a map of these rules, as `_rules` reads them."""
    if not rules:
        return b""
    texts, places = bytearray(), {}
    for text in sorted(set(rules.values())):
        places[text] = len(texts)
        texts += text.encode("utf-8") + b"\0"
    root: dict[int, dict | int] = {}
    for key, text in sorted(rules.items()):
        node = root
        for byte in key.encode("utf-8"):
            node = node.setdefault(byte, {})
        node[0] = places[text]
    free = -1
    units, bases, first = [0] + [free] * 511, set(), 1
    waiting = [(0, root)]
    for at, node in waiting:
        labels = sorted(node)
        first = cell = max(first, len(units) - _WINDOW)
        while True:  # the first base where all children find room
            if cell >= len(units) - 256:
                units += [free] * 256
            if units[cell] == free:
                base = cell ^ labels[0]
                if base and base not in bases and all(units[base ^ label] == free for label in labels):
                    break
            elif cell == first:
                first += 1
            cell += 1
        bases.add(base)
        units[at] |= (base ^ at) << 10 | (1 << 8 if 0 in node else 0)
        for label, child in node.items():
            if label:
                units[base ^ label] = label
                waiting.append((base ^ label, child))
            else:
                units[base] = 1 << 31 | child
    units = [1 << 31 if unit == free else unit for unit in units]  # which no byte leads to
    trie = np.array(units, "<u4").tobytes()
    return len(trie).to_bytes(4, "little") + trie + bytes(texts)


class Released:
    """SentencePiece's normalisation and, when `prepared`, ALBERT's before it.

    symbols: user-defined ones, which stand in the text as they are. collapse: `remove_extra_whitespaces`.
    """

    SETTINGS = ("dummy_prefix", "collapse", "prepared", "lowercase", "keep_accents", "symbols")

    def __init__(
        self,
        charsmap: Charsmap,
        dummy_prefix: bool,
        collapse: bool,
        symbols: Iterable[str] = (),
        prepared: bool = True,
        lowercase: bool = True,
        keep_accents: bool = False,
    ) -> None:
        self.charsmap, self.dummy_prefix, self.collapse = charsmap, dummy_prefix, collapse
        self.prepared, self.lowercase, self.keep_accents = prepared, lowercase, keep_accents
        self.symbols = frozenset(symbols)
        self._symbols = Finder(self.symbols)
        self._local = charsmap.local and dummy_prefix and collapse and " " not in "".join(self.symbols)
        self._chunks = Cache(self._chunk)

    def words(self, text: str, start: int = 0) -> list[str]:
        """What `aligned` says, without the spans."""
        if self._local:
            joined = " ".join(map(self._chunks.__getitem__, text.split() if self.prepared else text.split(" ")))
            if META not in joined:
                return [META + word for word in joined.split(" ") if word]
        return [word for word, _ in self.aligned(text)]

    def aligned(self, text: str, start: int = 0) -> list[tuple[str, list[Span]]]:
        """Each word, and for each of its characters the span in `text` up to where the next one begins."""
        text, spans = self._prepared(text) if self.prepared else (text, [(i, i + 1) for i in range(len(text))])
        begins = [begin for begin, _ in spans] + [spans[-1][1] if spans else 0]
        found = list(self._replaced(text))
        if self.collapse:
            first = next((i for i, (new, _) in enumerate(found) if new != " "), len(found))
            found = found[first:]
        if not found:
            return []
        chars, places = ([META], [found[0][1]]) if self.dummy_prefix else ([], [])
        blank = self.collapse
        for new, place in found:
            new = new.lstrip(" ") if blank else new
            if new:
                chars += new.replace(" ", META)
                places += [place] * len(new)
                blank = self.collapse and new.endswith(" ")
        end = len(text)
        while self.collapse and chars and chars[-1] == META:
            chars.pop()
            end = places.pop()
        spans = [(begins[place], begins[after]) for place, after in pairwise([*places, end])]
        return _words("".join(chars), spans)

    def unsplit(self, text: str) -> tuple[str, list[Span]]:
        """The text in lower case, if it is to be, and the span in it of each character: where the release looks for
        added tokens."""
        if not self.lowercase:
            return text, [(i, i + 1) for i in range(len(text))]
        return text.lower(), [(i, i + 1) for i, char in enumerate(text) for _ in char.lower()]

    def cut(self, text: str, spans: list[Span], start: int = 0) -> list[tuple[str, list[Span]]]:
        """The words of a text that `unsplit` has given, and the spans of each."""
        found = self.aligned(text, start)
        ends = [begin for begin, _ in spans] + [spans[-1][1]]
        return [(word, [(ends[a], ends[b]) for a, b in places]) for word, places in found]

    def _chunk(self, chunk: str) -> str:
        """What a stretch without spaces becomes; what stands around it doesn't matter."""
        text = self._prepared(chunk)[0] if self.prepared else chunk
        return "".join(new for new, _ in self._replaced(text))

    def _prepared(self, text: str) -> tuple[str, list[Span]]:
        """ALBERT's preparation, and the span each character comes from."""
        chars, spans = [], []
        for word in re.finditer(r"\S+", text):
            if chars:
                chars.append(" ")
                spans.append((spans[-1][1], word.start()))
            for part in _UNQUOTED.finditer(word[0]):
                new = '"' if len(part[0]) == 2 else part[0]
                if not self.keep_accents:
                    new = "".join(c for c in unicodedata.normalize("NFKD", new) if not unicodedata.combining(c))
                chars += new
                spans += [(word.start() + part.start(), word.start() + part.end())] * len(new)
        if not self.lowercase:
            return "".join(chars), spans
        spans = [span for char, span in zip(chars, spans, strict=True) for _ in char.lower()]
        return "".join(chars).lower(), spans  # as a whole: a sigma is final or not by what follows

    def _replaced(self, text: str) -> Iterator[tuple[str, int]]:
        """(replacement, where its source begins), from the left."""
        at = 0
        while at < len(text):
            n = self._symbols.match(text, at) if self.symbols else 0
            new, n = (text[at : at + n], n) if n else self.charsmap.longest(text, at) or (text[at], 1)
            yield new, at
            at += n


class Fast:
    """The published fast tokenizer's normalisation and splitting into words.

    quotes, strip_accents, lowercase, collapse: which normalizers there are. split: whether blanks split and vanish.
    prepend: whether each stretch ("always"), only the very first ("first") or none ("never") gets a \u2581.
    """

    SETTINGS = ("quotes", "strip_accents", "lowercase", "collapse", "split", "prepend")

    def __init__(
        self,
        charsmap: Charsmap,
        quotes: bool = True,
        strip_accents: bool = True,
        lowercase: bool = True,
        collapse: bool = False,
        split: bool = True,
        prepend: str = "always",
    ) -> None:
        self.charsmap, self.quotes, self.strip_accents, self.lowercase = charsmap, quotes, strip_accents, lowercase
        self.collapse, self.split, self.prepend = collapse, split, prepend
        self._chunks, self._unmarked = Cache(self._chunk), Cache(_unmarked)

    def independent(self, text: str) -> bool:
        """Whether what lies between its spaces normalises by itself; with `split` it gives words of its own, too."""
        return self.charsmap.local and self.prepend == "always" and (text.isascii() or not _ACROSS.search(text))

    def words(self, text: str, start: int = 0) -> list[str]:
        """What `aligned` says, without the spans."""
        if not self.independent(text):
            return [word for word, _ in self.aligned(text, start)]
        text = " ".join(map(self._chunks.__getitem__, text.split(" ")))
        if not self.split:
            text = re.sub(" {2,}", " ", text) if self.collapse else text
            text = text.replace(" ", META)
            return _WORD.findall(text if text.startswith(META) else META + text) if text else []
        words = _BLACK.findall(text)
        if META in text:
            return [part for word in words for part in _WORD.findall(META + word.removeprefix(META))]
        return [META + word for word in words]

    def aligned(self, text: str, start: int = 0) -> list[tuple[str, list[Span]]]:
        """Each word, and the span in `text` of each of its characters; `start`: where the text begins in all of it."""
        return self.cut(*self.unsplit(text), start)

    def unsplit(self, text: str) -> tuple[str, list[Span]]:
        """The normalised text before it is split, and the span in `text` of each of its characters."""
        text, spans = self._normal(text)
        if not self.collapse:
            return text, spans
        parts = [(" " if len(m[0]) > 1 else m[0], spans[m.end() - 1]) for m in re.finditer(" {2,}|.", text, re.S)]
        return "".join(char for char, _ in parts), [span for _, span in parts]

    def cut(self, text: str, spans: list[Span], start: int = 0) -> list[tuple[str, list[Span]]]:
        """The words of a normalised text, and the spans of each."""
        if self.split:
            stretches = [(m[0], spans[m.start() : m.end()], spans[m.start()][0]) for m in _BLACK.finditer(text)]
        else:
            stretches = [(text.replace(" ", META), spans, spans[0][0])] if text else []
        words = []
        for part, places, at in stretches:
            first = self.prepend == "always" or (self.prepend == "first" and start + at == 0)
            if first and not part.startswith(META):
                part, places = META + part, [places[0], *places]
            words += _words(part, places)
        return words

    def _chunk(self, chunk: str) -> str:
        return self._normal(chunk)[0]

    def _normal(self, text: str) -> tuple[str, list[Span]]:
        """The normalised text, blanks as they are, and the span each character comes from."""
        chars, spans = list(text), [(i, i + 1) for i in range(len(text))]
        if self.quotes and ("``" in text or "''" in text):
            parts = list(_UNQUOTED.finditer(text))
            chars = ['"' if len(part[0]) == 2 else part[0] for part in parts]
            spans = [(part.end() - 1, part.end()) for part in parts]
        if text.isascii():  # no marks, and mostly nothing that a rule is about
            plain = "".join(chars).lower() if self.lowercase else "".join(chars)
            if self.charsmap.ascii.isdisjoint(plain):
                return plain, spans
        if self.strip_accents:
            chars, spans = each(self._unmarked.__getitem__, chars, spans)
        if self.lowercase:
            chars, spans = each(characters.lower, chars, spans)
        if self.charsmap.rules:
            chars, spans = self._ruled("".join(chars), spans)
        return "".join(chars), spans

    def _ruled(self, text: str, spans: list[Span]) -> tuple[list[str], list[Span]]:
        """The rules applied to clusters, then characters. The spans are the published ones: what a rule leaves out is
        counted off the character before it, and what it adds shares the span before."""
        changes: list[list] = []  # [character, its change, as in `placed`]
        for cluster in _CLUSTER.findall(text):
            small = len(cluster.encode("utf-8", "replace")) <= _CLUSTER_BYTES
            whole = self.charsmap.shortest(cluster) if small else None
            parts = [(cluster, whole)] if whole is not None else [(c, self.charsmap.shortest(c)) for c in cluster]
            for part, new in parts:
                new, surplus = (part, 0) if new is None else (new, len(new) - len(part))
                changes += [[char, int(i >= len(part))] for i, char in enumerate(new)]
                if surplus < 0 and changes:
                    changes[-1][1] += surplus
        return [char for char, _ in changes], placed([change for _, change in changes], spans)


def placed(changes: Iterable[int], spans: list[Span]) -> list[Span]:
    """The span of each new character. Its change: 0: instead of the next one there was, 1: added, -n: instead of the
    next n + 1, of which it has the span of the first."""
    at, places = 0, []
    for change in changes:
        places.append((spans[at - 1] if at else (0, 0)) if change > 0 else spans[at])
        at += 1 - change if change <= 0 else 0
    return places


def compatible(char: str) -> str:
    """One character's compatibility decomposition (NFKD), Unicode 9.0."""
    return char if ord(char) in LATER else unicodedata.normalize("NFKD", char)


def marked(char: str) -> bool:
    """Whether it is a mark (category M), Unicode 9.0."""
    return ord(char) in characters.MARK or ord(char) in _OTHER_MARK


def _unmarked(char: str) -> str:
    """NFKD of one character without marks, as of Unicode 9.0."""
    return "".join(part for part in compatible(char) if not marked(part))


def each(function: Callable[[str], str], chars: Iterable[str], spans: list[Span]) -> tuple[list[str], list[Span]]:
    """Each character replaced; all of a replacement has the span of what it replaces."""
    new = [function(char) for char in chars]
    return list("".join(new)), [span for text, span in zip(new, spans, strict=True) for _ in text]


def _words(text: str, spans: list[Span]) -> list[tuple[str, list[Span]]]:
    """Split before each \u2581."""
    return [(word[0], spans[word.start() : word.end()]) for word in _WORD.finditer(text)]
