"""The recurrent language model's published names."""

from minibert import recurrent
from minibert.families import gpt2, lstm

MODEL_TYPE = "lstm"
PREFIX = ""
VARIANTS: tuple = ()
FIELDS = {
    "hidden_size": "nhid",
    "num_hidden_layers": "nlayers",
    "hidden_dropout_prob": "dropout",
    "tie_word_embeddings": "tie_weights",
}
SAID = gpt2.SAID


def architectures(config: lstm.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"RNNModel": ("lm",), "RNNEncoder": ()}


def names(config: lstm.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    rows = [("embeddings.word.weight", "encoder.weight")]
    for i in range(config.nlayers):
        rows += [(f"layers.{i}.{leaf}", f"rnn.{leaf}_l{i}") for leaf in recurrent.shapes(1, 1)]
    leaves = ("bias",) if config.tie_weights else ("weight", "bias")
    rows += [(f"lm.decoder.{leaf}", f"decoder.{leaf}") for leaf in leaves]
    return [(*row, "identity") for row in rows]


def aliases(config: lstm.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"decoder.weight": "encoder.weight"} if config.tie_weights else {}


def activations(config: lstm.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("encoder", "encode.word", "", "embeddings"), ("drop", "encode.drop", "", "embeddings")]
    for i in range(config.nlayers):
        table += [(f"rnn.{i}.dropout", f"encode.layers.{i}.dropout", "", f"layer {i}")] * bool(i)
        table.append((f"rnn.{i}", f"encode.layers.{i}.rnn", "", f"layer {i}"))
    return [*table, ("drop@1", "encode.drop@1", "", "head"), ("decoder", "next_token.head", "rows", "head")]
