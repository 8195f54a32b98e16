"""The laws hold for the engine and for transformers, in float64 and float32, and each can be broken."""

import importlib.util
import math
import pkgutil
import types
from pathlib import Path

import numpy as np
import pytest
from draws import EVERY, some
from published import declared

import minibert
from minibert import InputError, families, laws, tree
from minibert import config as configs
from minibert.checkpoint.names import from_published
from minibert.families import bert
from minibert.golden import case as cases
from minibert.golden.cases import of
from minibert.golden.kinds import family as whole
from minibert.golden.subject import Subject, observe
from tests import toys

ADAPTERS = Path(__file__).resolve().parents[2] / "reference" / "adapters"
FIELDS = {
    **bert.PROBE,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "hidden_act": "gelu",
    "max_position_embeddings": 11,
}
PUBLISHED = {"mask_constant": "min", "pad_row_gradient": False, "mlm_denominator_eps": 0.0}


def question(dtype="float64", seed=0, **fields):
    """(weights, inputs, config): probe weights, two kinds of padding, a slot of weight 0."""
    rng = np.random.default_rng(seed)
    model = minibert.create("bert", seed, "float64", **{**FIELDS, **fields})
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, 0.4, value.shape)
    inputs = bert.example(rng, model.config, {"B": 3, "T": 8})
    inputs["masked_lm_positions"] = np.array([[1, 2, 4], [1, 3, 4], [2, 3, 4]])
    del inputs["dropout"]
    weights = {name: value.astype(dtype) for name, value in model.state_dict().items()}
    for array in (*weights.values(), *inputs.values()):
        array.flags.writeable = False
    return weights, inputs, configs.to_fields(model.config)


def engine(config, fault=None):
    """The engine as anybody's implementation; fault: an observer of its ops (see `pairs.observing`)."""
    made = configs.from_fields(bert.Config, config)
    around = () if fault is None else (lambda: fault,)

    def run(weights, inputs):
        model = minibert.Model("bert", made, from_published(dict(weights), bert.names(made)))
        return observe(Subject("bert", made, model.params, [model.checked(dict(inputs))], around=around), steps=())

    return run


def broken(findings):
    return {finding.law for finding in findings if finding.holds is False}


# ---- They hold -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("fields", "dtype"), [
    ({}, "float64"), (PUBLISHED, "float32"), ({"num_hidden_layers": 4, "hidden_act": "relu"}, "float64")])  # fmt: skip
def test_the_engine_obeys_every_law(fields, dtype):
    for seed in range(3 if EVERY else 1):
        weights, inputs, config = question(dtype, seed, **fields)
        findings = laws.check(engine(config), weights, inputs, config)
        assert [finding.law for finding in findings] == list(laws.LAWS)
        asked = [finding for finding in findings if finding.holds is not None]
        assert {finding.law for finding in findings} - {finding.law for finding in asked} <= {"gradient_is_the_slope"}
        assert not broken(findings), [finding.text for finding in findings if not finding.holds]


def transformers():
    """The adapter for the published implementation."""
    for package in ("torch", "transformers", "safetensors"):
        pytest.importorskip(package, reason="asks the published implementation: install minibert[oracle]")
    spec = importlib.util.spec_from_file_location("torch_transformers", ADAPTERS / "torch_transformers.py")
    adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adapter)
    return adapter


def asked_of(adapter, config, **facts):
    def run(weights, inputs):
        copies = ({name: value.copy() for name, value in given.items()} for given in (weights, inputs))
        return adapter.candidate(*copies, {"config": config, **facts})

    return run


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_transformers_obeys_every_law(dtype):
    weights, inputs, config = question(dtype, **PUBLISHED)
    findings = laws.check(asked_of(transformers(), config), weights, inputs, config)
    assert all(finding.holds for finding in findings), [finding.text for finding in findings if not finding.holds]


def test_transformers_obeys_the_laws_of_another_kind():
    """All but that of the slope, which asks some fifty times: every gradient is compared in `published`."""
    adapter, (_, *question, family) = transformers(), of_case("gpt2/published")
    run = asked_of(adapter, question[-1], family=family)
    findings = [law(run, *question, family) for name, law in laws.of(family).items() if name != "gradient_is_the_slope"]
    silent = {finding.law: finding.text for finding in findings if not finding.holds}
    assert silent.keys() == {"step_by_step"}, silent


