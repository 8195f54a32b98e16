"""Optimizers, schedules and clipping against the published tables and torch."""

import copy
import re

import numpy as np
import pytest

import reference
from minibert import families, kernels, optim, tree
from minibert.errors import InputError


def scalar_steps(name, decay, steps=((0.1,), (0.2,)), **options):
    state, update = (f for f in optim.OPTIMIZERS[name])
    p = {"w": np.array([1.0])}
    s = state(p)
    for g in steps:
        update(p, {"w": np.array(g)}, s, lr=0.01, decay={"w": decay}, **options)
        yield float(p["w"][0])


def trees(rng, count, dtype=np.float64):
    """Trees of uneven leaves: a scalar, a vector, a matrix, a transposed view, a list."""
    def one():
        return {"scalar": np.array(rng.normal(), dtype), "list": [{"b": rng.normal(size=7).astype(dtype)}],
                "w": rng.normal(size=(5, 3)).astype(dtype), "turned": rng.normal(size=(4, 6)).astype(dtype).T}
    return [one() for _ in range(count)]


def frozen(grads):
    for g in tree.leaves(grads):
        g.flags.writeable = False
    return grads


class TestTables:
    """Two steps on one scalar, values computed independently from the published formulas."""

    def test_bert_adam(self):
        assert list(scalar_steps("bert_adam", 0.01)) == pytest.approx(
            [0.9682872202370383, 0.9271798967114366], abs=1e-14)

    def test_bert_adam_without_decay(self):
        assert list(scalar_steps("bert_adam", 0.0)) == pytest.approx(
            [0.9683872202370383, 0.9273767254334603], abs=1e-14)

    def test_adamw(self):
        assert list(scalar_steps("adamw", 0.01, eps=1e-6)) == pytest.approx(
            [0.989900099999, 0.9801493507647085], abs=1e-12)

    def test_roberta_adam(self):
        steps = list(scalar_steps("roberta_adam", 0.01, beta2=0.999))
        assert steps == pytest.approx([0.9899031612779763, 0.9801537156206119], abs=1e-14)

    def test_bert_adam_steps_on_a_constant_gradient(self):
        """Without bias correction the step starts at 3.16 lr and peaks at 6.57 lr, at step 12."""
        p = list(scalar_steps("bert_adam", 0.0, steps=[(0.5,)] * 20))
        ratios = -np.diff([1.0, *p]) / 0.01
        assert ratios[:5] == pytest.approx([3.1622, 4.2495, 4.950, 5.442, 5.797], abs=1e-3)
        assert ratios.argmax() == 11
        assert ratios[11] == pytest.approx(6.5685, abs=1e-3)

    def test_adam_ignores_the_scale_of_the_gradient(self):
        small, large = (list(scalar_steps("adamw", 0.0, steps=[(k,), (2 * k,)], eps=0.0)) for k in (1.0, 1e3))
        assert small == pytest.approx(large, abs=1e-14)


@pytest.mark.parametrize(("name", "ours", "theirs"), [
    ("adamw", {"decay": 0.03, "beta1": 0.8, "beta2": 0.95, "eps": 1e-5},
     lambda t, p: t.optim.AdamW(p, lr=0.02, weight_decay=0.03, betas=(0.8, 0.95), eps=1e-5)),
    ("sgd", {"decay": 0.03, "momentum": 0.7},
     lambda t, p: t.optim.SGD(p, lr=0.02, weight_decay=0.03, momentum=0.7)),
])
def test_torch(name, ours, theirs):
    """Ten steps equal torch.optim's to 1e-12, for leaves of every kind."""
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    rng = np.random.default_rng(7)
    params, *grads = trees(rng, 11)
    twins = [torch.tensor(p.copy(), requires_grad=True) for p in tree.leaves(params)]
    optimizer = theirs(torch, twins)
    state, update = optim.OPTIMIZERS[name]
    s = state(params)
    ours = dict(ours, decay=dict.fromkeys(tree.flatten(params), ours["decay"]))
    for g in grads:
        update(params, frozen(g), s, lr=0.02, **ours)
        for twin, leaf in zip(twins, tree.leaves(g), strict=True):
            twin.grad = torch.tensor(leaf)
        optimizer.step()
        for twin, p in zip(twins, tree.leaves(params), strict=True):
            np.testing.assert_allclose(p, twin.detach().numpy(), rtol=0, atol=1e-12)
    assert s["step"] == 10


