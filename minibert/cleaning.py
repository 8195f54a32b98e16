"""C4's cleaning rules: which lines of a web page are text, and which pages are kept.

Raffel et al. 2019, arXiv 1910.10683, section 2.2. Released code: tensorflow/datasets `text/c4_utils.py`, whose order
and numbers these are. Of a page, line by line; a rule takes the line, or with it the page:

    long word        line   it has a word of more than 1000 characters
                            [12], [edit] and [citation needed] are taken out of it; nothing else is changed
    no end mark      line   it does not end in . ! ? or ", or it ends in ...
    few words        line   it has fewer than 5 words
    lorem ipsum      page   it says so
    javascript       line   it says so
    curly bracket    page   it has a {, as code does
    policy           line   it speaks of terms of use, of a privacy or cookie policy, of using cookies
    bad word         page   it has one of a list that is handed in, not as a part of a longer word

and then of the page, with the lines that are left:

    few sentences    page   it has fewer than 3 sentences
    language         page   a check that is handed in says no (the paper: langdetect, English with at least 0.99)
    duplicate        each sentence of three in a row that stood somewhere before, in this page or another one
    few sentences    page   again

The paper's text asks for 5 sentences a page and 3 words a line in its first version; the code for 3 and 5.
Duplicates are the paper's; the released code compares lines. Sentences are `corpus.sentences`, in the release NLTK's.
The release finds no bad word at either end of a line, as its pattern wants a character on both sides; it is found here.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from minibert import corpus
from minibert.tokenizers.prefixes import Prefixes

WORD = 1000  # characters of a word
SPAN = 3  # sentences that make a duplicate together
ENDS = (".", "?", "!", '"')
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
LINE, PAGE = "lines", "pages"
# rule: what it takes
RULES = {
    "long word": LINE, "no end mark": LINE, "few words": LINE, "lorem ipsum": PAGE, "javascript": LINE,
    "curly bracket": PAGE, "policy": LINE, "bad word": PAGE, "few sentences": PAGE, "language": PAGE,
    "duplicate": "sentences",
}  # fmt: skip

Page = list[str]


def cleaned(
    pages: Iterable[Page], counts: Counter[str], *, min_words: int = 5, min_sentences: int = 3,
    bad_words: Iterable[str] = (), language: Callable[[str], bool] | None = None, duplicates: bool = False,
) -> Iterator[Page]:  # fmt: skip
    """Each page's lines that are left, none where the page goes, one page after the other.

    counts: gets how many of RULES' lines, pages and sentences each rule took, and "pages" and "lines" that there were
    and are "kept pages", "kept lines". duplicates: keep them; otherwise eight bytes of each three sentences are held.
    """
    listed = Prefixes(sorted({word.strip().lower() for word in bad_words} - {""}))
    seen: set[bytes] = set()
    for page in pages:
        counts.update({"pages": 1, "lines": len(page)})
        lines = _lines(page, min_words, listed, counts)
        found = [corpus.sentences(line) for line in lines]
        if lines and sum(map(len, found)) < min_sentences:
            counts["few sentences"] += 1
            lines = []
        if lines and language is not None and not language("\n".join(lines)):
            counts["language"] += 1
            lines = []
        if lines and not duplicates:
            lines = _unrepeated(lines, found, min_sentences, seen, counts)
        counts.update({"kept pages": bool(lines), "kept lines": len(lines)})
        yield lines


def _lines(page: Page, min_words: int, listed: Prefixes, counts: Counter[str]) -> Page:
    """The lines that are text; none where one of them takes the page along."""
    kept = []
    for line in page:
        rule, line = _rule(line.strip(), min_words, listed)
        if rule is None:
            kept.append(line)
            continue
        counts[rule] += 1
        if RULES[rule] == PAGE:
            return []
    return kept


def _rule(line: str, min_words: int, listed: Prefixes) -> tuple[str | None, str]:
    """(the first rule that takes the line, or its page, None where none does; the line without citations)."""
    if len(line) > WORD and any(len(word) > WORD for word in line.split()):
        return "long word", line
    line = _CITATION.sub("", line)
    if not line.endswith(ENDS) or line.endswith("..."):
        return "no end mark", line
    if len(line.split()) < min_words:
        return "few words", line
    lower = line.lower()
    if "lorem ipsum" in lower:
        return "lorem ipsum", line
    if "javascript" in lower:
        return "javascript", line
    if "{" in line:
        return "curly bracket", line
    if any(said in lower for said in POLICY):
        return "policy", line
    return ("bad word" if listed.strings and _bad(lower, listed) else None), line


def _bad(lower: str, listed: Prefixes) -> bool:
    """Whether one of the words stands there, with no letter of a to z on either side."""
    for at in range(len(lower)):
        if at and "a" <= lower[at - 1] <= "z":
            continue
        i = listed.longest(lower, at)
        while i >= 0:
            after = lower[at + len(listed.strings[i]) :][:1]
            if not "a" <= after <= "z":
                return True
            i = listed.inner[i]
    return False


def _unrepeated(lines: Page, found: list[list[str]], least: int, seen: set[bytes], counts: Counter[str]) -> Page:
    """The lines without the sentences of runs of SPAN that stood somewhere before; the page's own are seen now."""
    flat = [sentence.lower() for sentence in chain.from_iterable(found)]
    gone = [False] * len(flat)
    for at in range(len(flat) - SPAN + 1):
        key = hashlib.blake2b("\n".join(flat[at : at + SPAN]).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if key in seen:
            gone[at : at + SPAN] = [True] * SPAN
        seen.add(key)
    if not any(gone):
        return lines
    counts["duplicate"] += sum(gone)
    left, at = [], 0
    for line, own in zip(lines, found, strict=True):
        kept = [sentence for n, sentence in enumerate(own, at) if not gone[n]]
        at += len(own)
        if kept:
            left.append(line if len(kept) == len(own) else " ".join(kept))
    if left and len(gone) - sum(gone) < least:
        counts["few sentences"] += 1
        return []
    return left
