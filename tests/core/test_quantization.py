"""Linear layers in eight bits: the scalar loops, ONNX Runtime, sizes, and what depends on the batch."""

import json
import shutil
from unittest import mock

import numpy as np
import pytest

import minibert
import reference
from minibert import cli, families, ops, quantization, tokenizers, tree
from minibert.checkpoint import safetensors
from minibert.errors import InputError


def drawn():
    """x with a row that is all zeros, W with rows of unlike spread, b."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 6)).astype(np.float32), rng.standard_normal((5, 6)).astype(np.float32)
    x[2] = 0
    return x, w * np.float32([[0.01], [1], [1], [3], [1]]), rng.standard_normal(5).astype(np.float32)


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_against_the_double(by_row, per_channel):
    x, w, b = drawn()
    got = quantization.linear(x, quantization.weight(w, per_channel), b, by_row=by_row)
    due = reference.double("quantized_linear")(x.tolist(), w.tolist(), b.tolist(), by_row, per_channel)
    assert np.abs(got - np.array(due)).max() < 2e-6
    assert np.abs(got - ops.linear(x, w, b)[0]).max() > 1e-4


def test_torchs_scheme_by_its_numbers():
    """Computed with torch 2.13 on x86: 127.5 and seven bits of the input."""
    w = (0.3 * np.sin(0.7 * np.arange(24))).astype(np.float32).reshape(4, 6)
    x = (2 * np.cos(0.5 * np.arange(12))).astype(np.float32).reshape(2, 6)
    b = np.float32([0.1, -0.2, 0.3, 0])
    held = quantization.weight(w, scheme=quantization.TORCH)
    assert held.scale.item() == pytest.approx(0.0023308410309255123, rel=1e-7)
    assert quantization.quantized_input(x, False, quantization.TORCH)[1].item() == pytest.approx(0.03133846455671656)
    due = [[0.8782942, -2.0801778, 1.3704741, 0.8313249], [-0.8501691, 1.6434361, -0.5630264, -0.9982327]]
    assert np.abs(quantization.linear(x, held, b, by_row=False, scheme=quantization.TORCH) - due).max() < 1e-6


def test_a_weight_is_off_by_half_of_its_scale_at_the_most():
    _, w, _ = drawn()
    for per_channel in (False, True):
        held = quantization.weight(w, per_channel)
        assert (np.abs(quantization.dequantized(held) - w) <= held.scale / 2 * (1 + 1e-5)).all()
    zero = quantization.weight(np.zeros((2, 3), np.float32))
    assert not quantization.dequantized(zero).any()


def test_by_row_other_rows_change_nothing():
    x, w, b = drawn()
    held, louder = quantization.weight(w), x.copy()
    louder[3] *= 100
    one, other = (quantization.linear(rows, held, b)[0] for rows in (x, louder))
    assert np.array_equal(one, other)
    one, other = (quantization.linear(rows, held, b, by_row=False)[0] for rows in (x, louder))
    assert np.abs(one - other).max() > 1e-2


@pytest.mark.parametrize("per_channel", [True, False])
def test_equal_to_onnx_runtime(per_channel, tmp_path):
    """Its dynamic quantisation of a product of matrices, of all rows together and of each alone."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    quantize = pytest.importorskip("onnxruntime.quantization")
    x, w, _ = drawn()
    kind, sizes = onnx.TensorProto.FLOAT, {"x": 6, "y": 5}
    rows = [onnx.helper.make_tensor_value_info(name, kind, [None, n]) for name, n in sizes.items()]
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", rows[:1], rows[1:],
                                   [onnx.numpy_helper.from_array(np.ascontiguousarray(w.T), "w")])  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "plain.onnx")
    quantize.quantize_dynamic(tmp_path / "plain.onnx", tmp_path / "small.onnx", per_channel=per_channel,
                              weight_type=quantize.QuantType.QInt8)  # fmt: skip
    session = runtime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    held = quantization.weight(w, per_channel)
    (due,) = session.run(None, {"x": x})
    assert np.abs(quantization.linear(x, held, by_row=False) - due).max() < 1e-6 * np.abs(due).max()
    for i in range(len(x)):
        (due,) = session.run(None, {"x": x[i : i + 1]})
        assert np.abs(quantization.linear(x, held)[i] - due[0]).max() < 1e-6 * max(1, np.abs(due).max())


