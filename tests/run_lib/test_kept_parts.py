"""What is kept between runs, or between parts of one: grids, settings, tables; and what only some processes do."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.config import plans
from run_lib.data.sources import digits, digits_16
from run_lib.editing.image_table import ImageTable
from run_lib.editing.output_folder import open_output_folder
from run_lib.processes import Processes
from run_lib.tuning.features import pca
from run_lib.tuning.stored_grids import Purpose, StoredGrid, StoredGrids, with_stored_grid
from tests.run_lib.planned import planned
from tests.run_lib.test_control import done, results
from tests.run_lib.test_images import reader
from tests.run_lib.tiny import get_config as tiny


def grid(purpose: Purpose, *times: float) -> StoredGrid:
    return StoredGrid(purpose, times, 0.1, 0.2, 8, 4, 1)


def test_a_grid_takes_the_place_of_one_for_the_same_purpose_alone(tmp_path: Path) -> None:
    one, other = Purpose("DDIM()", 2, "VPSDE", 1.0, 0.001), Purpose("DDIM()", 3, "VPSDE", 1.0, 0.001)
    held = StoredGrids(tmp_path / "some.grids.json")
    held.add(grid(one, 1.0, 0.5))
    held.add(grid(other, 1.0, 0.5, 0.25))
    held.add(grid(one, 1.0, 0.75))
    assert held.find(one) == grid(one, 1.0, 0.75), "a tuple of times again"
    assert held.find(other) == grid(other, 1.0, 0.5, 0.25)
    assert (tmp_path / "some.grids.json").read_text().count('"purpose"') == 2


def test_stored_times_are_the_samplers_to_the_last_bit(tmp_path: Path) -> None:
    plan = planned(tiny(), plans.sampling, {"sampling__grid": "optimised", "sampling__predictor": "ddim"})
    purpose = Purpose.of(plan.sampler)
    assert (purpose.num_steps, purpose.first, purpose.last) == (3, 1.0, float(plan.sampler.times[-1]))
    held = StoredGrids(tmp_path / "some.grids.json")
    held.add(grid(purpose, 1.0, 1 / 3, purpose.last))
    placed = with_stored_grid(plan, held.path).sampler.times
    assert placed.dtype is plan.sampler.times.dtype is torch.float64
    assert placed.tolist() == [1.0, 1 / 3, purpose.last]


def test_what_scores_depend_on_leaves_out_what_is_swept() -> None:
    """Of the sampler's section alone: a field of another section by the same name counts."""
    plan = planned(tiny(), plans.tuning, {"tune__sweep": "num_steps=2,3"})
    assert "sampling.num_steps" not in plan.depends_on
    assert {"sampling.predictor", "model.nf", "data.levels", "training.sde"} <= set(plan.depends_on)
    batches = planned(tiny(), plans.tuning, {"tune__sweep": "noise_removal=True,False"}).depends_on
    assert "sampling.noise_removal" not in batches and "sampling.num_steps" in batches


def test_an_output_folder_is_known_by_settings_of_any_kind(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"path": Path("a"), "reconstruct": 1, "sampling": 2, "weights": "c"}
    open_output_folder(tmp_path / "out", "config.x.output", settings)
    open_output_folder(tmp_path / "out", "config.x.output", settings)
    with pytest.raises(ValueError, match="path"):
        open_output_folder(tmp_path / "out", "config.x.output", {**settings, "path": Path("b")})


def test_rows_added_to_a_table_end_as_its_others_do(tmp_path: Path) -> None:
    held = ImageTable(tmp_path / "table.csv", "error", float)
    held.add(["a", "b"], [0.5, 0.25])
    assert (tmp_path / "table.csv").read_bytes() == b"image,error\na,0.5\nb,0.25\n"


def test_four_images_are_two_pairs(tmp_path: Path) -> None:
    """As many frames again, of which those of the first pair are the same."""
    two = results(done(tmp_path / "two", "interpolate", num_images=2, sampling__num_steps=3))
    four = results(done(tmp_path / "four", "interpolate", num_images=4, sampling__num_steps=3))
    assert four.reshape(2, -1).shape[1] == two.size
    assert four.reshape(2, -1)[0] == pytest.approx(two.flatten(), abs=1e-5)


def test_enlarged_digits_have_the_digits_levels() -> None:
    """Black stays 0 and white 16 where the digit is either; the mean brightness is kept to the rounding."""
    small, large = digits("test"), digits_16("test")
    assert large.images.shape == (len(small), 1, 16, 16)
    assert torch.equal(large.labels, small.labels)
    assert (int(large.images.min()), int(large.images.max())) == (0, 16)
    assert float((large.images == 0).double().mean()) > 0.3
    difference = large.images.double().mean((1, 2, 3)) - small.images.double().mean((1, 2, 3))
    assert float(difference.abs().max()) < 0.3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_that_exchange_width_and_height(orientation: int, tmp_path: Path) -> None:
    """5 to 8 do (EXIF 2.3, tag 0x0112): a 4x8 image is then 8x4."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((4, 8), dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    upright, lying = reader((1, 8, 4)), reader((1, 4, 8))
    assert (upright.refusal(tmp_path / "a.png") == "") == (orientation >= 5)
    assert (lying.refusal(tmp_path / "a.png") == "") == (orientation < 5)


def test_principal_components_are_the_same_every_time() -> None:
    """Also where they are found by a randomised algorithm, as those of many features are."""
    real = np.random.default_rng(0).normal(size=(520, 520))
    np.random.seed(1)
    first = pca(real)(real[:3])
    np.random.seed(2)
    assert np.array_equal(pca(real)(real[:3]), first)
    assert first.shape == (3, 20)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_prints_and_none_is_given_up_for_a_week(
    rank: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    joined: dict[str, Any] = {}
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **given: joined.update(given)
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: joined.update(left=True))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: "timeout" in joined)
    monkeypatch.setattr(
        torch.distributed, "rendezvous", lambda *a, **k: iter([(torch.distributed.HashStore(),)])
    )
    with replace(Processes(), rank=rank, world_size=2).process_group():
        print("a word")
    assert joined.pop("store") is not None
    assert joined == {"rank": rank, "world_size": 2, "timeout": datetime.timedelta(days=7), "left": True}
    assert capsys.readouterr().out == ("a word\n" if rank == 0 else "")
