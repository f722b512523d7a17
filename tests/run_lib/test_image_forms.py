"""Every row of the table in docs/images.md, run on small files: what each use makes of each form of image file."""

from __future__ import annotations

import os
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.config import plans
from run_lib.data.base_images import BaseImages
from run_lib.data.folders import read_split
from run_lib.data.images import Fitting
from run_lib.data.inputs import load, open_inputs
from run_lib.data.levels import DataSpec
from run_lib.data.listing import list_images
from run_lib.data.sources import digits, register_dataset
from tests.run_lib.image_forms import COLOUR, DEEP, FORMS, Form, too_large
from tests.run_lib.pictures import random_pixels, save, save_png
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT
from tests.run_lib.test_tasks import SUPERRES
from tests.run_lib.tiny import get_config as tiny

EXACT = Fitting(resize=False, convert=False)
USES = ("training", "base samples", "control", "reconstruct")
SPEC = DataSpec(
    name="some", loader=digits, density=None, shape=(3, 4, 8), levels=256, centered=False, dequantize=False,
    random_flip=False,
)  # fmt: skip


def table() -> dict[str, list[str]]:
    """Rows of the documentation's table of forms."""
    lines = (ROOT / "docs/images.md").read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("| form of file"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line.strip("| ").split(" | "))
    assert rows[0][1:] == [*USES, "with `convert`"]
    return {name: cells for name, *cells in rows[2:]}


def read(use: str, folder: Path, form: Form, convert: bool) -> tuple[dict[str, np.ndarray], str]:
    """Pixels (C, H, W) by name, and "listed" or "refused" where some or all are not read."""
    spec = replace(SPEC, shape=(form.channels, 4, 8), levels=form.levels)
    white = form.levels - 1
    names = list_images(folder).names
    try:
        if use == "training":
            images = read_split(
                folder.parent, "train", spec.shape, levels=form.levels, convert=convert
            ).images
            return dict(zip(names, images.numpy(), strict=True)), ""
        if use == "base samples":
            base = BaseImages(str(folder), spec, (4, 8), 0, convert)
            held = base.of(range(len(names))).images.numpy()
            return dict(zip(names, held * white, strict=True)), ""
        inputs = open_inputs(str(folder), f"config.{use}.input", spec, Fitting(False, convert))
    except ValueError:
        return {}, "refused"
    loaded = load(inputs, range(len(inputs)))
    found = {
        inputs.names[row]: image.numpy() * white
        for row, image in zip(loaded.rows, loaded.images, strict=True)
    }
    return found, "listed" if loaded.skipped else ""


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, pixels in wanted.items():
        least = 1.0 if name.endswith(".jpg") else 0.01
        difference = np.abs(found[name] - np.asarray(pixels, float).transpose(2, 0, 1))
        assert difference.max() <= least, name


def test_every_form_of_the_table_is_run() -> None:
    assert list(table()) == list(FORMS)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's word, and for what is read, with the option or without, every pixel."""
    form, cells = FORMS[name], table()[name]
    word, option = cells[USES.index(use)], cells[-1]
    folder = tmp_path / "train"
    folder.mkdir()
    if form.write is too_large:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    wanted = form.write(folder)
    found, fate = read(use, folder, form, convert=False)
    expected = word if word in ("refused", "listed") else ""
    assert fate == expected
    if word != "refused":
        same(found, wanted)
    found, fate = read(use, folder, form, convert=True)
    if option in ("the same", "refused"):
        assert fate == ("refused" if option == "refused" else expected)
    else:
        assert fate == ""
        same(found, wanted)


