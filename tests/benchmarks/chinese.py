"""Chinese and several languages at a small scale: python tests/benchmarks/chinese.py TABLE TEXT [--seeds N] [--steps N]
[--json FILE]; python tests/benchmarks/chinese.py text OUT [--root DIR] makes TEXT of Debian's Chinese documents.

    words    characters, pieces and words as a vocabulary: size, unknown tokens, and how much worse training counts
             predict held-out text than held-out counts do; no network
    trained  BERT over characters and over words, nats a character of the text that is asked for
    parts    ChineseBERT without pinyin and glyphs, with each, with both
    masks    ChineseBERT masked by words, by characters, by both 9 : 1, each asked in both ways
    images   fastText over words, n-grams of their characters, images of these, or both
    tlm      XLM on gettext catalogues (TEXT is their folder, such as /usr/share/locale), pairs read together or apart
    several  multilingual BERT and XLM on catalogues of six languages, what each of them comes to

A seed draws what is held out, the weights and all masks. Needs jieba, pypinyin, Pillow and Debian's fonts
(minibert[chinese]; fonts-arphic-ukai fonts-arphic-uming fonts-wqy-zenhei); the text is that of the packages
debian-reference-zh-cn and manpages-zh. So little text and so small models say something about directions, no more.
"""

import argparse
import contextlib
import gzip
import io
import itertools
import json
import math
import re
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import regex

import minibert
from minibert import corpus, data, parallel, pretraining, training
from minibert.corruption import segmentation
from minibert.tokenizers.wordpiece import SPECIALS, WordPiece

HAN = regex.compile(r"\p{Han}")
SENTENCE = re.compile(r"(?<=[。！？；])")
RUN = {"vocab_size": 4000, "seq_length": 64, "batch_size": 16, "steps": 400, "duplicates": 1, "threads": 1,
       "accumulate": 1}  # fmt: skip


# ---- Text ------------------------------------------------------------------------------------------------------------
def documents(root: Path) -> Iterator[list[str]]:
    """Chapters of the Debian Reference and manual pages: lines of which half the characters are Chinese."""
    reference = root / "usr/share/debian-reference/debian-reference.zh-cn.txt.gz"
    text = gzip.decompress(reference.read_bytes()).decode("utf-8")
    yield from (_lines(chapter) for chapter in re.split(r"\n第 \d+ 章", text))
    for page in sorted((root / "usr/share/man/zh_CN").glob("man*/*.gz")):
        plain = re.sub(r"\\f[A-Z]|\\[,/&]", "", gzip.decompress(page.read_bytes()).decode("utf-8", "replace"))
        plain = re.sub(r'(?m)^\.\\".*$|^\.[A-Z]+ ?|\\', "", plain)
        yield _lines(plain)


