"""RoBERTa's positions: the padding id plus the number of other tokens so far; padding keeps its id and does not count.

input_ids (B, T) -> (B, T). Liu et al. 2019 (1907.11692) say nothing of it: fairseq utils.make_positions; SPEC ROB-POS.
"""


def roberta_positions(input_ids, pad_token_id):
    rows = []
    for row in input_ids:
        count, places = 0, []
        for token in row:
            count += token != pad_token_id
            places.append(pad_token_id + (count if token != pad_token_id else 0))
        rows.append(places)
    return rows
