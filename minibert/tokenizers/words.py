"""Whole words: BERT's words (`wordpiece`), the most frequent of a text, and [UNK] for all others.

As counted models have them (word2vec's `LearnVocabFromTrainFile`, GloVe's `vocab_count`): by falling count. What it
writes is a WordPiece vocabulary without "##", which any reader of such takes as it is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from minibert.errors import InputError
from minibert.tokenizers import characters, encoding, merges, wordpiece
from minibert.tokenizers.wordpiece import MAX_WORD_CHARS, SPECIALS, WordPiece


class Words(WordPiece):
    """A WordPiece vocabulary of whole words."""

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        lowercase: bool = True,
        min_frequency: int = 5,
        specials: Mapping[str, str] = SPECIALS,
        progress: Callable[[int, int], object] | None = None,
    ) -> "Words":
        """The words that stand at least `min_frequency` times, the most frequent first, of equals by code point; with
        the special tokens at most `vocabulary_size`. InputError where no word is that frequent.
        """
        encoding.vocabulary_size(vocabulary_size)
        encoding.whole("min_frequency", min_frequency)
        encoding.flags(lowercase=lowercase)
        encoding.check_roles(specials, wordpiece.SPECIALS.keys())
        normal = characters.Normal(lowercase, lowercase, True)
        counted: Counter[str] = merges.counted(texts, normal.chunks, normal.words)
        often = [(word, n) for word, n in counted.items() if n >= min_frequency and len(word) <= MAX_WORD_CHARS]
        room = vocabulary_size - len(specials)
        often.sort(key=lambda pair: (-pair[1], pair[0]))
        known = [word for word, _ in often if word not in specials.values()]
        if not known or room < 1:
            said = f"vocabulary_size {vocabulary_size} has no room for words" if known else "no word is frequent enough"
            raise InputError(f"{said}: give more text, or a larger vocabulary")
        return cls([*specials.values(), *known[:room]], lowercase=lowercase, specials=specials)
