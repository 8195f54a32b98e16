"""Unmasked sequences from documents of tokenised sentences: documents[d][s] is the list of ids of a sentence.

    input_ids, input_mask, segment_ids            (N, T = max_length) int32
    next_sentence_labels, sentence_order_labels   (N,) int32, where a maker has them: 0 = is next, 0 = in order
    sentence_structure_labels                     (N,) int32, likewise: 0 = from elsewhere, 1 = is next, 2 = is previous
    starts                                        (N, T) bool, True where a word starts; only where handed in
    input_ids, labels                             (N, T) int32, all that `running_text` has

Rows come in random order, but for those of `running_text`. Empty sentences and documents are passed over; as rows are
shuffled in the end and documents drawn uniformly, the releases' shuffling of documents changes nothing and is left out.
starts: the same nesting as documents, 1 where a word starts (a segmentation); special tokens and padding start words
too. Every maker raises InputError for ids outside the vocabulary, for no tokens at all, for a special token that it
needs and the vocabulary lacks, and for a max_length in which nothing fits.

    layout "bert"     [CLS] A [SEP] B [SEP], segments 0 and 1
    layout "roberta"  <s> A </s></s> B </s>, segments all 0
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minibert.corruption import sentence_pairs
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

Batch = dict[str, np.ndarray]
Documents = Sequence[Sequence[Sequence[int]]]
Rng = np.random.Generator

BETWEEN = {"bert": 1, "roberta": 2}  # separators between A and B
TO_THE_END = 100_000  # a first segment of ELECTRA's that takes it all


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def pairs(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    short_rate: float = 0.1,
    duplicates: int = 1,
    starts: Documents | None = None,
    layout: str = "bert",
) -> Batch:
    """BERT's pairs, with next_sentence_labels; see `sentence_pairs`. duplicates: passes over the documents."""
    made = _made(sentence_pairs.sentence_pairs, short_rate, duplicates)
    return _paired(made, "next_sentence_labels", documents, rng, vocabulary, max_length, starts, layout)


def ordered_pairs(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    short_rate: float = 0.1,
    duplicates: int = 1,
    starts: Documents | None = None,
    layout: str = "bert",
) -> Batch:
    """ALBERT's pairs, with sentence_order_labels; see `sentence_pairs.ordered_pairs`."""
    made = _made(sentence_pairs.ordered_pairs, short_rate, duplicates)
    return _paired(made, "sentence_order_labels", documents, rng, vocabulary, max_length, starts, layout)


def structured_pairs(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    short_rate: float = 0.1,
    duplicates: int = 1,
    starts: Documents | None = None,
    layout: str = "bert",
) -> Batch:
    """StructBERT's pairs, with sentence_structure_labels; see `sentence_pairs.structured_pairs`."""
    made = _made(sentence_pairs.structured_pairs, short_rate, duplicates)
    return _paired(made, "sentence_structure_labels", documents, rng, vocabulary, max_length, starts, layout)


def swapped_pairs(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    short_rate: float = 0.1,
    duplicates: int = 1,
) -> Batch:
    """Megatron-LM's pairs, with next_sentence_labels, 1 = swapped; see `sentence_pairs.swapped_pairs`. InputError where
    no document has two sentences.
    """
    made = _made(sentence_pairs.swapped_pairs, short_rate, duplicates)
    rows = _paired(made, "next_sentence_labels", documents, rng, vocabulary, max_length, None, "bert")
    if not len(rows["input_ids"]):
        raise InputError("no document has two sentences: there is nothing to swap")
    return rows


def sentence_pair_rows(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
    layout: str = "roberta",
) -> Batch:
    """RoBERTa's SENTENCE-PAIR, with next_sentence_labels; see `sentence_pairs.single_pairs`."""
    made = _made(sentence_pairs.single_pairs, None, duplicates)
    return _paired(made, "next_sentence_labels", documents, rng, vocabulary, max_length, starts, layout)


def _made(passed: Callable, short_rate: float | None, duplicates: int) -> Callable[..., np.ndarray]:
    """Several passes over the documents, one after the other."""
    own = () if short_rate is None else (short_rate,)
    return lambda *given: np.concatenate([passed(*given, *own) for _ in range(duplicates)])


def _paired(
    made: Callable,
    labels: str,
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int,
    starts: Documents | None,
    layout: str,
) -> Batch:
    if layout not in BETWEEN:
        raise InputError(f"unknown layout {layout!r}; there are: {', '.join(BETWEEN)}")
    special = 2 + BETWEEN[layout]
    _room(vocabulary, max_length, special + 2, "[CLS] a [SEP] b [SEP]" if layout == "bert" else "<s> a </s></s> b </s>")
    text = _flat(documents, vocabulary, starts)
    parts = rng.permutation(made(text.sentences, text.documents, rng, max_length - special))
    rows = _assembled(text, parts[:, :4], vocabulary, max_length, BETWEEN[layout], layout == "bert")
    return {**rows, labels: parts[:, 4].astype(np.int32)}


