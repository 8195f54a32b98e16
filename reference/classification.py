"""Classification of rows, and regression: z = W s + b, then a mean over the rows.

s (B, D), p {weight (C, D), bias (C)}, labels {labels: (B) classes, or (B, C) bits or values} -> scalar. The mean is of
-log softmax(z)[label] over labels that are not -100; of -y log σ(z) - (1 - y) log σ(-z), or of (z - y)^2, over rows and
classes. Devlin et al. 2018, section 4.1; SPEC TASK-CLS.
"""

from .binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_backward
from .cross_entropy import cross_entropy, cross_entropy_backward
from .linear import linear, linear_backward
from .mean_squared_error import mean_squared_error, mean_squared_error_backward


def classification(s, p, labels, problem_type):
    z, y = linear(s, **p), labels["labels"]
    if problem_type == "single_label_classification":
        return cross_entropy(z, labels=y, ignore=-100)
    if problem_type == "multi_label_classification":
        return binary_cross_entropy(z, labels=y)
    return mean_squared_error(z, target=[row if isinstance(row, list) else [row] for row in y])


def classification_backward(dy, s, p, labels, problem_type):
    """The slope of the loss by the logits, then that of the linear map."""
    z, y = linear(s, **p), labels["labels"]
    if problem_type == "single_label_classification":
        slope = cross_entropy_backward(dy, z, labels=y, ignore=-100)["logits"]
    elif problem_type == "multi_label_classification":
        slope = binary_cross_entropy_backward(dy, z, labels=y)["logits"]
    else:
        target = [row if isinstance(row, list) else [row] for row in y]
        slope = mean_squared_error_backward(dy, z, target=target)["x"]
    slopes = linear_backward(slope, s, **p)
    return {"s": slopes.pop("x"), "p": slopes}
