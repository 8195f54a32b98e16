"""One layer of MPNet, of either stream: queries x attend to memory, whose places shift the scores by distance.

bias (h, t, s) is `mpnet_bias`: query_places and key_places are original positions, sees who sees what, seen the row's
mask. Song et al. 2020 (2004.09297), section 2.3; SPEC MPN-POS.
"""

from .bert_encode import FORBID
from .cross_attention import cross_attention
from .feed_forward import feed_forward
from .layer_norm import layer_norm
from .lists import each
from .relative_buckets import bucket


def mpnet_bias(table, config, query_places, key_places, sees, seen):
    most = config["relative_attention_max_distance"], config["relative_attention_num_buckets"]
    found = [[bucket(key - query, True, most[1], most[0]) for key in key_places] for query in query_places]
    return [[[table[found[i][j]][head] + (0 if see and seen[key_places[j]] else FORBID)
              for j, see in enumerate(row)] for i, row in enumerate(sees)]
            for head in range(config["num_attention_heads"])]


def mpnet_layer(x, memory, layer, bias, act, eps):
    def sub_layer(x, y, part):
        return layer_norm(each(0, lambda a, b: a + b, x, y), **part["norm"], eps=eps)

    a = sub_layer(x, cross_attention(x, memory, layer["attention"], len(bias), bias), layer["attention"])
    return sub_layer(a, feed_forward(a, layer["feed_forward"], act), layer["feed_forward"])
