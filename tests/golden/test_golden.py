"""Golden cases: written and read back, replayed, certified, with floors that a reordered run stays under."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from draws import some

import minibert
from minibert import cli, families, gradcheck, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.families import bert
from minibert.golden import case as cases
from minibert.golden import certify, kinds, make, noise, shares
from minibert.golden.cases import of, recipes
from minibert.golden.draws import Draws
from minibert.golden.kinds import family as whole_family
from minibert.golden.kinds import op, pipeline, tokenizer
from minibert.golden.subject import observe
from minibert.pairs import PAIRS, observing

RECIPES = recipes()
SHIPPED = [*RECIPES]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A whole family's case, made quickly: few noise runs."""
    path = tmp_path_factory.mktemp("case") / "small"
    return make.make("small", replace(RECIPES["bert/dropout"], steps=(1, 2)), path, runs=2)


@pytest.fixture
def copy(small, tmp_path):
    """A copy to damage."""
    shutil.copytree(small.path, tmp_path / "copy")
    return tmp_path / "copy"


def rewritten(folder, change):
    """case.json with `change` applied to its fields."""
    fields = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    change(fields)
    (folder / "case.json").write_text(json.dumps(fields), encoding="utf-8", newline="\n")


# ---- The shipped cases -----------------------------------------------------------------------------------------------
def test_every_recipe_is_shipped_and_nothing_else():
    assert sorted(path.relative_to(cases.folder()).as_posix() for path in cases.shipped()) == sorted(SHIPPED)


@pytest.mark.parametrize("name", some([*SHIPPED], 120))
def test_a_shipped_case_is_valid_small_and_computed_again_alike(name):
    case = cases.read(name)
    assert case.name == name
    assert make.verify(case) == []
    assert case.text() is not None or case.entries
    for key, entry in case.entries.items():
        floors = entry.noise
        assert set(floors) == (set() if key.startswith(("weights/", "inputs/")) else set(noise.PRECISIONS)), key
        assert floors.get("float32", 0) is not None, key
        array = case.tensor(key)
        assert np.isfinite(array).all(), key


# bytes of a folder of cases; a tenth and more are lists of what each case catches, which grow with the catalogue
MOST = 1_000_000

@pytest.mark.parametrize("folder", sorted({name.partition("/")[0] for name in SHIPPED} - {*families.names()}))
def test_cases_that_are_no_family_s_stay_small(folder):
    """Those of families: `tests/core/test_size.py`."""
    size = sum(file.stat().st_size for file in (cases.folder() / folder).rglob("*") if file.is_file())
    assert size <= MOST, f"{folder} has {size:,} bytes of {MOST:,}"


@pytest.mark.parametrize("name", some([*RECIPES], 50))
def test_a_recipe_makes_what_is_shipped(name):
    """What it is given bit for bit, and every tensor by its name and role, in order."""
    recipe = RECIPES[name]
    case, made = cases.read(name), kinds.kind(recipe.kind).made(recipe)
    if made.evaluate is None:
        return
    held = made.held(made.evaluate(np.dtype(np.float64), ()))
    if name.startswith("ops/attention"):
        del held["gradients/bias"]  # which attention got later, and no case's tensors ever change
    assert [*made.given, *held] == [*case.entries]
    for key, array in made.given.items():
        assert array.dtype == case.tensor(key).dtype, key
        assert array.tobytes() == case.tensor(key).tobytes(), key
    facts = {"title": recipe.title, "kind": recipe.kind, "seed": recipe.seed, "dtype": recipe.dtype, **made.facts}
    facts = json.loads(json.dumps(facts))
    assert {field: case.facts[field] for field in facts} == facts


def test_all_makes_what_changed_alone(tmp_path, monkeypatch, capsys):
    """What is missing, damaged, or of another recipe; the others stay."""
    names = ["ops/gelu", "ops/tanh", "ops/linear", "tokenizer/cased", "masking/span"]
    chosen = {name: RECIPES[name] for name in names} | {"ops/linear": replace(RECIPES["ops/linear"], seed=1)}
    monkeypatch.setattr(make.cases, "recipes", lambda: chosen)
    for name in names[:-1]:
        shutil.copytree(cases.folder() / name, tmp_path / name)
    data = bytearray((tmp_path / "ops" / "tanh" / "forward.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "ops" / "tanh" / "forward.safetensors").write_bytes(data)
    made = []
    monkeypatch.setattr(make, "shipped", lambda name, path: (made.append(name), cases.read(cases.folder() / name))[1])
    assert cli.main(["golden", "make", "all", "-o", str(tmp_path)]) == 0
    assert made == ["ops/tanh", "ops/linear", "masking/span"]
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(made)
    assert last == "2 cases left as they were"


def test_a_kind_s_file_is_found_by_its_name():
    assert kinds.names() == sorted(cases.schema()["properties"]["kind"]["enum"])
    for name in kinds.names():
        assert hasattr(kinds.kind(name), "evaluate") != hasattr(kinds.kind(name), "verify"), name
    with pytest.raises(InputError, match=r"no kind of case 'blok'.*did you mean 'block'"):
        kinds.kind("blok")


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("ops/")])
def test_an_op_is_certified_to_few_units(name):
    """Each output against 50 digits, gradients too; rows of deviation 2e-4 lose 1/2e-4 units."""
    case = cases.read(name)
    certified = case.facts["certified"]
    assert "forward/output" in certified
    assert max(certified.values()) < (5000 if name.endswith("-eps") else 3)
    if name not in ("ops/attention-masked", "ops/embedding-padding"):
        assert certified.keys() == {key for key in case.entries if key.startswith(("forward/", "gradients/"))}


