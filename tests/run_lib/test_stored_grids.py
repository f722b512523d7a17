"""Optimised time grids: found by a pilot, stored with the checkpoint, used by what samples from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.run_lib.program import GAUSSIAN, TINY, program, run

SOLVER = {"sampling__predictor": "adams", "sampling__num_steps": 8}
OPTIMISED = {**SOLVER, "sampling__grid": "optimised", "sampling__num_samples": 200}


def samples(workdir: Path) -> np.ndarray:
    with np.load(workdir / "samples/samples.npz") as held:
        array: np.ndarray = held["arr_0"]
        return array


@pytest.mark.slow
def test_stored_grid_is_used_and_is_better(tmp_path: Path) -> None:
    """Samples of other seeds than the pilot's come at least twice as near to those of 200 fine steps from the same
    noise as on the grid that the search set out from; the file is plain numbers."""
    outcome = run(GAUSSIAN, "tune", tmp_path, **SOLVER, tune__grid=True, tune__pilot_samples=24)
    path = tmp_path / "checkpoints/initial.grids.json"
    assert str(path) in outcome.out
    (grid,) = json.loads(path.read_text())["grids"]
    assert grid["purpose"]["num_steps"] == len(grid["times"]) == 8
    assert (np.diff(grid["times"]) < 0).all()
    assert grid["error"] < grid["before"]
    run(GAUSSIAN, "sample", tmp_path, **OPTIMISED)
    ours = samples(tmp_path)
    run(GAUSSIAN, "sample", tmp_path, **{**OPTIMISED, "sampling__grid": "log_snr"})
    start = samples(tmp_path)
    run(
        GAUSSIAN, "sample", tmp_path, **{**OPTIMISED, "sampling__grid": "log_snr", "sampling__num_steps": 200}
    )
    exact = samples(tmp_path)
    assert np.sqrt(np.mean((ours - exact) ** 2)) < 0.5 * np.sqrt(np.mean((start - exact) ** 2))
    # The times themselves, given as a list, are the same sampler.
    run(
        GAUSSIAN,
        "sample",
        tmp_path,
        **{**OPTIMISED, "sampling__grid": "explicit", "sampling__listed_times": tuple(grid["times"])},
    )
    assert samples(tmp_path) == pytest.approx(ours, abs=1e-5)


def test_a_grid_is_for_its_settings(tmp_path: Path) -> None:
    """For another number of steps or another predictor there is none, and the error says how to make it."""
    command = ("--config", GAUSSIAN, "--mode", "sample", "--workdir", tmp_path)
    error = program(*command, **OPTIMISED).error
    assert "has no grid for ExponentialAdams(" in error
    assert "in 8 steps" in error
    assert "(there: none)" in error
    assert "--mode tune --config.tune.grid" in error
    (tmp_path / "checkpoints").mkdir()
    entry = {
        "purpose": {"predictor": "X()", "num_steps": 3, "process": "VPSDE", "first": 1.0, "last": 0.001},
        "times": [1.0, 0.5, 0.001], "error": 0.1, "before": 0.2, "nfe": 5, "samples": 2, "seed": 0,
    }  # fmt: skip
    stored = tmp_path / "checkpoints/initial.grids.json"
    stored.write_text(json.dumps({"grids": [entry]}))
    error = program(*command, **OPTIMISED).error
    assert "(there: X() in 3 steps from 1 to 0.001 of VPSDE)" in error
    stored.write_text("{")
    assert "holds no time grids of ours" in program(*command, **OPTIMISED).error


@pytest.mark.slow
def test_grid_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is beside its checkpoint, goes with it, and evaluation uses it; a classes' network is told them."""
    import run_lib.tuning.stored_grids as stored
    from samplers.pilot import OptimisedGrid
    from sde_lib.grids import Density

    def found(model, predictor, num_steps, shape, noise):  # type: ignore[no-untyped-def]
        model(model.process.prior_sampling(shape, noise), model.process.time([0.5] * shape[0]))
        return OptimisedGrid(Density((0.0, 1.0)), 0.1, 0.2, 5)

    monkeypatch.setattr(stored, "optimise_grid", found)
    few = {"model__num_classes": 10, "training__n_iters": 2}
    run(TINY, "train", tmp_path, **few)
    run(TINY, "tune", tmp_path, **few, tune__grid=True, tune__pilot_samples=5)
    path = tmp_path / "checkpoints/step_00000002.grids.json"
    assert path.is_file()
    run(TINY, "sample", tmp_path, **few, sampling__grid="optimised")
    more = {**few, "training__n_iters": 6, "training__snapshot_freq": 6}
    run(TINY, "train", tmp_path, **more, sampling__grid="optimised", training__snapshot_sampling=True)
    assert not path.exists(), "its checkpoint was one to resume from, and is deleted"
    error = program(
        "--config", TINY, "--mode", "sample", "--workdir", tmp_path, **more, sampling__grid="optimised"
    )
    assert "step_00000006.grids.json has no grid for" in error.error


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sampling__predictor": "ancestral_sampling"}, "deterministic predictor"),
        ({"sampling__method": "ode", "sampling__predictor": "ddim"}, "set sampling.method='pc'"),
    ],
)
def test_no_grid_to_find(overrides: dict[str, object], message: str, tmp_path: Path) -> None:
    error = program(
        "--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path, tune__grid=True, **overrides
    ).error
    assert message in error


@pytest.mark.slow
def test_stored_times_that_no_setting_of_a_sweep_uses_change_none_of_its_scores(tmp_path: Path) -> None:
    """Scores of grids in closed form stay good when optimised times are stored; scores of the stored times do not."""
    few = {**SOLVER, "tune__num_samples": 6, "tune__repeats": 2, "tune__rows": 0}
    grid = {**SOLVER, "tune__grid": True}
    run(GAUSSIAN, "tune", tmp_path, **grid, tune__pilot_samples=4)
    run(GAUSSIAN, "tune", tmp_path, **few, tune__sweep="grid=uniform,log_snr")
    run(GAUSSIAN, "tune", tmp_path, **few, tune__sweep="grid=uniform,optimised", tune__folder="stored")
    run(GAUSSIAN, "tune", tmp_path, **grid, tune__pilot_samples=8)
    run(GAUSSIAN, "tune", tmp_path, **few, tune__sweep="grid=uniform,log_snr")
    again = {**few, "tune__sweep": "grid=uniform,optimised", "tune__folder": "stored"}
    error = program("--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path, **again).error
    assert "holds scores of other settings (times was " in error
