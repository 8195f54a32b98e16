"""Classification by each token beside what stands to its left and right.

Lai et al. 2015, "Recurrent convolutional neural networks for text classification"; over
BERT as widely used code has it.

    s = max over tokens of relu([h_t; LSTMs(h)_t])                                                             (1)
    z = s Wᵀ + b, and the losses of `classification`                                                               (2)

(1) is `pooling.POOLINGS["rcnn"]`, in the part "summary" of the tree: any task of rows has it with the setting pooling.
"""

from minibert.heads import inherited

KIN = "classification"
__getattr__ = inherited(KIN)

TASKS = {"classify_rcnn": {"classes": 2, "pooling": "rcnn"}}
ROWS = "classify"
PUBLISHED = "SequenceClassificationRcnn"
