"""MPNet's state at each predicted place of one row, in the order of prediction: two streams over the same weights.

ids the row as corrupted, seen its mask; places z and tokens that stood there. The sequence is laid out as in the
release: what is not predicted, the tokens of z, their placeholders; queries, one for each of z, attend to it. "plm":
without placeholders; "mlm": the corrupted row alone, whose states at z these are. -> (b, D).
Song et al. 2020 (2004.09297), section 2.2 and figure 2, and the released code; SPEC MPN-SEE.
"""

from .bert_encode import FORBID
from .cross_attention import cross_attention
from .embedding import embedding
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .lists import each
from .relative_buckets import bucket
from .roberta_positions import roberta_positions


def mpnet_masks(context, predicted, mode):
    """Who sees what, 1 = seen: rows of the queries, and of the content, over the columns of the content."""
    b, rest = range(predicted), [1] * context
    if mode == "mlm":
        return [], [rest] * context
    after = (lambda i, least: [int(j >= least) for j in b]) if mode == "mpnet" else lambda i, least: []
    queries = [rest + [int(j < i) for j in b] + after(i, i) for i in b]
    known = [rest + [int(j <= i) for j in b] + after(i, i + 1) for i in b]
    blind = rest + [0 for _ in b] + after(0, 0)
    return queries, [blind] * context + known + [blind] * (predicted if mode == "mpnet" else 0)


def mpnet_encode(p, config, ids, seen, places, tokens):
    mode, eps = config["input_mode"], config["layer_norm_eps"]
    held, at = [ids[n] for n in places], roberta_positions([ids], config["pad_token_id"])[0]
    context = [n for n in range(len(ids)) if mode == "mlm" or n not in places]
    more = {"mpnet": places * 2, "plm": places, "mlm": []}[mode]
    order = context + more
    content = [ids[n] for n in context] + (tokens + held)[:len(more)]
    queries, rows = mpnet_masks(len(context), len(places), mode)
    most = config["relative_attention_max_distance"], config["relative_attention_num_buckets"]

    def embedded(ids, places):
        word = embedding(**p["embeddings"]["word"], ids=ids)
        position = embedding(**p["embeddings"]["position"], ids=[at[n] for n in places])
        return layer_norm(each(0, lambda a, b: a + b, word, position), **p["embeddings"]["norm"], eps=eps)

    def bias(places, sees):  # (h, t, s)
        found = [[bucket(key - query, True, most[1], most[0]) for key in order] for query in places]
        return [[[p["encoder_positions"]["weight"][found[i][j]][head] + (0 if see and seen[order[j]] else FORBID)
                  for j, see in enumerate(row)] for i, row in enumerate(sees)]
                for head in range(config["num_attention_heads"])]

    def sub_layer(x, y, part):
        return layer_norm(each(0, lambda a, b: a + b, x, y), **part["norm"], eps=eps)

    def through(x, memory, layer, bias):
        a = sub_layer(x, cross_attention(x, memory, layer["attention"], len(bias), bias), layer["attention"])
        return sub_layer(a, feed_forward(a, layer["feed_forward"], config["hidden_act"]), layer["feed_forward"])

    c, of_content = embedded(content, order), bias(order, rows)
    q, of_queries = (embedded(held, places), bias(places, queries)) if queries else (None, None)
    for layer in p["encoder"]:
        c, q = through(c, c, layer, of_content), q and through(q, c, layer, of_queries)
    return q or [c[n] for n in places]
