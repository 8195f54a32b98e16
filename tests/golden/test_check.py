"""`minibert check`: right candidates pass in any container, wrong ones are found where they go wrong, hostile ones are
one line."""

import dataclasses
import gc
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest

from minibert import InputError, cli, tree
from minibert.checkpoint import numpy_files, safetensors
from minibert.golden import answer, blocks, candidate, checking, compare, kills, levels, report
from minibert.golden import case as cases
from minibert.golden.subject import observe
from minibert.mistakes import CATALOGUE, trials, words

ROOT = Path(__file__).resolve().parents[2]
CASE = "bert/published"
SCORES = "forward/bert.encoder.layer.1.attention.self.scores"


@cache
def case():
    return cases.read(CASE)


@cache
def observed(dtype="float64", around=(), **parts):
    """The engine's own tensors, with observers around every call, and with parts of the optimizer replaced."""
    subject = case().subject()
    params = tree.map(lambda array: array.astype(dtype), subject.params)
    return observe(replace(subject, params=params, around=around, parts=parts))


def scaled_scores():
    """Attention of layer 1 with twice the scale."""
    calls = iter(range(1000))

    def around(f, args, constants):
        if f.__name__ == "attention" and next(calls) == 1:
            constants = {**constants, "scale": 2 * args[0].shape[-1] ** -0.5}
        return f(*args, **constants)

    return around


def forgotten_gelu_slope():
    """The backward of the activation in the feed-forward of layer 1 lets everything through."""
    calls = iter(range(1000))

    def around(f, args, constants):
        if f.__name__ == "gelu_backward" and next(calls) == 1:  # the first is the head's
            return args[0] * 1.0
        return f(*args, **constants)

    return around


def rows_of(tensors, dtype="float64"):
    return compare.compare(case(), tensors, dtype, {}, blocks.expected(case().subject(), tensors))


def found(path, case=CASE, **options):
    return checking.report_of(case, path, **options)


def written(path, tensors):
    safetensors.write(path, tensors)
    return path


# ---- Right candidates ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_candidate_reaches_the_top(tmp_path, dtype):
    """The engine in either precision is explained by rounding, tensor by tensor."""
    tensors = {key: array.astype(dtype) for key, array in observed(dtype).items()}
    got = found(written(tmp_path / "c.safetensors", tensors))
    assert (got.code, got.first, got.dtype) == (0, None, dtype)
    assert {row.status for row in got.supplied} == {"right"}
    assert levels.reached(got.levels).title == "trajectory"
    assert max(row.alone for row in got.supplied if row.alone is not None) < compare.EXPLAINED


def npz(path, tensors, save=np.savez):
    save(path, **tensors)
    return path


def npys(path, tensors, name=lambda key: key):
    for key, array in tensors.items():
        file = path / f"{name(key)}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    return path


def sections(path, tensors):
    path.mkdir()
    for section in ("forward", "gradients"):
        held = {key.partition("/")[2]: array for key, array in tensors.items() if key.startswith(section)}
        safetensors.write(path / f"{section}.safetensors", held)
    (path / "steps").mkdir()
    np.savez(path / "steps" / "1.npz", **{k.removeprefix("steps/1/"): a for k, a in tensors.items() if "steps/1/" in k})
    (path / "notes.txt").write_text("not a tensor", encoding="utf-8")
    return path


