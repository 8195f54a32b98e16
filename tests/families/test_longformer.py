"""Longformer: transformers' LongformerForMaskedLM, windows that cover all, what is outside of them, memory."""

import numpy as np
import pytest
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


PUBLISHED = [Published("longformer", "LongformerForMaskedLM", {"labels": "masked_lm"}, WINDOWS, theirs=theirs, mend=mend,
                       edit=filled)]  # fmt: skip
DIRECTORIES = {"LongformerForMaskedLM": {"mlm"}, "LongformerModel": {"pooler"}}