def test_every_op_has_a_case():
    assert {cases.read(name).facts["pair"] for name in SHIPPED if name.startswith("ops/")} == set(PAIRS)


WHOLE = sorted({r.family for r in RECIPES.values() if r.kind == "family" and "+" not in r.family})  # without tasks


@pytest.mark.parametrize("family", WHOLE)
def test_the_shipped_cases_move_every_config_field_from_its_default(family):
    """Some case has each field away from what the family defaults to."""
    held = [cases.read(name).facts["config"] for name in SHIPPED if name.startswith(f"{family}/")]
    for name, value in minibert.config.to_fields(families.family(family).Config()).items():
        assert any(config[name] != value for config in held), name


def test_a_probe_batch_holds_every_kind_of_trouble():
    batch = cases.read("bert/published").batches()[0]
    ids, mask = batch["input_ids"], batch["input_mask"]
    assert (mask.min(), mask.max(), batch["segment_ids"].max()) == (0, 1, 1)
    assert (np.diff(mask, axis=1) <= 0).all()
    assert (ids[mask == 1] == 0).any()
    assert (ids[mask == 0] == 0).all()
    assert any(len(np.unique(row)) < len(row) for row in ids[:, :5])
    assert (batch["masked_lm_weights"] == 0).sum() == 1
    assert all(len(np.unique(row)) == len(row) for row in batch["masked_lm_positions"])
    assert not cases.read("bert/masked-row").batches()[0]["input_mask"][-1].any()


def test_positions_of_rows_padded_on_the_left_begin_with_the_tokens():
    case = cases.read("roberta/padding")
    batch, table = case.batches()[0], case.tensor("weights/roberta.embeddings.position_embeddings.weight")
    got = case.tensor("forward/roberta.embeddings.position_embeddings")
    padded = int((batch["input_mask"] == 0).sum(1).argmax())
    first = int(batch["input_mask"][padded].argmax())
    assert first > 0
    assert np.array_equal(got[padded, first], table[2])
    assert np.array_equal(got[padded, first - 1], table[1])


def test_a_low_variance_row_shows_eps():
    case = cases.read("bert/eps")
    model, batch = case.subject(), case.batches()[0]
    p = model.params["embeddings"]
    row = p["word"]["weight"][batch["input_ids"][0, 4]] + p["position"]["weight"][4]
    row = row + p["token_type"]["weight"][batch["segment_ids"][0, 4]]
    assert 1e-4 < row.std() < 3e-4


# ---- Written and read ------------------------------------------------------------------------------------------------
def test_a_case_comes_back_as_it_was_written(small):
    subject = small.subject()
    again = observe(subject, (1, 2))
    assert list(again) == [key for key in small.entries if not key.startswith(("weights/", "inputs/"))]
    for key, array in again.items():
        np.testing.assert_array_equal(array, small.tensor(key), err_msg=key)
    assert len(subject.batches) == small.facts["batches"] == 3
    assert small.batches()[1]["dropout"].keys() == bert.dropouts(small.config(), {"B": 3, "T": 9}).keys()


def test_a_case_made_twice_is_the_same_case(small, tmp_path):
    recipe = replace(RECIPES["bert/dropout"], steps=(1, 2))
    again = make.make("small", recipe, tmp_path / "again", runs=2)
    for file in small.path.iterdir():
        assert file.read_bytes() == (again.path / file.name).read_bytes(), file.name