CONTAINERS = {
    "safetensors": lambda path, tensors: written(path / "c.safetensors", tensors),
    "npz": lambda path, tensors: npz(path / "c.npz", tensors),
    "npz, compressed": lambda path, tensors: npz(path / "c.npz", tensors, np.savez_compressed),
    "npy in folders": lambda path, tensors: npys(path / "c", tensors),
    "npy, escaped": lambda path, tensors: npys(path / "c", tensors, lambda key: quote(key, safe="")),
    "a file a section": lambda path, tensors: sections(path / "c", tensors),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_holds_the_same(tmp_path, container):
    """Whatever they are stored in, the same tensors have the same hash."""
    tensors = {key: array for key, array in observed().items() if not re.match(r"steps/(2|10)/", key)}
    path = CONTAINERS[container](tmp_path, tensors)
    held = candidate.matched(candidate.read(path), case())
    assert held.tensors.keys() == tensors.keys()
    assert not held.unknown
    assert held.sha256 == candidate.digest(tensors)


FORMS = {
    "Fortran order": (np.asfortranarray, "float64"),
    "big-endian": (lambda a: a.astype(">f8"), "float64"),
    "float16": (lambda a: a.astype(np.float16), "float16"),
    "longdouble": (lambda a: a.astype(np.longdouble), "float64"),
    "bfloat16": (lambda a: (a.astype("<f4").view("<u4") >> 16).astype("<u2").view("V2"), "bfloat16"),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_converted(tmp_path, form):
    """Order, byte order and precision are read for what they are, and the precision is what errors are judged by."""
    convert, dtype = FORMS[form]
    key = "forward/bert.encoder.layer.0.attention.self.query"
    np.savez(tmp_path / "c.npz", **{key: convert(observed()[key])})
    got = found(tmp_path / "c.npz")
    assert got.dtype == dtype
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 0)
    np.testing.assert_allclose(got.candidate.tensors[key], observed()[key], rtol=tolerance, atol=tolerance)
    assert got.code == 0 or dtype == "bfloat16"  # truncated, not rounded: up to a whole unit more


def test_half_precision_containers(tmp_path):
    """F16 and BF16 of safetensors are known for what they are, although they are widened."""
    key, array = "forward/bert.pooler", observed()["forward/bert.pooler"]
    upper = (array.astype("<f4").view("<u4") >> 16).astype("<u2")
    head = {key: {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [0, upper.nbytes]}}
    text = json.dumps(head).encode()
    (tmp_path / "c.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + upper.tobytes())
    assert found(tmp_path / "c.safetensors").dtype == "bfloat16"
    assert found(tmp_path / "c.safetensors", dtype="float32", seconds=0).dtype == "float32"


def test_harmless_shapes(tmp_path):
    """Merged axes, axes of length 1, a repeated position table, MLM tensors at the targets alone: all the same."""
    tensors = dict(observed())
    batch = case().batches()[0]
    positions, weights = batch["masked_lm_positions"], batch["masked_lm_weights"]
    b, t = batch["input_ids"].shape
    flat = (positions + np.arange(b)[:, None] * t).reshape(-1)
    table = "bert.embeddings.position_embeddings"
    logits, transform = "forward/cls.predictions", "forward/cls.predictions.transform"
    one = tensors[f"forward/{table}"]
    short = {
        "forward/bert.embeddings": tensors["forward/bert.embeddings"].reshape(b * t, -1),
        "forward/loss": tensors["forward/loss"].reshape(1),
        f"forward/{table}": np.repeat(one, b, 0),
        f"gradients/{table}": np.repeat(tensors[f"gradients/{table}"] / b, b, 0),
        logits: tensors[logits].reshape(b * t, -1)[flat].reshape(*positions.shape, -1),
        transform: tensors[transform].reshape(b * t, -1)[flat[weights.reshape(-1) != 0]],
        "gradients/cls.predictions": tensors["gradients/cls.predictions"].reshape(b * t, -1)[
            flat[weights.reshape(-1) != 0]
        ],
    }
    got = found(written(tmp_path / "c.safetensors", tensors | short))
    assert got.code == 0
    assert set(got.candidate.partial) == {logits, transform}
    short[logits] = short[logits].copy()
    short[logits][0, 0, 2] += 0.5
    short[f"forward/{table}"][1, 2, 1] += 0.5
    got = found(written(tmp_path / "c.safetensors", tensors | short), seconds=0)  # no name is sought
    wrong = {row.key: row.index for row in got.rows if row.status == "wrong"}
    assert set(wrong) == {logits, f"forward/{table}"}
    assert wrong[f"forward/{table}"] == (0, 2, 1)


# ---- Wrong candidates ------------------------------------------------------------------------------------------------
def test_an_error_accuses_its_own_block_alone():
    """After a wrong scale in layer 1 everything differs, but only the scores and what they teach are wrong alone."""
    rows = {row.key: row for row in rows_of(observed(around=(scaled_scores,)))}
    assert compare.first_divergence(list(rows.values())).key == SCORES
    assert rows["forward/loss"].status == "wrong"
    accused = {key for key, row in rows.items() if (row.alone or 0) > compare.EXPLAINED}
    own = "gradients/bert.encoder.layer.1.attention.self"
    assert accused == {SCORES, f"{own}.query", f"{own}.key"}


def test_the_backward_is_walked_back():
    """A wrong derivative shows first in the cotangent it gives, although earlier layers stand before it in the case."""
    rows = rows_of(observed(around=(forgotten_gelu_slope,)))
    assert all(row.status == "right" for row in rows if row.key.startswith("forward/"))
    first = compare.first_divergence(rows)
    assert first.key == "gradients/bert.encoder.layer.1.intermediate.dense"
    assert first.alone > compare.SUSPECT
    alone = {row.key for row in rows if (row.alone or 0) > compare.EXPLAINED}
    assert alone == {first.key}


def test_positions_of_each_row_their_own(tmp_path):
    """Positions that skip padding differ from row to row; the table is accused, the sum of it is not."""
    subject = case().subject()
    wide = tree.map(lambda a: a.astype(np.float64), subject.params)
    batches = [{**b, "position_ids": np.maximum(b["attention_mask"].cumsum(1) - 1, 0)} for b in subject.batches]
    tensors = observe(replace(subject, params=wide, batches=batches), ())
    key = "forward/bert.embeddings.position_embeddings"
    assert tensors[key].shape[:2] == batches[0]["input_ids"].shape
    got = found(written(tmp_path / "c.safetensors", tensors), seconds=0)
    assert got.first.key == key
    accused = {row.key for row in got.rows if (row.alone or 0) > compare.EXPLAINED}
    assert accused == {key}  # what is moved is padding, whose cotangent is 0


def test_a_wrong_step_is_the_optimizers():
    """With right gradients and a wrong rate the first step is accused, the trajectory only follows."""
    rows = rows_of(observed(rate=lambda step, peak, warmup, total: peak))
    assert {row.key.split("/")[0] for row in rows if row.status in compare.BAD} == {"steps"}
    assert compare.first_divergence(rows).key == "steps/1/learning_rate"
    rows = rows_of(observed(decay=lambda rows, rate: dict.fromkeys((row[0] for row in rows), 0)))
    first = compare.first_divergence(rows)
    assert first.key.startswith("steps/1/")
    assert first.alone > compare.EXPLAINED


def test_verdicts_follow_the_floor():
    """The same tensor off by 3, 30 and 300 floors is explained, suspect and wrong."""
    key = "forward/bert.pooler"
    entry, truth = case().entries[key], case().tensor(key)
    off = np.zeros_like(truth)
    off[1, 2] = entry.scale * compare.floor(entry, "float32")
    for times, status, verdict in (
        (3, "right", "rounding explains it"),
        (30, "suspect", "30 times more than rounding"),
        (300, "wrong", "rounding cannot explain it"),
    ):
        row = next(r for r in compare.compare(case(), {key: truth + times * off}, "float32") if r.key == key)
        assert (row.status, row.verdict, row.index) == (status, verdict, (1, 2))
        assert row.error == pytest.approx(times * compare.floor(entry, "float32"), rel=1e-6)
        assert row.absolute == pytest.approx(times * off[1, 2], rel=1e-6)


def test_weights_alone_are_right_as_far_as_they_go(tmp_path):
    case = cases.read("bert/published")
    own = {key: case.tensor(key) for key in case.entries if key.startswith("weights/")}
    got = found(written(tmp_path / "c.safetensors", own))
    assert got.code == 0
    assert "nothing that was computed from them" in " ".join(line.strip() for line in report.table(got))


def test_nan_is_shown_where_it_first_is(tmp_path):
    """A NaN is exit code 1 and a row that says where; nothing after it is accused for it."""
    tensors = dict(observed())
    tensors["forward/bert.pooler"] = tensors["forward/bert.pooler"].copy()
    tensors["forward/bert.pooler"][2, 3:] = np.nan
    got = found(written(tmp_path / "c.safetensors", tensors), seconds=0)
    assert (got.code, got.first.status, got.first.index) == (1, "nan", (2, 3))
    assert "nan at [2, 3], where " in "\n".join(report.table(got))
    assert "is due; 9 numbers are not finite" in "\n".join(report.table(got))
    assert sum(row.status in compare.BAD for row in got.rows) == 1


def test_the_key_bias_is_exempt_after_steps():
    """Its gradient is 0, so Adam turns rounding into steps: no error there counts."""
    name = "bert.encoder.layer.0.attention.self.key.bias"
    tensors = dict(observed())
    for key in (f"steps/10/{name}", f"steps/1/adam_m.{name}"):
        tensors[key] = tensors[key] + 0.01
    rows = {row.key: row for row in rows_of(tensors)}
    assert rows[f"steps/10/{name}"].status == rows[f"steps/1/adam_m.{name}"].status == "exempt"
    tensors[f"gradients/{name}"] = tensors[f"gradients/{name}"] + 1
    assert compare.first_divergence(rows_of(tensors)).key == f"gradients/{name}"


def test_an_acceptable_variant_is_fine(tmp_path):
    """Another mask constant, on a row masked everywhere, differs, is named, and is no error."""
    golden = cases.read("bert/masked-row")
    subject = golden.subject()
    tensors = observe(replace(subject, config=replace(subject.config, mask_constant="-10000")))
    tensors = {key: array.astype(np.float32) for key, array in tensors.items()}
    got = found(written(tmp_path / "c.safetensors", tensors), "bert/masked-row")
    assert got.first.key.endswith("layer.0.attention.self.probs")
    assert (got.code, got.diagnosis.kind) == (0, "variant")
    assert got.claim["variant"].startswith("A15")
    assert got.claim["level"] == "L7"


def varied(*ids, also=lambda subject: subject):
    """The engine's tensors of bert/probe, in float32, in these entries' first variants, and with a further change."""
    from minibert.mistakes import CATALOGUE

    subject = cases.read("bert/probe").subject()
    for id in ids:
        subject = next(m for m in CATALOGUE[id].mutants(subject) if not m.where).change(subject)
    subject = also(replace(subject, params=tree.map(lambda a: a.astype(np.float32), subject.params)))
    return {key: array.astype(np.float32) for key, array in observe(subject, ()).items()}


def forward(tensors):
    return {key: array for key, array in tensors.items() if key.startswith("forward/")}


def test_two_variants_are_variants(tmp_path):
    """Another denominator and the padding row's rule: neither takes the other's name, and none is an error."""
    got = found(written(tmp_path / "c.safetensors", varied("S05", "E10")), "bert/probe")
    assert (got.code, got.verdict) == (0, "variant")
    assert [one.id for one in got.diagnosis.together] == got.diagnosis.ids == ["S05", "E10"]
    fields = report.fields(got)
    assert (fields["verdict"], fields["diagnosis"]["unexplained"]) == ("variant", None)
    padding = next(one for one in fields["mistakes"] if one["id"] == "E10")
    assert padding.keys() == {"id", "where", "what", "exact", "tied", "behind"}


def test_what_is_declared_is_no_error_and_hides_none(tmp_path, monkeypatch):
    """A known mistake made on purpose; a factor that nobody knows, in a layer, is told beside it."""
    monkeypatch.setattr(trials, "CATALOGUE", {id: one for id, one in CATALOGUE.items() if id[0] in "AL"})
    path = written(tmp_path / "c.safetensors", forward(varied("A04")))
    got, declared = found(path, "bert/probe"), found(path, "bert/probe", declare=["a04", "A15"])
    assert (got.code, got.verdict, declared.code, declared.verdict) == (1, "mistake", 0, "variant")
    told = "\n".join(report.table(declared))
    assert declared.diagnosis.ids == ["A04"]
    assert "as declared: A04" in told
    assert "if declared" not in told
    assert "do: say so" not in told
    assert "declared, and not seen in these tensors: A15" in told
    with pytest.raises(InputError, match=r"^no known mistake 'A94'"):
        found(path, "bert/probe", declare=["A94"])
    with pytest.raises(InputError, match=r"^no known mistake 'A94'"):  # where nothing is wrong, too
        found(written(tmp_path / "right.safetensors", {SCORES: observed()[SCORES]}), declare=["A94"])

    def scaled(subject):
        flat = tree.flatten(subject.params)
        flat["encoder.1.feed_forward.out.weight"] = flat["encoder.1.feed_forward.out.weight"] * np.float32(1.01)
        return replace(subject, params=tree.unflatten(flat))

    path = written(tmp_path / "d.safetensors", forward(varied("A04", also=scaled)))
    got = found(path, "bert/probe", declare=["A04"])
    assert (got.code, got.verdict) == (1, "unknown")
    assert got.diagnosis.unexplained == "forward/bert.encoder.layer.1.output.dense"


def test_a_tie_names_the_case_that_shows_one_of_them():
    """Where there is none it does not speak of one."""
    def advice(*ids):
        names = [SimpleNamespace(id=id, listed=True) for id in ids]
        case = SimpleNamespace(name="bert/published")
        return answer.next_step(SimpleNamespace(case=case, strange=0, verdict="tie", diagnosis=SimpleNamespace(
            names=names)))  # fmt: skip

    named = re.match(r"check case (bert/[\w-]+), too, which shows (A13|A15) alone of them", advice("A13", "A15"))
    folder, case = named[1].split("/")
    shown = {id for id in ("A13", "A15") if case in kills.read(folder).get(id, {})}
    assert shown == {named[2]}
    assert advice("A12", "A12").startswith("see what is right of each")


def test_other_names_of_leaves_are_said(tmp_path):
    """gamma and beta of TensorFlow's norms."""
    norm, pooler = "gradients/bert.embeddings.LayerNorm", "forward/bert.pooler"
    case = cases.read("bert/probe")
    held = {f"{norm}.gamma": case.tensor(f"{norm}.weight"), pooler: case.tensor(pooler)}
    got = found(written(tmp_path / "c.safetensors", held), "bert/probe")
    assert any(line.startswith("gamma read as weight: 1 tensor") for line in report.remarks(got))
    assert not any("beta" in line for line in report.remarks(got))


def test_one_tensor_is_one(tmp_path, capsys):
    one = observed()[SCORES]
    for tensors, begins in (({SCORES: one}, "right: rounding explains the 1 tensor\n"),
                            ({SCORES: one + 1}, "different: 1 of 1 tensor is not explained by rounding\n")):
        cli.main(["check", CASE, str(written(tmp_path / "one.safetensors", tensors)), "--seconds", "0"])
        told = capsys.readouterr().out
        assert told.startswith(begins)
        assert ": 1 tensor, judged as float64\n" in told
        assert not re.search(r"\b1 tensors", told)
    assert "wrong by itself: 1 of the 1 that differs (" in told


def test_two_numbers_are_said_in_the_digits_that_differ():
    assert answer.apart(1.304388312, 1.304388310) == ("1.304388312", "1.30438831")
    assert answer.apart(2.0, 3.0) == ("2", "3")
    assert answer.apart(0.1, 0.1) == ("0.1", "0.1")
    assert answer.apart(0.1, None) == ("0.1", "")


def test_a_mistake_that_leaves_something_is_one_mistake():
    told = words.Diagnosis("mistake", [None], 9.0, "forward/a", ["the mistake is S03: of all slots"], "forward/a")
    got = report.Report(None, None, "", "float64", [], None, [], told, 1)
    assert answer.cause(got) == "one mistake is S03: of all slots; and something else is wrong, from forward/a on"
    whole = got._replace(diagnosis=dataclasses.replace(told, unexplained=None))
    assert answer.cause(whole) == "the mistake is S03: of all slots"


# ---- Levels ----------------------------------------------------------------------------------------------------------
PARTS = {
    "embeddings": lambda key: key == "forward/bert.embeddings",
    "encoder": lambda key: re.fullmatch(r"forward/.*layer\.\d\.output", key),
    "heads": lambda key: key in ("forward/bert.pooler", "forward/cls.predictions", "forward/cls.seq_relationship"),
    "losses": lambda key: key.startswith("forward/loss"),
    "gradients": lambda key: key.startswith("gradients/") and key.endswith((".weight", ".bias")),
    "optimizer step": lambda key: key.startswith("steps/1/") and "adam" not in key,
    "trajectory": lambda key: key.startswith("steps/") and "adam" not in key,
}


def test_levels_need_the_ends_of_their_parts():
    """With the ends of the parts up to a level that level is reached; without one of them it is not."""
    tensors: dict = {}
    for title, belongs in PARTS.items():
        new = {key: array for key, array in observed().items() if belongs(key) and key not in tensors}
        for left_out in list(new)[:3]:
            if not re.search(r"gradient_norm|learning_rate|layer\.0\.output", left_out):
                rows = compare.compare(case(), tensors | {k: a for k, a in new.items() if k != left_out}, "float64")
                best = levels.reached(levels.levels(case(), rows))
                assert (best and best.title) != title, left_out
        tensors |= new
        assert levels.reached(levels.levels(case(), compare.compare(case(), tensors, "float64"))).title == title


def test_a_wrong_tensor_stops_the_claim():
    """A level below which something supplied is wrong is not claimed, needed or not."""
    tensors = dict(observed())
    tensors[SCORES] = tensors[SCORES] * 1.01
    got = levels.levels(case(), compare.compare(case(), tensors, "float64"))
    assert levels.reached(got).title == "embeddings"
    assert [level.state for level in got][1:4] == ["reached", "differs", "reached"]


# ---- Names -----------------------------------------------------------------------------------------------------------
def test_names_are_mapped_and_suggested(tmp_path, capsys):
    """Other names and transposed matrices, square ones too, are found from contents, and the map makes it right."""
    theirs = {}
    for key, array in observed("float32").items():
        section, _, name = key.partition("/")
        if section == "steps":
            continue
        turned = section == "gradients" and name.endswith("dense.weight")
        theirs[f"{section}/{name.replace('bert.', 'net.').replace('.', '_')}"] = array.T if turned else array
    assert any(a.ndim == 2 and a.shape[0] == a.shape[1] for k, a in theirs.items() if k.endswith("dense_weight"))
    path, names = written(tmp_path / "c.safetensors", theirs), tmp_path / "names.json"
    assert cli.main(["check", CASE, str(path), "--suggest-names", str(names)]) == 0
    assert "net_pooler" in capsys.readouterr().out
    mapped = json.loads(names.read_text(encoding="utf-8"))
    square = "gradients/net_encoder_layer_0_attention_output_dense_weight"
    assert mapped[square] == {
        "key": "gradients/bert.encoder.layer.0.attention.output.dense.weight",
        "transpose": True,
    }
    zero = {name for name in theirs if name.endswith("key_bias")}  # contents that are rounding alone say nothing
    assert set(mapped) == set(theirs) - zero - {"forward/loss"}
    mapped |= {name: name.replace("net_", "bert.").replace("_", ".") for name in zero}
    names.write_text(json.dumps(mapped), encoding="utf-8")
    got = found(path, names=names)
    assert got.code == 0
    assert not got.candidate.unknown
    assert levels.reached(got.levels).title == "gradients"


def test_a_map_of_module_names_serves_every_section(tmp_path):
    """One line of a map names a module's output and its gradient."""
    tensors = {f"{s}/out": observed()[f"{s}/bert.pooler"] for s in ("forward", "gradients")}
    (tmp_path / "m.json").write_text('{"out": "bert.pooler"}', encoding="utf-8")
    held = found(written(tmp_path / "c.safetensors", tensors), names=tmp_path / "m.json").candidate
    assert set(held.tensors) == {"forward/bert.pooler", "gradients/bert.pooler"}


# ---- Hostile and unusable --------------------------------------------------------------------------------------------
def pickled(path):
    np.savez(path, **{"forward/loss": np.array([{"a": 1}], object)})


def lying_npy(path):
    np.save(path, np.zeros((2, 3)))
    path.write_bytes(path.read_bytes().replace(b"(2, 3)", b"(9999999999, 3)"[:6].ljust(6)))


def npy_bytes(header):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def bomb(path):
    """A member of a zip that claims a terabyte and holds a line."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "forward/loss.npy", npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 125000), }")
        )


def broken_member(path):
    np.savez(path, **{"forward/bert.pooler": observed()["forward/bert.pooler"]})
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)


def npy_claiming(length, version=2):
    """An .npy whose header claims to be so long."""
    return b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(2 * version, "little") + b" " * 1000


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    """An .npz of these (name, bytes)."""

    def make(path):
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in members:
                archive.writestr(f"{name}.npy", data)

    return make


def number(value=0.0):
    return npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (), }") + np.float64(value).tobytes()


def listed(changes):
    """An .npz of a number whose entry in the list of members has other bytes at these offsets."""

    def make(path):
        zipped(("forward/loss", number()))(path)
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02")
        for offset, new in changes.items():
            data[at + offset : at + offset + len(new)] = new
        path.write_bytes(data)

    return make


def put(data):
    return lambda path: path.write_bytes(data)


def tensors_of(**named):
    return lambda path: safetensors.write(path, {key.replace("__", "/"): array for key, array in named.items()})


HOSTILE = {
    "missing.npz": (lambda path: None, "no such file"),
    "empty.safetensors": (put(b""), "too short"),
    "header.safetensors": (put((10**12).to_bytes(8, "little") + b"{}"), "claims a header of 1000000000000 bytes"),
    "text.safetensors": (put(b"hello, world"), "text.safetensors: no header stands behind its first 8 bytes: not safe"),
    "empty.npz": (zipped(), "empty.npz holds no tensors"),
    "pickle.bin": (put(pickle.dumps({"a": 1})), "never unpickled"),
    "pickled.npz": (pickled, "pickled Python objects"),
    "archive.pt": (lambda path: zipfile.ZipFile(path, "w").writestr("data.pkl", b"x"), "without .npy members"),
    "truncated.npz": (put(b"PK\x03\x04 and no more"), "not a usable .npz"),
    "bomb.npz": (bomb, "claims shape"),
    "broken.npz": (broken_member, "Bad CRC-32"),
    "lying.npy": (
        put(npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }")),
        "claims shape",
    ),
    "code.npy": (put(npy_bytes("__import__('os').getcwd()")), "not a usable .npy"),
    "negative.npy": (put(npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }")), "shape"),
    "objects.npy": (
        put(npy_bytes("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")),
        "pickled Python objects",
    ),
    "version.npy": (put(b"\x93NUMPY\x07\x00" + bytes(100)), "version"),
    "other.safetensors": (tensors_of(a=np.zeros(2), b=np.ones(3)), "no tensor in common"),
    "shape.safetensors": (tensors_of(forward__loss=np.zeros((2, 3))), "(2, 3), the case has ()"),
    "complex.npz": (lambda path: np.savez(path, **{"forward/loss": np.complex128(1)}), "not real numbers"),
    "words.npz": (lambda path: np.savez(path, **{"forward/loss": np.array("x")}), "not real numbers"),
    "fraction.npz": (
        lambda path: np.savez(path, **{"inputs/next_sentence_labels": np.array([0.5, 1, 1])}),
        "fractions",
    ),
    "folder": (lambda path: path.mkdir(), "holds no tensors"),
    # claims that the bytes cannot keep
    "long.npz": (zipped(("forward/loss", npy_claiming(2**32 - 1))), "claims a header of 4294967295 bytes"),
    "long.npy": (put(npy_claiming(2**32 - 1)), "claims a header of 4294967295 bytes"),
    "short.npy": (put(npy_claiming(2000, version=1)), "claims a header of 2000 bytes"),
    "stub.npy": (put(b"\x93NUMPY\x01"), "does not begin as one"),
    "nested.npy": (put(npy_bytes("{'descr': " + "[" * 100)), "not a usable .npy"),
    "twice.npy": (put(npy_bytes("{'shape': (), 'shape': (), 'fortran_order': False, }")), "not a usable .npy"),
    "octal.npy": (put(npy_bytes("{'descr': '<f8', 'fortran_order': 0o1if 1else 2, 'shape': (), }")), "not a usable"),
    "record.npy": (
        put(npy_bytes("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (3,), }")),
        "no tensor in common",
    ),
    "record.npz": (
        zipped(("forward/loss", npy_bytes("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (), }"))),
        "not real numbers",
    ),
    "wide.npz": (
        zipped(("forward/loss", npy_bytes("{'descr': '<U100000000', 'fortran_order': False, 'shape': (), }"))),
        "not real numbers",
    ),
    "ratio.npz": (listed({24: (10**9).to_bytes(4, "little")}), "claims 1000000000 bytes, more than"),
    "method.npz": (zipped(("forward/loss", number()), method=zipfile.ZIP_BZIP2), "compressed by method 12"),
    "lzma.npz": (zipped(("forward/loss", number()), method=zipfile.ZIP_LZMA), "compressed by method 14"),
    "encrypted.npz": (listed({8: b"\x01"}), "encrypted"),
    "latin.npz": (listed({8: b"\x00\x08", 46: b"\xff"}), "not a usable .npz"),
    "elsewhere.npz": (listed({42: (10**6).to_bytes(4, "little")}), "not a usable .npz"),
    "repeated.npz": (
        zipped((
            "forward/bert.embeddings.position_embeddings",
            npy_bytes("{'descr': '|b1', 'fortran_order': False, 'shape': (9999, 9, 12), }") + bytes(9999 * 9 * 12),
        )),
        "is (9999, 9, 12), the case has (1, 9, 12)",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_unusable_candidates_are_one_line(tmp_path, capsys, name):
    """Exit code 2, one line that says what is wrong, nothing unpickled, no memory taken."""
    make, said = HOSTILE[name]
    path = tmp_path / name
    make(path)
    assert cli.main(["check", CASE, str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_nothing_is_taken_that_the_bytes_do_not_hold(tmp_path):
    """A claim costs no memory, nor does a tensor in a sparse file that the case has no use for."""
    zipped(("forward/loss", npy_claiming(2**32 - 1)))(tmp_path / "long.npz")
    size = 10**12
    fields = {"forward/loss": entry("F64", [], 0, 8), "other": entry("U8", [size], 8, size + 8)}
    header = json.dumps(fields).encode()
    with open(tmp_path / "sparse.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        try:
            file.truncate(8 + len(header) + 8 + size)
        except OSError:
            pytest.skip("no sparse files here")
    case().tensor("forward/loss")
    tracemalloc.start()
    with pytest.raises(InputError, match="claims a header"):
        candidate.read(tmp_path / "long.npz")
    held = candidate.matched(candidate.read(tmp_path / "sparse.safetensors"), case())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (held.unknown, held.tensors["forward/loss"]) == (["other"], 0)
    assert peak < 2e7


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_lists_of_members_and_tensors_are_bounded(tmp_path, monkeypatch):
    zipped(*((f"x{i}", number()) for i in range(9)))(tmp_path / "many.npz")
    assert len(candidate.read(tmp_path / "many.npz")) == 9
    monkeypatch.setattr(candidate, "MAX_TENSORS", 8)
    with pytest.raises(InputError, match="more than 8 tensors"):
        candidate.read(tmp_path / "many.npz")
    monkeypatch.setattr(numpy_files, "MAX_LIST", 400)
    with pytest.raises(InputError, match="its list of members has more than 400 bytes"):
        candidate.read(tmp_path / "many.npz")


def test_an_archive_is_closed_with_its_last_tensor(tmp_path):
    zipped(("x", number(3)))(tmp_path / "a.npz")
    stored = candidate.read(tmp_path / "a.npz")
    file = stored["x"].load.args[0].fp.file
    assert (stored["x"].load(), file.closed) == (3, False)
    del stored
    gc.collect()
    assert file.closed


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", ">i4", "|u1", "|b1", "<i8", "<f16"])
def test_numpy_s_files_are_read_as_numpy_reads_them(tmp_path, kind, order):
    """Of every dtype of numbers, byte order and memory order, alone and in an archive; empty ones and scalars too."""
    for shape in ((), (0, 3), (3,), (2, 3, 4)):
        try:
            array = np.asarray(np.arange(np.prod(shape)).reshape(shape), kind, order=order)
        except TypeError:
            pytest.skip("no such type on this machine")
        np.save(tmp_path / "a.npy", array)
        np.savez_compressed(tmp_path / "b.npz", x=array)
        for got in (candidate.read(tmp_path / "a.npy")["a"], candidate.read(tmp_path / "b.npz")["x"]):
            read = got.load()
            assert got.shape == read.shape == shape
            assert read.dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(read, array)


@pytest.mark.skipif(os.name == "nt", reason="FIFOs and devices of this kind are POSIX's")
@pytest.mark.parametrize("option", [[], ["--names"]])
def test_what_is_no_file_is_one_line(tmp_path, capsys, option):
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    right = written(tmp_path / "c.safetensors", {"forward/loss": np.zeros(())})
    for name, kind in (("fifo.npz", "a FIFO"), ("zero.npy", "a device")):
        place = str(tmp_path / name)
        arguments = [str(right), "--names", place] if option else [place]
        assert cli.main(["check", CASE, *arguments]) == 2
        assert f"it is {kind}, not a file" in capsys.readouterr().err
        assert cli.main(["check", "tokenizer/cased", place]) == 2
        assert f"it is {kind}, not a file" in capsys.readouterr().err
    assert cli.main(["check", CASE, str(tmp_path)]) == 2  # the FIFO lies in the folder
    assert "it is a FIFO, not a file" in capsys.readouterr().err
    assert cli.main(["check", CASE, str(right), "--names", str(tmp_path)]) == 2
    assert "it is a directory, not a file" in capsys.readouterr().err


def test_folders_are_read_themselves(tmp_path, capsys):
    """What begins with a dot and what a link leads to is not the candidate's; what cannot be read is said."""
    held = tmp_path / "candidate"
    for folder in (".minibert-pending", ".git", "forward"):
        (held / folder).mkdir(parents=True)
        np.save(held / folder / "loss.npy", np.zeros(()))
    np.save(held / ".loss.npy", np.zeros(()))
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other/far.npy", np.zeros(3))
    try:
        (held / "linked").symlink_to(tmp_path / "other", target_is_directory=True)
        (held / "round").symlink_to(held, target_is_directory=True)
        (held / "near.npy").symlink_to(tmp_path / "other/far.npy")
        names = {"forward/loss", "near"}
    except OSError:
        names = {"forward/loss"}  # this user may make no links
    assert candidate.read(held).keys() == names
    deep = held.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    with pytest.raises(InputError, match="nested more than 32 deep"):
        candidate.read(held)


def test_an_unreadable_folder_is_said(tmp_path, monkeypatch):
    """Rather than that it holds nothing."""
    (tmp_path / "closed").mkdir()
    real = os.listdir

    def listdir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(InputError, match=r"cannot read .*closed: Permission denied"):
        candidate.read(tmp_path)


def test_values_beyond_float64_are_infinite_without_a_word(tmp_path):
    """A long double that float64 cannot hold is judged as what it becomes."""
    huge = np.array(np.longdouble("1e4000"))
    if not np.isfinite(huge):
        pytest.skip("long doubles are no wider here")
    np.save(tmp_path / "forward%2Floss.npy", huge)
    got = found(tmp_path, seconds=0)  # no search for the mistake's name
    assert (got.first.status, got.first.got) == ("nan", np.inf)


def test_a_tensor_that_stands_twice_is_refused(tmp_path):
    """Which of two files holds the tensor cannot be guessed."""
    for name in ("a", "b"):
        written(tmp_path / f"{name}.safetensors", {"forward/loss": np.zeros(())})
    with pytest.raises(InputError, match="stands twice"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "not a JSON object"),
        ('{"a": "forward/nothing"}', "not in the case"),
        ('{"a": {"key": "forward/loss", "turn": true}}', "maps to"),
        ('{"a": 3}', "maps to"),
        ('{"a": "forward/loss", "a": "forward/loss"}', "stands twice"),
        ('{"a": "forward/loss", "b": "forward/loss"}', "are both"),
    ],
)
def test_bad_name_maps_are_one_line(tmp_path, text, said):
    """A map is read strictly."""
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    path = written(tmp_path / "c.safetensors", {"a": np.zeros(()), "b": np.zeros(())})
    with pytest.raises(InputError, match=said):
        found(path, names=tmp_path / "m.json")


