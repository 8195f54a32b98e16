"""MPNet: transformers' MPNetForMaskedLM, the release's masks, who knows what, and what is predicted."""

import functools

import numpy as np
import pytest
from figures import Figures
from published import Published, error, example, pair, probed, replaced

import minibert
from minibert import tree
from minibert.corruption import permutations
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import mpnet
from reference.mpnet_masks import mpnet_masks

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (395, "two streams in one layer of its own, rows and masks for them, three modes of data"),
    "tests": (240, "beside a published class: who sees what in either mode, orders, data of each mode"),
    "mistakes": (240, "masks of two streams and relative positions that travel, which no other family has"),
    "double": (90, "both streams in the release's layout, and their masks, each file within 65 lines"),
}


def mend(module, config):
    """Buckets and padding as the configuration has them: theirs are 32 up to 128, and id 1, whatever it says."""
    encoder, embeddings = (
        next(part for part in module.modules() if type(part).__name__ == f"MPNet{name}")
        for name in ("Encoder", "Embeddings")
    )
    for part in (embeddings, embeddings.word_embeddings, embeddings.position_embeddings):
        part.padding_idx = config.pad_token_id
    most, count = getattr(config, "relative_attention_max_distance", 128), config.relative_attention_num_buckets
    encoder.relative_position_bucket = functools.partial(encoder.relative_position_bucket, max_distance=most)
    encoder.compute_position_bias = functools.partial(encoder.compute_position_bias, num_buckets=count)


BUCKETS = {"relative_attention_num_buckets": 12, "relative_attention_max_distance": 7}
OWN = {**BUCKETS, "input_mode": "mlm"}  # they have no second stream
PUBLISHED = [Published("mpnet", "MPNetForMaskedLM", {"labels": "masked_lm"}, OWN, mend=mend)]
DIRECTORIES = {"MPNetForMaskedLM": {"mlm"}, "MPNetModel": {"pooler"}}
VARIANTS = ({"input_mode": "mpnet"}, {"input_mode": "plm"}, {"tie_word_embeddings": False})
PARAMETERS = [({}, ("mlm",), 109_486_464), ({}, ("pooler",), 109_518_527)]
BATCH = {
    "input_ids": [[0, 9, 5, 11, 3, 7, 4, 2], [0, 6, 10, 3, 12, 2, 1, 1]],
    "input_mask": [[1] * 8, [1] * 6 + [0] * 2],
    "masked_lm_positions": [[1, 3], [2, 4]],
    "masked_lm_ids": [[9, 11], [10, 12]],
    "masked_lm_weights": [[1.0, 1.0], [1.0, 1.0]],
}
FIGURES = [
    Figures(
        "mpnet",
        {
            "forward/loss": 3.301310840046,
            "gradients/mpnet.encoder.relative_attention_bias.weight": 0.017369049135,
            "gradients/mpnet.embeddings.word_embeddings.weight": 1.001361579104,
        },
        {"input_mode": "mlm"},
        BATCH,
        values={("last_hidden_state", (0, 0)): [-0.974045807319, -0.421969484283, -0.427767827619, 0.002266745943,
                                                3.6095155657, -0.984663590972, -0.351003290883, -0.123486142256]},
    )
]  # fmt: skip
MPNET = {**BUCKETS, "input_mode": "mpnet"}


def loss(model, batch):
    return float(model.loss(batch)[0])


def states(model, batch):
    """(8) of each slot, (B, M, D)."""
    arrays = model.checked(batch)
    out, _ = mpnet.encode(model.params, model.config, arrays)
    return np.take_along_axis(out["predicted_hidden_state"], arrays["masked_lm_positions"][..., None], 1)


# ---- Who sees what ---------------------------------------------------------------------------------------------------
def test_the_masks_of_the_release():
    """Six tokens, of which the last three are predicted, as its page has them."""
    sees = mpnet.visible(np.array([[-1, -1, -1, 0, 1, 2]]), np.ones((1, 3), bool))[0][:, [0, 1, 2, 6, 7, 8, 3, 4, 5]]
    rows = ["".join(map(str, row)) for row in sees.astype(int)]
    assert rows[9:] == ["111000111", "111100011", "111110001"]
    assert rows[6:9] == ["111100011", "111110001", "111111000"]
    assert rows[:6] == ["111000111"] * 6


