"""Laws of a training loop: a right one obeys them all, and of each silent mistake planted in it the name is said."""

import copy

import numpy as np
import pytest

from minibert import ops, optim
from minibert.errors import InputError
from minibert.laws import loops

FACTS = {
    "name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1, "schedule": "linear", "warmup": 2, "total": 9,
    "first_step": 1, "clip_norm": 0.7, "dropout": 0.3, "tied": [["table.weight", "decoder.weight"]],
}  # fmt: skip
RNG = np.random.default_rng(0)
V, D = 11, 4
PARAMS = {"table.weight": RNG.standard_normal((V, D)), "dense.weight": RNG.standard_normal((D, D)),
          "dense.bias": RNG.standard_normal(D), "decoder.bias": RNG.standard_normal(V)}  # fmt: skip
BATCH = {"ids": RNG.integers(0, V, (5, 3)), "labels": RNG.integers(0, V, (5, 3))}
BATCH["labels"][0, 1:] = BATCH["labels"][3, 0] = -100  # rows with one, two and three targets


class Loop:
    """A tied word model, tanh and a softmax, with every part of a loop written out, and whatever is planted in it."""

    def __init__(self, faults, parameters=None, dropout=0.3, clip_norm=0.7):
        given = parameters or {**PARAMS, "decoder.weight": PARAMS["table.weight"]}
        self.p = {name: np.array(value) for name, value in given.items()}
        if not ("untied" in faults and parameters is None):
            self.p["decoder.weight"] = self.p["table.weight"]
        else:
            self.p["decoder.weight"] = self.p["decoder.weight"] + 0.01
        self.faults, self.rate, self.clip_norm = faults, dropout, clip_norm
        self.rng, self.count, self.training, self.left = np.random.default_rng(3), 0, True, {}
        self.stale = copy.deepcopy(self.p)
        self.state = optim.adamw_state(self.trained())
        self.second = optim.adamw_state(self.trained())

    def trained(self):
        return {name: value for name, value in self.p.items() if name != "decoder.weight"}

    def parameters(self):
        return {name: value.copy() for name, value in self.p.items()}

    def passed(self, batch, drop, total=None):
        p = self.stale if "stale parameters" in self.faults and self.count else self.p
        c = {}
        h, c["table"] = ops.embedding(p["table.weight"], ids=batch["ids"])
        h, c["dense"] = ops.linear(h, p["dense.weight"], p["dense.bias"])
        h, c["tanh"] = ops.tanh(h)
        rate = self.rate if drop and "dropout never" not in self.faults else 0.0
        keep = (self.rng.random(h.shape) >= rate) / (1 - rate) if rate else np.ones(h.shape)
        logits, c["decoder"] = ops.linear(h * keep, p["decoder.weight"], p["decoder.bias"])
        loss, c["loss"] = ops.cross_entropy(logits, labels=batch["labels"], ignore=-100, denominator=total)
        dh, decoder = ops.linear_backward(ops.cross_entropy_backward(np.float64(1), c["loss"]), c["decoder"])
        dh, dense = ops.linear_backward(ops.tanh_backward(dh * keep, c["tanh"]), c["dense"])
        table = ops.embedding_backward(dh, c["table"])
        table = table["weight"] if isinstance(table, dict) else table
        return float(loss), {"table.weight": table + decoder["weight"], "dense.weight": dense["weight"],
                             "dense.bias": dense["bias"], "decoder.bias": decoder["bias"]}  # fmt: skip

    def loss(self, batch):
        loss, gradients = self.passed(batch, drop="dropout in evaluation" in self.faults)
        if "evaluation mode stays" in self.faults:
            self.training = False
        if "evaluation's gradients stay" in self.faults:
            self.left = gradients
        return loss

    def step(self, batches):
        has = self.faults.__contains__
        counts = [(b["labels"] != -100).sum() for b in batches]
        total, losses, own = sum(counts), [], []
        for batch, count in zip(batches, counts, strict=True):
            mean = has("summed") or has("mean of means")
            loss, gradients = self.passed(batch, self.training, float(count if mean else total))
            if has("mean of means"):
                loss, gradients = loss / len(batches), {name: g / len(batches) for name, g in gradients.items()}
            if has("clipped early"):
                gradients = clipped(gradients, self.clip_norm)
            losses.append(loss)
            own.append(gradients)
        own = own[-1:] if has("last only") else own
        gradients = {name: sum(g[name] for g in own) for name in own[0]}
        if self.left:
            gradients = {name: g + self.left[name] for name, g in gradients.items()}
            self.left = {}
        if has("not set to 0"):
            self.left = gradients
        raw = gradients
        if has("clipped by tensor"):
            gradients = {name: clipped({name: g}, self.clip_norm)[name] for name, g in gradients.items()}
        elif has("clipped by entry") and self.clip_norm:
            gradients = {name: np.clip(g, -self.clip_norm, self.clip_norm) for name, g in gradients.items()}
        elif not has("not clipped"):
            gradients = clipped(gradients, self.clip_norm)
        if has("scaled up") and self.clip_norm:
            norm = np.sqrt(sum(np.square(g).sum() for g in raw.values()))
            gradients = {name: g * self.clip_norm / norm for name, g in raw.items()}
        at = 1 + self.count + has("schedule ahead")
        at = 1 + self.count * len(batches) if has("schedule by micro-batch") else at
        rate = optim.linear_schedule(0 if has("schedule stuck") else at, peak=1e-2, warmup=2, total=9)
        rate = 5e-3 if has("schedule stuck") else rate
        self.stale = copy.deepcopy(self.p)
        ahead = optim.linear_schedule(at + 1, peak=1e-2, warmup=2, total=9)
        self.update(gradients, ahead if has("rate ahead") else rate)
        self.count += 1
        loss = losses[-1] if has("loss of the last") else sum(losses)
        handed = {name: g for name, g in gradients.items() if not (has("frozen") and name == "dense.weight")}
        return {"loss": loss, "learning_rate": rate, "gradients": handed}

    def update(self, gradients, rate):
        has, p = self.faults.__contains__, self.trained()
        decay = {name: 0.0 if name.endswith("bias") else 0.1 for name in p}
        decay = dict.fromkeys(p, 0.1) if has("all decays") else decay
        decay = {name: 0.1 - value for name, value in decay.items()} if has("decay inverted") else decay
        taken = gradients
        if has("L2"):
            taken = {name: g + decay[name] * p[name] for name, g in gradients.items()}
            decay = dict.fromkeys(decay, 0.0)
        frozen = p["dense.weight"].copy()
        step = optim.bert_adam if has("BERT's Adam") else optim.adamw
        if has("BERT's Adam") and "adam_m" not in self.state:
            self.state = optim.bert_adam_state(p)
        step(p, taken, self.state, lr=rate, decay=decay, **({"eps": 1e-6} if has("eps") else {}))
        if has("tied twice"):
            one = {"table.weight": p["table.weight"]}
            part = {k: (v if k == "step" else {"table.weight": v["table.weight"]}) for k, v in self.second.items()}
            optim.adamw(one, {"table.weight": taken["table.weight"]}, part, lr=rate, decay={"table.weight": 0.1})
            self.second["step"] = part["step"]
        if has("frozen") or has("not optimized"):
            p["dense.weight"][...] = frozen