def test_laws_hold_in_float16_with_every_op_rounded():
    """An implementation whose every result is rounded to float16 stays within the bars of that dtype."""

    def rounded(f, args, constants):
        result = f(*args, **constants)
        if f.__name__.endswith("_backward"):
            return result
        return np.asarray(result[0]).astype(np.float16).astype(np.float32), result[1]

    weights, inputs, config = question("float32", **PUBLISHED)
    run = engine(config, rounded)

    def halves(weights, inputs):
        found = run({name: value.astype(np.float32) for name, value in weights.items()}, inputs)
        return {key: value.astype(np.float16) for key, value in found.items() if key.startswith("forward/")}

    findings = laws.check(halves, {name: value.astype(np.float16) for name, value in weights.items()}, inputs, config)
    assert not broken(findings), [finding.text for finding in findings if finding.holds is False]
    assert sum(finding.holds is True for finding in findings) >= 8


def of_case(name, fault=None):
    """(run, weights, inputs, config): the engine on a shipped case, or on what one of a family would be given, as
    anybody's implementation.
    """
    if "/" in name:
        case = cases.read(name)
        facts, weights, inputs = case.facts, case.section("weights"), case.section("inputs")
    else:
        given = whole.made(of(name, "family", {}, 0))
        facts = given.facts
        held = [(*key.partition("/")[::2], array) for key, array in given.given.items()]
        weights, inputs = ({name: a for own, name, a in held if own == part} for part in ("weights", "inputs"))
    family = facts["family"]
    made = configs.from_fields(families.family(family).Config, facts["config"])
    module = families.family(family)
    around = () if fault is None else (lambda: fault,)

    def run(weights, inputs):
        model = minibert.Model(family, made, from_published(dict(weights), module.names(made)))
        batch = model.checked(tree.unflatten(inputs))  # lists are one array each in a case
        return observe(Subject(family, made, model.params, [batch], around=around), steps=())

    if hasattr(module, "step"):
        run.start = lambda weights, given: module.start(from_published(dict(weights), module.names(made)), made, given)
        run.step = lambda weights, *read: module.step(from_published(dict(weights), module.names(made)), made, *read)
    inputs = {key: array for key, array in inputs.items() if not key[0].isdigit() and not key.startswith("dropout/")}
    return run, weights, inputs, facts["config"], family


def cases_of(name):
    """What a family is asked about: its shipped case `published` and those that its own test names in LAWS; what one
    would be given where it has none.
    """
    there = {path.name for path in cases.shipped() if path.parent.name == name} & {"published"}
    return [f"{name}/{case}" for case in (*there, *dict(declared("LAWS")).get(name, ()))] or [name]


