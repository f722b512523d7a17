"""Every form of data, from small files of its real layout, written byte by byte; wrong ones have one clear error."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

from run_lib.data.batches import Batches, Reading
from run_lib.data.formed import folder, idx, npy, npz, zip_archive
from run_lib.data.named import celeba, cifar100, fashion_mnist, flowers102, mnist, stl10, svhn
from run_lib.data.sources import imagenet, lsun
from run_lib.data.split import MissingSplitError
from run_lib.data.user_sets import as_split
from tests.run_lib.pictures import save

COLOUR = (3, 4, 4)


def values(found: Any) -> list[int]:
    """One value of each image."""
    return as_split(found).images[:, 0, 0, 0].tolist()


def write_idx(folder: Path, compressed: bool, **arrays: np.ndarray) -> None:
    """Two zero bytes, 8 for bytes, the number of axes, big-endian lengths, the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content = head + array.astype(np.uint8).tobytes()
        path = folder / name.replace("_", "-")
        if compressed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)


def four_files(folder: Path, compressed: bool = False) -> None:
    """Training image k is filled with k, its label k mod 3; test images are 100 and 101."""
    pixels = np.arange(5).repeat(6).reshape(5, 2, 3)
    write_idx(
        folder,
        compressed,
        train_images_idx3_ubyte=pixels,
        train_labels_idx1_ubyte=np.arange(5) % 3,
        t10k_images_idx3_ubyte=pixels[:2] + 100,
        t10k_labels_idx1_ubyte=np.array([2, 0]),
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_idx(compressed: bool, tmp_path: Path) -> None:
    four_files(tmp_path, compressed)
    train, test = idx(tmp_path, "train"), idx(tmp_path, "test")
    assert train.images.shape == (5, 1, 2, 3)
    assert (values(train), train.labels.tolist()) == (list(range(5)), [0, 1, 2, 0, 1])
    assert (values(test), test.labels.tolist()) == ([100, 101], [2, 0])


def test_wrong_idx(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no .*train-images-idx3-ubyte, and no .*\.gz\. Put the four files there"
    ):
        idx(tmp_path, "train")
    four_files(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], "it declares 30 bytes, shape .*, and holds 29"),
        (whole + b"x", "holds more"),
        (b"\x89PNG" + whole, "is no idx file"),
        (whole[:3] + b"\xff" + whole[4:], "is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            idx(tmp_path, "train")
    path.write_bytes(whole)
    (tmp_path / "train-labels-idx1-ubyte").rename(tmp_path / "t10k-labels-idx1-ubyte")
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(MissingSplitError, match=r"there is no .*t10k-images"):
        idx(tmp_path, "test")
    (tmp_path / "t10k-labels-idx1-ubyte").rename(tmp_path / "train-labels-idx1-ubyte")
    write_idx(tmp_path, False, train_labels_idx1_ubyte=np.arange(4))
    with pytest.raises(ValueError, match=r"images \(5, 2, 3\) and labels \(4,\)"):
        idx(tmp_path, "train")
    path.unlink()
    (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(whole)[:-12])
    with pytest.raises(ValueError, match="is damaged"):
        idx(tmp_path, "train")


def test_mnist_and_its_kin(tmp_path: Path) -> None:
    """Torchvision's folders; its names of the classes. Without the files, the error names them and the flag."""
    four_files(tmp_path / "FashionMNIST/raw")
    four_files(tmp_path / "MNIST/raw", compressed=True)
    assert fashion_mnist(tmp_path, "train").classes[9] == "Ankle boot"
    assert values(fashion_mnist(tmp_path, "test")) == values(mnist(tmp_path, "test")) == [100, 101]
    with pytest.raises(
        ValueError, match=r"Fashion-MNIST is not under .*FashionMNIST/raw.*--config\.data\.download"
    ):
        fashion_mnist(tmp_path / "none", "train")


def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision's sums of the published files are not those of ours."""
    for module in ("cifar", "svhn", "stl10", "flowers102"):
        held = getattr(torchvision.datasets, module)
        monkeypatch.setattr(held, "check_integrity", lambda path, md5=None: Path(path).is_file())


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles with ``fine_labels``; the 3072 bytes of an image are its red, its green and its blue plane."""
    trusted(monkeypatch)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, first in (("train", 0), ("test", 50)):
        pixels = (first + np.arange(4)[:, None] + np.arange(3)).repeat(1024, axis=1).astype(np.uint8)
        content = {"data": pixels, "fine_labels": [7, 8, 99, 0], "coarse_labels": [1, 1, 1, 1]}
        (folder / name).write_bytes(pickle.dumps(content))
    names = [f"class {k}" for k in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    found = cifar100(tmp_path, "test")
    assert found.images[1, :, 3, 5].tolist() == [51, 52, 53]
    assert (found.labels.tolist(), found.classes) == ([7, 8, 99, 0], tuple(names))
    (folder / "train").unlink()
    with pytest.raises(ValueError, match=r"CIFAR-100 is not under .*cifar-100-python.*Fetch it"):
        cifar100(tmp_path, "train")


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .mat of X (32, 32, 3, N) and y (N, 1), in which ten stands for the digit 0."""
    trusted(monkeypatch)
    pixels = np.zeros((32, 32, 3, 3), np.uint8)
    pixels[1, 2, :, :] = np.array([[10, 20, 30], [11, 21, 31], [12, 22, 32]])
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [9]])})
    found = svhn(tmp_path, "train")
    assert found.images[:, :, 1, 2].tolist() == [[10, 11, 12], [20, 21, 22], [30, 31, 32]]
    assert found.labels.tolist() == [0, 1, 9]
    (tmp_path / "test_32x32.mat").write_bytes(b"no mat")
    with pytest.raises(ValueError, match=r"SVHN is not under .*missing or damaged: .*test_32x32\.mat"):
        svhn(tmp_path, "test")


