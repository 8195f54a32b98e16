"""The best segmentation of a word under a unigram model: argmax over segmentations x of sum_i score(x_i).

word: a text; scores: {piece: log p}; unknown: the score of a character that is no piece.
-> (pieces, score), an unknown character as itself. Of equals the piece that begins first. SPEC TOK-UNI-1, 2.
"""


def unigram_viterbi(word, *, scores, unknown):
    best = {0: ([], 0)}
    for end in range(1, len(word) + 1):
        for start in range(end):
            piece = word[start:end]
            if piece in scores or end == start + 1:
                pieces, score = best[start]
                total = score + scores.get(piece, unknown)
                if end not in best or total > best[end][1]:
                    best[end] = [*pieces, piece], total
    return best[len(word)]
