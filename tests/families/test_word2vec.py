"""word2vec: its networks, the release's text, tree and updates, steps on a few rows, a run."""

import decimal
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import minibert
from minibert import batches, families, objective, optim, touched, training, tree
from minibert.corruption import windows
from minibert.families import word2vec
from minibert.heads import negative_sampling
from minibert.heads.negative_sampling import IGNORED

PAST_THE_BUDGET = {  # what: (the most, why), see tests/core/test_size.py
    "family": (300, "two networks and two terms, the options of a text that is thinned, cut in windows and drawn from"),
    "cases": (45, "a double composed of terms, batches in which a word that was drawn is asked for, too"),
    "mistakes": (140, "of two networks, of two ways to tell a word, and of the text's rules"),
    "tests": (280, "the release's update at 50 digits, its tree and text, steps on a few rows, a word drawn twice"),
}

PARAMETERS = [({}, (), 6_000_000), ({"hs": True}, (), 9_000_000), ({"hs": True}, ("nodes", "out"), 3_000_000)]
VARIANTS = [{}, {"sg": True}, {"ns": False, "cbow_mean": True}]
SMALL = {"vector_size": 4, "vocab_size": 9}
RUNS = [({}, {"vector_size": 8}), ({"network": "cbow", "against": "both", "window": 2}, {"vector_size": 8})]
OWN = {"optimizer": "plain_sgd", "weight_decay": 0.0, "clip_norm": 1e9, "learning_rate": 0.3, "schedule": "linear"}


def made(seed=1, **fields):
    rng = np.random.default_rng(seed)
    model = minibert.create("word2vec", seed, "float64", **{**word2vec.PROBE, **fields})
    for array in tree.leaves(model.params):
        array += rng.standard_normal(array.shape)
    batch = batches.example(word2vec, model.config, rng)
    return model, {name: array for name, array in batch.items() if name != "dropout"}


# ---- One step is the release's ---------------------------------------------------------------------------------------
def pair(sg, hs, width, rng):
    """A row of one pair, or of one window: words 0 … and the word asked last; each draws its own words."""
    length = 2 if sg else width + 1
    ids = rng.choice(9, length, replace=False)[None]
    targets = np.full((1, 1, length), IGNORED)
    targets[0, 0, 0 if sg else -1] = length - 1
    batch = {"input_ids": ids, "targets": targets}
    if not sg:
        batch |= {"before": 0 * ids, "after": 0 * ids}
        batch["before"][0, -1] = width
    if hs:
        nodes = rng.choice(8, (1, 3, length))
        return {**batch, "nodes": np.where(np.arange(3)[:, None] < 2, nodes, IGNORED), "codes": nodes % 2}
    return {**batch, "negatives": np.array([[1, ids[0, -1], 7, 3]])}


def updated(p, batch, alpha, hs, undivided):
    """TrainModelThread for one word: v of the window's words, u of what it is told from; Decimals, scalar loops."""
    ids, (slot,) = batch["input_ids"][0].tolist(), np.argwhere(batch["targets"][0, 0] != IGNORED).tolist()
    sg, word = "before" not in batch, ids[-1]
    window = [ids[slot[0]]] if sg else ids[:-1]
    v, u = p["embeddings"]["word"]["weight"], (p["nodes"] if hs else p["out"]["word"])["weight"]
    x = [sum(v[w][d] for w in window) / len(window) for d in range(len(v[0]))]
    if hs:
        turns = [(n[-1], 1 - c[-1]) for n, c in zip(batch["nodes"][0], batch["codes"][0], strict=True) if n[-1] >= 0]
    else:
        turns = [(word, 1)] + [(n, 0) for n in batch["negatives"][0] if n != word]
    error, slopes = [decimal.Decimal(0)] * len(x), []
    for row, label in turns:
        z = sum(a * b for a, b in zip(x, u[row], strict=True))
        g = (label - 1 / (1 + (-z).exp())) * alpha
        error = [e + g * b for e, b in zip(error, u[row], strict=True)]
        slopes.append((row, [g * a for a in x]))
    for row, slope in slopes:  # every row before its own update
        u[row] = [a + b for a, b in zip(u[row], slope, strict=True)]
    for w in window:
        v[w] = [a + e / (1 if undivided else len(window)) for a, e in zip(v[w], error, strict=True)]