# ---- Single sequences ------------------------------------------------------------------------------------------------
def full_sentences(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
) -> Batch:
    """RoBERTa's FULL-SENTENCES (arXiv 1907.11692, section 4.2; fairseq's `--sample-break-mode complete`).

    <s> and whole sentences, each with its own </s>, up to max_length tokens, also across documents, between which
    stands one more </s> (the blank line of the text, which may open a row, as in the release). A sentence too long for
    a row is cut (fairseq makes a longer row of it).
    """
    return _blocks(documents, rng, vocabulary, max_length, duplicates, starts, across=True)


def doc_sentences(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
) -> Batch:
    """RoBERTa's DOC-SENTENCES (`--sample-break-mode complete_doc`): the same, but a row ends with its document."""
    return _blocks(documents, rng, vocabulary, max_length, duplicates, starts, across=False)


def single_sequence(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
) -> Batch:
    """SpanBERT's rows (arXiv 1907.10529, section 3.3; its no_nsp_span_bert_dataset.py): [CLS] x [SEP], segment 0.

    x: as many consecutive whole sentences of a document as fit. A sentence too long for a row is dropped, and ends the
    row before it. (The release also loses what stands before such a sentence when it ends a document; we don't.)
    """
    _room(vocabulary, max_length, 3, "[CLS] a [SEP]")
    text = _flat(documents, vocabulary, starts)
    short = np.diff(text.sentences) <= max_length - 2
    runs = _runs(text.sentences, text.documents, max_length - 2)
    parts = [(text.sentences[a], text.sentences[b]) for a, b in runs if short[a]]
    if not parts:
        raise InputError(f"every sentence has more than the {max_length - 2} tokens that fit: give a larger max_length")
    return _single(text, parts, rng, vocabulary, max_length, duplicates)


def document_rows(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
) -> Batch:
    """BART's rows (fairseq's tasks/denoising.py, `--sample-break-mode complete_doc`): <s> x </s>, segment 0.

    x: as many consecutive whole sentences of a document as fit, nothing between them; of one that is too long for a row
    what fits (the release makes a longer row, or skips it).
    """
    _room(vocabulary, max_length, 3, "<s> a </s>")
    text = _flat(documents, vocabulary, starts)
    parts = [
        (text.sentences[a], min(text.sentences[b], text.sentences[a] + max_length - 2))
        for a, b in _runs(text.sentences, text.documents, max_length - 2)
    ]
    return _single(text, parts, rng, vocabulary, max_length, duplicates)


def packed(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int = 128,
    duplicates: int = 1,
    starts: Documents | None = None,
    single_rate: float = 0.1,
    short_rate: float = 0.05,
) -> Batch:
    """ELECTRA's rows (the release's build_pretraining_dataset.py): sentences packed to max_length, in two segments.

    Sentences gather until they reach the target or the document ends. They go to the first segment while it stays
    under half of the target (in single_rate of the rows: always), the one that exceeds it with probability 1/2; the
    others go to the second; then both are cut at the end. As in the release a short sentence may still go to the first
    after one went to the second. short_rate: rows after which the next aims at a length uniform in [5, max_length].
    Without a second segment the row is [CLS] A [SEP]. No labels: nothing is drawn from elsewhere.
    """
    _room(vocabulary, max_length, 5, "[CLS] a [SEP] b [SEP]")
    text = _flat(documents, vocabulary, starts)
    length = np.diff(text.sentences).tolist()
    order: list[int] = []  # sentences, those of a row's first segment before those of its second
    parts, at = [], 0  # token offsets in that order
    for _ in range(duplicates):
        target = max_length
        for begin, end in zip(text.documents[:-1].tolist(), text.documents[1:].tolist(), strict=True):
            first = begin
            while first < end:
                stop, total = first, 0
                while stop < end and total < target:
                    total += length[stop]
                    stop += 1
                a, b = _halves(length, first, stop, target, single_rate, rng)
                sizes = [sum(length[s] for s in segment) for segment in (a, b)]
                order += a + b
                a_size = min(sizes[0], max_length - 2)
                b_size = min(sizes[1], max(0, max_length - a_size - 3))
                parts.append((at, at + a_size, at + sizes[0], at + sizes[0] + b_size))
                at += sum(sizes)
                target = max_length
                if rng.random() < short_rate:
                    target = int(rng.integers(5, max_length, endpoint=True))
                first = stop
    moved = np.concatenate([np.arange(text.sentences[s], text.sentences[s + 1]) for s in order])
    text = text._replace(ids=text.ids[moved], starts=None if text.starts is None else text.starts[moved])
    return _assembled(text, rng.permutation(np.array(parts)), vocabulary, max_length)


