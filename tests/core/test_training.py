"""The loop on a stand-in model: accumulation, order, checkpoints, log, Ctrl-C, evaluation."""

import functools
import json
import math
import os
import signal
import threading

import numpy as np
import pytest

from minibert import batches, layers, ops, optim, pairs, training, transfer, tree
from minibert.errors import InputError
from minibert.families import bert
from minibert.heads import masked_lm, next_sentence

V, T, M, D = 13, 9, 4, 5


class Bag:
    """A model small enough to see through: each target is guessed from its own token, a pair from its mean token."""

    def __init__(self, seed=0, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.params = {"word": {"weight": rng.normal(size=(V, D)).astype(dtype)},
                       "mlm": {"weight": rng.normal(size=(V, D)).astype(dtype), "bias": np.zeros(V, dtype)},
                       "pair": [{"weight": rng.normal(size=(2, D)).astype(dtype), "bias": np.zeros(2, dtype)}]}

    def loss(self, batch, denominators=None, keep="caches"):
        d, p, c = denominators or {}, self.params, {"of": self}
        x, c["word"] = ops.embedding(p["word"]["weight"], ids=batch["input_ids"])
        h, c["gather"] = ops.gather(x, positions=batch["masked_lm_positions"])
        z, c["mlm"] = ops.linear(h, **p["mlm"])
        mlm, c["mlm_loss"] = ops.cross_entropy(z, labels=batch["masked_lm_ids"], denominator=d.get("masked_lm"),
                                               weights=batch["masked_lm_weights"])
        c["mask"] = batch["input_mask"][..., None] / batch["input_mask"].sum(1)[:, None, None]
        z, c["pair"] = ops.linear((x * c["mask"]).sum(1), **p["pair"][0])
        pair, c["pair_loss"] = ops.cross_entropy(z, labels=batch["next_sentence_labels"].reshape(-1),
                                                 denominator=d.get("next_sentence"))
        c["terms"] = {"masked_lm": mlm, "next_sentence": pair}
        return mlm + pair, c

    def loss_backward(self, c):
        g = {}
        one = np.ones((), self.params["word"]["weight"].dtype)
        dm, pair = ops.linear_backward(ops.cross_entropy_backward(one, c["pair_loss"]), c["pair"])
        dh, g["mlm"] = ops.linear_backward(ops.cross_entropy_backward(one, c["mlm_loss"]), c["mlm"])
        dx = ops.gather_backward(dh, c["gather"]) + dm[:, None] * c["mask"].astype(dh.dtype)
        g["word"] = ops.embedding_backward(dx, c["word"])
        return {"word": g["word"], "mlm": g["mlm"], "pair": [pair]}

    def state_dict(self, t=None):
        return {f"bag.{path}": a for path, a in tree.items(self.params if t is None else t)}

    @property
    def module(self):  # where a model's family has its own functions
        return self

    network = module

    @staticmethod
    def right(c):
        pair = layers.right(c["pair_loss"], classes=True)
        return {"masked_lm": layers.right(c["mlm_loss"]), "next_sentence": pair}

    @staticmethod
    def counts(config, batch):
        return {"masked_lm": float(batch["masked_lm_weights"].sum()), "next_sentence": len(batch["input_ids"])}

    config = None
    SPELLINGS = bert.SPELLINGS

    @staticmethod
    def inputs(config):
        return {"input_ids": "(B,T)<V", "attention_mask": "?(B,T)?", "token_type_ids": "?(B,T)<2"}

    @staticmethod
    def labels(config):
        return {**masked_lm.LABELS, **next_sentence.LABELS}

    @staticmethod
    def heads(config):
        return {"masked_lm": masked_lm, "next_sentence": next_sentence}

    @staticmethod
    def lengths(config):
        return {"T": ("attention_mask", T)}

    def names(self, config=None):
        return [(path, f"bag.{path}", "identity") for path in tree.flatten(self.params)]


def instances(count, seed=1):
    """Instances of uneven lengths and target counts, as the data algorithm pads them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, T + 1, count)
    targets = rng.integers(1, M + 1, count)
    mask = (np.arange(T) < lengths[:, None]).astype(np.int32)
    weights = (np.arange(M) < targets[:, None]).astype(np.float32)
    made = {"input_ids": rng.integers(1, V, (count, T)) * mask, "input_mask": mask,
            "segment_ids": (np.arange(T) > lengths[:, None] // 2) * mask,
            "masked_lm_positions": (rng.integers(0, 3, (count, M)) * weights).astype(np.int32),
            "masked_lm_ids": (rng.integers(1, V, (count, M)) * weights).astype(np.int32),
            "masked_lm_weights": weights, "next_sentence_labels": rng.integers(0, 2, (count, 1))}
    for a in made.values():
        a.flags.writeable = False
    return made


def cut(data, rows):
    return batches.taken(Bag, None, data, rows)


def feed(data, plan):
    """The step's micro-batches, as pretraining makes them."""
    def parts(step):
        rows = training.order(step, plan.batch_size, len(data["input_ids"]), plan.seed)
        return [cut(data, part) for part in np.split(rows, plan.accumulate)]
    return parts


PLAN = training.Plan(steps=12, batch_size=6, accumulate=3, learning_rate=0.05, warmup=3, checkpoint_every=4, seed=5)


def run(directory, plan=PLAN, model=None, **patch):
    model = model or Bag(dtype=np.float32)
    directory.mkdir(exist_ok=True)
    training.fit(model, plan, directory, patch.get("batches") or feed(instances(20), plan))
    return model


def bits(model):
    return {name: a.tobytes() for name, a in model.state_dict().items()}


# ------------------------------------------------------------------------------------------------ rates by parameter

def test_rates_equal_to_the_schedule_change_no_bit(tmp_path):
    rate = training.scheduled(PLAN)
    whole, same = Bag(dtype=np.float32), Bag(dtype=np.float32)
    run(tmp_path / "whole", model=whole)
    given = feed(instances(20), PLAN)
    training.fit(same, PLAN, prepared(tmp_path / "same"), given, rates=lambda path, step: rate(step))
    assert bits(same) == bits(whole)


def test_what_is_frozen_stays_with_its_moments_and_counts_in_no_norm(tmp_path):
    """Frozen for six steps, then free; and as if its gradient had not been there."""
    plan = training.Plan(**{**vars(PLAN), "clip_norm": 0.1, "warmup": 0})
    seen, model = [], Bag(dtype=np.float32)
    before = model.params["word"]["weight"].copy()

    def rates(path, step):
        seen.append((path, step, model.params["word"]["weight"].copy()))
        return None if path.startswith("word") and step < 6 else 0.01

    training.fit(model, plan, prepared(tmp_path / "run"), feed(instances(20), plan), rates=rates)
    assert all(np.array_equal(word, before) for _, step, word in seen if step <= 6)
    assert not np.array_equal(model.params["word"]["weight"], before)
    for entry in training.read_log(tmp_path / "run" / "log.jsonl")[:6]:
        parts = feed(instances(20), plan)(entry["step"] - 1)
        assert entry["gradient_norm"] > 0
        assert len(parts) == 3
    first = Bag(dtype=np.float32)
    grads = training.gradient(first, feed(instances(20), plan)(0))[1]
    rest = {part: held for part, held in grads.items() if part != "word"}
    assert training.read_log(tmp_path / "run" / "log.jsonl")[0]["gradient_norm"] == optim.global_norm(rest)


def test_rates_by_layer_are_each_parameter_s_own(tmp_path):
    """Plain descent without momentum's past: after one step each parameter has moved by its own rate."""
    plan = training.Plan(**{**vars(PLAN), "steps": 1, "optimizer": "sgd", "weight_decay": 0.0, "clip_norm": 1e9})
    own = {"word.weight": 0.5, "mlm.weight": 0.25, "mlm.bias": 0.0, "pair.0.weight": 2.0, "pair.0.bias": 1.0}
    model = Bag()
    grads = tree.flatten(training.gradient(Bag(), feed(instances(20), plan)(0))[1])
    training.fit(model, plan, prepared(tmp_path / "run"), feed(instances(20), plan), rates=lambda path, step: own[path])
    for path, array in tree.items(model.params):
        assert np.allclose(array, tree.get(Bag().params, path) - own[path] * grads[path], rtol=0, atol=1e-15)


@pytest.mark.parametrize("stop", [None, 8])
def test_a_parameter_that_wakes_begins_to_count_its_steps(stop, tmp_path):
    """As torch's AdamW, which counts a parameter's own updates: the first moves each entry by the whole rate; also
    where the run was taken up again in between.
    """
    plan = training.Plan(**{**vars(PLAN), "optimizer": "adamw", "weight_decay": 0.0, "clip_norm": 1e9,
                            "checkpoint_every": 8})  # fmt: skip
    rates = lambda path, step: None if path.startswith("word") and step < 9 else 0.01  # noqa: E731
    feeding, seen = feed(instances(20), plan), []

    def parts(step):
        seen.append(model.params["word"]["weight"].copy())
        if stop is not None and step == stop:
            raise RuntimeError("killed")
        return feeding(step)

    model = Bag()
    if stop is not None:
        with pytest.raises(RuntimeError, match="killed"):
            training.fit(model, plan, tmp_path / "run", parts, rates=rates)
        model, stop, seen = Bag(), None, []
    training.fit(model, plan, tmp_path / "run", parts, rates=rates)
    asleep, awake = seen[-3], seen[-2]
    moved = np.abs(awake - asleep)
    assert np.array_equal(seen[0], asleep)
    assert np.allclose(moved[moved > 0], 0.01, rtol=1e-4)


@pytest.mark.parametrize(("rate", "said"), [(None, "nothing is left"), (-1, "rate of word"), (math.nan, "rate of w")])
def test_rates_that_are_none(rate, said, tmp_path):
    with pytest.raises(InputError, match=said):
        training.fit(Bag(), PLAN, prepared(tmp_path / "run"), feed(instances(20), PLAN), rates=lambda path, step: rate)


def prepared(folder):
    folder.mkdir()
    return folder


# ---------------------------------------------------------------------------------------- accumulation and order

@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("cuts", [[], [2, 4], [1, 2, 11]])
def test_accumulation_equals_the_large_batch(cuts, threads):
    """Uneven micro-batches give the large batch's loss, terms, accuracies and gradient to 1e-12."""
    model, data = Bag(), instances(12)
    whole, expected = training.gradient(model, [cut(data, np.arange(12))])
    parts = [cut(data, rows) for rows in np.split(np.arange(12), cuts)]
    measured, grads = training.gradient(model, parts, threads)
    reference, cache = model.loss(data)
    assert measured["loss"] == pytest.approx(float(reference), abs=1e-12)
    assert measured["terms"] == pytest.approx({k: float(v) for k, v in cache["terms"].items()}, abs=1e-12)
    assert measured["accuracies"] == pytest.approx(whole["accuracies"], abs=1e-12)
    assert 0 < measured["accuracies"]["next_sentence"] < 1
    for a, b in zip(tree.leaves(grads), tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_the_mean_of_means_would_differ():
    """The planted mistake: micro-batches divided by their own counts are caught by the test above."""
    model, data = Bag(), instances(12)
    parts = [cut(data, rows) for rows in np.split(np.arange(12), [2, 4])]
    wrong = sum(float(model.loss(b)[0]) for b in parts) / len(parts)
    assert abs(wrong - training.gradient(model, parts)[0]["loss"]) > 1e-3


def test_order_is_a_function_of_the_step():
    """Each epoch sees each instance once, shuffled anew; a batch may span epochs."""
    steps = [training.order(step, 4, 10, seed=3) for step in range(5)]
    epochs = np.concatenate(steps).reshape(2, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert (epochs[0] != epochs[1]).any()
    assert (training.order(2, 4, 10, seed=3) == steps[2]).all()
    assert (np.concatenate([training.order(0, 4, 10, seed) for seed in (1, 2)]) != np.tile(steps[0], 2)).any()
    assert len(training.order(0, 25, 10, seed=3)) == 25


def test_a_batch_is_cut_to_its_longest_row():
    data = instances(20)
    rows = np.flatnonzero(data["input_mask"].sum(1) < 6)[:3]
    b = cut(data, rows)
    assert b["input_ids"].shape == (3, data["input_mask"][rows].sum(1).max())
    assert b["masked_lm_ids"].shape == (3, int(data["masked_lm_weights"][rows].sum(1).max()))
    assert b["masked_lm_weights"].sum() == data["masked_lm_weights"][rows].sum()


def test_draws_depend_on_every_argument():
    seen = {training.draws(*a).integers(1 << 62) for a in
            [(0, "order", 1), (0, "order", 2), (0, "dropout", 1), (1, "order", 1), (0, "dropout", 1, 2)]}
    assert len(seen) == 5


# ----------------------------------------------------------------------------------------- the run and its state

def test_a_run_learns_and_logs(tmp_path):
    """The loss falls; the log has one line a step with everything in it."""
    run(tmp_path)
    log = training.read_log(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in log] == list(range(1, 13))
    assert set(log[0]) == {"step", "loss", "terms", "accuracies", "learning_rate", "gradient_norm",
                           "tokens_per_second", "seconds"}
    assert [round(entry["learning_rate"], 6) for entry in log[:5]] == [
        0, 0.016667, 0.033333, 0.0375, 0.033333]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert [p.name for p in training.checkpoints(tmp_path)] == ["00000008", "00000012"]


@pytest.mark.parametrize("plan", [{"optimizer": "adamw"}, {"optimizer": "sgd"}, {"threads": 3},
                                  {"optimizer": "adafactor", "schedule": "t5"}, {"optimizer": "adafactor_momentum"}])
def test_resuming_gives_the_same_bits(tmp_path, plan):
    """Stopped by an error between checkpoints and taken up again: the same parameters, log and moments."""
    plan = training.Plan(**{**vars(PLAN), **plan})
    whole = run(tmp_path / "whole", plan)
    feeding = feed(instances(20), plan)

    def broken(step):
        if step == stop:
            raise InputError("planted")
        return feeding(step)

    for stop in (2, 7, 9):  # noqa: B007 (read by `broken`)
        with pytest.raises(InputError, match="planted"):
            run(tmp_path / "cut", plan, batches=broken)
    cut = run(tmp_path / "cut", plan)
    assert bits(cut) == bits(whole)
    for name in ("model", "optimizer"):
        a, b = ((tmp_path / d / "checkpoints" / "00000012" / f"{name}.safetensors").read_bytes()
                for d in ("whole", "cut"))
        assert a == b
    logs = [[{k: v for k, v in entry.items() if k not in ("seconds", "tokens_per_second")}
             for entry in training.read_log(tmp_path / d / "log.jsonl")] for d in ("whole", "cut")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("stop", [2, 7, 9])
def test_an_average_begins_where_the_held_out_loss_stops_to_fall_and_is_resumed(stop, tmp_path):
    """NT-ASGD: with losses that fall twice, the mean of the snapshots behind step 7; the same bits after a kill."""
    losses = dict(enumerate([9.0, 8.0, 8.5, 8.6, 8.7, 8.8, 8.9, 9.0, 9.1, 9.2, 9.3, 9.4], 1))

    def begun(folder, batches=None, snapshots=None):
        model, feeding = Bag(dtype=np.float32), feed(instances(20), PLAN)
        kept, seen = tree.map(np.array, model.params), []

        def served(step):
            snapshots is None or snapshots.append(model.params["word"]["weight"].copy())
            return (batches or feeding)(step)

        checks = training.Checks(lambda: losses[len(checks.losses) + 1], 1, seen)
        around = functools.partial(transfer.average, since=checks.since, kept=kept)
        training.fit(model, PLAN, tmp_path / folder, served, around=around, checks=checks)
        return model, kept, checks

    def broken(step):
        if step == stop:
            raise InputError("planted")
        return feed(instances(20), PLAN)(step)

    snapshots = []
    model, kept, checks = begun("whole", snapshots=snapshots)
    assert checks.since() == 7  # 8.9 is above 8.0, the least of all but the last five
    due = np.mean([*snapshots[8:], model.params["word"]["weight"]], 0)
    assert np.abs(kept["word"]["weight"] - due).max() < 1e-6
    with pytest.raises(InputError, match="planted"):
        begun("cut", broken)
    again, mean, _ = begun("cut")
    assert bits(again) == bits(model)
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(mean), tree.leaves(kept), strict=True))
    newest = tmp_path / "cut" / "checkpoints" / "00000012" / "state.json"
    newest.write_text(newest.read_text().replace("9.4", "null"))
    assert begun("cut")[2].losses == [*losses.values()]  # from the one before


def test_what_observes_pairs_sees_every_thread():
    """A mistake switched on around a training step must not vanish because the step has several threads."""
    data, seen = instances(6), []

    def observer(f, args, constants):
        seen.append(f.__name__)
        return f(*args, **constants)

    with pairs.observing(observer):
        training.gradient(Bag(), [cut(data, part) for part in np.split(np.arange(6), 3)], threads=2)
    assert seen.count("cross_entropy_backward") == 6


def test_threads_change_no_bit(tmp_path):
    a, b = (run(tmp_path / str(t), training.Plan(**{**vars(PLAN), "threads": t})) for t in (1, 3))
    assert bits(a) == bits(b)


def test_a_finished_run_stays(tmp_path):
    first = bits(run(tmp_path))
    log = (tmp_path / "log.jsonl").read_bytes()
    assert bits(run(tmp_path)) == first
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_leftovers_and_damage(tmp_path, capsys):
    """Half-written temporaries are removed; a damaged checkpoint is said and the one before is used."""
    whole = bits(run(tmp_path))
    newest = tmp_path / "checkpoints" / "00000012" / "optimizer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    (tmp_path / "checkpoints" / ".00000016.1-0.new").mkdir()
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"step": 13, "lo')
    resumed = run(tmp_path)
    assert "00000012 is damaged" in capsys.readouterr().err
    assert bits(resumed) == whole
    assert bits(run(tmp_path)) == whole  # the damaged one was made anew
    assert "damaged" not in capsys.readouterr().err
    assert [e["step"] for e in training.read_log(tmp_path / "log.jsonl")] == list(range(1, 13))
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_no_readable_checkpoint_is_an_error(tmp_path):
    """Starting silently from step 0 would throw the run away."""
    run(tmp_path)
    for path in training.checkpoints(tmp_path):
        (path / "state.json").write_text("{")
    with pytest.raises(InputError, match="no readable checkpoint"):
        run(tmp_path)


def test_ctrl_c_writes_a_checkpoint(tmp_path):
    """The step under way is finished and saved; resuming gives the uninterrupted run's bits."""
    whole = run(tmp_path / "whole")
    feeding = feed(instances(20), PLAN)

    def interrupted(step):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT) if os.name != "nt" else signal.raise_signal(signal.SIGINT)
        return feeding(step)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after step 7 of 12"):
        run(tmp_path / "cut", batches=interrupted)
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in training.checkpoints(tmp_path / "cut")] == ["00000004", "00000007"]
    assert bits(run(tmp_path / "cut")) == bits(whole)


