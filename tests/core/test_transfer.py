"""The ways from a trained network to a task: what learns, at which rate, and the same bits after an interruption."""

import dataclasses
import importlib.util
import json
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

import minibert
from minibert import (
    adapters,
    batches,
    cli,
    families,
    finetuning,
    gradcheck,
    layers,
    multitask,
    objective,
    optim,
    teaching,
    tokenizers,
    training,
    transfer,
    tree,
    uses,
)  # fmt: skip
from minibert.adapters import mix, pals
from minibert.checkpoint import adapter_bert, peft, safetensors
from minibert.errors import InputError

WORDS = ("fine", "poor", "film", "book", "the", "a", "was", "it")
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
         "max_position_embeddings": 16, "initializer_range": 0.3, "hidden_dropout_prob": 0.1}  # fmt: skip
OPTIONS = {"steps": 6, "batch_size": 4, "accumulate": 1, "checkpoint_every": 4, "threads": 1, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a network, "model", a classifier of twice its width, "teacher", and rows."""
    folder, rng = tmp_path_factory.mktemp("transfer"), np.random.default_rng(0)
    learnt = tokenizers.tokenizer("wordpiece").train([" ".join(WORDS)] * 3, 60, lowercase=True)
    model = minibert.create("bert", **SIZES, vocab_size=len(learnt), pad_token_id=learnt.pad_id)
    model.tokenizer = learnt
    model.save(folder / "model")
    rows = [(word, " ".join([*rng.choice(WORDS[2:], 3), word])) for word in ("fine", "poor") * 6]
    table = "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows)
    (folder / "classify.tsv").write_text(table, encoding="utf-8")
    tagged = [[f"{word}\t{'B' if word in WORDS[:2] else 'O'}\n" for word in text.split()] for _, text in rows]
    tags = "\n".join(map("".join, tagged))
    (folder / "tag.conll").write_text(tags, encoding="utf-8")
    wide = minibert.create("bert", **{**SIZES, "hidden_size": 16}, vocab_size=len(learnt), pad_token_id=learnt.pad_id)
    wide.tokenizer = learnt
    wide = wide.with_task("classify", labels=["fine", "poor"])
    wide.save(folder / "teacher")
    return folder


FILES = {"classify": "classify.tsv", "tag": "tag.conll"}


def tuned(place, out, way, task="classify", **changes):
    way, rows = way.replace("TEACHER", str(place / "teacher")), place / FILES[task]
    given = {**OPTIONS, **changes, "transfer": way, "train": rows, "dev": rows}
    return finetuning.finetune(task, place / "model", out=out, **given)


def bits(directory):
    report = (directory / "report.json").read_bytes()
    return {path.name: path.read_bytes() for path in directory.glob("*.safetensors")}, report


# way: what learns beside the head, by a word in its path; None: everything
LEARNING = {"frozen": (), "adapter:3": (".adapter.", ".norm."), "lora:2": (".lora.down", ".lora.up"), "pals": None,
            "layers:0": (), "mix": ("mix.",), "gradual": None, "sequential": None, "discriminative": None,
            "distil:TEACHER": None, "self-distil:2": None, "ensemble": None, "shallow:1": None,
            "lora:2+gradual": (".lora.down", ".lora.up")}  # fmt: skip


TORCH = importlib.util.find_spec("torch") is not None  # as in `.ci/run`, which has the time for all of them
CHEAP = ("self-distil:2", "lora:2+gradual", ("lora:2", "bert"), ("pals:4", "bert"), ("mix", "gpt2"))


def asked(*given):
    """A parameter of a test, of which some are asked where there is time alone."""
    marks = [] if given in CHEAP or given[0] in CHEAP else pytest.mark.skipif(not TORCH, reason="asked where torch is")
    return pytest.param(*given, marks=marks)


@pytest.mark.parametrize("way", [asked(way) for way in LEARNING])
def test_what_learns_and_the_same_bits_after_a_kill(way, place, tmp_path):
    task = "classify" if "TEACHER" in way else ("classify", "tag")[len(way) % 2]
    whole = tuned(place, tmp_path / "whole", way, task)
    shutil.copytree(whole, tmp_path / "again")
    for name in ("report.json", "model.safetensors", "added.safetensors", "config.json"):
        (tmp_path / "again" / name).unlink(missing_ok=True)
    training.discard(tmp_path / "again" / "checkpoints" / "00000006")
    again = tmp_path / "again"
    finetuning.finetune(task, place / "model", out=again, resume=True, checkpoint_every=4, threads=1)
    assert bits(whole) == bits(again)
    before, after = (dict(tree.items(minibert.load(path).params)) for path in (place / "model", whole))
    if LEARNING[way] is not None and "lora" not in way:
        for path in before.keys() & after.keys():
            moved = not np.array_equal(before[path], after[path])
            assert moved == any(word in path for word in LEARNING[way]), path
    rows = minibert.load(whole).predict({"input_ids": [[1, 2, 3]]})["logits"]
    assert np.isfinite(rows).all()


# ---- Rates -----------------------------------------------------------------------------------------------------------
def network(name="bert", task="classify", **fields):
    """A model with a head at its probe configuration, in float64."""
    module = families.family(name)
    spread = families.own(module, {"initializer_range": 0.4, "num_hidden_layers": 3})
    return minibert.create(name, **{**module.PROBE, "dtype": "float64", **spread, **fields}, tasks={task: {}})


def test_depths_follow_the_tree():
    """Embeddings, layers, then all else: of every family each layer in its turn."""
    params = network().params
    found = transfer.depths(params, {"pooler.weight"})
    assert {found[path] for path in found if path.startswith("embeddings")} == {0}
    assert [found[f"encoder.{i}.attention.norm.bias"] for i in range(3)] == [1, 2, 3]
    assert found["pooler.bias"] == found["pooler.weight"] == found["classify.weight"] == 4
    for name in ("bert", "albert", "gpt2", "bart", "t5", "xlnet"):
        module = families.family(name)
        shapes = objective.shapes(module, module.Config(**module.PROBE))
        seen = sorted({*transfer.depths(shapes).values()})
        assert seen == [*range(len(seen))], name
        assert len(seen) >= 3, name


def course(steps=50, epoch=10):
    params = network().params
    new = frozenset({"classify.weight", "classify.bias"})
    return transfer.Course(transfer.depths(params, new), new, steps, epoch)


def learning(way, step, **given):
    """The depths that learn at a step, and their factors."""
    own = course(**given)
    (name, how), = transfer.ways(way)
    factor = transfer.WAYS[name].rate(own, how)
    found = {(depth, factor(path, step)) for path, depth in own.depths.items()}
    return {depth: rate for depth, rate in found if rate is not None}


def test_unfreezing_and_discriminative_rates():
    """arXiv 1801.06146 and 1708.00524: which depths learn in each stage, and at which factor."""
    assert [{*learning("gradual", step)} for step in (0, 9, 10, 25, 39, 40, 49)] == [
        {4}, {4}, {3, 4}, {2, 3, 4}, {1, 2, 3, 4}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}]  # fmt: skip
    assert {*learning("gradual", 4, steps=10)} == {2, 3, 4}  # one epoch alone: equal shares of its steps
    phases = [learning("sequential", step, steps=60) for step in (0, 10, 20, 30, 40, 50, 59)]
    assert phases[:5] == [{4: 1.0}, {0: 0.1}, {1: 0.1}, {2: 0.1}, {3: 0.1}]
    assert phases[5] == phases[6] == dict.fromkeys(range(5), 0.1)
    rates = learning("discriminative", 0)
    assert [round(0.01 * rates[depth], 6) for depth in (4, 3, 2, 1)] == [0.01, 0.003846, 0.001479, 0.000569]
    assert learning("discriminative:1", 7) == dict.fromkeys(range(5), 1.0)


def test_the_slanted_triangle():
    """arXiv 1801.06146, eq. 3, with cut_frac 0.1 and ratio 32."""
    given = {"peak": 0.01, "warmup": 100, "total": 1000}
    found = [optim.SCHEDULES["slanted_triangular"](t, **given) for t in (0, 50, 100, 550, 1000, 2000)]
    assert found == pytest.approx([0.0003125, 0.00515625, 0.01, 0.00515625, 0.0003125, 0.0003125], rel=1e-12)


def test_ways_go_together_and_refuse_what_they_do_not_take(place, tmp_path):
    moved = transfer.begun("lora:2+discriminative", network(), frozenset({"classify.weight", "classify.bias"}))
    rates = moved.rates(10, 5, lambda step: 0.5)
    assert rates("classify.bias", 3) == 0.5
    assert rates("encoder.0.attention.query.lora.up.weight", 3) == pytest.approx(0.5 / 2.6**3)
    assert rates("encoder.0.attention.query.lora.scale.weight", 3) is None
    assert rates("encoder.0.attention.query.weight", 3) is None
    wrong = {"frozenn": "did you mean 'frozen'", "layers": "layers takes numbers of layers", "lora:0": "a number",
             "mix:2": "mix takes nothing", "ensemble+self-distil": "do not go together",
             "mix+layers:0": "mix and layers do not go together", "discriminative:0": "takes a number from 1 on",
             "frozen+frozen": "stands there twice", "distil": "the directory of a teacher"}  # fmt: skip
    for way, said in wrong.items():
        with pytest.raises(InputError, match=said):
            transfer.ways(way)
    for way, said in {"layers:9": "layer 9: there are 0, the embeddings, to 3", "shallow:7": "keep from 1 to 3",
                      f"distil:{place / 'model'}": "knows no task"}.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            transfer.begun(way, network(), frozenset())
    with pytest.raises(InputError, match="knows classify, a teacher of tag is needed"):
        tuned(place, tmp_path / "run", "distil:TEACHER", "tag")


def test_each_way_trains_its_own_part_where_several_freeze_the_rest():
    """adapter+lora trains both; projected attention learns beside frozen layers."""
    new = frozenset({"classify.weight", "classify.bias"})
    due = {"adapter:3+lora:2": (".adapter.", ".norm.", ".lora.down", ".lora.up"), "frozen+pals:4": ("pals.",),
           "mix+lora:2": ("mix.", ".lora.down", ".lora.up"), "layers:1+frozen": ()}  # fmt: skip
    for way, words in due.items():
        moved = transfer.begun(way, network(), new)
        rates = moved.rates(10, 5, lambda step: 0.5)
        for path, _ in tree.items(moved.learner.params):
            assert (rates(path, 0) is not None) == (path in new or any(word in path for word in words)), (way, path)
    for way, said in {"mix+shallow:1": "a mix is of the states", "pals+shallow:1": "goes with every layer"}.items():
        with pytest.raises(InputError, match=said):
            transfer.begun(way, network(), new)


# ---- Trees -----------------------------------------------------------------------------------------------------------
def moved_away(model, rng):
    """Every array that was added, away from where it begins."""
    for path, array in tree.items(model.params):
        if adapters.learns(path) and not path.endswith("scale.weight"):
            array += 0.3 * rng.standard_normal(array.shape)
    return model


def slope(model, batch, paths, rng):
    """(the claimed slope of the loss along a direction in these parameters, the true one)."""
    flat = tree.flatten(model.params)
    ahead = {path: rng.standard_normal(flat[path].shape) for path in paths}
    _, cache = objective.loss(model.network, model.params, model.config, batch)
    gradient = tree.flatten(objective.loss_backward(cache))
    assert gradient.keys() == flat.keys()
    claimed = sum(float(np.sum(gradient[path] * ahead[path])) for path in paths)

    def near(step):
        moved = {path: a + step * ahead[path] if path in ahead else a for path, a in flat.items()}
        return float(objective.loss(model.network, tree.unflatten(moved), model.config, batch)[0])

    return claimed, float(gradcheck.derivative(near, 1e-11 * abs(claimed)))


FAMILIES = {"lora:2": ("bert", "xlnet", "t5"), "pals:4": ("bert", "gpt2"), "mix": ("bert", "gpt2"),
            "adapter:3": ("xlm",)}  # fmt: skip
PAIRS = [asked(way, name) for way, names in FAMILIES.items() for name in names]


@pytest.mark.parametrize(("way", "name"), PAIRS)
def test_what_is_added_begins_as_the_network_was_and_has_its_gradient(way, name):
    model, rng = network(name), np.random.default_rng(2)
    batch = model.checked(batches.example(model.network, model.config, rng))
    batch = {key: array for key, array in batch.items() if key not in ("target_mapping", "perm_mask", "dropout")}
    before = model.predict(batch)["logits"]
    moved = transfer.begun(way, model, frozenset(["classify.weight"])).model
    if way != "mix":
        assert np.abs(moved.predict(batch)["logits"] - before).max() < 1e-12
    moved = moved_away(moved, rng)
    added = [path for path, _ in tree.items(moved.params) if adapters.learns(path)]
    assert added
    for paths in (added, [path for path, _ in tree.items(moved.params)]):
        claimed, due = slope(moved, batch, paths, rng)
        assert abs(claimed - due) < 1e-8 * max(abs(due), 1e-3), (claimed, due)


def test_a_family_with_more_in_its_shapes_is_that_network():
    """As golden cases have it: what stands in the shapes is what stands in a tree."""
    sizes = {**families.family("bert").PROBE, "dtype": "float64", "initializer_range": 0.4}
    for said, way in {"adapter:3": "adapter:3", "pals:4": "pals:4", "mix:3": "mix"}.items():
        grown, rng = minibert.create(f"bert@{said}", **sizes, tasks={"tag": {}}), np.random.default_rng(0)
        for path, array in tree.items(grown.params):
            array += 0.1 * rng.standard_normal(array.shape) * (path.split(".")[-2] != "norm")
        batch = grown.checked(batches.example(grown.network, grown.config, rng))
        plain = minibert.create("bert", **sizes, tasks={"tag": {}})
        plain = transfer.begun(way, plain, frozenset({"tag.weight"})).model
        assert {path: a.shape for path, a in tree.items(plain.params)} == {
            path: a.shape for path, a in tree.items(grown.params)}  # fmt: skip
        plain.params = grown.params
        assert float(plain.loss(batch)[0]) == float(grown.loss(batch)[0])
    for wrong in ("adapter:0", "lora:2", "nothing:3", "pals"):
        with pytest.raises(InputError, match="is nothing that a family could have"):
            families.family(f"bert@{wrong}")


def test_a_network_that_is_taught_by_its_name_is_that_of_a_student():
    """As golden cases have it: the terms, labels and parameters of a student of a teacher of that width."""
    held = network(task="classify")
    fields = {**families.family("bert").PROBE, "hidden_size": 16, "dtype": "float64"}
    taught = teaching.Teacher(minibert.create("bert", **fields, tasks={"classify": {}}))
    student = teaching.student(held, taught, np.random.default_rng(0))
    named = families.family("bert+classify@taught:16")
    assert named.terms(held.config) == student.network.terms(held.config)
    shapes = tree.flatten(objective.shapes(named, held.config))
    assert shapes == {path: array.shape for path, array in tree.items(student.params)}
    batch = student.checked(batches.example(named, held.config, np.random.default_rng(1)))
    assert float(objective.loss(named, student.params, held.config, batch)[0]) == float(student.loss(batch)[0])
    for wrong in ("bert+classify@taught", "bert+classify@taught:0", "bert+classify@x:3"):
        with pytest.raises(InputError, match="is nothing that a network could be taught by"):
            families.family(wrong)


def test_low_rank_goes_into_the_weights_and_out_of_the_tree():
    model, rng = network("gpt2"), np.random.default_rng(0)
    moved = moved_away(transfer.begun("lora:3", model, frozenset()).model, rng)
    batch = moved.checked(batches.example(moved.network, moved.config, rng))
    ended = transfer.ended(transfer.begun("full", moved, frozenset()))
    assert tree.flatten(ended.params).keys() == tree.flatten(model.params).keys()
    assert np.abs(ended.predict(batch)["logits"] - moved.predict(batch)["logits"]).max() < 1e-12
    assert np.abs(ended.predict(batch)["logits"] - model.predict(batch)["logits"]).max() > 1e-3


def test_one_layer_is_that_layer_and_a_mix_begins_as_the_mean():
    model = network(task="tag")
    batch = model.checked(batches.example(model.network, model.config, np.random.default_rng(0)))
    states = model.encode(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                          token_type_ids=batch["token_type_ids"])["hidden_states"]  # fmt: skip
    for way, due in {"layers:0": states[0], "layers:2": states[2], "layers:1,3": (states[1] + states[3]) / 2,
                     "mix": sum(states) / 4}.items():  # fmt: skip
        moved = transfer.begun(way, model, frozenset({"tag.weight"})).model
        logits = due @ model.params["tag"]["weight"].T + model.params["tag"]["bias"]
        assert np.abs(moved.predict(batch)["logits"] - logits).max() < 1e-12, way
    moved = transfer.begun("layers:1,3", model, frozenset({"tag.weight"})).model
    assert mix.shares(moved.params).tolist() == [0, 0.5, 0, 0.5]


def test_projected_attention_of_several_tasks():
    """Each batch goes through its own; V_E and V_D are shared by the layers, absent tasks get no gradient."""
    model, rng = network(), np.random.default_rng(4)
    model.params = pals.added(model.params, 4, rng, tasks=("a", "b"), heads=2)
    moved = moved_away(model, rng)
    batch = moved.checked(batches.example(moved.network, moved.config, rng))
    batch.pop("pals", None)
    rows = len(batch["input_ids"])
    one, other = (moved.predict({**batch, "pals": np.full(rows, i)})["logits"] for i in (0, 1))
    assert np.abs(one - other).max() > 1e-4
    assert np.array_equal(moved.predict({k: v for k, v in batch.items() if k != "pals"})["logits"], one)
    _, cache = moved.loss({**batch, "pals": np.full(rows, 1)})
    gradient = moved.loss_backward(cache)["pals"]
    assert not any(a.any() for a in tree.leaves(gradient[0]))
    assert all(a.any() for path, a in tree.items(gradient[1]) if path != "key.bias" and not path.endswith("key.bias"))
    with pytest.raises(InputError, match="rows of the tasks 0, 1 in one batch"):
        moved.predict({**batch, "pals": np.arange(rows) % 2})
    with pytest.raises(InputError, match="xlnet have no place for projected attention"):
        transfer.begun("pals", network("xlnet"), frozenset())
    large = {"encoder": [{"feed_forward": {"norm": {"weight": np.zeros(768)}}}] * 12}
    sizes = pals.added(large, 204, rng, tasks=("a",))
    assert sum(a.size for a in tree.leaves(sizes["pals"])) == 1_819_836  # section 3 with the code's biases


# ---- Optimizers, and teachers ----------------------------------------------------------------------------------------
def test_averages_of_parameters():
    """Of the last three steps, and from the third on: equal to the means of explicit snapshots."""
    for around, due in ((lambda o: transfer.window(o, 3), lambda s: np.mean(s[-3:], 0)),
                        (lambda o: transfer.average(o, lambda: 2), lambda s: np.mean(s[3:], 0))):  # fmt: skip
        params, rng = {"w": np.arange(4.0)}, np.random.default_rng(0)
        new, update = around(optim.OPTIMIZERS["adamw"])
        state, snapshots = new(params), [params["w"].copy()]
        for _ in range(6):
            live = dict(state)
            update(params, {"w": rng.standard_normal(4)}, live, lr=0.1)
            state["step"] = live["step"]
            snapshots.append(params["w"].copy())
        assert np.abs(state["mean"]["w"] - due(snapshots)).max() < 1e-12


def test_a_teacher_gets_no_gradient_and_its_pupil_the_right_one(place):
    """Of logits and states, through the head that both losses share and the map to the teacher's width."""
    model, rng = minibert.load(place / "model", dtype="float64"), np.random.default_rng(0)
    model = model.with_task("classify", labels=["fine", "poor"])
    moved = transfer.begun(f"distil:{place / 'teacher'}", model, frozenset())
    before = {path: a.copy() for path, a in tree.items(moved.teacher.model.params)}
    batch = batches.example(model.network, model.config, rng)
    batch.pop("dropout", None)
    batch["labels"] = np.array([0, 1, 1])
    (told,) = moved.told([model.checked(batch)])
    learner = moved.learner
    assert {"classify_teacher_logits", "teacher_states"} <= told.keys()
    terms = objective.loss(learner.network, learner.params, learner.config, told)[1]["terms"]
    assert terms.keys() == {"classify", "classify_taught", "states_taught"}
    paths = [path for path, _ in tree.items(learner.params) if "word" not in path]  # but for the padding row
    claimed, due = slope(learner, learner.checked(told), paths, rng)
    assert abs(claimed - due) < 1e-8 * abs(due)
    assert all(np.array_equal(a, before[path]) for path, a in tree.items(moved.teacher.model.params))


def test_what_teaches_itself_agrees_with_itself_at_the_start(place):
    model = minibert.load(place / "model", dtype="float64").with_task("classify", classes=2)
    moved = transfer.begun("self-distil:1", model, frozenset())
    batch = batches.example(model.network, model.config, np.random.default_rng(0))
    batch.pop("dropout", None)
    batch["labels"] = np.array([0, 1, 1])
    (told,) = moved.told([model.checked(batch)])
    learner = moved.learner
    terms = objective.loss(learner.network, learner.params, learner.config, told)[1]["terms"]
    assert float(terms["classify_taught"]) == 0
    assert float(terms["classify"]) == float(model.loss(batch)[0])


def test_half_of_the_layers():
    model = network(num_hidden_layers=4)
    half = transfer.shallow(model, 2)
    assert half.config.num_hidden_layers == len(half.params["encoder"]) == 2
    for mine, at in zip(half.params["encoder"], (1, 3), strict=True):
        theirs = model.params["encoder"][at]
        assert np.array_equal(mine["feed_forward"]["in"]["weight"], theirs["feed_forward"]["in"]["weight"])
    with pytest.raises(InputError, match="albert has no layers of which some could be left out"):
        transfer.shallow(network("albert", num_hidden_layers=4), 2)


# ---- Several tasks ---------------------------------------------------------------------------------------------------
def test_how_often_each_task_comes():
    """arXiv 1902.02671, section 4.1, with the sizes of GLUE; drawn shares within three deviations."""
    sizes = [6680, 2865, 306798, 1945, 4491, 52616, 284257, 84715]
    assert [multitask.annealed(e, 5) for e in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert multitask.annealed(0, 1) == 1
    due = [0.091, 0.0768, 0.1956, 0.0711, 0.084, 0.1375, 0.1927, 0.1512]
    assert multitask.shares(sizes, 0.2) == pytest.approx(due, abs=1e-4)
    assert multitask.shares([1, 4], 0.5) == pytest.approx([1 / 3, 2 / 3])
    model = minibert.create("bert", **families.family("bert").PROBE, tasks={"classify": {}, "tag": {}})
    parts = {"classify": {"input_ids": np.ones((10, 4), int), "labels": np.ones(10, int)},
             "tag": {"input_ids": np.ones((40, 4), int), "labels": np.ones((40, 4), int)}}  # fmt: skip
    plan = training.Plan(steps=4000)
    for sampling, exponents in {"proportional": [1, 1], "root": [0.5, 0.5], "annealed": [1, 0.2]}.items():
        own = multitask.course(model, parts, plan, sampling, epochs=2)
        for epoch, exponent in enumerate(exponents):
            drawn = [own.task(step) == "tag" for step in range(2000 * epoch, 2000 * (epoch + 1))]
            share = 4**exponent / (1 + 4**exponent)
            assert abs(np.mean(drawn) - share) < 3 * (share * (1 - share) / 2000) ** 0.5
    with pytest.raises(InputError, match="rows of classify, and heads of classify, tag"):
        multitask.course(model, {"classify": parts["classify"]}, plan)


def test_a_step_of_one_task_leaves_the_others_bits(tmp_path):
    """Heads and projected attention; killed and taken up again it ends with the same bits."""
    probe, ended = {**families.family("bert").PROBE, "initializer_range": 0.3}, []
    for folder in ("whole", "again"):
        model, rng = minibert.create("bert", **probe, tasks={"classify": {}, "tag": {}}), np.random.default_rng(1)
        model.params = pals.added(model.params, 4, rng, tasks=model.tasks, heads=2)
        ids = rng.integers(1, 17, (12, 5))
        parts = {"classify": {"input_ids": ids, "labels": rng.integers(0, 2, 12)},
                 "tag": {"input_ids": ids, "labels": rng.integers(0, 2, (12, 5))}}  # fmt: skip
        plan = training.Plan(steps=6, batch_size=4, warmup=1, checkpoint_every=3, optimizer="adamw", seed=3)
        own = multitask.course(model, parts, plan, "root")
        turns = [own.task(step) for step in range(6)]
        assert {*turns} == {"classify", "tag"}
        only = own._replace(plan=dataclasses.replace(plan, steps=turns.index("tag" if turns[0] == "classify" else
                                                                             "classify")))  # fmt: skip
        if folder == "whole":
            other = "tag" if turns[0] == "classify" else "classify"
            before = {path: a.copy() for path, a in tree.items(model.params)}
            training.fit(model, only.plan, tmp_path / "first", only.batches, only.rates)
            for path, a in tree.items(model.params):
                mine = path.startswith((f"{other}.", f"pals.{model.tasks.index(other)}."))
                assert np.array_equal(a, before[path]) or not mine, path
            for path, a in tree.items(model.params):
                a[...] = before[path]
        else:
            shutil.copytree(tmp_path / "whole", tmp_path / "again")
            training.discard(tmp_path / "again" / "checkpoints" / "00000006")
        training.fit(model, plan, tmp_path / folder, own.batches, own.rates)
        ended.append({path: a.tobytes() for path, a in tree.items(model.params)})
    assert ended[0] == ended[1]


# ---- Published adapters ---------------------------------------------------------------------------------------------
def test_low_rank_goes_to_a_directory_and_back(place, tmp_path):
    moved = transfer.begun("lora:2", minibert.load(place / "teacher"), frozenset()).model
    moved_away(moved, np.random.default_rng(0))
    peft.save(moved, tmp_path / "adapter")
    again = peft.load(minibert.load(place / "teacher"), tmp_path / "adapter")
    assert {path: a.tobytes() for path, a in tree.items(again.params)} == {
        path: a.tobytes() for path, a in tree.items(moved.params)}  # fmt: skip
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 2.0, ["query", "value"])
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(InputError, match="'use_dora' is True; implemented: False"):
        peft.load(minibert.load(place / "teacher"), tmp_path / "adapter")
    for change, said in {"init_lora_weights": "pissa", "alpha_pattern": "query", "lora_alpha": True,
                         "use_rslora": "yes"}.items():  # fmt: skip
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, change: said}))
        with pytest.raises(InputError, match=f"'{change}' (is|has the scale) {said!r}"):
            peft.load(minibert.load(place / "teacher"), tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    held = safetensors.read(file)
    lacking = next(name for name in held if "0.attention.self.query.lora_B" in name)
    safetensors.write(file, {name: array for name, array in held.items() if name != lacking})
    with pytest.raises(InputError, match=r"lacking encoder\.0\.attention\.query\.lora\.up\.weight"):
        peft.load(minibert.load(place / "teacher"), tmp_path / "adapter")
    safetensors.write(file, held)
    with pytest.raises(InputError, match=r"'base_model\.model\.bert\..*query\.lora_A\.weight'"):
        peft.load(minibert.create("gpt2", **families.family("gpt2").PROBE), tmp_path / "adapter")
    with pytest.raises(InputError, match=r"is a part of .*c_attn.weight"):
        peft.save(transfer.begun("lora", network("gpt2"), frozenset()).model, tmp_path / "other")


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_adapters_by_the_names_of_their_release(ending, tmp_path):
    """With the norms and the classifier, which learn beside them; what does not fit is named."""
    model = network()
    moved = moved_away(transfer.begun("adapter:3", model, frozenset()).model, np.random.default_rng(0))
    adapter_bert.save(moved, tmp_path / f"adapters.{ending}")
    learnt = {path for path, _ in tree.items(moved.params) if ".adapter." in path or ".norm." in path
              or path.startswith("classify.")}  # fmt: skip
    again = tree.flatten(adapter_bert.load(model, tmp_path / f"adapters.{ending}").params)
    before = tree.flatten(model.params)
    for path, array in tree.items(moved.params):
        assert np.array_equal(again[path], array if path in learnt else before[path]), path
    held = adapter_bert.named(moved.params)
    assert len(held) == len(learnt) == 3 * 2 * (4 + 2) + 2 + 2
    shapes = {"adapters/weights1": (8, 3), "adapters/biases1": (1, 3), "adapters/weights2": (3, 8),
              "adapters/biases2": (1, 8), "LayerNorm/gamma": (8,), "LayerNorm/beta": (8,)}  # fmt: skip
    for name, shape in shapes.items():
        assert held[f"bert/encoder/layer_2/attention/output/{name}"].shape == shape
    bare = adapter_bert.load(network(task="tag"), {**held, "bert/pooler/dense/kernel": np.ones(2)})
    assert {*adapter_bert.named(bare.params)} == held.keys() - {"output_weights", "output_bias"}
    wrong = {
        "lacking encoder.1.feed_forward.adapter.up.bias": ("bert/encoder/layer_1/output/adapters/biases2", None),
        "layer_7/output/adapters/weights1' is beside no layer of bert":
            ("bert/encoder/layer_7/output/adapters/weights1", np.ones((8, 3))),
        "'output_bias' is float64 (5,); (2,) is due": ("output_bias", np.ones(5)),
        "'bert/embeddings/LayerNorm/beta' has entries that are NaN":
            ("bert/embeddings/LayerNorm/beta", np.full(8, np.nan)),
    }  # fmt: skip
    for said, (name, array) in wrong.items():
        given = {key: value for key, value in {**held, name: array}.items() if value is not None}
        with pytest.raises(InputError, match=re.escape(said)):
            adapter_bert.load(model, given)
    with pytest.raises(InputError, match="no adapters by the names"):
        adapter_bert.load(model, {"bert/pooler/dense/kernel": np.ones(2)})


def test_what_a_run_leaves_of_its_adapters_is_all_that_it_learnt(place, tmp_path):
    """Put beside the model that it began with, it says the same, to the bit."""
    out = tuned(place, tmp_path / "run", "adapter:3")
    base = minibert.load(place / "model").with_task("classify", labels=["fine", "poor"], seed=9)
    ids = {"input_ids": [[1, 2, 3, 4], [4, 3, 2, 2]]}
    due, again = minibert.load(out).predict(ids), adapter_bert.load(base, out / "adapter.npz").predict(ids)
    assert np.array_equal(due["logits"], again["logits"])
    assert not np.array_equal(due["logits"], base.predict(ids)["logits"])


def test_released_adapters_compute_what_the_release_does():
    """`feedforward_adapter` of modeling.py, written from it here: x + (gelu(x w1 + b1) w2 + b2), its GELU by tanh; of
    one direction, too, whose matrices could be taken for rows.
    """
    for width in (1, 5):
        rng, model = np.random.default_rng(width), network()
        drawn = {"weights1": (8, width), "biases1": (1, width), "weights2": (width, 8), "biases2": (1, 8)}
        places = [f"layer_{i}/{place}" for i in range(3) for place in ("attention/output", "output")]
        held = {f"bert/encoder/{place}/adapters/{name}": rng.standard_normal(shape)
                for place in places for name, shape in drawn.items()}  # fmt: skip
        p = tree.get(adapter_bert.load(model, held).params, "encoder.1.feed_forward.adapter")
        x = rng.standard_normal((2, 3, 8))
        w1, b1, w2, b2 = (held[f"bert/encoder/layer_1/output/adapters/{name}"] for name in drawn)
        h = x @ w1 + b1
        h = h * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        due = h @ w2 + b2 + x
        assert np.abs(layers.adapter(x, p)[0] - due).max() < 1e-14 * np.abs(due).max()


def test_both_ways_with_peft(place, tmp_path):
    """What minibert saves gives peft the same logits, and what peft saves gives them to minibert."""
    published, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    kind = pytest.importorskip("transformers").BertForSequenceClassification
    moved = transfer.begun("lora:2", minibert.load(place / "teacher"), frozenset()).model
    moved_away(moved, np.random.default_rng(0))
    peft.save(moved, tmp_path / "ours")
    ids = {"input_ids": [[1, 2, 3, 4], [4, 3, 2, 2]], "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]]}
    given = {name: torch.tensor(rows) for name, rows in ids.items()}
    theirs = published.PeftModel.from_pretrained(kind.from_pretrained(place / "teacher"), tmp_path / "ours").eval()
    assert np.abs(theirs(**given).logits.detach().numpy() - moved.predict(ids)["logits"]).max() < 2e-6
    config = published.LoraConfig(r=3, lora_alpha=5, target_modules=["key", "dense"], modules_to_save=["classifier"],
                                  task_type="SEQ_CLS", use_rslora=True, init_lora_weights=False)  # fmt: skip
    theirs = published.get_peft_model(kind.from_pretrained(place / "teacher"), config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = peft.load(minibert.load(place / "teacher"), tmp_path / "theirs")
    assert np.abs(theirs(**given).logits.detach().numpy() - ours.predict(ids)["logits"]).max() < 2e-6
    assert np.abs(ours.predict(ids)["logits"] - minibert.load(place / "teacher").predict(ids)["logits"]).max() > 1e-2


# ---- Several tasks on the command line -------------------------------------------------------------------------------
def together(place, out, way="full", **changes):
    """A run of both tasks over one network."""
    files = {name: place / FILES[name] for name in ("classify", "tag")}
    given = {**OPTIONS, **changes, "transfer": way, "train": files, "dev": files}
    return finetuning.finetune("classify+tag", place / "model", out=out, **given)


@pytest.mark.parametrize("way", [asked("pals:4"), asked("lora:2+gradual"), asked("full")])
def test_several_tasks_end_with_the_same_bits_after_a_kill(way, place, tmp_path):
    """Also with a checkpoint between; each head answers alone, with its own projected attention where it has one."""
    whole = together(place, tmp_path / "whole", way)
    shutil.copytree(whole, again := tmp_path / "again")
    for name in ("report.json", "model.safetensors", "added.safetensors", "config.json"):
        (again / name).unlink(missing_ok=True)
    training.discard(again / "checkpoints" / "00000006")
    finetuning.finetune("classify+tag", place / "model", out=again, resume=True, checkpoint_every=4, threads=1)
    assert bits(whole) == bits(again)
    model, ids = minibert.load(whole), {"input_ids": [[1, 2, 3]]}
    assert model.tasks == ("classify", "tag")
    given = {"pals": [1]} if "pals" in way else {}
    for number, name in enumerate(model.tasks):
        given = {name: [number] for name in given}
        alone = uses.alone(model, name).predict(ids)["logits"]
        assert np.array_equal(alone, model.predict({**ids, **given})[f"{name}_logits"])
    assert {*json.loads((whole / "report.json").read_bytes())["tasks"]} == {"classify", "tag"}


def test_a_second_stage_goes_on_with_the_same_bits_after_a_kill(place, tmp_path):
    """Of several tasks, behind one of them: what the first stage made is in its record by its bits."""
    first = tuned(place, tmp_path / "first", "gradual")
    files = {name: place / FILES[name] for name in ("tag", "classify")}
    given = {**OPTIONS, "train": files, "dev": files, "transfer": "adapter:2+discriminative"}
    whole = finetuning.finetune("tag+classify", first, out=tmp_path / "whole", **given)
    shutil.copytree(whole, again := tmp_path / "again")
    for path in (*again.glob("*.safetensors"), again / "report.json", again / "adapter.npz"):
        path.unlink()
    training.discard(again / "checkpoints" / "00000006")
    finetuning.finetune("tag+classify", first, out=again, resume=True, threads=1)
    assert bits(whole) == bits(again)
    assert (whole / "adapter.npz").read_bytes() == (again / "adapter.npz").read_bytes()
    minibert.load(place / "model").with_task("classify", labels=["fine", "poor"]).save(first)
    with pytest.raises(InputError, match=r"the model or the rows of .* have changed"):
        finetuning.finetune("tag+classify", first, out=again, resume=True, threads=1)


def test_inputs_of_one_task_are_no_others(place, tmp_path):
    """Relations read two places of a text: steps of another task lack them, and so may whoever asks the others."""
    model = minibert.load(place / "model").with_task("classify", labels=["fine", "poor"])
    model = model.with_task("relate", labels=["a", "b"])
    ids, places = {"input_ids": [[1, 2, 3], [3, 2, 1]]}, {"head_positions": [0, 1], "tail_positions": [2, 2]}
    classified, both = model.predict(ids), model.predict({**ids, **places})
    assert [*classified] == ["classify_logits"]
    assert [*both] == ["classify_logits", "relate_logits"]
    assert np.array_equal(classified["classify_logits"], both["classify_logits"])
    loss, _ = model.loss({**ids, "classify_labels": [0, 1]})
    own, _ = model.loss({**ids, **places, "relate_labels": [0, 1]})
    together, _ = model.loss({**ids, **places, "classify_labels": [0, 1], "relate_labels": [0, 1]})
    assert abs(together - loss - own) < 1e-6
    with pytest.raises(InputError, match="the batch lacks 'head_positions', 'tail_positions', which relate needs"):
        model.loss({**ids, "relate_labels": [0, 1]})
    lines = [{"text": "the film was fine", "head": [4, 8], "tail": [13, 17], "label": k} for k in "abab"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    files = {"classify": place / "classify.tsv", "relate": tmp_path / "rows.jsonl"}
    given = {**OPTIONS, "train": files, "dev": files, "sampling": "root"}
    out = finetuning.finetune("classify+relate", place / "model", out=tmp_path / "run", **given)
    assert {*json.loads((out / "report.json").read_bytes())["tasks"]} == {"classify", "relate"}


def test_what_a_mix_learnt_is_drawn(place, tmp_path, capsys):
    """A bar as long as each share."""
    out = tuned(place, tmp_path / "run", "mix", steps=12)
    shares = mix.shares(minibert.load(out).params)
    assert np.ptp(shares) > 1e-3, "nothing learnt: the picture could be of anything"
    drawn = ElementTree.fromstring((out / "mix.svg").read_text(encoding="utf-8"))
    bars = [float(re.search(r"h([\d.]+)v", path.get("d"))[1]) for path in drawn.iter("{http://www.w3.org/2000/svg}path")]
    assert np.array(bars) / sum(bars) == pytest.approx(shares, abs=1e-3)
    assert f"embeddings {shares[0]:.2f}, layer 1 {shares[1]:.2f}, layer 2 {shares[2]:.2f}" in capsys.readouterr().out
    assert not (tuned(place, tmp_path / "full", "full") / "mix.svg").exists()


def test_several_tasks_are_the_librarys_course(place, tmp_path):
    """Each step learns one of them, by the sampling that is asked for: the other's head keeps its bits in it."""
    wordless = {"steps": 1, "sampling": "root", "seed": 3}
    model = minibert.load(together(place, tmp_path / "run", "frozen", **wordless))
    request = json.loads((tmp_path / "run" / "run.json").read_bytes())
    start = finetuning._prepared(request["request"], finetuning.Options(**request["options"])).model
    plan = finetuning.Options(**request["options"]).plan(1, 4)
    parts = {"classify": {"labels": np.zeros(12)}, "tag": {"labels": np.zeros(12)}}
    turn = multitask.Course(start, parts, plan, (0.5,)).task(0)
    for name in model.tasks:
        same = np.array_equal(model.params[name]["weight"], start.params[name]["weight"])
        assert same == (name != turn)


def test_the_command_line_of_several_tasks(place, tmp_path, capsys):
    files = [f"{name}={place / FILES[name]}" for name in ("classify", "tag")]
    begun = ["finetune", "classify+tag", str(place / "model"), "--out", str(tmp_path / "run"), "--steps", "2"]
    assert cli.main([*begun, "--train", *files, "--batch-size", "4", "--threads", "1"]) == 0
    assert "predict" in capsys.readouterr().out
    run, rows, begun[4] = str(tmp_path / "run"), str(place / "classify.tsv"), str(tmp_path / "other")
    assert cli.main(["predict", run, rows, "--task", "classify"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12
    wrong = {
        ("predict", run, rows): "has heads of classify, tag: say which by --task",
        ("predict", run, rows, "--task", "x"): "--task 'x'",
        (*begun, "--train", rows): "write TASK=FILE",
        (*begun, "--train", files[0]): "expected classify=FILE tag=FILE",
        (*begun, "--train", *files, "--columns", "text=label"): "of several tasks write classify.COLUMN=NAME",
        ("finetune", "classify+choose", *begun[2:], "--train", files[0], f"choose={rows}"): "it stands alone",
        ("finetune", "tag+tag", *begun[2:], "--train", *files): "one stands there twice",
        (*begun, "--train", *files, files[0]): "classify stands there twice",
        ("finetune", "classify", *begun[2:], "--train", *files): "takes one file, here are 2",
        tuple(begun): "are learnt from files",
    }  # fmt: skip
    for given, said in wrong.items():
        assert cli.main([*given]) == 2, given
        error = capsys.readouterr().err
        assert said in error, given
        assert error.count("\n") == 1
