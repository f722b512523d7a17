"""``--mode ema``: averages that are chosen after training are those that training would have tracked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.run_lib.program import TINY, program, run

TRACKED, WANTED = "(0.05,0.10)", (0.04, 0.05, 0.07, 0.15)
FEW = {
    "training__n_iters": 40, "training__eval_freq": 100, "training__snapshot_freq": 100,
    "training__snapshot_freq_for_preemption": 100, "optim__schedule": "constant",
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("tracked")
    run(TINY, "train", workdir, model__ema_stds=TRACKED, training__ema_snapshot_freq=2, **FEW)
    return workdir


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(float((a[name].double() - b[name].double()).square().sum()) for name in b) ** 0.5


@pytest.mark.slow
def test_reconstructed_averages_are_those_tracked(trained: Path, tmp_path: Path) -> None:
    """Two trainings of one seed take the same steps; the second tracks what the first reconstructs."""
    run(TINY, "train", tmp_path, model__ema_stds=str(WANTED), **FEW)
    held = torch.load(tmp_path / "checkpoints/step_00000040.pt", weights_only=True)
    said = run(TINY, "ema", trained, ema__std="0.04,0.05,0.07,0.15").out
    assert sorted(p.name for p in (trained / "profiles").iterdir()) == [
        f"step_{k:08d}.pt" for k in range(2, 41, 2)
    ]
    for width in WANTED:
        path = trained / f"ema/std_{width:g}_step_00000040.safetensors"
        assert f"averaged weights: {path}" in said
        found, direct = load_file(path), held["profiles"][width]["shadow"]
        away = distance(held["model"], direct)
        zero = {name: torch.zeros_like(value) for name, value in direct.items()}
        assert distance(found, direct) < 1e-3 * distance(zero, direct)
        assert distance(found, direct) < 0.1 * away, "no better than the last weights"


def test_reconstructed_weights_are_used(trained: Path, tmp_path: Path) -> None:
    run(TINY, "ema", trained, ema__std="0.08", ema__step=20)
    weights = trained / "ema/std_0.08_step_00000020.safetensors"
    run(TINY, "sample", tmp_path, init_from=weights)
    assert (tmp_path / "samples/samples.npz").is_file()


@pytest.mark.slow
def test_a_training_in_two_parts_has_the_same_averages(trained: Path, tmp_path: Path) -> None:
    for steps in (23, 40):
        run(
            TINY,
            "train",
            tmp_path,
            model__ema_stds=TRACKED,
            training__ema_snapshot_freq=2,
            **{**FEW, "training__n_iters": steps},
        )
    name = "profiles/step_00000040.pt"
    whole, parts = (torch.load(d / name, weights_only=True)["averages"] for d in (trained, tmp_path))
    for width, average in whole.items():
        assert parts[width]["num_updates"] == average["num_updates"] == 40
        assert all(torch.equal(parts[width]["shadow"][k], value) for k, value in average["shadow"].items())


@pytest.mark.slow
def test_what_cannot_be_made_is_refused(trained: Path, tmp_path: Path) -> None:
    def refused(workdir: Path, **fields: object) -> str:
        return program("--config", TINY, "--mode", "ema", "--workdir", workdir, **fields).error

    assert "train with --config.model.ema_stds=0.05,0.10" in refused(tmp_path)
    assert "set ema.step to one of 2, 4, 6," in refused(trained, ema__step=3)
    assert "must be above 0 and at most 0.2887" in refused(trained, ema__std="0.3")
    assert "model.output=eps (was v)" in refused(trained, model__output="eps")
    run(TINY, "ema", trained, ema__std="0.06")
    assert "exists already, and nothing is overwritten" in refused(trained, ema__std="0.06")
    torch.save({"format": "another"}, trained / "profiles/step_00000099.pt")
    assert "step_00000099.pt holds no snapshot of averages" in refused(trained)
    (trained / "profiles/step_00000099.pt").unlink()


def test_a_checkpoint_of_other_widths_is_refused(trained: Path, tmp_path: Path) -> None:
    more = {**FEW, "training__n_iters": 42, "model__ema_stds": "(0.05,0.12)"}
    start = trained / "checkpoints/step_00000040.pt"
    error = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path, resume_from=start, **more
    ).error
    assert "model.ema_stds=[0.05, 0.12] (was [0.05, 0.1])" in error
    run(TINY, "train", tmp_path, resume_from=start, resume_anyway=True, **more)
    error = program("--config", TINY, "--mode", "ema", "--workdir", tmp_path, **more).error
    assert "averages that began at different steps" in error
