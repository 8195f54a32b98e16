"""Classification by windows of tokens: the strongest answer of each filter.

Kim 2014, arXiv 1408.5882, section 2; over BERT as widely used code has it.

    s = max over windows of relu(K h + c), of windows of 2, 3 and 4 tokens beside each other                   (1)
    z = s Wᵀ + b, and the losses of `classification`                                                               (2)

(1) is `pooling.POOLINGS["cnn"]`, in the part "summary" of the tree: any task of rows has it with the setting pooling.
"""

from minibert.heads import inherited

KIN = "classification"
__getattr__ = inherited(KIN)

TASKS = {"classify_cnn": {"classes": 2, "pooling": "cnn"}}
ROWS = "classify"
PUBLISHED = "SequenceClassificationCnn"
