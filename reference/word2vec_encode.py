"""What word2vec asks each word's table of outputs: its vector (skip-gram), or its window's mean (CBOW).

p, config, batch as `word2vec_loss` -> (b, t, d). Mikolov et al. 2013 (1301.3781), section 3; SPEC W2V-SG, W2V-CBOW.
"""

from .window_mean import window_mean


def word2vec_encode(p, config, batch):
    x = [[p["embeddings"]["word"]["weight"][i] for i in row] for row in batch["input_ids"]]
    if config["sg"]:
        return x
    there, places = batch["attention_mask"], range(len(x[0]))
    inside = [
        [[there[r][s] * there[r][t] * (s != t) * (-before[t] <= s - t <= after[t]) for s in places] for t in places]
        for r, (before, after) in enumerate(zip(batch["before"], batch["after"], strict=True))
    ]
    return window_mean(x, inside=inside, mean=config["cbow_mean"])
