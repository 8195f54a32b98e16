"""Dumps in which a tensor is right, but another one: it is named as what it is."""

import re
from functools import cache

import numpy as np
import pytest

from minibert.checkpoint import safetensors
from minibert.golden import answer, blocks, checking, compare, mixups, page, report
from minibert.golden import case as cases
from minibert.golden.subject import observe

BERT, GPT2 = "bert/published", "gpt2/published"
LAYER = "forward/bert.encoder.layer.{}.{}"
SLOPE = "gradients/bert.encoder.layer.{}.{}"


@cache
def golden(name):
    return cases.read(name)


@cache
def computed(name):
    return observe(golden(name).subject(), (1, 2))


def renamed(**names):
    """Each key holds what the other one is."""
    return lambda tensors: {key: tensors[other] for key, other in names["of"].items()}


def swapped(one, other):
    return lambda tensors: {one: tensors[other], other: tensors[one]}


def shifted(tensors):
    """hidden_states that begin one too early: each layer is the one before it."""
    return {LAYER.format(0, "output"): tensors["forward/bert.embeddings"],
            LAYER.format(1, "output"): tensors[LAYER.format(0, "output")]}  # fmt: skip


def residual(layer):
    """What goes into the last norm of a layer."""
    def made(tensors):
        return tensors[LAYER.format(layer, "output.dense")] + tensors[LAYER.format(layer, "attention.output")]
    return made


def one(key, make):
    return lambda tensors: {key: make(tensors)}


def of(key, other):
    return one(key, lambda tensors: tensors[other])


