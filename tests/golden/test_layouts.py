"""Dumps that lie otherwise than the case: recognised by what they hold, said, and judged all the same."""

import json
import re
from functools import cache

import numpy as np
import pytest

from minibert import cli
from minibert.checkpoint import safetensors
from minibert.checkpoint.numpy_files import Stored
from minibert.errors import InputError
from minibert.golden import candidate, checking, compare, sources
from minibert.golden import case as cases
from minibert.golden.subject import observe

BERT, GPT2 = "bert/published", "gpt2/published"
HEADS = 3
SPLIT = ("query", "key", "value", "context")


@cache
def golden(name):
    return cases.read(name)


@cache
def computed(name):
    """The engine's tensors of a case, without what is behind the first step."""
    found = observe(golden(name).subject(), (1,))
    return {key: array for key, array in found.items() if key in golden(name).entries}


def parts(tensors, wanted):
    return {key: array for key, array in tensors.items() if wanted(key)}


def forward(key):
    return key.startswith("forward/")


def kernel(key):
    """A matrix of a layer or head, by its parameter's name; no table."""
    return key.endswith(".weight") and "embeddings" not in key and not re.search(r"transformer\.w[tp]e", key)


def turned(tensors):
    return {key: array.T if kernel(key) and array.ndim == 2 else array for key, array in tensors.items()}


def apart(array, heads=HEADS):
    return array.reshape(*array.shape[:-1], heads, -1)


def keras_kernels(tensors):
    """(D, H, K) of query, key and value, (H, K, D) of what comes out of attention, (in, out) else; (H, K) biases."""
    found = {}
    for key, array in tensors.items():
        inside = re.search(r"self\.(query|key|value)\.(weight|bias)$", key)
        if inside:
            array = apart(array.T) if array.ndim == 2 else apart(array)
        elif key.endswith("attention.output.dense.weight"):
            array = array.T.reshape(HEADS, -1, array.shape[0])
        elif kernel(key) and array.ndim == 2:
            array = array.T
        found[key] = array
    return found


def of_heads(change):
    """What splits the heads of the tensors of attention."""
    return lambda tensors: {
        key: change(array) if key.startswith("forward/") and key.endswith(SPLIT) else array
        for key, array in tensors.items()
    }


def rows(change):
    """Of everything (B, T, …)."""
    b, t = golden(BERT).entries["inputs/input_ids"].shape
    return lambda tensors: {
        key: change(array) if array.ndim == 3 and array.shape[:2] == (b, t) else array for key, array in tensors.items()
    }


def padded(tensors, more):
    """Noise behind all tokens, as of a port that pads on the right."""
    t = golden(BERT).entries["inputs/input_ids"].shape[1]
    found, rng = {}, np.random.default_rng(0)
    for key, array in tensors.items():
        axes = [n for n in ((1,), (2, 3))[array.ndim - 3] if array.shape[n] == t] if array.ndim in (3, 4) else []
        shape = [size + more * (n in axes) for n, size in enumerate(array.shape)]
        found[key] = rng.standard_normal(shape)
        found[key][tuple(map(slice, array.shape))] = array
    return found


def packed(name):
    mask = golden(name).tensor("inputs/input_mask" if name == BERT else "inputs/attention_mask") != 0
    return rows(lambda array: array[mask])


def renamed(change):
    def made(tensors):
        found = {}
        for key, array in tensors.items():
            section, _, name = key.partition("/")
            if section == "steps":
                step, _, name = name.partition("/")
                section = f"steps/{step}"
            found[f"{section}/{change(name)}"] = array
        return found

    return made


def stacked(axis=0, name=lambda name: name):
    """Layers in one tensor each."""

    def made(tensors):
        found, held = {}, {}
        for key, array in tensors.items():
            match = re.search(r"(?<=\.)(layer|h)\.(\d+)", key)
            if match:
                held.setdefault(key.replace(match[0], name(match[1])), []).append(array)
            else:
                found[key] = array
        return found | {key: np.stack(arrays, axis) for key, arrays in held.items()}

    return made