TOYS = ["toy_rnn", "toy_vit", "toy_word2vec"]
CASES = [case for name in (*(file.name for file in pkgutil.iter_modules(families.__path__)), *TOYS)
         for case in cases_of(name)]  # fmt: skip


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Families from outside the package, for these tests alone."""
    monkeypatch.setattr(families, "_registered", {})
    assert toys.register() == TOYS


def said(family, config):
    """The laws on which a family says that it is silent, and why."""
    return laws.silent(family, configs.from_fields(families.family(family).Config, config))


@pytest.mark.parametrize("name", some(CASES, 6))
def test_each_family_obeys_the_laws(name):
    """And is silent on those alone of which it says why."""
    run, weights, inputs, config, family = of_case(name)
    findings = laws.check(run, weights, inputs, config, family)
    assert not broken(findings), [finding.text for finding in findings if finding.holds is False]
    silent = {finding.law: finding.text for finding in findings if finding.holds is None}
    because = said(family, config)
    assert silent.keys() - {"gradient_is_the_slope"} == because.keys() - {"gradient_is_the_slope"}, silent
    assert all(silent[law] == f"{law}: not asked: {why}" for law, why in because.items())
    assert any(finding.holds for finding in findings)


@pytest.mark.parametrize("name", some(CASES, 6))
def test_what_a_family_is_silent_on_cannot_be_asked(name, monkeypatch):
    """None of what it excuses itself from would hold."""
    run, *question, family = of_case(name)
    because = said(family, question[-1])
    monkeypatch.setattr(laws.core, "silent", lambda family, config: {})
    for law in because:
        finding = laws.of(family)[law](run, *question, family)
        assert finding.holds is not True, finding.text


@pytest.mark.parametrize("toy", [toys.toy_vit, toys.toy_word2vec])
def test_a_family_from_outside_says_what_it_is_silent_on(toy, monkeypatch):
    """In its own file; where it does not, it is silent by accident and fails."""
    monkeypatch.delattr(toy, "silent")
    with pytest.raises(AssertionError, match="padding_invariance: not asked: the family has no mask of keys"):
        test_each_family_obeys_the_laws(families.named(toy))


OTHER_NAMES = {"bert.encoder.layer": "transformer.h", "bert.": "transformer.", "attention.self": "attn",
               "attention.output": "attn.c_proj", "LayerNorm": "ln", "word_embeddings": "wte", "query": "q", "key": "k",
               "position_embeddings": "wpe", "token_type_embeddings": "wse", "cls.": "heads.", "intermediate": "mlp",
               "value": "v"}  # fmt: skip


@pytest.fixture
def zebra(monkeypatch):
    """BERT under names that no published model has, a family of its own: (family's name, a `run` of it, question)."""

    def other(name):
        for old, new in OTHER_NAMES.items():
            name = name.replace(old, new)
        return name

    module = types.ModuleType("zebra")
    module.__getattr__ = lambda name: getattr(bert, name)
    module.names = lambda config: [(path, other(name), kind) for path, name, kind in bert.names(config)]
    module.activations = lambda config: [(other(name), *row) for name, *row in bert.activations(config)]
    module.aliases = lambda config: {other(alias): other(name) for alias, name in bert.aliases(config).items()}
    find = families.family
    monkeypatch.setattr(families, "family", lambda name: module if name == "zebra" else find(name))
    weights, inputs, config = question(**PUBLISHED)
    names = {other(name): name for _, name, _ in bert.names(configs.from_fields(bert.Config, config))}
    right = {other(name): value for name, value in weights.items()}

    def run_of(fault=None):
        run = engine(config, fault)

        def renamed(weights, inputs):
            found = run({names[name]: value for name, value in weights.items()}, inputs)
            return {"/".join((key.partition("/")[0], other(key.partition("/")[2]))): a for key, a in found.items()}

        return renamed

    return module, run_of, (right, inputs, config, "zebra")


def test_laws_go_by_parts_of_the_tree_and_not_by_names(zebra):
    """Every law is asked of a model whose names nobody has seen, and each sees its fault."""
    _, run_of, question = zebra
    findings = laws.check(run_of(), *question)
    assert [finding.law for finding in findings if finding.holds is not True] == []
    for name in set(laws.LAWS) - {"ignored_labels"}:
        assert laws.LAWS[name](run_of(FAULTS[name]), *question).holds is False, name


def test_second_names_of_a_tensor_follow_it():
    """A published file may hold the tied decoder, too: it is asked with the table, not with what the table was."""
    weights, inputs, config = question(**PUBLISHED)
    run, again = engine(config), "cls.predictions.decoder.weight"

    def tied(weights, inputs):
        assert np.array_equal(weights[again], weights["bert.embeddings.word_embeddings.weight"])
        return run({name: value for name, value in weights.items() if name != again}, inputs)

    table = weights["bert.embeddings.word_embeddings.weight"]
    assert not broken(laws.check(tied, {**weights, again: table}, inputs, config))


def test_silence_by_accident_is_seen(zebra):
    """A family that does not say where its attention is falls silent, and has not said so."""
    module, run_of, question = zebra
    rows = module.activations
    module.activations = lambda config: [row for row in rows(config) if "attention:" not in row[1]]
    silent = {finding.law for finding in laws.check(run_of(), *question) if finding.holds is None}
    assert {"attention_rows", "forbidden_keys"} <= silent
    assert not laws.silent("zebra", None)


def test_a_family_has_laws_of_its_own(zebra, monkeypatch):
    """`laws/NAME.py`: what it adds is asked after everybody's, what it is silent on is told."""
    own: dict = {}

    def causality(ask, view, inputs, config):
        """Nothing looks ahead."""
        return 0.0, "nowhere"

    laws.law(causality, own)
    file = types.SimpleNamespace(LAWS=own, silent=lambda config: {"tied_gradient": "it has no look-up"})
    monkeypatch.setattr(laws.core, "_own", lambda family: [file])
    _, run_of, question = zebra
    findings = {finding.law: finding for finding in laws.check(run_of(), *question)}
    assert list(findings)[-1] == "causality"
    assert findings["causality"].holds
    assert findings["tied_gradient"].text == "tied_gradient: not asked: it has no look-up"
    assert "causality" not in laws.LAWS


def attends(name):
    """Whether a family's case has an attention; of toys, which are registered later, the one that does."""
    name = name.partition("/")[0]
    module = None if name in TOYS else families.family(name)
    return name == "toy_vit" if module is None else "forbidden_keys" not in laws.silent(name, module.Config())


@pytest.mark.parametrize("name", some([name for name in CASES if attends(name)], 8))
def test_a_fault_is_seen_in_each_family(name):
    """Heads interleaved, another bias in each softmax, a forgotten mask: the law about it is broken; of toys that
    attend.
    """
    *_, config, family = of_case(name)
    asked = {"head_permutation", "key_bias_gradient", "forbidden_keys"} - said(family, config).keys()
    if not asked:
        pytest.skip("a network without attention")
    assert len(asked) >= 2
    for law in sorted(asked):
        run, *question = of_case(name, FAULTS[law])
        assert laws.LAWS[law](run, *question).holds is False, law


def constant(*names, **given):
    """A fault of those ops: these constants, whatever they are given."""
    return lambda g, args, constants: g(*args, **{**constants, **(given if g.__name__ in names else {})})


def first_row(g, args, constants):
    """Whatever the row, the first row's grid, or words, are read."""
    if g.__name__ not in ("windows", "reset_first_gru"):
        return g(*args, **constants)
    x, *rest = args
    return g(np.broadcast_to(x[:1], x.shape).copy(), *rest, **constants)


def beside(g, args, constants):
    """Gradients of scores are one too large."""
    found = g(*args, **constants)
    return found + 1 if g.__name__ == "soft_cross_entropy_backward" else found


def everywhere(g, args, constants):
    """Words of which nothing is asked are asked for, as the first of the vocabulary."""
    if g.__name__ != "floored_cross_entropy":
        return g(*args, **constants)
    return g(*args, **{**constants, "labels": np.maximum(constants["labels"], 0)})


@pytest.mark.parametrize(("name", "law", "fault"), [
    ("quick_thought/published", "padding_of_sentences", constant("reset_first_gru", "lstm", mask=None)),
    ("quick_thought/published", "scores_compete", beside),
    ("quick_thought/published", "batch_permutation", first_row),
    ("skip_thought/published", "padding_of_texts", constant("gru", mask=None)),
    ("skip_thought/published", "ignored_labels", everywhere),
    ("skip_thought/published", "uniform_head", constant("floored_cross_entropy", floor=1e-3)),
    ("vit/published", "layer_norm_shift", None),
    ("vit/published", "layer_norm_scale", None),
    ("swin/published", "layer_norm_shift", None),
    ("swin/published", "head_permutation", None),
    ("swin/published", "batch_permutation", first_row),
])  # fmt: skip
def test_a_fault_is_seen_in_pictures_and_sentences(name, law, fault):
    """In laws that those families alone have, or that are asked of them by what they say of themselves."""
    for own, holds in ((None, True), (fault or FAULTS[law], False)):
        run, *question, family = of_case(name, own)
        assert laws.of(family)[law](run, *question, family).holds is holds, law


# ---- Each can be broken: a mistake that somebody has made, and the law that sees it ----------------------------------
FAULTS = {}


def fault(*names):
    def declare(f):
        FAULTS[f.__name__] = lambda g, args, constants: (
            f(g, args, constants) if g.__name__ in names else g(*args, **constants)
        )
        return f

    return declare


@fault("attention")
def padding_invariance(f, args, constants):
    """The mask is forgotten."""
    return f(*args, **{**constants, "mask": None})


@fault("linear")
def batch_permutation(f, args, constants):
    """The pooler reads the first row's [CLS] for every row."""
    x, *rest = args
    return f(np.broadcast_to(x[:1], x.shape) if x.ndim == 2 else x, *rest, **constants)


@fault("split_heads")
def head_permutation(f, args, constants):
    """Heads are interleaved: reshaped to (…, K, H)."""
    y, cache = f(*args, **constants)
    b, h, t, k = y.shape
    return np.ascontiguousarray(args[0].reshape(b, t, k, h).transpose(0, 3, 1, 2)), cache


@fault("embedding")
def vocabulary_permutation(f, args, constants):
    """An off-by-one clamp of the ids: the last token shares the row of the one before."""
    weight, *rest = args or [constants.pop("weight")]
    return f(weight, *rest, **{**constants, "ids": np.minimum(constants["ids"], len(weight) - 2)})


@fault("linear")
def hidden_unit_permutation(f, args, constants):
    """The bias of the feed-forward is off by one."""
    bias = constants.get("bias")
    moved = bias is not None and len(bias) != args[0].shape[-1]
    return f(*args, **{**constants, "bias": np.roll(bias, 1) if moved else bias})


@fault("attention")
def key_bias_invariance(f, args, constants):
    """The keys pass through a tanh."""
    q, k, v = args
    return f(q, np.tanh(k), v, **constants)


@fault("layer_norm")
def layer_norm_shift(f, args, constants):
    """The norm divides by the root of the mean square and forgets the mean."""
    x = args[0]
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + constants["eps"])
    return y * constants["weight"] + constants["bias"], f(*args, **constants)[1]


