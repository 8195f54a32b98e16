"""Next-sentence head: logits = W pooled + b, class 0 "B follows A", class 1 "B is random".

pooled (..., D), p {weight (2, D), bias (2)} -> (..., 2). Devlin et al. 2018, section 3.1 task 2; SPEC BERT-NSP.
"""

from .linear import linear


def nsp_head(pooled, p):
    return linear(pooled, **p)
