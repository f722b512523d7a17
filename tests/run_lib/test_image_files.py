"""Data sets that are folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_lib.data.named import celeba
from run_lib.data.sources import celebahq, imagenet, lsun


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_centre_of_an_image(tmp_path: Path) -> None:
    """A 6x10 image at its own height: the six central columns, pixel for pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    save(tmp_path / "lsun/bedroom/train/a.png", pixels)
    found = lsun(tmp_path, "train", (3, 6, 6), 256, "bedroom").images
    np.testing.assert_array_equal(found[0].numpy(), pixels[:, 2:8].transpose(2, 0, 1))


def test_celeba_keeps_140_pixels(tmp_path: Path) -> None:
    """score_sde's crop of the 178x218 images: what is outside is not seen."""
    pixels = np.full((218, 178, 3), 255, dtype=np.uint8)
    pixels[39:179, 19:159] = 100
    save(tmp_path / "celeba/test/a.png", pixels)
    assert (celeba(tmp_path, "test", (3, 64, 64), 256).images == 100).all()


def test_subfolders_are_classes(tmp_path: Path) -> None:
    """Numbered in the order of their names, whatever the files are called."""
    for name in ("n02/a.png", "n01/z.png", "n02/b.png"):
        save(tmp_path / "imagenet/train" / name, np.zeros((4, 4, 3), dtype=np.uint8))
    assert imagenet(tmp_path, "train", (3, 4, 4), 256).labels.tolist() == [0, 1, 1]


def test_packed_array(tmp_path: Path) -> None:
    """The same images from one array, which stays on disk."""
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
    (tmp_path / "celebahq").mkdir()
    np.save(tmp_path / "celebahq/train.npy", pixels)
    np.testing.assert_array_equal(celebahq(tmp_path, "train", (3, 4, 4), 256).images.numpy(), pixels)
    np.save(tmp_path / "celebahq/train.npy", pixels / 255)
    with pytest.raises(ValueError, match=r"train\.npy holds float64.*expected uint8"):
        celebahq(tmp_path, "train", (3, 4, 4), 256)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no images in .*celebahq/train/.*data\.root.*TFRecords \(r10"):
        celebahq(tmp_path, "train", (3, 4, 4), 256, "r10.tfrecords")
    with pytest.raises(ValueError, match=r"config\.data\.category"):
        lsun(tmp_path, "train", (3, 4, 4), 256)
