"""The door of the model: what it accepts, and the one line with which it refuses the rest."""

import functools
import warnings

import numpy as np
import pytest

import minibert
from minibert import InputError, batches, families, objective, signatures, tree
from minibert.families import bert
from minibert.model import Model

FIELDS = {**bert.PROBE, "mlm_denominator_eps": 0.0}


@pytest.fixture
def model():
    return minibert.create("bert", **FIELDS)


@pytest.fixture
def batch(model):
    return bert.example(np.random.default_rng(0), model.config)


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ({"input_ids": [[1, 17]]}, r"input_ids\[0, 1\] is 17: not in \[0, 17\)"),
        ({"input_ids": [[1, -1]]}, r"input_ids\[0, 1\] is -1"),
        ({"input_ids": [[1] * 10]}, "10 tokens a row, but max_position_embeddings is 9"),
        ({"input_ids": [1, 2]}, r"input_ids: expected shape \(B, T\), got \(2,\)"),
        ({"input_ids": [[1.0, 2.0]]}, "expected integers, got float64"),
        ({"input_ids": np.zeros((0, 3), int)}, "empty"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids: not an array: the rows differ in length"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1]]}, "T is 2 elsewhere"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 2]]}, r"attention_mask\[0, 1\] is 2: neither 0 nor 1"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[0, 3]]}, r"token_type_ids\[0, 1\] is 3"),
        ({"input_ids": [[1, 2]], "position_ids": [[0, 9]]}, r"position_ids\[0, 1\] is 9"),
        ({"input_ids": [[1, 2]], "atention_mask": [[1, 1]]}, "did you mean 'attention_mask'"),
        ({"input_ids": [[1, 2]], "input_mask": [[1, 1]], "attention_mask": [[1, 1]]}, "both given"),
        ({"input_ids": [[1, 2]], "outputs": ["logits"]}, "unknown output 'logits'"),
        ({}, "lacks 'input_ids'"),
    ],
)
def test_unusable_inputs(model, inputs, line):
    with pytest.raises(InputError, match=line) as error:
        model.encode(**inputs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda b: b.pop("next_sentence_labels"), "lacks 'next_sentence_labels'"),
        (lambda b: b.pop("masked_lm_ids"), "lacks 'masked_lm_ids'"),
        (lambda b: b.update(masked_lm_positions=b["masked_lm_positions"] + 7), "masked_lm_positions"),
        (lambda b: b.update(next_sentence_labels=np.array([0, 1, 2])), r"next_sentence_labels\[2\] is 2"),
        (lambda b: b.update(masked_lm_weights=np.full((3, 3), np.nan)), "not finite"),
        (lambda b: b.update(masked_lm_weights=np.full((3, 3), -1.0)), "negative"),
        (lambda b: b.update(dropout={"bert.embedding.dropout": np.ones((3, 7, 8))}), "did you mean 'bert.embeddings"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.ones((3, 7))}), r"expected shape \(3, 7, 8\)"),
        (lambda b: b.update(dropout=[1]), "dropout: expected a dict"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.full((3, 7, 8), np.nan)}), "neither 0 nor 1"),
        (lambda b: b.update(dropout={"bert.embeddings.dropout": np.full((3, 7, 8), 1.25)}), "neither 0 nor 1"),
    ],
)
def test_unusable_batches(model, batch, edit, line):
    edit(batch)
    with pytest.raises(InputError, match=line):
        model.loss(batch)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"hiden_size": 8}, "did you mean 'hidden_size'"),
        ({"hidden_size": 10, "num_attention_heads": 4}, "a divisor of hidden_size 10"),
        ({"hidden_act": "swish"}, "allowed: gelu, gelu_new"),
        ({"num_hidden_layers": 0}, "allowed: 1 to"),
        ({"num_hidden_layers": 10**9}, "allowed: 1 to"),
        ({"hidden_dropout_prob": 1.01}, r"allowed: \[0, 1\]"),
        ({"vocab_size": "17"}, "vocab_size"),
        ({"pad_token_id": 99}, "a token id"),
    ],
)
def test_unusable_configs(fields, line):
    with pytest.raises(InputError, match=line):
        minibert.create("bert", **{**FIELDS, **fields})


