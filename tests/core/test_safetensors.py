"""The safetensors layout: every rule has a planted violation, and the published package agrees both ways."""

import io
import json
import pickle
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minibert.checkpoint import safetensors, strictjson
from minibert.errors import InputError

BIG = 10**12
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def packed(fields, body=b"", pad=b""):
    """The bytes of a file with this header (an object, or raw bytes) and this body."""
    head = (fields if isinstance(fields, bytes) else json.dumps(fields).encode()) + pad
    return len(head).to_bytes(8, "little") + head + body


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def refusal(path, data):
    """The one line with which the file is refused."""
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        safetensors.read(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < len(str(path)) + 400
    return message


GOOD = packed({"a": entry(), "b": entry("I64", (1,), (24, 32))}, bytes(32))
BAD = {
    "empty": (b"", "too short"),
    "seven bytes": (bytes(7), "too short"),
    "header of no bytes": (bytes(8) + b"{}", "does not begin with"),
    "header beyond the file": ((99).to_bytes(8, "little") + b"{}", "truncated"),
    "header of a terabyte": (BIG.to_bytes(8, "little") + b"{}", "limit"),
    "header of 2^64 - 1": (b"\xff" * 8 + b"{}", "limit"),
    "space before the brace": (packed(b" {}"), "does not begin with"),
    "a list": (packed(b"[1]"), "does not begin with"),
    "not UTF-8": (packed(b'{"\xff": 1}'), "UTF-8"),
    "half an object": (packed(b'{"a": '), "JSON"),
    "zeros after the object": (packed(b"{}\0\0"), "JSON"),
    "a repeated name": (packed(b'{"a": 1, "a": 2}'), "'a' stands twice"),
    "a repeated key inside": (packed(b'{"a": {"dtype": "F32", "dtype": "F64"}}'), "'dtype' stands twice"),
    "NaN": (packed(b'{"a": NaN}'), "NaN"),
    "a name without UTF-8": (packed(b'{"\\ud800": 1}'), "JSON"),
    "bottomless": (packed(b'{"a":' + b"[" * 200_000), "nested"),
    "bottomless objects": (packed(b'{"a":' * 100_000), "nested"),
    "a number of 5000 digits": (packed(b'{"a": 1' + b"0" * 5000 + b"}"), "JSON"),
    "metadata of numbers": (packed({"__metadata__": {"step": 1}}), "__metadata__"),
    "metadata a string": (packed({"__metadata__": "pt"}), "__metadata__"),
    "metadata nested": (packed({"__metadata__": {"a": {"b": "c"}}}), "__metadata__"),
    "entry a list": (packed({"a": [1]}), "'a' does not have ['data_offsets"),
    "no shape": (packed({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)), "'a' does not have ["),
    "unknown dtype": (packed({"a": entry("F31")}, bytes(24)), "F31"),
    "dtype a list": (packed({"a": entry(["F32"])}, bytes(24)), "dtype"),
    "negative dimension": (packed({"a": entry(shape=(-2, -3))}, bytes(24)), "shape"),
    "float dimension": (packed({"a": entry(shape=(2.0, 3))}, bytes(24)), "shape"),
    "bool dimension": (packed({"a": entry(shape=(True, 6))}, bytes(24)), "shape"),
    "null dimension": (packed({"a": entry(shape=(None,))}, bytes(24)), "shape"),
    "shape too small": (packed({"a": entry(shape=(2, 2))}, bytes(24)), "needs 16 bytes"),
    "shape too large": (packed({"a": entry(shape=(2, 4))}, bytes(24)), "needs 32 bytes"),
    "product wraps to 24": (packed({"a": entry(shape=(2**62, 4, 3, 2))}, bytes(24)), "too large"),
    "product wraps to 0": (packed({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}), "too large"),
    "empty but unaddressable": (packed({"a": entry(shape=(2**62, 2**62, 0), offsets=(0, 0))}), "too large"),
    "33 dimensions": (packed({"a": entry(shape=[1] * 33, offsets=(0, 4))}, bytes(4)), "33 dimensions"),
    "a million dimensions": (packed({"a": entry(shape=[1] * 10**6, offsets=(0, 4))}, bytes(4)), "dimensions"),
    "offsets reversed": (packed({"a": entry(offsets=(24, 0))}, bytes(24)), "data_offsets"),
    "offset negative": (packed({"a": entry(offsets=(-24, 0))}, bytes(24)), "data_offsets"),
    "three offsets": (packed({"a": entry(offsets=(0, 24, 48))}, bytes(24)), "data_offsets"),
    "float offset": (packed({"a": entry(offsets=(0, 24.0))}, bytes(24)), "data_offsets"),
    "overlap": (packed({"a": entry(), "b": entry(offsets=(20, 44))}, bytes(44)), "'b' begins at byte 20, not 24"),
    "the same bytes twice": (packed({"a": entry(), "b": entry()}, bytes(24)), "overlaps"),
    "hole at the start": (packed({"a": entry(offsets=(8, 32))}, bytes(32)), "hole"),
    "hole inside": (packed({"a": entry(), "b": entry(offsets=(28, 52))}, bytes(52)), "hole"),
    "truncated": (GOOD[:-1], "truncated"),
    "a byte more": (GOOD + b"\0", "nobody owns"),
    "a terabyte in one tensor": (packed({"a": entry("U8", (BIG,), (0, BIG))}, bytes(8)), "truncated"),
    "BOOL of 2": (packed({"a": entry("BOOL", (2,), (0, 2))}, b"\1\2"), "'a': BOOL"),
    "zip": (b"PK\x03\x04" + bytes(60), "zip archive"),
    "torch zip": (b"PK\x03\x04\x00\x00\x08\x08" + bytes(60), "PyTorch"),
    "pickle": (pickle.dumps({"weight": [1.0] * 50}, protocol=2), "pickle"),
    "pickle 4": (pickle.dumps({"weight": [1.0] * 50}, protocol=4), "pickle"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "xml": (b"\n<?xml version='1.0'?><Error/>", "HTML or XML"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "git lfs pull"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(30), "HDF5"),
    "text": (b"hello, these are no weights at all", "no header stands behind"),
}


@pytest.mark.parametrize("case", BAD)
def test_hostile_files(case, tmp_path):
    """Each broken rule is refused in one short line that says which."""
    data, words = BAD[case]
    assert words in refusal(tmp_path / "weights.safetensors", data)


def test_numpy_files(tmp_path):
    """What NumPy writes is recognised."""
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.zeros(3))
    np.savez(npz, a=np.zeros(3))
    assert ".npy" in refusal(tmp_path / "a", npy.getvalue())
    assert "zip" in refusal(tmp_path / "a", npz.getvalue())


def test_good_file(tmp_path):
    """The file the violations are made from is itself read, padded or not, whatever the order in its header."""
    (tmp_path / "good").write_bytes(GOOD)
    assert {name: a.shape for name, a in safetensors.read(tmp_path / "good").items()} == {"a": (2, 3), "b": (1,)}
    swapped = packed({"b": entry("I64", (1,), (24, 32)), "a": entry()}, bytes(range(32)), pad=b"  \n ")
    (tmp_path / "good").write_bytes(swapped)
    read = safetensors.read(tmp_path / "good")
    assert read["b"][0] == int.from_bytes(bytes(range(24, 32)), "little")
    assert safetensors.header(tmp_path / "good").entries["b"] == ("I64", (1,), 24, 32)


def test_unreadable(tmp_path):
    """A missing file and a directory are refused by name."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            safetensors.read(path)


@pytest.mark.parametrize("claim", ["header", "tensor"])
def test_a_terabyte_costs_nothing(claim, tmp_path):
    """Claims are compared with the file's size before memory is taken."""
    lie = BIG.to_bytes(8, "little") + b"{}" if claim == "header" else packed({"a": entry("U8", (BIG,), (0, BIG))})
    (tmp_path / "lie").write_bytes(lie)
    tracemalloc.start()
    with pytest.raises(InputError):
        safetensors.read(tmp_path / "lie")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


def test_headers_are_bounded(tmp_path, monkeypatch):
    """16 MiB of header, where the published limit is 100 MB; so many tensors, and values of JSON."""
    large = 1 << 24
    assert f"{large + 1} bytes; the limit here is {large}" in refusal(
        tmp_path / "a", (large + 1).to_bytes(8, "little") + b"{" + bytes(large)
    )
    lists = b'{"__metadata__":[' + b"[]," * (large // 3 - 10) + b"[]]}"
    assert "commas and brackets" in refusal(tmp_path / "a", len(lists).to_bytes(8, "little") + lists)
    monkeypatch.setattr(safetensors, "MAX_TENSORS", 2)
    safetensors.write(tmp_path / "b", {name: np.zeros(1) for name in "ab"})
    assert len(safetensors.read(tmp_path / "b")) == 2
    with pytest.raises(InputError, match="3 of at most 2"):
        safetensors.write(tmp_path / "c", {name: np.zeros(1) for name in "abc"})
    assert "3 tensors; the limit is 2" in refusal(
        tmp_path / "a", packed({name: entry("U8", (1,), (i, i + 1)) for i, name in enumerate("abc")}, bytes(3))
    )


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1e400]", "NaN", "Infinity", "-Infinity"])
def test_json_holds_finite_numbers_alone(text):
    with pytest.raises(InputError, match="the file is not usable JSON"):
        strictjson.loads(text.encode(), "the file")


def test_stored_tensors_are_what_they_say(tmp_path):
    """Each read by itself is the same array as with all others; of the dtype and shape that were promised."""
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.float16), "c": np.zeros((0, 2), ">i4"),
               "d": np.array([True, False])}  # fmt: skip
    safetensors.write(tmp_path / "a", tensors)
    whole = safetensors.read(tmp_path / "a")
    for name, held in safetensors.stored(tmp_path / "a").items():
        array = held.load()
        assert (array.dtype, array.shape) == (held.dtype, held.shape) == (whole[name].dtype, whole[name].shape)
        assert same_bits(array, whole[name])


