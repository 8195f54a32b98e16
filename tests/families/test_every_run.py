"""From text to a model, for every family: batches, runs. A family's own test may declare

    RUNS         (options, fields) of runs that are stopped and continued, over the tiny ones below
    CORPUS       (folder) -> the files that they learn from, written there; without it none, where it reads no text
"""

import json
from dataclasses import fields

import numpy as np
import pytest
from draws import some
from published import FAMILIES, declared, identifier

import minibert
from minibert import batches, data, families, objective, options, tokenizers, training
from minibert.corpus import Part
from minibert.heads import masked_lm
from minibert.pretraining import pretrain

OWN, CORPUS = dict(declared("RUNS")), dict(declared("CORPUS"))


def placed(corpus, name, given):
    """Options in which those that name files name those of the corpus."""
    known = options.files(families.family(name).Data)
    return {key: str(corpus / value) if key in known else value for key, value in given.items()}


HANDED_IN = {"segmenter": "words.txt", "entities": "entities.txt", "similar": "similar.json"}
KINDS = [
    (name, {field.name: kind})
    for name in FAMILIES
    for field in fields(families.family(name).Data)
    for kind in (field.metadata.get("among", ()) if field.name in ("format", "units") else ())
]
def sourced(name):
    """Whether a family makes one text of another: its own test has its rows."""
    module = families.family(name)
    return "decoder_input_ids" in module.inputs(module.Config())


def ordered(name):
    """Whether a family hides tokens by an order, and masks none: its own test has its rows."""
    module = families.family(name)
    return "perm_mask" in module.inputs(module.Config())


def fielded(name):
    """Whether a family's rows are of articles with fields: its own test has them."""
    return hasattr(families.family(name), "ADDED")


def pointed(name):
    """Whether a family asks for the words of windows, or counts them, and hides none: its own test has its rows."""
    module = families.family(name)
    return not {"targets", "contexts"}.isdisjoint(objective.labels(module, module.Config()))


def textless(name):
    """Whether a family reads no text: its own test has its rows."""
    return families.family(name).TOKENIZER is None


def sentenced(name):
    """Whether a family's rows are of whole sentences, beside each other: its own test has them."""
    return hasattr(families.family(name), "POOLING")


def unordered(name):
    """Whether a family's rows are sets: its own test has them."""
    module = families.family(name)
    return "input_vectors" in module.inputs(module.Config())


def own_rows(name):
    return any(own(name) for own in (sourced, ordered, pointed, textless, sentenced, unordered))


def corrupts(name):
    """Whether rows are corrupted where nothing else is asked for."""
    module = families.family(name)
    return hasattr(module, "corrupt") and getattr(module.Data(), "masking", "") != "no"