@pytest.mark.parametrize("mode", ["mpnet", "plm"])
def test_the_masks_of_any_number_of_tokens(mode):
    """The scalar loop's, whose layout is the release's; a query sees as many columns as there are tokens."""
    rng = np.random.default_rng(0)
    for length, slots in ((5, 1), (9, 4), (7, 7)):
        places = rng.permutation(length)[None, :slots]
        rank = mpnet.ranks(places, np.ones((1, slots), bool), length)
        sees = mpnet.visible(rank, np.ones((1, slots), bool), plm=mode == "plm")[0].astype(int)
        held = np.flatnonzero(rank[0] < 0).tolist()
        columns = [*held, *range(length, length + slots), *(places[0].tolist() if mode == "mpnet" else [])]
        queries, content = mpnet_masks(len(held), slots, mode)
        assert sees[length + slots :, columns].tolist() == queries
        assert sees[columns][:, columns].tolist() == content
        assert (sees[length + slots :].sum(1) == (length if mode == "mpnet" else len(held) + np.arange(slots))).all()


@pytest.mark.parametrize("mode", ["mpnet", "plm"])
def test_a_token_is_known_to_those_behind_it_alone(mode):
    """To the bit: another token at z_t changes no state up to t, and all behind it."""
    model = probed("mpnet", **{**MPNET, "input_mode": mode})
    batch = {**example(model), "masked_lm_weights": np.ones((4, 4))}
    batch["input_ids"] = np.where(batch["input_ids"] == 5, 6, batch["input_ids"])  # padding ids move positions
    first = states(model, batch)
    for t in range(4):
        ids = batch["masked_lm_ids"].copy()
        ids[:, t] = (ids[:, t] + 7) % 29
        changed = (states(model, {**batch, "masked_lm_ids": ids}) != first).any(-1)
        assert changed.tolist() == [[m > t for m in range(4)]] * 4
    for t in range(4):  # what the row has there is seen until it is known; in "plm" by nobody but its own query
        ids = batch["input_ids"].copy()
        np.put_along_axis(ids, batch["masked_lm_positions"][:, t : t + 1], 28, 1)
        changed = (states(model, {**batch, "input_ids": ids}) != first).any(-1).any(0)
        assert changed.tolist() == [mode == "mpnet" or m == t for m in range(4)]


def test_one_predicted_token_is_masked_language_modelling():
    """It knows nothing, and sees everything: to the bit the queries' rows are those of the row."""
    model = probed("mpnet", **MPNET)
    batch = {name: array[:, :1] if name.startswith("masked_lm") else array for name, array in example(model).items()}
    batch["masked_lm_weights"] = np.ones((4, 1))
    alone = replaced(model, input_mode="mlm")
    assert error(loss(model, batch), loss(alone, batch)) < 1e-12
    found, due = (tree.flatten(one.loss_backward(one.loss(batch)[1])) for one in (model, alone))
    largest = max(np.abs(g).max() for g in due.values())
    assert max(error(found[path], due[path], largest) for path in due if not path.endswith("key.bias")) < 1e-12
    several = {**example(model), "masked_lm_weights": np.ones((4, 4))}
    assert abs(loss(model, several) - loss(alone, several)) > 1e-3


def test_tokens_may_stand_in_any_order(monkeypatch):
    """As in the release, where what is not predicted is permuted: positions travel along, and nothing else counts."""
    model, rng, streams = probed("mpnet", **MPNET), np.random.default_rng(3), mpnet._streams
    batch = example(model)
    due = loss(model, batch)

    def moved(config, inputs):
        read, length = streams(config, inputs), inputs["input_ids"].shape[1]
        order = np.concatenate([rng.permutation(length), np.arange(length, read["ids"].shape[1])])
        keys = order[: read["keys"]]
        own = {name: read[name][:, order] for name in ("ids", "positions", "places")}
        return {**read, **own, "mask": read["mask"][:, :, order][..., keys], "read": np.argsort(order)[read["read"]]}

    monkeypatch.setattr(mpnet, "_streams", moved)
    assert error(loss(model, batch), due) < 1e-12
    monkeypatch.setattr(mpnet, "_streams", lambda *given: {**moved(*given), "places": streams(*given)["places"]})
    assert abs(loss(model, batch) - due) > 1e-6  # relative positions that do not travel


def test_the_order_of_prediction_counts_and_unused_slots_do_not():
    model = probed("mpnet", **MPNET)
    batch = example(model)
    due = loss(model, batch)
    turned = {name: array[:, ::-1] if name.startswith("masked_lm") else array for name, array in batch.items()}
    assert abs(loss(model, turned) - due) > 1e-4
    spare = {"masked_lm_positions": 2, "masked_lm_ids": 7, "masked_lm_weights": 0}
    wider = {**batch, **{name: np.insert(batch[name], 1, value, 1) for name, value in spare.items()}}
    assert error(loss(model, wider), due) < 1e-12
    with pytest.raises(InputError, match="a position stands twice in a row"):
        model.loss({**batch, "masked_lm_positions": np.full((4, 4), 2)})