def test_reading_takes_the_tensors_memory_once(tmp_path):
    """Tensors are read into their own memory, not through a copy of the file."""
    safetensors.write(tmp_path / "a", {f"{i}": np.zeros((500, 1000), np.float32) for i in range(4)})
    tracemalloc.start()
    read = safetensors.read(tmp_path / "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * sum(array.nbytes for array in read.values())


ARRAYS = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    for dtype in ("f2", "f4", "f8", ">f4", ">f8", ">i8", ">u2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
)
ORDERS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[(..., *(slice(None, None, -1) for _ in a.shape))],
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2] if a.ndim else a,
    "broadcast": lambda a: np.broadcast_to(a, (3, *a.shape)),
}
NAMED = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.tuples(ARRAYS, st.sampled_from(sorted(ORDERS))).map(lambda pair: ORDERS[pair[1]](pair[0])),
    max_size=4,
)


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.astype(a.dtype).tobytes()


@QUICK
@given(NAMED, st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.text("abß\n\"\\")))
def test_round_trip(tmp_path, tensors, metadata):
    """Any dtype, shape (0-d and empty too), memory order and byte order comes back; float16 as float32."""
    for array in tensors.values():
        array.flags.writeable = False
    safetensors.write(tmp_path / "a", tensors, metadata)
    read, head = safetensors.read(tmp_path / "a"), safetensors.header(tmp_path / "a")
    assert head.metadata == metadata
    assert head.start % 8 == 0
    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        wide = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        assert read[name].dtype == wide
        assert read[name].flags.writeable
        assert same_bits(read[name], array)