# name: (case, what of the dump is otherwise, {key: (what it is, how)})
MIXUPS = {
    "pre-norm form of a layer": (BERT, one(LAYER.format(1, "output"), residual(1)),
                                 {LAYER.format(1, "output"): (LAYER.format(1, "output"), "before its norm")}),
    "embeddings before their norm": (
        BERT, one("forward/bert.embeddings", lambda t: t["forward/bert.embeddings.word_embeddings"]
                  + t["forward/bert.embeddings.token_type_embeddings"]
                  + t["forward/bert.embeddings.position_embeddings"]),
        {"forward/bert.embeddings": (None, "before its norm")}),
    "last layer before the final norm": (GPT2, of("forward/transformer.ln_f", "forward/transformer.h.1"),
                                         {"forward/transformer.ln_f": ("forward/transformer.h.1", "")}),
    "last layer behind the final norm": (GPT2, of("forward/transformer.h.1", "forward/transformer.ln_f"),
                                         {"forward/transformer.h.1": ("forward/transformer.ln_f", "")}),
    "another layer": (BERT, of(LAYER.format(1, "attention.output"), LAYER.format(0, "attention.output")),
                      {LAYER.format(1, "attention.output"): (LAYER.format(0, "attention.output"), "of another layer")}),
    "layers swapped": (BERT, swapped(LAYER.format(0, "output"), LAYER.format(1, "output")),
                       {LAYER.format(0, "output"): (LAYER.format(1, "output"), "of another layer"),
                        LAYER.format(1, "output"): (LAYER.format(0, "output"), "of another layer")}),
    "hidden states off by one": (BERT, shifted, {
        LAYER.format(0, "output"): (None, ""), LAYER.format(1, "output"): (LAYER.format(0, "output"), None)}),
    "query and key swapped": (
        BERT, swapped(LAYER.format(0, "attention.self.query"), LAYER.format(0, "attention.self.key")),
        {LAYER.format(0, "attention.self.query"): (LAYER.format(0, "attention.self.key"), ""),
         LAYER.format(0, "attention.self.key"): (LAYER.format(0, "attention.self.query"), "")}),
    "key and value weights swapped": (
        BERT, swapped(SLOPE.format(0, "attention.self.value.weight"), SLOPE.format(0, "attention.self.query.weight")),
        {SLOPE.format(0, "attention.self.value.weight"): (SLOPE.format(0, "attention.self.query.weight"), ""),
         SLOPE.format(0, "attention.self.query.weight"): (SLOPE.format(0, "attention.self.value.weight"), "")}),
    "a gradient transposed": (
        BERT, one(SLOPE.format(1, "attention.output.dense.weight"),
                  lambda t: t[SLOPE.format(1, "attention.output.dense.weight")].T),
        {SLOPE.format(1, "attention.output.dense.weight"): ("itself", None)}),
    "a gradient transposed, not square": (
        BERT, one(SLOPE.format(1, "output.dense.weight"), lambda t: t[SLOPE.format(1, "output.dense.weight")].T),
        {SLOPE.format(1, "output.dense.weight"): ("itself", "transposed")}),
    "scores with keys before queries": (
        BERT, one(LAYER.format(0, "attention.self.scores"),
                  lambda t: t[LAYER.format(0, "attention.self.scores")].swapaxes(-1, -2)),
        {LAYER.format(0, "attention.self.scores"): ("itself", "its last two axes swapped")}),
    "scores for probabilities": (
        BERT, of(LAYER.format(0, "attention.self.probs"), LAYER.format(0, "attention.self.scores")),
        {LAYER.format(0, "attention.self.probs"): (LAYER.format(0, "attention.self.scores"), "")}),
    "heads merged as they lie": (
        BERT, one(LAYER.format(0, "attention.self.context"), lambda t: (a := t[LAYER.format(
            0, "attention.self.context")]).reshape(3, 9, 3, 4).swapaxes(1, 2).reshape(a.shape)),
        {LAYER.format(0, "attention.self.context"): (
            "itself", "its numbers in the order (batch, heads, tokens, head size)")}),
    "before the activation": (BERT, of(LAYER.format(1, "intermediate"), LAYER.format(1, "intermediate.dense")),
                              {LAYER.format(1, "intermediate"): (LAYER.format(1, "intermediate.dense"), "")}),
    "a pooler before tanh": (BERT, of("forward/bert.pooler", "forward/bert.pooler.dense"),
                             {"forward/bert.pooler": ("forward/bert.pooler.dense", "")}),
    "a gradient for an output": (BERT, of(LAYER.format(0, "output"), SLOPE.format(0, "output")),
                                 {LAYER.format(0, "output"): (SLOPE.format(0, "output"), "the gradient of it")}),
    "the first bias for the second": (
        BERT, of(SLOPE.format(1, "output.LayerNorm.bias"), SLOPE.format(1, "output.LayerNorm.weight")),
        {SLOPE.format(1, "output.LayerNorm.bias"): (SLOPE.format(1, "output.LayerNorm.weight"), "")}),
    "gradients of the wrong layer": (
        BERT, of(SLOPE.format(1, "intermediate.dense.weight"), SLOPE.format(0, "intermediate.dense.weight")),
        {SLOPE.format(1, "intermediate.dense.weight"): (SLOPE.format(0, "intermediate.dense.weight"), "")}),
    "parameters as before the update": (
        BERT, one("steps/1/bert.pooler.dense.weight",
                  lambda t: golden(BERT).tensor("weights/bert.pooler.dense.weight")),
        {"steps/1/bert.pooler.dense.weight": (
            "weights/bert.pooler.dense.weight", "as it was before the first step")}),
    "parameters of another step": (
        BERT, of("steps/1/bert.pooler.dense.weight", "steps/2/bert.pooler.dense.weight"),
        {"steps/1/bert.pooler.dense.weight": ("steps/2/bert.pooler.dense.weight", "of another step")}),
    "moments swapped": (
        BERT, swapped("steps/1/adam_m.bert.pooler.dense.weight", "steps/1/adam_v.bert.pooler.dense.weight"),
        {"steps/1/adam_m.bert.pooler.dense.weight": ("steps/1/adam_v.bert.pooler.dense.weight", ""),
         "steps/1/adam_v.bert.pooler.dense.weight": ("steps/1/adam_m.bert.pooler.dense.weight", "")}),
    "one loss for all": (BERT, of("forward/loss", "forward/loss.masked_lm"),
                         {"forward/loss": ("forward/loss.masked_lm", "")}),
    "GPT-2, before the residual": (GPT2, of("forward/transformer.h.0", "forward/transformer.h.0.mlp"),
                                   {"forward/transformer.h.0": ("forward/transformer.h.0.mlp", "")}),
    "GPT-2, another layer": (GPT2, of("forward/transformer.h.1.attn.c_attn", "forward/transformer.h.0.attn.c_attn"),
                             {"forward/transformer.h.1.attn.c_attn": (
                                 "forward/transformer.h.0.attn.c_attn", "of another layer")}),
}  # fmt: skip