def test_without_targets_nothing_is_lost():
    model = probed("mpnet", **MPNET)
    batch = {**example(model), "masked_lm_weights": np.zeros((4, 4))}
    assert loss(model, batch) == 0
    assert not any(g.any() for g in tree.leaves(model.loss_backward(model.loss(batch)[1])))


def test_a_planted_fault_is_seen(monkeypatch):
    both = pair(PUBLISHED[0], {"hidden_act": "relu"})
    monkeypatch.setattr(mpnet.roberta, "positions", lambda ids, pad: np.arange(ids.shape[1]) + pad + 1)
    assert error(loss(both.model, both.batch), both.terms()["masked_lm"].item()) > 1e-9


# ---- Data ------------------------------------------------------------------------------------------------------------
CONTINUES = np.arange(60) >= 40
VOCABULARY = Vocabulary(60, cls=0, sep=2, mask=59, pad=1, continues=CONTINUES, specials=(0, 1, 2, 3, 59))


def text(rng):
    """Documents of words, some of several pieces."""
    return [[rng.integers(4, 59, rng.integers(2, 7)).tolist() for _ in range(9)] for _ in range(40)]


@pytest.mark.parametrize("mode", mpnet.MODES)
def test_the_tail_of_an_order_is_predicted(mode):
    """round(0.15 T) places of all, <s>, </s> and padding among them, 80/10/10; pure masks in "plm"."""
    rng = np.random.default_rng(0)
    given = mpnet.Data(seq_length=30, input_mode=mode)
    rows = mpnet.rows(text(rng), rng, VOCABULARY, given)
    assert {*rows} == {"input_ids", "input_mask"}
    rows = {name: np.tile(array, (40, 1)) for name, array in rows.items()}
    made = mpnet.corrupt(rows, rng, VOCABULARY, given)
    places, weights = made["masked_lm_positions"], made["masked_lm_weights"] > 0
    assert places.shape == (len(rows["input_ids"]), 4)  # halves go to the even neighbour, as in the release
    truth = np.take_along_axis(rows["input_ids"], places, 1)
    assert (made["masked_lm_ids"] == truth)[weights].all()
    assert {0, 2} <= {*truth[weights].tolist()}
    assert (~weights).any()
    assert (truth[weights] != 1).all()
    assert 0.3 < (places[:, 0] > places[:, 1])[weights[:, :2].all(1)].mean() < 0.7  # not sorted
    stand = np.take_along_axis(made["input_ids"], places, 1)[weights]
    masked, kept = (stand == 59).mean(), (stand == truth[weights]).mean()
    n = weights.sum()
    if mode == "plm":
        assert masked == 1
    else:  # five deviations
        assert abs(masked - 0.8 - 0.1 / 56) < 5 * (0.16 / n) ** 0.5
        assert abs(kept - 0.1 - 0.1 / 56) < 5 * (0.09 / n) ** 0.5
        assert not {0, 1, 2, 3} & {*stand[(stand != 59) & (stand != truth[weights])].tolist()}
    untouched = rows["input_ids"].copy()
    np.put_along_axis(untouched, places, np.take_along_axis(made["input_ids"], places, 1), 1)
    assert np.array_equal(untouched, made["input_ids"])


def test_words_stay_whole_but_where_the_tail_begins():
    rng = np.random.default_rng(1)
    ids = rng.integers(4, 59, (200, 30))
    order = permutations.permuted(ids, rng, VOCABULARY, 5, True)
    assert np.array_equal(np.sort(order, 1), np.tile(np.arange(30), (200, 1)))
    moved = np.take_along_axis(ids, order, 1)[:, :-5]
    behind = CONTINUES[moved] & (order[:, :-5] > 0)
    follows = np.diff(order[:, :-5], prepend=-9, axis=1) == 1
    assert follows[behind].all()
    assert (np.diff(order[:, -5:], axis=1) < 0).any()


def test_a_vocabulary_has_its_own_special_tokens_and_rows_fit_the_model():
    kind = minibert.tokenizers.tokenizer(mpnet.TOKENIZER)
    made = kind.train(["Some words of text."] * 9, 60, specials=mpnet.SPECIALS)
    encoding = made.encode("some", "words")
    assert encoding.tokens[0] == "<s>"
    assert encoding.tokens[-1] == "</s>"
    assert {role: made.tokens[getattr(made, f"{role}_id")] for role in mpnet.SPECIALS} == mpnet.SPECIALS
    with pytest.raises(InputError, match="the rows that are made need 'plm'"):
        mpnet.fields(mpnet.Data(input_mode="plm"), {"input_mode": "mlm"})
