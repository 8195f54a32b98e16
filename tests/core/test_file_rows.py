"""Rows that name files: pictures and sound as `minibert finetune` and `predict` read them."""

import io
import itertools
import json
import re
import sys

import numpy as np
import pytest

import minibert
from minibert import cli, finetuning, pictures, recordings, training
from minibert.errors import InputError
from minibert.families import vit

OPTIONS = {"steps": 6, "batch_size": 8, "accumulate": 1, "checkpoint_every": 2, "threads": 1}
FIELDS = {
    "vit": {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "hidden_dropout_prob": 0.1},
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]},
    "audio_bert": {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                   "mel_bins": 8, "highest": 3900.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Bright and dark pictures, one file each and in one file with labels; high and low tones."""
    folder, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    bright = np.arange(24) % 2
    held = (rng.random((24, 8, 8)) * 60 + 180 * bright[:, None, None]).astype(np.uint8)
    np.savez(folder / "all.npz", images=held, labels=bright)
    np.save(folder / "alone.npy", held)
    (folder / "in").mkdir()
    lines, tones = [], ["label,sound"]
    for i in range(24):
        np.save(folder / "in" / f"{i}.npy", held[i : i + 1])
        of_all = {"picture": "../all.npz", "number": i} if i % 3 == 0 else {"picture": f"{i}.npy"}
        lines.append(json.dumps({**of_all, "label": ["dark", "bright"][bright[i]]}))
        pitch = np.sin(np.arange(1200 + 40 * i) * (0.3, 1.2)[i % 2])
        recordings.write(folder / "in" / f"{i}.wav", pitch * rng.uniform(0.2, 0.8), 8000)
        tones.append(f"{('low', 'high')[i % 2]},{i}.wav")
    (folder / "in" / "seen.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "in" / "heard.csv").write_text("\n".join(tones), encoding="utf-8")
    return folder


def said(monkeypatch, capsys, *args, text=""):
    """The exit code, and what the command says on both streams."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
    capsys.readouterr()
    code = cli.main([*map(str, args)])
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err.splitlines()


def learnt(family, place, file, out, **changes):
    given = {"dev": place / file, "fields": FIELDS[family], "out": out, **OPTIONS, **changes}
    return finetuning.finetune("classify", family, place / file, **given)


@pytest.mark.parametrize(("family", "file", "first", "label"), [
    ("vit", "in/seen.jsonl", "in/1.npy", "bright"), ("swin", "all.npz", "in/1.npy", "1"),
    ("audio_bert", "in/heard.csv", "in/1.wav", "high"),
])  # fmt: skip
def test_classes_are_told_from_files(family, file, first, label, place, tmp_path, monkeypatch, capsys):
    """From nothing but the rows; the directory answers for rows of a file, and for lines that name files."""
    out = learnt(family, place, file, tmp_path / "run", steps=60, checkpoint_every=60, learning_rate=0.01)
    assert json.loads((out / "report.json").read_bytes())["measures"]["accuracy"] == 1
    monkeypatch.chdir(place)
    code, (line,), errors = said(monkeypatch, capsys, "predict", out, text=f"{first}\n")
    assert (code, line.split()[0], errors) == (0, label, [])
    code, lines, _ = said(monkeypatch, capsys, "predict", out, place / file, "--json")
    rows = [json.loads(line) for line in lines]
    assert code == 0
    assert [row["label"] for row in rows] == [row["given"]["label"] for row in rows]
    model = minibert.load(out)
    column = model.module.PERCEIVES
    inputs = model.module.gathered([model.module.perceived(row, model.config, model.beside, 512) for row in rows[:2]])
    assert rows[0][column].startswith(str(place))
    logits = model.predict(inputs)["logits"]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [row["score"] for row in rows[:2]] == pytest.approx(shares.max(1).tolist(), rel=1e-5)


@pytest.mark.parametrize(("family", "file"), [("vit", "all.npz"), ("audio_bert", "in/heard.csv")])
def test_a_run_that_is_stopped_ends_with_the_same_bits(family, file, place, tmp_path, monkeypatch):
    whole, taken, count = learnt(family, place, file, tmp_path / "whole"), training.micro_batches, itertools.count()

    def stopped(*args):
        if next(count) == 3:
            raise KeyboardInterrupt
        return taken(*args)

    monkeypatch.setattr(training, "micro_batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        learnt(family, place, file, tmp_path / "part")
    monkeypatch.setattr(training, "micro_batches", taken)
    part = finetuning.finetune("classify", family, out=tmp_path / "part", resume=True, threads=1)
    names = ["model.safetensors", "config.json", "report.json", *vars(minibert.load(whole))["beside"]]
    assert [(part / name).read_bytes() for name in names] == [(whole / name).read_bytes() for name in names]


def test_other_pictures_are_no_resumption(place, tmp_path):
    file = tmp_path / "own.npz"
    held = np.load(place / "all.npz")
    np.savez(file, images=held["images"], labels=held["labels"])
    given = {"fields": FIELDS["vit"], "out": tmp_path / "run", **OPTIONS}
    finetuning.finetune("classify", "vit", file, **given)
    np.savez(file, images=held["images"][::-1], labels=held["labels"])
    with pytest.raises(InputError, match=r"the rows of .* have changed since the run began"):
        finetuning.finetune("classify", "vit", file, **given, resume=True)


@pytest.mark.parametrize(("family", "name", "text", "error"), [
    ("vit", "x.jsonl", '{"picture": "in/0.npy", "label": 1}\n{"picture": "no.npy", "label": 0}',
     r"x.jsonl, line 2, column 'picture': cannot read .*no.npy: No such file"),
    ("vit", "x.jsonl", '{"picture": "in/0.npy", "label": 1}\n{"picture": "alone.npy", "label": 0}',
     r"line 2, column 'picture': .*alone.npy has 24 pictures: say which \(number\)"),
    ("vit", "x.jsonl", '{"picture": "in/0.npy", "label": 1}\n{"picture": "alone.npy", "number": 24, "label": 0}',
     r"line 2, column 'picture': .*has 24 pictures, and the first is 0: there is no number 24"),
    ("vit", "x.csv", "picture,number,label\nin/0.npy,x,1\nin/1.npy,0,1\n",
     r"x.csv, line 2, column 'number': 'x': expected a whole number"),
    ("vit", "x.csv", "picture,label\nin/0.npy,1\nin/0.wav,0\n", r"line 3, column 'picture': .*0.wav is not a usable"),
    ("vit", "x.csv", "picture,label\nsmall.npy,1\nin/0.npy,0\n",
     r"line 2, column 'picture': .*a picture of \(1, 4, 4\) \(C, Y, X\), but the model's are \(1, 8, 8\)"),
    ("vit", "x.csv", "image,label\nin/0.npy,1\nin/0.wav,0\n", "line 1: the header has no column 'picture'"),
    ("vit", "alone.npy", None, r"alone.npy, picture 0, column 'label': there is none"),
    ("vit", "x.tsv", "text\tlabel\na\tb\n", "line 1: the header has no column 'picture'"),
    ("audio_bert", "x.csv", "sound,label\nin/0.wav,1\nin/0.npy,0\n", r"line 3, column 'sound': .* is no wave file"),
    ("audio_bert", "x.csv", "sound,label\nin/0.wav,1\nin,0\n", r"line 3, column 'sound': cannot read .* a directory"),
    ("audio_bert", "all.npz", None, r"numpy is for classify picture and .*, not for classify sound"),
])  # fmt: skip
def test_a_row_that_cannot_be_used_is_one_line(family, name, text, error, place, tmp_path, monkeypatch, capsys):
    np.save(place / "small.npy", np.ones((1, 4, 4)))
    if text is not None:
        (place / name).write_text(text, encoding="utf-8")
    own = [f"{field}={json.dumps(value)}" for field, value in FIELDS[family].items()]
    given = ("finetune", "classify", family, "--train", place / name, "--dev", place / name, "--set", *own)
    code, _, errors = said(monkeypatch, capsys, *given, "--steps", 1, "--out", tmp_path / "run")
    assert (code, len(errors)) == (2, 1)
    assert re.search(error, errors[0]), errors[0]
    assert not (tmp_path / "run" / "run.json").exists()


def test_tasks_that_files_cannot_be_learnt_for(place, tmp_path):
    with pytest.raises(InputError, match=r"vit cannot tag: a row is a picture, .*: caption, classify, .*regress"):
        finetuning.finetune("tag", "vit", place / "all.npz", out=tmp_path / "run")


def test_published_directories_say_how_their_pictures_are_read(place):
    """Shares of 255, then each channel's mean and spread."""
    config = vit.Config(image_size=8, num_channels=1, patch_size=2)
    row = {"picture": place / "all.npz", "number": 3}
    plain = pictures.one(place / "all.npz", 3)
    due = (plain - np.float32(0.5)) / np.float32(0.25)
    told = {"rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5], "image_std": [0.25]}
    for held, expected in ((told, due), ({**told, "do_normalize": False}, plain), ({}, plain)):
        assert np.array_equal(vit.perceived(row, config, {pictures.PREPROCESSOR: json.dumps(held)}, 512), expected)
    for held, error in (({**told, "image_std": [0.25, 0.5]}, "image_std is .*expected a list of 1 numbers"),
                        ({**told, "image_std": [0]}, "not finite"), ({**told, "rescale_factor": 1.0}, "not times 1.0"),
                        ([], "not a JSON object")):  # fmt: skip
        with pytest.raises(InputError, match=error):
            vit.perceived(row, config, {pictures.PREPROCESSOR: json.dumps(held)}, 512)


def test_a_model_of_sound_says_how_its_frames_are_made(place):
    row, module = {"sound": str(place / "in" / "0.wav")}, minibert.families.family("audio_bert")
    config = module.Config(input_dim=8)
    with pytest.raises(InputError, match=r"does not say how its frames are made \(preprocessor_config.json\)"):
        module.perceived(row, config, {}, 512)
    told = {"mel_bins": 8, "deltas": 0, "lowest": 20.0, "highest": 3900.0, "stacked": 1}
    beside = {"preprocessor_config.json": json.dumps(told)}
    assert len(module.perceived(row, config, beside, 5)) == 5
    with pytest.raises(InputError, match="makes frames of 8 numbers, but input_dim is 9"):
        module.perceived(row, module.Config(input_dim=9), beside, 512)
    with pytest.raises(InputError, match="has to say mel_bins, deltas"):
        module.perceived(row, config, {"preprocessor_config.json": "{}"}, 512)
