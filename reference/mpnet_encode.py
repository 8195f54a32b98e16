"""MPNet's state at each predicted place of one row, in the order of prediction: two streams over the same weights.

ids the row as corrupted, seen its mask; places z and tokens that stood there. The content is laid out as in the release
(`mpnet_masks`); queries, one for each of z, attend to it. In "mlm" the states of the content at z these are. -> (b, D).
Song et al. 2020 (2004.09297), section 2.2 and figure 2, and the released code; SPEC MPN-SEE.
"""

from .embedding import embedding
from .layer_norm import layer_norm
from .lists import each
from .mpnet_layer import mpnet_bias, mpnet_layer
from .mpnet_masks import mpnet_masks
from .roberta_positions import roberta_positions


def mpnet_encode(p, config, ids, seen, places, tokens):
    mode, how = config["input_mode"], (config["hidden_act"], config["layer_norm_eps"])
    held, at = [ids[n] for n in places], roberta_positions([ids], config["pad_token_id"])[0]
    context = [n for n in range(len(ids)) if mode == "mlm" or n not in places]
    more = {"mpnet": places * 2, "plm": places, "mlm": []}[mode]
    order = context + more
    content = [ids[n] for n in context] + (tokens + held)[:len(more)]
    queries, rows = mpnet_masks(len(context), len(places), mode)

    def embedded(ids, places):
        word = embedding(**p["embeddings"]["word"], ids=ids)
        position = embedding(**p["embeddings"]["position"], ids=[at[n] for n in places])
        return layer_norm(each(0, lambda a, b: a + b, word, position), **p["embeddings"]["norm"], eps=how[1])

    def bias(places, sees):
        return mpnet_bias(p["encoder_positions"]["weight"], config, places, order, sees, seen)

    c, of_content = embedded(content, order), bias(order, rows)
    q, of_queries = (embedded(held, places), bias(places, queries)) if queries else (None, None)
    for layer in p["encoder"]:
        c, q = mpnet_layer(c, c, layer, of_content, *how), q and mpnet_layer(q, c, layer, of_queries, *how)
    return q or [c[n] for n in places]