def running_text(
    documents: Documents, rng: Rng, vocabulary: Vocabulary, max_length: int = 128, duplicates: int = 1
) -> Batch:
    """Rows of a left-to-right model: documents end to end, the token `end` behind each, cut at every max_length tokens.

        input_ids, labels (N, T) int32      the same ids: the head asks each position for the next one's

    A pass takes the documents in an order of its own, as drawn, and goes on where the last one stopped: of all passes
    only the last incomplete row is lost. Rows stay in their order. InputError where there is no complete one.

    GPT-2 (Radford et al. 2019, sections 2.1-2.3) reads 1024 tokens at a time and has a token for the end of a text;
    how its rows were cut was not published, nor was its training code. This is what GPT-3's authors say of theirs
    (Brown et al., arXiv 2005.14165, appendix B): rows as long as the context, of several documents with that token
    between them, and nothing that keeps one from attending to those before it.
    """
    vocabulary.need("end")
    if max_length < 2:
        raise InputError(f"max_length {max_length} leaves no next token to ask for: give 2 or more")
    closed = [np.append(document, np.int32(vocabulary.end)) for document in _documents(documents, vocabulary)]
    rows = _end_to_end(closed, rng, max_length, duplicates)
    return {"input_ids": rows, "labels": rows.copy()}


def unbroken_text(
    documents: Documents, rng: Rng, vocabulary: Vocabulary, max_length: int = 128, duplicates: int = 1
) -> np.ndarray:
    """(N, T = max_length) int32: as the rows of `running_text`, but nothing stands between documents.

    T5's (the released preprocessors.py: reduce_concat_tokens, split_tokens), which lets the model find out where one
    ends. The release joins 128 documents at a time and pads what is left of them.
    """
    return _end_to_end(_documents(documents, vocabulary), rng, max_length, duplicates)


def _documents(documents: Documents, vocabulary: Vocabulary) -> list[np.ndarray]:
    """The ids of each document."""
    text = _flat(documents, vocabulary)
    return [text.ids[a:b] for a, b in itertools.pairwise(text.sentences[text.documents].tolist())]


def _end_to_end(parts: list[np.ndarray], rng: Rng, max_length: int, duplicates: int) -> np.ndarray:
    """Passes over the parts, each in an order of its own, cut into rows; what is left in the end is lost."""
    stream = np.concatenate([parts[d] for _ in range(duplicates) for d in rng.permutation(len(parts)).tolist()])
    count = len(stream) // max_length
    if count == 0:
        raise InputError(f"the text has {len(stream)} tokens, fewer than a row of {max_length}: give more text, or "
                         "shorter rows (seq_length)")  # fmt: skip
    return stream[: count * max_length].reshape(count, max_length)


def _halves(
    length: list[int], first: int, stop: int, target: int, single_rate: float, rng: Rng
) -> tuple[list[int], list[int]]:
    """The sentences from `first` to `stop`, dealt to ELECTRA's two segments."""
    aim = TO_THE_END if rng.random() < single_rate else (target - 3) // 2
    a: list[int] = []
    b: list[int] = []
    size = 0
    for s in range(first, stop):
        if not a or size + length[s] < aim or (not b and size < aim and rng.random() < 0.5):
            a.append(s)
            size += length[s]
        else:
            b.append(s)
    return a, b


def _blocks(
    documents: Documents,
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int,
    duplicates: int,
    starts: Documents | None,
    across: bool,
) -> Batch:
    """<s> and a run of sentences that end in </s>."""
    _room(vocabulary, max_length, 3, "<s> a </s>")
    text = _closed(_flat(documents, vocabulary, starts), vocabulary.sep, across)
    parts = [
        (text.sentences[a], min(text.sentences[b], text.sentences[a] + max_length - 1))
        for a, b in _runs(text.sentences, text.documents, max_length - 1)
    ]
    return _single(text, parts, rng, vocabulary, max_length, duplicates, closing=0)


def _single(
    text: "_Text",
    parts: Sequence[tuple[int, int]],
    rng: Rng,
    vocabulary: Vocabulary,
    max_length: int,
    duplicates: int,
    closing: int = 1,
) -> Batch:
    found = np.tile(np.array(parts), (duplicates, 1))
    found = rng.permutation(np.concatenate([found, np.zeros_like(found)], axis=1))
    return _assembled(text, found, vocabulary, max_length, closing=closing)


