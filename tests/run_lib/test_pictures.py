"""Pictures show the samples, all of them and unharmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.data.levels import DataSpec
from run_lib.pictures import eight_bits, picture, rows_of_images, save_gif, save_png, to_tensorboard


def spec(shape: tuple[int, ...], levels: int) -> DataSpec:
    def none(split: str) -> None: ...

    return DataSpec("none", none, None, shape, levels, True, False, False)  # type: ignore[arg-type]


def cell(grid: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    """Cells are ``size`` pixels and 2 apart, from 2 on."""
    top, left = 2 + row * (size + 2), 2 + column * (size + 2)
    return grid[top : top + size, left : left + size]


def test_colour_images_of_full_size_are_the_pixels_themselves() -> None:
    """Five images of 64x64 in a grid of three columns, row by row."""
    images = torch.randint(0, 256, (5, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    grid = picture(images, spec((3, 64, 64), 256))
    assert grid.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    assert (grid[:2] == 128).all(), "grey between the images"
    for k in range(5):
        assert np.array_equal(cell(grid, k // 3, k % 3, 64), images[k].permute(1, 2, 0).numpy())


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    """48 pixels are aimed at: 10x10 fits four times. Black is 0, white the highest level. One alone has no
    frame.
    """
    image = torch.zeros(1, 1, 10, 10, dtype=torch.uint8)
    image[0, 0, 3, 4] = 16
    grid = picture(image, spec((1, 10, 10), 17))
    expected = np.zeros((40, 40, 3), dtype=np.uint8)
    expected[12:16, 16:20] = 255
    assert np.array_equal(grid, expected)


def test_continuous_images_fill_the_range() -> None:
    image = torch.linspace(-0.5, 2.0, 48 * 48).reshape(1, 1, 48, 48)
    inside = picture(image, spec((1, 48, 48), 0))
    assert (inside[0, 0, 0], inside[-1, -1, 0]) == (0, 255)
    assert not picture(torch.full((1, 1, 48, 48), 0.7), spec((1, 48, 48), 0)).any(), "no range: black"


@pytest.mark.parametrize(("channels", "shown"), [(2, (0, 0, 0)), (3, (0, 1, 2)), (4, (0, 1, 2))])
def test_images_of_other_channels(channels: int, shown: tuple[int, ...]) -> None:
    """Of two the first, in grey; of more than three the first three."""
    image = torch.randint(0, 256, (1, channels, 48, 48), generator=torch.Generator().manual_seed(0))
    grid = picture(image.to(torch.uint8), spec((channels, 48, 48), 256))
    assert np.array_equal(grid, image[0, list(shown)].permute(1, 2, 0).numpy())


def test_rows_of_images_that_are_shorter_end_in_grey() -> None:
    """Clipped to [0, 1], and 0.5 is 128 of 255."""
    images = [torch.full((1, 48, 48), value) for value in (0.2, -3.0, 7.0)]
    grid = rows_of_images([images[:1], images[1:]])
    assert [int(cell(grid, i, j, 48).max()) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))] == [51, 128, 0, 255]
    assert [int(cell(grid, i, j, 48).min()) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))] == [51, 128, 0, 255]


def test_eight_bits() -> None:
    """Rounded and clipped; one channel has no axis of its own."""
    grey = torch.tensor([[[-1.0, 0.0], [0.4981, 2.0]]])
    assert eight_bits(grey).tolist() == [[0, 0], [127, 255]]
    colour = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1)
    assert eight_bits(colour).tolist() == [[[0, 128, 255]]]


def test_points_of_the_plane() -> None:
    """A scatter plot: ink where points are, none in the empty quadrants."""
    angle = torch.rand(300, generator=torch.Generator().manual_seed(0))
    low = torch.stack([angle, angle], 1)
    plot = picture(torch.cat([low, low - 10]), spec((2,), 0)).astype(int)
    ink = (plot[..., 2] - plot[..., 0]) > 30  # blue
    rows, columns = np.nonzero(ink)
    upper, right = rows < (rows.min() + rows.max()) / 2, columns > (columns.min() + columns.max()) / 2
    assert (upper == right).all(), "points lie upper right and lower left"
    assert upper.any()
    assert (~upper).any()
    line = picture(torch.linspace(0, 1, 50)[:, None], spec((1,), 0)).astype(int)
    rows, columns = np.nonzero((line[..., 2] - line[..., 0]) > 30)
    assert np.ptp(rows) < 20 < np.ptp(columns), "one coordinate lies along the first axis"


@pytest.mark.parametrize("count", [1, 3])
def test_files_are_lossless(count: int, tmp_path: Path) -> None:
    frames = [np.random.default_rng(k).integers(0, 2, (8, 9, 3), dtype=np.uint8) * 255 for k in range(count)]
    save_png(frames[0], tmp_path / "folder" / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "folder/a.png")), frames[0])
    save_gif(frames, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert getattr(gif, "n_frames", 1) == count
        shown = [gif.info["duration"] for k in range(count) if gif.seek(k) is None]
        assert shown == ([80] * (count - 1) + [1600] if count > 1 else shown), "it rests on its last frame"
        assert gif.info.get("loop", 0) == 0 and (count == 1 or "loop" in gif.info), (
            "and begins again, for ever"
        )


def test_tensorboard_has_channels_first() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert to_tensorboard(pixels)[1].tolist() == [[1, 4, 7, 10], [13, 16, 19, 22]]
