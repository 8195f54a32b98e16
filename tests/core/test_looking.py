"""Analysis on cases with a known answer: heads, surfaces, probes, languages."""

import numpy as np
import pytest
from test_filling import TEXT, encoder

import minibert
from minibert import tree
from minibert.analysis import languages, probing, pruning, surface
from minibert.errors import InputError
from minibert.tokenizers.wordpiece import WordPiece


@pytest.fixture(scope="module")
def bert():
    return encoder("bert", WordPiece.train(TEXT * 3, 60), num_attention_heads=4, max_position_embeddings=40)


def batch(model, seed=0):
    given = model.module.example(np.random.default_rng(seed), model.config)
    return {name: value for name, value in given.items() if name != "dropout"}


# ---- Heads -----------------------------------------------------------------------------------------------------------
def test_a_model_without_heads_is_one_whose_gates_are_closed(bert):
    gone = {("encoder.0.attention", 1), ("encoder.1.attention", 0), ("encoder.1.attention", 3)}
    small, gated = pruning.shrunk(bert, gone), pruning.gated(bert, gone)
    given = batch(bert)
    assert pruning.heads(small) == {"encoder.0.attention": 3, "encoder.1.attention": 2}
    assert small.loss(given)[0] == pytest.approx(float(gated.loss(given)[0]), rel=1e-13)
    assert small.loss(given)[0] != pytest.approx(float(bert.loss(given)[0]), rel=1e-6)
    flat = tree.flatten(small.params)
    assert flat["encoder.1.attention.query.weight"].shape == (8, 16)
    assert flat["encoder.1.attention.output.weight"].shape == (16, 8)
    _, cache = small.loss(given)
    gradient = tree.flatten(small.loss_backward(cache))
    assert {name: g.shape for name, g in gradient.items()} == {name: a.shape for name, a in flat.items()}


def test_importance_is_the_slope_of_a_gate(bert):
    """Of one row, so that |∂L/∂ξ| is the difference quotient of the loss."""
    given = {name: value[:1] for name, value in batch(bert).items()}
    scores, h = pruning.importance(bert, [given]), 1e-6
    for path, held in scores.items():
        for number, score in enumerate(held):
            losses = []
            for gate in (1 + h, 1 - h):
                params = tree.map(np.copy, bert.params)
                tree.get(params, path)["output"]["weight"][:, 4 * number : 4 * number + 4] *= gate
                losses.append(minibert.Model("bert", bert.config, params).loss(given)[0])
            assert score == pytest.approx(abs(losses[0] - losses[1]) / (2 * h), rel=1e-5, abs=1e-9)


def test_a_head_that_writes_nothing_does_not_matter(bert):
    params = tree.map(np.copy, bert.params)
    params["encoder"][1]["attention"]["output"]["weight"][:, 8:12] = 0
    model = minibert.Model("bert", bert.config, params)
    given = batch(bert)
    assert pruning.importance(model, [given])["encoder.1.attention"][2] == 0
    left = pruning.left_out(model, [given])
    assert left["encoder.1.attention"][2] == 0
    assert (np.abs(np.concatenate([*left.values()])) > 1e-9).sum() == 7
    order = pruning.order(pruning.importance(model, [given]))
    assert order[0] == ("encoder.1.attention", 2)
    found = pruning.curve(model, lambda one: float(one.loss(given)[0]), order)
    assert [count for count, _ in found] == [8, 7, 6, 5, 4, 3, 2]
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-14)


def test_a_task_s_own_decoder_keeps_its_heads():
    fields = minibert.families.family("bert").PROBE
    model = minibert.create("bert", tasks={"caption": {"classes": 5}}, **fields)
    assert any(".query." in path for path, _ in tree.items(model.params["caption"]))
    assert not [path for path in pruning.heads(model) if path.startswith("caption")]


