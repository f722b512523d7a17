"""Samples in the field's form: channels last in ``samples.npz``, and a PNG of each where that is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib import sample_folder
from run_lib.data.archives import read_archive
from run_lib.data.rows import InMemory
from run_lib.references.sets import open_set
from run_lib.sample_folder import SampleFolder
from tests.run_lib.program import GAUSSIAN, TINY, program, run

PNG = {"sampling__png": True, "sampling__num_samples": 5, "sampling__num_steps": 2}
CLASSES = {"model__num_classes": 10, "sampling__num_samples": 12}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of classes, hardly trained."""
    folder = tmp_path_factory.mktemp("run")
    run(TINY, "train", folder, **CLASSES, training__n_iters=1)
    return folder


def sampled(folder: Path, **fields: Any) -> dict[str, np.ndarray]:
    """Sample, and read the PNGs by their names."""
    run(TINY, "sample", folder, **{**PNG, **CLASSES, **fields})
    images = folder / "samples/png"
    return {
        p.relative_to(images).as_posix(): np.asarray(Image.open(p)) for p in sorted(images.rglob("*.png"))
    }


def levels(folder: Path) -> np.ndarray:
    with np.load(folder / "samples/samples.npz") as held:
        array: np.ndarray = held["arr_0"]
        return array


def test_a_png_of_each_sample(trained: Path) -> None:
    """Their values are the levels, as those of a data set's files are; the names are the samples' numbers."""
    found = sampled(trained)
    assert list(found) == [f"{i:05d}.png" for i in range(12)]
    for image, pixels in zip(found.values(), levels(trained), strict=True):
        np.testing.assert_array_equal(image, pixels[..., 0])
    read = open_set(trained / "samples/png", levels=17).images.numpy()
    np.testing.assert_array_equal(read, np.stack(list(found.values()))[:, None])


def test_folders_of_classes_take_the_place_of_one_folder(trained: Path) -> None:
    """The same samples: none is there twice, and nothing is moved. A picture of the user's stays."""
    plain = sampled(trained)
    (trained / "samples/png/mine.png").write_bytes((trained / "samples/png/00000.png").read_bytes())
    found = sampled(trained, sampling__png_by_class=True)
    found.pop("mine.png")
    assert list(found) == sorted(f"{i % 10:05d}/{i:05d}.png" for i in range(12))
    for name, image in found.items():
        np.testing.assert_array_equal(image, plain[name.partition("/")[2]])
    assert not (trained / "samples/earlier").exists()
    (trained / "samples/png/mine.png").unlink()
    assert sampled(trained).keys() == plain.keys()


def test_pngs_are_moved_with_their_samples(trained: Path, tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, **CLASSES, training__n_iters=1)
    first = sampled(tmp_path, sampling__png_by_class=True, seed=1)
    second = sampled(tmp_path, seed=2)
    (place,) = (tmp_path / "samples/earlier").iterdir()
    moved = {
        p.relative_to(place / "png").as_posix(): np.asarray(Image.open(p)) for p in place.rglob("png/*/*.png")
    }
    assert moved.keys() == first.keys()
    assert all(np.array_equal(moved[name], image) for name, image in first.items())
    assert list(second) == [f"{i:05d}.png" for i in range(12)]


def test_an_interruption_is_made_good(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three PNGs: the next run has all of them and none of another layout."""
    whole = sampled(trained, seed=7)
    written: list[Path] = []

    def few(pixels: np.ndarray, path: Path) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    with monkeypatch.context() as patched:
        patched.setattr(sample_folder, "save_png", few)
        rows = InMemory(torch.from_numpy(levels(trained)).permute(0, 3, 1, 2))
        with pytest.raises(KeyboardInterrupt):
            SampleFolder(trained / "samples").write_images(rows, torch.arange(12))
    assert len(list((trained / "samples/png").rglob("*.png"))) == 3
    again = sampled(trained, seed=7)
    assert again.keys() == whole.keys()
    assert all(np.array_equal(again[name], image) for name, image in whole.items())


def test_colour_and_many_samples_have_names_of_one_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, np.ndarray] = {}
    monkeypatch.setattr(sample_folder, "save_png", lambda pixels, path: written.update({path.name: pixels}))
    images = torch.zeros(100_001, 3, 1, 2, dtype=torch.uint8)
    images[9] = torch.tensor([[[1, 2]], [[30, 40]], [[255, 0]]])
    SampleFolder(tmp_path).write_images(InMemory(images), None)
    assert list(written) == sorted(written) and len(written) == 100_001
    np.testing.assert_array_equal(written["000009.png"], [[[1, 30, 255], [2, 40, 0]]])


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (
            GAUSSIAN,
            {"png": True},
            r"png=True writes images of 1 or 3 channels .* shape \(2,\) and continuous values",
        ),
        (TINY, {"png": True, "png_by_class": True}, "makes a folder for each class, and samples have none"),
        (TINY, {"png_by_class": True}, "has no effect without sampling.png=True"),
    ],
)
def test_what_has_no_pngs_is_refused(
    config: Path, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {f"sampling__{name}": value for name, value in fields.items()}
    outcome = program("--config", config, "--mode", "sample", "--workdir", tmp_path, **given)
    assert outcome.status == 2

    assert re.search(message, outcome.error)
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5), (2, 4, 4), (4, 4, 7), (3, 3, 8), (1, 1, 1)])
def test_archives_are_read_in_both_layouts(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.uint8)
    for name, array in (("first", images), ("last", images.transpose(0, 2, 3, 1))):
        np.savez(tmp_path / f"{name}.npz", array)
        found = read_archive(tmp_path / f"{name}.npz", name, shape, 256).images
        np.testing.assert_array_equal(found.numpy(), images)


def test_where_both_layouts_fit_the_channels_are_last(tmp_path: Path) -> None:
    """As samples are written."""
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images)
    found = read_archive(tmp_path / "a.npz", "a", (3, 3, 3), 256).images
    np.testing.assert_array_equal(found.numpy(), images.transpose(0, 3, 1, 2))
