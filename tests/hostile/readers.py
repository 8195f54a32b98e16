"""Every reader of minibert: valid inputs to begin with, and what reads them."""

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import struct
import sys
import tempfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import minibert
from minibert import (
    cli,
    corpus,
    families,
    generation,
    inference,
    parallel,
    pictures,
    pretraining,
    quantization,
    reading,
    recordings,
    rows,
    spectrogram,
    tokenizers,
    training,
    transfer,
)  # fmt: skip
from minibert import vectors as word_tables
from minibert.checkpoint import adapter_bert, growing, peft, safetensors
from minibert.checkpoint import fasttext as fasttext_files
from minibert.checkpoint import vectors as vector_files
from minibert.corruption import knowledge, segmentation, similarity
from minibert.golden import candidate, failures
from minibert.golden import case as cases

from . import mutation
from .mutation import INPUT, NAMES, NUMBERS, Random, Tree

REFERENCE = Path(__file__).resolve().parents[2] / "reference" / "golden"
TEXT = ["The cat sat on the mat and saw a dog.", "A small dog ran after the cat!", "使用语言模型来预测下一个词。",
        "Naïve café prices rose by 3.14 per cent?", "It's the cat's mat, the dog said."]  # fmt: skip
Arguments = list  # of what JSON can hold


class Reader(NamedTuple):
    """How one kind of input is read.

    valid: trees to begin with; arguments: drawn for an input, beside its files; read: (folder, arguments) -> the exit
    code of a command, None for a call; it may raise InputError. share: of the inputs. writes: the folder may change.
    """

    valid: Callable[[], list[Tree]]
    read: Callable[[Path, Arguments], int | None]
    arguments: Callable[[Random], Arguments] = lambda rng: []
    share: int = 10
    writes: bool = False


def command(*arguments: Any, stdin: bytes = b"") -> int:
    """The exit code of one command line, run in this process."""
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:  # --help and --version
        return stop.code or 0
    finally:
        sys.stdin = before


# ---- Valid inputs ----------------------------------------------------------------------------------------------------
def tree_of(folder: Path, keep: Callable[[str], bool] = lambda name: True) -> Tree:
    """The files below a folder."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if keep(name)}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the time of the block."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@functools.cache
def tokenizer(kind: str) -> Any:
    """A small one of its kind."""
    return tokenizers.tokenizer(kind).train(TEXT * 3, 300, lowercase=True)


@functools.cache
def model(family: str) -> Any:
    """A small one of its family, with a vocabulary."""
    module = families.family(family)
    held = tokenizer(module.TOKENIZER)
    sizes = families.own(module, {"vocab_size": len(held), "max_position_embeddings": 24})
    spelled = getattr(module, "spelled", lambda tokenizer: {})(held)
    made = minibert.create(family, **{**module.PROBE, **sizes, **spelled})
    made.tokenizer = held
    return made


@functools.cache
def published(family: str) -> Tree:
    """The files of a published directory."""
    with scratch() as folder:
        model(family).save(folder / "model")
        return tree_of(folder / "model")


def networks() -> list[Tree]:
    """Directories of one network each, of the first families also without a tokenizer."""
    whole = [published(family) for family in ("bert", "roberta", "albert", "spanbert", "macbert", "bert_wwm")]
    electra = {
        name.removeprefix("discriminator/"): data for name, data in published("electra").items() if "disc" in name
    }
    bare = [{name: tree[name] for name in ("config.json", "model.safetensors")} for tree in whole[:2]]
    return [*whole, *bare, electra]


def further() -> list[Tree]:
    """Directories of networks that are no BERT's, with the files that such a family has beside them."""
    trees = [published(family) for family in ("lstm", "elmo", "ambert", "chinesebert", "ernie_thu", "grover")]
    letters = dict.fromkeys(families.family("chinesebert").BESIDE, b"{}")
    return [*trees, trees[2] | {"coarse_vocab.txt": b"the cat\nthe dog\n"}, trees[3] | letters]


@functools.cache
def tuned(way: str, task: str = "classify") -> Any:
    """A small BERT with a task's head, as a way to transfer begins with it."""
    held = model("bert").with_task(task, labels=["good", "bad"])
    return transfer.begun(way, held, frozenset({f"{task}.weight", f"{task}.bias"})).model


@functools.cache
def adapted() -> list[Tree]:
    """Directories of tuned models with what no published model has, in a file beside the weights."""
    trees = []
    for way, task in (("adapter:3", "classify"), ("pals:4", "tag"), ("mix", "classify")):
        with scratch() as folder:
            tuned(way, task).save(folder / "model")
            trees.append(tree_of(folder / "model"))
    return trees


@functools.cache
def quantized() -> list[Tree]:
    """Directories of models in eight bits, of which one has adapters."""
    trees = []
    for held, apart in ((tuned("full"), True), (tuned("adapter:3", "tag"), False), (model("bert"), True)):
        with scratch() as folder:
            quantization.save(held, quantization.weights(held, apart), folder / "model")
            trees.append(tree_of(folder / "model"))
    return trees