@pytest.mark.parametrize(("sg", "hs"), [(True, False), (True, True), (False, False), (False, True)])
@pytest.mark.parametrize("undivided", [False, True])
def test_a_step_on_one_pair_is_the_release_s_at_fifty_digits(sg, hs, undivided, tmp_path):
    """Through the training loop, which computes on the touched rows alone; the others keep every bit."""
    own = {"sg": sg, "hs": hs, "ns": not hs, "negative": 4, "cbow_mean": True, "undivided": undivided, "vocab_size": 9}
    model, _ = made(**own)
    batch = pair(sg, hs, 3, np.random.default_rng(4))
    with decimal.localcontext(prec=50):
        due = tree.map(lambda a: [[decimal.Decimal(x) for x in row] for row in a.tolist()], model.params)
        updated(due, batch, decimal.Decimal(OWN["learning_rate"]), hs, undivided)
        due = tree.unflatten({path: np.array(tree.get(due, path), float) for path, _ in tree.items(model.params)})
    before = tree.map(np.array, model.params)
    training.fit(model, training.Plan(steps=1, **OWN), tmp_path, lambda step: [batch])
    moved = 0
    for path, array in tree.items(model.params):
        truth, old = tree.get(due, path), tree.get(before, path)
        still = (truth == old).all(1)
        assert np.array_equal(array[still], old[still])
        change = np.abs((truth - old)[~still]).max()
        assert np.abs((array - old) - (truth - old)).max() < 1e-12 * max(change, 1), path
        moved += (~still).sum()
    assert moved > 1


def test_the_undivided_gradient_is_the_true_one_times_the_window(tmp_path):
    """Only of a mean, and only of the vectors: that of the outputs stays."""
    grads = []
    for undivided in (False, True):
        model, batch = made(cbow_mean=True, hs=False, undivided=undivided)
        batch["before"], batch["after"] = 0 * batch["before"], 0 * batch["after"]
        batch["after"][:, 0], batch["targets"] = 2, np.where(np.arange(6) == 0, 0, IGNORED) + 0 * batch["targets"]
        grads.append(model.loss_backward(model.loss(batch)[1]))
    assert np.allclose(grads[1]["embeddings"]["word"]["weight"], 2 * grads[0]["embeddings"]["word"]["weight"], atol=0)
    assert np.array_equal(*(g["out"]["word"]["weight"] for g in grads))


def test_hierarchical_softmax_sums_to_one():
    """Over all words of a tree, whatever h."""
    nodes, codes = windows.huffman(np.array([0, 7, 5, 5, 3, 1]))
    rng = np.random.default_rng(0)
    z = np.where(nodes == IGNORED, np.inf, (rng.standard_normal((6, 4)) @ rng.standard_normal(4))[np.maximum(nodes, 0)])
    chance = np.prod(1 / (1 + np.exp(np.where(codes == 1, z, -z))), axis=1)
    assert np.isclose(chance[1:].sum(), 1, rtol=1e-14)


# ---- Steps on few rows -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("own", VARIANTS)
def test_few_rows_give_the_bits_of_the_whole_tables(own, tmp_path, monkeypatch):
    found = []
    for few in (True, False):
        monkeypatch.setattr(touched, "applies", lambda *_, few=few: few)
        model, batch = made(**own)
        plan = training.Plan(steps=3, accumulate=2, **OWN)
        training.fit(model, plan, tmp_path / str(few), lambda step, b=batch: [b, b])
        found.append(model.params)
    for path, array in tree.items(found[0]):
        assert np.array_equal(array, tree.get(found[1], path)), path