def found(name, tensors, dtype="float32"):
    """Of tensors that came in any shape."""
    entries = golden(name).entries
    given = {key: np.asarray(array) for key, array in tensors.items() if key in entries}
    odd = {key: array.shape for key, array in given.items() if array.shape != entries[key].shape}
    whole = {key: array for key, array in given.items() if key not in odd}
    rows = compare.compare(golden(name), whole, dtype, misshapen=odd)
    return mixups.found(golden(name), rows, given, dtype, golden(name).subject())


@pytest.mark.parametrize("mixup", MIXUPS)
def test_it_is_named_as_what_it_is(mixup):
    """Each of the tensors that differ, and nothing else."""
    name, change, wanted = MIXUPS[mixup]
    given = {**computed(name), **change(computed(name))}
    got = found(name, given)
    assert {one.key for one in got} == set(wanted)
    for one in got:
        equals, how = wanted[one.key]
        assert equals in (None, one.equals)
        assert how in (None, one.how)


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def changed(key, change):
    """One tensor, as a function of itself."""
    return one(key, lambda tensors: change(tensors[key]))


def bias(name):
    return golden(name.partition("!")[0]).tensor(f"weights/{name.partition('!')[2]}.bias")


def kept(name):
    return golden(DROPOUT).tensor(f"inputs/dropout/{name}")


