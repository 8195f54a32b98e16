"""Hostile inputs from valid ones. An input is a tree of files; the format of each is known, so that faults lie deep.

A tree maps paths, with "/", to what stands there: the bytes of a file or a Special. In bytes and in targets, INPUT and
ELSEWHERE stand for the folder that is read and for one beside it, which nobody may touch.
"""

import base64
import hashlib
import io
import json
import os
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

INPUT, ELSEWHERE = "@INPUT@", "@ELSEWHERE@"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LONGEST = 20_000  # characters of a text that is to be tokenized


class Special(NamedTuple):
    """What is no plain file. kind: "link" to `target`, "fifo", "folder", "sparse" (zeros, `size` bytes) or "locked"."""

    kind: str
    target: str = ""
    size: int = 0


Tree = dict[str, bytes | Special]
Random = random.Random

NAMES = (
    "\x1b[31mred", "\x1b]0;title\x07", "a\nb", "a\rb", "\u202eright to left", "line\u2028break", "\x85", "\x9b31m", "",
    " ", ".", "..", "../../x", "/etc/passwd", "C:\\x", "nul\0byte", "\ufeffmark", "\ud800", "\udcff", "🦄", "é",
    "e\u0301",     "x" * 300, "x" * 10_000, "%00", "%1b%5b", "__metadata__", "{0}", "%s%n", "__class__",
    "\u200d", "\u00ad",
    "\U000e0041",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 3, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63,
    2**64 - 1, 2**64, -(2**31), -(2**63), 10**30, 0.0, -0.0, 0.5, 1.5, 1e-320, 1e38, 1e308, -1e308,
)  # fmt: skip
RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 5000, "-", "1.", "01", "0x10", "", "[",
    "{", '"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\u001b[31m"', '"\\u202e"', '"\x01"', '{"a":1,"a":2}',
    "[" * 900 + "]" * 900, "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "null null", "/* */ 1", "'a'", "1E400",
    "True",
)  # fmt: skip


# ---- Trees -----------------------------------------------------------------------------------------------------------
def hostile(tree: Tree, donors: Sequence[Tree], rng: Random) -> Tree:
    """The tree with one fault, or a few; now and then with none, or with a file as large as may be."""
    tree, donors = dict(tree), [donor for donor in donors if donor]
    draw = rng.random()
    if draw < 0.03 or not tree:
        return tree
    if draw < 0.0315:
        return huge(tree, rng)
    for _ in range(1 if rng.random() < 0.65 else rng.randrange(2, 5)):
        files = sorted(path for path, held in tree.items() if isinstance(held, bytes))
        if not files or rng.random() < 0.15:
            misplaced(tree, donors, rng)
        else:
            path = rng.choice(files)
            tree[path] = changed(path, tree[path], donors, rng)
    return sealed(tree) if rng.random() < 0.5 else tree


def sealed(tree: Tree) -> Tree:
    """The tree with its own digests of itself put right, where it has some: only so are the files behind them read."""
    tree = dict(tree)
    with suppress(Exception):  # what can't be put right stays as it is
        case = json.loads(tree["case.json"])
        if case["text"]:
            case["text"]["sha256"] = hashlib.sha256(tree["text.json"]).hexdigest()
        for section, held in case.get("sections", {}).items():
            held["sha256"] = hashlib.sha256(tree[f"{section}.safetensors"]).hexdigest()
        for row in case.get("tensors", []):  # of version 1
            data = tree[row["file"]]
            start = 8 + int.from_bytes(data[:8], "little")
            begin, end = json.loads(data[8:start])[row["name"]]["data_offsets"]
            row["sha256"] = hashlib.sha256(data[start + begin : start + end]).hexdigest()
        tree["case.json"] = dumped(case)
    for path in [path for path in tree if path.endswith("/sha256.json")]:
        with suppress(Exception):
            folder = path.removesuffix("sha256.json")
            names = json.loads(tree[path])
            tree[path] = dumped({name: hashlib.sha256(tree[folder + name]).hexdigest() for name in names})
    return tree


