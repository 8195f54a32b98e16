"""The `spiece.model` file: what of SentencePiece's protobuf message decides ids, read strictly and written again.

google/sentencepiece, src/sentencepiece_model.proto; the wire format: protobuf.dev/programming-guides/encoding.
A file is data from anywhere: every length is checked against what is there, fields that aren't known are skipped by
their wire type, and settings that would change an id and that aren't supported are refused by name.
"""

import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from minibert import reading
from minibert.checkpoint import atomic
from minibert.errors import InputError
from minibert.tokenizers.encoding import LONGEST_PIECE, MOST_PIECES

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
LARGEST_SCORE = 2.0**100  # either way: the sums of a long text stay within float32
_TYPES = 1, 2  # of a model: unigram, BPE
_MAX_BYTES = 1 << 26  # published ones have a third of it at most
_MAX_PIECE_BYTES = 4 * LONGEST_PIECE
_MAX_FIELDS, _MAX_PIECE_FIELDS = MOST_PIECES + (1 << 16), 8  # of a message, known or not; of a piece's
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = struct.Struct("<f")
_FIXED = {_FIXED64: 8, _FIXED32: 4}
# Message: {field number: (name, wire type)}. The number of a field never changes in a published format.
_MODEL = {1: ("pieces", _BYTES), 2: ("trainer_spec", _BYTES), 3: ("normalizer_spec", _BYTES),
          5: ("denormalizer_spec", _BYTES)}  # fmt: skip
_PIECE = {1: ("piece", _BYTES), 2: ("score", _FIXED32), 3: ("type", _VARINT)}
_TRAINER = {3: ("model_type", _VARINT), 4: ("vocab_size", _VARINT), 24: ("treat_whitespace_as_suffix", _VARINT),
            35: ("byte_fallback", _VARINT), 40: ("unk_id", _VARINT), 41: ("bos_id", _VARINT), 42: ("eos_id", _VARINT),
            43: ("pad_id", _VARINT), 45: ("unk_piece", _BYTES), 48: ("pad_piece", _BYTES)}  # fmt: skip
_NORMALIZER = {1: ("name", _BYTES), 2: ("precompiled_charsmap", _BYTES), 3: ("add_dummy_prefix", _VARINT),
               4: ("remove_extra_whitespaces", _VARINT), 5: ("escape_whitespaces", _VARINT)}  # fmt: skip
# A piece as SentencePiece writes it: length, text, score and, unless it is normal, type. Half the time of large files.
_USUAL, _NORMAL = re.compile(rb"\n([\x01-\x7f])(.*)\x15(.{4})(?:\x18([\x00-\x7f]))?", re.DOTALL), bytes([NORMAL])


@dataclass(frozen=True)
class Model:
    """pieces, scores (natural logarithms, float32 values) and types (NORMAL …) in the order of ids; charsmap: the
    precompiled normalisation rules, b"" for none."""

    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    charsmap: bytes = b""
    rule_name: str = "identity"
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    byte_fallback: bool = False
    bpe: bool = False  # merged by score, the highest first


