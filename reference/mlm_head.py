"""Masked-token head: logits = LN(activation(W x + b)) table^T + decoder bias.

x (..., D) the gathered rows, table (v, D) the word embeddings -> (..., v); p {dense, norm, decoder: {bias}}.
Devlin et al. 2018 (1810.04805), section 3.1 task 1; google-research/bert run_pretraining.py; SPEC BERT-MLM.
"""

from .activation import activation as activate
from .layer_norm import layer_norm
from .linear import linear


def mlm_head(x, p, table, activation, eps):
    transformed = layer_norm(activate(linear(x, **p["dense"]), activation), **p["norm"], eps=eps)
    return linear(transformed, table, p["decoder"]["bias"])
