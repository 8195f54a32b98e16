"""What other tools dump, read as a candidate: from the tool's own output, or from its published layout."""

import json
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from minibert import cli
from minibert.checkpoint import safetensors
from minibert.errors import InputError
from minibert.golden import candidate, torch_files
from minibert.golden import case as cases

CASE = "bert/published"
QUERY = "bert.encoder.layer.0.attention.self.query"


# ---- msprobe, by its published layout --------------------------------------------------------------------------------
def probed(folder, tensors, **entries):
    """A folder of .npy files and their list; tensors by the name of the call."""
    (folder / "dump_tensor_data").mkdir(parents=True)
    data = dict(entries)
    for name, array in tensors.items():
        file = f"{name}.output.0.npy"
        np.save(folder / "dump_tensor_data" / file, array)
        data[name] = {"input_args": [], "output": [{"type": "mindspore.Tensor", "dtype": "Float32",
                                                    "shape": list(array.shape), "data_name": file}]}  # fmt: skip
    listed = {"task": "tensor", "level": "L0", "framework": "pytorch", "dump_data_dir": "x", "data": data}
    (folder / "dump.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


def test_an_msprobe_dump_is_a_candidate(tmp_path, capsys):
    """By module, the first call and a further one; the mistake is named."""
    case = cases.read(CASE)
    forward = {f"Module.{key.removeprefix('forward/')}.Linear.forward.0": case.tensor(key).astype("f4")
               for key in case.entries if key.startswith("forward/") and key.rpartition(".")[2] in ("query", "key")}
    gradient = case.tensor(f"gradients/{QUERY}.weight")
    np.save(tmp_path / "g.npy", gradient)
    entry = {"weight": [{"type": "torch.Tensor", "data_name": "g.npy"}], "bias": [{"type": "none"}]}
    dump = probed(tmp_path / "dump", forward, **{f"Module.{QUERY}.Linear.parameters_grad": entry,
                                                 "Functional.relu.0.forward": {"output": [{"data_name": "g.npy"}]}})
    (tmp_path / "g.npy").rename(dump / "dump_tensor_data" / "g.npy")
    held = candidate.read(dump)
    assert held.keys() == {f"forward/{name.split('.', 1)[1].removesuffix('.Linear.forward.0')}" for name in forward} | {
        f"gradients/{QUERY}.weight"}
    np.testing.assert_array_equal(held[f"gradients/{QUERY}.weight"].load(), gradient)
    assert cli.main(["check", CASE, str(dump)]) == 0
    forward[f"Module.{QUERY}.Linear.forward.0"] = 2 * case.tensor(f"forward/{QUERY}")
    wrong = probed(tmp_path / "wrong", forward)
    assert cli.main(["check", CASE, str(wrong), "--seconds", "0"]) == 1
    assert f"first divergence: forward/{QUERY}" in capsys.readouterr().out
    again = probed(tmp_path / "again", {"Cell.albert.layer.Dense.forward.2": np.ones(3)})
    assert candidate.read(again).keys() == {"forward/albert.layer@2"}


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({"data": []}, "'data' is missing or no object"),
        ({"data": {"Module.a.Linear.forward.0": {"output": [{"data_name": "../../x.npy"}]}}}, "no plain file name"),
        ({"data": {"Module.a.Linear.forward.0": {"output": [{"data_name": "x.npy"}]}}}, "there is no such file"),
        ({"data": {"Module.a.Linear.forward.0": {"output": [{"data_name": 3}]}}}, "no plain file name"),
        ({"data": {"Module.a.Linear.forward.0": {"output": None}}}, "holds no tensors of modules"),
        ([], "'data' is missing or no object"),
    ],
)
def test_a_list_that_names_no_tensors_is_refused(listed, said, tmp_path):
    (tmp_path / "dump_tensor_data").mkdir()
    (tmp_path / "dump.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        candidate.read(tmp_path)
    assert said in str(caught.value)


# ---- llama.cpp, by its published layout ------------------------------------------------------------------------------
def debugged(folder, states, ids, model="m"):
    """What llama-debug writes of one prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / f"llamacpp-{model}-embeddings"
    start.with_name(start.name + ".bin").write_bytes(np.asarray(states, "<f4").tobytes())
    start.with_name(start.name + "-tokens.bin").write_bytes(np.asarray(ids, "<i4").tobytes())
    start.with_name(start.name + ".txt").write_text("0: 0.5\n", encoding="utf-8")
    return folder


def test_a_last_hidden_state_of_llama_cpp_is_a_candidate(tmp_path, capsys):
    """One row of it, under a name of its own, which a map takes to the case's; a batch of several rows it is not."""
    states = np.arange(20, dtype="f4").reshape(5, 4)
    held = candidate.read(debugged(tmp_path / "d", states, [1, 2, 3, 4, 5]))
    assert held.keys() == {"forward/llamacpp.embeddings"}
    assert held["forward/llamacpp.embeddings"].shape == (1, 5, 4)
    np.testing.assert_array_equal(held["forward/llamacpp.embeddings"].load()[0], states)
    named = {"forward/llamacpp.embeddings": "forward/bert.encoder.layer.1.output"}
    (tmp_path / "names.json").write_text(json.dumps(named), encoding="utf-8")
    state = cases.read(CASE).tensor("forward/bert.encoder.layer.1.output")[0, :7]
    dump = debugged(tmp_path / "row", state, range(len(state)))
    assert cli.main(["check", CASE, str(dump), "--names", str(tmp_path / "names.json"), "--seconds", "0"]) == 2
    assert "'forward/llamacpp.embeddings' is (1, 7, 12), the case has (3, 9, 12)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("numbers", "ids", "said"),
    [(np.ones(7), [1, 2], "use --pooling none"), (np.ones(0), [1], "use --pooling none"), (np.ones(4), [], "no ids")],
)
def test_what_is_no_state_of_every_token_is_refused(numbers, ids, said, tmp_path):
    with pytest.raises(InputError, match=rf"^[^\n]*{said}[^\n]*$"):
        candidate.read(debugged(tmp_path, numbers, ids))