def changed(path: str, data: bytes, donors: Sequence[Tree], rng: Random) -> bytes:
    """The file with one fault, of its format if that can be read."""
    if rng.random() < 0.75:
        for end, fault in FORMATS.items():
            if path.endswith(end):
                with suppress(Exception), warnings.catch_warnings():  # it is no such file any more: its bytes, then
                    warnings.simplefilter("ignore")
                    return fault(data, rng)
    return raw_bytes(data, donors, rng)


def misplaced(tree: Tree, donors: Sequence[Tree], rng: Random) -> None:
    """Something else than a file where one is due, files that are missing, foreign, renamed or in excess."""
    paths = sorted(tree) or ["x"]
    path = rng.choice(paths)
    folder = path.rpartition("/")[0]
    beside = f"{folder}/" if folder else ""
    kind = rng.randrange(12)
    if kind == 0:
        tree.pop(path, None)
    elif kind == 1:
        targets = ("/dev/zero", "/dev/full", "/dev/null", ".", "..", f"{INPUT}/{path}", f"{INPUT}/none", "x" * 5000)
        tree[path] = Special("link", rng.choice((*targets, f"{ELSEWHERE}/file.txt", ELSEWHERE)))
    elif kind == 2:
        tree[path] = Special(rng.choice(("fifo", "folder", "locked")))
    elif kind == 3:
        tree[path] = Special("sparse", size=rng.choice((0, 1, 7, 8, KIB, MIB, (1 << 26) + 1, 5 * GIB)))
    elif kind == 4:
        donor = rng.choice(donors)
        tree[path] = donor[rng.choice(sorted(donor))]
    elif kind == 5:
        other = rng.choice(paths)
        if path in tree and other in tree:
            tree[path], tree[other] = tree[other], tree[path]
    elif kind == 6 and path in tree:
        ending = rng.choice(("", os.path.splitext(path)[1], ".bin", ".npy", ".npz", ".safetensors"))
        tree[beside + _file_name(rng) + ending] = tree[path] if rng.random() < 0.5 else tree.pop(path)
    elif kind == 7:
        tree[beside + _file_name(rng)] = rng.choice((b"", b"x", Special("fifo"), Special("link", "/dev/zero")))
    elif kind == 8:  # a real folder behind a link
        inside = [p for p in paths if "/" in p]
        top = rng.choice(inside).partition("/")[0] if inside else path
        for inner in [p for p in tree if p == top or p.startswith(f"{top}/")]:
            del tree[inner]
        tree[top] = Special("link", rng.choice((ELSEWHERE, ".", f"{INPUT}/.", "/proc/self")))
    elif kind == 9:
        pending(tree, rng)
    elif kind == 10:
        for name in (paths[0], path):
            tree.pop(name, None)
    else:
        donor = rng.choice(donors)
        tree |= {name: donor[name] for name in rng.sample(sorted(donor), min(len(donor), rng.randrange(1, 4)))}


def _file_name(rng: Random) -> str:
    return rng.choice(NAMES).replace("/", "_").replace("\0", "_").replace("\ud800", "\udce9") or "_"


def pending(tree: Tree, rng: Random) -> None:
    """An interrupted write beside the files: what it committed, what it removed, and what nobody's write leaves."""
    place, removed = ".minibert-pending", ".minibert-pending/.minibert-removed"
    kind = rng.randrange(8)
    if kind == 0:
        links = [Special("link", target) for target in (ELSEWHERE, ".")]
        tree[place] = rng.choice((b"", Special("fifo"), Special("folder"), *links))
        return
    for path in [p for p in sorted(tree) if not p.startswith(".") and rng.random() < 0.5]:
        tree[f"{place}/{path}"] = tree.pop(path) if rng.random() < 0.5 else tree[path]
    if kind < 5:
        names = rng.sample([p for p in sorted(tree) if isinstance(tree[p], bytes)] or ["x"], 1) + rng.sample(NAMES, 2)
        lines = "\n".join(names if kind < 3 else names[:1])
        tree[removed] = lines.encode("utf-8", "surrogatepass") if kind else b"\xff" * 10
    elif kind == 5:
        tree[removed] = rng.choice((Special("fifo"), Special("link", "/dev/zero"), Special("sparse", size=GIB)))
    elif kind == 6:
        tree[f"{place}/{_file_name(rng)}"] = rng.choice((b"", Special("fifo"), Special("link", ELSEWHERE)))


