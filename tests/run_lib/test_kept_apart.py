"""What belongs to different things is kept apart: inputs and outputs, candidates of a sweep, grids of averages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from run_lib.config import plans
from run_lib.config.sweep import Candidate, Change
from run_lib.tuning.jobs import Scored, ScoreFiles
from run_lib.tuning.stored_grids import Purpose, StoredGrid, StoredGrids, with_stored_grid
from tests.run_lib.pictures import random_pixels, save
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, program, written
from tests.run_lib.tiny import get_config as tiny

IMAGES = ROOT / "configs/toy/gaussian_image.py"
WHICH: dict[str, dict[str, Any]] = {
    "control": {"control__task": "inpaint", "data__dataset": "digits", "data__levels": 256},
    "reconstruct": {"data__dataset": "digits", "data__levels": 256},
}


@pytest.mark.parametrize("mode", WHICH)
@pytest.mark.parametrize("inner", ["", "results", "results/new"])
def test_results_inside_the_images_are_refused(mode: str, inner: str, tmp_path: Path) -> None:
    """They would be images the next time."""
    save(tmp_path / "in/a.png", random_pixels(0))
    said = program(
        "--config", IMAGES, "--mode", mode, "--workdir", tmp_path / "run", sampling__num_steps=2,
        **WHICH[mode], **{f"{mode}__input": tmp_path / "in", f"{mode}__output": tmp_path / "in" / inner},
    ).error  # fmt: skip
    assert f"lies in config.{mode}.input={tmp_path / 'in'}, so it would be read as input next time" in said
    assert written(tmp_path / "in") == ["a.png"]


@pytest.mark.parametrize("mode", WHICH)
def test_images_inside_the_results_are_refused(mode: str, tmp_path: Path) -> None:
    """The results of an earlier run are replaced, and would be the images of this one."""
    save(tmp_path / "in/a.png", random_pixels(0))
    fields: dict[str, Any] = {"sampling__num_steps": 2, f"{mode}__output": tmp_path / "out", **WHICH[mode]}
    line = ("--config", IMAGES, "--mode", mode, "--workdir", tmp_path / "run")
    first = program(*line, **fields, **{f"{mode}__input": tmp_path / "in"})
    assert first.status == 0, first.err
    before = written(tmp_path / "out")
    results = next(path.parent for path in (tmp_path / "out").glob("*/a*.png"))
    said = program(*line, **fields, **{f"{mode}__input": results}).error
    assert f"config.{mode}.input={results} lies in the output {tmp_path / 'out'}" in said
    assert written(tmp_path / "out") == before


def times_of(plan: Any, held: StoredGrids) -> Any:
    sampler: Any = with_stored_grid(plan, held.path).sampler
    return sampler.times


def candidate(*values: float | int | str) -> Candidate:
    return Candidate(tuple(Change(f"f{place}", value) for place, value in enumerate(values)))


def test_values_that_differ_in_the_last_digit_are_scored_apart(tmp_path: Path) -> None:
    """Six digits do not tell them: 0.1 and the number after it, and whole numbers beyond 10^6."""
    files = ScoreFiles(tmp_path)
    values: tuple[float | int | str, ...] = (
        0.1,
        0.10000000000000002,
        0.1000001,
        1234567.0,
        1234568.0,
        1e-300,
        123456789,
        123456788,
        "ddim",
    )
    for number, value in enumerate(values):
        files.write(candidate(value), 0, Scored((), number, 0.0))
    assert [files.read(candidate(value), 0) for value in values] == [
        Scored((), number, 0.0) for number in range(len(values))
    ]
    assert len(list(tmp_path.iterdir())) == len(values)


@pytest.mark.parametrize(
    ("value", "name"), [(0.16, "0.16"), (1e-05, "1e-05"), (3.0, "3"), (True, "True"), (1e6, "1e_06")]
)
def test_parts_of_earlier_versions_are_found(value: float, name: str, tmp_path: Path) -> None:
    """Where six digits are the value."""
    (tmp_path / f"f0={name.replace('_', '+')}_000.json").write_text(
        json.dumps({"scores": [], "nfe": 7, "seconds": 0.5})
    )
    assert ScoreFiles(tmp_path).read(candidate(value), 0) == Scored((), 7, 0.5)


def test_grids_of_two_averages_of_the_weights_are_kept_apart(tmp_path: Path) -> None:
    fields = {
        "sampling__grid": "optimised", "sampling__predictor": "ddim", "model__ema_rates": (0.9, 0.99),
    }  # fmt: skip
    held = StoredGrids(tmp_path / "some.grids.json")
    wanted: dict[float | None, list[float]] = {}
    for place, rate in enumerate((None, 0.9, 0.99)):
        plan: Any = planned(tiny(), plans.sampling, {**fields, "model__used_ema_rate": rate})
        purpose = Purpose.of(plan.sampler, rate)
        wanted[rate] = [1.0, 0.5 - place / 10, purpose.last]
        held.add(StoredGrid(purpose, tuple(wanted[rate]), 0.1, 0.2, 8, 4, 1))
    for rate, times in wanted.items():
        plan = planned(tiny(), plans.sampling, {**fields, "model__used_ema_rate": rate})
        assert times_of(plan, held).tolist() == times
    plan = planned(tiny(), plans.sampling, {**fields, "model__used_ema_rate": 0.9})
    held.path.write_text(json.dumps({"grids": json.loads(held.path.read_text())["grids"][:1]}))
    with pytest.raises(ValueError, match=r"with model\.used_ema_rate=0\.9 \(there: .*VPSDE\)"):
        with_stored_grid(plan, held.path)


def test_a_file_of_before_is_of_the_first_average(tmp_path: Path) -> None:
    plan: Any = planned(
        tiny(), plans.sampling, {"sampling__grid": "optimised", "sampling__predictor": "ddim"}
    )
    held, purpose = StoredGrids(tmp_path / "some.grids.json"), Purpose.of(plan.sampler)
    held.add(StoredGrid(purpose, (1.0, 0.25, purpose.last), 0.1, 0.2, 8, 4, 1))
    content = json.loads(held.path.read_text())
    del content["grids"][0]["purpose"]["average"]
    held.path.write_text(json.dumps(content))
    assert times_of(plan, held).tolist() == [1.0, 0.25, purpose.last]
