"""The catalogue of known mistakes: each switch works, both halves; some case catches it; diagnosis finds its name."""

import contextlib
import functools
import itertools
import os
import pkgutil
import re
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

import minibert
from minibert import batches, cli, families, gradcheck, layers, objective, tree
from minibert.golden import blocks, kills, precision
from minibert.golden import case as cases
from minibert.golden.kinds import generation as kind
from minibert.golden.subject import Subject, observe
from minibert.mistakes import CATALOGUE, MODULES, catalogue, commands, diagnose, going, page, trials
from minibert.mistakes import families as own
from minibert.mistakes import search as searching
from minibert.mistakes.catalogue import FORWARD, STEPS, UNLISTED, swap
from minibert.mistakes.ops import attention
from minibert.mistakes.swap import Replacement, Swaps, halves, reading, sites
from minibert.pairs import observing
from tests import toys

REFERENCE = Path(__file__).resolve().parents[2] / "reference"
EVERY = {**CATALOGUE, **UNLISTED}
SHIPPED = [file.name for file in pkgutil.iter_modules(families.__path__)]
# .ci/run asks every mutant for its name, in parts, and differences each; else they are drawn: of so many entries one
# is asked, of so many one is differenced, and so many families are asked
EVERY_MUTANT = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))
EXHAUSTIVE = pytest.mark.skipif(not EVERY_MUTANT, reason="tries all there is: set MINIBERT_EVERY_MUTANT, as CI does")
PARTS = 24
DRAWN, DIFFERENCED, FAMILIES = {"listed": 2, "unlisted": 1}, 20, 3
# Of mutants run in float32, those that float32 shows; which are missed depends on the BLAS and its kernels: with
# OPENBLAS_CORETYPE=Nehalem an L11, computed in float16, that others name. Some fill rows with what is no number, and a
# few are unknown since a name has to explain all that is wrong.
MISSED = 3  # in a part
# unlisted -> the mistake that computes the same in a family's cases: BERT's rows are as long as there are slots for
# targets, and GPT-2 has entries for what nobody was seen to do elsewhere
TWINS = {
    "bert": {"scores times 0.2, where 1/√4 is due": ["A07"]},
    "gpt2": {
        "scores times 0.2, where 1/√4 is due": ["A07", "gpt2-15"],
        "the weights of key and value change places": ["gpt2-11"],
        "the weights of query and value change places": ["gpt2-11"],
        "gradients times 0.5, of outputs, too": ["S18"],  # of the one loss
        "gradients times 0.5, of outputs, too, in each step": ["S18"],
        "biases left at 0": ["gpt2-18"],
        "biases of linear layers left at 0": ["gpt2-18"],
    },
}


def subject_of(name="bert/published", **config):
    made = cases.read(name).subject()
    params = tree.map(lambda a: a.astype(np.float64), made.params)
    return replace(made, params=params, config=replace(made.config, **config))


def mutants(subject):
    at = sites(subject)
    return [(id, m) for id, entry in EVERY.items() if entry.mutants for m in entry.mutants(subject, at)]


def single(subject):
    return replace(subject, params=tree.map(lambda a: a.astype(np.float32), subject.params))


def candidate_of(case, mutant):
    """What an implementation with this mistake would hand over: its tensors in float32."""
    changed, steps = single(mutant.change(case.subject())), tuple(case.facts["steps"])
    try:
        tensors = observe(changed, steps)
    except ValueError:  # not a number: no step is made
        tensors = observe(changed, ())
    tensors = mutant.after(tensors) if mutant.after else tensors
    return {k: a for k, a in tensors.items() if k in case.entries and np.shape(a) == case.entries[k].shape}


# ---- The catalogue ---------------------------------------------------------------------------------------------------
# systems to come that mistakes name, whose ids and clauses wait for them
COMING = {"camembert", "deberta", "distilbert", "ernie", "megatron_bert", "modernbert", "mpnet", "sentence_bert", "t5",
          "xlm", "xlm_roberta", "xlnet"}  # fmt: skip


@pytest.mark.parametrize("id", CATALOGUE)
def test_an_entry_is_whole(id):
    entry = CATALOGUE[id]
    assert page.begin(id) in page.sections()
    assert all((entry.title, entry.right, entry.evidence))
    assert {*entry.families} <= {*SHIPPED, *COMING}, "the name of a family, or of a system to come"
    assert entry.shows in ("tokens", "output", "loss", "gradient", "step", "data", "loading", "nowhere")
    ours = any(entry.concerns(family) for family in SHIPPED)
    assert entry.executable or entry.reason or not ours, "an entry of our families is executable, or says why not"
    spec = (REFERENCE / "SPEC.md").read_text(encoding="utf-8")
    assert not entry.clause or f"**{entry.clause}**" in spec, f"SPEC.md has no clause {entry.clause}"
    assert entry.clause or not entry.executable


@pytest.mark.parametrize("home", page.homes())
def test_a_page_is_that_of_the_catalogue(home):
    assert page.path(home).read_text(encoding="utf-8") == page.markdown(home), f"run `minibert mistakes --write {home}`"


def test_a_page_holds_the_entries_of_one_file_alone():
    """So that two people add mistakes of two families without a file in common."""
    for home in page.homes():
        own = "minibert.mistakes." + ("ops" if home == "ops" else f"families.{home}")
        held = {id for id in CATALOGUE if f"\n| {id} | " in page.markdown(home)}
        assert held == {id for id, entry in CATALOGUE.items() if entry.home == home}
        named = [module for module in MODULES if f"{module.__name__}.".startswith(f"{own}.")]
        text = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in named)
        assert held == set(re.findall(r'^entry\(\n    "(.+?)",', text, re.MULTILINE)), home