def test_what_cannot_go_says_so(bert):
    with pytest.raises(InputError, match="would have no head left"):
        pruning.shrunk(bert, [("encoder.0.attention", h) for h in range(4)])
    with pytest.raises(InputError, match=r"no head 4 in 'encoder\.0\.attention'"):
        pruning.gated(bert, [("encoder.0.attention", 4)])
    t5 = minibert.create("t5", **minibert.families.family("t5").PROBE)
    with pytest.raises(InputError, match="t5 has tables by head besides"):
        pruning.shrunk(t5, [("encoder.0.attention", 0)])
    with pytest.raises(InputError, match="at least one batch"):
        pruning.importance(bert, [])


# ---- Surfaces --------------------------------------------------------------------------------------------------------
def trees():
    rng = np.random.default_rng(1)
    return [{"a": rng.standard_normal((3, 2)), "b": [rng.standard_normal(4)]} for _ in range(3)]


def quadratic(params):
    return sum(float((leaf**2).sum()) for leaf in tree.leaves(params)) / 2


def test_a_line_over_a_quadratic_is_a_parabola():
    start, end, _ = trees()
    places = [-0.5, 0, 0.25, 1, 1.5]
    found = surface.line(quadratic, start, end, places)
    delta = surface.difference(end, start)
    slope = sum(float((a * b).sum()) for a, b in zip(tree.leaves(start), tree.leaves(delta), strict=True))
    np.testing.assert_allclose(found, [quadratic(start) + slope * a + quadratic(delta) * a * a for a in places])
    assert found[1] == quadratic(start)
    assert found[3] == pytest.approx(quadratic(end), rel=1e-15)


def test_a_plane_and_where_a_point_lies_in_it():
    start, end, other = trees()
    one, two = surface.difference(end, start), surface.difference(other, start)
    found = surface.plane(quadratic, start, one, two, [0, 1], [0, 1])
    np.testing.assert_allclose(np.diag(found[::-1]), [quadratic(end), quadratic(other)])
    assert surface.projection(end, start, one, two) == pytest.approx((1, 0), abs=1e-12)
    middle = tree.map(lambda t, u, v: t + 0.3 * u - 2 * v, start, one, two)
    assert surface.projection(middle, start, one, two) == pytest.approx((0.3, -2), abs=1e-12)


def test_a_drawn_direction_has_the_norms_of_the_rows():
    start, *_ = trees()
    found = surface.drawn(start, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(found["a"], axis=1), np.linalg.norm(start["a"], axis=1))
    assert not found["b"][0].any()


def test_what_is_rolled_back_is_the_start():
    start, end, _ = trees()
    found = surface.rolled_back(end, start, lambda path: path == "a")
    assert found["a"] is start["a"]
    assert found["b"][0] is end["b"][0]
    with pytest.raises(InputError, match="different networks"):
        surface.rolled_back(end, {"a": start["a"]}, lambda path: True)


# ---- Probes ----------------------------------------------------------------------------------------------------------
def test_a_probe_reads_what_is_planted_and_no_more():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    states = rng.standard_normal((900, 10)) * 5 + 2
    told = states.copy()
    told[:, [2, 5]] += 8 * np.array([[1, 0], [0, 1], [-1, -1]])[labels]
    probe = probing.fitted(told[:600], labels[:600])
    assert probing.accuracy(probe, told[600:], labels[600:]) > 0.85
    blind = probing.fitted(states[:600], labels[:600])
    assert probing.accuracy(blind, states[600:], labels[600:]) < 0.45
    assert (np.linalg.norm(probe.weight, axis=0).argsort()[-2:] == [2, 5]).all() or (
        np.linalg.norm(probe.weight, axis=0).argsort()[-2:] == [5, 2]).all()  # fmt: skip


def test_a_probe_is_at_the_minimum():
    """The slope of (1) at what is found is 0."""
    rng = np.random.default_rng(2)
    states, labels = rng.standard_normal((80, 4)), rng.integers(0, 3, 80)
    probe = probing.fitted(states, labels, decay=0.1, steps=2000)
    h = (states - probe.mean) / probe.deviation
    z = h @ probe.weight.T + probe.bias
    shares = np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(3)[labels]
    np.testing.assert_allclose(shares.T @ h / 80 + 0.1 * probe.weight, 0, atol=1e-7)
    np.testing.assert_allclose(shares.mean(0), 0, atol=1e-7)


