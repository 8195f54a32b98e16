"""What each character is to BERT: removed, blank, mark, punctuation, CJK; frozen, whatever Unicode Python has.

The published tokenizer (Hugging Face `tokenizers`, measured at 0.23.3 over all 1,114,112 code points) mixes three
Unicode versions: categories from about 8.0, canonical decomposition from 9.0, lower case from 17.0. Python's own
tables move with its version, so the categories stand here as ranges of code points (hexadecimal, inclusive), and
`lower` and `decomposition` pin what Python may answer. Only facts that Unicode promises never to change
(decomposition and combining class of a character once assigned) are asked of `unicodedata`.

Differences from Google's original (google-research/bert, tokenization.py), each followed here as published:
- removed: Cc, Cf and also Co (private use) with Cs; the original removes Cc and Cf. Unassigned characters stay.
- CJK: extension E begins at U+2B920; the original has U+2B820, so U+2B820-2B91F are not split off.
- accents are stripped before lower-casing; the original lower-cases first.
- lower case is character by character: a final capital sigma becomes U+03C3, never U+03C2.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from itertools import chain, count, groupby, repeat


def code_points(ranges: str) -> frozenset[int]:
    """The code points of a list of ranges, as below."""
    bounds = ([int(end, 16) for end in part.split("-")] for part in ranges.split())
    return frozenset(code for bound in bounds for code in range(bound[0], bound[-1] + 1))


# U+0000, U+FFFD and categories Cc, Cf, Co, Cs (tab, line feed, carriage return count as blanks).
REMOVED = code_points("""
    0-8 B-C E-1F 7F-9F AD 600-605 61C 6DD 70F 180E 200B-200F 202A-202E 2060-2064 2066-206F D800-F8FF FEFF
    FFF9-FFFB FFFD 110BD 1BCA0-1BCA3 1D173-1D17A E0001 E0020-E007F F0000-FFFFD 100000-10FFFD