def test_plain_sgd_is_its_double():
    p, g = np.array([[1.0, -2.0]]), np.array([[0.5, 3.0]])
    due = reference.double("plain_sgd")(p.tolist(), (0.5 * g).tolist(), rate=0.1, decay=0.03)
    state = optim.plain_sgd_state({"w": p})
    optim.plain_sgd({"w": p}, {"w": g}, state, lr=0.1, decay={"w": 0.03}, scale=0.5)
    assert p.tolist() == pytest.approx(np.array(due), rel=1e-15)
    assert state == {"step": 1}


def test_glove_s_adagrad_is_its_double():
    """Three steps: the first divides by 1, each by what came before it."""
    p, rng = np.array([[1.0, -2.0]]), np.random.default_rng(0)
    twin, state = (p.tolist(), [[1.0, 1.0]]), optim.glove_adagrad_state({"w": p})
    for _ in range(3):
        g = rng.standard_normal((1, 2))
        twin = reference.double("glove_adagrad")(twin[0], (0.5 * g).tolist(), twin[1], rate=0.3, decay=0.03)
        optim.glove_adagrad({"w": p}, {"w": g}, state, lr=0.3, decay={"w": 0.03}, scale=0.5)
    assert p.tolist()[0] == pytest.approx(twin[0][0], rel=1e-14)
    assert state["gradsq"]["w"].tolist()[0] == pytest.approx(twin[1][0], rel=1e-14)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_and_blocks_change_no_bit(name, dtype, monkeypatch):
    """The same bits for one thread and one block as for five threads and many blocks."""
    rng = np.random.default_rng(3)
    start, *grads = trees(rng, 4, dtype)
    state, update = optim.OPTIMIZERS[name]
    results = []
    monkeypatch.setattr(optim, "SHARE", 2)
    for threads, block in ((1, 1 << 15), (1, 4), (5, 4)):
        monkeypatch.setattr(kernels, "BLOCK", block)
        monkeypatch.setattr(kernels, "THREADS", threads)
        params = copy.deepcopy(start)
        s = state(params)
        for g in grads:
            update(params, g, s, lr=0.1, decay=dict.fromkeys(tree.flatten(params), 0.01))
        s.pop("step")
        results.append([x.tobytes() for x in tree.leaves([params, s])])
    assert results[0] == results[1] == results[2]
    assert all(p.dtype == dtype for p in tree.leaves(params))


def test_updates_are_in_place_and_small():
    """Parameters keep their memory; the update allocates no array of a tensor's size."""
    import tracemalloc
    p = {"w": np.ones((512, 1024), np.float32)}
    before = p["w"]
    s = optim.bert_adam_state(p)
    tracemalloc.start()
    optim.bert_adam(p, {"w": np.full((512, 1024), 0.5, np.float32)}, s, lr=0.1, decay={"w": 0.01})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p["w"] is before
    assert not (p["w"] == 1).any()
    assert peak < 2 * before.nbytes  # the gradient itself (one tensor) and the scratch rows


