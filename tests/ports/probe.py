"""A configuration away from every default, probe weights and a probe batch: what makes mistakes visible."""

import numpy as np

CONFIG = {
    "vocab_size": 23,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 13,
    "type_vocab_size": 3,
    "layer_norm_eps": 4e-5,
    "pad_token_id": 5,
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Published name -> shape, from the table of NAME-1."""
    V, D, F = (config[name] for name in ("vocab_size", "hidden_size", "intermediate_size"))
    out: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (V, D),
        "bert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], D),
        "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], D),
    }
    linears, norms = {}, ["bert.embeddings.LayerNorm"]
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        linears |= {f"{layer}.attention.self.{name}": (D, D) for name in ("query", "key", "value")}
        linears |= {f"{layer}.attention.output.dense": (D, D)}
        linears |= {f"{layer}.intermediate.dense": (F, D), f"{layer}.output.dense": (D, F)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    linears |= {"bert.pooler.dense": (D, D), "cls.predictions.transform.dense": (D, D), "cls.seq_relationship": (2, D)}
    for name, shape in linears.items():
        out |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in [*norms, "cls.predictions.transform.LayerNorm"]:
        out |= {f"{name}.weight": (D,), f"{name}.bias": (D,)}
    return out | {"cls.predictions.bias": (V,)}


def weights(config: dict, seed: int, std: float = 0.4) -> dict[str, np.ndarray]:
    """Normal with deviation std, biases too; norm weights around 1."""
    rng = np.random.default_rng(seed)
    out = {name: std * rng.standard_normal(shape) for name, shape in shapes(config).items()}
    return {name: w + 1 if name.endswith("LayerNorm.weight") else w for name, w in out.items()}


def inputs(config: dict, seed: int) -> dict:
    """B 4, T 8, M 3: full, padded, padded more, and a row whose keys are all masked; slots without a target.

    The first row holds the padding id where it is not masked; ids repeat, and [CLS] and [SEP] do in every row.
    """
    rng = np.random.default_rng(seed)
    B, T, M, H = 4, 8, 3, config["num_attention_heads"]
    pad = config["pad_token_id"]
    lengths, first = np.array([8, 6, 5, 4]), np.array([4, 3, 2, 2])
    ids = rng.integers(6, config["vocab_size"], (B, T))
    ids[:, 0] = 2
    ids[np.arange(B), first] = ids[np.arange(B), lengths - 1] = 3
    ids[0, 5], ids[0, 6] = pad, ids[0, 1]
    ids[np.arange(T) >= lengths[:, None]] = pad
    at = np.arange(T)
    mask = (at < lengths[:, None]).astype(int)
    mask[3] = 0
    keep = {}
    D = config["hidden_size"]
    rate = config["hidden_dropout_prob"]
    keep["bert.embeddings.dropout"] = rng.random((B, T, D)) >= rate
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        drawn = rng.random((B, H, T, T))
        keep[f"{layer}.attention.self.dropout"] = drawn >= config["attention_probs_dropout_prob"]
        keep |= {f"{layer}.{d}.dropout": rng.random((B, T, D)) >= rate for d in ("attention.output", "output")}
    targets = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    return {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": ((at > first[:, None]) & (at < lengths[:, None])).astype(int),
        "masked_lm_positions": np.array([[1, 3, 6], [1, 4, 0], [3, 0, 0], [1, 0, 0]]),
        "masked_lm_ids": rng.integers(6, config["vocab_size"], (B, M)) * targets,
        "masked_lm_weights": targets.astype(float),
        "next_sentence_labels": np.array([0, 1, 1, 0]),
        "dropout": {path: k.astype(float) for path, k in keep.items()},
    }