def fused(join, bias=None):
    """Query, key and value of BERT in one tensor; join: of weights (3, D, D), biases and outputs get their last axis
    as rows."""

    def made(tensors):
        found, held = {}, {}
        for key, array in tensors.items():
            match = re.search(r"self\.(query|key|value)(?=$|\.)", key)
            if match:
                held.setdefault(key.replace(match[0], "self.qkv"), {})[match[1]] = array
            else:
                found[key] = array
        for key, three in held.items():
            found[key] = join(np.stack([three[name] for name in ("query", "key", "value")]), key)
        return found

    return made


def whole(three, key):
    """q, k, v one behind the other, along the outputs."""
    axis = 0 if key.endswith(("weight", "bias")) else -1
    return np.concatenate(list(three), axis)


def interleaved(three, key):
    """Head by head, as Megatron has them: (H, 3, K) along the outputs."""
    if key.endswith(("weight", "bias")):
        split = three.reshape(3, HEADS, -1, *three.shape[2:])
        return np.moveaxis(split, 0, 1).reshape(-1, *three.shape[2:])
    return np.moveaxis(apart(three), 0, -2).reshape(*three.shape[1:-1], -1)


def innermost(three, key):
    """(H, K, 3) along the outputs."""
    if key.endswith(("weight", "bias")):
        return np.moveaxis(three, 0, 1).reshape(-1, *three.shape[2:])
    return np.moveaxis(three, 0, -1).reshape(*three.shape[1:-1], -1)


def fused_turned(three, key):
    return whole(three, key).T if key.endswith("weight") else whole(three, key)


def separate(tensors, names=("q_proj", "k_proj", "v_proj"), turn=lambda array: array):
    """GPT-2's c_attn as three."""
    found = {}
    for key, array in tensors.items():
        if "attn.c_attn" in key:
            for name, part in zip(names, np.split(array, 3, -1), strict=True):
                found[key.replace("c_attn", name)] = turn(part) if part.ndim == 2 else part
        else:
            found[key] = turn(array) if kernel(key) and array.ndim == 2 else array
    return found


def gpt2_interleaved(tensors):
    def made(array):
        return np.moveaxis(apart(array.reshape(*array.shape[:-1], 3, -1)), -3, -2).reshape(array.shape)

    return {key: made(array) if "attn.c_attn" in key else array for key, array in tensors.items()}


def of_tensorflow(tensors):
    """As the release's variables are called."""
    names = {re.compile(r"(_embeddings|decoder)\.weight$"): r"\1", re.compile(r"LayerNorm\.weight$"): "LayerNorm.gamma",
             re.compile(r"LayerNorm\.bias$"): "LayerNorm.beta", re.compile(r"\.weight$"): ".kernel",
             re.compile(r"seq_relationship\.kernel$"): "seq_relationship.output_weights",
             re.compile(r"(predictions|seq_relationship)\.bias$"): r"\1.output_bias",
             re.compile(r"layer\.(\d+)"): r"layer_\1"}  # fmt: skip
    found = {}
    for key, array in tensors.items():
        section, _, name = key.rpartition("/")
        for pattern, called in names.items():
            name = pattern.sub(called, name)
        found[f"{section}/{name.replace('.', '/')}"] = array.T if name.endswith(".kernel") else array
    return found


def hold(*sections):
    return lambda key: key.startswith(tuple(f"{section}/" for section in sections))


