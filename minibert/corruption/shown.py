"""Texts with what becomes of them between an encoder and a decoder, to look at: BART's noises, T5's objectives."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minibert.config import require
from minibert.corruption import denoising, spans
from minibert.corruption.denoising import NOISES, Denoised
from minibert.corruption.masking import Vocabulary
from minibert.corruption.spans import OBJECTIVES, Spans
from minibert.errors import printable

BLANK = "___"
# fate: (SGR code, how it looks without colour); o: what stood there, n: what stands there now
FATES = {
    "masked": ("97;41", "[{o}→" + BLANK + "]"),
    "random": ("30;43", "[{o}→{n}]"),
    "put in": ("97;45", "[→{n}]"),
    "deleted": ("97;100", "[{o}→]"),
}


class Names(tuple):
    """The names of rules, and of noises with + between them."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and all(part in NOISES for part in name.split("+")))


class Text(NamedTuple):
    """What a text's pieces mean: ids of a sentence by `read`, of a later one by `read` behind a blank; pieces by id."""

    read: Callable[[str], list[int]]
    pieces: list[str]
    vocabulary: Vocabulary


Mark = Callable[[str, str, str], str]  # (fate, what stood there, what stands there) -> how it is shown


def noised(
    sentences: list[str], name: str, rate: float | None, samples: int, rng: np.random.Generator, text: Text, mark: Mark
) -> list[str]:
    """For each sample the text after noises of BART's, and a line that counts."""
    data = Denoised(noise=name) if rate is None else Denoised(noise=name, rate=rate)
    read = [text.read(" " * (i > 0) + sentence) for i, sentence in enumerate(sentences)]
    starts = np.array([i == 0 for ids in read for i, _ in enumerate(ids)], bool)
    before = denoising.text(np.array([i for ids in read for i in ids], np.int32), text.vocabulary, starts)
    lines = []
    for _ in range(samples):
        after = denoising.noised(before, rng, text.vocabulary, data)
        lines += _between(before, after, text, mark)
    return lines


def _between(before: denoising.Text, after: denoising.Text, text: Text, mark: Mark) -> list[str]:
    """A noised text, and what became of how many of its tokens."""

    def said(ids: np.ndarray) -> str:
        return " ".join(printable(text.pieces[i]) for i in ids.tolist())

    items: list[str] = [""]  # in the order of what is read; the first for what is deleted before all else
    fates = []
    for at, new in enumerate(after.ids.tolist()):
        stood = before.ids[after.place == at]
        same = stood.tolist() == [new]
        fate = None if same else "put in" if not len(stood) else "masked" if new == text.vocabulary.mask else "random"
        fates.append(fate)
        now = BLANK if new == text.vocabulary.mask else printable(text.pieces[new])
        items.append(said(stood) if fate is None else mark(fate, said(stood), now))
    place = -1
    for token, now in zip(before.ids, after.place.tolist(), strict=True):
        place = place if now < 0 else now
        if now < 0:
            items[place + 1] = f"{items[place + 1]} {mark('deleted', said(np.array([token])), '')}".strip()
    gone = int((after.place < 0).sum())
    hidden = len(before.ids) - fates.count(None) - gone
    counts = [f"{fates.count(fate)} {fate}" for fate in FATES if fate in fates] + [f"{gone} deleted"] * (gone > 0)
    moved = ["in another order"] * bool((np.diff(after.place[after.place >= 0]) < 0).any())
    return [" ".join(filter(None, items)), f"  {hidden + gone} of {len(before.ids)} tokens hidden: "
            f"{', '.join([*counts, *moved]) or 'none'}"]  # fmt: skip


def written(
    sentences: list[str], name: str, rate: float | None, samples: int, rng: np.random.Generator, text: Text
) -> list[str]:
    """For each sample what is read of a text, and what is to be written, by one of T5's objectives."""
    data = Spans(objective=name) if rate is None else Spans(objective=name, rate=rate)
    ids = np.array([i for n, sentence in enumerate(sentences) for i in text.read(" " * (n > 0) + sentence)], np.int32)
    require(len(ids) >= 2, f"{sentences[0][:40]!r} has one token: nothing of it can be left")
    spans.require_sentinels(text.vocabulary, data, len(ids))
    lines = []
    for _ in range(samples):
        sides = OBJECTIVES[name](ids, rng, text.vocabulary, data)
        for what, side in zip(("reads", "writes"), sides, strict=True):
            pieces = [text.pieces[i] for i in [*side.tolist(), text.vocabulary.end]]
            lines.append(f"{what:<7} {' '.join(map(printable, pieces))}")
    return lines