""")

# What becomes one space: tab, line feed, carriage return and Unicode's White_Space, less what is removed.
BLANK = code_points("9-A D 20 A0 1680 2000-200A 2028-2029 202F 205F 3000")

# Unicode's White_Space, which is what Rust splits at; Python's blanks have 1C-1F besides.
WHITE_SPACE = "".join(map(chr, [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029]))
WHITE_SPACE += "\u202f\u205f\u3000"

# What Rust's \w is, Unicode 16.0, for `regex`, whatever version that has: with what came with Unicode 15.0 to 16.0, and
# without what came later.
_NEW_WORD, _LATER_WORD = (
    "".join("-".join(chr(int(end, 16)) for end in part.split("-")) for part in ranges.split())
    for ranges in ("""
    897 CF3 ECE 1C89-1C8A A7CB-A7CD A7DA-A7DC 105C0-105F3 10D40-10D65 10D69-10D6D 10D6F-10D85 10EC2-10EC4
    10EFC-10EFF 1123F-11241 11380-11389 1138B 1138E 11390-113B5 113B7-113C0 113C2 113C5 113C7-113CA 113CC-113D3
    113E1-113E2 116D0-116E3 11BC0-11BE0 11BF0-11BF9 11F00-11F10 11F12-11F3A 11F3E-11F42 11F50-11F5A 1342F
    13440-13455 13460-143FA 16100-16139 16D40-16D6C 16D70-16D79 18CFF 1B132 1B155 1CCF0-1CCF9 1DF25-1DF2A
    1E030-1E06D 1E08F 1E4D0-1E4F9 1E5D0-1E5FA 2B739 2EBF0-2EE5D 31350-323AF
    """, """
    558 58B-58C 5C8-5C9 88F B53-B54 C5C CDC 1ACF-1AF0 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D
    107BB-107BF 10940-10959 10EC5-10EC7 10ECB-10ECF 10ED9-10EEE 10EF0-10EFB 11B0A 11B60-11B67 11DB0-11DDB
    11DE0-11DE9 11DF0-11DF1 1246F 12475-1247F 12550-12686 16EA0-16EB8 16EBB-16ED3 16FF2-16FF6 187F8-187FF
    18CD6-18CDA 18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D127-1D128 1D250-1D252
    1D25B-1D25C 1D25F 1D280-1D281 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6F5
    1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD 323B0-33479 3D000-3FC3F
    """)
)  # fmt: skip
WORD = rf"(?V1)[[\w{_NEW_WORD}]--[{_LATER_WORD}]]"

# Ideographs split off one by one; not kana, not Hangul.
CJK = code_points("3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F")

# Category Mn (non-spacing marks), as of about Unicode 8.0.
MARK = code_points("""
    300-36F 483-487 591-5BD 5BF 5C1-5C2 5C4-5C5 5C7 610-61A 64B-65F 670 6D6-6DC 6DF-6E4 6E7-6E8 6EA-6ED 711
    730-74A 7A6-7B0 7EB-7F3 816-819 81B-823 825-827 829-82D 859-85B 8E3-902 93A 93C 941-948 94D 951-957
    962-963 981 9BC 9C1-9C4 9CD 9E2-9E3 A01-A02 A3C A41-A42 A47-A48 A4B-A4D A51 A70-A71 A75 A81-A82 ABC
    AC1-AC5 AC7-AC8 ACD AE2-AE3 B01 B3C B3F B41-B44 B4D B56 B62-B63 B82 BC0 BCD C00 C3E-C40 C46-C48 C4A-C4D
    C55-C56 C62-C63 C81 CBC CBF CC6 CCC-CCD CE2-CE3 D01 D41-D44 D4D D62-D63 DCA DD2-DD4 DD6 E31 E34-E3A
    E47-E4E EB1 EB4-EB9 EBB-EBC EC8-ECD F18-F19 F35 F37 F39 F71-F7E F80-F84 F86-F87 F8D-F97 F99-FBC FC6
    102D-1030 1032-1037 1039-103A 103D-103E 1058-1059 105E-1060 1071-1074 1082 1085-1086 108D 109D 135D-135F
    1712-1714 1732-1734 1752-1753 1772-1773 17B4-17B5 17B7-17BD 17C6 17C9-17D3 17DD 180B-180D 18A9 1920-1922
    1927-1928 1932 1939-193B 1A17-1A18 1A1B 1A56 1A58-1A5E 1A60 1A62 1A65-1A6C 1A73-1A7C 1A7F 1AB0-1ABD
    1B00-1B03 1B34 1B36-1B3A 1B3C 1B42 1B6B-1B73 1B80-1B81 1BA2-1BA5 1BA8-1BA9 1BAB-1BAD 1BE6 1BE8-1BE9 1BED
    1BEF-1BF1 1C2C-1C33 1C36-1C37 1CD0-1CD2 1CD4-1CE0 1CE2-1CE8 1CED 1CF4 1CF8-1CF9 1DC0-1DF5 1DFC-1DFF
    20D0-20DC 20E1 20E5-20F0 2CEF-2CF1 2D7F 2DE0-2DFF 302A-302D 3099-309A A66F A674-A67D A69E-A69F A6F0-A6F1
    A802 A806 A80B A825-A826 A8C4 A8E0-A8F1 A926-A92D A947-A951 A980-A982 A9B3 A9B6-A9B9 A9BC A9E5 AA29-AA2E
    AA31-AA32 AA35-AA36 AA43 AA4C AA7C AAB0 AAB2-AAB4 AAB7-AAB8 AABE-AABF AAC1 AAEC-AAED AAF6 ABE5 ABE8 ABED
    FB1E FE00-FE0F FE20-FE2F 101FD 102E0 10376-1037A 10A01-10A03 10A05-10A06 10A0C-10A0F 10A38-10A3A 10A3F
    10AE5-10AE6 11001 11038-11046 1107F-11081 110B3-110B6 110B9-110BA 11100-11102 11127-1112B 1112D-11134
    11173 11180-11181 111B6-111BE 111CA-111CC 1122F-11231 11234 11236-11237 112DF 112E3-112EA 11300-11301
    1133C 11340 11366-1136C 11370-11374 114B3-114B8 114BA 114BF-114C0 114C2-114C3 115B2-115B5 115BC-115BD
    115BF-115C0 115DC-115DD 11633-1163A 1163D 1163F-11640 116AB 116AD 116B0-116B5 116B7 1171D-1171F
    11722-11725 11727-1172B 16AF0-16AF4 16B30-16B36 16F8F-16F92 1BC9D-1BC9E 1D167-1D169 1D17B-1D182
    1D185-1D18B 1D1AA-1D1AD 1D242-1D244 1DA00-1DA36 1DA3B-1DA6C 1DA75 1DA84 1DA9B-1DA9F 1DAA1-1DAAF
    1E8D0-1E8D6 E0100-E01EF