def low_rank() -> list[Tree]:
    """PEFT's directories, and a file of adapters by the names of their release."""
    with scratch() as folder:
        peft.save(tuned("lora:2"), folder / "lora")
        for ending in ("npz", "safetensors"):
            adapter_bert.save(tuned("adapter:3"), folder / f"adapters.{ending}")
        held = tree_of(folder / "lora")
        fields = json.loads(held["adapter_config.json"])
        said = {**fields, "use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"query": 4, "value": 1}}
        return [held, held | {"adapter_config.json": mutation.dumped(said)},
                *({name: held} for name, held in tree_of(folder).items() if name.startswith("adapters."))]  # fmt: skip


def writers() -> list[Tree]:
    """GPT-2 with settings for generation."""
    said = ({"max_new_tokens": 5, "num_beams": 2, "eos_token_id": [5, 7], "no_repeat_ngram_size": 2, "pad_token_id": 3},
            {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9, "max_length": 12, "use_cache": False},
            {"early_stopping": "never", "length_penalty": 2.0, "min_length": 3, "typical_p": 1.0})  # fmt: skip
    return [published("gpt2") | {"generation_config.json": mutation.dumped(settings)} for settings in said]


@functools.cache
def sharded() -> Tree:
    """BERT in two shards."""
    tensors, files = model("bert").state_dict(), published("bert")
    with scratch() as folder:
        names = sorted(tensors)
        parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, held in parts.items():
            safetensors.write(folder / file, {name: tensors[name] for name in held})
        places = {name: file for file, held in parts.items() for name in held}
        index = mutation.dumped({"metadata": {"total_size": 1}, "weight_map": places})
        kept = {name: data for name, data in files.items() if name != "model.safetensors"}
        return kept | tree_of(folder) | {"model.safetensors.index.json": index}


def interrupted() -> list[Tree]:
    """Directories with what an interrupted write has committed."""
    place = ".minibert-pending/"
    trees = []
    for tree in (published("bert"), published("electra"), published("roberta")):
        trees.append({name if i % 2 else place + name: data for i, (name, data) in enumerate(tree.items())})
        trees[-1][f"{place}.minibert-removed"] = b"model.safetensors.index.json\nadded_tokens.json\n"
    return trees


@functools.cache
def vectors() -> list[Tree]:
    """Directories that say how vectors are made."""
    bert, dumped = published("bert"), mutation.dumped
    width = json.loads(bert["config.json"])["hidden_size"]
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    listed = [{"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
              for i, (path, kind) in enumerate(kinds.items())]  # fmt: skip
    with scratch() as folder:
        layer = {"linear.weight": np.ones((3, 2 * width), "f4"), "linear.bias": np.ones(3, "f4")}
        safetensors.write(folder / "x", layer)
        weights = (folder / "x").read_bytes()
    modes = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
    whole = bert | {
        "modules.json": dumped(listed), "1_Pooling/config.json": dumped(modes), "2_Dense/model.safetensors": weights,
        "2_Dense/config.json": dumped({"in_features": 2 * width, "out_features": 3, "bias": True}),
        "sentence_bert_config.json": dumped({"max_seq_length": 12, "do_lower_case": True}),
        "config_sentence_transformers.json": dumped({"prompts": {"q": "the "}, "default_prompt_name": "q"}),
    }  # fmt: skip
    newer = {"pooling_mode": ["lasttoken", "max"], "embedding_dimension": width, "include_prompt": True}
    return [whole, bert | {"modules.json": dumped(listed[:2]), "1_Pooling/config.json": dumped(newer)}]


def caches() -> list[Tree]:
    """A hub's cache, of a model with a head that nobody knows, under the names of a wrapper."""
    bert = published("bert")
    tensors = {f"module.{name}": array for name, array in model("bert").state_dict().items()}
    with scratch() as folder:
        safetensors.write(folder / "x", tensors | {"module.classifier.weight": np.ones((2, 3), "f4")})
        files = bert | {"model.safetensors": (folder / "x").read_bytes()}
    placed = {f"snapshots/0a1b2c/{name}": data for name, data in files.items()}
    return [placed, placed | {"refs/main": b"0a1b2c"}]


def halves() -> list[Tree]:
    """Files that grew to some rows."""
    with scratch() as folder:
        with contextlib.suppress(ZeroDivisionError), growing.growing(folder / "out", {"a": 1}, 8) as file:
            file.add(bytes(12), ["one", "two", "three"])
            raise ZeroDivisionError
        return [tree_of(folder)]


def vocabularies(kind: str) -> Callable[[], list[Tree]]:
    """Every layout of the files of a kind of tokenizer."""
    return lambda: _layouts(kind, tokenizer(kind))


def _layouts(kind: str, spoken: Any) -> list[Tree]:
    with scratch() as folder:
        spoken.save(folder / "t")
        whole = tree_of(folder / "t")
    own = {file: data for file, data in whole.items() if file not in (tokenizers.WHOLE, *tokenizers.CONFIGS)}
    settings = {name: data for name, data in whole.items() if name in tokenizers.CONFIGS}
    added = {"added_tokens.json": mutation.dumped({"<extra>": len(spoken), "two words": len(spoken) + 1})}
    known = [whole, own, own | settings, own | added | {name: settings[name] for name in settings if "map" in name}]
    held = whole.get("tokenizer.json")
    return [*known, *({"tokenizer.json": data} for data in (held, *_older(held)))] if held else known


def _older(data: bytes) -> list[bytes]:
    """A tokenizer.json as other years and programs wrote it."""
    content = json.loads(data)
    model, tokens = content["model"], content["added_tokens"]
    untyped = {key: value for key, value in model.items() if key != "type"}
    if "merges" in model:
        untyped["merges"] = [" ".join(pair) for pair in model["merges"]]
    following = max(model["vocab"].values()) + 1 if isinstance(model["vocab"], dict) else len(model["vocab"])
    flags = {"single_word": True, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
    word = {"id": following + 3, "content": "Cat dog"} | flags
    nested = {"type": "Sequence", "normalizers": [step for step in [content["normalizer"]] if step]}
    composed = {"type": "Sequence", "normalizers": [{"type": kind} for kind in ("NFKC", "Lowercase", "StripAccents")]}
    edits = [{"model": untyped}, {"added_tokens": [*tokens, word]}, {"normalizer": nested, "post_processor": None}]
    edits.append({"normalizer": composed, "pre_tokenizer": {"type": "Whitespace"}})  # a WordPiece's alone
    return [mutation.dumped(content | edit) for edit in edits[: 4 if model["type"] == "WordPiece" else 3]]


def running() -> list[Tree]:
    """The same of GPT-2's vocabulary, also under the names of its release."""
    specials = families.family("gpt2").SPECIALS
    known = _layouts("byte_level", tokenizers.tokenizer("byte_level").train(TEXT * 3, 300, specials=specials))
    released = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
    return [*known, {released[name]: data for name, data in known[1].items()}]


@functools.cache
def shared_cases() -> list[Tree]:
    """Small golden cases of every kind."""
    names = ["ops/linear", "ops/attention", "ops/embedding", "tokenizer/uncased", "tokenizer/byte-level",
                "masking/bert",
             "bert/encoder-layer", "roberta/padding"]  # fmt: skip
    return [*(tree_of(REFERENCE / name) for name in names), _version_1(REFERENCE / "ops" / "linear")]


def _version_1(folder: Path) -> Tree:
    """A case as it was written before: a row and a hash for each tensor."""
    case = cases.read(folder)
    rows = [
        {"name": key.partition("/")[2], "file": entry.file, "role": entry.role, "shape": entry.shape,
         "dtype": entry.dtype, "scale": entry.scale, "noise": entry.noise,
         "sha256": hashlib.sha256(case.tensor(key).tobytes()).hexdigest()}
        for key, entry in case.entries.items()
    ]  # fmt: skip
    fields = {**case.facts, "format": "minibert-case/1", "flags": [], "tensors": rows}
    return tree_of(folder) | {"case.json": json.dumps(fields).encode()}


@functools.cache
def candidates() -> list[Tree]:
    """The tensors of some cases, in every form in which they may come; "case" says of which."""
    trees: list[Tree] = []
    for name in ("ops/linear", "ops/attention"):
        case = cases.read(REFERENCE / name)
        tensors = {key: case.tensor(key) for key in case.entries}
        with scratch() as folder:
            safetensors.write(folder / "all.safetensors", tensors)
            np.savez(folder / "all.npz", **tensors)
            np.savez_compressed(folder / "small.npz", **tensors)
            parts = [{file: data} for file, data in tree_of(folder).items()]
        with scratch() as folder:
            for i, (key, array) in enumerate(tensors.items()):
                section, _, rest = key.partition("/")
                (folder / section).mkdir(exist_ok=True)
                np.save(folder / section / f"{rest.replace('/', '%2F')}.npy", _narrowed(array, i % 3))
            parts.append(tree_of(folder))
        with scratch() as folder:
            for section in ("forward", "gradients"):
                own = {key.partition("/")[2]: array for key, array in tensors.items() if key.startswith(section)}
                np.savez(folder / f"{section}.npz", **own)
            parts.append(tree_of(folder))
        trees += [part | {"case": name.encode()} for part in parts]
    name = "roberta/padding"
    files = tree_of(REFERENCE / name, lambda file: file in ("forward.safetensors", "gradients.safetensors"))
    return [*trees, files | {"case": name.encode()}]


def _narrowed(array: np.ndarray, how: int) -> np.ndarray:
    """As it is, in float16, or in what NumPy makes of bfloat16."""
    if how == 0 or array.dtype.kind != "f":
        return array
    return array.astype(np.float16) if how == 1 else (np.float32(array).view("u4") >> 16).astype("u2").view("V2")


def bfloat16() -> Tree:
    """A safetensors file of 16-bit numbers, which NumPy alone does not write."""
    head = mutation.dumped({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
                             "b": {"dtype": "F16", "shape": [], "data_offsets": [12, 14]}})  # fmt: skip
    return {"model.safetensors": len(head).to_bytes(8, "little") + head + bytes(range(14))}


def failed() -> list[Tree]:
    """What a failed test drew of an op."""
    with scratch() as folder:
        arrays = {"x": np.ones((2, 3)), "weight": np.ones(3), "bias": np.ones(3)}
        failures.written(folder, "drawn", arrays, {"eps": 0.5})
        return [tree_of(folder)]


def _failed(folder: Path, arguments: Arguments) -> None:
    failures.recipe("layer_norm", folder / "drawn.safetensors")


# as torch.save writes it, of float32 numbers of shape (2, 3)
PICKLED = (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01ctorch\nFloatStorage\nq\x02"
           b"X\x01\x00\x00\x000q\x03X\x03\x00\x00\x00cpuq\x04K\x06tq\x05QK\x00K\x02K\x03\x86q\x06K\x03K\x01\x86q\x07\x89"
           b"ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b.")  # fmt: skip


def dumps() -> list[Tree]:
    """What other tools dump: msprobe's list and files, the tree of transformers' debugger."""
    with scratch() as folder:
        with zipfile.ZipFile(folder / "t.pt", "w") as archive:
            archive.writestr("t/data.pkl", PICKLED)
            archive.writestr("t/data/0", np.ones((2, 3), "f4").tobytes())
        np.save(folder / "t.npy", np.ones((2, 3)))
        safetensors.write(folder / "t.safetensors", {"data": np.ones((2, 3))})
        held = tree_of(folder)
    entries = {f"Module.a.b.Linear.forward.{i}": {"output": [{"shape": [2, 3], "data_name": name}]}
               for i, name in enumerate(("t.pt", "t.npy"))}  # fmt: skip
    entries["Module.a.Linear.parameters_grad"] = {"weight": [{"data_name": "t.pt"}]}
    calls = {"module_path": "B", "children": [{"module_path": "B.a", "children": [{"module_path": "B.a.norm"}]}]}
    return [
        {"dump.json": mutation.dumped({"data": entries}), "dump_tensor_data/t.pt": held["t.pt"],
         "dump_tensor_data/t.npy": held["t.npy"]},
        {"B_debug_tree_FULL_TENSORS.json": mutation.dumped(calls),
         "B.a.norm_outputs.safetensors": held["t.safetensors"]},
    ]  # fmt: skip


def _dumped(folder: Path, arguments: Arguments) -> None:
    for stored in candidate.read(folder).values():
        stored.load()


def single_files() -> list[Tree]:
    """Safetensors files by themselves, and an index with its shards."""
    held = sharded()
    names = ("a.safetensors", "b.safetensors", "model.safetensors.index.json")
    kinds = ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "u1", "<u2", "<u4", "<u8", "?")
    with scratch() as folder:
        safetensors.write(
            folder / "model.safetensors", {kind: np.ones((2, 3), kind) for kind in kinds}, {"format": "pt"}
        )
        every = tree_of(folder)
    return [every, bfloat16(), {name: held[name] for name in names}]


def photographs() -> list[Tree]:
    """Pictures alone, and with their labels."""
    bytes_, numbers = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.ones((2, 1, 3, 4), np.float32)
    with scratch() as folder:
        np.save(folder / "one.npy", bytes_)
        np.savez_compressed(folder / "all.npz", images=numbers, labels=np.array([1, 0]))
        return [tree_of(folder)]


def name_maps() -> list[Tree]:
    """A candidate with a map of its names."""
    case = cases.read(REFERENCE / "ops" / "linear")
    with scratch() as folder:
        safetensors.write(
            folder / "c.safetensors", {f"their.{i}": case.tensor(key) for i, key in enumerate(case.entries)}
        )
        held = tree_of(folder)
    rows = {f"their.{i}": key if i % 2 else {"key": key, "transpose": False} for i, key in enumerate(case.entries)}
    return [held | {"names.json": mutation.dumped(rows)}]


def token_files() -> list[Tree]:
    """What a tokenizer makes of the texts of a case."""
    vectors = cases.read(REFERENCE / "tokenizer" / "uncased").text()["vectors"]
    fields = ("ids", "type_ids", "tokens", "offsets")
    whole = [{name: vector[name] for name in fields} for vector in vectors]
    ids = [vector["ids"] for vector in vectors]
    return [{"ids.json": mutation.dumped(held)} for held in (whole, {"vectors": whole}, ids, {"vectors": ids})]


@functools.cache
def texts() -> Tree:
    """A corpus of some documents."""
    documents = ["\n".join(f"{line} {a} {b}." for b, line in enumerate(TEXT)) for a in range(8)]
    return {"text.txt": "\n\n".join(documents).encode()}


SIZES = ("num_hidden_layers=1", "hidden_size=8", "num_attention_heads=2", "intermediate_size=8")
STEPS = ("--steps", "2", "--batch-size", "2", "--accumulate", "1", "--seq-length", "16", "--vocab-size", "90",
         "--duplicates", "1", "--threads", "1", "--checkpoint-every", "1")  # fmt: skip
RUN = (*STEPS, "--set", *SIZES)


@functools.cache
def runs() -> list[Tree]:
    """Runs that ended, that were stopped before a step, and that were stopped between two checkpoints."""
    with scratch() as folder:
        mutation.laid_out(texts(), folder / "in", folder)
        begun = ("pretrain", "bert", "--corpus", folder / "in" / "text.txt", "--out", folder / "in" / "run", *RUN)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            with mock.patch.object(training, "fit", side_effect=KeyboardInterrupt):
                codes = [command(*begun)]
            own = os.fsencode(os.path.realpath(folder / "in"))
            early = {name: data.replace(own, INPUT.encode()) for name, data in tree_of(folder / "in").items()}
            codes.append(command(*begun[:6], "--resume", "--threads", "1"))
        if codes != [130, 0]:
            raise RuntimeError(f"the runs to begin with could not be made: {codes}")
        whole = {name: data.replace(own, INPUT.encode()) for name, data in tree_of(folder / "in").items()}
    stopped = early | {name: data for name, data in whole.items() if name.startswith(("run/checkpoints", "run/log"))}
    last = sorted({name.split("/")[2] for name in whole if name.startswith("run/checkpoints/")})[-1]
    between = {name: data for name, data in stopped.items() if f"/{last}/" not in name}
    return [whole, stopped, early, between]


def pages() -> list[Tree]:
    """JSON lines of web pages, and a list of words."""
    rows = [{"text": "\n".join(TEXT[:2] * 2), "url": "a"}, {"text": "menu\n{ code\nThe cat sat on a mat again."}]
    return [{"pages.jsonl": b"".join(mutation.dumped(row) + b"\n" for row in rows), "bad.txt": b"dog\nfoul play\n"}]


def catalogues() -> list[Tree]:
    """A compiled catalogue, one as translators write it, and files of pairs."""
    texts = {"": "Content-Type: text/plain; charset=UTF-8\n", "a\0%d b": "ä\0%d b", "menu\4_File": "_Datei"}
    sides = [[text.encode() for text in side] for side in (texts.keys(), texts.values())]
    at, data, tables = 28 + 16 * len(texts), b"", b""
    for text in (*sides[0], *sides[1]):
        tables, data = tables + struct.pack("<2I", len(text), at + len(data)), data + text + b"\0"
    compiled = struct.pack("<7I", 0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, at) + tables + data
    po = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n#, fuzzy\nmsgid "a"\nmsgstr "b"\n\n'
    po += 'msgctxt "m"\nmsgid "one"\nmsgid_plural ""\n"%d"\nmsgstr[0] "\\303\\244"\nmsgstr[1] "%d"\n#~ msgid "x"\n'
    return [{"locale/de/LC_MESSAGES/x.mo": compiled, "de.po": po.encode(), "pairs.tsv": b"source\ttarget\na\tb\n",
             "pairs.jsonl": b'{"source": "a", "target": "b"}\n'}]  # fmt: skip


def perceived() -> list[Tree]:
    """Rows that name pictures and sound, these, and how a model's directory says that they are read."""
    seen = {"rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5], "image_std": [0.5]}
    heard = {"mel_bins": 5, "deltas": 0, "lowest": 20.0, "highest": 3900.0, "stacked": 1}
    lines = {"rows.jsonl": [{"picture": "one.npy", "number": 1, "label": 1}, {"picture": "all.npz", "label": "a"}],
             "sounds.jsonl": [{"sound": "a.wav", "label": "b"}]}  # fmt: skip
    held = {name: b"".join(mutation.dumped(row) + b"\n" for row in several) for name, several in lines.items()}
    held |= {"seen.json": mutation.dumped(seen), "heard.json": mutation.dumped(heard)}
    with scratch() as folder:
        np.save(folder / "one.npy", np.arange(32, dtype=np.uint8).reshape(2, 4, 4))
        np.savez_compressed(folder / "all.npz", images=np.ones((1, 1, 4, 4), np.float32), labels=np.array([1]))
        recordings.write(folder / "a.wav", np.sin(np.arange(800) / 3), 8000)
        return [held | tree_of(folder)]


ROWS = {  # a task's file: (task, format), and what it holds
    "classify.tsv": ("classify", "tsv"), "train.tsv": ("classify", "glue-cola"), "regress.csv": ("regress", "csv"),
    "tag.jsonl": ("tag", "jsonl"), "tag.conll": ("tag", "conll"), "relate.tsv": ("relate", "tsv"),
    "choose.csv": ("choose", "csv"), "answer.json": ("answer", "squad"), "answer.jsonl": ("answer", "jsonl"),
    "translate.jsonl": ("translate", "jsonl"), "recommend.tsv": ("recommend", "tsv"),
}  # fmt: skip


def task_files() -> list[Tree]:
    """A file of each format, with rows of a task."""
    answers = [{"text": "cat sat", "answer_start": 4}, {"text": "The", "answer_start": 0}]
    asked = {"id": "q", "question": "Who?", "answers": answers}
    none = {"id": "r", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": answers}
    paragraph = {"context": TEXT[0], "qas": [asked, none]}
    row = {"question": "Who?", "context": TEXT[0]}
    lists = {"text": ["cat", "sat"], "answer_start": [4, 8]}
    kinds = {
        "tag.jsonl": [{"tokens": ["the", "cat"], "tags": ["O", "B-X"]}],
        "answer.json": [{"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}],
        "answer.jsonl": [{**row, "answers": answers}, {**row, "answers": lists}],
        "translate.jsonl": [{"source": TEXT[0], "target": TEXT[2]}],
    }
    tables = {
        "classify.tsv": 'text\tpair\tlabel\n"the ""cat"""\tsat\t0\na 5" nail\t\t1\n',
        "train.tsv": "gj04\t1\t\tThe cat sat.\ngj04\t0\t*\tThe cat.\n",
        "regress.csv": '\ufefftext,label,id\r\n"two\r\nlines, ""quoted""",1.5,a\r\nnaïve,-3e2,b\r\n',
        "tag.conll": "-DOCSTART- O\n\n# id = 1\nthe O\ncat B-X\n\nsat\tO\n",
        "relate.tsv": "text\thead\ttail\tlabel\nthe cat\t[0, 3]\t[4, 7]\tof\n",
        "choose.csv": 'context,choices,label\nthe cat,"[""sat"", ""ran""]",1\n',
        "recommend.tsv": 'items\n3 1 2\n["a", "b"]\n',
    }
    lines = {name: b"".join(mutation.dumped(one) + b"\n" for one in held) for name, held in kinds.items()}
    return [{name: data} for name, data in (lines | {name: held.encode() for name, held in tables.items()}).items()]


def word_lists() -> list[Tree]:
    """Lists of words for a segmenter, and similar words."""
    similar = mutation.dumped({"cat": ["dog", "mat"], "the": ["a"], "语言": ["模型"]})
    return [{"words.txt": "语言 模型\n预测\n下一个\ncat dog\n".encode(), "similar.json": similar}]


def known() -> list[Tree]:
    """Folders of what is known of entities: OpenKE's files and WordNet's."""
    files = {"entity2id.txt": "3\nthe cat\t0\nmat\t1\ndog\t2\n", "relation2id.txt": "1\non\t0\n",
             "train2id.txt": "1\n0 1 0\n", "entity2vec.vec": "1\t2\n3\t4\n5\t6\n", "mentions.txt": "a cat\tthe cat\n"}
    lines = {"data.noun": "  1 licence\n00000010 05 n 02 dog 0 hound 0 001 @ 00000020 n 0000 | a pet; \"the dog ran\"\n"
                          "00000020 05 n 01 animal 0 000 | a being\n", "index.sense": "dog%1:05:00:: 00000010 1 5\n"}
    return [{name: text.encode() for name, text in tree.items()} for tree in (files, lines)]  # fmt: skip


def word_vectors() -> list[Tree]:
    """Files of vectors: text, binary, GloVe's, fastText's."""
    words, rows = ["the", "cat", "中"], np.arange(12, dtype=np.float32).reshape(3, 4) / 7
    held = []
    for binary, head in ((False, True), (True, True), (False, False)):
        with scratch() as folder:
            vector_files.write(folder / "vectors", words, rows, binary, head)
            held.append({"vectors": (folder / "vectors").read_bytes()})
    arguments = {**dict.fromkeys(fasttext_files.ARGUMENTS, 1), "dim": 4, "bucket": 3, "maxn": 2, "t": 0.1}
    for model, labels in ((1, {}), (3, {"good": 2, "bad": 1})):
        output = np.ones((2 if labels else 3, 4), np.float32)
        own = {**arguments, "model": model}, dict.fromkeys(words, 2), labels, np.ones((6, 4), np.float32), output
        with scratch() as folder:
            fasttext_files.write(folder / "vectors", fasttext_files.FastText(*own))
            held.append({"vectors": (folder / "vectors").read_bytes()})
    return held


def configs() -> list[Tree]:
    """Configurations for pretrain and golden make."""
    held = []
    for family in ("bert", "roberta", "albert", "electra"):
        data = published(family).get("config.json") or published(family)["generator/config.json"]
        held.append({"config.json": data, "text.txt": b"One sentence alone.\n", "family": family.encode()})
    return held


# ---- Arguments -------------------------------------------------------------------------------------------------------
def _choice(*known: Any) -> Callable[[Random], Arguments]:
    return lambda rng: [rng.choice(known)]


def _asked(*known: str) -> Callable[[Random], Arguments]:
    return lambda rng: [rng.choice(known), mutation.text(rng)]


LOOKS = ("info", "info", "fill-mask", "generate", "embed", "detect", "attention", "explain", "neighbours")


def _texts(rng: Random) -> Arguments:
    """[how, text, …]"""
    how = rng.choice((*["encode"] * 30, "corrupt", "corrupt", "pretrain"))
    return [how, *(mutation.text(rng) for _ in range(rng.randrange(1, 4)))]


def _standard_input(rng: Random) -> Arguments:
    """[family, command, bytes as latin-1]"""
    family, name = rng.choice((("bert", "embed"), ("bert", "fill-mask"), ("roberta", "fill-mask"), ("albert",
                "fill-mask"),
                               ("electra", "detect"), ("roberta", "embed"), ("bert", "corrupt")))  # fmt: skip
    mask = tokenizer(families.family(family).TOKENIZER)
    held = "\n".join(
        mutation.text(rng) + rng.choice(("", mask.tokens[mask.mask_id])) for _ in range(rng.randrange(1, 4))
    )
    data = held.encode("utf-8", "surrogatepass" if rng.random() < 0.1 else "replace")
    if rng.random() < 0.3:
        data = mutation.raw_bytes(data, [{"x": data}], rng)
    return [family, name, data.decode("latin-1"), rng.random() < 0.5]


SETTINGS = ("input_ids", "attention_mask", "seed", "uniforms", "progress", "first", *generation.NAMES, "unknown")


def _writing(rng: Random) -> Arguments:
    """[how, text, odd value of an option, {setting or argument: place in ODD}]"""
    how = rng.choice((*["json"] * 6, "text", "option", "generate", "step"))
    names = ("ids", "state") if how == "step" else SETTINGS
    odd = {name: rng.randrange(len(ODD)) for name in rng.sample(names, rng.choice((1, 1, 2)))}
    option = rng.choice(("max-new-tokens", "beams", "sample", "temperature", "top-p", "length-penalty", "seed", "x"))
    value = str(rng.choice((*NUMBERS, "nan", "inf", "1e999", "", "-", "x"))).replace("\0", "")
    return [how, mutation.text(rng)[:6], [f"--{option}", value.replace("\ud800", "\udcff")], odd]


ODD: tuple[Any, ...] = (
    None, True, *NUMBERS, *NAMES, float("nan"), float("inf"), b"bytes", [], {}, (), set(), object(), 1j, np.float32(2),
    np.int64(-1), np.array(3), np.zeros((0, 3)), np.zeros((2, 0), int), np.ones((2, 3)), np.full((2, 3), np.nan),
    np.ones((2, 3), int), np.full((2, 3), -1), np.full((2, 3), 2**63, np.uint64), np.full((2, 300), 1), [[1, 2], [3]],
    [["a"]], [[None]], np.array([["a"]]), np.array([[object()]]), np.ones((2, 3), bool), np.ones((2, 3), complex),
    np.zeros((2, 3), "M8[s]"), np.zeros((2, 3), [("a", "f4")]), np.ones((2, 3, 1), int), np.ones((1,) * 12,
    int), "text",
    ["text"], range(3), iter(()), lambda: 0, int, type, Path("x"), "float16", "float32", "float64", "O",
    np.float64, "bert",
)  # fmt: skip


def _calls(rng: Random) -> Arguments:
    """[call, family, names with odd values (places in ODD)]"""
    call = rng.choice(
        ("create", "encode", "loss", "tokenize", "load", "state_dict", "save", "decode", "vectors", "masked")
    )
    family = rng.choice(("bert", "roberta", "albert", "electra", "spanbert", "macbert"))
    names = {
        "create": [*families.family(family).Config.__dataclass_fields__, "seed", "dtype", "family", "unknown"],
        "encode": ["input_ids", "attention_mask", "token_type_ids", "position_ids", "outputs", "unknown"],
        "loss": ["input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids", "masked_lm_weights",
                 "next_sentence_labels", "sentence_order_labels", "dropout", "replaced_labels", "denominators", "keep"],
        "tokenize": ["text", "pair", "max_length"],
        "load": ["directory", "family", "dtype"],
        "state_dict": ["tree"],
        "save": ["path"],
        "decode": ["ids"],
        "vectors": ["texts", "pooling", "normalize", "max_length", "batch_size"],
        "masked": ["text", "top"],
    }[call]  # fmt: skip
    chosen = rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2, 3))))
    return [call, family, {name: rng.randrange(len(ODD)) for name in chosen}]


def _options(rng: Random) -> Arguments:
    """An argv with odd values."""
    odd = [
        str(rng.choice((*NUMBERS, "nan", "inf", "-inf", "1e999", "", " ", "-", "--", "x", *NAMES))) for _ in range(3)
    ]
    odd = [value.replace("\0", "").replace("\ud800", "\udcff") for value in odd]
    words = ["the [MASK] sat"]
    return rng.choice((
        ["embed", INPUT, f"{INPUT}/text.txt", rng.choice(("--max-length", "--batch-size", "--pooling", "-o")), odd[0]],
        ["fill-mask", INPUT, *words, rng.choice(("--top", "--json", "--x")), odd[0]],
        ["fill-mask", INPUT, *odd],
        ["detect", INPUT, *odd],
        ["info", INPUT, "--memory", rng.choice(("--batch-size", "--length")), odd[0]],
        ["info", odd[0]],
        ["corrupt", rng.choice(("span", "ngram", "macbert", "whole-word", "entity", odd[1])), "the cat sat on the mat",
         rng.choice(("--rate", "--seed", "--words", "--similar", "--tokenizer", "--file")), odd[0]],
        ["corrupt", "ngram", *odd],
        ["mistakes", odd[0]],
        ["check", odd[0], odd[1]],
        ["check", "ops/linear", odd[1]],
        ["check", "ops/linear", odd[1], rng.choice(("--names", "--dtype", "--weights")), odd[0]],
        ["golden", rng.choice(("verify", "make", odd[0])), odd[1]],
        ["golden", "make", rng.choice(("linear", odd[2])), "--kind", "op", "--seed", odd[0], "-o", odd[1]],
        ["gradcheck", odd[0]],
        ["gradcheck", "gelu", "--seed", odd[0]],
        ["pretrain", odd[0], "--out", odd[1]],
        ["pretrain", "bert", "--corpus", f"{INPUT}/one.txt", "--out", "run",
         "--" + rng.choice(pretraining.known(families.family("bert"))).replace("_", "-"), odd[0]],
        ["pretrain", "bert", "--corpus", f"{INPUT}/one.txt", "--out", "run", "--set", f"hidden_size={odd[0]}"],
        ["pretrain", "bert", "--corpus", f"{INPUT}/one.txt", "--out", "run", "--set", f"{odd[1]}={odd[0]}"],
        [odd[0], *odd],
        odd,
    ))  # fmt: skip


# ---- What reads ------------------------------------------------------------------------------------------------------
def _model(root: Path, arguments: Arguments) -> int | None:
    how, texts = arguments[0], arguments[1:]
    if how == "info":
        return command("info", root)
    if how == "json":
        return command("info", root, "--json")
    if how == "embed":
        return command("embed", root, stdin=texts[0].encode("utf-8", "replace"))
    if how == "fill-mask":
        return command("fill-mask", root, stdin=f"{texts[0]}[MASK]<mask>".encode("utf-8", "replace"))
    if how == "memory":
        return command("info", root, "--memory")
    held = minibert.load(root)
    held.state_dict()
    if held.tokenizer is not None:
        held.tokenizer.encode(texts[0])
    return None


def _directory(rng: Random) -> Arguments:
    return [rng.choice(("load", "load", "load", "info", "json", "embed", "fill-mask", "memory")), mutation.text(rng)]


def _looked_into(root: Path, arguments: Arguments) -> int | None:
    how, text = arguments
    said = text[:40].encode("utf-8", "replace").decode().replace("\0", "") or "the cat"
    if how in ("attention", "explain"):
        given = [root, f"x{said}", "-o" if how == "attention" else "--html", root.parent / "out" / "page.html"]
        return command(how, *given)
    if how == "neighbours":
        return command(how, root, "cat")
    if how in ("fill-mask", "generate", "detect", "embed"):
        return command(how, root, stdin=f"{said}[MASK]".encode("utf-8", "replace"))
    return command(how, root)


LOOKING = {"prune": ("DIR", "--rows", "ROWS"), "probe": ("DIR", "classify", "ROWS"),
           "surface": ("DIR", "DIR", "--rows", "ROWS", "--steps", "2"), "align": ("DIR", "PAIRS", "TEXT", "TEXT"),
           "languages": ("DIR", "en=TEXT", "de=TEXT", "--tokens", "4"),
           "shift": ("DIR", "ROWS", "--from", "TEXT", "--to", "TEXT", "--share", "1")}  # fmt: skip


def _predicted(root: Path, arguments: Arguments) -> int | None:
    how, text = arguments
    if how in ("predict", "embed", "fill-mask"):
        return command(how, root, stdin=f"{text}[MASK]".encode("utf-8", "replace"))
    if how == "quantize":
        return command(how, root, "--out", root.parent / "out" / "small")
    if how == "read":
        quantization.load(root)
        return None
    if how in LOOKING:
        rows = root.parent / "out" / "rows.jsonl"
        held = [{"text": said, "label": label} for said in ("the cat", text) for label in ("good", "bad")]
        rows.write_text("\n".join(map(json.dumps, held)), encoding="utf-8")
        there = {"ROWS": rows, "DIR": root, "TEXT": rows.with_name("text.txt"), "PAIRS": rows.with_name("pairs.tsv")}
        there["TEXT"].write_text("the cat\na mat\nthe mat\n", encoding="utf-8")
        there["PAIRS"].write_text("cat\tcat\nmat\tmat\n", encoding="utf-8")
        words = (part.replace("TEXT", str(there["TEXT"])) for part in LOOKING[how])
        return command(how, *(there.get(part, part) for part in words))
    return command("info", root)


def _low_rank(root: Path, arguments: Arguments) -> None:
    own = [*root.glob("adapters.*")]
    if own:
        adapter_bert.load(model("bert"), own[0])
    else:
        peft.load(tuned("full"), root)


def _embedded(root: Path, arguments: Arguments) -> int | None:
    how, text = arguments
    if how == "command":
        given = f"the cat\n{text}".encode("utf-8", "replace")
        return command("embed", root, "-o", root.parent / "out" / "x.npy", stdin=given)
    minibert.embed(root, ["the cat", text])
    return None


def _grown(root: Path, arguments: Arguments) -> None:
    with growing.growing(root / "out", {"a": 1}, 8, resume=True) as file:
        for texts in file.rest(iter([["one"], ["two", "three", "four"]])):
            file.add(bytes(4 * len(texts)), texts)
        file.finish(bytes(8))


def _written(root: Path, arguments: Arguments) -> int | None:
    how, text, option, odd = arguments
    if how in ("json", "text"):
        return command("generate", root, *(["--json"] if how == "json" else []), stdin=text.encode("utf-8", "replace"))
    if how == "option":
        return command("generate", root, "the cat", *option)
    held, given = minibert.load(root), {name: ODD[place] for name, place in odd.items()}
    if how == "step":
        held.step(**{"ids": [1, 2], "state": held.start(input_ids=[[3], [4]])} | given)
    else:
        held.generate(**{"input_ids": [[1, 2], [3, 4]]} | given)
    return None


def _tensors(root: Path, arguments: Arguments) -> None:
    for name in sorted(os.listdir(root)):
        if name.endswith(".index.json"):
            safetensors.read_shards(root / name)
        else:
            safetensors.header(root / name)
            safetensors.read(root / name)


def _perceived(root: Path, arguments: Arguments) -> None:
    """As `uses` reads the rows of a model of pictures, and of sound."""
    vit, audio = families.family("vit"), families.family("audio_bert")
    seen = vit.Config(image_size=4, patch_size=2, num_channels=1), {"preprocessor_config.json": "seen.json"}
    heard = audio.Config(input_dim=5), {"preprocessor_config.json": "heard.json"}
    for module, (config, beside), files in ((vit, seen, ("rows.jsonl", "all.npz")), (audio, heard, ("sounds.jsonl",))):
        beside = {name: reading.text(root / file) for name, file in beside.items()}
        for name in files:
            for _, row in rows.placed(root / name, f"classify {module.PERCEIVES}"):
                inputs = module.gathered([module.perceived(row, config, beside, 8)])
                assert all(np.isfinite(array).all() for array in inputs.values())


def _pictures(root: Path, arguments: Arguments) -> None:
    for name in sorted(os.listdir(root)):
        pictures.read(root / name)


def _vocabulary(kind: str, family: str) -> Callable[[Path, Arguments], int | None]:
    def read(root: Path, arguments: Arguments) -> int | None:
        how, *texts = arguments
        if how == "corrupt":
            return command("corrupt", "ngram", "--tokenizer", root, stdin=texts[0].encode("utf-8", "replace"))
        if how == "pretrain":
            return _pretrained(root, family, "--vocabulary", root)
        held = tokenizers.load(root, kind)
        if held is None:
            return None
        for text in texts:
            held.tokenize(text)
            held.decode(held.encode(text, max_length=16).ids)
        held.encode(texts[0], pair=texts[-1])
        if held.pad_id is not None:
            held.encode_batch(texts)
        return None

    return read


def _pretrained(root: Path, family: str, *options: Any) -> int:
    """A short run over valid text with these options."""
    module = families.family(family)
    sizes = (size.partition("=") for size in SIZES)
    fields = ["--set", *(f"{families.field(module, name)}={value}" for name, _, value in sizes)]
    out = root.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    mutation.laid_out(texts(), out, root)
    return command("pretrain", family, "--corpus", out / "text.txt", "--out", out / "run", *options, *STEPS, *fields)


def _golden(root: Path, arguments: Arguments) -> int | None:
    if arguments[0] == "verify":
        return command("golden", "verify", root)
    case = cases.read(root)
    case.text()
    for section in cases.SECTIONS:
        case.section(section)
    case.batches()
    if case.facts["kind"] == "family":
        case.subject()
    return None


def _candidate(root: Path, arguments: Arguments) -> int | None:
    how, whole = arguments
    files = sorted(name for name in os.listdir(root) if name != "case")
    place = root if whole or len(files) != 1 else root / files[0]
    name = _said(root / "case", ("ops/linear", "ops/attention", "roberta/padding"))
    if how == "check" and name.startswith("ops/"):  # the diagnosis of a whole model computes for seconds
        return command("check", name, place)
    if how == "suggest" and name.startswith("ops/"):
        return command("check", name, place, "--suggest-names", root.parent / "out" / "names.json")
    stored = candidate.read(place)
    for tensor in stored.values():
        tensor.load()
    if how != "sizes":
        candidate.matched(stored, cases.read(name))
    return None


def _said(path: Path, known: tuple[str, ...]) -> str:
    """What a small file says, of these; else the first of them."""
    said = path.read_text("latin-1") if path.is_file() and path.stat().st_size < 40 else ""
    return said if said in known else known[0]


def _names(root: Path, arguments: Arguments) -> int | None:
    if arguments[0] == "check":
        return command("check", "ops/linear", root / "c.safetensors", "--names", root / "names.json")
    case = cases.read("ops/linear")
    candidate.matched(candidate.read(root / "c.safetensors"), case, candidate.read_names(root / "names.json", case))
    return None


def _tokens(root: Path, arguments: Arguments) -> int:
    return command("check", "tokenizer/uncased", root / "ids.json")


def _endless(file: Path) -> bool:
    """Whether a corpus is so large that reading it takes its time: it may have any size."""
    return file.is_file() and file.stat().st_size > 16 * mutation.MIB


def _corpus(root: Path, arguments: Arguments) -> int | None:
    if _endless(root / "text.txt"):
        return None
    if arguments[0] == "pretrain":
        return command("pretrain", "bert", "--corpus", root / "text.txt", "--out", root.parent / "out" / "run", *RUN)
    if arguments[0] == "corrupt":
        return command("corrupt", "ngram", "--file", root / "text.txt")
    if arguments[0] == "embed":
        return command("embed", _beside(root, "bert"), root / "text.txt")
    documents = corpus.Files([root / "text.txt"])
    survey = corpus.survey(documents)
    for part in corpus.split(documents, 0.2, 0, survey.sizes):
        for document in part:
            len(document)
    return None


def _beside(root: Path, family: str) -> Path:
    """A valid model in the folder that commands may write to."""
    place = root.parent / "out" / family
    if not place.exists():
        mutation.laid_out(published(family), place, root)
    return place


def _paired(root: Path, arguments: Arguments) -> int | None:
    if arguments[0] == "command":
        return command("pairs", root, "--language", "de", "--json")
    files = [root / name for name in ("locale", "de.po", "pairs.tsv", "pairs.jsonl") if (root / name).exists()]
    for source, target in parallel.pairs(files, "de"):
        assert source
        assert target
    return None


def _rows(root: Path, arguments: Arguments) -> None:
    for name in sorted(name for name in os.listdir(root) if name in ROWS) or ["classify.tsv"]:
        task, form = ROWS[name]
        for where, row in rows.placed(root / name, task, form=form, labelled=arguments[0]):
            assert where.startswith(f"{root / name}, ")
            assert {column for column, held in rows.tasks.TASKS[task].items() if held.must(arguments[0])} <= row.keys()


def _cleaned(root: Path, arguments: Arguments) -> int:
    if arguments[0] == "objects":
        return command("clean", "--json", root / "pages.jsonl")
    listed = ["--bad-words", root / "bad.txt"] if (root / "bad.txt").exists() else []
    return command("clean", "--json", root / "pages.jsonl", *listed, "--min-sentences", "1")


def _resumed(root: Path, arguments: Arguments) -> int | None:
    if _endless(root / "text.txt"):
        return None
    return command("pretrain", "bert", "--out", root / "run", "--resume", "--threads", "1")


def _words(root: Path, arguments: Arguments) -> int | None:
    how = arguments[0]
    if how == "similar":
        similarity.handed_in(str(root / "similar.json"), tokenizer("wordpiece"))
    elif how == "segmenter":
        list(segmentation.segmenter(str(root / "words.txt"))("使用语言模型来预测下一个词"))
    else:
        file = "similar.json" if how == "--similar" else "words.txt"
        return _pretrained(root, {"--segmenter": "bert_wwm", "--similar": "macbert"}[how], how, root / file)
    return None


def _known(root: Path, arguments: Arguments) -> None:
    knowledge.read.__wrapped__(str(root)).linked("The cat sat on the mat and saw a dog.")


def _word_vectors(root: Path, arguments: Arguments) -> int | None:
    if arguments[0] != "read":
        return command(*arguments, root / "vectors", *["cat", "the", "cat"][: 1 if arguments[0] == "neighbours" else 3])
    whole = len(arguments) == 1 or fasttext_files.is_one(root / "vectors")
    read = word_tables.load if whole else vector_files.read
    words, rows, *_ = read(root / "vectors", *([] if whole else arguments[1:]))
    assert len(words) == len(rows)
    return None


def _config(root: Path, arguments: Arguments) -> int | None:
    if _endless(root / "text.txt"):
        return None
    family = _said(root / "family", ("bert", "roberta", "albert", "electra"))
    if arguments[0] == "golden":
        out = root.parent / "out" / "case"
        return command("golden", "make", "linear", "--kind", "op", "--config", root / "config.json", "-o", out)
    run = ("--corpus", root / "text.txt", "--out", root.parent / "out" / "run")
    return command("pretrain", family, "--config", root / "config.json", *run)


def _stdin(root: Path, arguments: Arguments) -> int:
    family, name, data, as_json = arguments
    place = root.parent / "out" / family
    if not place.exists():
        mutation.laid_out(published(family), place, root)
    more = ["ngram"] if name == "corrupt" else [place]
    more += ["--json"] if as_json and name in ("fill-mask", "detect") else []
    return command(name, *more, stdin=data.encode("latin-1"))


def _command_line(root: Path, arguments: Arguments) -> int:
    os.chdir(root.parent / "out")  # where some write to, as they are told
    return command(*(argument.replace(INPUT, str(root)) for argument in arguments), stdin=b"one line\n")


def _call(root: Path, arguments: Arguments) -> None:
    call, family, places = arguments
    given = {name: ODD[place] for name, place in places.items()}
    held = model(family)
    if call == "create":
        small = {**held.module.PROBE, "vocab_size": 20} | {
            name: value for name, value in given.items() if name != "family"
        }
        made = minibert.create(given.get("family", family), **small)
        assert made.params
    elif call == "encode":
        held.encode(**{"input_ids": [[1, 2, 3], [4, 5, 6]]} | given)
    elif call == "loss":
        batch = held.module.example(np.random.default_rng(0), held.config)
        options = {name: given.pop(name) for name in ("denominators", "keep") if name in given}
        held.loss(batch | given, **options)
    elif call == "tokenize":
        held.tokenizer.encode(**{"text": "the cat"} | given)
    elif call == "load":
        minibert.load(**{"directory": root} | given)
    elif call == "state_dict":
        held.state_dict(given["tree"])
    elif call == "save":
        os.chdir(root.parent / "out")
        held.save(given["path"])
    elif call == "decode":
        held.tokenizer.decode(given["ids"])
    elif call == "vectors":
        inference.sentence_vectors(held, **{"texts": ["the cat"]} | given)
    else:
        inference.masked_words(held, **{"text": "the [MASK] sat <mask>"} | given)


def waves() -> list[Tree]:
    """Wave files of one and of two channels, of each width; a stream whose header does not know its end."""
    held, found = bytes(range(256)) * 6, []
    for channels, width in ((1, 1), (2, 2), (1, 3), (2, 4)):
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((channels, width, 8000, 0, "NONE", "not compressed"))
            out.writeframes(held)
        found.append({"a.wav": file.getvalue()})
    endless = bytearray(found[0]["a.wav"])
    endless[40:44] = b"\x00\xf0\xff\x7f"
    return [*found, {"a.wav": bytes(endless)}]


def _heard(root: Path, arguments: Arguments) -> int | None:
    if arguments[0] == "pretrain":
        return command("pretrain", "audio_bert", "--corpus", root, "--out", root.parent / "out" / "run", "--steps", "1",
                       "--threads", "1", "--highest", "3000")  # fmt: skip
    if arguments[0] == "streamed":
        samples, rate = recordings.decoded(reading.contents(root / "a.wav"), "a stream", streamed=True)
    else:
        samples, rate = recordings.read(root / "a.wav")
    assert np.isfinite(spectrogram.features(samples, rate, bins=2, deltas=1, lowest=0, highest=rate / 2)).all()
    return None


READERS: dict[str, Reader] = {
    "recordings": Reader(waves, _heard, _choice(*["read", "streamed"] * 15, "pretrain"), share=3),
    "model": Reader(networks, _model, _directory, share=14),
    "electra": Reader(lambda: [published("electra")], _model, _directory, share=5),
    "shards": Reader(lambda: [sharded()], _model, _directory, share=5),
    "pending": Reader(interrupted, _model, _directory, share=5),
    "vectors": Reader(
        vectors, _embedded, lambda rng: [rng.choice(("command", "call")), mutation.text(rng)], share=6
    ),
    "further": Reader(further, _looked_into, lambda rng: [rng.choice(LOOKS), mutation.text(rng)], share=5),
    "added": Reader(adapted, _predicted, _asked("predict", "info", "quantize", "embed", *LOOKING), share=6),
    "quantized": Reader(quantized, _predicted, _asked("predict", "read", "embed", "fill-mask", "info"), share=5),
    "low_rank": Reader(low_rank, _low_rank, share=4),
    "cache": Reader(caches, _model, _directory, share=3),
    "growing": Reader(halves, _grown, share=2, writes=True),
    "writing": Reader(writers, _written, _writing, share=6),
    "dumps": Reader(dumps, _dumped, share=2),
    "failures": Reader(failed, _failed, share=1),
    "safetensors": Reader(single_files, _tensors, share=12),
    "perceived": Reader(perceived, _perceived, share=3),
    "pictures": Reader(photographs, _pictures, share=3),
    "wordpiece": Reader(vocabularies("wordpiece"), _vocabulary("wordpiece", "bert"), _texts, share=8),
    "byte_level": Reader(vocabularies("byte_level"), _vocabulary("byte_level", "roberta"), _texts, share=8),
    "running": Reader(running, _vocabulary("byte_level", "gpt2"), _texts, share=4),
    "bpe": Reader(vocabularies("bpe"), _vocabulary("bpe", "bert"), _texts, share=3),
    "fast_bpe": Reader(vocabularies("fast_bpe"), _vocabulary("fast_bpe", "xlm"), _texts, share=3),
    "word_bpe": Reader(vocabularies("word_bpe"), _vocabulary("word_bpe", "gpt"), _texts, share=2),
    "unigram": Reader(vocabularies("unigram"), _vocabulary("unigram", "albert"), _texts, share=7),
    "word_vectors": Reader(
        word_vectors, _word_vectors,
        lambda rng: rng.choice((["read"], ["read"], ["read", True], ["read", False], ["neighbours"], ["analogy"])),
        share=3),
    "golden": Reader(shared_cases, _golden, _choice("read", "read", "read", "verify"), share=6),
    "candidate": Reader(
        candidates,
        _candidate,
        lambda rng: [rng.choice(("read", "read", "sizes", "check", "suggest")), rng.random() < 0.5],
        share=10,
    ),
    "names": Reader(name_maps, _names, _choice("read", "read", "read", "check"), share=3),
    "tokens": Reader(token_files, _tokens, share=1),
    "corpus": Reader(lambda: [texts()], _corpus, _choice(*["survey"] * 12, "corrupt", "embed", "pretrain"), share=4),
    "pairs": Reader(catalogues, _paired, _choice(*["call"] * 9, "command"), share=3),
    "pages": Reader(pages, _cleaned, _choice("objects", "listed"), share=2),
    "rows": Reader(task_files, _rows, lambda rng: [rng.random() < 0.8], share=8),
    "run": Reader(runs, _resumed, share=2, writes=True),
    "words": Reader(word_lists, _words, _choice(*["similar", "segmenter"] * 15, "--segmenter", "--similar"), share=3),
    "knowledge": Reader(known, _known, share=2),
    "config": Reader(configs, _config, _choice(*["pretrain"] * 30, "golden"), share=4),
    "stdin": Reader(lambda: [{}], _stdin, _standard_input, share=3),
    "options": Reader(
        lambda: [published("bert") | texts() | {"one.txt": b"One sentence alone.\n"}], _command_line, _options, share=3
    ),
    "api": Reader(lambda: [published("bert")], _call, _calls, share=6),
}
