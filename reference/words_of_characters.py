"""A vector for each word from its characters, ids (n, c) -> (n, p): convolutions, maxima, highways, a projection.

p: table, convolutions, highways, projection. Kim et al. 2015 (1508.06615), section 2; SPEC ELMO-CHAR.
"""

from .embedding import embedding
from .highway import highway
from .linear import linear
from .text_convolution import text_convolution


def words_of_characters(p, ids):
    v = text_convolution(embedding(p["table"]["weight"], ids=ids), p["convolutions"])
    for own in p["highways"]:
        v = highway(v, own)
    return linear(v, **p["projection"])