# ---- Foreign names ---------------------------------------------------------------------------------------------------
FORGED = "x\x1b[2J\x1b]0;owned\x07\nclaim: L7 trajectory\r\u202e\u2028<script>"


def test_foreign_names_forge_nothing(tmp_path, capsys):
    """In no report: not the tensors', not the file's. JSON has the true ones."""
    pooled = case().tensor("forward/bert.pooler")
    tensors = {f"forward/{FORGED}": np.zeros(2), FORGED: np.ones(3), "forward/bert.pooler": pooled}
    folder = tmp_path / ("c\nclaim: L7" if os.name != "nt" else "c")
    folder.mkdir()
    path = written(folder / "c.safetensors", tensors)
    files = {name: tmp_path / name for name in ("json", "html", "claim", "badge")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    assert cli.main(["check", CASE, str(path), *options]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert [line for line in out.splitlines() if line.startswith("claim")] == ["claim: no level"]
    assert r"x\x1b[2J" in out
    for name, file in files.items():
        text = file.read_text(encoding="utf-8")
        assert all(line.isprintable() for line in text.split("\n")), name
        assert "<script>" not in text or name == "json"
    report = json.loads(files["json"].read_text(encoding="utf-8"))
    assert set(report["unknown"]) == {f"forward/{FORGED}", FORGED}
    assert report["candidate"]["source"] == str(path)


def test_names_that_are_suggested_forge_nothing(tmp_path, capsys):
    written(tmp_path / "c.safetensors", {FORGED: case().tensor("forward/bert.pooler")})
    names = tmp_path / "names.json"
    assert cli.main(["check", CASE, str(tmp_path / "c.safetensors"), "--suggest-names", str(names)]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert not any(line.startswith("claim") for line in out.splitlines())
    assert json.loads(names.read_text(encoding="utf-8")) == {FORGED: "forward/bert.pooler"}


def test_a_name_of_a_million_letters_is_cut(tmp_path, capsys):
    pooled = case().tensor("forward/bert.pooler")
    written(tmp_path / "c.safetensors", {"a" * 10**6: np.zeros(1), "forward/bert.pooler": pooled})
    assert cli.main(["check", CASE, str(tmp_path / "c.safetensors")]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
def test_names_that_are_no_text(tmp_path, capsys):
    """A path that is not UTF-8 is shown and written as Python escapes it; a tensor's name has to be text."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors")
    written(path, {"forward/loss": case().tensor("forward/loss")})
    files = {name: tmp_path / name for name in ("json", "html", "claim", "badge")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    assert cli.main(["check", CASE, path, *options]) == 0
    assert r"\udcff.safetensors" in capsys.readouterr().out
    assert json.loads(files["json"].read_text(encoding="utf-8"))["candidate"]["source"] == path
    np.save(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.npy"), np.zeros(1))
    assert cli.main(["check", CASE, str(tmp_path)]) == 2
    assert re.fullmatch(r"minibert: error: .*the name '\\udcfe' is not UTF-8: rename it\n", capsys.readouterr().err)


def test_numbers_of_any_size_are_judged_without_a_word(tmp_path, capsys):
    """No warning of NumPy's stands among the lines of the report."""
    tensors = {key: array * 1e300 for key, array in observed().items() if not key.startswith("steps/")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = str(written(tmp_path / "c.safetensors", tensors))
        assert cli.main(["check", CASE, file, "--seconds", "1"]) == 1  # some mutants see them, too
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["check", CASE, str(case().path)], ["golden", "list"], ["mistakes"]])
def test_a_full_disk_is_one_line(command):
    with open("/dev/full", "wb") as full:
        arguments = [sys.executable, "-m", "minibert", *command]
        ran = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (2, 1)
    assert b"Traceback" not in ran.stderr


# ---- Reports ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """The four files of a check with a mistake, and what was printed."""
    folder = tmp_path_factory.mktemp("wrong")
    path = written(folder / "c.safetensors", observed(around=(scaled_scores,)))
    files = {name: folder / name for name in ("json", "html", "claim", "badge")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    ran = subprocess.run(
        [sys.executable, "-m", "minibert", "check", CASE, str(path), *options],
        capture_output=True, text=True, cwd=ROOT, encoding="utf-8",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (1, "")
    return {name: file.read_text(encoding="utf-8") for name, file in files.items()} | {"out": ran.stdout}


def test_the_table_names_tensor_index_error_and_tolerance(wrong):
    """The terminal says where it first differs, by how much and what would have passed; no colours in a pipe."""
    out = wrong["out"]
    assert f"first divergence: {SCORES}" in out
    assert "tolerance it would have needed" in out
    assert "its own block is wrong" in out
    assert "claim: L1 embeddings" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) < 40


def test_the_answer_is_read_in_ten_lines(wrong):
    """Of 80 columns: verdict, mistake, where, what to do, what others would have said; JSON has the same."""
    lines = wrong["out"].partition("\n\n")[0].splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) < 80
    assert lines[0].startswith("different: ")
    assert lines[1].startswith("the mistake is A0")
    assert lines[2] == f"first divergence: {SCORES}"
    assert any(line.startswith("do: right is ") for line in lines)
    assert re.search(r"others, of the outputs: cosine 0\.\d+: (pass|fail); PCC 0\.\d+: ", "\n".join(lines))
    got = json.loads(wrong["json"])
    assert got["answer"] == lines
    assert {one["criterion"] for one in got["others"]} == {"cosine", "PCC", "1e-3", "1e-5"}
    assert got["first_divergence"]["block"] == "wrong"


def test_json_holds_everything(wrong):
    """Machines get every row, the first divergence, levels and the diagnosis."""
    got = json.loads(wrong["json"])
    assert (got["format"], got["exit_code"], got["level"]) == ("minibert-check/1", 1, "L1")
    assert got["first_divergence"]["key"] == SCORES
    assert {row["key"] for row in got["rows"]} >= set(observed())
    assert got["diagnosis"]["kind"] in ("mistake", "tie", "pair", "several", "explained", "unknown")
    assert len(got["levels"]) == 8


def test_claim_and_badge_name_versions_and_hashes(wrong):
    """A claim can be traced to the case and to the tensors."""
    claim = json.loads(wrong["claim"])
    assert claim["case"] == {
        "name": CASE,
        "sha256": levels.fingerprint(case()),
        "minibert": case().facts["version"],
    }
    assert claim["candidate"]["sha256"] == candidate.digest(observed(around=(scaled_scores,)))
    assert (claim["level"], claim["title"], claim["dtype"], claim["agrees"]) == ("L1", "embeddings", "float64", False)
    assert claim["levels"]["L2"] == "differs"
    assert wrong["badge"].startswith("<svg")
    assert "L1 embeddings · float64" in wrong["badge"]


def test_the_page_needs_nothing_else(wrong):
    """No script, no address, every tensor in it."""
    page = wrong["html"]
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|https?://|\son\w+=", page.split("<h2>Diagnosis")[0])
    assert re.search(r"<h1>The mistake is <a href=\"#entry-(A\d\d)\">\1</a>", page)
    assert page.count("<polyline") == 2
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|src=|\son\w+=", page)
    assert all(f'href="#{target}"' not in page or f'id="{target}"' in page for target in observed())
    for key in (SCORES, "steps/10/adam_v.bert.pooler.dense.weight"):
        assert f'id="{key}"' in page
    assert 'class="cell k5 first"' in page


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# a page in frames of two widths, light and dark, and what a script outside it finds there: how many pixels it is wide,
# and the texts in cells and chips whose contrast is below 4.5, or below 3 where they only inherit an error
FRAMES = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><body><script>
const light = text => { const c = text.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map(v => text.startsWith("color(") ? v : v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    return .2126 * c[0] + .7152 * c[1] + .0722 * c[2] }
function faint(page) {
    const found = []
    for (const e of page.querySelectorAll(".cell, .chip")) {
        const style = page.defaultView.getComputedStyle(e)
        const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => x - y)
        if ((b + .05) / (a + .05) < (e.matches(".pale, .knone") ? 3 : 4.5)) found.push(e.className)
    }
    return [...new Set(found)]
}
let left = 4
for (const scheme of ["light", "dark"]) for (const width of [400, 1400]) {
    const frame = document.createElement("iframe")
    frame.style = `border: 0; color-scheme: ${scheme}`
    frame.width = width, frame.height = 3000
    frame.onload = () => {
        const page = frame.contentDocument, root = page.documentElement
        const answer = page.querySelector("dl.answer").getBoundingClientRect()
        const lost = [...page.querySelectorAll("a")].filter(a => !page.getElementById(a.getAttribute("href").slice(1)))
        const paper = page.defaultView.getComputedStyle(page.body).backgroundColor
        document.title += JSON.stringify({scheme, width, wide: root.scrollWidth, answer: answer.bottom,
            lost: lost.length, paper, faint: faint(page)}) + "@"
    }
    frame.srcdoc = PAGE
    document.body.append(frame)
}
</script></body></html>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium installed")
def test_the_page_in_a_browser(wrong, tmp_path):
    """At 400 and 1400 pixels, light and dark: nothing stands out to the right, the answer is on the first screen, every
    link leads somewhere, what is written on colours can be read.
    """
    page = json.dumps(wrong["html"]).replace("</", "<\\/")
    (tmp_path / "frames.html").write_text(FRAMES.replace("PAGE", page), encoding="utf-8")
    quiet = ["quic", "background-networking", "component-update", "sync", "gpu"]
    flags = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    ran = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "frames.html").as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=600,
    )  # fmt: skip
    found = [json.loads(line) for line in re.search(r"<title>(.*?)@</title>", ran.stdout)[1].split("@")]
    assert sorted((one["width"], one["scheme"]) for one in found) == [
        (400, "dark"), (400, "light"), (1400, "dark"), (1400, "light")]  # fmt: skip
    for one in found:
        assert one["wide"] <= one["width"], one
        assert (one["lost"], one["faint"]) == (0, []), one
        assert one["answer"] < (800 if one["width"] == 400 else 500), one
    assert len({one["paper"] for one in found}) == 2


# ---- Exit codes ------------------------------------------------------------------------------------------------------
def test_exit_codes(tmp_path, capsys):
    """0 right and partial, from the outside; 2 for no case, 2 for a foreign dtype."""
    few = {key: a for key, a in observed("float32").items() if PARTS["encoder"](key) or PARTS["embeddings"](key)}
    path = written(tmp_path / "few.safetensors", few)
    command = [sys.executable, "-m", "minibert", "check", CASE, str(path), "--dtype", "float32"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, encoding="utf-8")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "claim: L2 encoder" in ran.stdout
    assert "not supplied" in ran.stdout
    for wrong in (["bert/nothing", path], [CASE, path, "--dtype", "float8"]):
        assert cli.main(["check", *map(str, wrong)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("option", ["--json", "--html", "--claim", "--badge"])
def test_what_cannot_be_written_is_said_before_the_search(tmp_path, capsys, monkeypatch, option):
    path = written(tmp_path / "c.safetensors", observed("float32", (scaled_scores,)))
    monkeypatch.setattr(checking, "report_of", None)
    assert cli.main(["check", CASE, str(path), option, str(tmp_path / "absent" / "file")]) == 2
    out, err = capsys.readouterr()
    assert (out, "cannot write" in err, err.count("\n")) == ("", True, 1)


@pytest.mark.parametrize(("seconds", "named"), [(600, True), (0, False)])
def test_a_limit_on_the_search_is_the_user_s(tmp_path, capsys, seconds, named):
    """Without one it is named: see `wrong`."""
    path = written(tmp_path / "c.safetensors", observed("float32", (scaled_scores,)))
    assert cli.main(["check", CASE, str(path), "--seconds", str(seconds)]) == 1
    out = capsys.readouterr().out
    assert ("the mistake is " in out, "mutants not tried, for want of time" in out) == (named, not named)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_limit_that_is_none_is_refused(tmp_path, seconds):
    path = written(tmp_path / "c.safetensors", observed("float32"))
    with pytest.raises(InputError, match=r"^seconds is (-1|nan): a number from 0 on$"):
        found(path, seconds=seconds)


@pytest.mark.parametrize("name", ["ops/layer_norm", "bert/encoder-layer", "bert/long"])
def test_every_kind_of_case_checks_itself(name):
    """A case is its own right candidate; one entry off, and it is not."""
    golden = cases.read(name)
    got = found(golden.path, name)
    assert (got.code, got.first) == (0, None)
    key = next(key for key in golden.entries if key.startswith("forward/"))
    tensors = {k: golden.tensor(k) for k in golden.entries}
    tensors[key] = tensors[key] + golden.entries[key].scale * 1e-3
    rows = compare.compare(golden, tensors, "float32")
    assert compare.first_divergence(rows).key == key


# ---- Tokens ----------------------------------------------------------------------------------------------------------
def test_tokenizers_are_checked_and_their_mistake_named(tmp_path, capsys):
    """Ids as JSON reach L0; partial pieces for an unknown tail are named; a text left out lowers the claim."""
    from minibert.mistakes import CATALOGUE
    from minibert.tokenizers.wordpiece import WordPiece

    held = cases.read("tokenizer/uncased").text()
    right = [vector["ids"] for vector in held["vectors"]]
    path = tmp_path / "ids.json"

    def code(value):
        path.write_text(json.dumps(value), encoding="utf-8")
        return cli.main(["check", "tokenizer/uncased", str(path)]), capsys.readouterr()

    got, said = code(right)
    assert (got, "claim: L0 tokens" in said.out) == (0, True)
    got, said = code([None, *right[1:]])
    assert (got, "claim: no level" in said.out) == (0, True)
    tokenizer = WordPiece(held["vocabulary"], **held["settings"])
    wrong = CATALOGUE["T04"].tokenize
    got, said = code([wrong(tokenizer, v["text"], v["pair"], v["max_length"])[0] for v in held["vectors"]])
    assert (got, "T04 " in said.out) == (1, True)
    for bad in ({}, [], [["a"]], "x", right + right):
        got, said = code(bad)
        assert (got, said.err.count("\n")) == (2, 1)


def test_reports_print_on_any_terminal():
    """Nothing but ASCII in the fixed words of the table, so that any console can show it."""
    source = io.StringIO()
    for line in report.table(found(case().path)):
        print(line, file=source)
    assert source.getvalue().isascii()