# name: (case, what is held, how it lies, what the report says of it)
LAYOUTS = {
    "kernels (in, out)": (BERT, hold("gradients", "steps"), turned, "transposed, as (in, out)"),
    "one gradient alone, not square": (BERT, lambda key: key.endswith("layer.0.output.dense.weight")
                                       and key.startswith("gradients"), turned, "transposed"),
    "kernels (D, H, K) and (H, K, D), biases (H, K)": (
        BERT, hold("gradients", "steps"), keras_kernels, "transposed, as (in, heads, head size)"),
    "a kernel of each head (H, D, K)": (BERT, hold("gradients"), lambda tensors: {
        key: np.moveaxis(apart(array), 1, 0) if re.search(r"self\.(query|key|value)\.weight$", key) else array
        for key, array in turned(tensors).items()}, "transposed, as (heads, in, head size)"),
    "(B, T, H, K)": (BERT, forward, of_heads(apart), "as (batch, tokens, heads, head size)"),
    "(B, H, T, K)": (BERT, forward, of_heads(lambda a: apart(a).swapaxes(1, 2)),
                     "as (batch, heads, tokens, head size)"),
    "(B·H, T, K)": (BERT, forward, of_heads(lambda a: apart(a).swapaxes(1, 2).reshape(-1, a.shape[1], 4)),
                    "tokens, head size)"),
    "(B·T, H, K)": (BERT, forward, of_heads(lambda a: a.reshape(-1, HEADS, 4)), "batch x tokens, heads, head size"),
    "scores (H, B, T, T)": (BERT, forward, lambda tensors: {
        key: array.swapaxes(0, 1) if key.endswith(("scores", "probs")) else array for key, array in tensors.items()},
        None),
    "(B·T, D)": (BERT, hold("forward", "gradients"), rows(lambda a: a.reshape(-1, a.shape[-1])),
                 "(batch x tokens, hidden)"),
    "[T, B, D]": (BERT, hold("forward", "gradients"), rows(lambda a: a.swapaxes(0, 1)), "(tokens, batch, hidden)"),
    "(B, D, T)": (BERT, forward, rows(lambda a: a.swapaxes(1, 2)), "(batch, hidden, tokens)"),
    "(B, D, 1, T)": (BERT, forward, rows(lambda a: a.swapaxes(1, 2)[:, :, None]), "(batch, hidden, tokens)"),
    "rows without padding": (BERT, forward, packed(BERT), "tokens without padding"),
    "rows without padding, with heads": (BERT, forward, lambda tensors: packed(BERT)(of_heads(lambda a: a)(
        tensors)) | {key: apart(packed(BERT)({key: array})[key]) for key, array in tensors.items()
                     if key.endswith(SPLIT)}, "(tokens without padding, heads, head size)"),
    "rows without padding and their gradients": (BERT, hold("forward", "gradients"), packed(BERT),
                                                 "tokens without padding"),
    "everything flat": (BERT, hold("forward", "gradients"), lambda tensors: {
        key: array.reshape(-1) for key, array in tensors.items()}, None),
    "fused, stacked": (BERT, hold("forward", "gradients", "steps"), fused(whole), "query, key and value in one tensor"),
    "fused, head by head": (BERT, hold("forward", "gradients", "steps"), fused(interleaved),
                            "query, key and value in one tensor"),
    "fused, entry by entry": (BERT, hold("forward", "gradients", "steps"), fused(innermost),
                              "query, key and value in one tensor"),
    "fused, transposed": (BERT, hold("gradients"), lambda tensors: turned(fused(fused_turned)(tensors)) | parts(
        fused(fused_turned)(tensors), lambda key: "qkv" in key), "transposed"),
    "fused, an axis of three": (BERT, hold("forward", "gradients"), fused(lambda three, key: three),
                                "query, key and value in one tensor"),
    "layers stacked": (BERT, hold("forward", "gradients", "steps"), stacked(name=lambda name: f"{name}.*"),
                       "layer stack (2, "),
    "layers stacked, without a star": (BERT, hold("gradients"), stacked(), "layer stack (2, "),
    "layers stacked and kernels (in, out)": (BERT, hold("gradients"), lambda tensors: stacked()(turned(tensors)),
                                             "transposed, as (in, out)"),
    "layers stacked and fused": (BERT, hold("gradients"), lambda tensors: stacked()(fused(whole)(tensors)),
                                 "layer stack (2, 36, 12)"),
    "layers stacked, kernels of Keras": (BERT, hold("gradients"), lambda tensors: stacked()(keras_kernels(tensors)),
                                         "layer stack (2, 12, 3, 4)"),
    "module. before names": (BERT, hold("forward", "gradients"), renamed(lambda name: f"module.{name}"),
                             "without module."),
    "_orig_mod. before names": (BERT, hold("forward", "gradients", "steps"), renamed(lambda name: f"_orig_mod.{name}"),
                                "without _orig_mod."),
    "_orig_mod. inside names": (BERT, hold("forward", "gradients"), renamed(
        lambda name: re.sub(r"(layer\.\d)", r"\1._orig_mod", name)), "without _orig_mod."),
    "model.module. before names": (BERT, hold("forward"), renamed(lambda name: f"model.module.{name}"), "without"),
    "model. before names, of states, too": (BERT, hold("steps"), renamed(lambda name: f"model.{name}"),
                                            "without model."),
    "bert. once more before names": (BERT, hold("forward", "gradients", "steps"), renamed(
        lambda name: f"bert.{name}"), "without bert."),
    "a module of one's own before names": (BERT, hold("gradients", "steps"), renamed(
        lambda name: f"mine.of_all.{name}"), "without mine.of_all."),
    "no bert. before names": (BERT, hold("forward", "gradients", "steps"), renamed(
        lambda name: re.sub(r"\bbert\.", "", name)), "with bert. before it"),
    "a port's names of leaves": (BERT, hold("gradients"), lambda tensors: turned({
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        .replace("dense.weight", "dense.kernel").replace(".", "/"): array for key, array in turned(turned(
            tensors)).items()}), None),
    "TensorFlow's names": (BERT, lambda key: hold("gradients", "steps")(key) and key.endswith((".weight", ".bias")),
                           of_tensorflow, "with .weight behind it"),
    "fused, (in, out), beside kernels (out, in)": (BERT, hold("gradients", "steps"), fused(fused_turned), "transposed"),
    "GPT-2, weights (out, in)": (GPT2, hold("gradients"), turned, "transposed, as (out, in)"),
    "GPT-2, three projections": (GPT2, hold("forward", "gradients", "steps"), separate,
                                 "query, key and value are three tensors"),
    "GPT-2, three projections (out, in)": (GPT2, hold("forward", "gradients"), lambda tensors: separate(
        tensors, ("query", "key", "value"), lambda array: array.T), "transposed, as (out, in)"),
    "GPT-2, head by head": (GPT2, hold("forward", "gradients", "steps"), gpt2_interleaved,
                            "(batch, tokens, heads x q,k,v x head size)"),
    "GPT-2, stacked": (GPT2, hold("forward", "gradients"), stacked(), "layer stack (2, "),
    "GPT-2, [T, B, D]": (GPT2, hold("forward"), rows(lambda a: a.swapaxes(0, 1)), "(tokens, batch, hidden)"),
    "GPT-2, (B, D, T)": (GPT2, forward, rows(lambda a: a.swapaxes(1, 2)), "(batch, hidden, tokens)"),
    "GPT-2, one kernel (out, in) and all flat": ("gpt2/probe", hold("gradients"), lambda tensors: {
        key: array.reshape(-1) for key, array in tensors.items()}, None),
    "ELECTRA, kernels (in, out), one of a single row": ("electra/discriminator", hold("gradients"), turned,
                                                        "transposed, as (in, out)"),
    "a stack of one layer": ("bert/adafactor", hold("gradients"), stacked(), "layer stack (1, "),
    "tokens padded to 16": (BERT, hold("forward", "gradients"), lambda tensors: padded(tensors, 7),
                            "tokens padded to 16: the first 9 are read"),
    "a vocabulary padded to 24": (BERT, hold("forward", "gradients", "steps"), lambda tensors: {
        key: np.pad(a, [(0, 5 * (n == 19)) for n in a.shape]) if np.ndim(a) else a for key, a in tensors.items()},
        "vocabulary padded to 24: the first 19 are read"),
    "two underlines for each separator": (BERT, hold("forward", "gradients", "steps"), lambda tensors: {
        key.replace("/", "__").replace(".", "__"): a for key, a in tensors.items()}, None),
    "points for all separators": (BERT, hold("forward", "gradients", "steps"), lambda tensors: {
        key.replace("/", "."): a for key, a in tensors.items()}, None),
    "names as JAX writes a tree's": (BERT, hold("forward", "gradients", "steps"), lambda tensors: {
        "".join(f"['{part}']" for part in re.split("[/.]", key)): a for key, a in tensors.items()}, None),
    "slots behind the names of variables": (BERT, hold("steps"), lambda tensors: {
        re.sub(r"(adam_[mv])\.(.*)", r"\2/\1", key): a for key, a in tensors.items()}, None),
    "GPT-2, transformer. missing": (GPT2, hold("forward", "gradients"), renamed(
        lambda name: name.removeprefix("transformer.")), "with transformer. before it"),
}  # fmt: skip