@fault("layer_norm")
def layer_norm_scale(f, args, constants):
    """The norm centres and does not divide."""
    y = args[0] - args[0].mean(-1, keepdims=True)
    return y * constants["weight"] + constants["bias"], f(*args, **constants)[1]


@fault("cross_entropy")
def uniform_head(f, args, constants):
    """The loss is in bits."""
    y, cache = f(*args, **constants)
    return y / math.log(2), cache


@fault("attention")
def attention_rows(f, args, constants):
    """The probabilities are divided by 1 - rate although nothing is dropped."""
    y, cache = f(*args, **constants)
    return y / 0.9, {**cache, "probs": cache["probs"] / 0.9}


@fault("attention")
def forbidden_keys(f, args, constants):
    """The mask subtracts 10, not 10000."""
    mask, (q, k, v, *given) = constants.pop("mask"), args
    bias = given[0] if given else constants.pop("bias", None)
    added = 0.0 if bias is None else bias
    y, cache = f(q, k, v, bias if mask is None else added + np.where(mask, 0.0, -10.0), **constants)
    return y, {**cache, "bias": None if bias is None else bias.shape}


@fault("attention_backward")
def key_bias_gradient(f, args, constants):
    """The softmax's backward lacks the sum over the row."""
    dy, c = args
    dscores = c["probs"] * (dy @ c["v"].swapaxes(-1, -2)) * c["scale"]
    return dscores @ c["k"], dscores.swapaxes(-1, -2) @ c["q"], *f(dy, c)[2:]


