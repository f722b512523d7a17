"""Augmentation: where pixels go, how often, and that it is each sample's own and training's alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from run_lib.config import plans
from run_lib.data.augment import Crops, Flips
from sde_lib import Noise
from tests.run_lib.planned import planned
from tests.run_lib.test_data import SPEC
from tests.run_lib.tiny import get_config as tiny

COUNT = 2000
IMAGE = torch.arange(30, dtype=torch.uint8).reshape(1, 1, 5, 6)


@pytest.mark.parametrize("axes", ["horizontal", "vertical", "both"])
def test_flips_are_fair_coins(axes: str) -> None:
    """Each axis by a coin of its own, four standard errors; the whole image or nothing."""
    flipped = Flips(axes)(IMAGE.repeat(COUNT, 1, 1, 1), Noise(0, range(COUNT))).images  # type: ignore[arg-type]
    kinds = {"horizontal": [(), (-1,)], "vertical": [(), (-2,)], "both": [(), (-1,), (-2,), (-1, -2)]}[axes]
    shares = [(flipped == IMAGE.flip(kind)).flatten(1).all(1).double().mean().item() for kind in kinds]
    each = 1 / len(kinds)
    assert shares == pytest.approx([each] * len(kinds), abs=4 * (each * (1 - each) / COUNT) ** 0.5)
    assert sum(shares) == pytest.approx(1)


def test_crops_are_windows_of_the_reflected_image() -> None:
    """Of numpy's reflection, all 3 x 3 windows as often, five standard errors."""
    found = Crops(1)(IMAGE.repeat(COUNT, 1, 1, 1), Noise(0, range(COUNT))).images
    around = np.pad(IMAGE[0, 0].numpy(), 1, mode="reflect")
    windows = [torch.from_numpy(around[y : y + 5, x : x + 6].copy()) for y in range(3) for x in range(3)]
    shares = [(found[:, 0] == window).flatten(1).all(1).double().mean().item() for window in windows]
    assert shares == pytest.approx([1 / 9] * 9, abs=5 * (8 / 81 / COUNT) ** 0.5)
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(2, 9), (1, 5, 6, 7)])
def test_crops_of_signals_and_volumes(shape: tuple[int, ...]) -> None:
    """All channels move alike."""
    x = torch.arange(int(np.prod(shape))).reshape(1, *shape).float()
    found = Crops(2)(x.repeat(50, *[1] * len(shape)), Noise(3, range(50))).images
    assert found.shape == (50, *shape)
    assert len({tuple(one.flatten().tolist()) for one in found}) > 4
    step = found[:, -1] - found[:, 0]
    assert (
        (step == step[:, :1]).all() if shape[0] == 1 else torch.equal(step, torch.full_like(step, shape[-1]))
    )


@pytest.mark.parametrize("augment", [Flips("both"), Crops(2)])
def test_a_samples_augmentation_does_not_depend_on_the_batch(augment: Flips | Crops) -> None:
    """In training alone; the same for a part of the batch; held-out samples are as they are."""
    spec = replace(SPEC, augment=augment, dequantize=False)
    images = torch.randint(0, 17, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    def batch(rows: range) -> Tensor:
        return spec.training_batch(images[rows.start : rows.stop], Noise(5, rows)).images

    whole = batch(range(12))
    assert torch.equal(torch.cat([batch(range(5)), batch(range(5, 12))]), whole)
    assert not torch.equal(spec.to_levels(whole), images)
    assert torch.equal(spec.to_levels(spec.held_out_batch(images, Noise(5, range(12)))), images)


def test_augmentation_by_configuration() -> None:
    fields = {"data__augment": "crop", "data__crop_padding": 3}
    assert planned(tiny(), plans.training, fields).subject.data.augment == Crops(3)
    assert planned(tiny(), plans.training).subject.data.augment is None
    with pytest.raises(ValueError, match=r"data\.crop_padding is set, but"):
        planned(tiny(), plans.training, {"data__crop_padding": 3})
    with pytest.raises(ValueError, match="must be less than the samples' size, 5"):
        Crops(5)(IMAGE, Noise(0, [0]))
