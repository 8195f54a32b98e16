"""The rows of parts of words: those below `bucket` are in the table, the others are what is seen in images.

p {piece, glyph: see `image_vectors`}, rows (p) -> (p, d). SPEC FT-IMG.
"""

from .image_vectors import image_vector


def pictured(p, *, rows, bucket, fonts, kernel):
    table, given = p["piece"]["weight"], (fonts, kernel)
    return [table[i] if i < bucket else image_vector(p["glyph"], i - bucket, *given) for i in rows]
