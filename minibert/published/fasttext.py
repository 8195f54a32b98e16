"""The names that gensim gives to fastText's parts, and this engine's of the images."""

from minibert.families import word2vec
from minibert.families.fasttext import Config, terms

MODEL_TYPE = "fasttext"
PREFIX = "wv."
SEEN = ("images", "glyph_fonts", "glyph_size", "glyph_kernel", "glyph_filters")
VARIANTS = (*word2vec.VARIANTS, "spellings", "word_ngrams", *SEEN)


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    return {"FastText": tuple(term.part for term in terms(config).values()), "FastTextKeyedVectors": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path, published name, bijection) of every parameter, as gensim's FastText has them."""
    own = [("embeddings.word.weight", "wv.vectors_vocab", "identity"),
           ("embeddings.piece.weight", "wv.vectors_ngrams", "identity")]  # fmt: skip
    leaves = ("image.weight", "filter.weight", "filter.bias", "map.weight", "map.bias") if config.images else ()
    own += [(f"embeddings.glyph.{leaf}", f"wv.glyph.{leaf}", "identity") for leaf in leaves]
    return [*own, *(row for row in word2vec.names(config) if row[1] != "wv.vectors")]


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    head = [row for row in word2vec.activations(config) if row[3] == "head"]
    context = [] if config.sg else [("context", "encode.context", "", "layer 0")]
    read = {"wv.vectors_vocab": "word", "wv.vectors_ngrams": "piece"}
    own = [(name, f"encode.spelt.{path}", "", "embeddings") for name, path in read.items()]
    if config.images:
        own += [("wv.glyph.filter", "encode.pictures.glyph.filter", "", "embeddings"),
                ("wv.glyph", "encode.pictures.glyph", "", "embeddings")]  # fmt: skip
    return [*own, ("wv", "encode.spelt", "", "embeddings"), *context, *head]
