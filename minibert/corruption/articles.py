"""Rows of articles with fields: Grover's data (rowanz/grover, `sample/encoder.py`, `realnews/prepare_lm_data.py`).

An article has up to six fields, domain, date, authors, title, article, summary, in this order, each between two tokens
of its own (`pieces`). In which order a row has them is drawn (`ordered`), with u uniform:

    u < 0.35         the article, then each other field with the chance 0.9, in their order
    0.35 ≤ u < 0.5   every field in its order
    else             each field on its own: with the chance 0.1 left out (never article, title), else before or behind,
                     half and half; a summary that would stand before is left out; those before, then those behind

Where all that is too long for a row, and the article stands before and something behind, with the chance 0.2 what
stands before is cut, so that one padding and the rest fit; where either part alone fills a row, the rest is left out.
Rows of what is longer begin anywhere (`windows`), as many as it is rows long, rounded.

Where the release is silent: of plain text, runs of a document's sentences that fit a row are articles, the first
sentence the title; a run of one sentence is an article without a title. A date that is no "mm-dd-yyyy" stays as it is.
The release may put more articles into a row, behind a padding and `<|resetcontext|>`; its default is not to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options, reading
from minibert.checkpoint import strictjson
from minibert.config import require
from minibert.corruption.masking import Vocabulary
from minibert.options import option

Array = np.ndarray
Rng = np.random.Generator
Pieces = dict[str, list[int]]

FIELDS = ("domain", "date", "authors", "title", "article", "summary")
PAD, RESET = "<|padding|>", "<|resetcontext|>"
BEGIN, END = ({field: f"<|{how}{field}|>" for field in FIELDS} for how in ("begin", "endof"))
TOKENS = (*(token for field in FIELDS for token in (BEGIN[field], END[field])), RESET)  # behind the pieces
SPECIALS = {"pad": PAD, "bos": BEGIN["article"], "eos": END["article"]}
UNCONDITIONAL, IN_ORDER, LEFT_OUT, CUT = 0.35, 0.5, 0.1, 0.2
SUMMARY, AUTHORS = 50, 5  # characters of which they have more
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
IGNORED = -100


@dataclass(frozen=True)
class Articles(options.Rows):
    """What the data functions ask for."""

    articles: str = option("", "make rows of this file's articles, too: JSON lines with text, and as far as known "
                           "title, domain, publish_date, authors, summary", file=True)  # fmt: skip


# ---- Fields ----------------------------------------------------------------------------------------------------------
def pieces(tokenizer: Any, article: Mapping[str, Any]) -> Pieces:
    """The ids of each field that an article has, its two tokens around them; keys as in RealNews: text, title, domain,
    publish_date, authors, summary. InputError for one without text.
    """
    known = fields(article)
    require("article" in known, "an article without text")
    least = {"authors": AUTHORS, "summary": SUMMARY}
    return {field: closed(tokenizer, field, text) for field, text in known.items() if len(text) > least.get(field, 0)}


def fields(article: Mapping[str, Any]) -> dict[str, str]:
    """The text of each field that an article has; keys as in RealNews: text, title, domain, publish_date, authors,
    summary.
    """
    known = {"domain": article.get("domain"), "date": date(article.get("publish_date") or ""),
             "authors": ", ".join(article.get("authors") or ()), "title": article.get("title"),
             "article": article.get("text"), "summary": article.get("summary")}  # fmt: skip
    return {field: text for field, text in known.items() if text}


def closed(tokenizer: Any, field: str, text: str) -> list[int]:
    """A field's ids between its two tokens."""
    return [_token(tokenizer, BEGIN[field]), *tokenizer.ids(text), _token(tokenizer, END[field])]


def _token(tokenizer: Any, token: str) -> int:
    require(token in tokenizer.index, f"the vocabulary has no token {token}: take one of Grover's")
    return tokenizer.index[token]


def date(text: str) -> str:
    """ "mm-dd-yyyy" as "Month dd, yyyy"."""
    parts = text.split("-")
    month = int(parts[0]) if len(parts) == 3 and parts[0].isdecimal() else 0
    return f"{MONTHS[month - 1]} {parts[1]}, {parts[2]}" if 1 <= month <= 12 else text


def ordered(found: Pieces, rng: Rng, size: int, pad: int) -> list[int]:
    """A row's tokens, in an order that is drawn; as many as `size` where they are cut."""
    u, first, behind = rng.random(), [], []
    if u < UNCONDITIONAL:
        first = ["article"]
        behind = [field for field in FIELDS if field != "article" and rng.random() > LEFT_OUT]
    elif u < IN_ORDER:
        first = [*FIELDS]
    else:
        for field in FIELDS:
            if rng.random() < LEFT_OUT and field not in ("article", "title"):
                continue
            if rng.random() >= 0.5:
                behind.append(field)
            elif field != "summary":
                first.append(field)
    a, b = ([i for field in fields for i in found.get(field, ())] for fields in (first, behind))
    if len(a) + len(b) > size and "article" in first and b and rng.random() < CUT:
        return a if max(len(a), len(b)) >= size else [*a[: size - len(b) - 1], pad, *b]
    return a + b


def windows(tokens: Sequence[int], rng: Rng, size: int, pad: int) -> Iterator[list[int]]:
    """Rows of `size` tokens: padded, or of what is longer so many that begin anywhere, no two alike."""
    spans = len(tokens) - size + 1
    if spans <= 1:
        yield [*tokens, *[pad] * (size - len(tokens))]
        return
    for begin in rng.permutation(spans)[: int(0.5 + len(tokens) / size)].tolist():
        yield [*tokens[begin : begin + size]]