def test_the_loop_runs_off_the_main_thread(tmp_path):
    """Signals can't be caught there; everything else works."""
    worker = threading.Thread(target=run, args=(tmp_path,))
    worker.start()
    worker.join()
    assert training.checkpoints(tmp_path)[-1].name == "00000012"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, value):
    """One clear line; what was saved before is intact."""
    model = Bag(dtype=np.float32)
    feeding = feed(instances(20), PLAN)

    def poisoned(step):
        if step == 5:
            model.params["mlm"]["weight"][3, 2] = value
        return feeding(step)

    with pytest.raises(InputError, match="stopped at step 6, loss nan"):
        run(tmp_path, model=model, batches=poisoned)
    assert bits(run(tmp_path)) == bits(run(tmp_path / "whole"))


def test_a_gradient_that_is_not_finite_is_named(tmp_path, monkeypatch):
    def overflow(self, c):
        g = backward(self, c)
        g["pair"][0]["bias"] = g["pair"][0]["bias"] + np.float32(np.inf)
        return g

    backward = Bag.loss_backward
    monkeypatch.setattr(Bag, "loss_backward", overflow)
    with pytest.raises(InputError, match=r"step 1, loss [\d.]+: gradient of bag\.pair\.0\.bias is not finite"):
        run(tmp_path)