def _runs(sentences: np.ndarray, documents: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Longest runs of sentences of at most `limit` tokens, each within a document; one that is longer stays alone."""
    offsets, found = sentences.tolist(), []
    for first, last in zip(documents[:-1].tolist(), documents[1:].tolist(), strict=True):
        while first < last:
            stop = int(np.searchsorted(sentences[first : last + 1], offsets[first] + limit, side="right")) - 1 + first
            found.append((first, max(stop, first + 1)))
            first = found[-1][1]
    return found


# ---- Flat text -------------------------------------------------------------------------------------------------------
class _Text(NamedTuple):
    """All ids in one array, the sentences' offsets in it, the documents' offsets among the sentences."""

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    starts: np.ndarray | None


def _room(vocabulary: Vocabulary, max_length: int, least: int, shape: str) -> None:
    vocabulary.need("cls", "sep", "pad")
    if max_length < least:
        raise InputError(f"max_length {max_length} is too short for {shape}: give {least} or more")


def _flat(documents: Documents, vocabulary: Vocabulary, starts: Documents | None = None) -> _Text:
    kept = [[sentence for sentence in document if len(sentence)] for document in documents]
    kept = [document for document in kept if document]
    if not kept:
        raise InputError("no tokens to make instances of: every document is empty")
    lengths = [len(sentence) for document in kept for sentence in document]
    ids = _stream(kept, sum(lengths))
    if ids.min() < 0 or ids.max() >= vocabulary.size:
        wrong = ids[(ids < 0) | (ids >= vocabulary.size)][0]
        raise InputError(f"token id {wrong} lies outside the vocabulary of {vocabulary.size}: check the tokenizer")
    begins = None
    if starts is not None:
        shapes = [[[len(sentence) for sentence in d] for d in nested] for nested in (starts, documents)]
        if shapes[0] != shapes[1]:
            raise InputError("starts must have the documents' nesting: a 0 or 1 for each token of each sentence")
        begins = _stream(starts, len(ids)).astype(bool)
    borders = np.cumsum([0, *map(len, kept)])
    return _Text(ids.astype(np.int32), np.cumsum([0, *lengths]), borders, begins)


def _stream(documents: Documents, count: int) -> np.ndarray:
    return np.fromiter((i for document in documents for sentence in document for i in sentence), np.int64, count=count)


def _closed(text: _Text, sep: int, across: bool) -> _Text:
    """Every sentence with `sep` behind it; across: documents one, with a sentence of `sep` alone between them."""
    ends = text.sentences[1:]
    lone = text.documents[1:-1] if across else text.documents[:0]  # sentences before which a lone sep stands
    where = np.concatenate([ends, text.sentences[lone]])
    order = np.argsort(where, kind="stable")
    ids = np.insert(text.ids, where[order], sep)
    begins = None if text.starts is None else np.insert(text.starts, where[order], True)
    lengths = np.insert(np.diff(text.sentences) + 1, lone, 1)
    documents = np.array([0, len(lengths)]) if across else text.documents
    return _Text(ids, np.concatenate([[0], np.cumsum(lengths)]), documents, begins)


def _assembled(
    text: _Text,
    parts: np.ndarray,
    vocabulary: Vocabulary,
    width: int,
    between: int = 1,
    typed: bool = True,
    closing: int = 1,
) -> Batch:
    """cls A sep (sep B sep) and padding, (N, width), from start and stop of A and B in the stream, parts (N, 4).

    Where B is empty the row ends behind A. between: separators between A and B; typed: B has segment 1; closing: 0
    where A brings its own last separator.
    """
    a_start, a_stop, b_start, b_stop = (column[:, None] for column in parts.T)
    at = np.arange(width)[None, :]
    a_end = 1 + a_stop - a_start
    b_begin = a_end + between
    b_end = b_begin + b_stop - b_start
    paired = b_stop > b_start
    end = np.where(paired, b_end + 1, a_end + closing)
    in_b = paired & (at >= b_begin) & (at < b_end)
    source = np.clip(np.where(at < a_end, a_start + at - 1, b_start + at - b_begin), 0, len(text.ids) - 1)
    ordinary = ((at > 0) & (at < a_end)) | in_b
    special = np.where(at == 0, vocabulary.cls, np.where(at < end, vocabulary.sep, vocabulary.pad))
    rows = {
        "input_ids": np.where(ordinary, text.ids[source], special).astype(np.int32),
        "input_mask": (at < end).astype(np.int32),
        "segment_ids": (typed & paired & (at >= b_begin) & (at < end)).astype(np.int32),
    }
    if text.starts is not None:
        rows["starts"] = ~ordinary | text.starts[source]
    return rows