@fault("cross_entropy_backward")
def softmax_gradients(f, args, constants):
    """The label is smoothed to 0.9 in the gradient and the others get nothing for it."""
    gradient = f(*args, **constants)
    return np.where(gradient < 0, 0.9 * gradient, gradient)


@fault("mlm_head_backward", "linear_backward")
def tied_gradient(f, args, constants):
    """The table's gradient is that of the look-up alone."""
    dx, g, *dtable = f(*args, **constants)
    g = {"weight": 0 * g["weight"]} if g.keys() == {"weight"} else g
    return dx, g, *(0 * d for d in dtable)


@fault("gelu_backward", "gelu_tanh_backward")
def gradient_is_the_slope(f, args, constants):
    """The derivative of ReLU serves for that of GELU."""
    return args[0] * (f(np.ones_like(args[0]), args[1]) > 0.5)


@fault("cross_entropy")
def ignored_labels(f, args, constants):
    """What is marked as not asked is asked for the first token."""
    return f(*args, **{**constants, "ignore": None, "labels": np.maximum(constants["labels"], 0)})


@fault("attention")
def prefix_invariance(f, args, constants):
    """The mask lets the next token in."""
    mask = constants["mask"]
    return f(*args, **{**constants, "mask": mask | np.roll(mask, 1, -1)})


@fault("cross_entropy")
def next_token(f, args, constants):
    """Every place is asked for its own token."""
    return f(*args, **{**constants, "labels": np.roll(constants["labels"], 1)})


def unweighted(run):
    """The weights of the prediction slots are not used."""
    return lambda weights, inputs: run(
        weights, {**inputs, "masked_lm_weights": np.ones_like(inputs["masked_lm_weights"])}
    )