""")

# ASCII 33-47, 58-64, 91-96, 123-126 and categories P*, as of about Unicode 8.0.
PUNCTUATION = code_points("""
    21-2F 3A-40 5B-60 7B-7E A1 A7 AB B6-B7 BB BF 37E 387 55A-55F 589-58A 5BE 5C0 5C3 5C6 5F3-5F4 609-60A
    60C-60D 61B 61E-61F 66A-66D 6D4 700-70D 7F7-7F9 830-83E 85E 964-965 970 AF0 DF4 E4F E5A-E5B F04-F12 F14
    F3A-F3D F85 FD0-FD4 FD9-FDA 104A-104F 10FB 1360-1368 1400 166D-166E 169B-169C 16EB-16ED 1735-1736
    17D4-17D6 17D8-17DA 1800-180A 1944-1945 1A1E-1A1F 1AA0-1AA6 1AA8-1AAD 1B5A-1B60 1BFC-1BFF 1C3B-1C3F
    1C7E-1C7F 1CC0-1CC7 1CD3 2010-2027 2030-2043 2045-2051 2053-205E 207D-207E 208D-208E 2308-230B 2329-232A
    2768-2775 27C5-27C6 27E6-27EF 2983-2998 29D8-29DB 29FC-29FD 2CF9-2CFC 2CFE-2CFF 2D70 2E00-2E2E 2E30-2E42
    3001-3003 3008-3011 3014-301F 3030 303D 30A0 30FB A4FE-A4FF A60D-A60F A673 A67E A6F2-A6F7 A874-A877
    A8CE-A8CF A8F8-A8FA A8FC A92E-A92F A95F A9C1-A9CD A9DE-A9DF AA5C-AA5F AADE-AADF AAF0-AAF1 ABEB FD3E-FD3F
    FE10-FE19 FE30-FE52 FE54-FE61 FE63 FE68 FE6A-FE6B FF01-FF03 FF05-FF0A FF0C-FF0F FF1A-FF1B FF1F-FF20
    FF3B-FF3D FF3F FF5B FF5D FF5F-FF65 10100-10102 1039F 103D0 1056F 10857 1091F 1093F 10A50-10A58 10A7F
    10AF0-10AF6 10B39-10B3F 10B99-10B9C 11047-1104D 110BB-110BC 110BE-110C1 11140-11143 11174-11175
    111C5-111C9 111CD 111DB 111DD-111DF 11238-1123D 112A9 114C6 115C1-115D7 11641-11643 1173C-1173E
    12470-12474 16A6E-16A6F 16AF5 16B37-16B3B 16B44 1BC9F 1DA87-1DA8B
""")

# Not in MARK, so never stripped, yet with a combining class, so that decomposition may move them.
REORDERED = code_points("""
    8D4-8E1 1B44 1BAA 1BF2-1BF3 1DFB 302E-302F A953 A9C0 111C0 11235 1134D 11442 11446 116B6 11C3F
    1D165-1D166 1D16D-1D172 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E94A
""")

# Beyond the basic plane a character decomposes only if it is one of these (Unicode 9.0).
_DECOMPOSED = code_points("""
    1109A 1109C 110AB 1112E-1112F 1134B-1134C 114BB-114BC 114BE 115BA-115BB 1D15E-1D164 1D1BB-1D1C0 2F800-2FA1D
""")

# Lower case newer than Unicode 14.0, Python 3.11's: (first, last, offset).
_LOWER = (
    (0x1C89, 0x1C89, 1), (0xA7CB, 0xA7CB, 0x264 - 0xA7CB), (0xA7CC, 0xA7CC, 1), (0xA7CE, 0xA7CE, 1),
    (0xA7D2, 0xA7D2, 1), (0xA7D4, 0xA7D4, 1), (0xA7DA, 0xA7DA, 1), (0xA7DC, 0xA7DC, 0x19B - 0xA7DC),
    (0x10D50, 0x10D65, 0x20), (0x16EA0, 0x16EB8, 0x1B),
)  # fmt: skip
_NEW_LOWER = {code: chr(code + offset) for first, last, offset in _LOWER for code in range(first, last + 1)}


def lower(char: str) -> str:
    """One character in lower case, Unicode 17.0 (`İ` gives two characters)."""
    return _NEW_LOWER.get(ord(char)) or char.lower()


def decomposition(char: str) -> str:
    """One character's canonical decomposition (NFD), Unicode 9.0."""
    return unicodedata.normalize("NFD", char) if char < "\U00010000" or ord(char) in _DECOMPOSED else char