def test_few_rows_where_untouched_ones_stay_as_they_are():
    assert touched.applies(word2vec, "plain_sgd", 0.0)
    assert not touched.applies(word2vec, "plain_sgd", 0.1)
    assert not touched.applies(word2vec, "sgd", 0.0)  # its momentum goes on
    assert not touched.applies(families.family("bert"), "plain_sgd", 0.0)
    assert {*optim.ROWWISE} <= {*optim.OPTIMIZERS}


# ---- The text --------------------------------------------------------------------------------------------------------
def test_huffman_s_tree_is_the_release_s():
    """The way of each word; of equal counts the inner node goes first. A word without a count has no way."""
    nodes, codes = windows.huffman(np.array([0, 10, 6, 4, 3, 2]))
    ways = [[(n, c) for n, c in zip(a, b, strict=True) if n != IGNORED] for a, b in zip(nodes, codes, strict=True)]
    assert ["".join(str(c) for _, c in way) for way in ways] == ["", "0", "10", "110", "1111", "1110"]
    assert [[n for n, _ in way] for way in ways] == [[], [3], [3, 2], [3, 2, 1], [3, 2, 1, 0], [3, 2, 1, 0]]
    nodes, codes = windows.huffman(np.array([2, 2, 1, 1]))  # 1 + 1 goes before either 2, and the tree is uneven
    assert (nodes != IGNORED).sum(1).tolist() == [1, 2, 3, 3]
    assert codes.tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]]


def test_frequent_words_are_kept_as_the_release_has_it_and_not_as_the_paper():
    share = windows.kept_share(np.array([0, 10, 990]), 1e-3)
    assert share[1] == pytest.approx(0.41622777, rel=1e-8)
    assert share[1] != pytest.approx(np.sqrt(0.1), rel=0.1)
    assert share[0] == 1
    assert (windows.kept_share(np.array([1, 5]), 0.0) == 1).all()


