"""Families from outside the package: a network fed with pixels, one without attention, and the heads that train them.

`register()` makes families of them, as anybody would of their own: whatever is said to hold for every family is asked
of these two as well.
"""

from minibert import families
from tests.toys import toy_vit, toy_word2vec


def register() -> list[str]:
    """Their names."""
    return [families.named(families.register(module)) for module in (toy_vit, toy_word2vec)]