@pytest.mark.parametrize("name", laws.LAWS)
def test_each_law_can_be_broken(name):
    weights, inputs, config = question(**PUBLISHED)
    run = unweighted(engine(config)) if name == "ignored_labels" else engine(config, FAULTS[name])
    finding = laws.LAWS[name](run, weights, inputs, config)
    assert finding.holds is False, finding.text
    assert finding.error > 20 * finding.bar, finding.text
    assert "\n" not in finding.text
    assert "broken at" in finding.text
    assert laws.LAWS[name](engine(config), weights, inputs, config).holds


@pytest.mark.parametrize("name", [name for name in laws.of("gpt2") if name != "step_by_step"])
def test_each_law_can_be_broken_in_a_model_of_another_kind(name):
    """Pre-norm, causal, query, key and value in one module, asked for the next token."""
    run, *question = of_case("gpt2/published", FAULTS[name])
    finding = laws.of("gpt2")[name](run, *question)
    assert finding.holds is False, finding.text
    assert finding.error > 20 * finding.bar, finding.text


def test_laws_are_asked_of_token_types_and_of_padding_in_front():
    """Types are words, looked up once more in the table; what stands before a row's first token sees nothing."""
    run, weights, inputs, *rest = of_case("gpt2/published")
    mask = np.ascontiguousarray(inputs["attention_mask"][:, ::-1])
    assert (mask[:, 0] == 0).any()
    labels = np.where(mask, inputs["input_ids"], -100)
    types = np.random.default_rng(0).integers(0, 19, mask.shape)
    given = {**inputs, "attention_mask": mask, "labels": labels, "token_type_ids": types}
    findings = {finding.law: finding for finding in laws.check(run, weights, given, *rest)}
    said = findings.pop("step_by_step").text
    assert said == "step_by_step: not asked: token_type_ids is not read token by token"
    assert all(finding.holds for finding in findings.values()), [f.text for f in findings.values() if not f.holds]

    del given["token_type_ids"]
    said = laws.step_by_step(run, weights, given, *rest).text
    assert said.endswith("not asked: token by token, positions are counted without the padding in front of a row")
    given["token_type_ids"] = types

    def once(weights, inputs):  # the second look-up is forgotten
        return {key: value for key, value in run(weights, inputs).items() if not key.endswith("wte@1")}

    found = laws.tied_gradient(once, weights, given, *rest)
    assert (found.holds, found.text) == (None, "tied_gradient: not asked: gradients/transformer.wte@1 is not given")


STATES = {
    "positions that stay": lambda state: {**state, "position": state["position"] - 1},
    "a past that is masked": lambda state: {**state, "mask": 0 * state["mask"]},
    "keys of another layer": lambda state: {**state, "layers": state["layers"][::-1]},
    "values of another row": lambda state: tree.map(lambda a: np.roll(a, 1, 0), state),
}


@pytest.mark.parametrize("spoilt", [lambda h: 0 * h, lambda h: np.roll(h, 1, 0)], ids=["forgotten", "of another row"])
def test_a_state_of_one_vector_that_is_wrong_is_seen(spoilt):
    run, *question = of_case("toy_rnn")
    step = run.step
    run.step = lambda weights, ids, state: step(weights, ids, {"h": spoilt(state["h"])})
    assert broken(laws.check(run, *question)) == {"step_by_step"}


@pytest.mark.parametrize("spoilt", STATES)
def test_a_state_that_is_wrong_is_seen(spoilt):
    run, *question = of_case("gpt2/published")
    step = run.step
    run.step = lambda weights, ids, state: step(weights, ids, STATES[spoilt](state))
    findings = {finding.law: finding for finding in laws.check(run, *question)}
    assert broken(findings.values()) == {"step_by_step"}
    assert findings["step_by_step"].error > 20 * findings["step_by_step"].bar


def test_laws_of_some_are_asked_of_them_alone():
    own = {"prefix_invariance", "next_token", "step_by_step"}
    assert laws.of("gpt2").keys() - laws.of("bert").keys() == own
    assert laws.of("bert").keys() == laws.LAWS.keys()
    run, *question = of_case("gpt2/published")
    bare = laws.step_by_step(lambda weights, inputs: run(weights, inputs), *question)
    assert bare.text == "step_by_step: not asked: the implementation has no `start` and `step`"


def test_a_fault_is_seen_in_float32_too():
    weights, inputs, config = question("float32", **PUBLISHED)
    for name in laws.LAWS:
        run = unweighted(engine(config)) if name == "ignored_labels" else engine(config, FAULTS[name])
        assert laws.LAWS[name](run, weights, inputs, config).holds is False, name