def test_words_left_out_let_windows_reach_further():
    """Thinned before windows are cut; sentences stay apart, and padding asks nothing."""
    ids = np.array([[1, 9, 2, 9, 3, 4, 5, 0]])
    sentences = np.array([[1, 1, 1, 1, 1, 2, 2, 0]])
    share = np.where(np.arange(10) == 9, 0.0, 1.0)
    kept = windows.thinned({"input_ids": ids, "sentences": sentences}, share, np.random.default_rng(0))
    assert kept["input_ids"].tolist() == [[1, 2, 3, 4, 5, 0, 0, 0]]
    none = windows.thinned({"input_ids": ids, "sentences": sentences}, 0 * share, np.random.default_rng(0))
    assert none["input_ids"].tolist() == [[1] + 7 * [0]]
    before, after = windows.reaches(kept["sentences"], 1, np.random.default_rng(0))
    assert before.tolist() == [[0, 1, 1, 0, 1, 0, 0, 0]]
    assert after.tolist() == [[1, 1, 0, 1, 0, 0, 0, 0]]
    targets = windows.skip_grams(before, after, 1)
    pairs = {(s, int(t)) for _, s in np.ndindex(2, 8) for t in targets[0, :, s] if t != IGNORED}
    assert pairs == {(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (4, 3)}


def test_windows_are_uniform_so_that_near_words_count_more():
    """The share of pairs falls linearly with the distance."""
    window, sentences = 4, np.ones((200, 100), int)
    before, after = windows.reaches(sentences, window, np.random.default_rng(1))
    targets = windows.skip_grams(before, after, window)
    row, _, s = at = np.nonzero(targets != IGNORED)
    far = Counter(np.abs(targets[at] - s).tolist())
    assert {*far} == {1, 2, 3, 4}
    for distance in far:
        assert far[distance] / far[1] == pytest.approx(1 - (distance - 1) / window, abs=0.02)
    inside = windows.within(before, after)
    assert inside.sum() == len(row)
    assert all(inside[b, t, s] for b, t, s in zip(row[:500], targets[at][:500], s[:500], strict=True))


def test_words_are_drawn_from_their_counts_to_the_power():
    counts = np.array([0, 16, 1, 81, 0])
    ends = windows.table(counts, 0.75)
    found = np.bincount(windows.drawn(ends, (40_000,), np.random.default_rng(2)), minlength=5) / 40_000
    assert found == pytest.approx(np.array([0, 8, 1, 27, 0]) / 36, abs=0.01)
    assert found[[0, 4]].tolist() == [0, 0]


def test_rows_are_the_text_end_to_end_without_unknown_words():
    made = windows.rows([[[5, 6, 1], [7]], [[1, 1], [8, 9]]], {0, 1}, 3, 1)
    assert made["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert made["sentences"].tolist() == [[1, 1, 2], [4, 4, 0]]


def test_the_context_of_each_word_is_the_one_that_the_pairs_have():
    """CBOW's mean by the pairs of skip-gram turned round: for each asked word those it is the target of."""
    rng = np.random.default_rng(3)
    before, after = windows.reaches(np.array([[1] * 6 + [2] * 5]), 3, rng)
    targets, inside = windows.skip_grams(before, after, 3), windows.within(before, after)
    pairs = np.zeros((11, 11), bool)
    for s in range(11):
        pairs[targets[0, :, s][targets[0, :, s] != IGNORED], s] = True
    assert np.array_equal(inside[0], pairs)


# ---- Terms -----------------------------------------------------------------------------------------------------------
def test_a_drawn_word_that_is_the_pair_s_own_is_left_out():
    """Neither drawn again nor asked both ways; for the other pairs of the row it counts."""
    model, batch = made(sg=True, hs=False)
    batch = {name: array[:1] for name, array in batch.items()}
    batch["targets"] = np.full_like(batch["targets"], IGNORED)
    batch["targets"][0, 0, 1] = 2
    word = batch["input_ids"][0, 2]
    batch["negatives"] = np.array([[word, word, word]])
    u = model.params["out"]["word"]["weight"]
    x = model.params["embeddings"]["word"]["weight"][batch["input_ids"][0, 1]]
    assert float(model.loss(batch)[0]) == pytest.approx(np.log1p(np.exp(-x @ u[word])), rel=1e-12)


def test_a_constant_guess_is_worth_the_entropy_of_its_decisions():
    k, p = 5, 1 / 6
    due = -np.log(p) - k * np.log(1 - p)
    assert negative_sampling.guess([5 / 6, 1 / 6]) == pytest.approx(due, rel=1e-12)


def test_options_say_which_network_it_is():
    data = word2vec.Data(network="cbow", against="both")
    assert word2vec.fields(data, {"vector_size": 8}) == {"vector_size": 8, "sg": False, "ns": True, "hs": True}
    with pytest.raises(minibert.InputError, match="sg"):
        word2vec.fields(data, {"sg": True})
    assert set(objective.counts(word2vec, word2vec.Config(hs=True), made()[1])) == {
        "negative_sampling", "hierarchical_softmax"}  # fmt: skip


def test_corrupted_rows_have_the_fields_of_the_loss():
    rng, ids = np.random.default_rng(0), np.random.default_rng(1).integers(5, 20, (4, 12))
    rows = {"input_ids": ids, "sentences": np.ones_like(ids)}
    counts = np.bincount(ids.ravel(), minlength=20)
    nodes, codes = windows.huffman(counts)
    studied = {"share": np.ones(20), "table": windows.table(counts, 0.75), "nodes": nodes.T, "codes": codes.T}
    for network, against in (("cbow", "both"), ("skip-gram", "drawn"), ("skip-gram", "tree")):
        data = word2vec.Data(network=network, against=against, drawn=6)
        batch = word2vec.corrupt(rows, rng, SimpleNamespace(), data, studied)
        fields = word2vec.fields(data, {"vector_size": 4, "vocab_size": 20})
        model = minibert.create("word2vec", **fields)
        assert np.isfinite(model.loss(batch)[0])