def test_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of images (3, width, height), column by column; labels from 1."""
    trusted(monkeypatch)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    pixels = np.zeros((2, 3, 96, 96), np.uint8)
    pixels[:, :, 4, 7] = [[1, 2, 3], [4, 5, 6]]  # column 4, row 7
    for name in ("train", "test", "unlabeled"):
        (folder / f"{name}_X.bin").write_bytes(pixels.tobytes())
        (folder / f"{name}_y.bin").write_bytes(bytes([1, 10]))
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    found = stl10(tmp_path, "test")
    assert found.images[:, :, 7, 4].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (found.labels.tolist(), found.classes) == ([0, 9], tuple("abcdefghij"))
    assert stl10(tmp_path, "train", unlabeled=True).labels.tolist() == [0, 9, -1, -1]


def test_flowers102(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of images by split in setid.mat, labels from 1 in imagelabels.mat; train and val are trained on."""
    trusted(monkeypatch)
    base = tmp_path / "flowers-102"
    for k in range(1, 7):
        pixels = np.full((4, 4, 3), 40 * k, np.uint8)
        (base / "jpg").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(base / f"jpg/image_{k:05d}.jpg", quality=95)
    ids = {"trnid": [[3, 1]], "valid": [[6, 2]], "tstid": [[5, 4]]}
    scipy.io.savemat(base / "setid.mat", {name: np.array(held) for name, held in ids.items()})
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array([[11, 12, 13, 14, 15, 102]])})
    train, test = (flowers102(tmp_path, split, COLOUR, 256) for split in ("train", "test"))
    assert values(train) == pytest.approx([120, 40, 240, 80], abs=2)
    assert (train.labels.tolist(), test.labels.tolist()) == ([12, 10, 101, 11], [14, 13])