def test_a_model_in_eight_bits(tmp_path, capsys):
    """Its linear layers alone; sizes; a directory that gives the same answers; the command."""
    words = ("fine", "poor", "film", "book")
    learnt = tokenizers.tokenizer("wordpiece").train([" ".join(words)] * 3, 40, lowercase=True)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
             "max_position_embeddings": 16, "initializer_range": 0.4}  # fmt: skip
    model = minibert.create("bert", vocab_size=len(learnt), pad_token_id=learnt.pad_id, **sizes)
    model.tokenizer = learnt
    model = model.with_task("classify", labels=["fine", "poor"])
    found = quantization.weights(model)
    shapes = tree.flatten(model.network.shapes(model.config))
    assert not any("embeddings" in path for path in found)
    assert len(found) == 2 * 6 + 2  # pooler and classifier besides the layers
    assert {*found} <= {*shapes, "classify.weight"}
    before, after = quantization.size(model, found)
    assert before - after == sum(3 * one.values.size - one.scale.nbytes for one in found.values())
    batch = {"input_ids": [[1, 2, 3, 4]]}
    plain = model.predict(batch)["logits"]
    with quantization.running(model, found):
        less = model.predict(batch)["logits"]
    assert 0 < np.abs(less - plain).max() < 0.2 * np.abs(plain).max()
    assert np.array_equal(model.predict(batch)["logits"], plain)
    model.save(tmp_path / "whole")
    before = {file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()}
    with pytest.raises(InputError, match="whole' is there already: name a new directory"):
        quantization.save(model, found, tmp_path / "whole")
    assert {file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()} == before
    quantization.save(model, found, tmp_path / "small")
    again, held = quantization.load(tmp_path / "small")
    with quantization.running(again, held):
        assert np.array_equal(again.predict(batch)["logits"], less)
    model.save(tmp_path / "model")
    table = "".join(f"{word}\tthe {word} film\n" for word in ("fine", "poor"))
    (tmp_path / "rows.tsv").write_text(f"label\ttext\n{table}", encoding="utf-8")
    given = ["--rows", tmp_path / "rows.tsv", "--out", tmp_path / "out", "--per-channel"]
    assert cli.main(["quantize", str(tmp_path / "model"), *map(str, given)]) == 0
    printed = capsys.readouterr().out
    assert "14 matrices in eight bits" in printed
    assert "accuracy: 0." in printed
    assert (tmp_path / "out" / "quantized.safetensors").stat().st_size < (
        tmp_path / "model" / "model.safetensors").stat().st_size  # fmt: skip
    with pytest.raises(InputError, match="is not a quantised model's directory"):
        quantization.load(tmp_path / "model")
    assert {*quantization.weights(minibert.create("gpt2", **families.family("gpt2").PROBE))}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a classifier, "model", the same in eight bits, "rows" and "together", and texts with classes."""
    folder = tmp_path_factory.mktemp("eight")
    learnt = tokenizers.tokenizer("wordpiece").train(["fine poor film book"] * 3, 40, lowercase=True)
    model = minibert.create("bert", **{**families.family("bert").PROBE, "vocab_size": len(learnt)})
    model.tokenizer = learnt
    for tasks, name in ((("classify",), "model"), ((), "bare")):
        held = model.with_task("classify", labels=["fine", "poor"]) if tasks else model
        held.save(folder / name)
    (folder / "rows.tsv").write_text("label\ttext\nfine\ta fine film\npoor\ta poor book\n", encoding="utf-8")
    for given, out in (([], "rows"), (["--together"], "together")):
        assert cli.main(["quantize", str(folder / "model"), "--out", str(folder / out), *given]) == 0
    assert cli.main(["quantize", str(folder / "bare"), "--out", str(folder / "small")]) == 0
    return folder


def test_the_commands_answer_from_a_directory_in_eight_bits(place, capsys):
    """As the model does inside `running`, by row or together as it was made; what would train refuses it."""
    ids = {"input_ids": [[1, 2, 3, 4], [4, 3, 2, 3]]}
    plain = minibert.load(place / "model")
    answers = [plain.predict(ids)["logits"]]
    for out, by_row in (("rows", True), ("together", False)):
        with quantization.running(plain, quantization.weights(plain), by_row=by_row):
            due = plain.predict(ids)["logits"]
        with quantization.opened(place / out) as model:
            answers.append(model.predict(ids)["logits"])
            with pytest.raises(InputError, match="no gradient goes through what is rounded"):
                model.loss_backward(model.loss({**ids, "labels": [0, 1]})[1])
        assert np.abs(answers[-1] - due).max() < 1e-6
    assert len({answer.tobytes() for answer in answers}) == 3
    capsys.readouterr()
    assert cli.main(["predict", str(place / "rows"), str(place / "rows.tsv")]) == 0
    assert [line.split()[0] in ("fine", "poor") for line in capsys.readouterr().out.splitlines()] == [True, True]
    small = str(place / "small")
    for given in (["fill-mask", small, "the [MASK]"], ["embed", small, str(place / "rows.tsv")], ["info", small],
                  ["attention", small, "film", "-o", str(place / "maps.svg")], ["neighbours", small, "film"],
                  ["generate", small, "film", "--max-new-tokens", "2"]):  # fmt: skip
        assert cli.main(given) == 0, given
    assert "in eight bits: 13 matrices" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds a model in eight bits, for predict, embed and other commands"):
        minibert.load(small)


def test_a_quantised_directory_is_whole_or_not_there(place, tmp_path, monkeypatch):
    model = minibert.load(place / "model")
    found = quantization.weights(model)
    with monkeypatch.context() as patch:
        patch.setattr(quantization.safetensors, "header", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            quantization.save(model, found, tmp_path / "small")
    assert [*tmp_path.iterdir()] == []
    shutil.copytree(place / "rows", tmp_path / "again")
    model.save(tmp_path / "again")  # over it: the model in floats, and nothing of the other
    assert not [*(tmp_path / "again").glob("quantized*")]
    assert minibert.load(tmp_path / "again").tasks == ("classify",)


@pytest.mark.parametrize("name", ["electra", "t5", "ambert", "gpt2"])
def test_what_the_names_of_tensors_decide_is_known_without_them(name, tmp_path):
    model = minibert.create(name, **families.family(name).PROBE)
    found = quantization.weights(model)
    quantization.save(model, found, tmp_path / "small")
    again, _ = quantization.load(tmp_path / "small")
    assert again.config == model.config
    flat = tree.flatten(again.params)
    assert flat.keys() == tree.flatten(model.params).keys()
    assert all(np.array_equal(flat[path], array) for path, array in tree.items(model.params) if path not in found)
    assert [path.name for path in (tmp_path / "small").rglob("*.safetensors")] == ["quantized.safetensors"]


def test_damage_to_a_quantised_directory_is_one_line(place, tmp_path):
    """A scale that is none, a matrix of another shape, a name that is none, and rows of other classes."""
    file, record = tmp_path / "small" / "quantized.safetensors", tmp_path / "small" / "quantized.json"
    shutil.copytree(place / "rows", tmp_path / "small")
    held, said = safetensors.read(file), json.loads(record.read_text(encoding="utf-8"))
    path = said["matrices"][0]
    scale, wide = held[f"{path}_scale"], held[path]
    for change, words in (({f"{path}_scale": -scale}, "is no matrix in eight bits"), ({f"{path}_scale": scale * np.inf},
                          "is no matrix in eight bits"), ({path: wide[:-1]}, "expected an array of shape"),
                          ({"embeddings.norm.weight": held["embeddings.norm.weight"] * np.nan}, "finite"),
                          ({"x": scale}, "no parameter 'x'")):  # fmt: skip
        safetensors.write(file, {**held, **change})
        with pytest.raises(InputError, match=words):
            quantization.load(tmp_path / "small")
    safetensors.write(file, held)
    for change in ({"matrices": [[]]}, {"by_row": 1}, {"names": "x"}, {"format": "minibert-quantized/2"}):
        record.write_text(json.dumps({**said, **change}), encoding="utf-8")
        with pytest.raises(InputError, match="is not the record of a quantised model"):
            quantization.load(tmp_path / "small")
    (tmp_path / "other.tsv").write_text("label\ttext\nother\tfilm\n", encoding="utf-8")
    assert cli.main(["quantize", str(place / "model"), "--rows", str(tmp_path / "other.tsv")]) == 2