def stored(tensors):
    """As from a file, in float32."""
    arrays = {key: np.ascontiguousarray(array, np.float32) for key, array in tensors.items()}
    return {key: Stored(array.shape, "float32", lambda array=array: array) for key, array in arrays.items()}


def judged(name, tensors, layout="auto"):
    """(the candidate, its rows that are not right)."""
    held = candidate.matched(stored(tensors), golden(name), None, layout)
    shapes = {key: array.shape for key, (_, array) in held.misshapen.items()}
    rows = compare.compare(golden(name), held.tensors, "float32", held.partial, None, shapes)
    return held, {row.key: row for row in rows if row.status not in ("right", "missing", "exempt")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_read_said_and_judged(layout):
    """Right numbers are right, of all that was given, and it is said how they were read."""
    name, wanted, change, said = LAYOUTS[layout]
    held = parts(computed(name), wanted)
    found, wrong = judged(name, change(held))
    assert (wrong, found.unknown, found.refused) == ({}, [], [])
    assert set(found.tensors) == set(held)
    assert said is None or any(said in note["read"] for note in found.read), found.read


# ---- What a layout may not hide --------------------------------------------------------------------------------------
OUT = "gradients/bert.encoder.layer.1.attention.output.dense.weight"  # square
IN = "gradients/bert.encoder.layer.1.intermediate.dense.weight"


@pytest.mark.parametrize("key", [OUT, IN])
@pytest.mark.parametrize("change", [dict, turned, keras_kernels])
def test_one_gradient_that_lies_otherwise_than_the_others_is_wrong(change, key):
    """A transpose forgotten in one backward, in a dump of either convention; a shape gives away what is not square."""
    held = parts(computed(BERT), hold("gradients"))
    given = change(held)
    given[key] = held[key].T if change is dict else held[key]
    _, wrong = judged(BERT, given)
    kept = key == IN and change is not dict  # as it stands in the case it is never refused
    due = {} if kept else {key: "wrong" if key == OUT else "shape"}
    assert {name: row.status for name, row in wrong.items()} == due


@pytest.mark.parametrize("name", [BERT, GPT2])
def test_all_square_gradients_that_lie_otherwise_than_what_is_not_square_are_wrong(name):
    """A backward with dW = xᵀ dy runs where a kernel is square, and nowhere else."""
    tensors = parts(computed(name), lambda key: key.startswith("gradients/"))
    square = {key for key, array in tensors.items() if kernel(key) and array.ndim == 2 and len({*array.shape}) == 1}
    wrong = {key: array.T if key in square else array for key, array in tensors.items()}
    _, found = judged(name, wrong)
    assert len(square) > 1
    assert {*found} == square


def test_one_square_gradient_alone_is_read_as_it_stands():
    """Nothing says that the dump lies otherwise."""
    _, wrong = judged(BERT, {OUT: computed(BERT)[OUT].T})
    assert set(wrong) == {OUT}
    _, wrong = judged(BERT, {OUT: computed(BERT)[OUT].T}, "keras")
    assert not wrong


@pytest.mark.parametrize("layout", ["kernels (in, out)", "kernels (D, H, K) and (H, K, D), biases (H, K)",
                                    "fused, head by head", "layers stacked, kernels of Keras",
                                    "GPT-2, three projections (out, in)"])  # fmt: skip
def test_a_mistake_is_seen_in_every_layout(layout):
    """Gradients that are noise in one layer are wrong there, and nowhere else, however the dump lies."""
    name, wanted, change, _ = LAYOUTS[layout]
    held, rng = parts(computed(name), wanted), np.random.default_rng(0)
    inside = "layer.1.attention" if name == BERT else "h.1.attn"
    spoilt = {key for key in held if inside in key and key.startswith("gradients/") and key.endswith(".weight")}
    given = {key: rng.standard_normal(array.shape) if key in spoilt else array for key, array in held.items()}
    _, wrong = judged(name, change(given))
    assert len(spoilt) >= 2
    assert set(wrong) == spoilt


def test_heads_that_are_merged_without_moving_them_back_are_wrong():
    """Of the shape that is due there is one reading, even where tokens are as many as heads."""
    key = "forward/bert.encoder.layer.0.attention.self.context"
    held = parts(computed(BERT), forward)
    held[key] = apart(held[key]).swapaxes(1, 2).reshape(held[key].shape)
    _, wrong = judged(BERT, held)
    assert set(wrong) == {key}


def test_a_fused_tensor_that_may_be_anything_is_refused_alone():
    """Noise in the place of one fused gradient: the order cannot be told, so it is as if it was not given."""
    held = parts(computed(BERT), lambda key: key.startswith("gradients/") and "layer.0" in key)
    given = fused(whole)(held)
    fused_key = next(key for key in given if key.endswith("qkv.weight"))
    given = {key: array for key, array in given.items() if "qkv" not in key}
    given[fused_key] = np.random.default_rng(0).standard_normal((36, 12))
    found, wrong = judged(BERT, given)
    assert wrong == {}
    assert len(found.refused) == 1
    assert "qkv.weight" in found.refused[0]
    assert set(found.tensors) == {key for key in held if "self." not in key.replace("gradients/", "") or not re.search(
        r"self\.(query|key|value)($|\.)", key)}
    found, wrong = judged(BERT, given, "fused-qkv")
    assert len(wrong) == 3
    assert not found.refused


def test_a_wrong_shape_is_wrong_by_itself():
    held = {**computed(BERT), "forward/bert.pooler": np.zeros((3, 7))}
    _, wrong = judged(BERT, held)
    assert {key: row.verdict for key, row in wrong.items()} == {
        "forward/bert.pooler": "wrong shape (3, 7), (3, 12) is due"
    }


def test_one_row_of_several_is_a_wrong_shape_and_no_choice_of_tokens():
    """A row has 9 tokens, and 3 rows of 3 targets are 9, too."""
    held, key = computed(BERT), "forward/bert.encoder.layer.1.output"
    _, wrong = judged(BERT, {**held, key: held[key][:1]})
    assert {key: row.verdict for key, row in wrong.items()} == {key: "wrong shape (1, 9, 12), (3, 9, 12) is due"}


def test_two_names_that_mean_the_same_are_refused():
    """With wrappers left out; a name that needs none is preferred."""
    pooler = computed(BERT)["forward/bert.pooler"]
    found, wrong = judged(BERT, {"forward/module.bert.pooler": pooler, "forward/bert.pooler": pooler})
    assert (len(found.tensors), wrong) == (1, {})
    assert "module.bert.pooler" in found.refused[0]


def test_names_in_a_map_may_mean_whole_stacks(tmp_path):
    """A star stands for the layers' numbers."""
    (tmp_path / "m.json").write_text('{"layers/out": "bert.encoder.layer.*.output"}', encoding="utf-8")
    key = "forward/bert.encoder.layer.{}.output"
    array = np.stack([computed(BERT)[key.format(i)] for i in (0, 1)])
    names = candidate.read_names(tmp_path / "m.json", golden(BERT))
    held = candidate.matched(stored({"forward/layers/out": array}), golden(BERT), names)
    assert set(held.tensors) == {key.format(i) for i in (0, 1)}


def test_the_command_says_how_a_dump_was_read(tmp_path, capsys):
    """In lines, and in JSON; what was not taken as if it was not given; a declared layout is obeyed."""
    held = stacked()(keras_kernels(parts(computed(BERT), hold("gradients"))))
    held["gradients/mine"] = np.zeros(3)
    held = {key: array for key, array in held.items() if not re.search(r"self\.(query|key|value)\.weight", key)}
    held["gradients/bert.encoder.layer.0.qkv.weight"] = np.random.default_rng(0).standard_normal((36, 12))
    safetensors.write(tmp_path / "c.safetensors", {key: np.ascontiguousarray(a, np.float32) for key, a in held.items()})
    found = tmp_path / "c.json"
    command = ["check", BERT, str(tmp_path / "c.safetensors"), "--json", str(found)]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert "layer stack (2, 3, 4, 12) in one tensor: read transposed, as (heads, head size, out): 1 tensor" in told
    assert "unknown to the case, not compared: 1 ('gradients/mine')" in told
    assert "1 more was not taken, see below" in " ".join(told.split())
    assert "not taken: 'gradients/bert.encoder.layer.0.qkv.weight'" in told
    assert "L5 gradients      not claimed: tensors missing, such as " in told
    facts = json.loads(found.read_text(encoding="utf-8"))
    assert len(facts["not_taken"]) == 1
    ways = {way["read"]: way["names"] for way in facts["layouts"]}
    assert "gradients/bert.encoder.layer.attention.output.dense.weight" in {n for names in ways.values() for n in names}
    assert cli.main([*command, "--layout", "torch", "--seconds", "0"]) == 1
    assert "wrong shape" in capsys.readouterr().out


def test_one_kind_of_kernel_may_be_turned_in_every_layer():
    """By an adapter that turns some itself; a square one, of which nothing but its contents tells, may not."""
    held = parts(computed(BERT), hold("gradients"))
    for name, due in (("intermediate.dense.weight", set()), ("attention.output.dense.weight", {
            f"gradients/bert.encoder.layer.{i}.attention.output.dense.weight" for i in (0, 1)})):  # fmt: skip
        given = {key: array.T if key.endswith(f".{name}") else array for key, array in held.items()}
        assert set(judged(BERT, given)[1]) == due


def test_what_is_longer_and_nothing_like_it_or_not_all_as_long_is_a_wrong_shape():
    """Noise of a greater length; and two lengths in one dump."""
    held = parts(computed(BERT), hold("forward"))
    key, other = "forward/bert.embeddings", "forward/bert.encoder.layer.1.output"
    _, wrong = judged(BERT, {**held, key: np.random.default_rng(0).standard_normal((3, 16, 12))})
    assert {name: row.status for name, row in wrong.items()} == {key: "shape"}
    _, wrong = judged(BERT, {**held, key: np.pad(held[key], ((0, 0), (0, 7), (0, 0))),
                             other: np.pad(held[other], ((0, 0), (0, 3), (0, 0)))})  # fmt: skip
    assert {name: row.status for name, row in wrong.items()} == {key: "shape", other: "shape"}


def test_a_mistake_is_seen_in_a_padded_dump():
    held = parts(computed(BERT), hold("forward"))
    key = "forward/bert.encoder.layer.1.output"
    given = padded({**held, key: held[key] + 0.1}, 7)
    assert set(judged(BERT, given)[1]) == {key}


def test_names_of_a_map_that_the_dump_lacks_are_said(tmp_path, capsys):
    """In a line; where nothing is common, in the error."""
    (tmp_path / "m.json").write_text('{"mine": "forward/bert.pooler", "x": "forward/loss", "y": "forward/bert.pooler"}',
                                     encoding="utf-8")  # fmt: skip
    dump, pooler = tmp_path / "c.safetensors", np.float32(computed(BERT)["forward/bert.pooler"])
    command = ["check", BERT, str(dump), "--names", str(tmp_path / "m.json")]
    safetensors.write(dump, {"forward/mine": pooler})
    assert cli.main(command) == 0
    assert "in the map of names, not in the candidate: 2 ('x', 'y')" in capsys.readouterr().out
    safetensors.write(dump, {"other": pooler})
    assert cli.main(command) == 2
    assert "the map has 'mine' …" in capsys.readouterr().err


def test_many_unknown_names_take_their_number_in_time(monkeypatch):
    """No name is compared with all others, or with all of the case's."""
    called = []
    own = sources._layer
    monkeypatch.setattr(sources, "_layer", lambda name: called.append(name) or own(name))
    names = [f"forward/mine.layer.{i}.attn.{one}.weight" for i in range(100) for one in "qkv"]
    unknown = sources.pieces(stored(dict.fromkeys(names, np.zeros((12, 12)))), golden(BERT), {})[1]
    assert unknown == names
    assert len(called) < 8 * (len(names) + len(golden(BERT).entries))

    class Listed(list):
        def __contains__(self, name):
            raise AssertionError("looked through for one name")

    assert not [*checking._renamed(golden(BERT), names, Listed(names))]


def test_a_name_that_is_guessed_has_to_fit():
    """A head's outputs called as a loss is behind its first part are no loss of a wrong shape."""
    logits = computed(BERT)["forward/cls.predictions"]
    found, wrong = judged(BERT, {"forward/loss": computed(BERT)["forward/loss"], "forward/masked_lm": logits})
    assert (wrong, found.unknown) == ({}, ["forward/masked_lm"])
    assert not judged(BERT, {"forward/masked_lm": computed(BERT)["forward/loss.masked_lm"]})[1]


def test_where_no_output_but_the_loss_has_a_name_of_the_case_s_nothing_is_judged_right(tmp_path, capsys):
    """Outputs of another model, beside the right losses; and where some are known, what isn't is counted."""
    held = parts(computed(BERT), forward)
    other = {f"forward/other.{i}": np.ones_like(array, np.float32) for i, array in enumerate(held.values())}
    for kept, code, said in ((".loss", 1, "not judged: none of the"), ("", 0, f"; {len(other)} more have no name of")):
        given = {key: np.float32(array) for key, array in held.items() if kept in f".{key.partition('/')[2]}"}
        safetensors.write(tmp_path / "c.safetensors", other | given)
        assert cli.main(["check", BERT, str(tmp_path / "c.safetensors")]) == code
        assert said in " ".join(capsys.readouterr().out.split())


def test_what_is_far_more_than_the_case_has_is_not_read():
    def unread():
        raise AssertionError("it was read")

    case = cases.read("bert/published")
    good, far = "forward/bert.pooler", "forward/bert.embeddings"
    held = {good: Stored(case.entries[good].shape, "float32", lambda: case.tensor(good).astype(np.float32)),
            far: Stored((1 << 15, 9, 12), "float32", unread)}  # fmt: skip
    read = candidate.matched(held, case)
    assert [*read.tensors] == [good]
    assert {key: array.shape for key, (_, array) in read.misshapen.items()} == {far: (32768, 9, 12)}
    with pytest.raises(InputError, match=r"is \(32768, 9, 12\), the case has \(3, 9, 12\)"):
        candidate.matched({far: held[far]}, case)