def test_writing_does_not_depend_on_the_order_given(tmp_path):
    """The same tensors give the same bytes."""
    tensors = {"b": np.arange(3.0), "a": np.arange(4, dtype=np.int8), "c": np.ones((2, 2), np.float32)}
    safetensors.write(tmp_path / "1", tensors)
    safetensors.write(tmp_path / "2", dict(reversed(tensors.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"a": np.zeros(2, np.complex64)}, None, "complex64"),
        ({"a": np.array(["x"])}, None, "<U1"),
        ({"a": np.array([object()])}, None, "object"),
        ({"a": np.zeros(2, "f4,f4")}, None, "dtype"),
        ({"a": np.zeros(2, "M8[s]")}, None, "datetime64"),
        ({3: np.zeros(2)}, None, "tensor name 3"),
        ({"\ud800": np.zeros(2)}, None, "UTF-8"),
        ({"__metadata__": np.zeros(2)}, None, "__metadata__"),
        ({"a": np.zeros(2)}, {"step": 3}, "not a string"),
        ({"a": np.zeros(2)}, {3: "step"}, "not a string"),
    ],
)
def test_unwritable_tensors(tensors, metadata, words, tmp_path):
    """What the layout can't hold is refused, and no file appears."""
    with pytest.raises(InputError, match=words) as error:
        safetensors.write(tmp_path / "a", tensors, metadata)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(np.dtype(np.longdouble) == np.dtype(float), reason="longdouble is float64 on this platform")
def test_longdouble_is_refused(tmp_path):
    """No silent narrowing."""
    with pytest.raises(InputError, match="dtype"):
        safetensors.write(tmp_path / "a", {"a": np.zeros(2, np.longdouble)})


@settings(QUICK, max_examples=400)
@given(st.data())
def test_damaged_header(tmp_path, data):
    """Random damage to the header or its length is refused with InputError, or still makes a consistent file."""
    good = packed({"__metadata__": {"format": "pt"}, "a.b": entry(), "c": entry("I16", (4,), (24, 32))}, bytes(32))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 33))
        damaged[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'0123456789[]{},:" ')))
    (tmp_path / "a").write_bytes(damaged)
    with suppress(InputError):
        head = safetensors.header(tmp_path / "a")
        stored = sum(entry.end - entry.begin for entry in head.entries.values())
        assert stored == len(damaged) - head.start
        assert safetensors.read(tmp_path / "a").keys() == head.entries.keys()


