"""AMBERT's names."""

from minibert.families import ambert, bert
from minibert.heads import grained_classification

MODEL_TYPE = "ambert"  # nobody has published files: BERT's names, and the same behind "coarse_"
PREFIX = bert.PREFIX
VARIANTS = (*bert.VARIANTS, "coarse_vocab_size", "structure", "coarse_weight", "num_classes", "agreement")


def architectures(config: ambert.Config) -> dict[str, tuple[str, ...]]:
    """Class -> the optional parts of the tree that it has."""
    return {"AmbertModel": (), "AmbertForPreTraining": ("mlm", "coarse_mlm", "classifier")}


def names(config: ambert.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, name, bijection) of every parameter."""
    fine = [row for row in bert.names(config) if row[0].partition(".")[0] in ("embeddings", "encoder", "mlm")]
    kept = ("embeddings", "encoder", "mlm") if config.structure == "combo" else ("embeddings.word", "mlm")
    c = ambert.COARSE
    coarse = [(f"{c}{path}", f"{c}{name}", how) for path, name, how in fine if path.startswith(kept)]
    heads = [f"classifier.{part}.{leaf}" for part in grained_classification.PARTS for leaf in ("weight", "bias")]
    return [*fine, *coarse, *((name, name, "identity") for name in heads)]


def activations(config: ambert.Config) -> list[tuple[str, str, str, str]]:
    """BERT's of the fine tokens, then of the coarse ones: second calls of shared modules, others behind "coarse_"; of
    the structure "hybrid" the layers' once, of both.
    """
    fine = [row for row in bert.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
    coarse, words = [], "bert.embeddings.word"
    for name, path, kind, place in fine:
        there = path.replace("encode.", f"encode.{ambert.COARSE}").replace("masked_lm.", f"{ambert.COARSE}masked_lm.")
        if config.structure != "hybrid" or not place.startswith("layer"):
            shared = config.structure != "combo" and not name.startswith((words, "cls."))
            coarse.append((f"{name}@1" if shared else f"{ambert.COARSE}{name}", there, kind, f"coarse {place}"))
    return [*fine, *coarse]


def aliases(config: ambert.Config) -> dict[str, str]:
    """Second name in files -> the name whose tensor it repeats."""
    fine = bert.aliases(config)
    return {**fine, **{f"{ambert.COARSE}{alias}": f"{ambert.COARSE}{name}" for alias, name in fine.items()}}


def unused(config: ambert.Config) -> tuple[str, ...]:
    """Names in files that no equation reads."""
    return tuple(f"{grain}{name}" for grain in ("", ambert.COARSE) for name in bert.unused(config))
