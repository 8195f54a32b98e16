"""Families from outside the package: a network fed with pixels, one of word vectors alone, one that goes on from token
to token by a single vector, and the heads that train them.

`register()` makes families of them, as anybody would of their own: whatever is said to hold for every family is asked
of these three as well.
"""

from minibert import families
from tests.toys import toy_rnn, toy_vit, toy_word2vec


def register() -> list[str]:
    """Their names."""
    return [families.named(families.register(module)) for module in (toy_rnn, toy_vit, toy_word2vec)]