# These notes too decompose into a REORDERED stem.
_NOTES = code_points("1D15E-1D164 1D1BB-1D1C0")
# Blanks to str.split, but not to BERT, which removes them: the words at their two sides are one.
_JOINING = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_REORDERED = re.compile("[" + "".join(map(chr, sorted(REORDERED | _NOTES))) + "]")


def combining_class(char: str) -> int:
    return unicodedata.combining(char) if ord(char) in MARK or ord(char) in REORDERED else 0


def canonical_order(text: str) -> tuple[str, list[int]]:
    """NFD of `text` without its removed characters, and for each resulting character the index it came from.

    Only text holding a REORDERED character, decomposed or not, needs this; all else decomposes character by
    character. The published tokenizer gives sources to a reordered run in order: its n-th undecomposed character
    comes from the n-th source.
    """
    kept = [i for i, char in enumerate(text) if ord(char) not in REMOVED]
    chars = [(d, n == 0) for i in kept for n, d in enumerate(decomposition(text[i]))]
    ordered: list[tuple[str, bool]] = []
    for _, run in groupby(chars, key=lambda item: combining_class(item[0]) == 0):
        ordered += sorted(run, key=lambda item: combining_class(item[0]))
    source, sources = -1, []
    for _, first in ordered:
        source += first
        sources.append(kept[source])
    return "".join(char for char, _ in ordered), sources


class Normal(dict[int, str]):
    """Code point -> its normalised text, filled on demand; made for `str.translate`.

    Punctuation and CJK ideographs come between spaces, so that splitting the translated text at spaces yields
    BERT's words. The order is BERT's: remove, blank, split off CJK, decompose and strip marks, lower-case.
    """

    apart = PUNCTUATION

    def __init__(self, lowercase: bool, strip_accents: bool, split_cjk: bool) -> None:
        self.lowercase, self.strip_accents, self.split_cjk = lowercase, strip_accents, split_cjk

    def __missing__(self, code: int) -> str:
        if code in REMOVED:
            text = ""
        elif code in BLANK:
            text = " "
        else:
            text = self._kept(chr(code))
        self[code] = text
        return text

    def words(self, text: str) -> list[str]:
        """BERT's words of the text, normalised."""
        if self.strip_accents and _REORDERED.search(text):
            text, _ = canonical_order(text)
        return text.translate(self).split()

    def chunks(self, text: str) -> list[str]:
        """The text in parts that give their words by themselves: blanks separate words whatever stands around them."""
        return _JOINING.sub("", text).split()

    def unsplit(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """The normalised text before it is split, and the span in `text` of each of its characters."""
        normal, sources = self._unsplit.aligned(text)
        return normal, [(i, i + 1) for i in sources]

    def splitting(self) -> "Normal":
        """What splits a text that `unsplit` has given, and changes nothing else."""
        return Normal(False, False, False)

    @cached_property
    def _unsplit(self) -> "Unsplit":
        return Unsplit(self.lowercase, self.strip_accents, self.split_cjk)

    def aligned(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters the index in `text` that it comes from."""
        origins: Iterable[int] = count()
        if self.strip_accents and _REORDERED.search(text):
            text, origins = canonical_order(text)
        parts = [self[ord(char)] for char in text]
        return "".join(parts), list(chain.from_iterable(map(repeat, origins, map(len, parts))))

    def _kept(self, char: str) -> str:
        text = char
        if self.strip_accents:
            text = "".join(part for part in decomposition(char) if ord(part) not in MARK)
        if self.lowercase:
            text = "".join(map(lower, text))
        text = "".join(f" {part} " if ord(part) in self.apart else part for part in text)
        return f" {text} " if self.split_cjk and ord(char) in CJK else text


class Unsplit(Normal):
    """The same with punctuation where it is: BERT's normalised text, before it is split into words."""

    apart = frozenset()