@pytest.mark.parametrize("packed", [False, True])
def test_celeba_as_published(packed: bool, tmp_path: Path) -> None:
    """A list of files and splits 0, 1 and 2; of 178x218 the central 140 are kept, smaller files are whole."""
    base = tmp_path / "celeba"
    large = np.full((218, 178, 3), 255, np.uint8)
    large[39:179, 19:159] = 100
    save(base / "img_align_celeba/1.png", large)
    save(base / "img_align_celeba/2.png", np.full((64, 64, 3), 50, np.uint8))
    save(base / "img_align_celeba/3.png", np.full((64, 64, 3), 60, np.uint8))
    (base / "list_eval_partition.txt").write_text("1.png 0\n3.png 1\n2.png 2\n")
    if packed:
        with zipfile.ZipFile(base / "img_align_celeba.zip", "w") as archive:
            for k in (1, 2, 3):
                archive.write(base / f"img_align_celeba/{k}.png", f"img_align_celeba/{k}.png")
                (base / f"img_align_celeba/{k}.png").unlink()
        (base / "img_align_celeba").rmdir()
    train, test = (celeba(tmp_path, split, (3, 64, 64), 256) for split in ("train", "test"))
    assert train.images.unique().tolist() == [100]
    assert test.images.unique().tolist() == [50]
    assert train.labels.tolist() == [-1]
    (base / "list_eval_partition.txt").write_text("1.png three\n")
    with pytest.raises(ValueError, match=r"list_eval_partition\.txt must hold lines"):
        celeba(tmp_path, "train", (3, 64, 64), 256)


def test_imagenets_validation_images_are_its_test_split(tmp_path: Path) -> None:
    for name in ("train/n1/a.png", "train/n2/b.png", "val/n2/c.png"):
        save(tmp_path / "imagenet" / name, np.zeros((4, 4, 3), np.uint8))
    assert imagenet(tmp_path, "test", COLOUR, 256).labels.tolist() == [1]


def test_a_folder_needs_no_more_than_its_root(tmp_path: Path) -> None:
    """Subfolders are classes; each file is in one split, and stays there when others are added."""
    for k in range(60):
        save(tmp_path / f"{'cat' if k % 2 else 'dog'}/{k}.png", np.full((4, 4, 3), k, np.uint8))

    def parts(fraction: float = 0.3) -> list[list[int]]:
        found = [folder(tmp_path, split, COLOUR, 256, fraction) for split in ("train", "test")]
        for one in found:
            assert one.classes == ("cat", "dog")
            assert one.labels.tolist() == [1 - k % 2 for k in values(one)]
        return [values(one) for one in found]

    train, test = parts()
    assert sorted(train + test) == list(range(60))
    assert 8 <= len(test) <= 28, "18, four standard errors"
    for k in range(60, 70):
        save(tmp_path / f"cat/{k}.png", np.full((4, 4, 3), k + (k + 1) % 2, np.uint8))
    more, held = parts()
    assert {*train} <= {*more}
    assert {*test} <= {*held}
    with pytest.raises(MissingSplitError, match=r"no test split: data\.test_fraction=0\.0 of 70"):
        folder(tmp_path, "test", COLOUR, 256, 0.0)
    with pytest.raises(ValueError, match=r"there is no folder .*none/\. Put PNG"):
        folder(tmp_path / "none", "train", COLOUR, 256)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no images in .*none/\. Put PNG"):
        folder(tmp_path / "none", "train", COLOUR, 256)


def test_a_folder_of_splits(tmp_path: Path) -> None:
    for k, name in enumerate(("train/a/0.png", "train/b/1.png", "val/b/2.png")):
        save(tmp_path / name, np.full((4, 4, 3), k, np.uint8))
    assert values(folder(tmp_path, "train", COLOUR, 256)) == [0, 1]
    test = folder(tmp_path, "test", COLOUR, 256)
    assert (values(test), test.labels.tolist()) == ([2], [1])