def test_decay_goes_by_the_place_in_the_tree():
    """Norms and biases are exempt under whatever name they are published; tables and matrices decay."""
    decay = {
        "embeddings.word.weight": ("bert.embeddings.word_embeddings.weight", 0.01),
        "embeddings.norm.weight": ("bert.embeddings.LayerNorm.weight", 0),
        "layers.0.attention.norm.weight": ("transformer.h.0.ln_1.weight", 0),  # GPT-2
        "norm.weight": ("transformer.ln_f.weight", 0),
        "decoder.embeddings.norm.weight": ("model.decoder.layernorm_embedding.weight", 0),  # BART
        "encoder.0.feed_forward.norm.weight": ("vit.encoder.layer.0.layernorm_after.weight", 0),  # ViT
        "mlm.decoder.bias": ("cls.predictions.bias", 0),
        "encoder.0.attention.query.weight": ("bert.encoder.layer.0.attention.self.query.weight", 0.01),
        "normal.weight": ("cls.layer_norm_free.weight", 0.01),
        "sbo.first.dense.weight": ("cls.pair_target_predictions.mlp_layer_norm.linear1.weight", 0.01),
    }
    rows = [(path, name, "identity") for path, (name, _) in decay.items()]
    assert optim.decay_rates(rows, 0.01) == {path: rate for path, (_, rate) in decay.items()}
    spared = optim.decay_rates(rows, 0.01, undecayed=["embeddings.word.weight"])
    assert [path for path, rate in spared.items() if rate != decay[path][1]] == ["embeddings.word.weight"]


def test_lamb_adapts_what_decays():
    """A rate of 0.01 moves a matrix by a hundredth of its norm, but not GPT-2's or ViT's norms."""
    rng = np.random.default_rng(3)
    p = {"norm": {"weight": rng.normal(size=5), "bias": rng.normal(size=5)}, "out": {"weight": rng.normal(size=(4, 3))}}
    before = tree.map(np.copy, p)
    optim.lamb(p, tree.map(lambda a: rng.normal(size=a.shape), p), optim.bert_adam_state(p), lr=0.01)
    for path, old in tree.items(before):
        moved = np.linalg.norm(tree.get(p, path) - old) / np.linalg.norm(old)
        assert (abs(moved - 0.01) < 1e-12) == optim.decays(path), path


def test_existing_families_decay_as_the_release_s_list_says():
    """Searched in the published name, "LayerNorm", "layer_norm" and "bias": what goldens and checkpoints hold to."""
    for family in ("bert", "roberta", "albert", "electra", "spanbert", "bert_wwm", "bert_wwm_ext", "macbert"):
        module = families.family(family)
        config = module.Config(**module.PROBE)
        rows, undecayed = module.names(config), families.undecayed(module, config)
        exempt = {path for path, rate in optim.decay_rates(rows, 0.01, undecayed).items() if not rate}
        assert exempt == {path for path, name, _ in rows if re.search("LayerNorm|layer_norm|bias", name)}, family