def _lines(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    kept = [line for line in lines if len(line) > 9 and len(HAN.findall(line)) > 0.5 * len(line)]
    return [part for line in kept for part in SENTENCE.split(line) if len(part) > 3]


def written(root: Path, out: Path, every: int) -> None:
    """A sentence a line, a blank line between documents, none twice."""
    found, seen = [], set()
    for document in itertools.islice(documents(root), 0, None, every):
        fresh = [line for line in document if line not in seen]
        seen.update(fresh)
        found += [fresh] if fresh else []
    out.write_text("\n\n".join("\n".join(document) for document in found) + "\n", encoding="utf-8")
    sentences = [sentence for document in found for sentence in document]
    print(f"{len(found)} documents, {len(sentences)} sentences, {sum(map(len, sentences)):,} characters")


# ---- Vocabularies ----------------------------------------------------------------------------------------------------
def segmented(text: list[str]) -> list[str]:
    cut = segmentation.segmenter("jieba")
    return [" ".join(word for word in cut(sentence) if word.strip()) for sentence in text]


def of_words(sentences: list[str], size: int) -> WordPiece:
    """A vocabulary of the most frequent words that stand twice, none taken apart."""
    counts = Counter(word for sentence in sentences for word in sentence.lower().split())
    words = [word for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n > 1]
    return WordPiece([*SPECIALS.values(), *words[: size - len(SPECIALS)]], split_cjk=False)


def parted(file: Path, seed: int) -> tuple[list[str], list[str]]:
    """(training sentences, held-out sentences)."""
    text, apart = corpus.split(corpus.Files([file]), 0.1, seed)
    return tuple([sentence for document in part for sentence in document] for part in (text, apart))


def entropies(tokenizer: WordPiece, train: list[str], held_out: list[str]) -> dict[str, float]:
    """Of a vocabulary: unknown tokens of both, and by how many nats held-out counts beat those of the training text."""
    ids = [np.array([i for sentence in part for i in tokenizer.ids(sentence)]) for part in (train, held_out)]
    counts = [np.bincount(each, minlength=len(tokenizer)) + 0.0 for each in ids]
    measured = corpus.unigram_entropy(*counts)
    characters = sum(len("".join(sentence.split())) for sentence in held_out)
    seen = [(each == tokenizer.unk_id).mean() for each in ids]
    once = float((counts[0] == 1).sum() / (counts[0] > 0).sum())
    apart, per = measured.cross_entropy - measured.entropy, characters / len(ids[1])
    return {"pieces": len(tokenizer), "unknown in training": seen[0], "unknown held out": seen[1],
            "characters a token": per, "pieces seen once": once, "gap, nats a token": apart,
            "gap, nats a character": apart / per}  # fmt: skip


def words(file: Path, seed: int, options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{vocabulary: figures}."""
    train, held_out = parted(file, seed)
    cut = [segmented(part) for part in (train, held_out)]
    found = {"characters": entropies(WordPiece.train(train, 4000, alphabet_limit=4000), train, held_out)}
    for size in (4000, 16000):
        found[f"words, at most {size:,}"] = entropies(of_words(cut[0], size), *cut)
    return found


# ---- Networks --------------------------------------------------------------------------------------------------------
def run(family: str, seed: int, **options: Any) -> tuple[Path, dict[str, Any], Any]:
    """(directory, report, what the directory's folder is held by)."""
    held = tempfile.TemporaryDirectory()
    with contextlib.redirect_stdout(io.StringIO()):
        made = pretraining.pretrain(family, out=Path(held.name, "run"), seed=seed, **options)
    return made, json.loads((made / "report.json").read_bytes()), held


def figures(report: dict[str, Any]) -> dict[str, float]:
    """The held-out loss beside the unigram entropy of its text."""
    loss, unigram = report["terms"]["masked_lm"], report["unigram"]["entropy"]
    return {"masked LM, nats": loss, "unigram": unigram, "less unigram": loss - unigram,
            "right": report["accuracies"]["masked_lm"]}  # fmt: skip


def trained(file: Path, seed: int, options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """BERT-wwm-ext's rows and loss over characters and over words; the gap is to rows of the training text."""
    train, held_out = parted(file, seed)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, cut in {"characters": lambda part: part, "words": segmented}.items():
            parts = cut(train), cut(held_out)
            own = {"characters": lambda text: WordPiece.train(text, 4000, alphabet_limit=4000),
                   "words": lambda text: of_words(text, 4000)}  # fmt: skip
            known = own[name](parts[0])
            known.save(Path(folder, name))
            text = Path(folder, f"{name}.txt")
            runs = ["\n".join(part[i : i + 20]) for part in parts for i in range(0, len(part), 20)]
            text.write_text("\n\n".join(runs) + "\n", encoding="utf-8")
            given = {**options, "units": "pieces", "vocabulary": Path(folder, name), "corpus_files": [text]}
            made, report, held = run("bert_wwm_ext", seed, **given)
            share = entropies(known, *parts)
            per = report["terms"]["masked_lm"] / share["characters a token"]
            found[name] = {**figures(report), "nats a character": per, "unknown": share["unknown held out"],
                           "gap": report["terms"]["masked_lm"] - training_loss(made, text)}  # fmt: skip
            held.cleanup()
    return found


def training_loss(made: Path, file: Path) -> float:
    """Of a run's model on rows of the first training documents, masked anew."""
    model, record = minibert.load(made), json.loads((made / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, record["options"])
    texts = [document for document, _ in zip(corpus.split(corpus.Files([file]), options.held_out, options.seed)[0],
                                             range(60), strict=False)]  # fmt: skip
    rows, _ = data.Recipe(model.family, model.tokenizer, own, options.seed).instances(texts, "held_out")
    return training.evaluation(model, rows, seed=options.seed)["terms"]["masked_lm"]


PAIRS = 12000  # of catalogues, a tenth of them held out
DRAWN = {"fonts": "debian", "fields": {"glyph_size": 12}}  # a quarter of the published pixels, which learn in a quarter
SPOKEN = {"pinyin": "pypinyin"}
PARTS = {"neither": {}, "pinyin": SPOKEN, "glyphs": DRAWN, "both": {**SPOKEN, **DRAWN}}


def parts(file: Path, seed: int, options: dict[str, Any], arms: Iterable[str] = PARTS) -> dict[str, dict[str, float]]:
    """{what a model sees beside characters: figures}; arms: of PARTS."""
    found = {}
    for name, own in ((name, PARTS[name]) for name in arms):
        _, report, held = run("chinesebert", seed, **options, **own, corpus_files=[file], segmenter="jieba")
        found[name] = figures(report)
        held.cleanup()
    return found


MASKED = {"characters": 0.0, "words": 1.0, "9 : 1": 0.9}


def masks(file: Path, seed: int, options: dict[str, Any], arms: Iterable[str] = MASKED) -> dict[str, dict[str, float]]:
    """{how rows are masked: figures of both ways to ask}; arms: of MASKED."""
    found = {}
    for name in arms:
        given = {**options, "whole_words": MASKED[name], "corpus_files": [file], "segmenter": "jieba"}
        made, report, held = run("chinesebert", seed, **given)
        asked = {f"{way} asked": asked_by(made, file, seed, way_share)
                 for way, way_share in {"words": 1.0, "characters": 0.0}.items()}  # fmt: skip
        found[name] = {"unigram": report["unigram"]["entropy"], **asked}
        held.cleanup()
    return found


def images(file: Path, seed: int, options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{what a word is made of: figures of fastText}, words of jieba's, skip-gram; all learn by Adam."""
    own = {**options, "seq_length": 64, "optimizer": "adamw", "learning_rate": 2e-3, "batch_size": 32}
    found, seen = {}, {"fonts": DRAWN["fonts"]}
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "words.txt")
        lines = file.read_text(encoding="utf-8").split("\n")
        text.write_text("\n".join(segmented(lines)), encoding="utf-8")
        arms = {"words": {"maxn": 0, "minn": 0}, "n-grams": {"minn": 1, "maxn": 3}}
        arms |= {"images": {**arms["words"], **seen}, "both": {**arms["n-grams"], **seen}}
        for name, arm in arms.items():
            _, report, held = run("fasttext", seed, **own, **arm, corpus_files=[text])
            loss = report["terms"]["negative_sampling"]
            found[name] = {"loss, nats": loss, "right": report["accuracies"]["negative_sampling"]}
            held.cleanup()
    return found


def asked_by(made: Path, file: Path, seed: int, share: float) -> float:
    """The held-out loss where this share of the rows is masked by words."""
    model, record = minibert.load(made), json.loads((made / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, {**record["options"], "whole_words": share})
    texts = list(corpus.split(corpus.Files([file]), options.held_out, seed)[1])
    rows, _ = data.Recipe(model.family, model.tokenizer, own, seed).instances(texts, "held_out")
    return training.evaluation(model, rows, seed=seed)["terms"]["masked_lm"]


def tlm(folder: Path, seed: int, options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{how the same pairs are read: held-out losses of a text alone, and of one beside its translation}."""
    every = parallel.pairs([folder], "zh_CN")
    known = [pair for pair in every if HAN.search(pair[1]) and 20 < len("".join(pair)) < 160]
    order = np.random.default_rng(seed).permutation(len(known))[:PAIRS].tolist()
    apart, train = ([known[i] for i in part] for part in (order[: PAIRS // 10], order[PAIRS // 10 :]))
    sides = {name: corpus.Document([pair[n] for pair in apart], name) for n, name in enumerate(("en", "zh"))}
    asked = {"alone": [*sides.values()], "beside": [corpus.Document(pair, "en-zh") for pair in apart]}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as kept:
        spoken = {"en-zh": Path(kept, "pairs.tsv"), **{name: Path(kept, f"{name}.txt") for name in sides}}
        spoken["en-zh"].write_text("".join(f"{a}\t{b}\n" for a, b in train), encoding="utf-8")
        for n, name in enumerate(sides):
            blocks = ["\n".join(pair[n] for pair in train[i : i + 30]) for i in range(0, len(train), 30)]
            spoken[name].write_text("\n\n".join(blocks), encoding="utf-8")
        vocabulary = None
        for arm, names in {"MLM": ("en", "zh"), "TLM": ("en-zh",), "both": ("en", "zh", "en-zh")}.items():
            given = {**options, "language": [f"{name}={spoken[name]}" for name in names], "languages": "en zh"}
            made, _, held = run("xlm", seed, **given, vocabulary=vocabulary)
            if vocabulary is None:
                vocabulary = Path(kept, "vocabulary")
                minibert.load(made).tokenizer.save(vocabulary)
            found[arm] = {f"{name}, {way}": value for way, texts in asked.items()
                          for name, value in _of(made, texts).items()}  # fmt: skip
            held.cleanup()
    return found


def _of(made: Path, texts: list) -> dict[str, float]:
    """Of a run's model on rows of these texts: its loss beside the entropy of their tokens, and how many it has right
    beside who always says the token that is asked most often.
    """
    model, record = minibert.load(made), json.loads((made / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, record["options"])
    rows, counts = data.Recipe(model.family, model.tokenizer, own, options.seed).instances(texts, "held_out")
    measured, asked = training.evaluation(model, rows, seed=options.seed), rows["masked_lm_weights"] > 0
    loss, unigram = measured["terms"]["masked_lm"], corpus.unigram_entropy(counts, counts).entropy
    return {"nats": loss, "unigram": unigram, "less unigram": loss - unigram,
            "right": measured["accuracies"]["masked_lm"],
            "majority": float(np.bincount(rows["masked_lm_ids"][asked]).max() / asked.sum())}  # fmt: skip


SEVERAL = {"de": "de", "fr": "fr", "es": "es", "ru": "ru", "zh": "zh_CN"}  # and English
EVERY = 4  # of the messages that catalogues have, one is read


def several(
    folder: Path, seed: int, options: dict[str, Any], arms: Iterable[str] = ("bert", "xlm")
) -> dict[str, dict[str, float]]:
    """{family, and language: held-out figures}: a tenth of the English messages is held out in every language; arms:
    families.
    """
    found: dict[str, dict[str, float]] = {}
    said = {name: [*parallel.pairs([folder], code)][::EVERY] for name, code in SEVERAL.items()}
    sources = sorted({source for known in said.values() for source, _ in known})
    rng = np.random.default_rng(seed)
    apart = {sources[i] for i in rng.permutation(len(sources))[: len(sources) // 10]}
    said["en"] = [(source, source) for source in sources[::EVERY]]
    with tempfile.TemporaryDirectory() as kept:
        held: dict[str, list] = {name: [] for name in said}
        for name, known in said.items():
            texts = [(source in apart, target) for source, target in known if source != target or name == "en"]
            parts = [[text for away, text in texts if away == held_out] for held_out in (False, True)]
            train, last = ([part[i : i + 30] for i in range(0, len(part), 30)] for part in parts)
            Path(kept, name).write_text("\n\n".join(map("\n".join, train)), encoding="utf-8")
            held[name] = [corpus.Document(block, name) for block in last]
        spoken = [f"{name}={Path(kept, name)}" for name in said]
        for family in arms:
            made, _, run_ = run(family, seed, **options, language=spoken, lowercase=False, masking="dynamic")
            found |= {f"{family}, {name}": _of(made, texts) for name, texts in sorted(held.items())}
            run_.cleanup()
    return found


# ---- Tables ----------------------------------------------------------------------------------------------------------
TABLES = {"words": words, "trained": trained, "parts": parts, "masks": masks, "images": images, "tlm": tlm,
          "several": several}  # fmt: skip


def shown(reports: list[dict[str, dict[str, float]]]) -> Iterator[str]:
    """Markdown: mean ± standard deviation over the seeds."""
    columns = [*next(iter(reports[0].values()))]
    yield f"| {len(reports)} seeds | " + " | ".join(columns) + " |"
    yield "|" + "---|" * (len(columns) + 1)
    for row in reports[0]:
        cells = []
        for column in columns:
            values = [report[row][column] for report in reports]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        yield f"| {row} | " + " | ".join(cells) + " |"
    first = next(iter(reports[0]))
    for row in [*reports[0]][1:]:
        for column in columns:
            apart = [report[row][column] - report[first][column] for report in reports]
            error = statistics.stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
            yield f"{row} less {first}, {column}: {statistics.mean(apart):+.4f} ± {error:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["text", *TABLES])
    parser.add_argument("file", type=Path)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--every", type=int, default=1, help="take every n-th document alone")
    parser.add_argument("--steps", type=int, default=RUN["steps"])
    parser.add_argument("--option", action="append", default=[], help="of every run, as learning_rate=0.002")
    parser.add_argument("--fonts", default="debian", help="to draw by, files with commas between; default debian's")
    known = [*PARTS, *MASKED, "bert", "xlm"]
    parser.add_argument("--arm", choices=known, action="append", help="of parts, masks, or several these alone")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.table == "text":
        return written(given.root, given.file, given.every)
    DRAWN["fonts"], reports = given.fonts, []
    options = {**RUN, "steps": given.steps, **{name: json.loads(n) for name, n in (o.split("=") for o in given.option)}}
    for seed in range(given.first, given.first + given.seeds):
        print(f"seed {seed}", file=sys.stderr)
        own = {"arms": given.arm} if given.arm and given.table in ("parts", "masks", "several") else {}
        reports.append(TABLES[given.table](given.file, seed, options, **own))
        if given.json:
            given.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print("\n".join(shown(reports)))


if __name__ == "__main__":
    main()