MASKED = [name for name in FAMILIES if corrupts(name) and not own_rows(name)]
TINY = {"hidden_size": 8, "embedding_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 12, "hidden_dropout_prob": 0.1}  # fmt: skip


def made_of(name, own, corpus):
    """(recipe, texts, unmasked rows, how often each token stands in the texts, a batch of them) by a family's data."""
    module = families.family(name)
    lines = (corpus / "text.txt").read_text(encoding="utf-8").split("\n\n")
    texts = [document.split("\n") for document in lines]
    special = {"specials": module.SPECIALS} if hasattr(module, "SPECIALS") else {}
    special |= {"extra_ids": 100} if hasattr(module.Data, "extra_ids") else {}
    special |= {"added": module.ADDED} if hasattr(module, "ADDED") else {}
    tokenizer = tokenizers.tokenizer(module.TOKENIZER).train(lines, 300, **special)
    handed = {key: value for key, value in HANDED_IN.items() if key in options.files(module.Data)}
    few = {"seq_length": 24, "duplicates": 1, "masking": "dynamic"}
    few = {key: value for key, value in few.items() if key in module.Data.__dataclass_fields__}
    given = module.Data(**placed(corpus, name, {**few, **handed, **own}))
    recipe = data.Recipe(name, tokenizer, given, 0, data.studied(module, tokenizer, given, part_of(texts)))
    rows, counts = recipe.instances(texts, "train")
    for array in rows.values():
        array.flags.writeable = False
    return recipe, texts, rows, counts, recipe.corrupted(rows, np.random.default_rng(1))


def tiny(name, recipe):
    """A model for these rows."""
    module = recipe.module
    own = {families.field(module, field): value for field, value in {**TINY, "max_position_embeddings": 32}.items()}
    sizes = {field: value for field, value in own.items() if field in module.Config.__dataclass_fields__}
    return minibert.create(name, **module.fields(recipe.options, {**sizes, "vocab_size": len(recipe.tokenizer)}))


def part_of(texts):
    """All of it as a training part."""
    sizes = np.array([sum(map(len, document)) for document in texts])
    return Part(texts, sizes, np.ones(len(texts), bool), None, sizes)


@pytest.mark.parametrize(("name", "own"), some([*((name, {}) for name in MASKED), *KINDS], 10), ids=identifier)
def test_batches_have_the_fields_of_the_loss_and_can_be_restored(name, own, corpus):
    """By whatever format and units a family knows: each target is the token that stood there; the loss takes them."""
    recipe, texts, rows, counts, made = made_of(name, own, corpus)
    tokenizer, module = recipe.tokenizer, recipe.module
    assert counts.sum() == sum(len(tokenizer.ids(line)) for document in texts for line in document)
    restored, at = made["input_ids"].copy(), (np.array([], int),) * 2
    for asked in [name.removesuffix("_weights") for name in made
                  if name.endswith("_weights") and made[name].ndim == 2 and not name.startswith("coarse_")]:
        row, slot = np.nonzero(made[f"{asked}_weights"])
        there = row, made[f"{asked}_positions"][row, slot]
        assert np.array_equal(rows["input_ids"][there], made[f"{asked}_ids"][row, slot])
        restored[there] = made[f"{asked}_ids"][row, slot]
        at = at if asked != "masked_lm" else there
    assert np.array_equal(restored, rows["input_ids"])
    masked = (made["masked_lm_weights"] > 0).reshape(len(made["input_ids"]), -1).any(1)  # of several tasks one masks
    assert (made["input_ids"] != rows["input_ids"]).any(axis=1)[masked].mean() > 0.5
    assert made["input_mask"][at].reshape(len(at[0]), -1).any(1).all()
    streamed = getattr(recipe.options, "objective", "") == "mlm"  # XLM's rows begin within a text
    assert streamed or (rows["input_ids"][:, 0] == tokenizer.cls_id).all()
    if getattr(recipe.options, "units", "pieces") not in ("pieces", "repeated"):  # pieces of one word fall together
        ids, chosen = rows["input_ids"], np.zeros(rows["input_ids"].shape, bool)
        chosen[at] = True
        inside = recipe.vocabulary.continues[ids][:, 1:] & ~np.isin(ids[:, :-1], sorted(tokenizer.special_ids))
        assert (chosen[:, 1:] == chosen[:, :-1])[inside].all()
    model = tiny(name, recipe)
    if hasattr(module, "sample"):
        made = {**made, **module.sample(np.random.default_rng(2), model.params, model.config, made)}
    read = {"input_ids", "input_mask", "segment_ids"} & batches.specs(module, model.config).keys()
    asked = {*read, *objective.labels(module, model.config)}
    asked = {"langs", "position_ids", "input_ids", "input_mask", *masked_lm.LABELS} if streamed else asked
    optional = not hasattr(module, "loss") and all(term.optional for term in module.terms(model.config).values())
    if optional and not streamed:  # whatever is read, and the labels of the terms that the rows ask for
        known = objective.asked(module, model.config, made).values()
        inputs = {"input_mask", "segment_ids", *module.inputs(model.config)} & made.keys()
        asked = inputs.union(*(objective.asking(term) for term in known))
    assert asked <= made.keys() <= asked | {*module.inputs(model.config)}
    assert np.isfinite(model.loss(made)[0])


@pytest.mark.parametrize("name", [name for name in FAMILIES
                                  if name not in MASKED and not (own_rows(name) or fielded(name))])
def test_rows_of_running_text_read_as_the_text_does(name, corpus):
    """Documents, their sentences joined by blanks, each with the end token behind it where the vocabulary has one; the
    loss takes them.
    """
    recipe, texts, rows, counts, made = made_of(name, {}, corpus)
    assert made is rows
    assert recipe.masking == "no"
    known = [" ".join(document) for document in texts]
    end = [] if recipe.vocabulary.end is None else [recipe.vocabulary.end]
    whole = [[*recipe.tokenizer.ids(text), *end] for text in known]
    ids, read = rows["input_ids"].ravel().tolist(), 0
    while ids:  # the last is cut
        own = max((one for one in whole if ids[: len(one)] == one[: len(ids)]), key=len)
        ids, read = ids[len(own) :], read + 1
    assert read > len(known) - 2
    model = tiny(name, recipe)
    assert made.keys() - {"input_ids"} == {*objective.labels(model.module, model.config)}
    assert np.isfinite(model.loss(made)[0])
    assert counts.sum() == sum(len(recipe.tokenizer.ids(text)) for text in known)


@pytest.mark.parametrize("name", sorted({name for name, own in KINDS if "units" in own}))
def test_units_make_other_batches(name, corpus):
    """The first is the default."""
    kinds = [own for other, own in KINDS if other == name and "units" in own]
    assert families.family(name).Data.units == kinds[0]["units"]
    made = [made_of(name, own, corpus)[-1]["masked_lm_positions"] for own in kinds]
    assert all((a != b).any() for i, a in enumerate(made) for b in made[:i])


FEW = {"steps": 8, "batch_size": 4, "seq_length": 24, "vocab_size": 300, "duplicates": 1, "held_out": 0.2,
       "checkpoint_every": 2, "threads": 1}  # fmt: skip
TEXT = ("seq_length", "vocab_size")  # options of runs on text
RUNS = [(name, chosen, own) for name in FAMILIES for chosen, own in OWN.get(name, [({}, {})])]


def record_of(module, record):
    """Of a run's options, those of its data functions."""
    return {key: value for key, value in record.items() if key in module.Data.__dataclass_fields__}


@pytest.mark.parametrize(("name", "chosen", "own"), some(RUNS, 8), ids=identifier)
def test_a_run_stopped_and_continued_ends_with_the_same_bits(name, chosen, own, corpus, tmp_path, monkeypatch):
    """As by a kill after a checkpoint half way; what it leaves behind loads."""
    module = families.family(name)
    known, named = module.Config.__dataclass_fields__, {families.field(module, field): TINY[field] for field in TINY}
    fields = {**{field: value for field, value in named.items() if field in known}, **own}
    few = {key: value for key, value in FEW.items() if key not in TEXT or key in module.Data.__dataclass_fields__}
    given, files = {"fields": fields, **few, **placed(corpus, name, chosen)}, [corpus / "text.txt"]
    files = CORPUS.get(name, lambda folder: [])(tmp_path) if textless(name) else files
    whole = pretrain(name, files, tmp_path / "whole", **given)
    save = training.save_checkpoint

    def stopped(run, model, state, seconds):
        save(run, model, state, seconds)
        if state["step"] == 4:
            raise RuntimeError("stopped")

    monkeypatch.setattr(training, "save_checkpoint", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        pretrain(name, files, tmp_path / "parts", **given)
    monkeypatch.undo()
    parts = pretrain(name, out=tmp_path / "parts", resume=True, threads=1)
    weights = [path.relative_to(whole) for path in (whole, *whole.iterdir()) for path in path.glob("model.safetensors")]
    assert weights
    for file in (*weights, "report.json"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes(), file
    first, second = (training.read_log(run / "log.jsonl") for run in (whole, parts))
    assert [entry["loss"] for entry in first] == [entry["loss"] for entry in second]
    assert len(first) == 8
    record = json.loads((whole / "run.json").read_text(encoding="utf-8"))["options"]
    due = {**families.family(name).DEFAULTS, **given}
    assert all(record[key] == due[key] for key in due.keys() & record.keys())
    model, report = minibert.load(whole), json.loads((whole / "report.json").read_text(encoding="utf-8"))
    assert model.family == name
    asked = model.module.fields(model.module.Data(**record_of(model.module, record)), fields)
    assert {field: getattr(model.config, field) for field in asked} == asked
    assert model.tokenizer is None or model.config.pad_token_id == model.tokenizer.pad_id
    assert report["terms"].keys() == _asked(model, report)
    assert np.isfinite([*report["terms"].values()]).all()


def _asked(model, report):
    """The terms that the data of a run by default ask for."""
    terms = {} if hasattr(model.module, "loss") else model.module.terms(model.config)
    spare = {name for name, term in terms.items() if term.optional and name not in report["terms"]}
    assert report["terms"]
    return {*model.module.terms(model.config)} - spare