def test_roberta_decays_everything_and_equals_its_double():
    rng = np.random.default_rng(5)
    names = [("embeddings.norm.weight", "roberta.embeddings.LayerNorm.weight"), ("mlm.decoder.bias", "lm_head.bias")]
    assert set(optim.DECAY_RATES["roberta_adam"](names, 0.01).values()) == {0.01}
    p, *grads = ({"w": rng.normal(size=5)} for _ in range(4))
    s, twin = optim.adamw_state(p), (p["w"].tolist(), [0.0] * 5, [0.0] * 5)
    for step, g in enumerate(grads, start=1):
        optim.roberta_adam(p, frozen(g), s, lr=0.02, decay={"w": 0.3}, beta1=0.8, beta2=0.9, eps=1e-3)
        given = {"step": step, "rate": 0.02, "decay": 0.3, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
        twin = reference.double("roberta_adam")(twin[0], g["w"].tolist(), *twin[1:], **given)
    assert p["w"] == pytest.approx(twin[0], rel=1e-14)


def test_a_gradient_of_another_shape_is_refused():
    p = {"w": np.ones((2, 3))}
    with pytest.raises(InputError, match="w: shapes"):
        optim.sgd(p, {"w": np.ones((3, 2))}, optim.sgd_state(p), lr=0.1)


class TestClip:
    def test_tensorflow_form(self):
        grads, norm = optim.clip(frozen({"a": np.array([3.0]), "b": [np.array([4.0])]}), 1.0)
        assert norm == 5
        assert tree.leaves(grads) == pytest.approx([0.6, 0.8], abs=1e-15)

    def test_a_short_gradient_stays(self):
        g = {"a": np.array([0.3, 0.4])}
        assert optim.clip(g, 1.0) == (g, 0.5)
        assert optim.clip(g, float("inf")) == (g, 0.5)

    def test_the_norm_is_of_all_tensors_in_float64(self, monkeypatch):
        """Sum of squares of float32 values that float32 cannot hold."""
        monkeypatch.setattr(kernels, "BLOCK", 4)
        monkeypatch.setattr(optim, "SHARE", 2)
        g = {"a": np.full(9, 3e30, np.float32), "b": np.full((2, 8), 4e30, np.float32)}
        expected = float(np.float32(1e30)) * (9 * 9 + 16 * 16) ** 0.5
        norms = set()
        for threads in (1, 2, 3):
            monkeypatch.setattr(kernels, "THREADS", threads)
            norms.add(optim.clip(g, 1.0)[1])
        assert len(norms) == 1
        assert norms.pop() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("names", [{}, {"b.0.w": "the weight"}])
    def test_a_gradient_that_is_not_finite_is_named(self, value, names):
        with pytest.raises(InputError, match=r"gradient of (b\.0\.w|the weight) is not finite"):
            optim.clip({"a": np.ones(3), "b": [{"w": np.array([1.0, value])}]}, 1.0, names)

    def test_overflow_of_the_norm_is_said(self):
        with pytest.raises(InputError, match="overflows"):
            optim.clip({"a": np.array([1e200])}, 1.0)


class TestSchedules:
    @pytest.mark.parametrize(("step", "bert", "electra", "linear"), [
        (0, 0.0, 0.0, 0.0), (9_999, 9.999e-5, 9.999e-5 * 0.990001, 9.999e-5), (10_000, 9.9e-5, 9.9e-5, 1e-4),
        (500_000, 5e-5, 5e-5, 5 / 99 * 1e-3), (1_000_000, 0.0, 0.0, 0.0), (1_000_001, 0.0, 0.0, 0.0)])
    def test_table(self, step, bert, electra, linear):
        """BERT drops by a hundredth where warm-up ends, ELECTRA nears that from below, the linear one reaches the
        peak; none goes below 0."""
        options = {"peak": 1e-4, "warmup": 10_000, "total": 1_000_000}
        assert optim.bert_schedule(step, **options) == pytest.approx(bert, abs=1e-16)
        assert optim.electra_schedule(step, **options) == pytest.approx(electra, abs=1e-16)
        assert optim.linear_schedule(step, **options) == pytest.approx(linear, abs=1e-16)

    @pytest.mark.parametrize("name", optim.SCHEDULES)
    def test_without_warmup(self, name):
        """From the peak on, in a straight line or as 1 / sqrt(s); T5's counts from 0, so that it begins twice; the
        slanted one ends at a 32nd."""
        straight = [1, 0.75, 0.5, 0.25]
        due = {"transformer": [1, 2**-0.5, 3**-0.5, 0.5], "adafactor": [1, 2**-0.5, 3**-0.5, 0.5],
               "t5": [1, 1, 2**-0.5, 3**-0.5], "constant": [1, 1, 1, 1],
               "slanted_triangular": [(1 + 31 * share) / 32 for share in straight]}.get(name, straight)
        found = [optim.SCHEDULES[name](step, peak=1.0, warmup=0, total=4) for step in range(4)]
        assert found == pytest.approx(due, abs=1e-15)

    @pytest.mark.parametrize(("s", "rate"), [(1, 1.7469e-7), (4000, 6.9877e-4), (16_000, 3.4939e-4)])
    def test_the_transformers(self, s, rate):
        """The paper's formula, of which the peak is (d w)^-0.5."""
        d, w = 512, 4000
        found = optim.transformer_schedule(s - 1, peak=(d * w) ** -0.5, warmup=w, total=1)
        assert found == pytest.approx(d**-0.5 * min(s**-0.5, s * w**-1.5), rel=1e-14)
        assert found == pytest.approx(rate, rel=1e-4)

    def test_t5s_and_adafactors(self):
        for n in (0, 1, 9_999, 10_000, 10_001, 40_000, 524_288):
            found = optim.t5_schedule(n, peak=0.01, warmup=10_000, total=1)
            assert found == pytest.approx(1 / max(n, 10_000) ** 0.5, rel=1e-14)
            t = n + 1
            own = {"peak": 1e-2, "total": 1}
            assert optim.adafactor_schedule(n, warmup=0, **own) == pytest.approx(min(1e-2, t**-0.5), rel=1e-14)
            assert optim.adafactor_schedule(n, warmup=10_000, **own) == pytest.approx(
                min(1e-6 * t, 1e-2, t**-0.5), rel=1e-14)


class TestLamb:
    """LAMB as the ALBERT release has it."""

    def two_steps(self, path, decay=0.01):
        p = {path: np.array([3.0, 4.0])}
        state = optim.bert_adam_state(p)
        for _ in range(2):
            optim.lamb(p, frozen({path: np.array([0.1, 0.1])}), state, lr=0.01, decay={path: decay})
            yield p[path].tolist()

    def test_two_steps(self):
        """Values computed independently from the published formula; trust ratios 1.10614 and 0.81725."""
        assert list(self.two_steps("w")) == [pytest.approx([2.964700011178567, 3.9645893972205113], abs=1e-14),
                                             pytest.approx([2.9297355969199206, 3.9295432667631656], abs=1e-14)]

    @pytest.mark.parametrize("path", ["encoder.0.query.bias", "embeddings.norm.weight", "norm.bias"])
    def test_biases_and_norms_take_the_step_as_it_is(self, path):
        """Without decay, and without the ratio: BERT's Adam."""
        p = {path: np.array([3.0, 4.0])}
        state = optim.bert_adam_state(p)
        for found in self.two_steps(path, decay=0.0):
            optim.bert_adam(p, {path: np.array([0.1, 0.1])}, state, lr=0.01)
            assert found == p[path].tolist()

    def test_the_ratio_does_not_depend_on_decay(self):
        """A run with weight_decay 0 still adapts its matrices."""
        first, _ = self.two_steps("w", decay=0.0)
        assert np.linalg.norm(np.array([3.0, 4.0]) - first) == pytest.approx(0.01 * 5, abs=1e-14)

    @pytest.mark.parametrize(("p", "g"), [(0.0, 0.1), (1.0, 0.0)])
    def test_a_norm_of_zero_means_a_ratio_of_one(self, p, g):
        params, grads = {"w": np.full((2, 3), p)}, {"w": np.full((2, 3), g)}
        optim.lamb(params, grads, optim.bert_adam_state(params), lr=0.01)
        assert params["w"] == pytest.approx(np.full((2, 3), p - 0.01 * (0.1 * g) / (0.001**0.5 * g + 1e-6)), abs=1e-14)

    @pytest.mark.parametrize("adapted", [True, False])
    def test_the_scalar_double(self, adapted):
        """Five steps of matrices of unequal sizes, against the loops."""
        rng = np.random.default_rng(5)
        path = "dense.weight" if adapted else "dense.bias"
        ours = {path: rng.normal(size=(3, 5))}
        state, theirs = optim.bert_adam_state(ours), [ours[path].tolist(), np.zeros((3, 5)).tolist()] * 2
        theirs = theirs[0], theirs[1], theirs[3]
        for _ in range(5):
            g = rng.normal(size=(3, 5))
            optim.lamb(ours, frozen({path: g}), state, lr=0.1, decay={path: 0.03}, beta1=0.8, beta2=0.95, eps=1e-3)
            theirs = reference.double("lamb")(theirs[0], g.tolist(), *theirs[1:], rate=0.1, decay=0.03, beta1=0.8,
                                              beta2=0.95, eps=1e-3, adapted=adapted)
            for mine, true in zip((ours[path], state["adam_m"][path], state["adam_v"][path]), theirs, strict=True):
                np.testing.assert_allclose(mine, true, rtol=0, atol=1e-13)


FORMS = {  # fairseq's and transformers' arguments, ours, and the learning rate of step t
    "T5's": ({"lr": 0.02, "relative_step": False}, {}, lambda t: 0.02),
    "relative": ({}, {}, lambda t: min(1e-2, t**-0.5)),
    "warmed up": ({"warmup_init": True}, {}, lambda t: min(1e-6 * t, t**-0.5)),
    "unscaled": ({"lr": 0.02, "relative_step": False, "scale_parameter": False}, {"scale_parameter": False},
                 lambda t: 0.02),
    "momentum": ({"beta1": 0.7, "weight_decay": 0.05}, {"beta1": 0.7}, lambda t: min(1e-2, t**-0.5)),
    "all else": ({"lr": 0.3, "relative_step": False, "eps": (1e-5, 0.9), "clip_threshold": 0.4, "decay_rate": -0.5,
                  "weight_decay": 0.05}, {"eps1": 1e-5, "eps2": 0.9, "clip": 0.4, "decay_rate": 0.5}, lambda t: 0.3),
    "unclipped": ({"clip_threshold": 1e300}, {"clip": 1e300}, lambda t: min(1e-2, t**-0.5)),
}  # fmt: skip


class TestAdafactor:
    """Both forms, with everything that their arguments change."""

    def steps(self, form, count=6):
        """Ours, after each step: (params, state, gradients, learning rate)."""
        theirs, ours, rate = FORMS[form]
        name = "adafactor_momentum" if "beta1" in ours else "adafactor"
        rng = np.random.default_rng(11)
        params, *grads = trees(rng, count + 1)
        params["deep"] = rng.normal(size=(2, 3, 4))
        new_state, update = optim.OPTIMIZERS[name]
        state, decay = new_state(params), dict.fromkeys(tree.flatten(params), theirs.get("weight_decay", 0.0))
        yield params, state, None, None
        for t, g in enumerate(grads, start=1):
            g = {**tree.map(lambda a: np.array(a * 10.0 ** rng.normal()), g), "deep": rng.normal(size=(2, 3, 4))}
            update(params, frozen(g), state, lr=rate(t), decay=decay, **ours)
            yield params, state, g, rate(t)

    @pytest.mark.parametrize("form", FORMS)
    def test_transformers(self, form):
        """The port of fairseq's, in float64: parameters and moments to 1e-13."""
        torch = pytest.importorskip("torch", reason="compares with transformers")
        optimization = pytest.importorskip("transformers.optimization", reason="compares with its Adafactor")
        steps = self.steps(form)
        params, *_ = next(steps)
        twins = [torch.tensor(p.copy(), requires_grad=True) for p in tree.leaves(params)]
        optimizer = optimization.Adafactor(twins, **FORMS[form][0])
        for params, state, g, _ in steps:
            for twin, leaf in zip(twins, tree.leaves(g), strict=True):
                twin.grad = torch.tensor(leaf)
            optimizer.step()
            for path, twin in zip(tree.flatten(params), twins, strict=True):
                np.testing.assert_allclose(tree.get(params, path), twin.detach().numpy(), rtol=1e-13, atol=1e-15)
                for slot in ("exp_avg_sq_row", "exp_avg_sq_col", "exp_avg"):
                    if slot in optimizer.state[twin]:
                        due = optimizer.state[twin][slot].numpy()
                        found = tree.get(state[slot], path)
                        np.testing.assert_allclose(found.reshape(due.shape), due, rtol=1e-13, err_msg=f"{slot} {path}")

    def test_torch(self):
        """torch.optim's has no eps1 in the moments, and its decay is not scaled: without these it is this one."""
        torch = pytest.importorskip("torch", reason="compares with torch.optim")
        steps = self.steps("T5's")
        params, *_ = next(steps)
        twins = [torch.tensor(p.copy(), requires_grad=True) for p in tree.leaves(params)]
        optimizer = torch.optim.Adafactor(twins, lr=0.02, eps=(1e-30, 1e-3), weight_decay=0.0)
        for params, _, g, _ in steps:
            for twin, leaf in zip(twins, tree.leaves(g), strict=True):
                twin.grad = torch.tensor(leaf)
            optimizer.step()
            for p, twin in zip(tree.leaves(params), twins, strict=True):
                np.testing.assert_allclose(p, twin.detach().numpy(), rtol=1e-12)

    @pytest.mark.parametrize("form", FORMS)
    def test_the_scalar_double(self, form):
        theirs, ours, _ = FORMS[form]
        steps = self.steps(form)
        params, *_ = next(steps)
        before = {path: p.tolist() for path, p in tree.items(params) if p.ndim in (1, 2)}
        twins = {path: (p, [0.0] * len(p), [0.0] * np.size(p[0]), np.zeros(np.shape(p)).tolist())
                 for path, p in before.items()}
        for t, (params, _, g, lr) in enumerate(steps, start=1):
            constants = {"decay_rate": 0.8, "eps1": 1e-30, "eps2": 1e-3, "clip": 1.0, "beta1": 0.0, **ours}
            for path, twin in twins.items():
                twins[path] = reference.double("adafactor")(
                    twin[0], tree.get(g, path).tolist(), *twin[1:], step=t, rate=lr,
                    decay=theirs.get("weight_decay", 0.0), **constants)
                np.testing.assert_allclose(tree.get(params, path), twins[path][0], rtol=1e-13)

    def test_grovers_has_a_constant_share_of_the_new(self):
        """0.001 of each square from the first step on, the rate as it is; the double, told of a step that has it."""
        rng = np.random.default_rng(3)
        params, state = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=3)}, None
        twins = {path: (p.tolist(), [0.0] * len(p), [0.0] * 4, None) for path, p in params.items()}
        state, decay = optim.adafactor_state(params), {"w": 0.01, "b": 0.0}
        share = {"step": 2, "decay_rate": np.log(1000) / np.log(2)}  # 2^-rate is 0.001
        for lr in (0.02, 0.01, 0.03):
            grads = {path: rng.normal(size=p.shape) for path, p in params.items()}
            optim.grover_adafactor(params, frozen(grads), state, lr=lr, decay=decay)
            for path, twin in twins.items():
                given = {"beta1": 0.0, "eps1": 1e-30, "eps2": 0.0, "clip": 1.0, "scale_parameter": False, **share}
                twins[path] = reference.double("adafactor")(twin[0], grads[path].tolist(), *twin[1:], rate=lr,
                                                            decay=decay[path], **given)
                np.testing.assert_allclose(params[path], twins[path][0], rtol=1e-12)

    def test_a_rank_of_one_is_no_factoring(self):
        """Where g² is a row times a column, a matrix goes as its entries would one by one; elsewhere it doesn't."""
        rng = np.random.default_rng(2)
        squared = np.abs(rng.normal(size=(4, 1)) * rng.normal(size=(1, 5)))
        for g, alike in ((squared, True), (rng.normal(size=(4, 5)), False)):
            two, one = {"w": np.ones((4, 5))}, {"w": np.ones(20)}
            optim.adafactor(two, {"w": g}, optim.adafactor_state(two), lr=0.1)
            optim.adafactor(one, {"w": g.reshape(-1)}, optim.adafactor_state(one), lr=0.1)
            assert np.allclose(two["w"].reshape(-1), one["w"], rtol=1e-12) == alike

    def test_a_step_is_relative_to_the_parameter_and_no_larger(self):
        """RMS of the change at most lr RMS(p); of a parameter of zeros lr 1e-3."""
        for size, due in ((4.0, 0.4), (0.0, 1e-4)):
            p = {"w": np.full((30, 20), size)}
            state = optim.adafactor_state(p)
            for g in np.random.default_rng(0).normal(size=(3, 30, 20)) * [[[1.0]], [[100.0]], [[1e-3]]]:
                before = p["w"].copy()
                optim.adafactor(p, {"w": g}, state, lr=0.1)
                moved = np.sqrt(np.square(p["w"] - before).mean())
                assert 0 < moved < 1.3 * due
            assert sum(a.size for a in tree.leaves([state["exp_avg_sq_row"], state["exp_avg_sq_col"]])) == 50

    def test_its_state_goes_with_the_parameters(self):
        p = {"w": np.ones((3, 4)), "b": np.ones(3)}
        wrong = {**optim.adafactor_state(p), "exp_avg_sq_row": {"w": np.zeros(3), "b": np.zeros(3)}}
        with pytest.raises(InputError, match="w: shapes"):
            optim.adafactor(p, p, wrong, lr=0.1)
        with pytest.raises(InputError, match="scale_parameter 1: expected True or False"):
            optim.adafactor(p, p, optim.adafactor_state(p), lr=0.1, scale_parameter=1)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_what_an_optimizer_cannot_use_is_one_line_and_changes_nothing(name):
    state, update = optim.OPTIMIZERS[name]
    params, grads = {"w": np.ones(3), "b": np.ones(2)}, {"w": np.ones(3), "b": np.ones(2)}
    moments = state(params)
    before = copy.deepcopy((params, moments))
    numbers = (-1, np.nan, np.inf, None, "1", True, [1], np.ones(2), 10**400)
    wrong = [({}, {word: value}, word) for word in ("lr", "scale") for value in numbers]
    wrong += [({}, {"decay": value}, "decay") for value in (3, "x", {"w": 0.1}, {"w": 0.1, "b": np.nan})]
    for key in ("params", "grads"):
        for value in (None, 3, [], {"w": 3}, {**grads, "b": np.ones(3)}, {**grads, "c": np.ones(2)}, {"w": np.ones(3)},
                      {**grads, "b": np.ma.ones(2)}, {**grads, "b": np.ones(2, int)}, {**grads, "b": [1.0, 1.0]}):
            wrong.append(({key: value}, {}, ""))
    wrong += [({"state": value}, {}, "state") for value in (None, {}, {**moments, "step": -1}, {**moments, "x": 1})]
    for places, words, says in wrong:
        given = {"params": params, "grads": grads, "state": moments, **places}
        with pytest.raises(InputError, match=says) as error:
            update(*given.values(), **{"lr": 0.1, **words})
        assert str(error.value).isprintable()
    for old, new in zip(tree.leaves(before[0]) + tree.leaves(before[1]), tree.leaves(params) + tree.leaves(moments),
                        strict=True):
        assert np.array_equal(old, new)


def test_what_clipping_and_schedules_cannot_use():
    grads = {"w": np.ones(3)}
    for most in (0, -1, np.nan, None, "1", True):
        with pytest.raises(InputError, match="max_norm"):
            optim.clip(grads, most)
    for given in (None, 3, {"w": 3}, {"w": np.ma.ones(3)}, [[1.0]]):
        with pytest.raises(InputError, match="grads"):
            optim.global_norm(given)
    right = {"peak": 0.1, "warmup": 2, "total": 10}
    for schedule in optim.SCHEDULES.values():
        for name, value in (("peak", np.nan), ("peak", -1), ("warmup", -1), ("warmup", 1.5), ("total", 0)):
            with pytest.raises(InputError, match=name):
                schedule(3, **{**right, name: value})
        with pytest.raises(InputError, match="step"):
            schedule(-1, **right)
