"""Pictures from NumPy's files, from scikit-learn, drawn; what hides parts of them."""

import sys

import numpy as np
import pytest

from minibert import pictures
from minibert.errors import InputError
from minibert.families import vit
from minibert.heads import masked_pixels

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (5, 4, 6), np.uint8)


def test_files_of_numpy(tmp_path):
    """Bytes are shares of 255, other whole numbers of their largest, numbers what they are."""
    np.save(tmp_path / "bytes.npy", BYTES)
    found = pictures.read(tmp_path / "bytes.npy")
    assert (found.pixels.dtype, found.pixels.shape, found.labels) == (np.float32, (5, 1, 4, 6), None)
    assert np.array_equal(found.pixels[:, 0], BYTES / np.float32(255))
    colours = RNG.standard_normal((5, 3, 4, 6))
    np.savez_compressed(tmp_path / "all.npz", images=colours, labels=np.array([3, 1, 2, 1, 0]))
    found = pictures.read(tmp_path / "all.npz")
    assert np.array_equal(found.pixels, colours.astype(np.float32))
    assert found.labels == ["3", "1", "2", "1", "0"]
    np.save(tmp_path / "sixteen.npy", BYTES.astype(np.int64) // 16)
    assert pictures.read(tmp_path / "sixteen.npy").pixels.max() == 1
    both = pictures.of_files([tmp_path / "bytes.npy", tmp_path / "sixteen.npy"])
    assert both.pixels.shape == (10, 1, 4, 6)


@pytest.mark.parametrize(("held", "said"), [
    ({"images": BYTES[0]}, r"pictures of shape \(4, 6\); expected \(N, Y, X\)"),
    ({"images": np.full((1, 2, 2), np.nan)}, "NaN or infinite"),
    ({"images": BYTES, "labels": np.arange(4)}, r"labels of shape \(4,\) for 5 pictures"),
    ({"images": BYTES, "labels": np.arange(5.0)}, "labels of float64; expected whole numbers"),
    ({"other": BYTES}, "has 'other', but no pictures: call them 'images'"),
])  # fmt: skip
def test_what_is_no_picture_is_said_in_a_line(held, said, tmp_path):
    np.savez(tmp_path / "some.npz", **held)
    with pytest.raises(InputError, match=said) as error:
        pictures.read(tmp_path / "some.npz")
    assert "\n" not in str(error.value)


def test_pictures_of_several_sizes(tmp_path):
    np.save(tmp_path / "one.npy", BYTES)
    np.save(tmp_path / "two.npy", BYTES[:, :3])
    with pytest.raises(InputError, match=r"several sizes \(C, Y, X\): \(1, 3, 6\), \(1, 4, 6\)"):
        pictures.of_files([tmp_path / "one.npy", tmp_path / "two.npy"])
    with pytest.raises(InputError, match=r"pictures of \(1, 4, 6\) \(C, Y, X\), not of \(1, 8, 8\)"):
        vit.documents([str(tmp_path / "one.npy")], vit.Data())


def test_without_scikit_learn_digits_are_drawn(monkeypatch):
    """Who asks for scikit-learn's is told what to install."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match="python -m pip install scikit-learn"):
        pictures.made("digits")
    found = pictures.made("any")
    assert found.pixels.shape == (1797, 1, 8, 8)
    assert np.array_equal(found.pixels, pictures.drawn(1797).pixels)


def test_drawn_digits_are_told_apart_by_their_pixels():
    """The nearest mean of the others is right far more often than one in ten, and not always."""
    found = pictures.drawn(1000)
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1
    flat, labels = found.pixels.reshape(1000, -1), np.array(found.labels, int)
    means = np.stack([flat[:800][labels[:800] == k].mean(0) for k in range(10)])
    right = (((flat[800:, None] - means) ** 2).sum(-1).argmin(1) == labels[800:]).mean()
    assert 0.5 < right < 0.98


def test_whole_squares_are_hidden_as_many_in_each():
    data = vit.Data(image_size=8, patch_size=1, square=2, rate=0.5)
    rows = {"pixel_values": np.zeros((3, 1, 8, 8), np.float32)}
    hidden = vit.corrupt(rows, np.random.default_rng(0), None, data)["bool_masked_pos"].reshape(3, 4, 2, 4, 2)
    assert (hidden == hidden[:, :, :1, :, :1]).all()
    assert hidden.sum((1, 2, 3, 4)).tolist() == [32] * 3
    assert not np.array_equal(hidden[0], hidden[1])
    with pytest.raises(InputError, match="square is 3; it must be a multiple of 2"):
        vit.Data(image_size=9, square=3)


def test_the_best_picture_that_is_the_same_for_all():
    """Of each hidden pixel the median; nothing that is the same for all comes below."""
    x = RNG.standard_normal((9, 1, 2, 2))
    found = masked_pixels.constants({"pixel_values": x, "bool_masked_pos": np.ones((9, 1), int)})
    assert found["median"] == pytest.approx(abs(x - np.median(x, 0)).mean())
    assert found["median"] < found["mean"]
