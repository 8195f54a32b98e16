"""keras-hub's BERT and RoBERTa as candidates, in any backend of Keras: embeddings, layers, BERT's pooler.

    KERAS_BACKEND=jax python keras_bert.py CASE OUT.safetensors [float32|float64]
    minibert check CASE OUT.safetensors --dtype float32

Needs keras, keras-hub, safetensors and a backend (jax, torch or tensorflow). Kernels lie (in, out), those of attention
with heads apart (D, H, K) and (H, K, D). BERT's activation cannot be set: it is the tanh form of GELU, whatever the
checkpoint says, so `bert/tanh` is right and `bert/published` shows G01. RoBERTa's positions count padding, too: with
padding between tokens, as in these cases, that is E03.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import keras  # after the backend is said
import numpy as np
from keras_hub.src.models.bert.bert_backbone import BertBackbone
from keras_hub.src.models.roberta.roberta_backbone import RobertaBackbone
from safetensors.numpy import load_file, save_file


def candidate(weights, inputs, facts, dtype):
    """{"forward/NAME": array} of a case; facts: what its case.json says."""
    config, family = facts["config"], facts["family"]
    keras.backend.set_floatx(dtype)
    sizes = {
        "vocabulary_size": config["vocab_size"], "num_layers": config["num_hidden_layers"], "dtype": dtype,
        "num_heads": config["num_attention_heads"], "hidden_dim": config["hidden_size"],
        "intermediate_dim": config["intermediate_size"], "dropout": 0.0,
    }  # fmt: skip
    longest = config["max_position_embeddings"]
    if family == "roberta":  # the rows up to the padding id stand for no position
        model = RobertaBackbone(**sizes, max_sequence_length=longest - config["pad_token_id"] - 1)
    else:
        model = BertBackbone(**sizes, max_sequence_length=longest, num_segments=config["type_vocab_size"])
    loaded(model, weights, config, family)
    outputs = {f"{family}.embeddings": model.embeddings_dropout.output}
    layers = enumerate(model.transformer_layers)
    outputs |= {f"{family}.encoder.layer.{i}.output": layer.output for i, layer in layers}
    given = {"token_ids": inputs["input_ids"], "padding_mask": inputs["input_mask"]}
    if family == "bert":
        outputs["bert.pooler"], given["segment_ids"] = model.output["pooled_output"], inputs["segment_ids"]
    found = keras.Model(model.inputs, outputs)(given)
    return {f"forward/{name}": np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}


def loaded(model, weights, config, family):
    """The published weights in the places of Keras's layers; a shape that does not fit is Keras's error."""

    def put(layer, name, shape=None):
        kernel, bias = (weights[f"{name}.{kind}"] for kind in ("weight", "bias"))
        layer.set_weights([kernel.T.reshape(shape or kernel.T.shape), bias.reshape(layer.weights[1].shape)])

    def norm(layer, name):
        layer.set_weights([weights[f"{name}.LayerNorm.{kind}"] for kind in ("weight", "bias")])

    word, position, kind = (weights[f"{family}.embeddings.{part}_embeddings.weight"]
                            for part in ("word", "position", "token_type"))  # fmt: skip
    model.token_embedding.set_weights([word])
    if family == "roberta":  # without segments: their one row is added to the positions
        model.embeddings.position_embedding.set_weights([position[config["pad_token_id"] + 1 :] + kind[0]])
    else:
        model.position_embedding.set_weights([position])
        model.segment_embedding.set_weights([kind])
        put(model.pooled_dense, "bert.pooler.dense")
    norm(model.embeddings_layer_norm, f"{family}.embeddings")
    width, heads = config["hidden_size"], config["num_attention_heads"]
    for i, layer in enumerate(model.transformer_layers):
        name, own = f"{family}.encoder.layer.{i}", layer._self_attention_layer
        for part in ("query", "key", "value"):
            put(getattr(own, f"_{part}_dense"), f"{name}.attention.self.{part}", (width, heads, width // heads))
        put(own._output_dense, f"{name}.attention.output.dense", (heads, width // heads, width))
        norm(layer._self_attention_layer_norm, f"{name}.attention.output")
        put(layer._feedforward_intermediate_dense, f"{name}.intermediate.dense")
        put(layer._feedforward_output_dense, f"{name}.output.dense")
        norm(layer._feedforward_layer_norm, f"{name}.output")


def main(case, out, dtype=None):
    facts = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))
    weights, inputs = (load_file(Path(case) / f"{name}.safetensors") for name in ("weights", "inputs"))
    save_file(candidate(weights, inputs, facts, dtype or facts["dtype"]), out)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
