"""Longformer: transformers' LongformerForMaskedLM, windows that cover all, what is outside of them, memory."""

import numpy as np
import pytest
from figures import Figures
from published import Published, error, example, pair, probed, replaced

import minibert
from minibert import tree, windowed
from minibert.errors import InputError
from minibert.families import longformer

WINDOWS = {"attention_window": (4, 6, 4)}


def filled(rng, config, batch):
    """Rows to a multiple of the largest window, as theirs are inside, whose modules would have more rows than ours."""
    values = {"input_ids": config.pad_token_id}
    for name in ("input_ids", "input_mask", "segment_ids", "global_attention_mask"):
        batch[name] = np.pad(batch[name], [(0, 0), (0, -batch[name].shape[1] % 12)], constant_values=values.get(name, 0))


def mend(module, config):
    """Their softmax is in float32, whatever the precision of the model."""
    import transformers.models.longformer.modeling_longformer as theirs

    theirs.nn = _Exact(theirs.nn)


class _Exact:
    """torch.nn with a softmax in the precision of what it gets."""

    def __init__(self, nn):
        self.functional = self
        self._nn = nn

    def __getattr__(self, name):
        return getattr(self._nn, name) if hasattr(self._nn, name) else getattr(self._nn.functional, name)

    def softmax(self, x, dim, dtype=None):
        return self._nn.functional.softmax(x, dim=dim)


def theirs(config):
    return {"attention_window": [*config.attention_window]}


# whose rows they have in front, global queries alone, and the query divided in its place
TURNED = tuple(f"longformer.encoder.layer.{i}.attention.self.{name}{part}" for i in range(3)
               for name in ("query", "key", "value") for part in ("", "_global"))  # fmt: skip
PUBLISHED = [Published("longformer", "LongformerForMaskedLM", {"labels": "masked_lm"}, WINDOWS, theirs=theirs, mend=mend,
                       edit=filled, several=TURNED)]  # fmt: skip
DIRECTORIES = {"LongformerForMaskedLM": {"mlm"}, "LongformerModel": {"pooler"}}
VARIANTS = ({}, {"attention_window": 4, "attention_dilation": 1}, {"tie_word_embeddings": False})
SMALL = {"attention_window": 2, "attention_dilation": (1, 2)}
PARAMETERS = [
    ({}, ("mlm",), 148_659_456),
    ({}, ("pooler",), 148_711_257),
    (longformer.PRESETS["large"], ("mlm",), 434_600_960),
]
FIGURES = [
    Figures(
        "longformer",
        {
            "forward/loss": 3.080383990231,
            "gradients/longformer.embeddings.word_embeddings.weight": 1.491389517539,
            "gradients/longformer.encoder.layer.0.attention.self.query_global.weight": 0.065858181621,
        },
        {"attention_window": 4},
        {
            "input_ids": [[0, 9, 5, 11, 3, 7, 4, 2], [0, 6, 10, 3, 12, 2, 1, 1]],
            "input_mask": [[1] * 8, [1] * 6 + [0] * 2],
            "global_attention_mask": [[1, 0, 0, 0, 0, 0, 1, 0], [1] + [0] * 7],
            "segment_ids": [[0] * 8] * 2,
            "masked_lm_positions": [[1, 3], [2, 4]],
            "masked_lm_ids": [[9, 11], [10, 12]],
            "masked_lm_weights": [[1.0, 1.0], [1.0, 1.0]],
        },
    )
]