def huge(tree: Tree, rng: Random) -> Tree:
    """One of the files as large as its kind may be, or larger: of many small parts, of one long one."""
    path = rng.choice(sorted(path for path, held in tree.items() if isinstance(held, bytes)) or ["x"])
    count = rng.choice((10_000, 100_000, 1_000_000, 8_000_000))
    start = b'{"model":{"type":"WordPiece","vocab":{'
    size = min(count * 3, (1 << 26) - 100)
    ending = os.path.splitext(path)[1]
    if ending == ".json":
        data = rng.choice((
            lambda: b"[" + b"[]," * (size // 3) + b"0]",
            lambda: b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
            lambda: start + b",".join(b'"%d":%d' % (i, i) for i in range(size // 18)) + b"}}}",
            lambda: b'{"' + b"x" * size + b'":1}',
            lambda: b'{"a":"' + b"\\u001b" * (size // 6) + b'"}',
            lambda: b'{"weight_map":{' + b",".join(b'"%d":"a.safetensors"' % i for i in range(size // 30)) + b"}}",
            lambda: b"9" * size,
        ))()  # fmt: skip
    elif ending == ".safetensors":
        entry = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
        head = b"{" + b",".join(entry % i for i in range(min(count, 300_000))) + b"}"
        data = rng.choice((len(head), len(head) + 1, size)).to_bytes(8, "little") + head
    elif ending == ".model":
        pieces = (_message([(1, 2, b"%d" % i), (2, 5, b"\0\0\0\0")]) for i in range(count // 20))
        data = b"".join(_message([(1, 2, piece)]) for piece in pieces)
    elif ending in (".npy", ".npz"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for i in range(min(count, 20_000)):
                archive.writestr(zipfile.ZipInfo(f"{i}.npy"), b"")  # which has no clock in it
        data = out.getvalue()
    else:
        data = rng.choice((
            lambda: b"word\n" * (size // 5),
            lambda: b"".join(b"w%d\n" % i for i in range(size // 9)),
            lambda: b"a" * size,
            lambda: b"a " * (size // 2),
            lambda: "语".encode() * (size // 3),
            lambda: b"\n" * size,
            lambda: b"A. b? C! " * (min(size, MIB // 4) // 9),
        ))()  # fmt: skip
    return tree | {path: data}


# ---- Bytes -----------------------------------------------------------------------------------------------------------
def raw_bytes(data: bytes, donors: Sequence[Tree], rng: Random) -> bytes:
    """A fault that knows no format."""
    held, size = bytearray(data), len(data)
    at = rng.randrange(size) if size else 0
    end = min(size, at + rng.choice((1, 2, 4, 8, 64, 1000)))
    kind = rng.randrange(11)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[at:]
    if kind == 2 and size:
        for _ in range(rng.choice((1, 1, 2, 8))):
            held[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 3:
        held[at:end] = rng.randbytes(end - at)
    elif kind == 4:
        held[at:at] = held[at:end] * rng.choice((1, 2, 100))
    elif kind == 5:
        del held[at:end]
    elif kind == 6:
        held[at:end] = bytes(end - at)
    elif kind == 7:
        donor = rng.choice(donors)
        other = donor[rng.choice(sorted(donor))]
        if isinstance(other, bytes):
            return data[:at] + other[rng.randrange(len(other) + 1) :]
    elif kind == 8 and size >= 8:
        number, form = rng.choice(NUMBERS[:23]), rng.choice(("<Q", "<I", ">I", "<H"))
        width = struct.calcsize(form)
        at -= at % width
        held[at : at + width] = struct.pack(form, int(number) % (1 << 8 * width))
    elif kind == 9:
        held += rng.choice((b"\0", b"\n", b" ", b"x" * 100, rng.randbytes(20), data))
    else:
        marked, ended = b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n")
        return rng.choice((b"", b"\0", b"\xff", marked, ended, b"\x80\x02", b"PK\x03\x04"))
    return bytes(held)


# ---- JSON ------------------------------------------------------------------------------------------------------------
def json_text(data: bytes, rng: Random) -> bytes:
    """A fault in one value or key of a JSON text."""
    return dumped(json_value(json.loads(data), rng))


def json_lines(data: bytes, rng: Random) -> bytes:
    """A fault in one line of JSON lines."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = json_text(lines[at], rng)
    return b"\n".join(lines)


class _Raw(NamedTuple):
    text: str


class _Repeated(str):
    """A key that stands in its object once more."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def json_value(root: Any, rng: Random) -> Any:
    """The value with one fault; near the root more often than deep in a long list."""
    top = {"": root}
    holder, key = top, ""
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.75:
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    kind = rng.randrange(10)
    named = isinstance(holder, dict)
    if kind < 5:
        holder[key] = odd_value(holder[key], rng)
    elif kind == 5 and holder is not top:
        del holder[key]
    elif kind == 6 and named and holder is not top:
        holder[_Repeated(key)] = rng.choice((holder[key], odd_value(None, rng)))
    elif kind == 7 and named and holder is not top:
        holder[rng.choice(NAMES)] = holder.pop(key)
    elif kind == 8 and named and holder is not top:
        other = rng.choice(list(holder))
        holder[key], holder[other] = holder[other], holder[key]
    elif isinstance(holder[key], dict):
        holder[key][rng.choice(NAMES)] = odd_value(None, rng)
    elif isinstance(holder[key], list):
        holder[key].insert(rng.randrange(len(holder[key]) + 1), odd_value(None, rng))
    else:
        holder[key] = rng.choice(([holder[key]], {"content": holder[key]}, {"": holder[key]}, str(holder[key])))
    return top[""]


def odd_value(value: Any, rng: Random) -> Any:
    """Another value in its place: of the same type, of any, or none that JSON has."""
    kind = rng.randrange(5)
    if kind == 0 or (kind < 3 and isinstance(value, int | float)):
        return rng.choice(NUMBERS)
    if kind == 1 or (kind < 3 and isinstance(value, str)):
        return rng.choice((*NAMES, f"{value}{rng.choice(NAMES)}", f"{value}"[:-1]))
    if kind == 2:
        return _Raw(rng.choice(RAW))
    return rng.choice(
        (None, True, False, [], {}, [[]], {"a": {}}, [None], [0], ["a"], {"": 0}, [1, "a"], [value], value)
    )


def dumped(value: Any) -> bytes:
    """JSON with whatever a fault put in: raw text, repeated keys, lone surrogates as escapes."""
    return "".join(_pieces(value)).encode("utf-8", "surrogatepass")


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, _Raw):
        yield value.text
    elif isinstance(value, dict):
        for i, (key, held) in enumerate(value.items()):
            yield f"{',' if i else '{'}{json.dumps(str(key))}:"
            yield from _pieces(held)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for i, held in enumerate(value):
            yield "," if i else "["
            yield from _pieces(held)
        yield "]" if value else "[]"
    else:
        yield json.dumps(value)


# ---- safetensors, NumPy and zip --------------------------------------------------------------------------------------
def safetensors_file(data: bytes, rng: Random) -> bytes:
    """A fault in the header, which stays a header, or in the numbers."""
    length = int.from_bytes(data[:8], "little")
    head, body = data[8 : 8 + length], data[8 + length :]
    kind = rng.randrange(8)
    fields = json.loads(head)
    names = [name for name in fields if name != "__metadata__"]
    if kind == 0 and body:
        odd = (float("nan"), float("inf"), -1e38, 3e38, 1e-45)
        number = struct.pack(rng.choice(("<f", "<d")), rng.choice(odd))
        at = rng.randrange(len(body)) // len(number) * len(number)
        body = (body[:at] + number + body[at + len(number) :])[: len(body)]
    elif kind == 1:
        body = rng.choice((bytes(len(body)), b"\xff" * len(body), body[:-1], body + b"\0"))
    elif kind == 2 and names:
        one = fields[rng.choice(names)]
        one["dtype"] = rng.choice(("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "f32"))
    elif kind == 3 and names:  # as many numbers in another shape
        one = fields[rng.choice(names)]
        one["shape"] = rng.choice((one["shape"][::-1], [*one["shape"], 1], [1] * 40 + one["shape"], one["shape"][:1]))
    elif kind == 4 and names:
        fields[rng.choice(NAMES)] = fields.pop(rng.choice(names))
    elif kind == 5:
        shape = rng.choice(([0], [0, 2**62], [2**62, 0, 2**62], [0] * 33, [2**64]))
        fields[rng.choice(NAMES)] = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    else:
        fields = json_value(fields, rng)
    head = dumped(fields)
    if rng.random() < 0.1:
        head += rng.choice((b" ", b"\0", b"}", b" " * 1000))
    return (rng.choice(NUMBERS[:19]) % 2**64 if rng.random() < 0.05 else len(head)).to_bytes(8, "little") + head + body


SHAPES = ("()", "(0,)", "(-1,)", "(3,)", "(2**3,)", "(1, 2)", "(9223372036854775807, 2)", "(0, 9223372036854775807)",
          "(True,)", "(1.0,)", "3", "None", "[3]", "('a',)", "(1,) * 40", "(1," * 70 + ")" * 70,
          "(4294967296, 4294967296)")  # fmt: skip
DESCRS = ("'<f8'", "'>f8'", "'<f4'", "'<f2'", "'<f16'", "'|O'", "'|V2'", "'|V0'", "'<U9'", "'|S0'", "'<c16'",
          "'<M8[ns]'",
          "'|b1'", "'<i8'", "'u1'", "'\\x1b[31m'", "[('a', '<f8')]", "[('a\\n', '<f8', (2,))]", "('<f8', (2,))",
          "''", "None",
          "'O,O'", "'<f8,<f8'", "{'names': ['a'], 'formats': ['O']}", "8", "'<f99999999999'")  # fmt: skip


def npy_file(data: bytes, rng: Random) -> bytes:
    """A fault in the header of an .npy, which stays a header."""
    length = int.from_bytes(data[8:10], "little")
    head, body = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    kind = rng.randrange(6)
    if kind == 0:
        head = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {rng.choice(SHAPES)}", head)
    elif kind == 1:
        head = re.sub(r"'descr': [^,]*,", lambda _: f"'descr': {rng.choice(DESCRS)},", head, count=1)
    elif kind == 2:
        order = rng.choice(("True", "False", "None", "1", "'\\x1b[31m'", "1e999", "-" * 9000 + "1"))
        head = re.sub(r"(?<='fortran_order': )\w+", lambda _: order, head)
    elif kind == 3:
        head = rng.choice(
            ("", "{}", "[]", "(" * 500, "{" + head, head * 3, "{'shape': (3,)}", "1\n", "\0" * 40, "9" * 5000)
        )
    elif kind == 4:
        body = rng.choice((b"", body[:-1], body + b"\0", b"\xff" * len(body), body[::-1]))
    version = rng.choice((b"\x02\x00", b"\x03\x00", b"\x00\x00", b"\xff\xff")) if kind == 5 else b"\x01\x00"
    width = 4 if version[0] in (2, 3) and rng.random() < 0.8 else 2
    size = rng.choice((0, 1, 65535, len(head))) if rng.random() < 0.1 else len(head)
    return b"\x93NUMPY" + version + size.to_bytes(width, "little") + head.encode("latin-1") + body


def zip_file(data: bytes, rng: Random) -> bytes:
    """A fault in the members of a zip archive, or in what it says of them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    kind, at = rng.randrange(8), rng.randrange(len(members))
    name, held = members[at]
    if kind == 0:
        members[at] = (rng.choice(NAMES).replace("\ud800", "") + rng.choice(("", ".npy")), held)
    elif kind == 1:
        members.append((rng.choice((name, "inner/" + name, name.upper())), held))
    elif kind == 2:
        members[at] = (name, npy_file(held, rng))
    elif kind == 3:
        members[at] = (name, raw_bytes(held, [{"x": held}], rng))
    elif kind == 4:
        del members[at]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((0, 8, 8, 12, 14)), strict_timestamps=False) as archive:
        for name, held in members:
            archive.writestr(zipfile.ZipInfo(name), held, archive.compression)
        if rng.random() < 0.1:
            archive.comment = b"\x1b[31m" * 3
    whole = bytearray(out.getvalue())
    if kind >= 5:
        places = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", whole)]
        start = rng.choice(places)
        central = whole[start + 2] == 1
        # flags, method, checksum, two sizes, length of the name, of more; in the central directory two bytes later
        offset, width = rng.choice(((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), *[(40, 4)] * central))
        offset += 2 * (central and offset < 40)
        value = rng.choice((0, 1, 8, 9, 12, 14, 93, 99, 2**15, 2**16 - 1, 2**31, 2**32 - 1)) % (1 << 8 * width)
        whole[start + offset : start + offset + width] = value.to_bytes(width, "little")
    return bytes(whole)


# ---- Protocol buffers ------------------------------------------------------------------------------------------------
def protobuf(data: bytes, rng: Random) -> bytes:
    """A fault in one field of a message, or of a message in it, whose lengths stay right."""
    fields = list(_fields(data))
    number = rng.choice(sorted({number for number, _, _ in fields}))
    at = rng.choice([i for i, field in enumerate(fields) if field[0] == number])
    _, wire, value = fields[at]
    kind = rng.randrange(7)
    if kind < 3 and wire == 2:
        with suppress(Exception):
            fields[at] = (number, 2, protobuf(value, rng))
            return _message(fields)
    if kind == 3:
        fields.insert(rng.randrange(len(fields) + 1), fields[at])
    elif kind == 4:
        del fields[at]
    elif kind == 5:
        other = rng.randrange(len(fields))
        fields[at], fields[other] = fields[other], fields[at]
    elif kind == 6:
        fields[at] = (rng.choice((0, 1, 2, 3, 5, 40, 2**28)), rng.choice((0, 1, 2, 3, 4, 5, 6, 7)), value)
    elif wire == 0:
        fields[at] = (number, 0, rng.choice(NUMBERS[:19]))
    elif wire == 2:
        odd = rng.choice(NAMES).encode("utf-8", "surrogatepass")
        fields[at] = (number, 2, rng.choice((odd, b"", b"\xff", value * 2, raw_bytes(value, [{"x": value}], rng))))
    else:
        fields[at] = (number, wire, struct.pack("<f", rng.choice((float("nan"), float("inf"), -1e38, 0.0, 1e38))))
    return _message(fields)


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == 0:
            yield number, wire, varint()
            continue
        size = {1: 8, 2: None, 5: 4}[wire]
        size = varint() if size is None else size
        if number == 0 or size > len(data) - at:
            raise ValueError("no message")
        yield number, wire, data[at : at + size]
        at += size


def _message(fields: Sequence[tuple[int, int, Any]]) -> bytes:
    out = bytearray()
    for number, wire, value in fields:
        out += _varint(number << 3 | wire)
        if isinstance(value, int):
            out += _varint(value)
        else:
            out += (_varint(len(value)) if wire == 2 else b"") + value
    return bytes(out)


def _varint(number: int) -> bytes:
    number, out = int(number) % (1 << 70), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


# ---- Text ------------------------------------------------------------------------------------------------------------
def lines(data: bytes, rng: Random) -> bytes:
    """A fault in one line of a text."""
    held = data.split(b"\n")
    at = rng.randrange(len(held))
    kind = rng.randrange(9)
    if kind == 0:
        held[at] = rng.choice(NAMES).encode("utf-8", "surrogatepass")
    elif kind == 1:
        held.insert(rng.randrange(len(held) + 1), held[at])
    elif kind == 2:
        del held[at]
    elif kind == 3:
        held[at] = text(rng).encode("utf-8", "surrogatepass")
    elif kind == 4:
        held[at] += rng.choice((b"\r", b" ", b" x", b"\0", b"\xff", b"\x1b[31m", b"\xe2\x80\xa8", b"\t\t"))
    elif kind == 5:
        rng.shuffle(held)
    elif kind == 6:
        held[at:at] = [rng.choice(NAMES).encode("utf-8", "surrogatepass") for _ in range(rng.randrange(1, 20))]
    elif kind == 7:
        return rng.choice((b"\n", b" ", b"", b"\r", b"\0")).join(held)
    else:
        held = held[: rng.choice((0, 1, 2))]
    return b"\n".join(held)


_PIECES = (
    "the cat sat", "naïve café", "使用语言模型", "[MASK]", "[CLS]", "<s>", "<mask>", "[unused1]", "\u202eabc\u202c",
    "\x1b[31m", "\0", "\ufffd", "\ufeff", "\r\n", "\u2028", "\x85", "🦄👨‍👩‍👧", "e\u0301\u0323", "ﷺ", "İß",
    "\U0010ffff", "\ue000", "▁",
    "Ġ", "##", "ａｂｃ", "½²", "\u0660\u0661", "नमस्ते", "สวัสดี", "קּ", "힣", "ﬁ", "\u1ee4", "\t", " ",
    "\u3000", "\xa0", "\u200b",
    "1234567890", "...", "!?", "'s", "don't", "http://x.y/?z=1&w=2", "a" * 200, "_", "\\", '"', "-" * 50,
)  # fmt: skip


def text(rng: Random) -> str:
    """A text that tokenizers have trouble with, now and then a long one: of LONGEST characters at most."""
    kind = rng.randrange(80)
    if kind == 0:
        return (rng.choice(_PIECES) * rng.choice((1000, LONGEST)))[:LONGEST]
    if kind == 1:
        return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.choice((10, 2000))))
    if kind == 2:
        return rng.choice(("a", "语", "e")) + rng.choice(("\u0301", "\u0334", "\u200d", "\ufe0f")) * rng.choice(
            (100, LONGEST // 2)
        )
    if kind == 3:
        return rng.choice(("", " ", "\n", "\ud800", "a\udfffb", "\0", "\u200b"))
    separator = rng.choice(("", " ", " ", "\n"))
    return separator.join(rng.choice(_PIECES) for _ in range(rng.randrange(1, 20)))


FORMATS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": json_text,
    ".jsonl": json_lines,
    ".safetensors": safetensors_file,
    ".npy": npy_file,
    ".npz": zip_file,
    ".model": protobuf,
    ".txt": lines,
}


# ---- On disk, and as text --------------------------------------------------------------------------------------------
def laid_out(tree: Tree, root: Path, elsewhere: Path) -> None:
    """Makes the tree below the root. What no file system takes, such as two things under one name, is left out."""

    def placed(text: str) -> str:
        return text.replace(INPUT, str(root)).replace(ELSEWHERE, str(elsewhere))

    root.mkdir()
    for name, held in tree.items():
        path = os.path.join(root, os.path.normpath("/" + name)[1:])
        with suppress(OSError, ValueError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):  # below a link that stands there
                continue
            if isinstance(held, bytes):
                if INPUT.encode() in held:
                    held = held.replace(INPUT.encode(), os.fsencode(root))
                with open(path, "xb") as file:
                    file.write(held)
            elif held.kind == "link":
                os.symlink(placed(held.target), path)
            elif held.kind == "fifo":
                os.mkfifo(path)
            elif held.kind == "folder":
                os.mkdir(path)
            else:
                with open(path, "xb") as file:
                    file.truncate(held.size)
                if held.kind == "locked":
                    os.chmod(path, 0)


def as_json(tree: Tree) -> list:
    """The tree as JSON holds it."""
    return [
        [name, base64.b64encode(held).decode() if isinstance(held, bytes) else list(held)]
        for name, held in tree.items()
    ]


def from_json(rows: list) -> Tree:
    """The inverse of `as_json`."""
    return {name: base64.b64decode(held) if isinstance(held, str) else Special(*held) for name, held in rows}