def test_every_truncation_is_refused(tmp_path):
    """A file cut anywhere is refused."""
    for length in range(len(GOOD)):
        refusal(tmp_path / "cut", GOOD[:length])


def sharded(folder):
    safetensors.write(folder / "model-00001-of-00002.safetensors", {"a": np.arange(3.0)})
    safetensors.write(folder / "model-00002-of-00002.safetensors", {"b": np.arange(4.0), "c": np.arange(2.0)})
    places = {"a": "model-00001-of-00002.safetensors"} | dict.fromkeys("bc", "model-00002-of-00002.safetensors")
    return {"metadata": {"total_size": 72}, "weight_map": places}


def test_shards(tmp_path):
    """A sharded checkpoint is the union of its files."""
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps(sharded(tmp_path)), encoding="utf-8")
    assert {name: len(array) for name, array in safetensors.read_shards(index).items()} == {"a": 3, "b": 4, "c": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda places: places.update(a="../model-00001-of-00002.safetensors"), "plain file name"),
        (lambda places: places.update(a="/etc/passwd"), "plain file name"),
        (lambda places: places.update(a="C:model.safetensors"), "plain file name"),
        (lambda places: places.update(a="pytorch_model.bin"), "plain file name"),
        (lambda places: places.update(a=3), "plain file name"),
        (lambda places: places.update(a="absent.safetensors"), "cannot read"),
        (lambda places: places.update(a="model-00002-of-00002.safetensors"), "'a' is listed by the index but not in"),
        (lambda places: places.update(z="model-00001-of-00002.safetensors"), "'z' is listed"),
    ],
)
def test_wrong_index(change, words, tmp_path):
    """The index and the files must say the same."""
    fields = sharded(tmp_path)
    change(fields["weight_map"])
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InputError, match=words) as error:
        safetensors.read_shards(index)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}', '{"a": 1, "a": 1}'])
def test_unusable_index(text, tmp_path):
    """An index that is no object with a weight map is refused."""
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        safetensors.read_shards(tmp_path / "index.json")


@QUICK
@given(tensors=NAMED)
def test_published_package_reads_ours(tmp_path, tensors):
    """What we write, the published package reads to the bit, and would have written with the same bytes."""
    published = pytest.importorskip("safetensors.numpy", reason="compares with the published safetensors")
    safetensors.write(tmp_path / "ours", tensors, {"format": "pt"})
    theirs = published.load_file(tmp_path / "ours")
    assert theirs.keys() == tensors.keys()
    for name, array in tensors.items():
        assert theirs[name].dtype == array.dtype.newbyteorder("=")
        assert same_bits(theirs[name], array)
    native = {name: np.array(a, a.dtype.newbyteorder("="), order="C") for name, a in tensors.items()}
    published.save_file(native, tmp_path / "theirs", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert safetensors.read(tmp_path / "theirs").keys() == tensors.keys()


def test_sixteen_bit_floats_from_torch(tmp_path):
    """All 65536 patterns of float16 and bfloat16 widen as torch widens them; the header keeps the stored dtype."""
    torch = pytest.importorskip("torch", reason="writes bfloat16 with torch")
    published = pytest.importorskip("safetensors.torch", reason="compares with the published safetensors")
    patterns = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).reshape(64, 1024)
    tensors = {
        "half": patterns.view(torch.float16),
        "brain": patterns.clone().view(torch.bfloat16),
        "scalar": torch.tensor(1.5, dtype=torch.bfloat16),
        "empty": torch.zeros((0, 3), dtype=torch.bfloat16),
    }
    published.save_file(tensors, tmp_path / "a")
    read = safetensors.read(tmp_path / "a")
    kinds = {name: entry.dtype for name, entry in safetensors.header(tmp_path / "a").entries.items()}
    assert kinds == {"half": "F16", "brain": "BF16", "scalar": "BF16", "empty": "BF16"}
    for name, tensor in tensors.items():
        assert read[name].dtype == np.float32
        wide = tensor.float().numpy()
        np.testing.assert_array_equal(read[name], wide)
        number = ~np.isnan(wide)
        assert np.array_equal(np.signbit(read[name])[number], np.signbit(wide)[number])


def test_published_package_refuses_what_we_refuse(tmp_path):
    """Of our broken files, those the published package accepts are the few where we are stricter, by name."""
    published = pytest.importorskip("safetensors.numpy", reason="compares with the published safetensors")
    accepted = set()
    for case, (data, _) in BAD.items():
        try:
            published.load(data)
            accepted.add(case)
        except Exception:  # its errors have no common class
            continue
    stricter = {"BOOL of 2", "33 dimensions", "space before the brace"}
    assert accepted <= stricter, accepted - stricter
