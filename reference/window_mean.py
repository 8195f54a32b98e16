"""The mean, or the sum, of the rows within each window: y_t = (1/|W_t|) sum_{s in W_t} x_s; 0 of an empty one.

x (b, t, d), inside bits (b, t, t) -> (b, t, d). undivided: the mean, with the gradient of the sum: the value does not
depend on it, so no derivative of this double shows it. Mikolov et al. 2013 (1301.3781), section 3.1; SPEC W2V-CBOW.
"""


def window_mean(x, *, inside, mean, undivided=False):
    def row(tokens, bits):
        held = [token for token, bit in zip(tokens, bits, strict=True) if bit]
        total = [sum(column) for column in zip(*held, strict=True)] if held else [0 * v for v in tokens[0]]
        return [v / len(held) for v in total] if mean and held else total

    return [[row(tokens, bits) for bits in windows] for tokens, windows in zip(x, inside, strict=True)]
