"""UniLM's four masks: which keys k a query q attends to, 1 or 0, of one row whose tokens are there or padding.

objective "bidirectional", "left-to-right", "right-to-left" or "sequence-to-sequence"; present (T): 1 = there; source:
how many tokens are the source's -> (T, T), a list for each query. Dong et al. 2019 (1905.03197), section 2.3; SPEC
UNI-ATT.
"""


def unilm_mask(objective, present, source=0):
    def seen(q, k):
        if objective == "left-to-right":
            return k <= q
        if objective == "right-to-left":
            return k >= q
        return objective == "bidirectional" or k < source or k <= q

    length = len(present)
    return [[int(present[k] and seen(q, k)) for k in range(length)] for q in range(length)]
