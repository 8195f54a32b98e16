"""Masked-token head: logits = LN(activation(W x + b)) table^T + decoder bias.

x (..., D) the gathered rows, table (v, D) the word embeddings -> (..., v); p {dense, norm, decoder: {bias}}.
Devlin et al. 2018 (1810.04805), section 3.1 task 1; google-research/bert run_pretraining.py; SPEC BERT-MLM.
"""

from .activation import activation as activate
from .activation import activation_backward
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward


def mlm_head(x, p, table, activation, eps):
    transformed = layer_norm(activate(linear(x, **p["dense"]), activation), **p["norm"], eps=eps)
    return linear(transformed, table, p["decoder"]["bias"])


def mlm_head_backward(dy, x, p, table, activation, eps):
    """From the last step to the first, each the slope of the one before. The table is a weight here; where it is the
    word embeddings, too, it gets the sum of both gradients.
    """
    made = linear(x, **p["dense"])
    active = activate(made, activation)
    last = linear_backward(dy, layer_norm(active, **p["norm"], eps=eps), table, p["decoder"]["bias"])
    norm = layer_norm_backward(last["x"], active, **p["norm"], eps=eps)
    dense = linear_backward(activation_backward(norm.pop("x"), made, activation)["x"], x, **p["dense"])
    of_p = {"norm": norm, "decoder": {"bias": last["bias"]}}
    return {"x": dense.pop("x"), "p": {"dense": dense, **of_p}, "table": last["weight"]}