def test_unknown_families_and_dtypes():
    with pytest.raises(InputError, match="did you mean 'bert'"):
        minibert.create("berd")
    with pytest.raises(InputError, match="float32, float64 or longdouble"):
        minibert.create("bert", dtype="float16", **FIELDS)
    with pytest.raises(InputError, match="dtype 'foo': parameters are float32"):
        minibert.create("bert", dtype="foo", **FIELDS)
    with pytest.raises(InputError, match="seed -1: expected a whole number"):
        minibert.create("bert", seed=-1, **FIELDS)


def test_both_spellings_and_label_shapes(model, batch):
    other = dict(batch)
    other["attention_mask"], other["token_type_ids"] = other.pop("input_mask"), other.pop("segment_ids")
    other["next_sentence_labels"] = other["next_sentence_labels"][:, None]
    assert model.loss(other)[0] == model.loss(batch)[0]


def test_a_forward_alone_has_no_backward(model, batch):
    """Gradients without any of the layers would be silently wrong."""
    loss, cache = model.loss(batch, keep="last")
    assert loss == model.loss(batch)[0]
    with pytest.raises(InputError, match="kept no caches"):
        model.loss_backward(cache)
    with pytest.raises(InputError, match="unknown keep 'input'"):
        model.loss(batch, keep="input")


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_integers_of_any_size(model, batch, dtype):
    other = {name: a.astype(dtype) for name, a in batch.items() if name not in ("dropout", "masked_lm_weights")}
    assert model.loss({**batch, **other})[0] == model.loss(batch)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", families.names())
def test_losses_and_gradients_are_as_precise_as_the_parameters(name, dtype):
    """Under NumPy 1 a number of Python's widened what it met."""
    module = families.family(name)
    model = minibert.create(name, dtype=dtype, **module.PROBE)
    loss, cache = model.loss(batches.example(module, model.config, np.random.default_rng(0)))
    assert {loss.dtype, *(term.dtype for term in cache["terms"].values())} == {np.dtype(dtype)}
    assert {leaf.dtype for leaf in tree.leaves(model.loss_backward(cache))} == {np.dtype(dtype)}


def test_the_loss_is_the_sum_of_its_terms(model, batch):
    loss, cache = model.loss(batch)
    assert loss.shape == ()
    assert loss == cache["terms"]["masked_lm"] + cache["terms"]["next_sentence"]


@pytest.mark.parametrize("slots", [3, 0])
def test_no_targets(model, batch, slots):
    for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
        batch[name] = batch[name][:, :slots]
    batch["masked_lm_weights"] = np.zeros((3, slots))
    _, cache = model.loss(batch)
    assert cache["terms"]["masked_lm"] == 0
    gradient = model.loss_backward(cache)
    assert not any(a.any() for a in tree.leaves(gradient["mlm"]))
    assert all(np.isfinite(a).all() for a in tree.leaves(gradient))


def test_the_release_s_denominator(batch):
    plain, release = (minibert.create("bert", **{**FIELDS, "mlm_denominator_eps": eps}) for eps in (0.0, 1e-5))
    ratio = release.loss(batch)[1]["terms"]["masked_lm"] / plain.loss(batch)[1]["terms"]["masked_lm"]
    assert ratio == pytest.approx(8 / (8 + 1e-5), rel=1e-6)


def test_the_padding_row_learns_from_lookups_only_in_the_release(batch):
    rows = []
    for rule in (False, True):
        model = minibert.create("bert", **{**FIELDS, "pad_row_gradient": rule}, dtype="float64")
        gradient = model.loss_backward(model.loss(batch)[1])
        rows.append(gradient["embeddings"]["word"]["weight"])
    assert np.abs(rows[0][5] - rows[1][5]).max() > 1e-6
    others = np.arange(17) != 5
    assert np.array_equal(rows[0][others], rows[1][others])
    assert rows[0][5].any()  # the tied decoder's part it does get


def test_a_missing_head_is_named(model, batch):
    del model.params["nsp"]
    with pytest.raises(InputError, match="needs the head 'nsp'"):
        model.loss(batch)
    assert "pooler_output" in model.encode([[1, 2]])


def test_parameter_counts_of_the_published_sizes():
    """From shapes alone, nothing allocated; figures of the published models with their pooler and without heads."""
    counts = {"tiny": 4385920, "mini": 11170560, "small": 28763648, "medium": 41373184, "base": 109482240,
              "large": 335141888}  # fmt: skip
    for name, count in counts.items():
        shapes = objective.shapes(bert, bert.Config(**bert.PRESETS[name]))
        sizes = {part: sum(int(np.prod(s)) for s in tree.leaves(shapes[part])) for part in shapes}
        assert sizes["embeddings"] + sizes["encoder"] + sizes["pooler"] == count, name
        if name == "base":
            assert sum(sizes.values()) == 110106428


