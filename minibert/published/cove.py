"""Published names of `families.cove`."""

from minibert import recurrent
from minibert.families.cove import Config

MODEL_TYPE = "cove"
PREFIX = ""
VARIANTS = ("residual_embeddings",)
FIELDS = {"hidden_size": "hidden", "num_hidden_layers": "n_layers"}


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"MTLSTMForTranslation": ("writer", "lm"), "MTLSTM": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: the release's of the encoder."""
    found, leaves = [("embeddings.word.weight", "vectors.weight")], tuple(recurrent.shapes(1, 1))
    for i in range(config.n_layers):
        found += [(f"encoder.{i}.{side}.{leaf}", f"rnn.{leaf}_l{i}{ending}")
                  for side, ending in (("forward", ""), ("backward", "_reverse")) for leaf in leaves]  # fmt: skip
    found.append(("writer.word.weight", "decoder.embedding.weight"))
    found += [(f"writer.layers.{i}.{leaf}", f"decoder.rnn.{leaf}_l{i}")
              for i in range(config.decoder_layers) for leaf in leaves]  # fmt: skip
    found += [(f"writer.{part}.{leaf}", f"decoder.{part}.{leaf}")
              for part in ("attention", "combine") for leaf in ("weight", "bias")]  # fmt: skip
    found += [(f"lm.decoder.{leaf}", f"decoder.out.{leaf}") for leaf in ("weight", "bias")]
    return [(*row, "identity") for row in found]


def aliases(config: Config) -> dict[str, str]:
    """None: no tensor stands in a file twice."""
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("vectors", "encode.word", "", "embeddings")]
    table += [(f"rnn.{i}", f"encode.encoder.{i}", "", f"encoder layer {i}") for i in range(config.n_layers)]
    return [*table, ("decoder.embedding", "encode.target", "", "decoder embeddings"),
            ("decoder", "encode.decoder", "", "decoder layer 0"), ("decoder.out", "next_token.head", "rows", "head")]