def test_the_command(capsys):
    assert cli.main(["mistakes"]) == 0
    assert "A04  " in capsys.readouterr().out
    assert cli.main(["mistakes", "a04"]) == 0
    out = capsys.readouterr().out
    assert "OP-ATT-2" in out
    assert "layer 1" in out
    assert re.search(r"\n    macbert: .*published; first forward/bert.encoder", out)
    assert cli.main(["mistakes", "A99"]) == 2
    assert "no mistake 'A99'" in capsys.readouterr().err


# ---- Families that are not BERT's kin --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "ours", "not_ours"),
    [
        ("toy_vit", {"L03", "L12", "A04", "A09", "A30", "C01", "C02", "O02", "O04", "O05", "D11"}, {"A12", "G01"}),
        ("toy_word2vec", {"E11", "C06", "C10", "O02", "O07"}, {"A04", "L03"}),
    ],
)
def test_a_network_unlike_bert_s_has_the_mistakes_that_concern_it(name, ours, not_ours):
    """No input, no config field and no published name need be BERT's: what can go wrong there can be made."""
    assert name in toys.register()
    module, rng = families.family(name), np.random.default_rng(0)
    model = minibert.create(name, 0, "float64", **module.PROBE)
    params = tree.map(lambda a: rng.normal(0.5, 0.4, a.shape), model.params)
    subject = Subject(name, model.config, params, [model.checked(batches.example(module, model.config, rng))])
    at = sites(subject)
    assert {site.place for site in at} & {"layer 0", "layer 1", "embeddings"}
    right, made = observe(subject, (1,)), set()
    for id, entry in EVERY.items():
        if entry.mutants and entry.concerns(name):
            for mutant in entry.mutants(subject, at):
                try:
                    tensors = observe(mutant.change(subject), (1,) if mutant.section == STEPS else ())
                except trials.IMPOSSIBLE:  # a call whose rows are of another kind than those that it is given
                    continue
                if any(not np.array_equal(tensors[key], right[key]) for key in right.keys() & tensors):
                    made.add(id)
    assert ours <= made, ours - made
    assert not {"E01", "H01", "H10", *not_ours} & made


# ---- Both halves -----------------------------------------------------------------------------------------------------
def _swaps(mutant, subject):
    return [r for factory in mutant.change(subject).around if isinstance(factory, Swaps) for r in factory.at.values()]


@contextlib.contextmanager
def switched_on(subject):
    """The subject's mistakes."""
    with contextlib.ExitStack() as stack:
        for factory in subject.around:
            stack.enter_context(observing(factory()))
        yield


def slope_error(subject, signs):
    """Of the gradient of the whole loss along `signs`, against finite differences: at the subject's parameters, or at
    others beside them where a kink lies nearer than the smallest step.
    """
    module = families.family(subject.family)

    def loss(params):
        return objective.loss(module, params, subject.config, subject.batches[0], dense=True)

    def error(away):
        def moved(step):
            with switched_on(subject):
                return float(loss(tree.map(lambda a, s: a + (away + step) * s, subject.params, signs))[0])

        slope = gradcheck.derivative(moved)
        with switched_on(subject):
            gradient = objective.loss_backward(loss(tree.map(lambda a, s: a + away * s, subject.params, signs))[1])
        got = sum(float((g * tree.get(signs, path)).sum()) for path, g in tree.items(gradient))
        return abs(got - slope) / max(abs(slope), 1e-3)

    there = error(0.0)
    return there if there < 1e-6 else min(there, error(2**-12))


# what is masked everywhere has scores that the smallest number swallows, where later tokens always are
SWALLOWED = (
    "the diagonal is masked", "a query sees later tokens", "the mask inverted", "the mask, of -10000, is scaled too",
    "the mask is scaled too",
)  # fmt: skip


@pytest.fixture
def nothing_swallowed(monkeypatch):
    """Masked scores lowered by 10,000: in a sum with the smallest number no difference of theirs is seen, which a
    softmax over another axis has in its slope.
    """
    monkeypatch.setattr(attention, "least", lambda bias: np.maximum(bias, -1e4))