# ---- From documents to rows ------------------------------------------------------------------------------------------
def mark(tokenizer: Any, data: Articles, texts: Sequence[Sequence[str]], documents: Sequence) -> dict[str, list]:
    """"articles": the pieces of each run of sentences that fits a row."""
    room, found = data.seq_length - 4, []
    for sentences, ids in zip(texts, documents, strict=True):
        begin, held = 0, 0
        for i, sentence in enumerate(ids):
            if i > begin and held + len(sentence) > room:
                found.append(_article(sentences[begin:i]))
                begin, held = i, 0
            held += len(sentence)
        found += [_article(sentences[begin:])] if sentences[begin:] else []
    return {"articles": [pieces(tokenizer, article) for article in found]}


def _article(sentences: Sequence[str]) -> dict[str, str]:
    return {"title": "" if len(sentences) == 1 else sentences[0], "text": " ".join(sentences[len(sentences) > 1 :])}


def handed(tokenizer: Any, data: Articles, part: str) -> list[Pieces]:
    """The pieces of a file's articles; part: "train", or "held_out", every tenth, or those whose `split` says so."""
    found = []
    for n, article in enumerate(read(data.articles)) if data.articles else ():
        apart = article["split"] != "train" if "split" in article else n % 10 == 9
        if apart == (part == "held_out"):
            found.append(pieces(tokenizer, article))
    return found


def read(file: str) -> Iterator[dict[str, Any]]:
    """The articles of a file of JSON lines; InputError for a line that is none."""
    for n, line in enumerate(reading.contents(file).splitlines(), 1):
        if line.strip():
            article = parsed(line, f"{file}, line {n}")
            require(bool(article.get("text")), f"{file}, line {n}: an article without text")
            yield article


def parsed(line: bytes, where: str) -> dict[str, Any]:
    """The article that a line of JSON holds; InputError for one that is none."""
    article = strictjson.loads(line, where)
    texts = isinstance(article, dict) and all(isinstance(article.get(name) or "", str)
            for name in ("text", "domain", "title", "summary", "publish_date", "split"))  # fmt: skip
    authors = texts and (article.get("authors") or [])
    fits = isinstance(authors, list) and all(isinstance(name, str) for name in authors)
    require(fits, f"{where}: an object is due, its fields text, authors a list of texts")
    return article


def rows(documents: list, rng: Rng, vocabulary: Vocabulary, data: Articles, marked: Any = None) -> dict[str, Array]:
    """input_ids, labels (N, T) int32, shuffled: labels are the same ids, -100 at padding; see the head of the file."""
    vocabulary.need("pad")
    every, made = [*marked["articles"], *marked.get("handed", ())], []
    require(bool(every), "no tokens to make rows of: every document is empty")
    for _ in range(data.duplicates):
        for n in rng.permutation(len(every)).tolist():
            tokens = ordered(every[n], rng, data.seq_length, vocabulary.pad)
            made += windows(tokens, rng, data.seq_length, vocabulary.pad)
    ids = np.array(made, np.int32)[rng.permutation(len(made))]
    return {"input_ids": ids, "labels": np.where(ids == vocabulary.pad, np.int32(IGNORED), ids)}


# ---- Writing one field, given others ---------------------------------------------------------------------------------
def prompt(tokenizer: Any, known: Mapping[str, str], target: str) -> list[int]:
    """The ids behind which the field `target` is written: the known ones in their order, then the token that begins it
    (`format_context`). As training saw no row without an article, the title stands in its place where there is none
    (the release has it there even if there is one).
    """
    require(target in FIELDS, f"no field {target!r}; there are: {', '.join(FIELDS)}")
    known = {field: (known.get(field) or "").strip() for field in FIELDS[:-1]}
    if target != "article":
        known["article"] = known["article"] or known["title"]
    parts = [closed(tokenizer, field, text) for field, text in known.items() if text and field != target]
    return [i for part in parts for i in part] + [_token(tokenizer, BEGIN[target])]


def written(model: Any, known: Mapping[str, str], target: str, **settings: Any) -> str:
    """The field `target` of an article, given others (`fields`), as the model writes it: no token of fields but its end
    is written. settings: of `model.generate`.
    """
    tokenizer = model.tokenizer
    end, begun = tokenizer.index[END[target]], prompt(tokenizer, known, target)
    room = model.config.max_position_embeddings - len(begun) + 1
    require(room > 0, f"the known fields have {len(begun)} tokens, which leave no place for another: shorten them")
    never = sorted({*tokenizer.special_ids} - {end})
    given = {"eos_token_id": end, "suppress_tokens": never, "max_new_tokens": room, **settings}
    ids = model.generate([begun], **given)[0, len(begun) :].tolist()
    return tokenizer.decode(ids[: ids.index(end)] if end in ids else ids)


def vocabulary(gpt2: Any) -> Any:
    """Grover's tokenizer, of GPT-2's: each id one more, 0 the padding, the tokens of fields in the end's place."""
    pieces = [piece for piece in gpt2.vocabulary if piece != gpt2.specials["eos"]]
    kept = {token: type(gpt2.added[gpt2.specials["eos"]])() for token in TOKENS}
    return type(gpt2)([PAD, *pieces], gpt2.merges, SPECIALS, kept)


def asked(model: Any, line: str, where: str, target: str, **settings: Any) -> str:
    """The field `target` of the article that a line of JSON holds, as the model writes it; see `written`."""
    article = parsed(line.encode("utf-8", "surrogateescape"), where)
    return written(model, fields(article), target, **settings)
