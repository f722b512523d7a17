"""Sets of images of any program are the same images, whatever file they lie in; what is no set is refused."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_lib.data.split import Split
from run_lib.references.sets import open_set

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
GREY = COLOUR[..., :1].copy()
LABELS = np.array([0, 1, 0, 1, 1, 0])


def write_files(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    for i, image in enumerate(images):
        path = folder / ("" if labels is None else f"{labels[i]:05d}") / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)
    return folder


def write_zip(path: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    folder = write_files(path.with_suffix(""), images)
    names = [f"00000/img{i:08d}.png" for i in range(len(images))]
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(names):
            archive.write(folder / f"{i:05d}.png", name)
        if labels is not None:
            pairs = [[name, int(label)] for name, label in zip(names, labels, strict=True)]
            archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    return path


def saved(write: Callable[..., None], path: Path, *args: Any, **arrays: Any) -> Path:
    write(path, *args, **arrays)
    return path


def last(images: np.ndarray) -> np.ndarray:
    return images


def first(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2)


FORMS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "folder": lambda folder, images: write_files(folder / "out", images),
    "zip": lambda folder, images: write_zip(folder / "set.zip", images),
    "npz of ADM": lambda folder, images: saved(np.savez, folder / "a.npz", last(images)),
    "npz, channels first": lambda folder, images: saved(np.savez, folder / "a.npz", first(images)),
    "npz, compressed": lambda folder, images: saved(np.savez_compressed, folder / "a.npz", last(images)),
    "npz of score_sde": lambda folder, images: saved(np.savez_compressed, folder / "a.npz", samples=images),
    "npz by another name": lambda folder, images: saved(np.savez, folder / "a.npz", x=images),
    "npz by columns": lambda folder, images: saved(np.savez, folder / "a.npz", np.asfortranarray(images)),
    "npz beside statistics": lambda folder, images: saved(
        np.savez, folder / "a.npz", arr_0=images, mu=np.zeros(2), sigma=np.eye(2)
    ),
    "npy": lambda folder, images: saved(np.save, folder / "a.npy", images),
    "npy, channels first": lambda folder, images: saved(np.save, folder / "a.npy", first(images)),
    "npy of long integers": lambda folder, images: saved(np.save, folder / "a.npy", images.astype(np.int64)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("images", [COLOUR, GREY], ids=["colour", "grey"])
def test_the_same_images_in_every_form(form: str, images: np.ndarray, tmp_path: Path) -> None:
    found = open_set(FORMS[form](tmp_path, images))
    assert isinstance(found, Split) and found.rows.shape == images.transpose(0, 3, 1, 2).shape[1:]
    np.testing.assert_array_equal(found.images.numpy(), first(images))
    # In any order, again, and by another process's copy.
    copy = pickle.loads(pickle.dumps(found.rows))
    for some in ([4, 0, 0, 5], [1], np.array([5, 4])):
        np.testing.assert_array_equal(copy.read(some).numpy(), first(images)[some])
        np.testing.assert_array_equal(found.rows.read(some).numpy(), first(images)[some])


def test_grey_arrays_without_channels(tmp_path: Path) -> None:
    found = open_set(saved(np.save, tmp_path / "a.npy", GREY[..., 0]))
    np.testing.assert_array_equal(found.images.numpy(), first(GREY))


def test_ambiguous_arrays_have_their_channels_last(tmp_path: Path) -> None:
    """The rule: the last axis, where its size is 1 or 3."""
    images = np.random.default_rng(1).integers(0, 256, (4, 3, 8, 3)).astype(np.uint8)
    found = open_set(saved(np.save, tmp_path / "a.npy", images))
    np.testing.assert_array_equal(found.images.numpy(), images.transpose(0, 3, 1, 2))


def test_classes_of_folders_archives_and_arrays(tmp_path: Path) -> None:
    folder = open_set(write_files(tmp_path / "out", COLOUR, LABELS))
    assert folder.classes == ("00000", "00001")
    order = np.argsort(LABELS, kind="stable")
    assert folder.labels.tolist() == LABELS[order].tolist()
    np.testing.assert_array_equal(folder.images.numpy(), first(COLOUR)[order])
    for path in (
        write_zip(tmp_path / "a.zip", COLOUR, LABELS),
        saved(np.savez, tmp_path / "a.npz", COLOUR, LABELS),
        saved(np.savez, tmp_path / "b.npz", samples=COLOUR, labels=LABELS),
    ):
        assert open_set(path).labels.tolist() == LABELS.tolist()


def test_grey_files_among_coloured_ones(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "out", COLOUR)
    for index in (0, 5):
        Image.fromarray(GREY[index, ..., 0]).save(folder / f"{index:05d}.png")
    found = open_set(folder).images.numpy()
    np.testing.assert_array_equal(found[[0, 5]], first(GREY.repeat(3, -1))[[0, 5]])
    np.testing.assert_array_equal(found[1:5], first(COLOUR)[1:5])


@pytest.mark.parametrize("form", ["folder", "zip", "npz of ADM", "npz, compressed", "npy"])
def test_copies_are_counted(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = COLOUR[[0, 1, 0, 2, 0, 1]]
    open_set(FORMS[form](tmp_path, images))
    (line,) = capsys.readouterr().out.splitlines()
    assert "6 images" in line and line.endswith("; 3 of them are exact copies of others")


def test_images_that_differ_are_no_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_set(FORMS["npy"](tmp_path, COLOUR))
    assert "cop" not in capsys.readouterr().out.rpartition(":")[2]


FLOATS = COLOUR / np.float32(255)
ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    "0 to 1": (FLOATS, r"save numpy\.rint\(x \* 255\)\.astype\('uint8'\)"),
    "-1 to 1": (FLOATS * 2 - 1, r"save numpy\.rint\(\(x \+ 1\) \* 127\.5\)\.astype\('uint8'\)"),
    "0 to 255, floats": (FLOATS * 255, r"save numpy\.rint\(x\.clip\(0, 255\)\)"),
    "NaN": (
        np.where(np.arange(6)[:, None, None, None] == 2, np.nan, FLOATS),
        "image 2 has values that are NaN",
    ),
    "negative": (
        COLOUR.astype(int) - 300,
        r"image 0 has values from -\d+ to -\d+, and 256 levels are 0 to 255",
    ),
    "too large": (COLOUR.astype(int) * 2, "256 levels are 0 to 255"),
    "truth": (COLOUR > 9, "bool|truth values"),
    "channels": (np.zeros((6, 5, 4, 2), np.uint8), r"shape \(6, 5, 4, 2\); images are \(N, H, W, C\)"),
    "points": (np.zeros((6, 2), np.uint8), r"shape \(6, 2\); images are"),
    "films": (np.zeros((6, 2, 4, 4, 3), np.uint8), "images are"),
    "one image": (COLOUR[:1], "has one image; a set that is measured has two or more"),
    "none": (COLOUR[:0], "holds|has the shape"),
    "no pixels": (COLOUR[:, :0], "holds no images"),
    "text": (np.array(["a", "b"]), "holds|has"),
}


@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_arrays_that_are_no_images(what: str, ending: str, tmp_path: Path) -> None:
    array, message = ARRAYS[what]
    path = saved(np.savez if ending == "npz" else np.save, tmp_path / f"a.{ending}", array)
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def sizes(folder: Path) -> Path:
    write_files(folder, COLOUR)
    Image.fromarray(COLOUR[0, :4]).save(folder / "other.png")
    return folder


def transparent(folder: Path) -> Path:
    write_files(folder, COLOUR)
    Image.fromarray(np.concatenate([COLOUR[0], COLOUR[0, ..., :1]], -1)).save(folder / "z.png")
    return folder


def damaged(folder: Path) -> Path:
    write_files(folder, COLOUR)
    (folder / "00003.png").write_bytes(b"no image")
    return folder


def deep(folder: Path) -> Path:
    write_files(folder, GREY)
    Image.fromarray(GREY[0, ..., 0].astype(np.uint16) * 9).save(folder / "z.png")
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    (folder / "readme.txt").touch()
    return folder


def labelled(folder: Path) -> Path:
    folder.mkdir()
    return saved(np.savez, folder / "a.npz", COLOUR, LABELS[:3])


def cut(folder: Path) -> Path:
    folder.mkdir()
    path = saved(np.savez_compressed, folder / "a.npz", COLOUR)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)
    return path


def unnamed(folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.npz", "w") as written:
        written.writestr("arr_0", "no array")
    return folder / "a.npz"


def open_header(folder: Path) -> Path:
    folder.mkdir()
    path = saved(np.save, folder / "a.npy", COLOUR)
    path.write_bytes(path.read_bytes().replace(b"), }", b"(, (", 1))
    return path


def archive(folder: Path) -> Path:
    folder.mkdir()
    return saved(np.savez, folder / "a.npz", a=COLOUR, b=COLOUR)


def text(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.txt").touch()
    return folder / "a.txt"


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sizes": (sizes, r"of one size, and \S+00000\.png is 5x4, \S+other\.png 4x4"),
    "transparent": (transparent, r"z\.png is partly transparent: save it as a plain PNG"),
    "damaged": (damaged, r"00003\.png cannot be read: it is no image"),
    "deep": (deep, r"z\.png is of 16 bits"),
    "empty": (empty, r"there are no images in \S+/: 1 file left out \(1 \.txt\)"),
    "labels": (labelled, r"labels of int64 and shape \(3,\); expected integers \(6,\)"),
    "damaged archive": (cut, "damaged|cannot be read"),
    "a member that is no array": (unnamed, r"a\.npz is damaged, encrypted, or no archive of arrays"),
    "a header without an end": (open_header, r"a\.npy is no array that numpy writes of numbers"),
    "several arrays": (archive, "has the arrays a, b, and none of arr_0, samples, images"),
    "another kind": (text, r"is no folder, \.zip, \.npz or \.npy"),
    "missing": (lambda folder: folder, "there is no "),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_no_set(what: str, tmp_path: Path) -> None:
    make, message = FILES[what]
    path = make(tmp_path / "set")
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert "\n" not in str(caught.value)


def test_levels_of_other_numbers(tmp_path: Path) -> None:
    path = saved(np.save, tmp_path / "a.npy", GREY % 17)
    assert int(open_set(path, levels=17).images.max()) <= 16
    with pytest.raises(ValueError, match="16 levels are 0 to 15"):
        open_set(path, levels=16)
    found = open_set(write_files(tmp_path / "out", GREY % 17), levels=17)
    np.testing.assert_array_equal(found.images.numpy(), first(GREY % 17))
    with pytest.raises(ValueError, match="out has values up to 16"):
        _ = open_set(tmp_path / "out", levels=16).images
    with pytest.raises(ValueError, match=r"00000\.png is of 8 bits a channel"):
        open_set(tmp_path / "out", levels=65536)


@pytest.mark.parametrize("shape", [(2,), (3, 9), (5, 4, 3), (3, 5, 4)])
def test_continuous_data_of_any_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Points, signals, and images in either layout."""
    values = np.random.default_rng(2).normal(size=(6, *shape)).astype(np.float32)
    expected = values.transpose(0, 3, 1, 2) if shape == (5, 4, 3) else values
    for path in (saved(np.save, tmp_path / "a.npy", values), saved(np.savez, tmp_path / "a.npz", values)):
        np.testing.assert_array_equal(open_set(path, levels=0).images.numpy(), expected)
    values[3] = np.nan
    with pytest.raises(ValueError, match="image 3 has values that are NaN"):
        open_set(saved(np.save, tmp_path / "a.npy", values), levels=0)


def test_levels_are_no_continuous_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds uint8, and the data are continuous: save floats"):
        open_set(saved(np.save, tmp_path / "a.npy", COLOUR), levels=0)
    with pytest.raises(ValueError, match="has image files, and the data are continuous"):
        open_set(write_files(tmp_path / "out", COLOUR), levels=0)


MEASURED = """
import resource, sys
from pathlib import Path
from run_lib.references.sets import open_set
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = open_set(Path(sys.argv[1]))
for _, images in found.rows.chunks():
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_large_archive_takes_little_memory(tmp_path: Path) -> None:
    """180 MB of images, compressed; a piece of 16 MB and its copies are in memory at a time."""
    images = np.zeros((60_000, 32, 32, 3), np.uint8)
    images[:, 0, 0] = np.arange(60_000)[:, None] // (1, 256, 65536) % 256
    path = saved(np.savez_compressed, tmp_path / "a.npz", images)
    done = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 120_000  # kilobytes
