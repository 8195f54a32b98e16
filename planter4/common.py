"""The list of plants, and how edits limited to a class are made whole-file ones."""
import re
from pathlib import Path

PLANTS, BY = [], {}
MODELS = Path("/work/venv/lib/python3.11/site-packages/transformers/models")
ROOT = Path(__file__).resolve().parents[1]


def P(name, stack, case, kind, what, *edits, dtype=None, group="plant", names=None):
    assert name not in BY, name
    dtype = dtype or ("bfloat16" if kind == "bfloat16" else "float32")
    BY[name] = {"id": name, "stack": stack, "case": case, "kind": kind, "dtype": dtype, "what": what, "edits": edits, "group": group, "names": names or [name]}
    PLANTS.append(BY[name])


def resolved(edits):
    """Edits of transformers' files and of the adapter as whole texts, so that several meet in one file."""
    texts, rest = {}, []
    for edit in edits:
        file, *cls, old, new = edit
        if file not in ("bert", "roberta", "albert", "electra", "gpt2", "port"):
            rest.append(edit)
            continue
        path = ROOT / "reference/adapters/torch_transformers.py" if file == "port" else MODELS / file / f"modeling_{file}.py"
        first, now = texts.setdefault(file, [path.read_text()] * 2)
        if cls:
            at = re.search(rf"^class {cls[0]}\b", now, re.M).start()
            end = re.compile(r"^(?=@|class |def )", re.M).search(now, at + 5)
            end = end.start() if end else len(now)
            assert old in now[at:end], (cls, old)
            now = now[:at] + now[at:end].replace(old, new) + now[end:]
        else:
            assert old in now, old
            now = now.replace(old, new)
        texts[file] = [first, now]
    return [(file, first, now) for file, (first, now) in texts.items()] + rest