LOGITS, OUTPUT = "forward/cls.predictions", LAYER.format(1, "output")
DROPOUT, ELECTRA = "bert/dropout", "electra/discriminator"
PROBS, DENSE = LAYER.format(0, "attention.self.probs"), LAYER.format(1, "output.dense")
SCORES, QUERY = LAYER.format(0, "attention.self.scores"), LAYER.format(1, "attention.self.query")
CAUSED, CAUSAL = "forward/transformer.h.0.attn.scores", np.tril(np.ones((9, 9), bool))
# (case, the tensor, what is given for it, what it is, how)
FORMS = [
    (BERT, "forward/cls.predictions", softmax, "itself", "as probabilities (softmax of it)"),
    (BERT, "forward/cls.seq_relationship", softmax, "itself", "as probabilities (softmax of it)"),
    (ELECTRA, "forward/discriminator_predictions", lambda a: 1 / (1 + np.exp(-a)), "itself",
     "as probabilities (sigmoid of it)"),
    (BERT, "forward/loss.masked_lm", lambda a: 8 * a, "itself",
     "summed, not averaged (8 times it: those of masked_lm_weights that are not 0)"),
    (GPT2, "forward/loss.next_token", lambda a: 17 * a, "itself",
     "summed, not averaged (17 times it: labels from the second position on)"),
    (BERT, "forward/loss", lambda a: a / 2, "itself", "the mean of its 2 terms"),
    (BERT, "forward/loss", lambda a: a / np.log(2), "itself", "in bits (divided by ln 2)"),
    (BERT, "steps/1/gradient_norm", lambda a: np.minimum(a, 1.0), "itself", "after clipping"),
    (BERT, QUERY, lambda a: a / 2, "itself", "times 1/√4 already"),
    (BERT, SCORES, lambda a: a * 2, "itself", "before 1/√4"),
    (BERT, QUERY, lambda a: a - bias(f"{BERT}!{QUERY[8:]}"), "itself", "without its bias"),
    (BERT, PROBS, lambda a: a.mean(1), "itself", "its mean over heads"),
    (BERT, LAYER.format(1, "output"), lambda a: a[:, 0], "itself", "its first position"),
    (GPT2, CAUSED, lambda a: np.where(CAUSAL, a, -np.inf), "itself", "behind the mask"),
    (GPT2, CAUSED, lambda a: np.where(CAUSAL, a, a - 1e4), "itself", "behind the mask"),
    (DROPOUT, PROBS, lambda a: a * kept("bert.encoder.layer.0.attention.self.dropout") / 0.9, "itself",
     "after dropout"),
    (DROPOUT, DENSE, lambda a: a * kept("bert.encoder.layer.1.output.dropout"), "itself",
     "after dropout, not divided by 1 - rate"),
    (BERT, LOGITS, np.exp, "itself", "its exponential"),
    (BERT, LOGITS, lambda a: a - a.max(-1, keepdims=True), "itself", "minus the largest of each row"),
    (BERT, LOGITS, lambda a: softmax(a / 1.7), "itself", "as probabilities (softmax of it, divided by 1.7)"),
    (BERT, LOGITS, lambda a: a / 7, "itself", "divided by 7"),
    (BERT, LOGITS, lambda a: a / np.log(2), "itself", "in bits (divided by ln 2)"),
    (BERT, OUTPUT, np.abs, "itself", "its absolute value"),
    (BERT, OUTPUT, np.sign, "itself", "its signs"),
    (BERT, OUTPUT, lambda a: a > 0, "itself", "1 where it is positive, 0 elsewhere"),
    (BERT, PROBS, lambda a: a.argmax(-1), "itself", "the index of the largest of each row"),
    (BERT, PROBS, lambda a: np.arange(9) == a.argmax(-1)[..., None], "itself",
     "1 at the largest of each row, 0 elsewhere"),
    (BERT, OUTPUT, lambda a: np.round(a, 3), "itself", "rounded to 3 decimals"),
    (BERT, OUTPUT, np.rint, "itself", "rounded to whole numbers"),
    (BERT, OUTPUT, lambda a: np.clip(a, -1, 1), "itself", "clipped to -1 … 1"),
    (BERT, OUTPUT, lambda a: np.minimum(a, 1.5), "itself", "no more than 1.5"),
    (BERT, OUTPUT, lambda a: np.maximum(a, 0), "itself", "its positive part (ReLU of it)"),
    (BERT, OUTPUT, lambda a: a.cumsum(1), "itself", "its cumulative sum over positions"),
    (BERT, OUTPUT, lambda a: a * (np.arange(9) % 2)[:, None], "itself", "but 0 in 15 of 27 rows"),
    (BERT, OUTPUT, lambda a: a.mean(0, keepdims=True), "itself", "its mean over rows"),
    (BERT, OUTPUT, lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True), "itself",
     "each row divided by its length"),
    (BERT, OUTPUT, lambda a: (a - bias(f"{BERT}!{OUTPUT[8:]}.LayerNorm")) / golden(BERT).tensor(
        f"weights/{OUTPUT[8:]}.LayerNorm.weight"), "itself", "without its norm's weight and bias"),
    (BERT, PROBS, lambda a: 0 * a + a.mean(1, keepdims=True), "itself",
     "its mean over heads, in the place of each head"),
    (BERT, "steps/2/adam_v.bert.pooler.dense.weight", np.sqrt, "itself", "its square root"),
    (BERT, "steps/2/adam_m.bert.pooler.dense.weight", lambda a: a / (1 - 0.9**2), "itself",
     "bias-corrected already (divided by 1 - β^t)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "change", "equals", "how"), FORMS)
def test_a_form_is_named(name, key, change, equals, how):
    """Nothing but this tensor is wrong, which is said of it."""
    held = {key: np.asarray(a) for key, a in computed(name).items() if key in golden(name).entries}
    got = found(name, held | {key: change(held[key])})
    assert [(one.key, one.equals, one.how, one.form) for one in got] == [(key, equals, how, True)]


def test_a_form_of_another_tensor_is_named():
    """The pooler's input in its place."""
    got = found(BERT, computed(BERT) | {"forward/bert.pooler": computed(BERT)[LAYER.format(1, "output")][:, 0]})
    assert list(map(str, got)) == [f"forward/bert.pooler is {LAYER.format(1, 'output')}, its first position"]


# (the tensor, what is given for it, how it is itself)
ORDERS = [
    ("forward/cls.seq_relationship", lambda a: a[:, ::-1], "its columns reversed"),
    (OUTPUT, lambda a: a[:, ::-1], "its positions reversed"),
    (OUTPUT, lambda a: np.roll(a, 1, 0), "its rows moved on by 1"),
    (PROBS, lambda a: a[:, [1, 0, 2]], "its heads in the order 1, 0, 2"),
    (LAYER.format(0, "attention.self.context"), lambda a: a.reshape(3, 9, 3, 4)[:, :, [1, 0, 2]].reshape(a.shape),
     "its heads in the order 1, 0, 2"),
    (LAYER.format(0, "attention.self.context"), lambda a: a.reshape(3, 9, 3, 4).swapaxes(2, 3).reshape(a.shape),
     "its numbers in the order (batch, tokens, head size, heads)"),
    (LAYER.format(0, "attention.self.context"), lambda a: a.reshape(3, 3, 9, 4).swapaxes(1, 2).reshape(a.shape),
     "viewed as (batch, heads, tokens, head size) where it had to be transposed to that"),
    (OUTPUT, lambda a: a.T.reshape(a.shape), "its numbers with the first axis fastest, as Fortran has them"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "change", "how"), ORDERS)
def test_another_order_is_named(key, change, how):
    got = found(BERT, computed(BERT) | {key: change(computed(BERT)[key])})
    assert [(one.key, one.equals, one.how, one.form) for one in got] == [(key, "itself", how, False)]


def test_the_negated_gradient_of_two_classes_is_not_reversed():
    """One is the other's opposite, so that it would be as good."""
    key = "gradients/cls.seq_relationship.weight"
    got = found(BERT, computed(BERT) | {key: -computed(BERT)[key]})
    assert [(one.equals, one.how) for one in got] == [("itself", "negated")]


def test_a_sum_and_a_difference_of_two_others_are_named():
    held, parts = computed(BERT), "forward/bert.embeddings.{}_embeddings"
    word, position = parts.format("word"), parts.format("position")
    got = found(BERT, held | {"forward/bert.embeddings": held[word] + held[position]})
    assert list(map(str, got)) == [f"forward/bert.embeddings is {word}, plus {position}"]
    before = LAYER.format(0, "output")
    got = found(BERT, held | {DENSE: held[OUTPUT] - held[before]})
    assert list(map(str, got)) == [f"{DENSE} is {OUTPUT}, minus {before}"]


def test_one_row_for_each_of_what_the_case_has_once_is_another_tensor(tmp_path):
    """Segments' vectors under the positions' name, which are the same in all rows."""
    key, other = (f"forward/bert.embeddings.{name}_embeddings" for name in ("position", "token_type"))
    got = checked(BERT, {key: computed(BERT)[other], OUTPUT: computed(BERT)[OUTPUT]}, tmp_path, seconds=0)
    assert list(map(str, got.mixups)) == [f"{key} is {other}"]


ALL = {
    "rounded to 4 decimals": (lambda key: True, lambda a: np.round(a, 4)),
    "1024 times it": (lambda key: key.startswith("gradients/"), lambda a: 1024 * a),
    "divided by 4": (lambda key: key.startswith("gradients/"), lambda a: a / 4),
    "its square root": (lambda key: "adam_v." in key, np.sqrt),
    "squared": (lambda key: key.endswith("gradient_norm"), np.square),
}


@pytest.mark.parametrize("how", ALL)
def test_what_all_of_a_kind_are_is_said_of_all(how, tmp_path):
    """Also of those that by themselves tell too little; what is computed from them is right."""
    kind, change = ALL[how]
    held = {key: a for key, a in computed(BERT).items() if key in golden(BERT).entries}
    got = checked(BERT, {key: change(a) if kind(key) else a for key, a in held.items()}, tmp_path)
    bad = [row.key for row in got.rows if row.status in compare.BAD]
    assert (got.code, got.diagnosis, [one.key for one in got.mixups]) == (1, None, bad)
    assert {one.how for one in got.mixups} == {how}


def test_a_step_under_another_s_name_is_said_of_all_its_tensors(tmp_path):
    """Of what hardly moved as well."""
    held = {key: a for key, a in computed(BERT).items() if key in golden(BERT).entries}
    moved = {key: held[key.replace("steps/2", "steps/1")] if key.startswith("steps/2") else held[key] for key in held}
    got = checked(BERT, moved, tmp_path)
    bad = {row.key for row in got.rows if row.status in compare.BAD}
    assert (got.diagnosis, {one.key for one in got.mixups}) == (None, bad)
    assert {one.how for one in got.mixups} == {"of another step"}


def test_queries_and_keys_in_each_other_s_place_in_a_fused_tensor(tmp_path):
    """In all of a dump; the key bias has no gradient but rounding, which stands under the query bias's name."""
    held = {key: a for key, a in computed(BERT).items() if key in golden(BERT).entries}
    swap = {"query": "key", "key": "query"}
    moved = {key: held[re.sub(r"(?<=self\.)(query|key)\b", lambda found: swap[found[0]], key)] for key in held}
    got = checked(BERT, moved, tmp_path)
    bad = {row.key for row in got.rows if row.status in compare.BAD}
    assert (got.diagnosis, {one.key for one in got.mixups}) == (None, bad)


def test_where_nothing_right_is_made_of_a_form_that_is_not_said(tmp_path):
    """The root of all second moments, and no parameter: the optimizer may hold it so."""
    held = {key: np.sqrt(a) if "adam_v." in key else a for key, a in computed(BERT).items()
            if key in golden(BERT).entries and (key.startswith("forward/") or "adam_v." in key)}  # fmt: skip
    got = checked(BERT, held, tmp_path)
    assert {one.how for one in got.mixups} == {"its square root"}
    assert answer.next_step(got).startswith("see whether it is computed so, or only written out so")


def test_one_entry_or_one_row_that_is_wrong_is_no_form():
    """One number too low is no bound of all, and one row noise no order."""
    held, rng = computed(BERT), np.random.default_rng(2)
    for change in (lambda a: np.where(a == a.max(), a.max() - 0.01, a), lambda a: np.where(
            (np.arange(9) == 3)[:, None], rng.standard_normal(a.shape), a)):  # fmt: skip
        assert not found(BERT, held | {OUTPUT: change(held[OUTPUT])})


def test_few_numbers_in_16_bits_are_no_form():
    """Six of them, or one, are like too much else."""
    for key, change in (("forward/cls.seq_relationship", softmax), ("forward/loss.masked_lm", lambda a: 8 * a)):
        assert not found(BERT, computed(BERT) | {key: change(computed(BERT)[key])}, "bfloat16")


def test_noise_is_no_form():
    """Neither a little of it nor a lot, wherever it is, in any precision."""
    rng = np.random.default_rng(1)
    for dtype, size in (("float32", 0.1), ("bfloat16", 1.0)):
        held = {key: a + size * np.abs(a).max(initial=0) * rng.standard_normal(np.shape(a))
                for key, a in computed(BERT).items() if key.startswith("forward/")}  # fmt: skip
        assert not found(BERT, held, dtype)


def test_where_what_is_made_of_it_is_wrong_too_a_mistake_is_looked_for(tmp_path):
    """The query scaled, with the scores of it: it was computed so. With the right scores it was only written so."""
    held = {key: a for key, a in computed(BERT).items() if key.startswith("forward/")}
    key, scores = QUERY, QUERY.replace("query", "scores")
    got = checked(BERT, {**held, key: held[key] / 2}, tmp_path)
    assert (got.code, got.diagnosis, got.verdict) == (1, None, "explained")
    assert answer.next_step(got).startswith("repair how it is written out, not the model")
    got = checked(BERT, {**held, key: held[key] / 2, scores: held[scores] / 2}, tmp_path, seconds=0)
    assert got.diagnosis is not None


def test_an_output_that_nothing_is_made_of_may_be_computed_so():
    """The pooler before its tanh, with logits of tokens alone behind it; with those of pairs it was written so."""
    subject, held = golden(BERT).subject(), computed(BERT)
    keys = ["forward/bert.pooler", "forward/cls.predictions", "forward/cls.seq_relationship"]
    for given, harmless in ((keys[:2], False), (keys, True)):
        wrong = {key: held[key] for key in given} | {keys[0]: held["forward/bert.pooler.dense"]}
        rows = compare.compare(golden(BERT), wrong, "float32", None, blocks.expected(subject, wrong))
        assert mixups.harmless(rows, mixups.found(golden(BERT), rows, wrong, "float32")) == harmless


def test_what_is_wrong_by_itself_is_no_other_tensor():
    """Numbers moved, constant, noise; in bfloat16, whose floors are wide. Those off by a factor are said to be."""
    rng = np.random.default_rng(0)
    for change in (lambda a: a + 1, np.zeros_like, lambda a: rng.standard_normal(a.shape)):
        assert not found(BERT, {key: change(array) for key, array in computed(BERT).items()}, "bfloat16")
    twice = found(BERT, {key: 2 * array for key, array in computed(BERT).items()}, "bfloat16")
    assert {(one.equals, one.how) for one in twice} <= {("itself", "2 times it"), ("itself", "before 1/√4")}


def checked(name, tensors, folder, **options):
    safetensors.write(folder / "c.safetensors", {key: np.asarray(a, np.float32) for key, a in tensors.items()})
    return checking.report_of(name, folder / "c.safetensors", **options)


def test_the_report_says_it_and_looks_for_no_mistake(tmp_path):
    """Everything computed later is right, so nothing is computed wrongly."""
    name, change, wanted = MIXUPS["query and key swapped"]
    held = {key: array for key, array in {**computed(name), **change(computed(name))}.items()
            if key.startswith("forward/")}  # fmt: skip
    got = checked(name, held, tmp_path)
    text = "\n".join(report.table(got))
    assert (got.code, got.diagnosis) == (1, None)
    key, other = wanted
    assert f"the wrong tensor: {key} is" in text
    assert f"\n  {key} is {other}\n  {other} is {key}" in text
    assert {fact["key"] for fact in report.fields(got)["wrong_tensors"]} == set(wanted)
    assert "The wrong tensor" in page.page(got)


def test_what_follows_may_be_wrong_as_well(tmp_path):
    """Then it may have been computed so, and a mistake is looked for."""
    held = {"forward/bert.pooler": computed(BERT)["forward/bert.pooler.dense"],
            "forward/cls.seq_relationship": computed(BERT)["forward/cls.seq_relationship"] * 2}  # fmt: skip
    got = checked(BERT, held, tmp_path, seconds=0)
    assert got.diagnosis.kind != "right"
    said = "given, or computed, was another tensor:\n  forward/bert.pooler is forward/bert.pooler.dense"
    assert said in "\n".join(report.table(got))


def test_names_that_match_nothing_are_no_right_end(tmp_path):
    """Gradients are right; of the outputs none has a known name, so nothing is known of them."""
    held = {re.sub("^forward/", "forward/mine_", key): array for key, array in computed(BERT).items()
            if key.startswith(("forward/", "gradients/")) and key in golden(BERT).entries}  # fmt: skip
    got = checked(BERT, held, tmp_path)
    assert (got.code, got.claim["agrees"]) == (1, False)
    assert answer.headline(got).startswith("not judged: none of the 38 outputs has a name of the case's")
    got = checked(BERT, {key: array for key, array in held.items() if key.startswith("gradients/")}, tmp_path)
    assert got.code == 0
