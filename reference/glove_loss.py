"""GloVe's loss, cell by cell: half of f(X) (w.w' + b + b' - ln X)^2, the mean over the cells.

p {"embeddings": {"word"}, "context": {"word", "bias", "context_bias"}}, config (dict), batch (input_ids, contexts,
counts, shares (b, t); -100 no cell) -> scalar. Pennington et al. 2014, equations 8 and 9; SPEC GLV.
"""

from .lists import dot
from .scalars import exp, log


def glove_loss(p, config, batch):
    w, own = p["embeddings"]["word"]["weight"], p["context"]
    losses = []
    for row in zip(batch["input_ids"], batch["contexts"], batch["counts"], batch["shares"], strict=True):
        for i, j, x, share in zip(*row, strict=True):
            if j == -100:
                continue
            x, top = x + 0 * w[0][0], config["x_max"] + 0 * w[0][0]
            f = exp(config["alpha"] * (log(x) - log(top))) if x < top else 1
            difference = dot(w[i], own["word"]["weight"][j]) - log(x)
            difference += own["bias"]["word"]["weight"][i][0] + own["context_bias"]["word"]["weight"][j][0]
            losses.append(share * f * difference * difference / 2)
    return sum(losses) / len(losses)