def test_a_nan_breaks_a_law():
    weights, inputs, config = question()
    run = engine(config)

    def spoilt(weights, inputs):
        found = run(weights, inputs)
        found["forward/loss"] = found["forward/loss"] * np.nan
        return found

    assert "batch_permutation" in broken(laws.check(spoilt, weights, inputs, config))


# ---- Dumps, parts, odd questions -------------------------------------------------------------------------------------
# gradient_is_the_slope needs a callable: its steps shrink until the slopes agree
@pytest.mark.parametrize("name", [name for name in laws.LAWS if name != "gradient_is_the_slope"])
def test_from_dumps_a_law_says_the_same(name):
    """The questions don't depend on the answers, so two sittings give what one gives."""
    weights, inputs, config = question(**PUBLISHED)
    run, asked = engine(config), laws.LAWS[name]
    questions = laws.questions(asked, weights, inputs, config)
    assert 1 <= len(questions) <= 2
    dumps = [run(*question) for question in questions]
    assert asked(laws.replay(dumps), weights, inputs, config) == asked(run, weights, inputs, config)


def test_a_law_about_tensors_that_are_not_there_is_not_asked():
    weights, inputs, config = question()
    run = engine(config)

    def losses(weights, inputs):
        return {key: value for key, value in run(weights, inputs).items() if key.startswith("forward/loss")}

    findings = {finding.law: finding for finding in laws.check(losses, weights, inputs, config)}
    for name in ("attention_rows", "key_bias_gradient", "tied_gradient", "softmax_gradients", "layer_norm_scale"):
        assert findings[name].holds is None
        assert "not asked" in findings[name].text
    assert all(finding.holds for finding in findings.values() if finding.holds is not None)
    assert findings["uniform_head"].holds


def test_rows_without_a_key_and_without_padding():
    """A row masked everywhere is asked with its mask set; a batch without mask or room is asked what it can be."""
    weights, inputs, config = question(**PUBLISHED)
    mask = inputs["input_mask"].copy()
    mask[1] = 0
    assert not broken(laws.check(engine(config), weights, {**inputs, "input_mask": mask}, config))
    full = {name: value for name, value in inputs.items() if name != "input_mask"}
    short = {**config, "max_position_embeddings": 8}
    table = "bert.embeddings.position_embeddings.weight"
    weights = {**weights, table: weights[table][:8]}
    findings = {finding.law: finding for finding in laws.check(engine(short), weights, full, short)}
    assert findings["padding_invariance"].holds is None
    assert findings["forbidden_keys"].holds is None
    assert not broken(findings.values())


def test_the_question_as_given_is_asked_once():
    weights, inputs, config = question()
    run, times = engine(config), []

    def counted(w, x):
        same = w is weights and x.keys() == inputs.keys() and all(x[n] is inputs[n] for n in x)
        times.append(same)
        return run(w, x)

    laws.check(counted, weights, inputs, config)
    assert sum(times) == 1


def test_what_no_law_can_be_asked_of_is_one_line():
    weights, inputs, config = question()
    right = {"run": engine(config), "weights": weights, "inputs": inputs, "config": config}
    ids = inputs["input_ids"]
    wrong = [("run", 3), ("run", None), ("weights", None), ("weights", [1]), ("weights", {"a": "text"}),
             ("inputs", None), ("inputs", {}), ("inputs", {"input_ids": ids.astype(float)}),
             ("inputs", {"input_ids": ids[0]}),
             ("inputs", {**inputs, "input_mask": ids[:, :1]}), ("config", None)]  # fmt: skip
    for name, value in wrong:
        with pytest.raises(InputError):
            laws.check(**{**right, name: value})
    with pytest.raises(InputError, match="say family="):
        laws.check(**right, family="albert")
    for answer in (None, 3, {"forward/loss": "text"}, {3: 4}):
        with pytest.raises(InputError):
            laws.check(lambda w, x, answer=answer: answer, weights, inputs, config)
    with pytest.raises(InputError, match="law"):
        laws.questions(print, weights, inputs, config)
    with pytest.raises(InputError, match="fewer answers"):
        laws.replay([])(weights, inputs)
    assert laws.head_permutation(engine(config), weights, inputs, {}).holds is None  # and not a KeyError