def write_zip(path: Path, labels: Any, count: int = 12) -> None:
    """As dataset_tool does: 00000/img00000000.png, stored, and dataset.json."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for k in range(count):
            name = f"{k // 5:05d}/img{k:08d}.png"
            save(path.parent / "one.png", np.full((4, 4, 3), k, np.uint8))
            archive.write(path.parent / "one.png", name)
        if labels is not ...:
            archive.writestr("dataset.json", json.dumps(labels))


def named(labels: list[int]) -> dict[str, Any]:
    return {"labels": [[f"{k // 5:05d}/img{k:08d}.png", label] for k, label in enumerate(labels)]}


def test_a_zip_of_dataset_tool(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    write_zip(path, named([k % 4 for k in range(12)]))
    train, test = (zip_archive(path, split, COLOUR, 256, 0.3) for split in ("train", "test"))
    assert sorted(values(train) + values(test)) == list(range(12))
    assert train.labels.tolist() == [k % 4 for k in values(train)]
    write_zip(path, {"labels": None})
    assert zip_archive(path, "train", COLOUR, 256, 0.0).labels.tolist() == [-1] * 12
    write_zip(path, ...)
    by_folder = zip_archive(path, "train", COLOUR, 256, 0.0)
    assert (by_folder.classes, by_folder.labels.tolist()) == (
        ("00000", "00001", "00002"),
        [k // 5 for k in range(12)],
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (named([0] * 11), r"dataset\.json has no label of 00002/img00000011\.png, one of 1"),
        (named([0] * 11 + [-1]), "label of 00002/img00000011.png is -1"),
        ({"labels": [1, 2]}, r'must hold \{"labels"'),
    ],
)
def test_wrong_labels_of_a_zip(labels: Any, message: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "data.zip", labels)
    with pytest.raises(ValueError, match=message):
        zip_archive(tmp_path / "data.zip", "train", COLOUR, 256)


def test_wrong_zips(tmp_path: Path) -> None:
    """No archive; no images; a member that is damaged, or would take absurd memory, is named as it is read."""
    path = tmp_path / "data.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"data\.zip cannot be read as a zip archive"):
        zip_archive(path, "train", COLOUR, 256)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(ValueError, match=r"no images in .*data\.zip: 1 file left out \(1 \.txt\)"):
        zip_archive(path, "train", COLOUR, 256)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(2**25))
    with pytest.raises(
        ValueError, match=r"data\.zip:bomb\.png cannot be read: it has \d+ bytes and would take 33554432"
    ):
        zip_archive(path, "train", COLOUR, 256, 0.0).read([0])
    write_zip(path, ...)
    content = bytearray(path.read_bytes())
    content[content.index(b"IHDR")] ^= 255  # of the first member
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.zip:00000/img00000000\.png cannot be read: BadZipFile"):
        zip_archive(path, "train", COLOUR, 256, 0.0).read([0])


def test_an_image_that_decompresses_to_absurd_size_is_not_read_from_a_zip(tmp_path: Path) -> None:
    """A whole PNG of 20,000x20,000 pixels in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("large.png", png)
    with pytest.raises(ValueError, match=r"large\.png cannot be read: it has more than \d+ pixels"):
        zip_archive(tmp_path / "data.zip", "train", COLOUR, 256, 0.0).read([0])


def test_npz_of_guided_diffusion(tmp_path: Path) -> None:
    """arr_0 (N, H, W, C) and arr_1; in one file, or in one for each split."""
    pixels = np.arange(10, dtype=np.uint8).repeat(48).reshape(10, 4, 4, 3)
    np.savez(tmp_path / "all.npz", pixels, np.arange(10))
    parts = [npz(tmp_path / "all.npz", split, COLOUR, 256, 0.2) for split in ("train", "test")]
    assert [len(part) for part in parts] == [8, 2]
    assert sorted(values(parts[0]) + values(parts[1])) == list(range(10))
    assert all(part.labels.tolist() == values(part) for part in parts)
    with pytest.raises(ValueError, match=r"there is no .*train\.npz: put it there"):
        npz(tmp_path, "train", COLOUR, 256)
    (tmp_path / "all.npz").rename(tmp_path / "train.npz")
    np.savez(tmp_path / "test.npz", pixels[:3])
    assert [len(npz(tmp_path, split, COLOUR, 256)) for split in ("train", "test")] == [10, 3]


