"""Next-sentence head: logits = W pooled + b, class 0 "B follows A", class 1 "B is random".

pooled (..., D), p {weight (2, D), bias (2)} -> (..., 2). Devlin et al. 2018, section 3.1 task 2; SPEC BERT-NSP.
"""

from .linear import linear, linear_backward


def nsp_head(pooled, p):
    return linear(pooled, **p)


def nsp_head_backward(dy, pooled, p):
    """A linear map of two classes, and its gradients: dpooled = dy W, dW = dy^T pooled, db = sum of dy over rows."""
    slopes = linear_backward(dy, pooled, **p)
    return {"pooled": slopes.pop("x"), "p": slopes}