def clipped(gradients, norm):
    own = np.sqrt(sum(np.square(g).sum() for g in gradients.values()))
    return {name: g * min(1.0, norm / own) if norm else g for name, g in gradients.items()}


def starting(*faults):
    return lambda **changes: Loop(faults, **changes)


def broken(start, facts=FACTS):
    return {each.law: each.text for each in loops.check(start, BATCH, facts) if each.holds is False}


def test_a_right_loop_obeys_every_law():
    findings = loops.check(starting(), BATCH, FACTS)
    assert all(each.holds for each in findings), [each.text for each in findings if not each.holds]
    assert len(findings) == len(loops.LAWS) == 11


PLANTED = {
    "summed": ("parts_make_the_whole", "gradients of micro-batches are summed"),
    "mean of means": ("parts_make_the_whole", "a mean of means"),
    "last only": ("parts_make_the_whole", "only the last micro-batch counts"),
    "not set to 0": ("each_step_has_its_own_gradient", "the gradient of the step before is added"),
    "stale parameters": ("each_step_has_its_own_gradient", "a stale copy"),
    "clipped by tensor": ("gradients_are_clipped_together", "each tensor is clipped by itself"),
    "clipped by entry": ("gradients_are_clipped_together", "each entry is clipped"),
    "clipped early": ("gradients_are_clipped_together", "micro-batches are clipped"),
    "not clipped": ("gradients_are_clipped_together", "gradients are not clipped"),
    "scaled up": ("gradients_are_clipped_together", "gradients within the norm are scaled"),
    "all decays": ("the_update_is_the_optimizer_s", "biases and norms decay, too"),
    "decay inverted": ("the_update_is_the_optimizer_s", "what is to be spared decays"),
    "L2": ("the_update_is_the_optimizer_s", "L2 in the gradient"),
    "BERT's Adam": ("the_update_is_the_optimizer_s", "the update is that of bert_adam"),
    "eps": ("the_update_is_the_optimizer_s", "eps is 1e-06"),
    "rate ahead": ("the_update_is_the_optimizer_s", "the rate in use is the next step's"),
    "tied twice": ("the_update_is_the_optimizer_s", "a tied tensor is updated twice"),
    "untied": ("tied_tensors_stay_one", "differ at the start: they are not tied"),
    "frozen": ("everything_is_trained", "no gradient of dense.weight"),
    "not optimized": ("everything_is_trained", "dense.weight stays as it is"),
    "schedule ahead": ("the_rate_is_the_schedule_s", "one step ahead"),
    "schedule by micro-batch": ("the_rate_is_the_schedule_s", "the schedule advances with every micro-batch"),
    "schedule stuck": ("the_rate_is_the_schedule_s", "the schedule never advances"),
    "dropout in evaluation": ("evaluation_is_repeatable", "dropout is active in evaluation"),
    "evaluation mode stays": ("evaluation_leaves_nothing_behind", "training goes on without dropout"),
    "evaluation's gradients stay": ("evaluation_leaves_nothing_behind", "evaluation's gradient is added"),
    "dropout never": ("training_drops_out", "dropout is never active"),
    "loss of the last": ("the_loss_is_that_of_the_batch", "the loss is that of the last micro-batch alone"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_silent_mistake_is_named(fault):
    name, said = PLANTED[fault]
    found = broken(starting(fault))
    assert name in found, found
    assert said in found[name]


def test_what_cannot_be_asked_is_not_asked():
    """No law holds, or is broken, by what a loop does not tell."""

    class Mute(Loop):
        def step(self, batches):
            return {"loss": super().step(batches)["loss"]}

    findings = {each.law: each for each in loops.check(lambda parameters=None: Mute((), parameters), BATCH, FACTS)}
    assert findings["parts_make_the_whole"].text.endswith("not asked: start takes no dropout, clip_norm")
    assert "the_rate_is_the_schedule_s: not asked: step gives no learning_rate" in findings[
        "the_rate_is_the_schedule_s"].text  # fmt: skip
    assert findings["everything_is_trained"].holds
    assert not any(each.holds is False for each in findings.values())
    untold = {each.law: each.text for each in loops.check(starting(), BATCH, {})}
    assert untold["tied_tensors_stay_one"].endswith("facts have no tied")
    assert untold["the_update_is_the_optimizer_s"].endswith("facts have no name")


@pytest.mark.parametrize(
    ("batch", "facts", "said"),
    [
        ({"ids": np.zeros((1, 3))}, {}, "the same two or more rows"),
        ({"ids": np.zeros((4, 3)), "labels": np.zeros((3, 3))}, {}, "the same two or more rows"),
        (BATCH, {"name": "adamv"}, "no name 'adamv'; did you mean 'adamw'?"),
        (BATCH, {"schedule": "cosine"}, "facts: no schedule 'cosine'"),
    ],
)
def test_what_is_no_question_is_refused(batch, facts, said):
    with pytest.raises(InputError) as caught:
        loops.check(starting(), batch, facts)
    assert said in str(caught.value)


def test_a_loop_in_torch_and_its_planted_mistakes():
    """Twenty lines of a loop as people write it, in float32."""
    torch = pytest.importorskip("torch")

    class Torch:
        def __init__(self, faults, parameters=None, dropout=0.3, clip_norm=0.7):
            torch.manual_seed(5)
            self.faults, self.clip_norm = faults, clip_norm
            nn = torch.nn
            self.model = nn.ModuleDict({"table": nn.Embedding(V, D), "norm": nn.LayerNorm(D),
                                        "drop": nn.Dropout(dropout), "decoder": nn.Linear(D, V)})  # fmt: skip
            self.model["decoder"].weight = self.model["table"].weight
            if parameters:
                self.model.load_state_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in parameters.items()})
            spared = [p for n, p in self.model.named_parameters() if "norm" in n or n.endswith("bias")]
            others = [p for n, p in self.model.named_parameters() if not ("norm" in n or n.endswith("bias"))]
            groups = [{"params": others, "weight_decay": 0.1},
                      {"params": spared, "weight_decay": 0.1 if "all decay" in faults else 0.0}]  # fmt: skip
            kind = torch.optim.Adam if "Adam" in faults else torch.optim.AdamW
            self.optimizer = kind(groups, lr=1e-2)
            self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda k: min((k + 1) / 2, (9 - k) / 8))

        def logits_loss(self, batch, reduction):
            model = self.model
            h = model["drop"](model["norm"](model["table"](torch.tensor(batch["ids"]))))
            labels = torch.tensor(batch["labels"]).flatten()
            return torch.nn.functional.cross_entropy(model["decoder"](h).flatten(0, 1), labels, reduction=reduction)

        def parameters(self):
            return {n: p.detach().numpy() for n, p in self.model.named_parameters(remove_duplicate=False)}

        def loss(self, batch):
            self.model.eval()
            with torch.no_grad():
                found = self.logits_loss(batch, "mean").item()
            self.model.train(mode="eval stays" not in self.faults)
            return found

        def step(self, batches):
            count, total = sum((b["labels"] != -100).sum() for b in batches), 0.0
            if "zero_grad" not in self.faults:
                self.optimizer.zero_grad()
            for batch in batches:
                how, by = ("mean", len(batches)) if "mean of means" in self.faults else ("sum", count)
                loss = self.logits_loss(batch, how) / by
                loss.backward()
                total += loss.item()
            if self.clip_norm:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
            gradients = {n: p.grad.numpy().copy() for n, p in self.model.named_parameters()}
            rate = self.optimizer.param_groups[0]["lr"]
            self.optimizer.step()
            self.schedule.step()
            return {"loss": total, "learning_rate": rate, "gradients": gradients}

    def asked(*faults):
        facts = {**FACTS, "name": "adamw", "warmup": 1, "tied": [["table.weight", "decoder.weight"]]}
        facts |= {"schedule": None}
        return broken(lambda **changes: Torch(faults, **changes), facts)

    assert asked() == {}
    for fault, name, said in (
        ("zero_grad", "each_step_has_its_own_gradient", "gradients are not set to 0"),
        ("mean of means", "parts_make_the_whole", "a mean of means"),
        ("Adam", "the_update_is_the_optimizer_s", "L2 in the gradient"),
        ("all decay", "the_update_is_the_optimizer_s", "biases and norms decay"),
        ("eval stays", "evaluation_leaves_nothing_behind", "evaluation mode is not left again"),
    ):
        assert said in asked(fault)[name]