@pytest.mark.parametrize("shape", [(2, 5), (1, 2, 3, 4), (6,)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_packed_arrays_of_any_rank(shape: tuple[int, ...], kind: Any, tmp_path: Path) -> None:
    """Signals, volumes and points, as levels or continuous; labels and names beside them."""
    array = np.arange(7 * np.prod(shape)).reshape(7, *shape).astype(kind)
    np.save(tmp_path / "train.npy", array)
    np.save(tmp_path / "train.labels.npy", np.arange(7) % 2)
    (tmp_path / "train.json").write_text('{"classes": ["odd", "even"]}')
    found = npy(tmp_path / "train.npy", "train", 0.0)
    assert found.rows.whole is None
    assert (
        found.rows.dtype == {np.uint8: torch.uint8, np.uint16: torch.int32, np.float32: torch.float32}[kind]
    )
    np.testing.assert_array_equal(found.read([3, 1]).images.numpy(), array[[3, 1]])
    assert (found.classes, found.labels.tolist()) == (("odd", "even"), [k % 2 for k in range(7)])
    assert len(npy(tmp_path, "test", 0.3)) == 2


def test_wrong_packed_arrays(tmp_path: Path) -> None:
    path = tmp_path / "train.npy"

    def error() -> str:
        with pytest.raises(ValueError, match=r"train\.") as caught:
            npy(path, "train", 0.0)
        return str(caught.value)

    np.save(path, np.array(["a"]))
    assert "expected numbers (N, ...)" in error()
    np.save(path, np.zeros((4, 2), np.uint8))
    np.save(tmp_path / "train.labels.npy", np.zeros(3, np.int64))
    assert "train.labels.npy holds int64 of shape (3,); expected integers (4,)" in error()
    np.save(tmp_path / "train.labels.npy", np.arange(4))
    for content, message in (('{"classes": ["a", "b"]}', "labels up to 3, and"), ('["a"]', "must hold an object"),
                             ("{", "is no JSON")):  # fmt: skip
        (tmp_path / "train.json").write_text(content)
        assert message in error()
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged: its header declares 8 bytes" in error()


def test_lsun_as_it_comes(tmp_path: Path) -> None:
    """An lmdb of image files by their keys, read by worker processes too."""
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(tmp_path / "church_train_lmdb"), map_size=2**24) as database,
        database.begin(write=True) as held,
    ):
        for k, key in enumerate((b"bb", b"aa", b"\xff")):
            save(tmp_path / "one.png", np.full((6, 4, 3), k, np.uint8))
            held.put(key, (tmp_path / "one.png").read_bytes())
    found = lsun(tmp_path, "train", COLOUR, 256, "church")
    assert values(found) == [1, 0, 2]
    with Batches(found, 0, 3, reading=Reading(1)) as batches:
        assert sorted(batches.take(0, range(3)).images[:, 0, 0, 0].tolist()) == [0, 1, 2]
    (tmp_path / "church_val_lmdb").mkdir()
    (tmp_path / "church_val_lmdb/data.mdb").write_bytes(b"no database")
    with pytest.raises(ValueError, match="church_val_lmdb is no lmdb"):
        lsun(tmp_path, "test", COLOUR, 256, "church")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what memory is anonymous")
def test_a_packed_file_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    """A sparse file of 2 GB: thirty batches of it take less than 64 MB that are not the file's; it is mapped for
    reading alone, so that the system need not promise memory for it."""
    shape, count = (3, 64, 64), 160_000
    with (tmp_path / "train.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 3 * 64 * 64)

    def anonymous() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))

    before = anonymous()
    split = npy(tmp_path, "train", 0.0)
    assert not split.rows.array.flags.writeable  # type: ignore[attr-defined]
    with Batches(split, 0, 128) as batches:
        for step in range(30):
            assert not batches.take(step, range(128)).images.any()
    assert anonymous() - before < 2**26