def test_initial_weights_are_truncated_normal():
    model = minibert.create("bert", **{**FIELDS, "vocab_size": 20000}, initializer_range=0.02)
    table = model.params["embeddings"]["word"]["weight"]
    assert np.abs(table).max() <= 0.04
    assert table.std() == pytest.approx(0.02 * 0.8796, rel=5e-3)


# ---- Every public call with what it cannot use: one line that names it -----------------------------------------------
def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


class Unwilling:
    def __array__(self, *_, **__):
        raise RuntimeError("no array of me")


IDS = [[1, 2, 3]]
NO_ARRAYS = {
    "None in a row": [[1, None]], "text": "the cat", "texts": [["the", "cat"]], "objects": np.array(IDS, object),
    "complex": np.array(IDS, complex),
    "masked": np.ma.masked_array(IDS, [[0, 1, 0]]), "dates": np.array(["2020"], "M8"),
    "records": np.array([(1, 2.0)], "i4,f4"), "a dict": {"a": 1}, "a set": {1, 2}, "unwilling": Unwilling(),
    "nested": nested(100), "endless digits": [[10**5000]],
}  # fmt: skip
NO_IDS = NO_ARRAYS | {
    "one number": 3, "a row": [1, 2], "three axes": [IDS], "four axes": np.zeros((1, 2, 3, 4), int),
    "ragged": [[1], [2, 3]], "floats": [[1.0, 2.0]], "bools": [[True, False]], "negative": [[1, -1]],
    "beyond the table": [[1, 17]],
    "no rows": np.zeros((0, 3), int), "empty rows": [[], []], "huge": np.array([[2**63]], np.uint64),
}  # fmt: skip
NO_MASKS = NO_ARRAYS | {
    "NaN": [[1, np.nan, 0]], "a half": [[1, 0.5, 0]], "-1": [[1, -1, 0]], "fewer": [[1, 0]], "more": [[1, 0, 1, 1]],
    "other rows": [[1, 0, 1]] * 2, "without rows": [1, 0, 1],
}  # fmt: skip
NO_NUMBERS = [-1, -1e-300, 0, np.nan, np.inf, -np.inf, None, "3", True, [3], np.array([3.0]), np.array(3.0), 1j,
              10**5000, 1e-320, 1e39]  # fmt: skip
PLACE = "bert.embeddings.dropout"


