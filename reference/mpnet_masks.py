"""Who sees what in MPNet: rows of the queries, and of the content, over the columns of the content; 1 = seen.

The content: what is not predicted, then the tokens in the order of prediction, then their placeholders; "plm": without
placeholders; "mlm": the corrupted row alone. Song et al. 2020 (2004.09297), figure 2; SPEC MPN-SEE.
"""


def mpnet_masks(context, predicted, mode):
    b, rest = range(predicted), [1] * context
    if mode == "mlm":
        return [], [rest] * context
    after = (lambda i, least: [int(j >= least) for j in b]) if mode == "mpnet" else lambda i, least: []
    queries = [rest + [int(j < i) for j in b] + after(i, i) for i in b]
    known = [rest + [int(j <= i) for j in b] + after(i, i + 1) for i in b]
    blind = rest + [0 for _ in b] + after(0, 0)
    return queries, [blind] * context + known + [blind] * (predicted if mode == "mpnet" else 0)