@pytest.mark.parametrize("name", [name for name, cells in table().items() if cells[2] == "refused"])
def test_each_file_of_a_form_is_refused_on_its_own(name: str, tmp_path: Path) -> None:
    """A form's row is not refused on account of one of its files; of inputs, before any work."""
    form, converted = FORMS[name], table()[name][-1] not in ("refused", "the same")
    folder = tmp_path / "all/train"
    folder.mkdir(parents=True)
    form.write(folder)
    for path in list(folder.iterdir()):
        alone = tmp_path / path.name / "train"
        alone.mkdir(parents=True)
        path.rename(alone / path.name)
        for use in USES[2:] if name == "another size" else USES:
            assert read(use, alone, form, convert=False) == ({}, "refused")
            assert (read(use, alone, form, convert=True)[1] == "") == converted


def test_continuous_data_take_files_of_8_and_of_16_bits(tmp_path: Path) -> None:
    """As intensities, every value of theirs."""
    save(tmp_path / "8.png", COLOUR)
    save_png(tmp_path / "16.png", DEEP[..., :3])
    inputs = open_inputs(
        str(tmp_path), "config.control.input", replace(SPEC, levels=0, shape=(3, 4, 8)), EXACT
    )
    for k, wanted in enumerate((DEEP[..., :3] / 65535, COLOUR / 255)):
        assert torch.allclose(inputs.read(k), torch.from_numpy(wanted.transpose(2, 0, 1)).float(), atol=1e-6)


OF_FILES = [name for name in register_dataset if "convert" in signature(register_dataset[name]).parameters]


@pytest.mark.parametrize("name", sorted({*OF_FILES} - {"zip", "flowers102"}))
def test_data_sets_of_files_take_the_option(name: str, tmp_path: Path) -> None:
    """Transparent images of 16 bits: refused, and with the option over white and of the data's levels."""
    assert len(OF_FILES) == 8
    for folder in (name, name.replace("_", ""), f"{name}/cat"):
        save_png(tmp_path / folder / "train/a.png", np.full((140, 140, 4), 40_000))
    category = {"category": "cat"} if name == "lsun" else {}
    build = register_dataset[name]
    with pytest.raises(ValueError, match=r"a\.png is partly transparent\. --config\.data\.convert takes"):
        build(root=tmp_path, split="train", shape=(3, 4, 8), levels=65536, **category).read([0])
    found = build(root=tmp_path, split="train", shape=(3, 4, 8), levels=65536, convert=True, **category)
    assert found.images.unique().tolist() == [round(40_000 * 40_000 / 65535 + 65535 - 40_000)]


def test_base_samples_take_the_option_of_the_data() -> None:
    fields = {**SUPERRES, "sampling__base_samples": "somewhere"}
    assert planned(tiny(), plans.sampling, {**fields, "data__convert": True}).task.base.convert
    assert not planned(tiny(), plans.sampling, fields).task.base.convert


def test_folders_that_cannot_be_read_are_no_empty_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    scan = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError, match="secret"):
        list_images(tmp_path)


def test_deep_images_are_resized_as_shallow_ones(tmp_path: Path) -> None:
    """16-bit values that are 257 times 8-bit ones: the result is 257 times theirs, to one rounding of 8 bits."""
    small = random_pixels(5, 8, 16, 3)
    save(tmp_path / "a/train/a.png", small)
    save_png(tmp_path / "b/train/a.png", small.astype(int) * 257)
    eight = read_split(tmp_path / "a", "train", (3, 4, 8)).images
    sixteen = read_split(tmp_path / "b", "train", (3, 4, 8), levels=65536).images
    assert sixteen.dtype == torch.int32
    assert (sixteen / 257 - eight).abs().max() <= 1
    assert (sixteen / 257 - eight).abs().max() > 0.01, "not by way of 8 bits"
    halves = np.repeat([0, 65535], 8)[None, :, None].repeat(
        8, 0
    )  # beyond an edge the filter over- and undershoots
    save_png(tmp_path / "c/train/a.png", halves)
    edge = read_split(tmp_path / "c", "train", (1, 4, 8), levels=65536).images
    assert (int(edge.min()), int(edge.max())) == (0, 65535)