def refusals():
    """(call of a model and a batch, what the line has to hold)."""
    for path in (None, 3, b"x", "absent", "a\0b", "x" * 5000, object()):
        yield lambda m, b, path=path: minibert.load(path), "is not a directory"
        yield lambda m, b, path=path: m.save(path) if path != "absent" and path != "x" * 5000 else m.save(0), "path"
    for family in (None, 3, "", "berd", ["bert"], np.array(["bert", "bert"]), 10**5000):
        yield lambda m, b, family=family: minibert.create(family), "unknown family"
    for seed in (-1, "x", None, 1.5, True, [1], np.array([1, 2]), np.nan):
        yield lambda m, b, seed=seed: minibert.create("bert", seed=seed, **FIELDS), "seed"
    for dtype in (None, object, int, bool, complex, "float16", np.float16, "foo", "f4,f4", str, 3, [], nested(5)):
        yield lambda m, b, dtype=dtype: minibert.create("bert", dtype=dtype, **FIELDS), "dtype"
    for value in (10**5000, -(2**63), nested(3000), "x" * 5000, None, np.int64(3)):
        yield lambda m, b, value=value: minibert.create("bert", vocab_size=value), "vocab_size"
    for ids in NO_IDS.values():
        yield lambda m, b, ids=ids: m.encode(ids), "input_ids"
    for mask in NO_MASKS.values():
        for name in ("attention_mask", "input_mask"):
            yield lambda m, b, mask=mask, name=name: m.encode(IDS, **{name: mask}), "attention_mask"
    for outputs in (3, "attentions", [None], [["attentions"]], np.array(3)):
        yield lambda m, b, outputs=outputs: m.encode(IDS, outputs=outputs), "output"
    for batch in (None, 3, [], "batch", {3: 4}, {"zz": 1}, {}, np.zeros(3)):
        yield lambda m, b, batch=batch: m.loss(batch), "input" if isinstance(batch, dict) else "batch"
    for keep in (None, 3, "most", ["caches"], np.zeros(3)):
        yield lambda m, b, keep=keep: m.loss(b, keep=keep), "keep"
    for value in NO_NUMBERS:
        for term in ("masked_lm", "next_sentence"):
            yield lambda m, b, v=value, t=term: m.loss(b, denominators={t: v}), f"denominators[{term!r}]"
    for given in (3, "masked_lm", [1], {"masked": 1}, {3: 1}, np.zeros(2), 0, False, []):
        yield lambda m, b, given=given: m.loss(b, denominators=given), "denominators"
    for value in (*NO_ARRAYS.values(), np.full((3, 7, 8), 2), np.full((3, 7, 8), np.nan), np.ones((3, 7)), 1, None):
        yield lambda m, b, v=value: m.loss({**b, "dropout": {PLACE: v}}), PLACE
    for given in (3, [1], 0, "", False, {"bert.dropout": 1}, {3: 1}):
        yield lambda m, b, given=given: m.loss({**b, "dropout": given}), "dropout"
    for weights in (np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.full((3, 3), -1.0), np.ma.ones((3, 3)), "x"):
        yield lambda m, b, w=weights: m.loss({**b, "masked_lm_weights": w}), "masked_lm_weights"
    yield lambda m, b: m.loss({**b, "masked_lm_weights": np.full((3, 3), 1e39)}), "beyond float32"
    yield lambda m, b: m.loss({**b, "masked_lm_weights": np.full((3, 3), 3e38)}), "beyond float32"
    for cache in (None, 3, {}, {"terms": None}, {"terms": {}}, [], "cache"):
        yield lambda m, b, cache=cache: m.loss_backward(cache), "cache"
    for given in (3, [], "tree", {"a": 1}, {"mlm": {"dense": {"weight": np.zeros(3)}}}, {"mlm": 3}, nested(3000)):
        yield lambda m, b, given=given: m.state_dict(given), "tree"
    for change in (lambda a: a.astype(np.float16), lambda a: a.astype(int), lambda a: a.astype(object), lambda a: a[:1],
                   lambda a: a.tolist(), np.ma.array, lambda a: a.astype(complex)):  # fmt: skip
        for use in (lambda m, b: m.encode(IDS), lambda m, b: m.loss(b)):
            yield lambda m, b, c=change, use=use: use(Model("bert", m.config, tree.map(c, m.params)), b), "param"
    for params in (None, 3, {}, [], {"embeddings": {}}, {"zz": np.zeros(3)}):
        yield lambda m, b, p=params: Model("bert", m.config, p).encode(IDS), "params"
    yield lambda m, b: Model("bert", None, m.params), "config"
    for scale in np.array([1e25, 1e38], np.float32):  # variances, and then scores, beyond float32
        huge = functools.partial(tree.map, lambda a, s=scale: a + s * np.sign(a))
        yield lambda m, b, huge=huge: Model("bert", m.config, huge(m.params)).encode(IDS), "beyond float32"
        yield lambda m, b, huge=huge: Model("bert", m.config, huge(m.params)).loss(b), "beyond float32"


def test_what_cannot_be_used_is_one_line(model, batch):
    calls, wrong = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's own would be a second line
        for call, names in refusals():
            calls += 1
            try:
                call(model, batch)
                wrong.append(f"{names}: accepted, call {calls}")
            except InputError as error:
                line = str(error)
                if names not in line or not line.isprintable() or len(line) > 500:
                    wrong.append(f"{names}: {line}")
            except Exception as error:
                wrong.append(f"{names}: {error!r:.200}, call {calls}")
    assert not wrong
    assert calls > 200


