"""The reader of image files: which files are images, which forms are accepted, and the pixels that come out."""

from __future__ import annotations

import inspect
import re
import warnings
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.data.archives import read_archive
from run_lib.data.base_images import BaseImages
from run_lib.data.classes import class_names, labels_of
from run_lib.data.folders import read_split
from run_lib.data.forms import RefusedError, UnreadableError
from run_lib.data.images import Fitting, ImageReader, read_mask
from run_lib.data.inputs import open_inputs
from run_lib.data.levels import DataSpec
from run_lib.data.listing import list_images
from run_lib.data.sources import CONTEXT, digits, register_dataset
from tests.run_lib.pictures import random_pixels, save, truncated

STRICT = Fitting(resize=False, convert=False)
LENIENT = Fitting(resize=True, convert=True)
SPEC = DataSpec(
    name="some",
    loader=digits,
    density=None,
    shape=(1, 8, 8),
    levels=256,
    centered=False,
    dequantize=False,
    random_flip=False,
)


def reader(shape: tuple[int, ...] = (1, 8, 8), fitting: Fitting = STRICT, levels: int = 256) -> ImageReader:
    return ImageReader(shape, fitting, levels)


def test_which_files_are_images(tmp_path: Path) -> None:
    """Endings in either case; no hidden files and folders; a folder's files stand together. What is left out is
    counted."""
    for name in ("b.PNG", "a/z.jpeg", "a/.hidden.png", "a-b/c.png", "d.webp", "e.txt", ".git/f.png", "g"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = list_images(tmp_path)
    assert found.names == ["a/z.jpeg", "a-b/c.png", "b.PNG", "d.webp"]
    assert found.left_out == {"hidden": 2, ".txt": 1, "without ending": 1}


def test_links_are_followed(tmp_path: Path) -> None:
    """To files and to folders; those that lead nowhere, or to a folder that holds them, are left out and counted."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere/a.png").touch()
    for name, target in (
        ("cat", "elsewhere"),
        ("b.png", "elsewhere/a.png"),
        ("c.png", "nowhere"),
        ("d", "in"),
    ):
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    found = list_images(tmp_path / "in")
    assert found.names == ["b.png", "cat/a.png"]
    assert found.left_out == {"links to nothing": 1, "links back": 1}


@pytest.mark.parametrize(
    ("shape", "pixels", "refusal"),
    [
        ((1, 8, 8), random_pixels(0), ""),
        ((3, 8, 8), random_pixels(0, channels=3), ""),
        ((1, 8, 8), random_pixels(0, channels=3), "is colour"),
        ((1, 8, 8), random_pixels(0, height=6, width=9), "is 6x9 (height x width)"),
        ((3, 8, 8), np.zeros((8, 8, 4), np.uint8), "is partly transparent"),
        ((1, 8, 8), np.zeros((8, 8), np.uint16), "is of 16 bits a channel, where data.levels=256 takes 8"),
    ],
)  # fmt: skip
def test_another_form_is_refused(
    shape: tuple[int, ...], pixels: np.ndarray, refusal: str, tmp_path: Path
) -> None:
    """Before it is read and while it is: the reason is the same. An accepted image is its pixels."""
    path = save(tmp_path / "a.png", pixels)
    assert reader(shape).refusal(path) == refusal
    if refusal:
        with pytest.raises(RefusedError, match=re.escape(refusal)):
            reader(shape).read(path)
    else:
        assert np.array_equal(
            reader(shape).read(path), np.atleast_3d(pixels).reshape(8, 8, -1).transpose(2, 0, 1)
        )


def test_orientation(tmp_path: Path) -> None:
    """EXIF's orientation 6 says: turn clockwise by a quarter. A 4x8 image is then 8x4, and its first row the last
    column."""
    pixels = random_pixels(0, height=4, width=8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", pixels, exif=exif)
    assert np.array_equal(reader((1, 8, 4)).read(path)[0], np.rot90(pixels, -1))
    assert reader((1, 4, 8)).refusal(path) == "is 8x4 (height x width)"


def test_damaged_files(tmp_path: Path) -> None:
    """Inputs have a reason each; a data set names the file."""
    damaged = truncated(tmp_path / "train/a.png", random_pixels(0, 32, 32))
    assert reader((1, 32, 32)).refusal(damaged) == "", "its header is whole"
    with pytest.raises(UnreadableError, match="it is damaged"):
        reader((1, 32, 32)).read(damaged)
    with pytest.raises(ValueError, match=r"train/a\.png cannot be read: it is damaged"):
        read_split(tmp_path, "train", (1, 32, 32)).read([0])
    damaged.write_bytes(b"no image")
    with pytest.raises(UnreadableError, match="it is no image of a kind that is known"):
        reader().refusal(damaged)


def test_pictures_of_more_pixels_than_pillow_thinks_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow warns of more than its limit and refuses more than twice as many: both are refused, whoever hears
    warnings."""
    path = save(tmp_path / "a.png", random_pixels(0))
    for limit in (63, 31):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(UnreadableError, match="pixels"):
                reader().read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    assert reader().read(path).shape == (1, 8, 8)


def test_a_ppm_says_which_value_is_white(tmp_path: Path) -> None:
    """A white of 100 makes 8 bits of its values, the nearest; one of 1000 needs more, and none such are read."""
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 2 1 100\n" + bytes([0, 50, 100, 100, 20, 0]))
    assert reader((3, 1, 2)).read(path).tolist() == [[[0, 255]], [[128, 51]], [[255, 0]]]
    path.write_bytes(b"P6 2 1 1000\n" + bytes(12))
    with pytest.raises(RefusedError, match="is of 16 bits a channel and in colour, as PPM"):
        reader((3, 1, 2)).read(path)


def test_folders_are_classes() -> None:
    """Numbered by the names of the folders; of nested ones the last counts; a file in none has no class."""
    names = ["b/x.png", "a/y.png", "z.png", "c/b/w.png"]
    assert class_names(names) == ("a", "b")
    assert labels_of(names, class_names(names)).tolist() == [1, 0, -1, 1]


def test_mask(tmp_path: Path) -> None:
    mask = np.array([[255, 0, 51]], np.uint8)
    assert read_mask(save(tmp_path / "m.png", mask)).tolist() == [[1.0, 0.0, pytest.approx(0.2)]]
    with pytest.raises(ValueError, match="it is in colour"):
        read_mask(save(tmp_path / "c.png", random_pixels(0, channels=3)))
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match="it holds floating-point values"):
        read_mask(tmp_path / "f.tif")
    (tmp_path / "m.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="it cannot be read as an image: it is no image of a kind"):
        read_mask(tmp_path / "m.png")


def test_base_images_of_a_folder(tmp_path: Path) -> None:
    """A class each subfolder, in the network's range; another size names the file."""
    (tmp_path / "empty").mkdir()
    for k, name in enumerate(("cat/a.png", "owl/b.png")):
        save(tmp_path / name, random_pixels(k, 4, 4))
    found = BaseImages(str(tmp_path), SPEC, (4, 4), num_classes=2).of([1, 2])
    assert found.labels.tolist() == [1, 0]
    assert np.allclose(found.images[0, 0].numpy() * 255, random_pixels(1, 4, 4))
    with pytest.raises(ValueError, match=r"cat/a\.png is 4x4 \(.*trained on \(1, 2, 2\); give images of"):
        BaseImages(str(tmp_path), SPEC, (2, 2), num_classes=2).of([0])
    with pytest.raises(ValueError, match=r"there are no images in sampling\.base_samples="):
        BaseImages(str(tmp_path / "empty"), SPEC, (4, 4), num_classes=0).of([0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_1": np.zeros(2)}, "is no .npz with arr_0"),
        ({"arr_0": np.zeros((0, 1, 8, 8), np.uint8)}, "which holds no images"),
        ({"arr_0": np.zeros((2, 1, 8, 8))}, "arr_0 is float64, and the data are levels 0 to 255 as integers"),
        ({"arr_0": np.full((2, 1, 8, 8), -3)}, "has values from -3 to -3, and data.levels=256 allow 0 to 255"),
        ({"arr_0": np.full((2, 1, 8, 8), 256)}, "has values up to 256, and data.levels=256 allow 0 to 255"),
        ({"arr_0": np.zeros((2, 1, 8, 8), np.uint8), "arr_1": np.zeros(3)}, "has 2 images and 3 labels"),
        ({"arr_0": np.zeros((2, 3, 8, 8), np.uint8)}, r"arr_0 has the shape \(2, 3, 8, 8\)"),
    ],
)  # fmt: skip
def test_archives_that_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(ValueError, match=f"config.x.input=.*{message}"):
        open_inputs(str(tmp_path / "in.npz"), "config.x.input", SPEC, STRICT)


def test_archive(tmp_path: Path) -> None:
    """Channels may come last; labels are the images' own, where there are some; only as many as are asked for."""
    pixels = np.stack([random_pixels(k) for k in range(3)])
    np.savez(tmp_path / "in.npz", arr_0=pixels[..., None], arr_1=np.array([4, 2, 7]))
    found = open_inputs(str(tmp_path / "in.npz"), "config.x.input", SPEC, STRICT, most=2)
    assert [found.label(k) for k in range(len(found))] == [4, 2]
    assert found.names == ["00000", "00001"]
    assert torch.equal(found.read(1)[0], torch.from_numpy(pixels[1]) / 255)
    np.savez(tmp_path / "in.npz", arr_0=pixels[:, None])
    assert open_inputs(str(tmp_path / "in.npz"), "config.x.input", SPEC, STRICT).label(2) == -1


def test_archive_of_narrow_images(tmp_path: Path) -> None:
    """Of the wanted shape already: an image as wide as it has channels is not turned."""
    pixels = random_pixels(0, 4, 3)[:, None, :].repeat(3, 1).transpose(1, 0, 2)[None]
    np.savez(tmp_path / "in.npz", arr_0=pixels)
    assert np.array_equal(read_archive(tmp_path / "in.npz", "it", (3, 4, 3), 256).images.numpy(), pixels)


def test_inputs_are_in_the_order_of_their_whole_names(tmp_path: Path) -> None:
    """On which the stream of each image's noise depends; "-" comes before "/"."""
    for name in ("a/z.png", "a-b/c.png", "a.png"):
        save(tmp_path / name, random_pixels(0))
    found = open_inputs(str(tmp_path), "config.x.input", SPEC, STRICT)
    assert found.names == ["a-b/c.png", "a.png", "a/z.png"]


@pytest.mark.parametrize("name", list(register_dataset))
def test_settings_of_data_sets_are_declared(name: str) -> None:
    """Whatever the program does not give has a type, a default and a description."""
    function = register_dataset[name]
    hints, described = get_type_hints(function), (inspect.getdoc(function) or "").partition("Args:\n")[2]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in CONTEXT:
            assert parameter.default is parameter.empty
        else:
            assert isinstance(parameter.default, hints[parameter.name])
            assert f"    {parameter.name}: " in described