def differentiable(case):
    """(subject, signs, (id, mutant) of all that replace pairs faithfully, everywhere)."""
    # what is frozen, and scores that the smallest number swallows, have no derivative
    plain = {"pad_row_gradient": True, "entity_gradient": True, "mask_constant": "-10000"}
    given = cases.read(case).config()
    subject = subject_of(case, **{name: value for name, value in plain.items() if hasattr(given, name)})
    if not hasattr(given, "mask_constant") and "attention_mask" in subject.batches[0]:  # nothing masked everywhere
        unpadded = {"attention_mask": np.ones_like(subject.batches[0]["attention_mask"])}
        subject = replace(subject, batches=[{**batch, **unpadded} for batch in subject.batches])
    rng = np.random.default_rng(0)
    signs = tree.map(lambda a: rng.choice([-1.0, 1.0], a.shape), subject.params)
    beyond = () if hasattr(given, "mask_constant") else SWALLOWED
    made = [(id, m, _swaps(m, subject)) for id, m in mutants(subject) if not m.where and m.what not in beyond]
    return subject, signs, [(id, m) for id, m, swaps in made if swaps and all(r.faithful for r in swaps)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", ["bert/dropout", "bert/tanh"])
def test_a_replacement_is_a_pair_unless_its_backward_is_the_mistake(case):
    """The whole loss along a random direction: the gradient of every replaced pair, wherever it stands."""
    subject, signs, chosen = differentiable(case)
    if case != "bert/dropout":
        before = {(id, m.what) for id, m in mutants(subject_of("bert/dropout"))}
        chosen = [(id, m) for id, m in chosen if (id, m.what) not in before]
    assert len(chosen) > (60 if case == "bert/dropout" else 2)
    some = each(chosen, Random(case))
    for id, mutant in chosen if EVERY_MUTANT else Random(case).sample(some, min(DIFFERENCED, len(some))):
        error = slope_error(mutant.change(subject), signs)
        assert error < 1e-6, (id, mutant.what, error)


def each(made, draw):
    """One mutant of each entry that has some."""
    found = {}
    for id, mutant in made:
        found.setdefault(id, []).append(mutant)
    return [(id, draw.choice(found[id])) for id in sorted(found)]


# what the families beside BERT brought: pairs of their own
OTHERS = [name for name in SHIPPED if name != "bert" and kills.read(name)]
# of these the ones that are asked, other ones with each family that comes
SOME = OTHERS if EVERY_MUTANT else sorted(Random(len(OTHERS)).sample(OTHERS, FAMILIES))


# whose biases of the scores are learnt, and what takes these for a constant or rounds to 32 bits
BIASED = ("t5", "transformer_xl", "xlnet", "swin")
OF_A_BIAS = {"A08", "A09", "A11", "A13", "A15", "A30", "A34", "A35", "E15", "t5-17", "gpt2-02", "gpt2-29"}


# what is made for batches or rows of another form than the family's published sizes have
OF_OTHER_FORM = {"elmo": {"P02", "P03"}, "longformer": {"longformer-01"},
                 "set_transformer": {"A51", "D10", "S01", "S04", "S08", "S23"}}  # fmt: skip


def brought(family):
    """What a family brought: the entries that name it and not BERT, of which a case of its own shows mutants."""
    concerned = {id: set(CATALOGUE[id].families) for id in kills.read(family)}
    return [id for id, families in concerned.items() if family in families and "bert" not in families]


def in_question(family, subject, made):
    """(id, mutant) of what a family brought, or where it is none of BERT's kin of all entries, without those
    whose slope the smallest number swallows, where all scores of a row are masked.
    """
    own = {*(CATALOGUE if "bert" not in catalogue.lineage(family) else brought(family))}
    beyond = {"A13"} if "decoder_input_ids" in subject.batches[0] else set()
    beyond |= OF_A_BIAS if family in BIASED else set()
    return [(id, m) for id, m in made if id in own - beyond]


@pytest.mark.usefixtures("nothing_swallowed")
@pytest.mark.parametrize("family", SOME)
def test_a_replacement_in_another_family_is_a_pair(family):
    """What it brought, and all that can be made in one that is not BERT's kin: one of each entry, or of four."""
    subject, signs, chosen = differentiable(f"{family}/published")
    draw = Random(family)
    some = each(in_question(family, subject, chosen), draw)
    for id, mutant in some if EVERY_MUTANT else draw.sample(some, min(4, len(some))):
        try:
            error = slope_error(mutant.change(subject), signs)
        except trials.IMPOSSIBLE:
            assert id in OF_OTHER_FORM.get(family, ()), (id, mutant.what)
            continue
        assert error < 1e-6, (id, mutant.what, error)


@EXHAUSTIVE
def test_entries_of_every_family_are_in_question():
    made = {family: differentiable(f"{family}/published") for family in OTHERS}
    offered = {id for family, (subject, _, chosen) in made.items() for id, _ in in_question(family, subject, chosen)}
    assert {"E12", "H13", "H20", "S07", "S11", "S13", "A10", "L09", "L10", "gpt2-04", "gpt2-11", "gpt2-13"} <= offered


def test_entries_concern_families_by_name_and_kin():
    concerned = {id: {f for f in SHIPPED if CATALOGUE[id].concerns(f)} for id in ("A04", "E03", "H20", "T07")}
    assert concerned["A04"] == {*SHIPPED}
    assert concerned["E03"] == {*SHIPPED}  # of bert the other way round, and all are its kin
    assert concerned["H20"] == {"spanbert"}
    assert concerned["T07"] == set()  # XLM-R is not RoBERTa


def test_a_family_of_other_kin_is_not_concerned_by_berts_mistakes(monkeypatch):
    """Those of all families are its own; of those of BERT not one, until it calls itself BERT's kin."""
    stranger = SimpleNamespace(__name__="gpt2")
    monkeypatch.setattr(catalogue.families, "family", lambda name: {"gpt2": stranger}[name])
    assert CATALOGUE["A04"].concerns("gpt2")
    assert not CATALOGUE["H10"].concerns("gpt2")
    found = {"gpt2": SimpleNamespace(KIN="bert"), "bert": stranger}
    monkeypatch.setattr(catalogue.families, "family", found.__getitem__)
    assert CATALOGUE["H10"].concerns("gpt2")
    assert not CATALOGUE["H20"].concerns("gpt2")


@pytest.mark.parametrize("family", ["bert", *SOME])
def test_entries_that_do_not_concern_a_family_have_no_mutants_in_it(family):
    """So that what a diagnosis does not build is nothing that could be found."""
    subject = subject_of(f"{family}/probe")
    at = sites(subject)
    for id, entry in EVERY.items():
        assert entry.mutants is None or entry.concerns(subject.family) or not entry.mutants(subject, at), id


# ---- Ids -------------------------------------------------------------------------------------------------------------
def pages():
    general = page.path("ops")
    return [general, *sorted((general.parent / "mistakes").glob("*.md"))]


def test_no_id_is_lost():
    """An id is what people declare and reports name: it never goes and never means another mistake. The pages that are
    there are the list of those that were given.
    """
    assert {page.path(home) for home in page.homes()} == {*pages()}
    assert [lost for path in pages() for lost in page.lost(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("home", ["ops", "albert"])
def test_an_id_that_goes_or_means_something_else_is_refused(home, monkeypatch, capsys):
    """Not written over, so that the test of the pages fails until it is put right."""
    monkeypatch.setattr(commands, "_written", lambda path, text: pytest.fail("written"))
    known = dict(CATALOGUE)
    gone, other, variant = [id for id, entry in known.items() if entry.home == home][:3]
    for module in (catalogue, page):
        monkeypatch.setattr(module, "CATALOGUE", known)
    del known[gone]
    known[other] = replace(known[other], title="another mistake")
    known[variant] = replace(known[variant], variant=not known[variant].variant)
    assert cli.main(["mistakes", "--write", home]) == 2
    line = capsys.readouterr().err
    assert f"{gone} ({CATALOGUE[gone].title})" in line
    assert f"{other} ({CATALOGUE[other].title})" in line
    assert variant not in line
    assert "an id never goes and never means another mistake" in line


def test_a_family_s_own_ids(monkeypatch, capsys):
    """NAME-01: entered, listed under the family's name and found by the command, in any case."""
    monkeypatch.setattr(catalogue, "CATALOGUE", dict(CATALOGUE))
    monkeypatch.setattr(page, "CATALOGUE", catalogue.CATALOGUE)
    what = ("scores divided by the layer's number too", "only where the config says so", "own knowledge", "output")
    file = {"__name__": "minibert.mistakes.families.gpt2", "entry": catalogue.entry, "what": what}
    exec('entry("gpt2-98", *what, families=("gpt2",), reason="an example")', file)
    assert page.begin("gpt2-98") == "gpt2"
    assert "gpt2" in page.sections()
    assert "\n| gpt2-98 | scores divided by" in page.markdown("gpt2")
    assert "gpt2-98" not in page.markdown("ops")
    assert page.path("gpt2") == page.path("ops").parent / "mistakes" / "gpt2.md"
    assert cli.main(["mistakes", "GPT2-98"]) == 0
    assert capsys.readouterr().out.startswith("gpt2-98  scores divided")
    for wrong in ("A4", "gpt2-8", "GPT2-98", "A04x"):
        with pytest.raises(ValueError, match="two digits"):
            catalogue.entry(wrong, *what)
    with pytest.raises(ValueError, match="entered twice"):
        catalogue.entry("gpt2-98", *what)


def test_files_of_families_are_families():
    """What is found by its name has one."""
    names = {module.name for module in pkgutil.iter_modules(own.__path__)}
    assert names <= set(SHIPPED)
    assert {*names, "ops"} == set(page.homes())


# ---- What reads a field first ----------------------------------------------------------------------------------------
def test_the_ops_that_read_a_field_are_those_with_other_data():
    """Of the batch and of the config, in a network and its heads; where nothing reads it, nothing is said."""
    subject = subject_of("electra/joint")
    at, batch = sites(subject), subject.batches[0]

    def of(**fields):
        return {at_site(path) for path in reading(replace(subject, batches=[{**batch, **fields}]), at)}

    def at_site(path):
        return next(f"{site.tower} {site.name}" for site in at if site.path == path)

    both = {"generator attention", "discriminator attention"}
    assert of(attention_mask=1 - batch["attention_mask"]) == {*both, "discriminator binary_cross_entropy"}
    types = 1 - batch["token_type_ids"]
    assert of(token_type_ids=types) == {"generator embedding", "discriminator embedding"}
    labels = (batch["masked_lm_ids"] + 1) % subject.config.vocab_size
    assert "generator cross_entropy" in of(masked_lm_ids=labels)
    eps = replace(subject, config=replace(subject.config, layer_norm_eps=0.1))
    assert {at_site(path).split()[1] for path in reading(eps, at)} == {"layer_norm"}
    assert reading(subject, at) == ()
    weights = replace(subject, config=replace(subject.config, generator_weight=3.0))
    assert reading(weights, at) == ()  # no op is given it
    broken = replace(subject, batches=[{**batch, "input_ids": batch["input_ids"] + 10**6}])
    assert reading(broken, at) == ()  # no such tokens


def test_sites_stand_where_activations_say():
    subject = subject_of("electra/joint")
    at = {site.path: site for site in sites(subject)}
    site = at["generator.encode.encoder.1.attention.add_norm.norm"]
    assert (site.tower, site.place, site.layer) == ("generator", "generator layer 1", 1)
    assert site.words == "generator layer 1 attention norm"
    assert site.local == "encode.encoder.1.attention.add_norm.norm"
    assert at["discriminator.replaced_token.loss"].place == "discriminator head"
    assert at["generator.encode.embeddings.tables.word"].words == "generator embeddings word"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_backward_that_is_declared_wrong_is_wrong():
    """Value right, some gradient not: else the entry would show nowhere."""
    subject = subject_of()
    right = observe(subject, ())
    for id, mutant in mutants(subject):
        made = _swaps(mutant, subject)
        if mutant.where or mutant.section != "gradients" or not made:
            continue
        got = observe(mutant.change(subject), ())
        assert all(np.array_equal(got[k], a) for k, a in right.items() if k.startswith(FORWARD)), (id, mutant.what)
        shown = any(not np.array_equal(got[k], a) for k, a in right.items())
        assert shown or id == "E10", (id, mutant.what)  # the padding id may lie beyond the other tables


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_mutants_keep_the_precision_and_write_to_nothing():
    subject = single(subject_of("bert/probe"))
    for array in tree.leaves(subject.params):
        array.flags.writeable = False
    for id, mutant in mutants(subject) if EVERY_MUTANT else each(mutants(subject), Random(0)):
        if mutant.section != STEPS:
            tensors = observe(mutant.change(subject), ())
            assert all(a.dtype == np.float32 for a in tensors.values()), (id, mutant.what)


def test_a_swap_in_one_layer_leaves_what_comes_before():
    subject = subject_of()
    right = observe(subject, ())
    for id in ("A04", "L04", "L08", "G09"):
        mutant = next(m for m in CATALOGUE[id].mutants(subject) if m.where == "layer 1")
        got = observe(mutant.change(subject), ())
        for key, array in right.items():
            if key.startswith("forward/") and ("embeddings" in key or ".layer.0." in key):
                assert np.array_equal(got[key], array), (id, key)
        assert not np.array_equal(got["forward/loss"], right["forward/loss"])


def test_threads_do_not_see_each_other_s_mistakes():
    subject = subject_of()
    chosen = [CATALOGUE[id].mutants(subject)[0] for id in ("A04", "L03", "G09", "H04")]
    alone = [observe(m.change(subject), ())["forward/loss"] for m in chosen]
    found: dict[int, list] = {i: [] for i in range(len(chosen))}

    def repeat(i):
        for _ in range(5):
            found[i].append(observe(chosen[i].change(subject), ())["forward/loss"])

    threads = [threading.Thread(target=repeat, args=(i,)) for i in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(value == alone[i] for i, values in found.items() for value in values)
    assert len(set(map(float, alone))) == len(chosen)


# ---- Naming ----------------------------------------------------------------------------------------------------------
# where all are asked, every so many parts, fewer of bert/probe, which has the mistakes of bert/published once more, and
# of GPT-2, which has many of them
NAMED = {"bert/published": 12, "bert/probe": 24, "gpt2/published": 24}
DRAWS = [("bert/published", "drawn"), ("gpt2/published", "drawn")]
ASKED = [(name, i) for name, step in NAMED.items() for i in range(0, PARTS, step)] if EVERY_MUTANT else DRAWS


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "part"), ASKED)
def test_mutants_are_named_from_their_float32_tensors(name, part):
    family, _, _ = name.partition("/")
    case, found = cases.read(name), {"named": 0, "tied": 0, "other": []}
    made = mutants(case.subject())
    some = once(made, Random(name))[part::PARTS] if EVERY_MUTANT else drawn(made, Random(f"{name} 4"), DRAWN)
    for id, mutant in some:
        result = diagnose(case, candidate_of(case, mutant), "float32")
        if result.kind == "right":  # float32 does not show it here
            continue
        if id in UNLISTED:
            assert {*result.ids} <= {*TWINS[family].get(mutant.what, [])}, (id, mutant.what, result.lines)
            if not result.ids and result.kind != "explained":
                found["other"].append((id, mutant.what, mutant.where, result.ids))
        elif result.ids == [id, *mutant.also]:
            found["named"] += 1
        elif id in result.ids:
            found["tied"] += 1
        else:
            found["other"].append((id, mutant.what, mutant.where, result.ids))
    assert found["named"] + found["tied"] >= (10 if EVERY_MUTANT else DRAWN["listed"] // 2)
    assert len(found["other"]) <= MISSED, found


def once(made, draw):
    """Of each mistake the mutant of all places, and one of a place that is drawn."""
    found = {}
    for id, mutant in made:
        found.setdefault((id, mutant.what, bool(mutant.where)), []).append(mutant)
    return [(id, draw.choice(held)) for (id, _, _), held in found.items()]


def drawn(made, draw, counts):
    """One mutant of each of some entries that are drawn, and of some that the catalogue does not list."""
    kinds = {"listed": [], "unlisted": []}
    for id, mutant in each(made, draw):
        kinds["unlisted" if id in UNLISTED else "listed"].append((id, mutant))
    return [chosen for kind, count in counts.items() for chosen in draw.sample(kinds[kind], count)]


NOT_NAMED_YET: set[str] = set()  # the first divergence is right, the name is wanting
# in the first case that shows them: nobody owes those rows
ON_PADDING_ALONE = {"longformer-07", "reformer-18", "xlm-03"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("family", SOME)
def test_a_family_s_own_mistakes_are_named(family):
    """The first mutant that shows of what it brought, and of one that all have, from float32 tensors of a case that
    shows it. `.ci/run` asks four and A04, the README's command one of each of three families, however many there are.
    """
    held, own = kills.read(family), [id for id in brought(family) if CATALOGUE[id].mutants]
    assert own
    some = Random(family).sample(own, min(len(own), 4 if EVERY_MUTANT else 1))
    for id in [*some, *({"A04"} & held.keys())] if EVERY_MUTANT else some:  # where there is attention
        name = "published" if "published" in held[id] else min(held[id])
        case, missed = cases.read(f"{family}/{name}"), held[id][name].missed
        made = CATALOGUE[id].mutants(case.subject(), sites(case.subject()))
        mutant, candidate = first_made(case, [m for number, m in enumerate(made) if number not in missed])
        if mutant is None:
            continue
        result = diagnose(case, candidate, "float32")
        if id in ON_PADDING_ALONE:
            assert result.lines == ["rounding explains every tensor"]
            continue
        assert (id in result.ids) == (id not in NOT_NAMED_YET), (id, mutant.what, result.lines)


def first_made(case, made):
    """The first mutant that these sizes allow, and its tensors."""
    for mutant in made:
        try:
            return mutant, candidate_of(case, mutant)
        except (ValueError, IndexError):
            continue
    return None, None


def test_ways_of_going_on_are_named():
    """GPT-2's, one unless all are asked, from what it writes in float32; what is none has no name. The
    narrowings tie: one token more or fewer by any of them.
    """
    case = cases.read("gpt2/generation")
    entries = case.entries
    ways = [(id, what, way) for id, entry in CATALOGUE.items() for what, way in going.made(entry, case)]
    assert len(ways) >= 35
    last = [*{id: (id, *rest) for id, *rest in ways}.values()]
    for id, what, way in ways if EVERY_MUTANT else Random(8).sample(last, 1):
        found = way(case, np.float32)
        given = {key: array for key, array in found.items() if array.shape == entries[key].shape}
        named = diagnose(case, given, "float32")
        if named.kind == "right":  # the sampled run shows no other nucleus
            assert (id, what) == ("W06", "after top_p")
        else:
            assert named.ids == [id] or (id in named.ids and {*named.ids} <= {"W07", "W08", "W11"}), (id, what)
    right = kind.evaluate(case)(np.dtype(np.float32), ())
    assert diagnose(case, right, "float32").kind == "right"


@EXHAUSTIVE
def test_no_way_of_going_on_explains_other_logits():
    case = cases.read("gpt2/generation")
    right = kind.evaluate(case)(np.dtype(np.float32), ())
    unknown = diagnose(case, {**right, "forward/logits": right["forward/logits"] * np.float32(1.01)}, "float32")
    assert (unknown.kind, unknown.first_divergence) == ("unknown", "forward/logits")


def test_a_right_candidate_is_right():
    case = cases.read("bert/published")
    candidate = {k: a for k, a in observe(single(case.subject()), (1, 2, 10)).items() if k in case.entries}
    assert diagnose(case, candidate, "float32").kind == "right"


@EXHAUSTIVE
def test_what_nobody_knows_gets_no_name():
    """A factor of 1.01 on one product: only the first divergence is told."""
    case = cases.read("bert/published")
    subject = case.subject()
    flat = tree.flatten(subject.params)
    flat["encoder.1.feed_forward.out.weight"] = flat["encoder.1.feed_forward.out.weight"] * 1.01
    got = observe(single(replace(subject, params=tree.unflatten(flat))), (1, 2, 10))
    result = diagnose(case, {k: a for k, a in got.items() if k in case.entries}, "float32")
    assert (result.kind, result.mistakes) == ("unknown", [])
    assert result.first_divergence == "forward/bert.encoder.layer.1.output.dense"
    assert "no known mistake explains this" in result.lines[0]


def test_what_rounds_may_round_other_steps_on_the_way_back():
    """An activation in float16 whose gradient is computed in full."""
    case, r = cases.read("bert/published"), precision.rounding("float16")
    f, backward = halves(layers.activation)
    whole = Replacement(lambda x, **given: (lambda y, c: (r(y), c))(*f(r(x), **given)), backward, faithful=False)
    mutant = swap("", "activation", whole)(case.subject(), sites(case.subject()))[0]
    got = {key: a for key, a in candidate_of(case, mutant).items() if not key.startswith("steps/")}
    result = diagnose(case, got, "float32")
    assert (result.ids, result.unexplained) == (["D33"], None), result.lines


def test_an_optimizer_that_makes_more_of_rounding_is_named():
    """Without a root, what is divided by small second moments is mostly rounding."""
    case = cases.read("bert/published")
    result = diagnose(case, candidate_of(case, made_as("O43", "of |g|, not g², and no root taken")), "float32")
    assert result.ids == ["O43"], result.lines


def test_the_variant_is_called_acceptable():
    case = cases.read("bert/published")
    mutant = next(m for m in CATALOGUE["G01"].mutants(case.subject()) if not m.where)
    result = diagnose(case, candidate_of(case, mutant), "float32")
    assert result.kind == "variant"
    assert "G01" in result.ids
    assert result.lines[0].startswith("acceptable variant")


def test_two_mistakes_at_once():
    case = cases.read("bert/published")
    first, second = (CATALOGUE[id].mutants(case.subject())[0] for id in ("E01", "A04"))
    both = replace(second, change=lambda s: second.change(first.change(s)))
    result = diagnose(case, candidate_of(case, both), "float32")
    assert (result.kind, result.ids) == ("several", ["E01", "A04"])


def made_as(id, what, where=""):
    """The mutant of bert/published in these words, at this place."""
    made = CATALOGUE[id].mutants(cases.read("bert/published").subject())
    each = (m for mutant in made for m in (mutant, *mutant.inside))
    return next(m for m in each if (m.what, m.where) == (what, where))


def test_a_mistake_within_a_block_that_is_wrong_itself():
    """The attention's residual behind the norm, its scores scaled otherwise: the block is given what stands in it."""
    case = cases.read("bert/published")
    block = made_as("L21", "the attention's residual is added after the norm")
    both = replace(block, change=lambda s: block.change(CATALOGUE["A04"].mutants(s)[0].change(s)))
    candidate = {key: a for key, a in candidate_of(case, both).items() if key.startswith("forward/")}
    assert {*diagnose(case, candidate, "float32").ids} == {"L21", "A04"}


@pytest.mark.parametrize(
    ("id", "what"),
    [("L21", "the residual is added after the norm"), ("E32", "of the first text alone, of the positions"),
     ("L28", "the whole layer twice"), ("L23", "the feed-forward comes first")],
)  # fmt: skip
def test_a_replaced_block_gives_its_own_tensors_where_it_is_given_them(id, what):
    """Also one that calls its parts in another order, or wants two gradients of one."""
    subject = cases.read("bert/published").subject()
    changed, at = made_as(id, what).change(subject), blocks.calls(subject)
    own = observe(changed, ())
    swaps = {key: pair for around in changed.around for key, pair in around.at.items()}
    like = blocks.Forced(subject, own, at, kept=True)
    for other in (None, like):
        forced = blocks.Forced(replace(changed, around=()), own, at, swaps, like=other).computed
        for key, array in own.items():
            np.testing.assert_allclose(forced[key].reshape(-1), array.reshape(-1), rtol=0, atol=1e-12, err_msg=key)


def test_a_mistake_at_one_place_is_sought_where_the_same_everywhere_shows_something():
    case = cases.read("bert/published")
    mutant = made_as("L24", "no γ", "layer 1 attention norm")
    candidate = {key: a for key, a in candidate_of(case, mutant).items() if key.startswith("forward/")}
    result = diagnose(case, candidate, "float32")
    assert ("L24", "layer 1 attention norm") in [(one.id, one.mutant.where) for one in result.names]


def test_a_mistake_behind_the_place_where_its_tensor_was_written():
    """The queries are written before their bias is taken away again."""
    case, query = cases.read("bert/published"), "forward/bert.encoder.layer.0.attention.self.query"
    candidate = candidate_of(case, made_as("C15", "no bias", "layer 0 attention query"))
    candidate = {key: a for key, a in candidate.items() if key.startswith("forward/")}
    candidate[query] = case.tensor(query).astype(np.float32)
    assert "C15" in diagnose(case, candidate, "float32").ids


@pytest.mark.parametrize("explained", [True, False])
def test_what_has_grown_is_explained_as_a_whole_or_not_at_all(explained):
    """Nothing is given meanwhile; where nothing explains it, all is again."""
    given = {"forward/a": np.ones(1)}
    search = SimpleNamespace(given=given, forward=None, parts=[])

    def explain(evidence, acting):
        assert search.given == {}
        found, search.parts = explained and not search.parts, ["one"] if explained else []
        return found

    search._explain = explain
    searching._Search._explain_grown(search, [])
    assert search.given == ({} if explained else given)


@EXHAUSTIVE
def test_pairs_that_were_not_made_for_each_other_are_passed_over():
    """Two wrong tensors that nothing explains: among the pairs tried are a borrowed norm and what calls no lender."""
    case = cases.read("bert/published")
    keys = ("forward/bert.embeddings", "forward/bert.encoder.layer.1.output")
    candidate = {key: case.tensor(key).astype(np.float32) * np.float32(1.01) for key in keys}
    result = diagnose(case, candidate, "float32")
    assert (result.kind, result.first_divergence) == ("unknown", keys[0])


@EXHAUSTIVE
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_each_wrong_block_is_diagnosed_by_itself():
    """Three mistakes and a variant, in blocks of their own: all are named; a fourth, unknown, takes no name away."""
    case = cases.read("bert/probe")
    chosen = [("E01", ""), ("A04", "layer 0"), ("L04", "layer 1 feed forward norm"), ("E10", "")]
    every = {id: CATALOGUE[id].mutants(case.subject()) for id, _ in chosen}
    made = [next(m for m in every[id] if m.where == where) for id, where in chosen]
    several = replace(made[0], change=lambda s: functools.reduce(lambda s, m: m.change(s), made, s))
    result = diagnose(case, candidate_of(case, several), "float32")
    assert (result.kind, result.unexplained) == ("several", None)
    assert {found.id for found in result.together} == {id for id, _ in chosen}

    def scaled(s):
        flat = tree.flatten(s.params)
        flat["encoder.1.attention.output.weight"] = flat["encoder.1.attention.output.weight"] * 1.01
        return replace(s, params=tree.unflatten(flat))

    more = replace(several, change=lambda s: scaled(several.change(s)))
    result = diagnose(case, candidate_of(case, more), "float32")
    assert (result.kind, {*result.ids} >= {"E01", "A04", "L04"}) == ("several", True)
    assert result.unexplained == "forward/bert.encoder.layer.1.attention.output.dense"


@EXHAUSTIVE
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_alone_are_enough():
    """A candidate that hands out its last hidden states, the loss and some gradients; .ci/run asks further mistakes."""
    case = cases.read("bert/published")
    some = re.compile(r"forward/(bert\.encoder\.layer\.1\.output|bert\.pooler|loss.*)|gradients/.*LayerNorm\.weight")
    for id in ("A04", "G09", "E01", *(("L04", "A12") if EVERY_MUTANT else ())):
        whole = candidate_of(case, CATALOGUE[id].mutants(case.subject())[0])
        part = {key: array for key, array in whole.items() if some.fullmatch(key)}
        assert id in diagnose(case, part, "float32").ids


# made in another way than the entry's others, which give other tensors: what a port handed out beside it is right
WAYS = [
    ("roberta/published", "E02", "the type table is 0"), ("bert/published", "A32", "what the projections"),
    ("gpt2/published", "L10", "nobody reads"), ("gpt2/published", "S18", "positions that do not count"),
    ("gpt2/published", "A43", "float16 for the scores"), ("gpt2/published", "E25", "before the position table"),
    ("bert/dropout", "E16", "before the norm"), ("roberta/published", "E03", "padding's too"),
    ("bert/published", "A19", "loaded for query"), ("roberta/published", "A44", "value change places when"),
    ("bert/published", "C10", "matrices and γ rounded to float16"),
    ("bert/published", "C16", "of layer 0 attention output"),
    ("bert/published", "C20", "weight and bias of the mlm dense"), ("bert/published", "E19", "the first two rows"),
    ("bert/published", "D33", "queries times keys in float16"), ("bert/published", "D33", "the activation in float16"),
    ("bert/published", "D33", "residuals added in bfloat16"),
    ("bert/published", "E26", "the position table loaded"), ("bert/published", "G17", "behind the second instead"),
    ("bert/published", "L07", "β of the attention's norm"), ("bert/published", "A42", "the mask of the row before"),
    ("bert/published", "C17", "of norms alone"), ("bert/published", "C19", "γ - 1"),
    ("bert/published", "L27", "the root mean square"), ("bert/published", "L27", "the largest distance"),
    ("albert/groups", "C14", "first inner layer for all"),
    ("bert/published", "O53", "an activation sends back times 0.5"), ("bert/published", "O53", "that of γ times 0.5"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "id", "words"), WAYS[:: 1 if EVERY_MUTANT else 6])
def test_a_mistake_made_in_another_way_has_its_name(name, id, words):
    case = cases.read(name)
    mutant = next(m for m in CATALOGUE[id].mutants(case.subject(), sites(case.subject())) if words in m.what)
    rows = families.family(case.facts["family"]).activations(case.config())
    paths = {f"forward/{n}": f"forward/{path}" for n, path, *_ in rows}
    beside = {key for key, path in paths.items() if mutant.silent and re.fullmatch(mutant.silent, path)}
    given = {key: case.tensor(key) if key in beside else array for key, array in candidate_of(case, mutant).items()}
    result = diagnose(case, given, "float32")
    assert id in result.ids, result.lines
    assert result.kind in ("mistake", "tie"), result.lines


def one(subject, id, what, where):
    every = (m for whole in CATALOGUE[id].mutants(subject, sites(subject)) for m in (whole, *whole.inside))
    return next(m for m in every if (m.what, m.where) == (what, where))


@EXHAUSTIVE
def test_what_has_no_gradient_tells_a_tie_apart():
    """A norm without its bias, and one whose bias was not found: where no gradient of it is handed out, the first."""
    case = cases.read("bert/published")
    got = candidate_of(case, one(case.subject(), "L24", "no β", "layer 0 feed forward norm"))
    bias = "gradients/bert.encoder.layer.0.output.LayerNorm.bias"
    outputs, parameters = ("forward/cls.predictions", "forward/loss"), (".weight", ".bias")
    given = {key: a for key, a in got.items() if key.endswith(parameters) or key in outputs}
    given = {key: a for key, a in given.items() if key != bias and not key.startswith("steps/")}
    assert diagnose(case, given, "float32").ids == ["L24"]


@EXHAUSTIVE
def test_a_mistake_in_one_place_is_no_other_s_that_is_tried_everywhere_first():
    """No norm of an attention is a feed-forward that reads the sum before it, in what comes out."""
    case = cases.read("bert/published")
    last = "forward/bert.encoder.layer.1.output"
    got = candidate_of(case, one(case.subject(), "L17", "no norm of the attention", "layer 1"))
    assert [str(found) for found in diagnose(case, {last: got[last]}, "float32").names] == [
        "L17 in layer 1: no norm of the attention"]  # fmt: skip


def test_no_mistake_is_made_of_a_dropout_that_is_not_there():
    case = cases.read("electra/published")
    assert CATALOGUE["E16"].mutants(case.subject(), sites(case.subject())) == []


def test_the_mistake_is_found_in_a_few_runs(monkeypatch):
    """Of hundreds of mutants those that can act at the divergence are run, each once."""
    case, runs, forced = cases.read("bert/published"), [], blocks.Forced
    candidate = candidate_of(case, CATALOGUE["A30"].mutants(case.subject())[0])
    monkeypatch.setattr(blocks, "Forced", lambda *args, **how: (runs.append(args), forced(*args, **how))[1])
    assert diagnose(case, candidate, "float32").ids == ["A30"]
    assert len(runs) < len(mutants(case.subject())) / 3


def test_gradients_alone_say_where_the_forward_pass_is_right(monkeypatch):
    """A softmax's backward is wrong: gradients behind it are right, so no forward mutant is run."""
    case, runs, forced = cases.read("bert/published"), [], blocks.Forced
    candidate = candidate_of(case, CATALOGUE["A37"].mutants(case.subject())[0])
    candidate = {key: a for key, a in candidate.items() if key.startswith("gradients/")}
    candidate = {key: a for key, a in candidate.items() if key.endswith(("weight", "bias"))}
    monkeypatch.setattr(blocks, "Forced", lambda *args, **how: (runs.append(args), forced(*args, **how))[1])
    assert diagnose(case, candidate, "float32").ids == ["A37"]
    assert len(runs) < len(mutants(case.subject())) / 3


@EXHAUSTIVE
def test_what_shows_at_a_late_step_is_sought_among_what_leaves_the_early_ones(monkeypatch):
    """Ten steps are run with few of those that act on steps or data: the others show at the second already."""
    case, runs, stepped = cases.read("gpt2/published"), [], trials.stepped
    mutant = CATALOGUE["O03"].mutants(case.subject())[0].free.of(1e-7)
    candidate = candidate_of(case, mutant)
    monkeypatch.setattr(trials, "stepped", lambda *args: (runs.append(args[1]), stepped(*args))[1])
    assert [one.id for one in diagnose(case, candidate, "float32").names] == ["O03"]
    late = sum(10 in steps for steps in runs)
    assert 0 < late < len(runs) / 3


@EXHAUSTIVE
def test_no_clock_decides_what_is_found(monkeypatch):
    """Between two looks at this one an hour passes; whoever sets a limit is told how much was left."""
    hours = itertools.count(0, 3600)
    monkeypatch.setattr(trials, "time", SimpleNamespace(perf_counter=lambda: next(hours)))
    case = cases.read("bert/published")
    for id in ("A30", "O04"):  # of the forward pass and of the steps
        candidate = candidate_of(case, CATALOGUE[id].mutants(case.subject())[0])
        assert diagnose(case, candidate, "float32").ids == [id]
        hurried = diagnose(case, candidate, "float32", 60)
        assert hurried.kind == "unfinished"
        assert re.search(r"^\d\d+ mutants not tried, for want of time$", hurried.lines[-1])
