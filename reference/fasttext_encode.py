"""What fastText asks its tables of outputs at place s of row r: the mean, or the sum, of a word's or window's rows.

p, config, batch as `fasttext_loss` -> (d). Bojanowski et al. 2016 (1607.04606); SPEC FT-WORD, FT-CBOW, FT-IMG.
"""

from .pictured import pictured
from .spelt import rows_of, total


def fasttext_encode(p, config, batch, r, s):
    words = [s] if config["sg"] else window(batch, r, s)
    rows = [row for t in words for row in of_word(p["embeddings"], config, batch, r, t)]
    mean = config["sg"] or config["cbow_mean"]
    return [v / (len(rows) if mean and rows else 1) for v in total(rows, p["embeddings"])]


def window(batch, r, t):
    before, after, there = (batch[name][r] for name in ("before", "after", "attention_mask"))
    return [s for s in range(len(there)) if s != t and -before[t] <= s - t <= after[t] and there[s] and there[t]]


def of_word(p, config, batch, r, t):
    own = rows_of(p, batch["input_ids"][r][t], [], config["unk_token_id"])
    parts = [int(part[t]) for part in batch["pieces"][r] if part[t] != -100]
    bucket, fonts, kernel = (int(config[name]) for name in ("bucket", "glyph_fonts", "glyph_kernel"))
    return own + pictured(p, rows=parts, bucket=bucket, fonts=fonts, kernel=kernel)
