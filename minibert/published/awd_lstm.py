"""AWD-LSTM's published names."""

from minibert.families import awd_lstm

MODEL_TYPE = "awd_lstm"
VARIANTS = ("alpha", "beta", "bptt")
FIELDS = {
    "embedding_size": "emb_sz",
    "hidden_size": "n_hid",
    "num_hidden_layers": "n_layers",
    "hidden_dropout_prob": "hidden_p",
    "tie_word_embeddings": "tie_weights",
}


def architectures(config: awd_lstm.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"SequentialRNN": ("lm",), "AWD_LSTM": ()}


def names(config: awd_lstm.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter, as fastai's files have them."""
    rows = [("embeddings.word.weight", "0.encoder.weight")]
    for i in range(config.n_layers):
        rows.append((f"layers.{i}.weight_hh", f"0.rnns.{i}.weight_hh_l0_raw"))
        rows += [(f"layers.{i}.{leaf}", f"0.rnns.{i}.module.{leaf}_l0") for leaf in ("weight_ih", "bias_ih", "bias_hh")]
    leaves = ("bias",) if config.tie_weights else ("weight", "bias")
    rows += [(f"lm.decoder.{leaf}", f"1.decoder.{leaf}") for leaf in leaves]
    return [(*row, "identity") for row in rows]


def aliases(config: awd_lstm.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    tied = {"1.decoder.weight": "0.encoder.weight"} if config.tie_weights else {}
    return {"0.encoder_dp.emb.weight": "0.encoder.weight", **tied}


def unused(config: awd_lstm.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: what was last dropped of a matrix."""
    return tuple(f"0.rnns.{i}.module.weight_hh_l0" for i in range(config.n_layers))


def activations(config: awd_lstm.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("0.encoder", "encode.word", "", "embeddings"), ("0.input_dp", "encode.input", "", "embeddings")]
    for i in range(config.n_layers):
        table += [(f"0.hidden_dps.{i - 1}", f"encode.layers.{i}.dropout", "", f"layer {i}")] * bool(i)
        table.append((f"0.rnns.{i}", f"encode.layers.{i}.rnn", "", f"layer {i}"))
    return [*table, ("1.output_dp", "encode.output", "", "head"), ("1.decoder", "next_token.head", "rows", "head")]