def read(path: str | os.PathLike) -> Model:
    """The model in the file; InputError, one line, for anything that is no unigram model with these settings."""
    data = reading.contents(atomic.place(path), _MAX_BYTES)
    try:
        return decoded(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def decoded(data: bytes) -> Model:
    """The model that these bytes are."""
    parts: dict[str, list[bytes]] = {name: [] for name, _ in _MODEL.values()}
    for name, value in _fields(data, _MODEL, "model"):
        parts[name].append(value)
        if len(parts["pieces"]) > MOST_PIECES:
            raise InputError(f"more than {MOST_PIECES} pieces, the most that a vocabulary may have")
    pieces, scores, types = [], [], []
    for i, value in enumerate(parts.pop("pieces")):
        where, usual = f"piece {i}", _USUAL.fullmatch(value)
        if usual and len(usual[2]) == usual[1][0]:
            piece = {"piece": usual[2], "score": _FLOAT.unpack(usual[3])[0], "type": (usual[4] or _NORMAL)[0]}
        else:
            found = dict(_fields(value, _PIECE, where, _MAX_PIECE_FIELDS))
            piece = {"piece": b"", "score": 0.0, "type": NORMAL} | found
        pieces.append(_text(piece["piece"], where))
        scores.append(piece["score"])
        types.append(piece["type"])
        if not piece["piece"] or len(piece["piece"]) > _MAX_PIECE_BYTES or b"\0" in piece["piece"]:
            raise InputError(f"{where} is empty, holds a NUL or has more than {_MAX_PIECE_BYTES} bytes")
        if not abs(piece["score"]) <= LARGEST_SCORE:
            raise InputError(f"{where} has the score {piece['score']}; at most {LARGEST_SCORE:g} either way")
        if piece["type"] not in range(NORMAL, BYTE + 1):
            raise InputError(f"{where} has the type {piece['type']}, which SentencePiece doesn't have")
    specs = {name: b"".join(found) for name, found in parts.items()}  # of a message given twice both parts hold
    trainer = dict(_fields(specs["trainer_spec"], _TRAINER, "trainer_spec"))
    normalizer = dict(_fields(specs["normalizer_spec"], _NORMALIZER, "normalizer_spec"))
    for spec, field, usual in (
        (trainer, "model_type", _TYPES), (trainer, "treat_whitespace_as_suffix", (0,)),
        (normalizer, "escape_whitespaces", (1,)),
    ):  # fmt: skip
        if spec.get(field, usual[0]) not in usual:
            only = " and ".join(map(str, usual))
            raise InputError(f"{field} is {spec[field]}; only {only} is supported (unigram, BPE; \u2581 in front)")
    if dict(_fields(specs["denormalizer_spec"], _NORMALIZER, "denormalizer_spec")).get("precompiled_charsmap"):
        raise InputError("denormalizer_spec has rules of its own, which is not supported")
    return Model(
        pieces,
        scores,
        types,
        charsmap=normalizer.get("precompiled_charsmap", b""),
        rule_name=_text(normalizer.get("name", b""), "normalizer_spec"),
        add_dummy_prefix=bool(normalizer.get("add_dummy_prefix", 1)),
        remove_extra_whitespaces=bool(normalizer.get("remove_extra_whitespaces", 1)),
        byte_fallback=bool(trainer.get("byte_fallback", 0)),
        bpe=trainer.get("model_type", 1) == _TYPES[1],
    )


def encoded(model: Model) -> bytes:
    """The bytes of the file. `trainer_spec` says what the pieces are; how they were learnt is not kept."""
    out = []
    for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True):
        parts = [(1, piece.encode("utf-8")), (2, float(score)), *([(3, kind)] if kind != NORMAL else [])]
        out.append((1, _message(parts)))
    unknown = model.types.index(UNKNOWN)
    trainer = [(3, _TYPES[model.bpe]), (4, len(model.pieces)), (35, int(model.byte_fallback)), (40, unknown)]
    trainer += [(41, -1), (42, -1), (43, -1), (45, model.pieces[unknown].encode("utf-8"))]  # no begin, end, padding
    flags = [(3, int(model.add_dummy_prefix)), (4, int(model.remove_extra_whitespaces)), (5, 1)]
    normalizer = [(1, model.rule_name.encode("utf-8")), (2, model.charsmap), *flags]
    return _message([*out, (2, _message(trainer)), (3, _message(normalizer))])


def _fields(
    data: bytes, known: dict[int, tuple[str, int]], where: str, most: int = _MAX_FIELDS
) -> Iterator[tuple[str, int | float | bytes]]:
    """(name, value) of each known field of a message, in order; InputError beyond so many fields."""
    at = 0
    for n in count():
        if at == len(data):
            return
        if n == most:
            raise InputError(f"{where}: more than {most} fields")
        key, at = _varint(data, at, where)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise InputError(f"{where}: a field has the number 0 before byte {at}")
        if wire == _VARINT:
            value, at = _varint(data, at, where)
        elif wire in (_BYTES, *_FIXED):
            size, at = _varint(data, at, where) if wire == _BYTES else (_FIXED[wire], at)
            if size > len(data) - at:
                raise InputError(f"{where}: field {number} has {size} bytes, {len(data) - at} are left")
            value, at = data[at : at + size], at + size
        else:
            raise InputError(f"{where}: field {number} has the wire type {wire}, which no such message has")
        if number in known:
            name, expected = known[number]
            if wire != expected:
                raise InputError(f"{where}: {name} has the wire type {wire}, not {expected}")
            yield name, _FLOAT.unpack(value)[0] if wire == _FIXED32 else value


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    """The number that begins at this byte, seven bits a byte, and where the next begins."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for n, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + n + 1
    raise InputError(f"{where}: no whole number of 64 bits at byte {at}")


def _message(fields: Sequence[tuple[int, int | float | bytes]]) -> bytes:
    out = bytearray()
    for number, value in fields:
        if isinstance(value, bytes):
            out += _number(number << 3 | _BYTES) + _number(len(value)) + value
        elif isinstance(value, float):
            out += _number(number << 3 | _FIXED32) + struct.pack("<f", value)
        else:
            out += _number(number << 3 | _VARINT) + _number(value % (1 << 64))
    return bytes(out)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{where}: not UTF-8") from None
