"""ULMFiT's classifier: the last, the largest and the mean of the states through two linear blocks.

Howard and Ruder 2018, "Universal language model fine-tuning for text classification", arXiv 1801.06146, section 3.3;
fastai's `PoolingLinearClassifier`, 50 units between. Over a family that reads from left to right, or any other.

    s = BN(relu(Drop(BN([h_T; max h_t; mean h_t])) W'ᵀ + b'))                                                     (1)
    z = Drop(s) Wᵀ + b, and the losses of `classification`                                                        (2)

(1) is `pooling.POOLINGS["ulmfit"]`, in the part "summary" of the tree: any task of rows has it with the setting
pooling, "concat" for the pools alone. Both dropouts have the task's rate, where fastai has one for each. Batch norms
take the statistics of the micro-batch while training, and keep a mean of these, which `training.fit` lets follow.
"""

from minibert.heads import inherited

KIN = "classification"
__getattr__ = inherited(KIN)

TASKS = {"classify_ulmfit": {"classes": 2, "pooling": "ulmfit"}}
ROWS = "classify"
PUBLISHED = "SequenceClassificationUlmfit"
