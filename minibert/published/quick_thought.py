"""Published names of `families.quick_thought`."""

from minibert.families.quick_thought import SIDES, Config

MODEL_TYPE = "quick_thought"
PREFIX = ""
VARIANTS = ("bidir", "encoder")
FIELDS = {"hidden_size": "encoder_dim"}


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"QuickThought": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: the release's names of its tables."""
    found = [("embeddings.word.weight", "word_embedding", "identity")]
    if not config.shared_table:
        found.append(("embeddings_out.word.weight", "word_embedding_out", "identity"))
    leaves = ("weight_ih", "weight_hh", "bias_ih") if config.encoder != "BOW" else ()
    ways = {"forward.": "_l0", "backward.": "_l0_reverse"} if config.bidir else {"": "_l0"}
    return found + [(f"{side}.{way}{leaf}", f"{side}.{leaf}{ending}", "identity")
                    for side in SIDES for way, ending in ways.items() for leaf in leaves]  # fmt: skip


def aliases(config: Config) -> dict[str, str]:
    """None: no tensor stands in a file twice."""
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = []
    for side in SIDES:
        name = "word_embedding" if side == "f" or config.shared_table else "word_embedding_out"
        again = "@1" if side == "g" and config.shared_table else ""
        table += [(f"{name}{again}", f"encode.{side}.word", "", f"{side} embeddings"),
                  (side, f"encode.{side}.encoder", "", f"{side} layer 0")]  # fmt: skip
    return [*table, ("scores", "adjacent_sentence.scores", "", "head")]