def test_roles_and_order(small):
    roles = {key: entry.role for key, entry in small.entries.items()}
    assert roles["weights/bert.pooler.dense.bias"] == "weight"
    assert roles["forward/cls.predictions"] == roles["forward/bert.encoder.layer.1.output"] == "output"
    assert roles["forward/bert.encoder.layer.0.output"] == "activation"
    assert roles["forward/loss.masked_lm"] == "loss"
    assert roles["gradients/bert.pooler.dense.weight"] == "gradient"
    assert roles["gradients/bert.pooler.dense"] == "activation_gradient"
    assert roles["steps/2/adam_m.cls.predictions.bias"] == "state"
    forward = [key for key in small.entries if key.startswith("forward/")]
    assert forward[0] == "forward/bert.embeddings.word_embeddings"
    assert forward[-1] == "forward/loss"


def test_a_gradient_that_is_zero_is_scaled_by_the_largest():
    y = {"gradients/a": np.array([4.0]), "gradients/b": np.array([1e-20]), "forward/b": np.array([1e-20])}
    assert cases.scale(y) == {"gradients/a": 4.0, "gradients/b": 4e-3, "forward/b": 1e-20}
    assert cases.scale({"forward/zero": np.zeros(3)}) == {"forward/zero": 1.0}


def test_floors_roles_and_types_are_their_section_s_unless_they_say_so(small):
    held = json.loads((small.path / "case.json").read_text(encoding="utf-8"))["sections"]
    assert held["forward"]["role"] == "activation"
    rows = {name: rest for name, _, _, *rest in held["forward"]["tensors"]}
    assert rows["loss"][1] == {"role": "loss"}
    own = rows["loss"][0] or [*held["forward"]["noise"].values()]
    assert [*small.entries["forward/loss"].noise.values()] == own
    assert small.entries["inputs/input_ids"].dtype == "int64"
    assert small.entries["inputs/masked_lm_weights"].dtype == "float32"
    assert held["inputs"]["noise"] == {}


# ---- Version 1 -------------------------------------------------------------------------------------------------------
def as_version_1(case, folder):
    """The case as minibert wrote it before: a row for each tensor, with a hash of its own, and the flags."""
    shutil.copytree(case.path, folder)
    tensors = [
        {"name": key.partition("/")[2], "file": entry.file, "role": entry.role, "shape": list(entry.shape),
         "dtype": entry.dtype, "scale": entry.scale, "noise": entry.noise,
         "sha256": hashlib.sha256(case.tensor(key).tobytes()).hexdigest()}
        for key, entry in case.entries.items()
    ]  # fmt: skip
    fields = {**case.facts, "format": "minibert-case/1", "flags": ["A04"], "tensors": tensors}
    (folder / "case.json").write_text(json.dumps(fields), encoding="utf-8")


def test_a_case_of_version_1_is_read(small, tmp_path):
    as_version_1(small, tmp_path / "old")
    old = cases.read(tmp_path / "old")
    assert old.entries == small.entries
    assert old.facts == {**small.facts, "format": "minibert-case/1"}
    assert make.verify(old) == []
    again = cases.write(tmp_path / "new", old.facts, {key: old.tensor(key) for key in old.entries},
                        {key: entry.noise for key, entry in old.entries.items()},
                        outputs=[key.partition("/")[2] for key, e in old.entries.items() if e.role == "output"])
    assert again.facts["format"] == "minibert-case/2"
    assert again.entries == small.entries


