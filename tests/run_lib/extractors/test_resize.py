"""Each filter is, bit for bit, that of the program that it is named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.extractors.resize import FILTERS
from tests.run_lib.extractors.fake import images

SIZES = [((3, 32, 32), 299), ((3, 40, 24), 17), ((3, 16, 16), 16), ((1, 9, 7), 20)]


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_tf1_is_tensorflows_formula(shape: tuple[int, ...], size: int) -> None:
    """The value at i is that at i H / S in float32: first between columns, then between rows; and torch-fidelity's."""
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x as theirs,
    )

    levels = images(shape)
    found = FILTERS["tf1"].apply(levels, size)
    assert torch.equal(found, theirs(levels.float(), size=(size, size), align_corners=False))
    held = levels.numpy().astype(np.float32)
    for axis in (3, 2):
        at = np.arange(size, dtype=np.float32) * np.float32(shape[axis - 1] / size)
        low = at.astype(int)
        high = np.minimum(low + 1, shape[axis - 1] - 1)
        part = (at - low.astype(np.float32)).reshape((1, 1, 1, size) if axis == 3 else (1, 1, size, 1))
        one, other = held.take(low, axis), held.take(high, axis)
        held = one + (other - one) * part
    np.testing.assert_array_equal(found.numpy(), held)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_clean_is_pillows_of_each_channel_in_float32(shape: tuple[int, ...], size: int) -> None:
    levels = images(shape)
    levels[0] = torch.where(levels[0] > 127, 255, 0)  # overshoots are clipped
    found = FILTERS["clean"].apply(levels, size)
    for image, ours in zip(levels, found, strict=True):
        for channel, one in zip(image, ours, strict=True):
            picture = Image.fromarray(channel.numpy().astype(np.float32))
            wanted = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255)
            np.testing.assert_array_equal(one.numpy(), wanted)
    assert found.dtype == torch.float32 and found.min() >= 0 and found.max() <= 255


@pytest.mark.parametrize(("shape", "size"), SIZES[:3])
def test_pil_is_pillows_of_the_image(shape: tuple[int, ...], size: int) -> None:
    levels = images(shape)
    for image, ours in zip(levels, FILTERS["pil"].apply(levels, size), strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(picture))


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_torch_is_pillows_but_for_rounding(shape: tuple[int, ...], size: int) -> None:
    """PyTorch's antialiased cubic has a = -1/2, as Pillow's; without antialiasing it would have -3/4."""
    levels = images(shape)
    found = FILTERS["torch"].apply(levels, size)
    torch.testing.assert_close(found.clip(0, 255), FILTERS["clean"].apply(levels, size), rtol=0, atol=1e-2)


def test_filters_differ_and_say_so() -> None:
    """Down to a third, where antialiasing is seen."""
    pytest.importorskip("torch_fidelity")
    levels = images((3, 48, 48))
    found = {name: one.apply(levels, 16) for name, one in FILTERS.items()}
    assert all(not torch.equal(a, b) for n, a in found.items() for m, b in found.items() if n != m)
    assert len({one.words for one in FILTERS.values()}) == len(FILTERS)
