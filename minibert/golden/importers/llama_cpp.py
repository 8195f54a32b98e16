"""llama.cpp's `llama-debug -m MODEL.gguf --embedding --pooling none --save-logits -p TEXT`: the last hidden state.

It writes llamacpp-MODEL-embeddings.bin, float32 numbers of one row (tokens, hidden), little-endian, and beside it
llamacpp-MODEL-embeddings-tokens.bin, the ids as int32: a case of one row, which `golden make --from DIR --text FILE`
makes of one text, has it as (1, tokens, hidden). The name is "llamacpp.embeddings": --names says whose output it is.
What llama-eval-callback prints can't be judged: four decimals, and of more than six numbers three from each end.
Source: ggml-org/llama.cpp, examples/debug/debug.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minibert import reading
from minibert.checkpoint.numpy_files import Stored
from minibert.config import require
from minibert.golden.importers import called

START, ENDS, IDS = "llamacpp-", "-embeddings.bin", "-embeddings-tokens.bin"
MOST = 1 << 32  # bytes of a file


def recognises(root: Path) -> bool:
    """Whether a last hidden state and its ids lie there."""
    return bool(_models(root))


def tensors(root: Path) -> Iterator[tuple[str, Stored]]:
    """The last hidden state."""
    (model, *more) = _models(root)
    require(not more, f"{root} holds the dumps of several models: give each a folder of its own")
    path, ids = root / f"{START}{model}{ENDS}", root / f"{START}{model}{IDS}"
    tokens, rest = divmod(len(reading.contents(ids, MOST)), 4)
    require(tokens > 0 and not rest, f"{ids} holds no ids of 4 bytes each")
    numbers = np.frombuffer(_whole(path), "<f4")
    fits = numbers.size > 0 and numbers.size % tokens == 0
    require(fits, f"{path}: {numbers.size} numbers are not so many for each of {tokens} tokens: use --pooling none")
    shape = (1, tokens, numbers.size // tokens)
    yield called("llamacpp.embeddings", 0), Stored(shape, "float32", lambda: numbers.reshape(shape).astype("=f4"))


def _models(root: Path) -> list[str]:
    names = set(reading.names(root))
    found = [name[len(START) : -len(ENDS)] for name in names if name.startswith(START) and name.endswith(ENDS)]
    return sorted(model for model in found if f"{START}{model}{IDS}" in names)


def _whole(path: Path) -> bytes:
    data = reading.contents(path, MOST)
    require(len(data) % 4 == 0, f"{path} holds no float32 numbers: its {len(data)} bytes are no multiple of 4")
    return data
