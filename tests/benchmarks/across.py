"""Across languages at a small scale: python tests/benchmarks/across.py TABLE TEXT [--runs DIR] [--seeds N] [--steps N]
[--json FILE]; python tests/benchmarks/across.py text TEXT --root DIR makes TEXT of Debian's manual pages.

    align     does a word's vector find its translation: parallel text, disjoint text, a fifth of it, fake English, the
              same network with new weights, word2vec, GloVe
    transfer  two tasks learnt in one language, asked in each; and learnt from English word by word in another's words
    shift     the classifier that English taught, asked in German, with the states of a layer shifted

DIR, in which manpages, manpages-dev, manpages-de, manpages-de-dev, manpages-fr and manpages-fr-dev of Debian are
unpacked (apt-get download, dpkg-deb -x), has the same pages in English, German and French. TEXT gets, of the pages
that have as many paragraphs in all three, a file a language: a paragraph a line, its words, the font of each, and
under which heading it stands in English. Models read English and German, never French. --runs keeps those that are
trained.
"""

import argparse
import contextlib
import functools
import gzip
import io
import itertools
import json
import operator
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import finetuning, pretraining, uses, vectors
from minibert.analysis import languages
from tests.benchmarks.tasks import created

LANGUAGES = {"en": "", "de": "de", "fr": "fr"}
FONTS = {"B": "bold", "I": "italic", "R": "roman"}
TOKENS, READ = 48, 1000  # of a row or paragraph; paragraphs that word vectors are of
RUN = {"vocab_size": 2000, "seq_length": 32, "batch_size": 16, "accumulate": 1, "duplicates": 1, "steps": 600}
STATIC = ("word2vec", "glove")
THANKS = 3  # paragraphs about the translation at the end of one
Row = dict[str, Any]
Figures = dict[str, dict[str, float]]  # {row of the table: {column: figure}}

# ---- Pages -----------------------------------------------------------------------------------------------------------
_SIGNS = {"\\-": "-", "\\(aq": "'", "\\(dq": '"', "\\(em": "-", "\\(en": "-", "\\(bu": "", "\\(lq": '"', "\\(rq": '"',
          "\\ ": " ", "\\~": " ", "\\&": "", "\\|": "", "\\^": "", "\\e": "\\", "\\%": "", "\\:": "", "\\(co": "",
          "\\(ha": "^", "\\(ti": "~"}  # fmt: skip
_SET = re.compile(r"\.([BIRS][BIRM]?)\s+(.*)")
_PIECE = re.compile(r'"([^"]*)"|(\S+)')
_FONT = re.compile(r"\\f(\[[^]]*\]|.)")
_LEFT_OUT = {".nf": ".fi", ".EX": ".EE", ".TS": ".TE", ".RS": None}
_BREAKS = {".PP", ".P", ".LP", ".TP", ".IP", ".HP", ".TQ", ".RE", ".br", ".sp", ".fi", ".EE"}


