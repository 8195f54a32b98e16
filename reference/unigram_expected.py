"""Forward-backward of a unigram model: log Z = log sum_x prod_i p(x_i), and how often each piece is expected.

word: a text; scores: {piece: log p}; unknown: the score of a character that is no piece.
-> (log Z, {piece: expected count}). E_c = sum over places of F(start) p(c) B(end) / Z. SPEC TOK-UNI-6.
"""

from .scalars import exp, log


def unigram_expected(word, *, scores, unknown):
    places = [
        (start, end, word[start:end])
        for end in range(1, len(word) + 1)
        for start in range(end)
        if word[start:end] in scores or end == start + 1
    ]
    forward, backward = [1, *[0] * len(word)], [*[0] * len(word), 1]
    for start, end, piece in places:
        forward[end] = forward[end] + forward[start] * exp(scores.get(piece, unknown))
    for start, end, piece in sorted(places, reverse=True):
        backward[start] = backward[start] + exp(scores.get(piece, unknown)) * backward[end]
    expected = {}
    for start, end, piece in places:
        if piece in scores:
            share = forward[start] * exp(scores[piece]) * backward[end] / forward[-1]
            expected[piece] = expected.get(piece, 0) + share
    return log(forward[-1]), expected
