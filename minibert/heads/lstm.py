"""Classification by what a stack of LSTMs has read, in both directions.

Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005; over BERT as widely used code has it.

    s = [→h_n; ←h_1], the last output in each direction of two layers over the states that are there           (1)
    z = s Wᵀ + b, and the losses of `classification`                                                               (2)

(1) is `pooling.POOLINGS["lstm"]`, in the part "summary" of the tree: any task of rows has it with the setting pooling.
"""

from minibert.heads import inherited

KIN = "classification"
__getattr__ = inherited(KIN)

TASKS = {"classify_lstm": {"classes": 2, "pooling": "lstm"}}
ROWS = "classify"
PUBLISHED = "SequenceClassificationLstm"