def paragraphs(page: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, (word, its font's letter) …) of each paragraph of a page, examples and tables left out."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    heading, held, until = "", [], None
    for line in page.splitlines():
        first = line.split(" ", 1)[0]
        if until:
            until = None if first == until else until
        elif first in (".SH", ".SS") or first in _BREAKS or first in _LEFT_OUT:
            found += [(heading, held)] if held else []
            held, until = [], _LEFT_OUT.get(first)
            heading = line[3:].strip().strip('"') if first == ".SH" else heading
        elif not line.startswith((".", "'")):
            held += _words([(line, "R")])
        elif (match := _SET.match(line)) and "S" not in match[1]:
            pieces = [quoted or plain for quoted, plain in _PIECE.findall(match[2])]
            fonts = itertools.cycle(match[1])
            held += _words(
                [(" ".join(pieces), match[1])] if len(match[1]) == 1 else [*zip(pieces, fonts, strict=False)]
            )
    return found + ([(heading, held)] if held else [])


def _words(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The words of parts that stand side by side, each with the font of its first character."""
    characters: list[tuple[str, str]] = []
    for text, own in parts:
        font = own
        for n, piece in enumerate(_FONT.split(text)):
            if n % 2:
                font = {"P": own, "1": "R", "2": "I", "3": "B"}.get(piece, piece if piece in FONTS else own)
                continue
            for sign, meant in _SIGNS.items():
                piece = piece.replace(sign, meant)
            characters += [(character, font) for character in piece]
    words: list[tuple[str, str]] = []
    for blank, some in itertools.groupby(characters, lambda held: held[0].isspace()):
        held = [*some]
        if not blank:
            words.append(("".join(character for character, _ in held), held[0][1]))
    return words


def pages(folder: Path) -> dict[str, str]:
    """{section/name: the text} of the pages of a language, aliases left out."""
    found = {}
    for path in sorted(folder.glob("man[1-8]/*.gz")):
        text = "" if path.is_symlink() else gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        if text and not text.startswith(".so"):
            found[f"{path.parent.name}/{path.name}"] = text
    return found


def written(root: Path, out: Path) -> None:
    """The paragraphs of pages that have as many of them in each language, of three words or more in each."""
    held = {name: pages(root / "usr/share/man" / own) for name, own in LANGUAGES.items()}
    common = sorted(set.intersection(*map(set, held.values())))
    out.mkdir(parents=True, exist_ok=True)
    rows, kept = {name: [] for name in LANGUAGES}, 0
    for page in common:
        made = {name: paragraphs(held[name][page]) for name in LANGUAGES}
        count = len(made["en"])
        if any(len(own) != count + (name != "en") * THANKS for name, own in made.items()):
            continue
        kept += 1
        for each in zip(*(own[:count] for own in made.values()), strict=True):
            if all(len(words) > 2 for _, words in each):
                for name, (_, words) in zip(LANGUAGES, each, strict=True):
                    row = {"page": page, "heading": each[0][0], "tokens": [word for word, _ in words],
                           "tags": [FONTS[font] for _, font in words]}  # fmt: skip
                    rows[name].append(json.dumps(row, ensure_ascii=False))
    for name, lines in rows.items():
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = {name: sum(len(json.loads(line)["tokens"]) for line in lines) for name, lines in rows.items()}
    print(f"{kept} of {len(common)} pages, {len(rows['en'])} paragraphs, words: {words}")


@functools.cache
def read(text: Path) -> dict[str, list[Row]]:
    """{language: its paragraphs}, side by side."""
    lines = {name: (text / f"{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in LANGUAGES}
    return {name: [json.loads(line) for line in own] for name, own in lines.items()}


def parted(text: Path, seed: int) -> tuple[list[int], list[int], list[int]]:
    """The numbers of the paragraphs of two halves of the pages to learn from, and of a fifth that is held out."""
    every = read(text)["en"]
    names = sorted({row["page"] for row in every})
    random.Random(seed).shuffle(names)
    last, cut = len(names) // 5, len(names) // 5 + len(names) * 2 // 5
    part = {name: 0 if i < last else 1 if i < cut else 2 for i, name in enumerate(names)}
    apart, one, two = ([i for i, row in enumerate(every) if part[row["page"]] == n] for n in range(3))
    return one, two, apart


def fake(text: str) -> str:
    """English in letters that are no other text's: each has one, as in arXiv 1912.07840."""
    return "".join(chr(0x10D0 + ord(c) - 97) if "a" <= c <= "z" else c for c in text.lower())


# ---- Models ----------------------------------------------------------------------------------------------------------
def trained(arm: str, text: Path, seed: int, runs: Path, steps: int) -> Path:
    """The directory of a model of an arm, which is trained unless it is there."""
    out = runs / f"{arm}-{seed}"
    if out.exists():
        return out
    one, two, _ = parted(text, seed)
    own = {"one": one, "two": one}
    if arm in ("disjoint", "fake"):
        own["two"] = two
    if arm == "a fifth":
        own = {name: part[: len(part) // 5] for name, part in own.items()}
    second, change = ("en", fake) if arm == "fake" else ("de", str)
    files = {}
    for name, language, changed in (("one", "en", str), ("two", second, change)):
        files[name] = runs / f"{arm}-{seed}.{name}.txt"
        lines = [changed(" ".join(read(text)[language][i]["tokens"])) for i in own[name]]
        blocks = ["\n".join(lines[i : i + 20]) for i in range(0, len(lines), 20)]
        files[name].write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    given: Row = {**RUN, "steps": steps, "language": [f"{name}={path}" for name, path in files.items()]}
    family = "roberta"
    if arm in STATIC:
        family, given = arm, {"corpus_files": [*files.values()], "steps": 600}
    with contextlib.redirect_stdout(io.StringIO()):
        return pretraining.pretrain(family, out=out, seed=seed, threads=1, **given)


# ---- Words -----------------------------------------------------------------------------------------------------------
def dictionary(rows: dict[str, list[Row]], numbers: list[int], other: str, least: int = 8) -> dict[str, str]:
    """{English word: the one of the other language that stands beside it}: each the other's best by Dice's coefficient
    over paragraphs, 0.4 or more, and another word.
    """
    sides = [[{*languages.LETTERS.findall(" ".join(rows[name][i]["tokens"]).lower())} for i in numbers]
             for name in ("en", other)]  # fmt: skip
    counts = [Counter(itertools.chain.from_iterable(side)) for side in sides]
    known = [{word for word, n in count.items() if n >= least} for count in counts]
    both = Counter()
    for a, b in zip(*sides, strict=True):
        both.update(itertools.product(a & known[0], b & known[1]))
    best: tuple[dict, dict] = ({}, {})
    for (a, b), n in both.items():
        share = 2 * n / (counts[0][a] + counts[1][b])
        for held, word, found in ((best[0], a, b), (best[1], b, a)):
            held[word] = max(held.get(word, (0.0, "")), (share, found))
    return {a: b for a, (share, b) in best[0].items() if share >= 0.4 and best[1][b][1] == a and a != b}


def align(text: Path, seed: int, runs: Path, steps: int) -> Figures:
    """{arm: {layer: mean reciprocal rank}}, as the vectors are and less their language's mean."""
    rows, (one, _, apart) = read(text), parted(text, seed)
    words = dictionary(rows, one, "de")
    asked = random.Random(seed).sample([*one, *apart], READ)
    english, german = ([" ".join(rows[name][i]["tokens"]) for i in asked] for name in ("en", "de"))
    found: Figures = {}
    for arm in ("parallel", "disjoint", "a fifth", "new weights", "fake", *STATIC):
        made = trained("parallel" if arm == "new weights" else arm, text, seed, runs, steps)
        model = minibert.load(created(made, runs, seed) if arm == "new weights" else made)
        pairs, other = [*words.items()], german
        if arm == "fake":
            pairs, other = [(word, fake(word)) for word in words], [fake(line) for line in english]
        if arm in STATIC:
            held = vectors.of(model)
            sides = [{word: held.rows[held.index[word]][None] for word in map(operator.itemgetter(n), pairs)
                      if word in held.index} for n in range(2)]  # fmt: skip
        else:
            longest = uses.longest(model, TOKENS)
            sides = [languages.words(model, texts, {pair[n] for pair in pairs}, longest)
                     for n, texts in enumerate((english, other))]  # fmt: skip
        met = languages.met(*sides, pairs)
        ranks = languages.alignment(*sides, met)
        found[arm] = {"words": len(met), "chance": sum(1 / n for n in range(1, len(met) + 1)) / len(met)}
        for i, (plain, centred) in enumerate(ranks):
            name = f"layer {i}" if i else "embeddings"
            found[arm] |= {name: plain, f"{name}, less mean": centred}
    return found


# ---- Tasks -----------------------------------------------------------------------------------------------------------
def tasks(text: Path, seed: int, folder: Path) -> dict[str, dict[str, Path]]:
    """{task: {"en.train": a file of rows, …}}: the heading of a paragraph, of six that are frequent, as many of each as
    there are; and the font of each word. "en-de.train": English rows word by word in the other's words.
    """
    rows, (one, _, apart) = read(text), parted(text, seed)
    often = Counter(rows["en"][i]["heading"] for i in one if "DESCRIPTION" not in rows["en"][i]["heading"])
    names = {name for name, _ in often.most_common(6)}
    rng, found = random.Random(seed), defaultdict(dict)
    known = {other: dictionary(rows, one, other) for other in ("de", "fr")}
    for part, numbers, count in (("train", one, 900), ("dev", apart, 300)):
        fit = [i for i in rng.sample(numbers, len(numbers)) if rows["en"][i]["heading"] in names]
        chosen = {"classify": balanced(fit, lambda i: rows["en"][i]["heading"], count),
                  "tag": [i for i in numbers if {*rows["en"][i]["tags"]} > {"roman"}]}  # fmt: skip
        chosen["tag"] = rng.sample(chosen["tag"], min(count, len(chosen["tag"])))
        for task, own in chosen.items():
            for name in (*LANGUAGES, "en-de", "en-fr"):
                first, _, other = name.partition("-")
                made = []
                for i in own:
                    row = rows[first][i]
                    tokens = (
                        [known[other].get(word.lower(), word) for word in row["tokens"]] if other else row["tokens"]
                    )
                    tagged = {"tokens": tokens[:TOKENS], "tags": row["tags"][:TOKENS]}
                    told = {"text": " ".join(tokens), "label": rows["en"][i]["heading"]}
                    made.append(json.dumps(tagged if task == "tag" else told, ensure_ascii=False))
                found[task][f"{name}.{part}"] = folder / f"{seed}-{task}-{name}.{part}.jsonl"
                found[task][f"{name}.{part}"].write_text("\n".join(made), encoding="utf-8")
    return found


def balanced(numbers: list[int], label: Any, count: int) -> list[int]:
    """As many of each label, or all that there are, so many in all at most, in their order."""
    groups = defaultdict(list)
    for i in numbers:
        groups[label(i)].append(i)
    taken = {i for group in groups.values() for i in group[: count // len(groups)]}
    return [i for i in numbers if i in taken]


def tuned(task: str, model: Path, out: Path, train: Path, dev: Path, seed: int) -> Any:
    """The model of a run that says nothing."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = finetuning.finetune(task, model, out=out, train=train, dev=dev, seed=seed, steps=150, batch_size=16,
                                  accumulate=1, seq_length=32, learning_rate=1e-3, threads=1)  # fmt: skip
    return minibert.load(run)


def asked(model: Any, file: Path) -> float:
    """What is right of the rows of a file: rows, or words."""
    (task,) = model.uses
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    said = [*uses.answered(model, task, [("", row) for row in rows], 32)]
    return uses.of(task).measures(task, rows, said)["accuracy"]


def most_frequent(file: Path) -> float:
    """What share of a file's labels, or tags, is the most frequent one."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    often = Counter(itertools.chain.from_iterable(row.get("tags") or [row["label"]] for row in rows))
    return often.most_common(1)[0][1] / often.total()


def transfer(text: Path, seed: int, runs: Path, steps: int) -> Figures:
    """{task: learnt in: {asked in: what is right}}; the most frequent answer too."""
    made, found = trained("parallel", text, seed, runs, steps), {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for task, files in tasks(text, seed, folder).items():
            found[f"{task}: most frequent answer"] = {name: most_frequent(files[f"{name}.dev"]) for name in LANGUAGES}
            for name in (*LANGUAGES, "en-de", "en-fr"):
                own = tuned(task, made, folder / f"{task}-{name}", files[f"{name}.train"], files["en.dev"], seed)
                found[f"{task}: {name}"] = {other: asked(own, files[f"{other}.dev"]) for other in LANGUAGES}
    return found


def language_vectors(model: Any, rows: list[Row], numbers: list[int]) -> list[Any]:
    """Of each layer, over 4,000 tokens of these paragraphs."""
    texts = (" ".join(rows[i]["tokens"]) for i in numbers)
    return [*map(languages.language_vector, languages.tokens(model, texts, 32, 4000))]


SHARES = (0.0, 0.5, 1.0, 2.0)


def shift(text: Path, seed: int, runs: Path, steps: int) -> Figures:
    """{layer: {share: what is right}}."""
    made, rows = trained("parallel", text, seed, runs, steps), read(text)
    one, _, _ = parted(text, seed)
    found: Figures = defaultdict(dict)
    with tempfile.TemporaryDirectory() as temporary:
        files = tasks(text, seed, Path(temporary))["classify"]
        model = tuned("classify", made, Path(temporary, "en"), files["en.train"], files["en.dev"], seed)
        for other in ("de", "fr"):
            means = [language_vectors(model, rows[name], one) for name in (other, "en")]
            for layer, (source, target) in enumerate(zip(*means, strict=True)):
                for share in SHARES:
                    moved = functools.partial(languages.shifted, source=source, target=target, share=share)
                    with languages.changed(layer, moved):
                        share_right = asked(model, files[f"{other}.dev"])
                    found[f"{other}, {f'layer {layer}' if layer else 'embeddings'}"][f"{share:g}"] = share_right
    return dict(found)


# ---- Tables ----------------------------------------------------------------------------------------------------------
TABLES = {"align": align, "transfer": transfer, "shift": shift}


# what a figure is compared with: (row, column) of another one
BASES = {
    "align": lambda row, column: ("parallel", column),
    "transfer": lambda row, column: (f"{row.partition(':')[0]}: en", column),
    "shift": lambda row, column: (row, "0"),
}


def shown(reports: list[Figures], table: str) -> Iterator[str]:
    """Markdown: mean ± standard deviation over the seeds; below, the paired differences ± their standard error."""
    columns = [*dict.fromkeys(column for row in reports[0].values() for column in row)]
    yield f"| {len(reports)} seeds | " + " | ".join(columns) + " |"
    yield "|" + "---|" * (len(columns) + 1)
    for row in reports[0]:
        own = [[report[row][column] for report in reports if column in report[row]] for column in columns]
        yield f"| {row} | " + " | ".join(spread(values) if values else "" for values in own) + " |"
    for row, column in itertools.product(reports[0], columns):
        base, of = BASES[table](row, column)
        if (row, column) != (base, of) and all(column in held[row] and of in held[base] for held in reports):
            apart = [report[row][column] - report[base][of] for report in reports]
            yield f"{row}, {column} less {base}, {of}: {spread(apart, len(apart) ** 0.5)}"


def spread(values: list[float], divisor: float = 1.0) -> str:
    """Mean ± deviation over the divisor."""
    deviation = statistics.stdev(values) / divisor if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", choices=["text", *TABLES])
    parser.add_argument("text", type=Path)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")
    parser.add_argument("--runs", type=Path, help="keep the models here, and take those that are there")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=RUN["steps"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.table == "text":
        return written(args.root, args.text)
    reports, began = [], time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        runs = args.runs or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        for seed in range(args.seeds):
            reports.append(TABLES[args.table](args.text, seed, runs, args.steps))
            print(f"seed {seed}: {time.process_time() - began:.0f} CPU seconds", file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8", newline="\n")
    print("\n".join(shown(reports, args.table)))


if __name__ == "__main__":
    main()