def test_states_are_those_of_each_layer(bert):
    tagged = [("", {"tokens": ["the", "cat"], "tags": ["D", "N"]}), ("", {"tokens": ["a"], "tags": ["D"]})]
    layers, tags = probing.words(bert, tagged, 20)
    assert tags == ["D", "N", "D"]
    assert [layer.shape for layer in layers] == [(3, 16)] * 3
    due = bert.encode(input_ids=[bert.tokenizer.encode("a").ids])["hidden_states"]
    np.testing.assert_array_equal(layers[2][2], due[2][0, 1])
    layers, labels = probing.texts(bert, [("", {"text": "a dog", "label": "x"})], 20)
    due = bert.encode(input_ids=[bert.tokenizer.encode("a dog").ids])["hidden_states"]
    np.testing.assert_allclose(layers[1], due[1][0].mean(0, keepdims=True), rtol=1e-6)
    assert labels == ["x"]


# ---- Languages -------------------------------------------------------------------------------------------------------
def test_reciprocal_ranks_by_hand():
    one = np.eye(3)
    assert languages.reciprocal_rank(one, 2 * one) == 1
    assert languages.reciprocal_rank(one, one[[1, 0, 2]]) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    other = np.array([[1, 3, 0], [0, 1, 0], [0, 0, 1.0]])
    assert languages.reciprocal_rank(one, other) == 1
    other = np.array([[1, 3, 0], [2, 1, 0], [0, 0, 1.0]])  # each of the first two is nearer to the other's
    assert languages.reciprocal_rank(one, other) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    same = np.ones((4, 3))
    assert languages.reciprocal_rank(same, same) == 0.25
    moved = one + 100
    assert languages.reciprocal_rank(one, moved, centred=True) == 1