def test_a_folder_of_llama_cpp_is_of_one_model(tmp_path):
    for model in "ab":
        debugged(tmp_path, np.ones(4), [1, 2], model)
    with pytest.raises(InputError, match="several models"):
        candidate.read(tmp_path)
    (tmp_path / "llamacpp-a-embeddings.bin").write_bytes(b"\0" * 7)
    (tmp_path / "llamacpp-b-embeddings.bin").unlink()
    with pytest.raises(InputError, match="multiple of 4"):
        candidate.read(tmp_path)


# ---- torch.save ------------------------------------------------------------------------------------------------------
def written(path, pickled, numbers, **more):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/data/0", numbers)
        for name, held in more.items():
            archive.writestr(name, held)
    return path


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_nothing_is_unpickled(tmp_path):
    made = written(tmp_path / "evil.pt", pickle.dumps(Evil(str(tmp_path / "written"))), b"\0" * 8)
    for path in (made, written(tmp_path / "b.pt", pickle.dumps(OrderedDict(a=1)), b"\0" * 8),
                 written(tmp_path / "c.pt", b"\x80\x02}q\x00.", b"")):  # fmt: skip
        with pytest.raises(InputError, match="no lone tensor of"):
            torch_files.single(path)
    (tmp_path / "d.pt").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="is not a usable file of"):
        torch_files.single(tmp_path / "d.pt")
    assert not (tmp_path / "written").exists()


def test_a_tensor_that_torch_saved_is_read_as_it_lies(tmp_path):
    """Kinds, strides, 16 bits and a file whose sizes go beyond its numbers."""
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(2, 3, 4)
    for value in (base, base.permute(2, 0, 1), base.double()[0, 1], base.bfloat16(), base.half(), base.long(),
                  torch.tensor(3.5), base[0, :2]):  # fmt: skip
        torch.save(value, tmp_path / "t.pt")
        held = torch_files.single(tmp_path / "t.pt")
        assert held.shape == tuple(value.shape)
        due = value.float() if value.is_floating_point() else value
        np.testing.assert_array_equal(held.load(), due.numpy())
        assert held.dtype == str(value.dtype).removeprefix("torch.")
    torch.save(base, tmp_path / "t.pt")
    with zipfile.ZipFile(tmp_path / "t.pt") as archive:
        name = archive.namelist()[0].partition("/")[0]
        pickled = archive.read(f"{name}/data.pkl")
    with pytest.raises(InputError, match="no lone tensor"):
        torch_files.single(written(tmp_path / "short.pt", pickled, b"\0" * 92))
    torch.save({"a": base, "b": base.double()}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=r"no lone tensor|data/0"):
        torch_files.single(tmp_path / "two.pt").load()


# ---- transformers' debugger ------------------------------------------------------------------------------------------
def test_what_the_debugger_of_transformers_writes_is_a_candidate(tmp_path, capsys):
    """Its own output, for the inputs of a case; text in the place of tensors is refused."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.model_debugging_utils import model_addition_debugger_context

    case = cases.read(CASE)
    known = transformers.BertConfig().to_dict()
    fields = {name: value for name, value in case.facts["config"].items() if name in known}
    config = transformers.BertConfig(**fields, attn_implementation="eager")
    model = transformers.BertForPreTraining(config).eval().float()
    weights = {name: torch.tensor(value).float() for name, value in case.section("weights").items()}
    assert not model.load_state_dict(weights, strict=False).unexpected_keys
    given = case.section("inputs")
    inputs = {ours: torch.tensor(given[name]) for ours, name in (
        ("input_ids", "input_ids"), ("attention_mask", "input_mask"), ("token_type_ids", "segment_ids"))}  # fmt: skip
    for use_repr in (False, True):
        with torch.no_grad(), model_addition_debugger_context(
            model, debug_path=str(tmp_path / str(use_repr)), do_prune_layers=False, use_repr=use_repr
        ):  # fmt: skip
            model(**inputs)
    held = candidate.read(tmp_path / "False")
    assert {f"forward/{QUERY}", "forward/bert.encoder.layer.1.output", "forward/bert.pooler"} <= held.keys()
    assert cli.main(["check", CASE, str(tmp_path / "False")]) == 0
    assert "first divergence" not in capsys.readouterr().out
    with pytest.raises(InputError, match="text, not tensors: dump with use_repr=False"):
        candidate.read(tmp_path / "True")


def test_a_tree_of_calls_that_is_none_is_refused(tmp_path):
    (tmp_path / "Bert_debug_tree_FULL_TENSORS.json").write_text('{"children": [3]}', encoding="utf-8")
    with pytest.raises(InputError, match="a node without 'module_path'"):
        candidate.read(tmp_path)
    (tmp_path / "Bert_debug_tree_FULL_TENSORS.json").write_text('{"module_path": "Bert"}', encoding="utf-8")
    safetensors.write(tmp_path / "Bert.a.b_outputs.safetensors", {"other": np.ones(2)})
    with pytest.raises(InputError, match="has no tensor 'data'"):
        candidate.read(tmp_path)