def test_a_damaged_tensor_of_version_1_is_caught(small, tmp_path):
    as_version_1(small, tmp_path / "old")
    data = bytearray((tmp_path / "old" / "forward.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "old" / "forward.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"tensor 'forward/.*' is damaged: its SHA-256"):
        cases.read(tmp_path / "old").section("forward")


# ---- Damaged and hostile cases ---------------------------------------------------------------------------------------
def test_a_damaged_tensor_is_caught(copy):
    """One bit of one entry."""
    data = bytearray((copy / "forward.safetensors").read_bytes())
    data[-3] ^= 1
    (copy / "forward.safetensors").write_bytes(data)
    damaged = cases.read(copy)
    with pytest.raises(InputError, match="damaged"):
        damaged.section("forward")


def test_a_wrong_truth_is_caught(small, tmp_path):
    """A planted error of 1e-9 in one entry, hashed as if it were right."""
    tensors = {key: small.tensor(key) for key in small.entries}
    key = "gradients/bert.encoder.layer.1.attention.self.value.weight"
    tensors[key] = tensors[key].copy()
    tensors[key][1, 2] += 1e-9 * small.entries[key].scale
    floors = {key: entry.noise for key, entry in small.entries.items()}
    wrong = cases.write(tmp_path / "wrong", small.facts, tensors, floors)
    assert [line.split(":")[0] for line in make.verify(wrong)] == [key]
    assert make.verify(small) == []
    assert cli.main(["golden", "verify", str(tmp_path / "wrong")]) == 1


@pytest.mark.parametrize("name", ["tokenizer/cased", "masking/bert"])
def test_wrong_text_is_caught(name, tmp_path):
    case = cases.read(name)
    text = case.text()
    if name.startswith("tokenizer"):
        text["vectors"][3]["ids"][1] += 1
    else:
        text["example"]["corrupted"][2][3] += 1
    assert len(make.verify(cases.write(tmp_path / "wrong", case.facts, {}, {}, text))) == 1
    (tmp_path / "wrong" / "text.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        cases.read(tmp_path / "wrong").text()


def deep(fields):
    value = fields["config"] = {}
    for _ in range(50):
        value["a"] = value = {}


def row(fields, section="weights", at=0):
    return fields["sections"][section]["tensors"][at]


def at(place, value, **where):
    """Puts a value into a tensor's row: 0 its name, 1 shape, 2 scale, 3 floors, 4 what is its own."""

    def change(fields):
        held = row(fields, **where)
        held += [None] * (place + 1 - len(held))
        held[place] = value

    return change


def twice(fields):
    fields["sections"]["weights"]["tensors"].append(row(fields))


def elsewhere(fields):
    fields["sections"]["../../etc/passwd"] = fields["sections"].pop("weights")


HOSTILE = {
    "unknown field": (lambda f: f.update(colour=1), "the file has the unknown field 'colour'"),
    "missing field": (lambda f: f.pop("seed"), "the file lacks the field 'seed'"),
    "another format": (lambda f: f.update(format="minibert-cases/2"), "reads minibert-case/1 and minibert-case/2"),
    "a newer format": (lambda f: f.update(format="minibert-case/3"), "it is newer: update minibert"),
    "no format": (lambda f: f.update(format=2), "format 2, this minibert reads"),
    "unknown tensor field": (at(4, {"x": 1}), "tensors[0][4] has the unknown field 'x'"),
    "more than there is": (at(5, 1), "tensors[0] has 6 entries, expected 3 to 5"),
    "no scale": (lambda f: row(f).pop(), "tensors[0] has 2 entries, expected 3 to 5"),
    "floors of other types": (at(3, [1, 2]), "has floors for other types than its section"),
    "bad role": (at(4, {"role": "king"}), "tensors[0][4].role is 'king'; allowed:"),
    "another file": (elsewhere, "sections has the unknown field '../../etc/passwd'"),
    "name that climbs": (lambda f: f.update(name="../x"), "name is '../x'"),
    "true for a number": (lambda f: f.update(seed=True), "seed is True, expected integer"),
    "negative floor": (lambda f: f["sections"]["steps"]["noise"].update(float32=-1), "expected 0 or more"),
    "shape beyond the file": (at(1, [3, 3]), "listed as"),
    "shape beyond memory": (at(1, [2**62, 2**62]), "bytes; the limit is 1073741824"),
    "nested config": (deep, "config.a is {"),
    "listed twice": (twice, "stands twice"),
    "not listed": (lambda f: f["sections"]["weights"]["tensors"].pop(0), "is in the file but not listed"),
    "unlisted batch": (lambda f: f.update(batches=2), "batches is 2, the inputs have 3"),
    "no batch": (lambda f: f.update(batches=10**30), "the inputs have 3"),
    "impossible config": (lambda f: f["config"].update(hidden_size=7), "num_attention_heads"),
    "unknown config": (lambda f: f["config"].update(hidden_sizes=7), "unknown config field 'hidden_sizes'"),
    "another size": (lambda f: f["config"].update(vocab_size=20), "the config says (20, 12)"),
    "unknown family": (lambda f: f.update(family="berd"), "unknown family 'berd'"),
    "a name of two lines": (at(0, "a\nclaim: L7"), "expected the form"),
    "a line end at its end": (lambda f: f.update(name="small\n"), "name is 'small\\n', expected the form"),
    "an endless name": (at(0, "a" * 10**6), "expected the form"),
    "endless steps": (lambda f: f.update(steps=[10**9]), "expected 1000 or less"),
    "a number beyond float64": (at(2, 10**400), "expected number"),
    "a rate beyond float32": (lambda f: f["optimizer"].update(learning_rate=1e300), "expected 1000 or less"),
    "an absurd epsilon": (lambda f: f["config"].update(layer_norm_eps=1e308), "allowed: 0 to 1"),
    "an absurd width": (lambda f: f["config"].update(hidden_size=2**40), "allowed: 1 to 1048576"),
    "absurd layers": (lambda f: f["config"].update(num_hidden_layers=10**9), "allowed: 1 to 1024"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_case_json_is_one_line(name, copy, capsys):
    change, message = HOSTILE[name]
    rewritten(copy, change)
    assert cli.main(["golden", "verify", str(copy)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert (message or "") in line


def of_step(fields):
    row(fields, "steps")[0] = "x" + row(fields, "steps")[0]


def test_a_step_without_its_number_is_one_line(copy):
    rewritten(copy, of_step)
    with pytest.raises(InputError, match="does not say after which step"):
        cases.read(copy)


TEXTS = [
    {}, [], "x", {"vectors": {}}, {"vectors": [3], "vocabulary": []}, {"vectors": [{}], "vocabulary": ["a"]},
    {"kind": "unigram", "settings": {}, "vocabulary": ["a"], "scores": [1e300], "vectors": [{"text": "a"}]},
    {"kind": "byte_level", "settings": {"x": 1}, "vocabulary": [3], "merges": [1], "vectors": [{"text": 3}]},
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_hostile_text_is_one_line(text, tmp_path, capsys):
    """What stands in text.json is no schema's: whatever it makes of the tokenizers is said as the case's fault."""
    facts = cases.read("tokenizer/cased").facts
    text = text if isinstance(text, dict) else {"vectors": text}
    cases.write(tmp_path / "case", facts, {}, {}, text)
    (tmp_path / "ids.json").write_text("[[1, 2]]", encoding="utf-8")
    for command in (["golden", "verify"], ["check"]):
        arguments = [str(tmp_path / "case"), *([str(tmp_path / "ids.json")] if command == ["check"] else [])]
        assert cli.main([*command, *arguments]) == 2
        assert re.fullmatch(r"minibert: error: .+\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["ops/linear", "bert/encoder-layer"])
@pytest.mark.parametrize("changed", [{"pair": "nothing"}, {"pair": None}, {"config": {"axis": 7}}, {"family": "bert"}])
def test_an_op_that_cannot_be_computed_is_one_line(name, changed, tmp_path, capsys):
    case = cases.read(name)
    tensors = {key: case.tensor(key) for key in case.entries if not key.startswith("inputs/")}
    floors = {key: entry.noise for key, entry in case.entries.items()}
    cases.write(tmp_path / "case", {**case.facts, **changed}, tensors, floors)
    assert cli.main(["golden", "verify", str(tmp_path / "case")]) == 2
    assert re.fullmatch(r"minibert: error: .+\n", capsys.readouterr().err)


FILES = {
    "no JSON": ("case.json", b"{"),
    "no object": ("case.json", b"[]"),
    "a repeated key": ("case.json", b'{"format": 1, "format": 2}'),
    "NaN": ("case.json", b'{"format": NaN}'),
    "no UTF-8": ("case.json", b'"\xff"'),
    "endless nesting": ("case.json", b"[" * 100_000),
    "a header of exabytes": ("forward.safetensors", b"\xff" * 8 + b"{}"),
    "a pickle": ("forward.safetensors", b"\x80\x04\x95" + b"a" * 50),
    "nothing": ("forward.safetensors", b""),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_one_line(name, copy, capsys):
    file, data = FILES[name]
    (copy / file).write_bytes(data)
    assert cli.main(["golden", "verify", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_files_are_one_line(copy, tmp_path, capsys):
    (copy / "steps.safetensors").unlink()
    for path in (copy, tmp_path / "nowhere", tmp_path):
        assert cli.main(["golden", "verify", str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_validator_follows_the_schema():
    rule = {"type": ["string", "null"], "pattern": "^a+$"}
    assert cases.invalid("aa", rule) is cases.invalid(None, rule) is None
    assert cases.invalid("b", rule) == "the file is 'b', expected the form ^a+$"
    assert cases.invalid("aa\n", rule) == "the file is 'aa\\n', expected the form ^a+$"
    assert cases.invalid(1, rule) == "the file is 1, expected string or null"
    bounded = {"type": "number", "minimum": 0, "maximum": 9}
    assert cases.invalid(9, bounded) is None
    assert cases.invalid(9.5, bounded) == "the file is 9.5, expected 9 or less"
    assert cases.invalid(10**400, {"type": "number"}).endswith("expected number")
    pair = {"type": "array", "minItems": 1, "items": False, "prefixItems": [{"const": 1}, {"type": "string"}]}
    assert cases.invalid([1], pair) is cases.invalid([1, "a"], pair) is None
    assert cases.invalid([1, 2], pair) == "[1] is 2, expected string"
    assert cases.invalid([], pair) == "the file has 0 entries, expected 1 to 2"
    assert cases.invalid([1, "a", 3], pair) == "the file has 3 entries, expected 1 to 2"
    inner = {"type": "array", "items": {"anyOf": [{"const": 1}, {"enum": [2, 3]}]}}
    assert cases.invalid([1, 2, 3], inner) is None
    assert cases.invalid([1, 4], inner) == "[1] is 4; allowed: 2, 3"


def test_the_schema_agrees_with_jsonschema():
    jsonschema = pytest.importorskip("jsonschema", reason="a second opinion on the schema")
    for path in cases.shipped():
        jsonschema.validate(json.loads((path / "case.json").read_text(encoding="utf-8")), cases.schema())


# ---- Noise -----------------------------------------------------------------------------------------------------------
def test_other_ways_are_the_same_function(small):
    """A seed never used for the floors stays within a few of them, in every tensor and precision."""
    case = cases.read("bert/tanh")
    for name, (rounding, _) in noise.PRECISIONS.items():
        for seed in range(2):
            around = (noise.otherwise(Draws(99, f"{name} {seed}"), rounding),)
            for key, y in make.computed(case, "float32", around).items():
                error = np.max(np.abs(y - case.tensor(key))) / case.entries[key].scale
                floor = case.entries[key].noise[name]
                assert error <= 4 * floor, (key, name, error / floor)


@pytest.mark.parametrize(
    ("mistaken", "key"), [({"hidden_act": "gelu"}, "loss"), ({"layer_norm_eps": 1e-5}, "bert.embeddings")]
)
def test_a_mistake_is_beyond_the_floors(mistaken, key):
    case = cases.read("bert/tanh")
    subject = case.subject()
    subject = replace(subject, config=replace(subject.config, **mistaken))
    got = observe(subject, ())
    entry = case.entries[f"forward/{key}"]
    assert np.max(np.abs(got[entry.key] - case.tensor(entry.key))) / entry.scale > 64 * entry.noise["float32"]


@pytest.mark.parametrize("name", PAIRS)
def test_reordered_ops_agree_in_every_way(name):
    """Each op through the observer, twenty ways: value and gradients are the engine's to float32 rounding."""
    args, constants = gradcheck.arguments(PAIRS[name], op.SIZES, Draws(1, name))
    args = {key: a.astype(np.float32) for key, a in args.items()}
    constants = {
        k: np.float32(a) if np.asarray(a).dtype.kind == "f" and np.ndim(a) else a for k, a in constants.items()
    }
    f, back = PAIRS[name].forward, PAIRS[name].backward
    y, cache = f(**args, **constants)
    dy = np.asarray(Draws(2, name).standard_normal(y.shape), np.float32)
    right = {"": y, **gradcheck.gradients(f, back(dy, cache), args)}
    for seed in range(20):
        with observing(noise.otherwise(Draws(seed, name))()):
            y, cache = f(**args, **constants)
            got = {"": y, **gradcheck.gradients(f, back(dy, cache), args)}
        for key, value in right.items():
            assert got[key].dtype == np.float32
            assert gradcheck.error(got[key], value, 1.0) < 2e-6, (seed, key)


def test_an_overflow_has_no_floor():
    y = {"forward/y": np.array([1e6])}
    found = noise.floors(lambda dtype, around: {"forward/y": np.array([1e6], dtype)}, y, {"forward/y": 1e6}, runs=2)
    assert found["forward/y"]["float16"] is None
    assert found["forward/y"]["bfloat16"] == pytest.approx(2.0**-9, rel=1e-2)  # no floor is below half a unit


def test_sixteen_bit_rounding():
    """Against NumPy's own float16, and bfloat16 by its definition: 8 bits of precision, ties to even."""
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159, 1e-40, 3.3e38, np.inf, 65520.0], np.float32)
    rounded = noise.PRECISIONS["bfloat16"][0](x)
    assert rounded[:3].tolist() == [1.0, 1.0, 1 + 2**-6]
    assert ((rounded.view(np.uint32) & 0xFFFF) == 0).all()
    assert np.isinf(rounded[6])
    with np.errstate(over="ignore"):
        assert np.isinf(noise.PRECISIONS["float16"][0](x)[-1])


# ---- Truth -----------------------------------------------------------------------------------------------------------
def test_units_in_the_last_place():
    assert certify.ulps(np.array([1.0, 2.0]), [Decimal(1), Decimal(2)]) == 0
    assert certify.ulps(np.array([1.0, 2.0]), [Decimal(1) + Decimal(2) ** -51, Decimal(2)]) == 1.0


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("bert/") and "layer" not in name])
def test_a_familys_values_are_certified(name):
    certified = cases.read(name).facts["certified"]
    assert {"forward/loss", "forward/loss.masked_lm", "forward/loss.next_sentence", "forward/bert.pooler"} <= set(
        certified
    )
    assert max(certified.values()) < 20_000
    assert certified["forward/loss"] < 200


CERTIFIED = ("roberta/published", "albert/published", "albert/groups", "electra/published", "electra/joint",
             "spanbert/published", "macbert/published")  # fmt: skip


@pytest.mark.parametrize("name", CERTIFIED)
def test_the_other_families_losses_are_certified(name):
    """By each family's own double of its loss, along a direction through all parameters too."""
    certified = cases.read(name).facts["certified"]
    assert {"forward/loss", "gradients"} <= certified.keys()
    assert certified["forward/loss"] < 200
    assert max(certified.values()) < 20_000


@pytest.mark.parametrize("name", ["roberta", "electra"])
def test_the_certificate_sees_another_family_s_wrong_loss(name):
    """A loss that is off in its twelfth digit."""
    subject = whole_family.subject_of(replace(RECIPES[f"{name}/published"], steps=()))[0]
    got = observe(subject, ())
    assert certify.step(subject, got)["forward/loss"] < 200
    assert certify.step(subject, {**got, "forward/loss": got["forward/loss"] * (1 + 1e-12)})["forward/loss"] > 1000


def test_a_law_of_corruption_sees_another_rule():
    """Each law holds for its own rule over rows drawn elsewhere, and for no other rule with groups of its own."""
    for name in shares.LAWS:
        held = cases.read(f"masking/{name}").text()
        for other, law in shares.LAWS.items():
            wrong = shares.broken(lambda *given, law=law: law.rule(*given, **law.numbers), held, seed=3)
            assert bool(wrong) == (other != name), (name, other, wrong)


def test_the_certificate_sees_a_wrong_value(small):
    got = {key: small.tensor(key) for key in small.entries}
    wrong = {**got, "forward/bert.pooler": got["forward/bert.pooler"] * (1 + 1e-12)}
    assert certify.step(small.subject(), wrong)["forward/bert.pooler"] > 1000


def philox(key, counter):
    """Philox4x64-10, from its definition (Salmon, Moraes, Dror, Shaw 2011, section 3.3)."""
    x, full = [counter, 0, 0, 0], 2**64 - 1
    for step in range(10):
        k = [(key[0] + step * 0x9E3779B97F4A7C15) & full, (key[1] + step * 0xBB67AE8584CAA73B) & full]
        a, b = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
        x = [(b >> 64) ^ x[1] ^ k[0], b & full, (a >> 64) ^ x[3] ^ k[1], a & full]
    return x


def test_drawn_numbers_never_change():
    """The stream's words are Philox's own, counter from 1, and the numbers follow from their upper halves."""
    stream = int.from_bytes(hashlib.sha256(b"x").digest()[:8], "little")
    words = [word >> 32 for counter in (1, 2, 3) for word in philox((7, stream), counter)]
    assert Draws(7, "x").words(12).tolist() == words
    assert Draws(7, "x").standard_normal() == sum(words) / 2**32 - 6
    assert Draws(7, "x").integers(10, 20, 12).tolist() == [10 + 10 * word // 2**32 for word in words]
    assert Draws(7, "x").random() == words[0] / 2**32
    normal = Draws(7, "y").standard_normal((2000,))
    assert abs(normal.mean()) < 0.08
    assert abs(normal.std() - 1) < 0.05
    assert sorted(Draws(7, "p").permutation(9).tolist()) == list(range(9))


# ---- The command line ------------------------------------------------------------------------------------------------
def test_a_case_of_ones_own_configuration(tmp_path, capsys):
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 6, "vocab_size": 13, "model_type": "bert"}', encoding="utf-8"
    )
    out = str(tmp_path / "own")
    assert (
        cli.main(["golden", "make", "bert", "--kind", "block", "--config", str(tmp_path / "config.json"), "-o", out])
        == 0
    )
    case = cases.read(out)
    assert case.facts["config"]["hidden_size"] == 6
    assert case.facts["kind"] == "block"
    assert cli.main(["golden", "make", "linear", "--kind", "op", "--seed", "3", "-o", str(tmp_path / "op")]) == 0
    assert cli.main(["golden", "verify", out, str(tmp_path / "op")]) == 0
    assert "fine" in capsys.readouterr().out


@pytest.mark.parametrize("block", ["self_attention", "feed_forward", "add_norm", "embeddings", "pooler", "mlm_head"])
def test_any_block_stands_alone(block, tmp_path):
    """With its own parameters, and gradients of these and of what it is given."""
    case = make.make("block", of("bert", "block", {}, 3, block), tmp_path / "block", runs=1)
    assert make.verify(cases.read(tmp_path / "block")) == []
    weights = {key.partition("/")[2] for key in case.entries if key.startswith("weights/")}
    gradients = {key.partition("/")[2] for key, entry in case.entries.items() if entry.role == "gradient"}
    assert weights == gradients - {"x", "f", "table"}
    assert case.entries["forward/output"].role == "output"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bert", "--kind", "block", "--pair", "encoder_lair"], "did you mean 'encoder_layer'"),
        (["bert", "--kind", "block", "--pair", "sbo_head"], "bert has no block 'sbo_head'"),
        (["berd"], "no family 'berd'"),
        (["linear"], "--kind op"),
        (["linearr", "--kind", "op"], "did you mean 'linear'"),
        ([], "say which"),
        (["bert", "--from", "x"], "takes no FAMILY"),
        (["--from", "x"], "needs --text"),
        (["bert", "--seed", "-1"], "--seed -1"),
        (["bert", "--config", "nowhere.json"], "nowhere.json"),
    ],
)
def test_unusable_arguments_are_one_line(arguments, message, tmp_path, capsys):
    assert cli.main(["golden", "make", *arguments, "-o", str(tmp_path / "x")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert message in line


def test_the_list_has_a_line_for_every_case(capsys):
    assert cli.main(["golden", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == sorted(SHIPPED)
    assert max(map(len, lines)) < 80
    assert any(line.startswith(" ") for line in lines)  # titles that are longer go on below


# ---- Over published directories --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published directory with a vocabulary and every head."""
    words = tokenizer.vocabulary()
    sizes = {**bert.PROBE, "vocab_size": len(words), "pad_token_id": 0, "max_position_embeddings": 40}
    model = minibert.create("bert", **sizes, initializer_range=0.3)
    model.tokenizer = minibert.tokenizers.wordpiece.WordPiece(words)
    place = tmp_path_factory.mktemp("published") / "model"
    model.save(place)
    return place


@pytest.mark.parametrize("headless", [False, True])
def test_a_case_over_a_published_directory(published, headless, tmp_path, monkeypatch):
    monkeypatch.setattr(noise, "RUNS", 2)
    place = published
    if headless:
        place = tmp_path / "bare"
        shutil.copytree(published, place)
        held = safetensors.read(place / "model.safetensors")
        bare = {name: a for name, a in held.items() if not name.startswith("cls.")}
        safetensors.write(place / "model.safetensors", bare)
    further = "" if headless else "\n\nun" + "affable " * 9
    (tmp_path / "texts").write_text(f"Hello, world!{further}", encoding="utf-8")
    out = tmp_path / "case"
    assert cli.main(["golden", "make", "--from", str(place), "--text", str(tmp_path / "texts"), "-o", str(out)]) == 0
    case = cases.read(out)
    assert case.text()["texts"][0]["tokens"][:6] == ["[CLS]", "hello", ",", "world", "!", "[SEP]"]
    digest = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    assert f" over {'1 text' if headless else '2 texts'}, from characters to " in case.facts["title"]
    assert case.facts["weights"] == {"directory": place.name, "sha256": digest}
    assert not (out / "weights.safetensors").exists()
    assert ("forward/loss" in case.entries) is not headless
    assert "forward/bert.encoder.layer.1.output" in case.entries
    assert make.verify(case, weights=place) == []
    assert cli.main(["golden", "verify", str(out)]) == 0
    with open(place / "model.safetensors", "ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match="SHA-256 differs"):
        make.verify(case, weights=place)
    if not headless:
        (place / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes()[:-1])
        assert tree.leaves(case.params(place))


@pytest.mark.parametrize("family", ["roberta", "albert", "electra", "spanbert"])
def test_a_case_over_a_directory_of_another_family(family, tmp_path):
    """From characters to gradients, with the family's own tokenizer and labels."""
    module = families.family(family)
    described = {"wordpiece": lambda: {"vocabulary": tokenizer.vocabulary(), "settings": {}},
                 "byte_level": tokenizer.byte_level, "unigram": tokenizer.unigram}[module.TOKENIZER]()  # fmt: skip
    spoken = tokenizer.tokenizer(described)
    sizes = {"vocab_size": len(spoken), "pad_token_id": spoken.pad_id, "max_position_embeddings": 40}
    model = minibert.create(family, **{**module.PROBE, **sizes}, initializer_range=0.3)
    model.tokenizer = spoken
    model.save(tmp_path / "model")
    place = tmp_path / "model" / ("discriminator" if family == "electra" else "")
    case = make.pipeline(place, ["Hello, world!", "unaffable now stop"], tmp_path / "case", "case", runs=1)
    assert case.facts["objective"]
    assert "forward/loss" in case.entries
    assert make.verify(case, weights=place) == []


def test_selected_tensors_fit_the_budget(monkeypatch):
    case = cases.read("bert/published")
    tensors = {key: case.tensor(key) for key in case.entries if key.startswith(("forward/", "gradients/"))}
    monkeypatch.setattr(pipeline, "BUDGET", 27_000)
    kept = pipeline.selected(tensors, "bert", case.config())
    assert sum(a.nbytes for a in kept.values()) <= 27_000
    assert {"forward/loss", "forward/bert.embeddings", "forward/bert.encoder.layer.1.output"} <= kept.keys()
    assert list(kept) == [key for key in tensors if key in kept]