def test_a_shift_by_one_moves_the_mean_and_by_none_leaves_the_bits():
    rng = np.random.default_rng(0)
    french, english = rng.standard_normal((2, 50, 6))
    a, b = languages.language_vector(french), languages.language_vector(english)
    np.testing.assert_allclose(languages.shifted(french, a, b, 1).mean(0), b, atol=1e-14)
    assert languages.shifted(french, a, b, 0) is french
    np.testing.assert_allclose((french - a).mean(0), 0, atol=1e-12)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_layers_go_on_from_what_is_changed(bert, layer):
    ids = [bert.tokenizer.encode("the cat sat").ids]
    before = bert.encode(input_ids=ids)["hidden_states"]
    with languages.changed(layer, lambda h: h):
        for a, b in zip(before, bert.encode(input_ids=ids)["hidden_states"], strict=True):
            np.testing.assert_array_equal(a, b)
    with languages.changed(layer, lambda h: h + np.arange(16.0)):
        after = bert.encode(input_ids=ids)["hidden_states"]
    np.testing.assert_array_equal(after[layer], before[layer] + np.arange(16.0))
    assert all(np.array_equal(a, b) for a, b in zip(after[:layer], before[:layer], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(after[layer:], before[layer:], strict=True))


def test_a_word_is_the_mean_of_its_tokens_and_occurrences(bert):
    texts = ["the cats sat", "", "Cats", "a dog"]
    found = languages.words(bert, texts, {"cats", "dog", "owl"}, 20)
    assert {*found} == {"cats", "dog"}
    tokens = bert.tokenizer.tokenize("cats")
    assert len(tokens) > 1
    due = []
    for text, first in (("the cats sat", 2), ("Cats", 1)):
        layers = bert.encode(input_ids=[bert.tokenizer.encode(text).ids])["hidden_states"]
        due.append([layer[0, first : first + len(tokens)].mean(0) for layer in layers])
    np.testing.assert_allclose(found["cats"], np.mean(due, 0), rtol=1e-6)
    layers = languages.tokens(bert, texts, 20, 4)
    due = bert.encode(input_ids=[bert.tokenizer.encode(texts[0]).ids])["hidden_states"]
    np.testing.assert_allclose(layers[2], due[2][0, 1:5], rtol=1e-6)


def test_a_dictionary_has_each_word_once():
    pairs = [("A", "x"), ("a", "y"), ("b", "X"), ("b", "z"), ("c", "w")]
    assert languages.met({"a", "b", "c"}, {"x", "y", "z"}, pairs) == [("a", "x"), ("b", "z")]
    one = {"a": np.eye(2), "b": np.eye(2)[::-1]}
    assert languages.alignment(one, {"x": one["a"], "z": one["b"]}, [("a", "x"), ("b", "z")]) == [(1, 1)] * 2
    with pytest.raises(InputError, match="two are due"):
        languages.alignment(one, one, [("a", "a")])


def test_how_far_languages_lie_apart_by_hand():
    one = np.array([[1.0, 0, 0], [-1, 0, 0]])
    three, four = one + np.array([0, 3, 0]), one + np.array([0, 0, 4])
    assert languages.apart([one, three]) == pytest.approx(3)
    assert languages.apart([one, one]) == 0
    assert languages.apart([one, three, four]) == pytest.approx((3 + 4 + 5) / 3)


def test_shifts_are_of_the_states_that_are_shown(bert):
    """ALBERT's embeddings are widened first, GPT-2's last state is behind a norm, BART's states its decoder's."""
    assert languages.changeable(bert, ["", "the cat"], 8) == [0, 1, 2]
    for name, due in (("albert", [1, 2, 3, 4, 5, 6]), ("gpt2", [0, 1])):
        model = minibert.create(name, **minibert.families.family(name).PROBE)
        model.tokenizer = WordPiece(bert.tokenizer.tokens[:13])
        assert languages.changeable(model, ["the cat"], 8) == due
    bart = minibert.create("bart", **minibert.families.family("bart").PROBE)
    bart.tokenizer = WordPiece(bert.tokenizer.tokens[:13])
    with pytest.raises(InputError, match="the layers of bart do not go on from states that are changed"):
        languages.changeable(bart, ["the cat"], 8)


def test_whose_heads_cannot_go_is_said():
    t5 = minibert.create("t5", **minibert.families.family("t5").PROBE)
    counts = pruning.heads(t5)
    with pytest.raises(InputError, match=r"^t5 has tables by head besides, as of distances: its heads stay$"):
        pruning.shrunk(t5, [(path, 0) for path in counts])


def test_a_plane_shows_how_means_differ():
    rng = np.random.default_rng(0)
    one = rng.standard_normal((40, 5)) * [5, 1, 1, 1, 1]
    one -= one.mean(0)
    points, means = languages.plane([one, one + np.array([0, 0, 7, 0, 0])])
    assert abs(means[1, 0] - means[0, 0]) == pytest.approx(7)
    assert means[:, 1] == pytest.approx([0, 0], abs=1e-12)
    assert np.abs(np.corrcoef(points[0][:, 1], one[:, 0])[0, 1]) > 0.98
    points, means = languages.plane([one, one])
    assert means == pytest.approx(np.zeros((2, 2)), abs=1e-12)


def test_what_reads_no_text_says_so(bert):
    glove = minibert.create("glove", **minibert.families.family("glove").PROBE)
    with pytest.raises(InputError, match="no vocabulary"):
        languages.tokens(glove, ["a"], 8, 8)
    glove.tokenizer = bert.tokenizer
    with pytest.raises(InputError, match="glove has no states of a text's tokens"):
        languages.tokens(glove, ["a"], 8, 8)
    with pytest.raises(InputError, match="glove has no states of a text's tokens"):
        probing.texts(glove, [("", {"text": "a", "label": "x"})], 8)
    t5 = minibert.create("t5", **minibert.families.family("t5").PROBE)
    t5.tokenizer = bert.tokenizer
    with pytest.raises(InputError, match="t5 has no states of a text's tokens, layer by layer"):
        languages.tokens(t5, ["a"], 8, 8)
    with pytest.raises(InputError, match="the text has no token"):
        languages.tokens(bert, [""], 8, 8)
