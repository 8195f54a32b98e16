"""BERT's input: LN(word[input_ids] + token_type[token_type_ids] + position[position_ids]).

ids (..., t) -> (..., t, D), p {word, token_type, position, norm}. Devlin et al. 2018 (1810.04805), figure 2;
SPEC BERT-EMB.
"""

from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each


def bert_embeddings(p, input_ids, token_type_ids, position_ids, eps):
    word = embedding(**p["word"], ids=input_ids)
    token_type = embedding(**p["token_type"], ids=token_type_ids)
    position = embedding(**p["position"], ids=position_ids)
    total = each(0, lambda a, b, c: a + b + c, word, token_type, position)
    return layer_norm(total, **p["norm"], eps=eps)