def test_a_batch_that_cannot_be_used_is_no_matter_of_the_rate(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise InputError(said)

    monkeypatch.setattr(Bag, "loss", refused)
    for said, more in (("ids[0] has no end", ""), ("the loss is not finite: x", ", or a lower learning rate")):
        with pytest.raises(InputError) as error:
            run(tmp_path)
        assert str(error.value) == f"training stopped at step 1: {said}{more}"


@pytest.mark.parametrize(("field", "value"), [
    ("steps", 0), ("batch_size", 0), ("accumulate", 4), ("learning_rate", -1.0), ("clip_norm", 0.0),
    ("optimizer", "adam"), ("schedule", "cosine"), ("seed", -1), ("threads", 0)])
def test_a_plan_is_checked(field, value):
    with pytest.raises(InputError, match=field):
        training.Plan(**{**vars(PLAN), field: value})


# ---------------------------------------------------------------------------------------------------- evaluation

@pytest.mark.parametrize("size", [1, 5, 64])
def test_evaluation_is_the_mean_over_all_targets(size):
    """The same figures for every batch size, equal to one pass over everything."""
    model, data = Bag(), instances(17)
    measured = training.evaluation(model, data, batch_size=size, threads=2)
    loss, cache = model.loss(data)
    assert measured["loss"] == pytest.approx(float(loss), abs=1e-12)
    assert measured["terms"] == pytest.approx({k: float(v) for k, v in cache["terms"].items()}, abs=1e-12)
    assert measured["targets"] == {"masked_lm": data["masked_lm_weights"].sum(), "next_sentence": 17}
    share = data["next_sentence_labels"].mean()
    assert measured["majority"] == pytest.approx({"next_sentence": max(share, 1 - share)}, abs=1e-15)
    assert measured["accuracies"] == pytest.approx(
        training.gradient(model, [cut(data, np.arange(17))])[0]["accuracies"], abs=1e-12)


def test_wilson_lower_bound():
    """Solves (p - bound)² = z² bound (1 - bound) / n, below p; 0 right gives 0."""
    for p, n in ((0.5, 100), (0.9, 2000), (1.0, 10)):
        bound = training.wilson_lower(p, n)
        assert bound < p
        assert (p - bound) ** 2 == pytest.approx(2.5758293 ** 2 * bound * (1 - bound) / n, rel=1e-6)
    assert training.wilson_lower(0.0, 50) == pytest.approx(0, abs=1e-15)
    assert math.isclose(training.wilson_lower(0.55, 2000), 0.5212, abs_tol=1e-3)


def test_the_log_is_json(tmp_path):
    run(tmp_path)
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line)
