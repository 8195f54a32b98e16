"""T5's objectives: what the encoder reads and the decoder writes, of a text from which noise was taken.

Raffel et al. 2019, arXiv 1910.10683, section 3.1.4 (the baseline), 3.3 (the comparison, tables 3 to 7). Released code:
google-research/text-to-text-transfer-transformer `t5/data/preprocessors.py`, `t5/models/gin/objectives`.

    objective      noise, and what of the text "Thank you for inviting me" is   read                     written
    random-spans   spans, round(L * rate) tokens in all, in round(that / mean)  Thank you <X> inv… <Y>   <X> for <Y> me
    replace-spans  each token by itself; runs of them are the spans             <X> you <Y> me           Thank <X> for …
    drop-tokens    each token by itself                                         you me                   Thank for …
    bert-style     each token by itself: 90 % masks, 10 % random tokens         <M> you apple <M> me     the text
    mass-style     each token by itself: all masks                              <M> you <M> <M> me       the text
    prefix-lm      all up to a place drawn uniformly                            Thank you                for inviting …
    deshuffling    all, shuffled                                                me you for Thank …       the text

Both end in </s>. The sentinels <X>, <Y>, … are the vocabulary's last tokens, counted down from its end: in what is read
one for each span of noise, in what is written one for each span between; so the k-th of the one stands for what follows
the k-th of the other. The mask <M> is the first of them, as in the release. `random-spans` is what T5 was trained with.

Spans alternate, beginning with text and ending in noise (`random_spans`, all such divisions being equally likely), and
rows are as long as makes what is read fill seq_length (`lengths`): 568 tokens are read as 512 and written as 114. The
paper's figure ends what is written with one more sentinel, the released code doesn't, nor is it done here.

Where the release does otherwise: for deshuffling and the prefix language model it makes rows of single documents, here
all rows are of running text; the names in brackets there are tokens, here whatever special tokens the vocabulary ends
in; where there are more runs than sentinels, it goes on into the ordinary tokens, here the runs beyond stay as they are
(replace-spans), or rows are refused (random-spans); its random tokens may be sentinels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require
from minibert.corruption import sequences
from minibert.corruption.masking import Vocabulary
from minibert.options import option

Array = np.ndarray
Rng = np.random.Generator
Batch = dict[str, Array]
Pair = tuple[Array, Array]  # what is read, what is written, without </s>

IGNORED = -100  # a label that is not asked for
RANDOM = 0.1  # bert-style: the share of the noise that is random tokens


# ---- The noise -------------------------------------------------------------------------------------------------------
def counts(length: int, rate: float, mean: float) -> tuple[int, int]:
    """(tokens of noise, spans of noise) in a text: rounded in 32 bits, halves to the even, as the release's; at least
    one of each, one token is no noise, and there are no more spans than tokens between them (the release forgets that).
    """
    noise = int(np.rint(np.float32(length) * np.float32(rate)))
    noise = min(max(noise, 1), length - 1)
    spans = max(1, int(np.rint(np.float32(noise) / np.float32(mean))))
    return noise, min(spans, length - noise)


def lengths(width: int, rate: float, mean: float) -> tuple[int, int]:
    """(tokens of a text that are read as `width` or as little fewer as can be, tokens that are then written), </s>
    counted in both: the release's random_spans_helper, which rounds in 64 bits what `counts` rounds in 32, so that at
    some lengths (190) what is written is longer than it says.
    """

    def sizes(length: int) -> tuple[int, int]:
        noise, spans = counts(length, rate, mean)
        return length - noise + spans + 1, noise + spans + 1

    length = width - 1
    while sizes(length + 1)[0] <= width:
        length += 1
    if rate == 0.5 and sizes(length)[1] > sizes(length)[0]:  # as there: so that no more is written than read
        length -= 1
    return length, sizes(length)[1]


def random_spans(length: int, rate: float, mean: float, rng: Rng) -> Array:
    """(length,) bool, True in spans of noise: the release's random_spans_noise_mask.

    Spans of text and of noise alternate, as many of one as of the other, text first. Within the `counts` all divisions
    are equally likely, so a text neither begins with noise nor ends without.
    """
    orig, length = length, max(length, 2)
    noise, spans = counts(length, rate, mean)
    parts = np.stack([_division(length - noise, spans, rng), _division(noise, spans, rng)], axis=1).reshape(-1)
    return np.repeat(np.arange(len(parts)) % 2 == 1, parts)[:orig]


def _division(items: int, parts: int, rng: Rng) -> Array:
    """(parts,) positive lengths that sum to items, any as likely as any other."""
    borders = np.sort(np.argsort(rng.random(items - 1))[: parts - 1]) + 1
    return np.diff(borders, prepend=0, append=items)


def single_tokens(length: int, rate: float, rng: Rng) -> Array:
    """(length,) bool: each token is noise with this probability (iid_noise_mask)."""
    return rng.random(length) < rate


def sentinels(ids: Array, noise: Array, size: int) -> Array:
    """The ids with each run of noise replaced by one sentinel: size - 1, size - 2, …"""
    first = noise & ~np.pad(noise, (1, 0))[:-1]
    return np.where(first, size - np.cumsum(first), ids)[first | ~noise]


# ---- The objectives --------------------------------------------------------------------------------------------------
def _random_spans(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    noise = random_spans(len(text), data.rate, data.mean_span, rng)
    return sentinels(text, noise, vocabulary.size), sentinels(text, ~noise, vocabulary.size)


def _replace_spans(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    noise = single_tokens(len(text), data.rate, rng)
    runs = np.cumsum(noise & ~np.pad(noise, (1, 0))[:-1])
    noise &= runs < vocabulary.sentinels  # what is written may begin with text, and so have a run more
    return sentinels(text, noise, vocabulary.size), sentinels(text, ~noise, vocabulary.size)


def _drop_tokens(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    noise = single_tokens(len(text), data.rate, rng)
    return text[~noise], text[noise]


def _bert_style(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    masked, written = _mass_style(text, rng, vocabulary, data)
    chosen = (rng.random(len(text)) < RANDOM) & (masked != text)
    return np.where(chosen, _ordinary(rng.random(len(text)), vocabulary), masked), written


def _ordinary(drawn: Array, vocabulary: Vocabulary) -> Array:
    """Tokens that are no special ones, each as likely, from numbers drawn in [0, 1)."""
    special = np.array(sorted(vocabulary.special))
    rank = (drawn * (vocabulary.size - len(special))).astype(np.int64)
    return rank + np.searchsorted(special - np.arange(len(special)), rank, side="right")


def _mass_style(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    return np.where(single_tokens(len(text), data.rate, rng), vocabulary.size - 1, text), text


def _prefix_lm(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    end = 1 + int(rng.random() * (len(text) - 1))
    return text[:end], text[end:]


def _deshuffling(text: Array, rng: Rng, vocabulary: Vocabulary, data: "Spans") -> Pair:
    return text[np.argsort(rng.random(len(text)))], text


OBJECTIVES: dict[str, Callable[[Array, Rng, Vocabulary, "Spans"], Pair]] = {
    "random-spans": _random_spans,
    "replace-spans": _replace_spans,
    "drop-tokens": _drop_tokens,
    "bert-style": _bert_style,
    "mass-style": _mass_style,
    "prefix-lm": _prefix_lm,
    "deshuffling": _deshuffling,
}


# ---- A family's options and data functions ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Spans(options.Corrupted):
    """What `rows` and `corrupt` ask for."""

    masking: str = option("dynamic", "corrupt a row once, or anew each time that it is served",
                          among=("static", "dynamic"))  # fmt: skip
    rate: float = option(0.15, "take this share of the tokens away (not in prefix-lm, deshuffling)")
    objective: str = option("random-spans", "what is read and what is written (section 3.3)",
                            among=tuple(OBJECTIVES))  # fmt: skip
    mean_span: float = option(3.0, "tokens of a span, on average; of random-spans", least=1, most=100)
    extra_ids: int = option(100, "end a vocabulary that is learnt with so many sentinels", least=1, most=1000)

    @property
    def sizes(self) -> tuple[int, int]:
        """(tokens of a row of text, tokens that there is room for in what is written), </s> included in the latter."""
        if self.objective == "random-spans":
            return lengths(self.seq_length, self.rate, self.mean_span)
        return self.seq_length - 1, self.seq_length


def rows(documents: list, rng: Rng, vocabulary: Vocabulary, data: Spans, marked: Any = None) -> Batch:
    """Rows of running text (`sequences.unbroken_text`), nothing corrupted yet.

        text            (N, L) int32   L: so many tokens as make rows of seq_length
        attention_mask  (N, T) int32   all 1; T: data.seq_length

    InputError where the vocabulary ends in fewer special tokens than the rows will need.
    """
    length, _ = data.sizes
    require_sentinels(vocabulary, data, length)
    text = sequences.unbroken_text(documents, rng, vocabulary, length, data.duplicates)
    return {"text": text, "attention_mask": np.ones((len(text), data.seq_length), np.int32)}


def corrupt(rows: Batch, rng: Rng, vocabulary: Vocabulary, data: Spans, studied: Any = None) -> Batch:
    """What a model learns from, of such rows freshly corrupted.

        input_ids               (N, T) int32   what is read and </s>, padded at the end
        attention_mask          (N, T) int32   0 at padding
        labels                  (N, S) int32   what is written and </s>, -100 at padding; S: `data.sizes`
        decoder_attention_mask  (N, S) int32   0 at padding

    What the decoder reads, the labels shifted to the right behind its start, is the family's to make.
    """
    vocabulary.need("end", "pad")
    made = [OBJECTIVES[data.objective](text, rng, vocabulary, data) for text in rows["text"]]
    read, there = _padded([read for read, _ in made], data.seq_length, vocabulary.end, vocabulary.pad)
    written, asked = _padded([written for _, written in made], data.sizes[1], vocabulary.end, IGNORED)
    return {"input_ids": read, "attention_mask": there, "labels": written, "decoder_attention_mask": asked}


def _padded(texts: list[Array], width: int, end: int, pad: int) -> Pair:
    """(the texts with </s> behind each, (N, width) int32; which tokens are there, int32)."""
    ids = np.full((len(texts), width), pad, np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
        row[len(text)] = end
    there = np.arange(width) <= np.array([len(text) for text in texts])[:, None]
    return ids, there.astype(np.int32)


def require_sentinels(vocabulary: Vocabulary, data: Spans, length: int) -> None:
    """InputError where the vocabulary ends in fewer special tokens than a text of this length takes."""
    needed = {"random-spans": counts(length, data.rate, data.mean_span)[1], "replace-spans": 2}
    needed |= dict.fromkeys(("bert-style", "mass-style"), 1)
    most = needed.get(data.objective, 0)
    require(vocabulary.sentinels >= most, f"{data.objective} of {length} tokens takes {most} sentinels, but "
            f"the vocabulary ends in {vocabulary.sentinels} special tokens: take another, make rows shorter "
            "(seq_length), or spans longer or fewer (mean_span, rate)")  # fmt: skip