def test_what_is_right_in_another_dress_gives_the_same(model, batch):
    """Big-endian arrays, lists, masks of any dtype, and no target given as empty lists."""
    due = model.loss(batch)[0]
    assert model.loss({n: a if n == "dropout" else a.tolist() for n, a in batch.items()})[0] == due
    swapped = {n: a if n == "dropout" else a.astype(a.dtype.newbyteorder(">")) for n, a in batch.items()}
    assert model.loss(swapped)[0] == due
    for dtype in (bool, int, "uint8", "float16", ">f8"):
        dropout = {name: keep.astype(dtype) for name, keep in batch["dropout"].items()}
        mask = batch["input_mask"].astype(dtype)
        assert model.loss({**batch, "dropout": dropout, "input_mask": mask})[0] == due
    counts = objective.counts(bert, model.config, batch)
    for number in (float, np.float32, np.float64, np.longdouble):
        assert model.loss(batch, {term: number(count) for term, count in counts.items()})[0] == pytest.approx(due)
    empty = {name: [[], [], []] for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")}
    assert model.loss({**batch, **empty}, {"masked_lm": 0})[1]["terms"]["masked_lm"] == 0
    little = minibert.create("bert", dtype=">f4", **FIELDS).state_dict()
    assert all(array.dtype.isnative for array in little.values())
    assert minibert.create("bert", seed=2**70, **FIELDS).encode(IDS).keys() == {*bert.outputs(None)}


def test_labels_that_ask_nothing_and_inputs_that_may_be_absent():
    """"?(…)" may be absent; "<V|-100" has one number that stands for no question (arXiv 1810.04805's ports: -100)."""
    spec = signatures.parse("?(B,T)<vocab_size|-100")
    assert (spec.optional, spec.bound, spec.ignored) == (True, "vocab_size", -100)
    assert not signatures.parse("(B,T)?").optional
    assert signatures.check("labels", [[3, -100]], spec, {"vocab_size": 4}).tolist() == [[3, -100]]
    for wrong in (4, -1, -99):
        with pytest.raises(InputError, match=r"not in \[0, 4\), nor -100"):
            signatures.check("labels", [[3, wrong]], spec, {"vocab_size": 4})
    with pytest.raises(InputError, match="expected dimensions and a kind"):
        signatures.parse("(B,T)<v|x")


def test_inputs_by_their_place():
    model = minibert.create("bert", **bert.PROBE)
    ids, mask = [[1, 2, 3]], [[1, 1, 0]]
    by_name = model.encode(input_ids=ids, attention_mask=mask)["last_hidden_state"]
    assert np.array_equal(model.encode(ids, mask)["last_hidden_state"], by_name)
    with pytest.raises(InputError, match="'input_ids' is given twice"):
        model.encode(ids, input_ids=ids)
    with pytest.raises(InputError, match="5 inputs given; there are: input_ids"):
        model.encode(ids, mask, None, None, None)


def test_inputs_may_be_lists_and_trees_of_arrays():
    """Memories and states: each array is checked, called by its path, in the dimensions of the others."""
    memories, sizes = signatures.parse("?[(B,M,width)]"), {"width": 2}
    assert (memories.holds, memories.optional, memories.dims) == ("list", True, ("B", "M", "width"))
    given = signatures.check("mems", (np.zeros((3, 4, 2)), [[[1, 2]] * 4] * 3), memories, sizes)
    assert [array.shape for array in given] == [(3, 4, 2)] * 2
    assert (sizes["B"], sizes["M"]) == (3, 4)
    for wrong, said in (
        ([np.zeros((3, 4, 2)), np.zeros((3, 5, 2))], r"mems.1: shape \(3, 5, 2\) does not fit, M is 4"),
        (np.zeros((2, 3, 4, 2)), "mems: expected a list of arrays, got 'ndarray'"),
        ([np.full((3, 4, 2), np.nan)], r"mems.0\[0, 0, 0\] is nan: not finite"),
    ):
        with pytest.raises(InputError, match=said):
            signatures.check("mems", wrong, memories, dict(sizes))
    state = signatures.parse("{(B,...)}")
    tree_ = {"layers": [{"keys": np.zeros((3, 2, 5)), "values": np.ones((3, 2))}], "length": np.zeros(3)}
    again = signatures.check("state", tree_, state, {"B": 3})
    assert tree.flatten(again).keys() == tree.flatten(tree_).keys()
    with pytest.raises(InputError, match=r"state.length: shape \(2,\) does not fit, B is 3"):
        signatures.check("state", {**tree_, "length": np.zeros(2)}, state, {"B": 3})
    with pytest.raises(InputError, match="state: expected a tree of arrays"):
        signatures.check("state", np.zeros(3), state, {})
    for text in ("[(B)", "{(B)]", "(B)]"):
        with pytest.raises(InputError, match="expected dimensions and a kind"):
            signatures.parse(text)
