"""ChineseBERT's published names."""

from typing import Any

from minibert.families import bert, chinesebert
from minibert.tokenizers import pinyin

Tree = dict[str, Any]

OWN = ("use_segments", "use_pinyin", "use_glyphs", "pinyin_letters", "pinyin_length", "pinyin_width", "glyph_fonts",
       "glyph_size")  # fmt: skip
VARIANTS = (*bert.VARIANTS, *OWN)
DROPPED: Tree = {"pinyin_map_len": (), "glyph_embedding_dim": ()}  # sizes that the tensors have, too, in ports' files
BESIDE = (pinyin.FILE, "config/id2pinyin.json", "config/pinyin2tensor.json")
EMBEDDINGS = "bert.embeddings"


def architectures(config: chinesebert.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has; nothing trains the pooler."""
    return {"GlyceBertModel": ("pooler",), "GlyceBertForMaskedLM": ("pooler", "mlm")}


def names(config: chinesebert.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: BERT's table, and those of (12)-(14)."""
    table = [row for row in bert.names(config) if not row[0].startswith("nsp.")]
    own = [
        ("pinyin.letter.weight", "pinyin_embeddings.embedding.weight", config.use_pinyin),
        *((f"pinyin.conv.{leaf}", f"pinyin_embeddings.conv.{leaf}", config.use_pinyin) for leaf in ("weight", "bias")),
        ("glyph.image.weight", "glyph_embeddings.embedding.weight", config.use_glyphs),
        *((f"glyph.map.{leaf}", f"glyph_map.{leaf}", config.use_glyphs) for leaf in ("weight", "bias")),
        *((f"fusion.{leaf}", f"map_fc.{leaf}", config.use_pinyin or config.use_glyphs) for leaf in ("weight", "bias")),
    ]
    if not config.use_segments:
        table = [row for row in table if not row[0].startswith("embeddings.token_type")]
    made = [(f"embeddings.{path}", f"{EMBEDDINGS}.{name}", "identity") for path, name, there in own if there]
    return table[:1] + made + table[1:]


def activations(config: chinesebert.Config) -> list[tuple[str, str, str, str]]:
    """BERT's table without pairs, and (12)-(14)."""
    table = [row for row in bert.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
    own = [
        ("pinyin_embeddings.embedding", "pinyin.letter", config.use_pinyin),
        ("pinyin_embeddings", "pinyin", config.use_pinyin),
        ("glyph_embeddings.embedding", "tables.image", config.use_glyphs),
        ("glyph_map", "glyph", config.use_glyphs),
        ("map_fc", "fusion", config.use_pinyin or config.use_glyphs),
    ]
    if not config.use_segments:
        table = [row for row in table if row[1] != "encode.embeddings.tables.token_type"]
    there = [(f"{EMBEDDINGS}.{name}", f"encode.embeddings.{path}") for name, path, held in own if held]
    made = [(*row, "", "embeddings") for row in there]
    return table[:1] + made + table[1:]
